"""The analysis of latent classes beside poLCA, and the figures that show what classes answer."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scripts import analysis

from ppl_models.errors import InputError
from ppl_models.reports.canvas import to_svg
from ppl_models.reports.profiles import MOST_LINES, class_profiles, profile_map

ANALYSIS = Path(__file__).parents[1] / "analyses" / "latent_classes.py"
SHARED = Path(__file__).parents[2] / "shared/data/latent_class"
POLCA = {"carcinoma": {1: -524.4648, 2: -317.2568, 3: -293.705, 4: -289.2858}, "cheating": {2: -440.0271}}
ITEMS = {"carcinoma": 7, "cheating": 4}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of the analysis of the published data."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    folder = tmp_path_factory.mktemp("latent") / "report"
    command = [sys.executable, str(ANALYSIS), "--quick", "--output-dir", str(folder)]
    assert subprocess.run(command, check=False).returncode == 0
    return folder / "tables"


@pytest.mark.parametrize("name", POLCA)
def test_the_best_of_the_default_restarts_is_what_polca_printed(tables, name):
    table = pd.read_csv(tables / f"{name}-likelihood.csv", index_col="classes")
    assert {size: round(table["log_likelihood"][size], 4) for size in POLCA[name]} == POLCA[name]
    assert table["n_parameters"].tolist() == [size * ITEMS[name] + size - 1 for size in table.index]


def test_criteria_follow_from_the_likelihood_and_higher_is_better(tables):
    table = pd.read_csv(tables / "carcinoma-likelihood.csv")
    deviance = 2 * table["log_likelihood"]
    np.testing.assert_allclose(table["bic"], deviance - table["n_parameters"] * np.log(118))
    np.testing.assert_allclose(table["aic"], deviance - 2 * table["n_parameters"])
    assert (table["icl"] <= table["bic"] + 1e-9).all()


def test_the_two_optima_of_three_classes_of_cheating_are_told_apart(tables):
    table = pd.read_csv(tables / "cheating-restarts.csv").query("classes == 3")
    assert len(table) == 2 and table["restarts"].sum() == 8
    assert table["nats_below"].iloc[1] == pytest.approx(1.973, abs=1e-3)
    assert table["adjusted_rand"].iloc[1] < 0.5


def test_without_the_published_tables_a_bundled_one_is_taken(tmp_path, monkeypatch):
    module = analysis("latent_classes")
    monkeypatch.setattr(module, "FOLDER", tmp_path / "none")
    assert [table.name for table in module.tables()] == ["wrodl"]


def draws(items: int, answers: int) -> xr.Dataset:
    """Draws of two classes."""
    random = np.random.default_rng(0)
    variables = {"weights": (("chain", "draw", "component"), random.dirichlet((3, 1), (1, 50)))}
    for item in range(items):
        shape = ("chain", "draw", "component", f"i{item}_category")
        variables[f"probability_i{item}"] = (shape, random.dirichlet(np.ones(answers), (1, 50, 2)))
    names = {f"i{item}_category": [f"a{number}" for number in range(answers)] for item in range(items)}
    return xr.Dataset(variables, coords=names | {"component": ["1", "2"]})


def test_of_two_answers_the_second_is_told_and_of_three_all():
    assert set(class_profiles(draws(2, 2))["answer"]) == {"a1"}
    three = class_profiles(draws(2, 3))
    assert set(three["answer"]) == {"a0", "a1", "a2"}
    np.testing.assert_allclose(three.groupby(["item", "component"])["mean"].sum(), 1.0)


def test_classes_without_categories_have_no_profile():
    with pytest.raises(InputError, match="expected a column of categories, got draws of weights"):
        class_profiles(draws(1, 2)[["weights"]])


def profiles(items: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Profiles of two classes, and their shares."""
    sizes = pd.DataFrame({"component": ["1", "2"], "mean": [0.7, 0.3], "low": [0.6, 0.2], "high": [0.8, 0.4]})
    return class_profiles(draws(items, 2)), sizes


def test_a_profile_map_has_at_most_forty_lines():
    assert len(profile_map(*profiles(60)).axes[0].get_yticks()) == MOST_LINES


def test_a_profile_map_is_drawn_the_same_twice():
    assert to_svg(profile_map(*profiles(2))) == to_svg(profile_map(*profiles(2)))
