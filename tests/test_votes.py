"""Votes and the census: published figures, hidden cells, and the sections that show them."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripts import analysis, two_classes
from sklearn.tree import DecisionTreeClassifier

from ppl_models.evaluation import calibration_table
from ppl_models.reports import Report, classification_section
from ppl_models.reports.canvas import to_svg
from ppl_models.reports.classification import reliability

SHARED = Path(__file__).parents[2] / "shared/data/uci_categorical"


def tables(name: str, folder: Path) -> Path:
    """The tables of an analysis of the shared data."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    analysis(name).main(seed=0, output_dir=folder / name, quick=True)
    return folder / name / "tables"


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tables("votes", tmp_path_factory.mktemp("votes"))


@pytest.fixture(scope="module")
def census(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tables("census", tmp_path_factory.mktemp("census"))


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tables("missing_votes", tmp_path_factory.mktemp("hidden"))


@pytest.mark.parametrize(("smoothing", "e1071"), [("none", [[238, 13], [29, 155]]), ("3", [[237, 12], [30, 156]])])
def test_training_errors_are_those_that_e1071_prints(votes, smoothing, e1071):
    table = pd.read_csv(votes / "training.csv", dtype={"smoothing": str}, keep_default_na=False)
    assert table.query("smoothing == @smoothing")[["democrat", "republican"]].values.tolist() == e1071


def test_a_mixture_with_the_party_as_a_column_is_ahead_of_naive_bayes_held_out(votes):
    table = pd.read_csv(votes / "held-out.csv", index_col="model")
    bayes, mixture = table.loc["naive Bayes"], table.loc["mixture"]
    assert mixture["accuracy"] > bayes["accuracy"] + 2 * bayes["accuracy_se"]
    assert mixture["log_score"] > bayes["log_score"] + 2 * bayes["log_score_se"]
    assert mixture["calibration_error"] < bayes["calibration_error"] / 2


def test_census_incomes_are_told_as_often_as_published(census):
    table = pd.read_csv(census / "classes.csv", index_col="model")
    found, se = 100 * table.loc["cut by entropy", ["accuracy", "accuracy_se"]]
    assert abs(found - 83.88) < 0.30
    assert se == pytest.approx(0.30, abs=0.005)


def test_no_cut_of_the_census_weights_pays(census):
    cuts = pd.read_csv(census / "cuts.csv", index_col="column")["cuts"]
    assert cuts["weight"] == "[]" and cuts["age"] != "[]"


def test_the_first_cut_is_the_one_of_a_tree_by_entropy():
    random = np.random.default_rng(0)
    values = random.normal(size=400).round(1)
    classes = (values + 0.5 * random.normal(size=400) > 0.7).astype(int)
    tree = DecisionTreeClassifier(criterion="entropy", max_depth=1).fit(values[:, None], classes).tree_
    cuts = analysis("census").cut_points(pd.crosstab(values, classes))
    assert min(abs(np.array(cuts) - tree.threshold[0])) < 1e-6


def test_a_column_that_tells_nothing_is_not_cut():
    classes = np.tile([0, 1], 500)
    assert analysis("census").cut_points(pd.crosstab(np.repeat(np.arange(500), 2), classes)) == []


def test_hidden_votes_are_filled_in_rightly_more_often_than_by_the_majority(hidden):
    table = pd.read_csv(hidden / "hidden.csv", index_col="model")
    guess, mixture = table.loc["shares of the column"], table.loc["mixture of 4"]
    assert mixture["accuracy"] > guess["accuracy"] + 6 * mixture["accuracy_se"]
    assert mixture["calibration_error"] < 0.05


@pytest.mark.parametrize(("name", "place"), [("votes", "FILE"), ("census", "FOLDER"), ("missing_votes", "FILE")])
def test_without_the_shared_data_an_analysis_says_so_and_takes_a_bundled_table(tmp_path, monkeypatch, name, place):
    module = analysis(name)
    monkeypatch.setattr(module, place, tmp_path / "none")
    if name != "census":
        monkeypatch.setattr(module, "load", partial(two_classes, label="side"))
    module.main(seed=0, output_dir=tmp_path / "report", quick=True)
    assert f"No {tmp_path / 'none'}" in (tmp_path / "report" / "index.html").read_text()


def test_a_classification_section_leaves_rows_of_unknown_class_out():
    report, given = Report("Two", summary="", seed=0), np.array([[0.8, 0.2], [0.3, 0.7], [0.5, 0.5]])
    table = classification_section(report, {"a": given, "b": given[:, ::-1]}, np.array([0, 1, -1]), names=("no", "yes"))
    assert table["accuracy"].tolist() == [1.0, 0.0]
    assert [part.name for part in report.parts] == ["classes", "classes-confusion", *["classes-calibration"] * 2]


def test_a_reliability_figure_draws_shares_of_0_and_1_the_same_twice():
    table = calibration_table(np.array([[1.0, 0.0], [0.0, 1.0], [0.4, 0.6]]), np.array([0, 1, 0]))
    first, second = (reliability({"$a_b$": table, "one": table.head(1)}) for _ in range(2))
    assert to_svg(first) == to_svg(second)
