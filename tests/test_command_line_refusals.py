"""Bad input at the command line: one line that says what was expected and what came, and nothing half-written."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from ppl_models import cli
from ppl_models.cli import app
from ppl_models.commands import candidates
from ppl_models.errors import InputError

FAMILY = ("--family", "gaussian-mixture: components=1", "--output", "out")
MIXTURES = ("mixture, components 1", "mixture, components 2")
FIT = ("fit", "good.csv", *FAMILY)


def frame(rows: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame({"x": random.normal(size=rows), "y": random.normal(size=rows), "g": ["a", "b"] * (rows // 2)})


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Files of every kind, and a run that came to its end."""
    folder = tmp_path_factory.mktemp("work")
    good = frame()
    good.to_csv(folder / "good.csv", index=False)
    good.drop(columns="y").to_csv(folder / "narrow.csv", index=False)
    good.assign(g="c").to_csv(folder / "unseen.csv", index=False)
    good.head(10).to_csv(folder / "short.csv", index=False)
    good.assign(g="a").to_csv(folder / "one_class.csv", index=False)
    good.assign(name=[f"customer {row}" for row in range(60)]).to_csv(folder / "names.csv", index=False)
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("x,y,g\n")
    (folder / "ragged.csv").write_text("x,y\n1,2\n1,2,3\n")
    (folder / "noise.parquet").write_bytes(b"\x00\x01 not parquet")
    (folder / "table.xlsx").write_bytes(b"PK")
    (folder / "bare").mkdir()
    (folder / "mixed").mkdir()
    good.to_csv(folder / "mixed" / "a.csv", index=False)
    duckdb.from_df(good).write_parquet(str(folder / "mixed" / "b.parquet"))
    with duckdb.connect(str(folder / "two.duckdb")) as database:
        database.execute("create table a as select 1 as x; create table b as select 2 as x")
    with sqlite3.connect(folder / "one.sqlite") as database:
        good.to_sql("rows", database, index=False)
    (folder / "text.db").write_text("not a database")
    for name, text in {
        "broken": "label: [",
        "list": "- a",
        "unknown": "labels: g",
        "kind": "drop: g",
        "part": "columns: {x: {kinds: real}}",
        "shape": "image_shape: [3, 3]\ndrop: [g]",
        "steps": "sequence: true\nvocabulary: [u, w]\ndrop: [x, y]",
        "both": "sequence: true\ncolumns: {g: categorical}",
    }.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "file").write_text("in the way")
    (folder / "full").mkdir()
    (folder / "full" / "notes.txt").write_text("mine")
    ended = folder / "ended"
    asked = ["fit", str(folder / "good.csv"), "--label", "g", "--family", "naive-bayes", "--output", str(ended)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    for name, change in {"later": {"format": 99}, "other": {"writer": "another"}}.items():
        (folder / name).mkdir()
        told = json.loads((ended / "run.json").read_text()) | change
        (folder / name / "run.json").write_text(json.dumps(told))
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text((ended / "run.json").read_text())
    (folder / "damaged" / "fit.safetensors").write_bytes((ended / "fit.safetensors").read_bytes()[:-100])
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "no such file": (("fit", "none.csv", *FAMILY), r"none.csv: expected a CSV or Parquet file"),
    "a spreadsheet": (("fit", "table.xlsx", *FAMILY), r"expected a name ending in .csv or .parquet"),
    "an empty file": (("fit", "empty.csv", *FAMILY), r"empty.csv"),
    "a header alone": (("fit", "header.csv", *FAMILY), r"expected rows, got an empty table"),
    "a longer row": (("fit", "ragged.csv", *FAMILY), r"ragged.csv"),
    "a broken Parquet file": (("fit", "noise.parquet", *FAMILY), r"noise.parquet: could not be read"),
    "a folder without tables": (("fit", "bare", *FAMILY), r"expected a folder of CSV or Parquet files"),
    "files of two kinds": (("fit", "mixed", *FAMILY), r"expected files of one kind, found CSV and Parquet"),
    "no such database": (("fit", "none.duckdb", *FAMILY), r"expected a DuckDB or SQLite file, found none"),
    "two tables": (("fit", "two.duckdb", *FAMILY), r"expected one table or a query, .*; found 2: a, b"),
    "wrong SQL": (("fit", "two.duckdb", *FAMILY, "--query", "selec 1"), r"two.duckdb: could not be read"),
    "no such table": (
        ("fit", "one.sqlite", *FAMILY, "--query", "select * from c"),
        r"could not be read: no such table",
    ),
    "a query of a CSV file": ((*FIT, "--query", "select 1"), r"expected a file ending in one of .*duckdb"),
    "text as a database": (("fit", "text.db", *FAMILY), r"text.db: could not be read"),
    "no such label": ((*FIT, "--label", "kind"), r"no column 'kind'; the columns are x, y, g"),
    "a label of one class": (("fit", "one_class.csv", "--label", "g", *FAMILY), r"expected two or more classes"),
    "a kind of no column": ((*FIT, "--kind", "z=real"), r"no column 'z'"),
    "no such kind": ((*FIT, "--kind", "x=number"), r"column 'x': expected real, positive, .*, got 'number'"),
    "a kind without a column": ((*FIT, "--kind", "real"), r"kind: expected column=kind, got 'real'"),
    "a kind that does not fit": ((*FIT, "--kind", "x=positive", "--drop", "g"), r"column 'x'.* a number above zero"),
    "no column to drop": ((*FIT, "--drop", "z"), r"drop: no column 'z'"),
    "text that differs": (("fit", "names.csv", *FAMILY), r"column 'name'"),
    "no schema file": ((*FIT, "--schema", "none.yaml"), r"none.yaml: expected a YAML file"),
    "a broken schema file": ((*FIT, "--schema", "broken.yaml"), r"broken.yaml: expected a YAML file"),
    "a schema file of a list": ((*FIT, "--schema", "list.yaml"), r"list.yaml: expected label, drop, .*, got list"),
    "an unknown part": ((*FIT, "--schema", "unknown.yaml"), r"unknown.yaml: expected label, .*, got 'labels'"),
    "a part of another type": ((*FIT, "--schema", "kind.yaml"), r"kind.yaml: drop: expected a list, got 'g'"),
    "a column's unknown part": ((*FIT, "--schema", "part.yaml"), r"column 'x': expected kind and categories"),
    "a token that is not told": ((*FIT, "--schema", "steps.yaml"), r"row \d+, column 'g': expected one of 2 tokens"),
    "a sequence of kinds": (
        (*FIT, "--schema", "both.yaml"),
        r"sequence: expected columns that are all steps, got kinds",
    ),
    "an image of other size": ((*FIT, "--schema", "shape.yaml"), r"image_shape \(3, 3\) needs 9 columns"),
    "no such family": (("fit", "good.csv", "--family", "gmm", "--output", "out"), r"family: expected one of .*'gmm'"),
    "a missing setting": (("fit", "good.csv", "--family", "mixture", "--output", "out"), r"expected components=…"),
    "a range backwards": (
        ("fit", "good.csv", "--family", "mixture: components=6..2", "--output", "out"),
        r"setting 'components': expected a range such as 2..6, got '6..2'",
    ),
    "nothing to choose by": (
        ("fit", "good.csv", "--family", "vae: latent=1..2", "--output", "out"),
        r"expected validation rows to choose one of 2 by, got none",
    ),
    "a family that does not suit": (
        ("fit", "good.csv", "--family", "gaussian-mixture: components=1", "--output", "out"),
        r"GaussianMixture: .*'g'",
    ),
    "a setting of the fit": ((*FIT, "--drop", "g", "--method", "speed=3"), r"method: expected settings among restarts"),
    "no such device": ((*FIT, "--drop", "g", "--device", "abacus"), r"device: expected auto, cpu or cuda"),
    "a file in the way": (
        ("fit", "good.csv", *FAMILY[:2], "--output", "file"),
        r"expected a folder for the run, got a",
    ),
    "a folder in use": (("fit", "good.csv", *FAMILY[:2], "--output", "full"), r"expected a new or an empty folder"),
    "a run that ended": ((*FIT[:-1], "ended", "--resume"), r"got one that came to its end"),
    "too few rows": (("compare", "short.csv", "--output", "out"), r"expected 50 rows or more .*, got 10"),
    "a family to compare": (("compare", "good.csv", "--family", "gmm", "--output", "out"), r"family: expected one of"),
    "no run": (("sample", "none"), r"expected the folder of a run, found none"),
    "a file as a run": (("sample", "file"), r"expected the folder of a run, found a file"),
    "a run that was broken off": (("sample", "full"), r"expected a run that came to its end, found no run.json"),
    "another program's run": (("sample", "other"), r"run.json: expected what a run wrote, got something else"),
    "a later format": (("sample", "later"), r"expected format 1 or older, got 99; a newer version reads it"),
    "a damaged fit": (("sample", "damaged"), r"fit.safetensors: expected a checkpoint, got another file"),
    "no such fit": (("sample", "ended", "--fit", "vae"), r"expected one of the fits naive-bayes, got 'vae'"),
    "a column that is missing": (("score", "ended", "narrow.csv"), r"narrow.csv.*'y'"),
    "a category never seen": (("score", "ended", "unseen.csv"), r"unseen.csv.*'c'"),
    "a file of another kind": (
        ("sample", "ended", "--output", "rows.xlsx"),
        r"rows.xlsx: expected a name ending in .csv",
    ),
    "a folder that is not there": (("sample", "ended", "--output", "no/rows.csv"), r"expected a file in a folder that"),
    "a page in a folder in use": (("report", "ended", "good.csv", "--output", "full"), r"full"),
    "no such bundled table": (("datasets", "irises"), r"irises: expected a CSV or Parquet file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(workplace, name, monkeypatch):
    asked, message = REFUSED[name]
    monkeypatch.chdir(workplace)
    before = snapshot(workplace)
    done = CliRunner().invoke(app, list(asked))
    assert isinstance(done.exception, InputError | OSError), (done.exception, done.output)
    told = str(done.exception)
    with pytest.raises(InputError, match=message):
        raise done.exception
    assert "\n" not in told and len(told) < 600 and done.stdout == ""
    assert snapshot(workplace) == before and not (workplace / "out").exists()


@pytest.mark.parametrize("problem", [InputError("table: x"), OSError("disk"), RuntimeError("fault")])
def test_bad_input_ends_in_code_2_and_a_fault_keeps_its_traceback(monkeypatch, capsys, problem):
    broken = typer.Typer(pretty_exceptions_enable=False)

    @broken.command()
    def fail() -> None:
        raise problem

    monkeypatch.setattr("sys.argv", ["ppl-models"])
    if isinstance(problem, RuntimeError):
        with pytest.raises(RuntimeError, match="fault"):
            cli.exit_on_bad_input(broken)
        return
    with pytest.raises(SystemExit) as ended:
        cli.exit_on_bad_input(broken)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {problem}\n"


def test_a_run_that_is_interrupted_ends_in_130_and_can_be_resumed(workplace, tmp_path, monkeypatch):
    asked = ["compare", str(workplace / "good.csv"), "--output", str(tmp_path / "run"), "--quick", "--jobs", "1"]
    told = ["--family", "naive-bayes: labelled=False", "--family", "mixture: components=1,2"]
    plain: Callable[..., object] = candidates.fit
    left = iter([True, False])

    def interrupted(*given: object, **named: object) -> object:
        if not next(left):
            raise KeyboardInterrupt
        return plain(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(candidates, "fit", interrupted)
        done = CliRunner().invoke(app, [*asked, *told])
    assert done.exit_code == 130 and "interrupted" in done.stderr
    assert len(list((tmp_path / "run" / "fits").iterdir())) == 1
    other = [*asked[:1], str(workplace / "mixed" / "a.csv"), *asked[2:], *told, "--seed", "1", "--resume"]
    assert "expected the run that was broken off, got one with another" in str(CliRunner().invoke(app, other).exception)
    again = CliRunner().invoke(app, [*asked, *told, "--resume", "--json"])
    assert again.exit_code == 0, again.exception
    fits = set(json.loads(again.stdout)["fits"])
    assert (
        "naive-bayes: labelled=False" in fits and fits < {"naive-bayes: labelled=False", *MIXTURES} and len(fits) == 2
    )
