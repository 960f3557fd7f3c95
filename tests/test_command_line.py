"""The command line as a statistician uses it: tables of any kind in, a run's folder and answers out."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ppl_models import GaussianMixture, fit, load, log_density, prepare
from ppl_models.cli import app
from ppl_models.commands import fit as fit_command
from ppl_models.commands.candidates import suitable
from ppl_models.commands.options import grid
from ppl_models.commands.runs import open_fit
from ppl_models.commands.tables import Columns, told_schema
from ppl_models.datasets import infer_schema
from ppl_models.inference import load_fit


def ask(*asked: object, code: int = 0) -> object:
    done = CliRunner().invoke(app, [*map(str, asked)])
    assert done.exit_code == code, (done.exception, done.output)
    return done


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    """Two groups that a mixture of two tells apart."""
    random = np.random.default_rng(0)
    group = random.integers(2, size=300)
    drinks = np.where(random.random(300) < 0.2 + 0.6 * group, "tea", "coffee")
    return pd.DataFrame({"dollars": random.normal(40 + 25 * group, 4).round(2), "drinks": drinks, "row": range(300)})


@pytest.fixture(scope="module")
def ended(tmp_path_factory, customers) -> Path:
    """A fit that chose among four."""
    folder = tmp_path_factory.mktemp("ended")
    customers.to_csv(folder / "customers.csv", index=False)
    asked = ("fit", folder / "customers.csv", "--drop", "row", "--family", "mixture: components=1..3 smoothing=0.5,1")
    ask(*asked, "--output", folder / "run")
    return folder


def test_of_several_settings_the_best_is_kept(ended):
    told = json.loads((ended / "run" / "run.json").read_text())
    assert told["chosen"].startswith("mixture: components=2")
    kept = [load_fit(path) for path in sorted((ended / "run" / "candidates").glob("*.safetensors"))]
    assert len(kept) == 6 and told["elbo"] == max(found.elbo for found in kept)
    assert told["fits"] == {told["chosen"]: "fit.safetensors"} and told["doubts"] == []
    assert told["columns"] == {"label": None, "kinds": [], "drop": ["row"], "file": None}
    found = open_fit(ended / "run")
    assert found.elbo == told["elbo"] and found.family.classes == 2


def test_candidates_of_another_table_or_seed_are_not_gone_on_with(ended, tmp_path, customers, monkeypatch):
    customers.to_csv(tmp_path / "customers.csv", index=False)
    asked = ["fit", str(tmp_path / "customers.csv"), "--drop", "row", "--family", "mixture: components=1..2"]
    plain, left = fit_command.fit, iter([True, False])
    with monkeypatch.context() as patch:
        patch.setattr(fit_command, "fit", lambda *given, **named: plain(*given, **named) if next(left) else 1 / 0)
        broken = CliRunner().invoke(app, [*asked, "--output", str(tmp_path / "run")])
    assert isinstance(broken.exception, ZeroDivisionError)
    (tmp_path / "run" / "candidates" / "000.state").write_bytes(b"left over by a kill")
    again = [*asked, "--output", str(tmp_path / "run"), "--resume"]
    assert "one with another seed" in str(CliRunner().invoke(app, [*again, "--seed", "1"]).exception)
    customers.iloc[1:].to_csv(tmp_path / "customers.csv", index=False)
    assert "one with another training table" in str(CliRunner().invoke(app, again).exception)
    customers.to_csv(tmp_path / "customers.csv", index=False)
    assert CliRunner().invoke(app, again).exit_code == 0


def test_rows_are_drawn_in_the_columns_of_the_table(ended, tmp_path):
    drawn = pd.DataFrame(json.loads(ask("sample", ended / "run", "--rows", 500, "--json").stdout))
    assert list(drawn) == ["dollars", "drinks"] and set(drawn["drinks"]) == {"tea", "coffee"}
    assert abs(drawn["dollars"].mean() - 52.5) < 5 * drawn["dollars"].std() / 500**0.5 + 1
    for name in ("rows.csv", "rows.parquet"):
        ask("sample", ended / "run", "--rows", 500, "--output", tmp_path / name)
    again = duckdb.read_parquet(str(tmp_path / "rows.parquet")).df()
    read = pd.read_csv(tmp_path / "rows.csv")
    assert (read["drinks"] == again["drinks"].astype(str)).all() and np.allclose(read["dollars"], again["dollars"])
    np.testing.assert_allclose(again["dollars"], drawn["dollars"], rtol=1e-9)
    assert (again["drinks"].astype(str) == drawn["drinks"]).all()


def test_scores_are_those_of_log_density(ended, tmp_path, customers):
    done = ask("score", ended / "run", ended / "customers.csv", "--output", tmp_path / "scores.csv", "--json")
    family = open_fit(ended / "run").family
    found = log_density(family, family.preparation(customers))
    assert json.loads(done.stdout)["elpd"] == found.elpd and json.loads(done.stdout)["kind"] == "exact"
    np.testing.assert_allclose(pd.read_csv(tmp_path / "scores.csv")["log_density"], found.values, rtol=1e-12)
    lines = ask("score", ended / "run", ended / "customers.csv").stdout.splitlines()
    assert lines[0] == "row,log_density" and len(lines) == 301


def test_a_report_of_a_run_is_a_page(ended, tmp_path):
    page = ask("report", ended / "run", ended / "customers.csv", "--output", tmp_path / "page").stdout.strip()
    assert "nats per row" in Path(page).read_text()


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "query", "parquet", "folder"])
def test_tables_of_every_kind_come_to_the_same(tmp_path, customers, kind):
    table, rest = tmp_path / f"table.{kind}", ()
    if kind == "duckdb":
        with duckdb.connect(str(table)) as database:
            database.execute("create table customers as from customers")
    elif kind in ("sqlite", "query"):
        table = tmp_path / "table.sqlite"
        with sqlite3.connect(table) as database:
            customers.to_sql("customers", database, index=False)
            if kind == "query":
                database.execute("create table another (x int)")
                rest = ("--query", "select * from customers order by row")
    elif kind == "parquet":
        duckdb.from_df(customers).write_parquet(str(table))
    else:
        table.mkdir()
        for part in range(3):
            customers.iloc[100 * part : 100 * part + 100].to_csv(table / f"{part}.csv", index=False)
    done = ask(
        *("fit", table, "--drop", "row", "--drop", "drinks", "--family", "gaussian-mixture: components=2"),
        *("--output", tmp_path / "run", "--json", *rest),
    )
    rows = customers[["dollars"]]
    expected = fit(GaussianMixture(infer_schema(rows), components=2), prepare(rows)(rows), seed=0)
    assert json.loads(done.stdout)["elbo"] == pytest.approx(expected.elbo, abs=1e-9)


def test_a_schema_is_seen_and_told(tmp_path, customers):
    told = "label: drinks\ndrop: [row]\ncolumns:\n  dollars: positive\n"
    (tmp_path / "schema.yaml").write_text(told)
    schema = told_schema(customers, Columns(file=tmp_path / "schema.yaml"))
    assert schema.kinds == {"dollars": "positive"} and schema.label.name == "drinks"
    (tmp_path / "schema.yaml").write_text("columns: {drinks: {categories: [coffee, tea, water]}}")
    schema = told_schema(customers, Columns(kinds=("dollars=real",), drop=("row",), file=tmp_path / "schema.yaml"))
    assert schema.columns[1].categories == ("coffee", "tea", "water") and schema.label is None
    customers.to_csv(tmp_path / "customers.csv", index=False)
    shown = ask("datasets", tmp_path / "customers.csv", "--label", "drinks", "--drop", "row").stdout
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [["dollars", "real"], ["drinks", "label"]]


def test_bundled_tables_are_listed_and_written(tmp_path):
    listed = {line["name"]: line["rows"] for line in json.loads(ask("datasets", "--json").stdout)}
    assert listed["iris"] == 150 and listed["melodies"] == 273 and len(listed) == 10
    ask("datasets", "iris", "--output", tmp_path / "iris.csv")
    again, bundled = pd.read_csv(tmp_path / "iris.csv"), load("iris").frame
    assert list(again) == list(bundled) and (again.to_numpy() == bundled.to_numpy()).all()


def test_a_comparison_answers_in_words_and_keeps_its_fits(tmp_path, customers):
    customers.to_csv(tmp_path / "customers.csv", index=False)
    some = ("--family", "mixture: components=1,2,3", "--family", "naive-bayes: labelled=False")
    asked = ("compare", tmp_path / "customers.csv", "--drop", "row", "--quick", "--output", tmp_path / "run", *some)
    done = ask(*asked)
    assert "“mixture, components 2”" in done.stdout.splitlines()[0] and "nats per row" in done.stdout
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert told["best"] == "mixture, components 2" and (tmp_path / "run" / told["report"]).is_file()
    assert "300 rows" in done.stderr and "dollars" in done.stderr
    assert open_fit(tmp_path / "run").family.classes == 2
    assert open_fit(tmp_path / "run", "naive-bayes: labelled=False").family.classes == 1
    elpd = {line["model"]: line["elpd"] for line in told["comparison"]}
    assert elpd["mixture, components 2"] > elpd["naive-bayes: labelled=False"] + 0.3


def test_all_families_that_suit_are_compared(tmp_path, customers):
    schema = infer_schema(customers[["dollars", "drinks"]], label="drinks")
    assert list(suitable(schema, 300)) == ["naive Bayes, one class", "naive Bayes, labelled", "mixture", "VAE"]
    wide = infer_schema(pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc")))
    found = suitable(wide, 60)
    assert "mixture, full covariances" in found and len(found["mixture"]) == 7
    assert grid("vae: latent=1..2 network.hidden=64,64") == [
        "vae: latent=1 network.hidden=64,64",
        "vae: latent=2 network.hidden=64,64",
    ]


def test_doubts_end_in_code_3_if_asked_for(tmp_path, customers):
    customers.assign(year=2020.5 + customers["row"] % 2).to_csv(tmp_path / "c.csv", index=False)
    some = ("--family", "naive-bayes: labelled=False", "--drop", "row", "--quick", "--strict")
    done = ask("compare", tmp_path / "c.csv", *some, "--kind", "year=real", "--output", tmp_path / "a", code=3)
    assert "doubt: Column 'year' is told as measured and takes 2 different values only" in done.stderr
    done = ask("compare", tmp_path / "c.csv", *some, "--output", tmp_path / "b")
    assert "column 'year' takes 2 different values only, and is described as categorical" in done.stderr
    assert open_fit(tmp_path / "b").family.schema.kinds["year"] == "categorical"


def test_help_needs_nothing_heavy():
    code = "import sys; from ppl_models import cli; print([m for m in ('torch', 'pyro', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_is_explored_in_a_page(tmp_path):
    load("iris").frame.to_csv(tmp_path / "iris.csv", index=False)
    some = ("--family", "vae: latent=2", "--family", "naive-bayes: labelled=False", "--label", "label", "--quick")
    ask("compare", tmp_path / "iris.csv", *some, "--output", tmp_path / "run")
    page = Path(ask("explore", tmp_path / "run", "--concept", "label=setosa").stdout.strip())
    assert page == tmp_path / "run" / "explorer.html" and "label=setosa" in page.read_text()
    for concept, told in {
        "label": "concept: expected column=value, got 'label'",
        "kind=setosa": "concept: no column 'kind'",
        "label=rose": "expected one of setosa, versicolor, virginica, got 'rose'",
        "petal width (cm)=1": "expected a categorical or a binary column, got 'petal width (cm)', which is real",
    }.items():
        asked = ["explore", str(tmp_path / "run"), "--concept", concept, "--output", str(tmp_path / "other.html")]
        assert told in str(CliRunner().invoke(app, asked).exception)
    mixture = ["explore", str(tmp_path / "run"), "--fit", "naive-bayes: labelled=False"]
    assert "expected a family with a decoder, got NaiveBayes" in str(CliRunner().invoke(app, mixture).exception)
    assert not (tmp_path / "other.html").exists()
