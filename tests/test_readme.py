"""The README's example runs as it stands, and its picture is the one that the example makes."""

import re
from pathlib import Path

import arviz
import numpy as np
import pytest
import torch
from matplotlib.image import imread

import ppl_models
from ppl_models.datasets import read_midi

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
EXAMPLE, CLASSICAL = BLOCKS[:2]
BRIDGE, PLAYED, STREAMED, SEARCH = (
    next(block for block in BLOCKS if name in block)
    for name in ("to_arviz", "melodies_section", "stream(", "GridSearchCV")
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The folder that the example ran in, and what it defined."""
    folder, names = tmp_path_factory.mktemp("readme"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(EXAMPLE, names)
    return folder, names


def test_the_example_has_fifteen_lines():
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) <= 15


def test_the_example_writes_a_report(outcome):
    assert (outcome[0] / "report" / "index.html").stat().st_size > 10_000


def test_the_melodies_are_written_and_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"ppl": ppl_models}
    exec(PLAYED, names)
    assert list(read_midi(tmp_path / "phrases.mid").values()) == list(names["phrases"].values())
    assert (tmp_path / "report" / "index.html").read_text().count("<svg") >= 9


def test_the_readme_shows_the_table_that_the_example_prints(outcome):
    names = outcome[1]
    printed = names["ppl"].compare(names["densities"])
    before, _, _ = (ROOT / "README.md").read_text().partition("## The discrete half")
    shown = re.findall(r"^\| (\S.*?) \| (-[\d.]+) \|", before, re.MULTILINE)
    assert [name for name, _ in shown] == list(printed.index)
    np.testing.assert_allclose([float(elpd) for _, elpd in shown], printed["elpd"], atol=0.02)


def test_the_second_example_prints_the_number_beside_it(capsys):
    exec(CLASSICAL, {"ppl": ppl_models})
    stated = re.search(r"# (-[0-9.]+):", CLASSICAL)[1]
    assert round(float(capsys.readouterr().out), 2) == float(stated)


def test_the_bridge_leads_from_the_first_example_to_arviz(outcome):
    names = outcome[1] | {"az": arviz}
    exec(BRIDGE.splitlines()[0], names)
    assert float(arviz.loo(names["groups"])["elpd" if hasattr(arviz, "loo_approximate_posterior") else "elpd_loo"]) < 0


def test_the_search_chooses_by_nats_per_row():
    names = {"X": ppl_models.load("five_groups").frame}
    exec(SEARCH, names)
    assert names["search"].best_params_["n_components"] == 3
    assert names["search"].best_score_ == pytest.approx(names["search"].cv_results_["mean_test_score"].max())


def test_the_stream_example_learns_from_a_file_what_a_fit_learns_from_its_table(tmp_path, monkeypatch):
    table = ppl_models.load("wine")
    names = {"ppl": ppl_models, "schema": table.schema}
    table.frame.to_csv(tmp_path / "customers.csv", index=False)
    monkeypatch.chdir(tmp_path)
    exec(STREAMED, names)
    rows = ppl_models.prepare(table.frame, table.schema)(table.frame)
    found = ppl_models.fit(ppl_models.NaiveBayes(table.schema), rows, seed=0).family
    torch.testing.assert_close(names["model"].guide.natural(), found.guide.natural(), rtol=1e-9, atol=1e-9)


def test_the_readme_shows_the_picture_that_the_example_makes(outcome):
    made = imread(outcome[0] / "report" / "figures" / "comparison-elpd.png")
    shown = imread(ROOT / "analyses" / "pictures" / "elpd.png")
    assert made.shape == shown.shape
    assert np.abs(made - shown).mean() < 0.02
