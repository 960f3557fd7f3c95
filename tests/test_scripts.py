"""Scripts as a person runs them: options, exit codes, one line for bad input, nothing half-written."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ppl_models.errors import InputError
from ppl_models.reports.folders import require_index_place, require_place

ANALYSES = Path(__file__).parents[1] / "analyses"


def run(script: str, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ANALYSES / f"{script}.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_analysis_has_at_most_80_lines():
    assert [path.name for path in ANALYSES.glob("*.py") if len(path.read_text().splitlines()) > 80] == []


def test_an_analysis_tells_its_options():
    told = run("densities", "--help").stdout
    assert all(option in told for option in ("--seed", "--output-dir", "--quick", "--data", "--label"))


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (None, (), "my.csv: expected a CSV or Parquet file, found none"),
        ("a,b\n", (), "my.csv: expected rows"),
        ("a,a\n1.5,2\n", (), "column 'a' occurs more than once"),
        ("a,b\n1.5,2\n2.5,3\n", ("--label", "c"), "no column 'c'"),
        ("a,b\n" + "1.5,2.5\n" * 50, (), "column 'a': is constant"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2_and_writes_nothing(tmp_path, rows, options, message):
    data, output = tmp_path / "my.csv", tmp_path / "a" / "b" / "out"
    if rows is not None:
        data.write_text(rows)
    done = run("densities", "--quick", "--data", data, "--output-dir", output, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == (["my.csv"] if rows is not None else [])


@pytest.mark.parametrize("require", [require_place, require_index_place])
def test_a_place_is_tried_without_a_trace(tmp_path, require):
    assert require(tmp_path / "a/b/c") == tmp_path / "a/b/c"
    assert require(tmp_path) == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("require", [require_place, require_index_place])
def test_a_place_with_a_file_in_the_way_is_refused(tmp_path, require):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"got the file {tmp_path / 'file'}"):
        require(tmp_path / "file")
    with pytest.raises(InputError, match=f"can be written, got {tmp_path / 'file'}"):
        require(tmp_path / "file/report")


def test_a_folder_that_cannot_be_written_ends_in_exit_code_2(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    done = run("wrodl", "--quick", "--output-dir", tmp_path / "file" / "report")
    assert done.returncode == 2
    assert "error:" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["index.html", "wrodl"])
def test_all_reports_refuse_a_foreign_file_in_the_way_before_the_work(tmp_path, name):
    (tmp_path / name).write_text("mine")
    done = run("report", "--quick", "--output-dir", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: expected" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_all_reports_refuse_a_folder_that_cannot_be_written_before_the_work(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for place in (tmp_path / "file", tmp_path / "file" / "reports"):
        done = run("report", "--quick", "--output-dir", place)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_table_of_ones_own_ends_in_a_report(tmp_path):
    frame = pd.DataFrame({"x": [0.1 * row**1.3 for row in range(80)], "kind": ["a", "b"] * 40})
    frame.to_csv(tmp_path / "my.csv", index=False)
    options = ("--quick", "--data", tmp_path / "my.csv", "--label", "kind", "--output-dir", tmp_path / "out")
    assert run("densities", *options).returncode == 0
    assert (tmp_path / "out" / "index.html").is_file()
