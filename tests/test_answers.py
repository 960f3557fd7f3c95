"""The answers that the analyses print, as a person runs them: fast food against the truth, digits in order."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

ROOT = Path(__file__).parents[1]


def report(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an analysis's report."""
    folder = tmp_path_factory.mktemp(name) / "report"
    subprocess.run([sys.executable, ROOT / "analyses" / f"{name}.py", "--output-dir", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def fast_food(tmp_path_factory):
    return report("fast_food", tmp_path_factory)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return pd.read_csv(report("digits", tmp_path_factory) / "tables" / "comparison.csv", index_col="model")


def test_the_training_elbo_chooses_two_components(fast_food):
    sizes = pd.read_csv(fast_food / "tables" / "sizes.csv", index_col="model")["training ELBO"]
    assert sizes.filter(like="mixture").idxmax() == "mixture of 2"


def test_two_components_are_within_a_hundredth_of_a_nat_of_the_true_density(fast_food):
    table = pd.read_csv(fast_food / "tables" / "comparison.csv", index_col="model")
    assert abs(table.loc["mixture of 2", "elpd"] - table.loc["true density", "elpd"]) < 0.01


def test_the_reported_intervals_hold_the_truth(fast_food):
    table = pd.read_csv(fast_food / "tables" / "parameters.csv")
    assert ((table["low"] < table["truth"]) & (table["truth"] < table["high"])).all()


def test_the_readmes_picture_of_densities_is_the_reports(fast_food):
    made, shown = imread(fast_food / "figures" / "densities.png"), imread(ROOT / "analyses/pictures/densities.png")
    assert made.shape == shown.shape
    assert np.abs(made - shown).mean() < 0.02


def test_on_digits_the_vae_beats_the_mixture_and_that_beats_naive_bayes_by_four_standard_errors(digits):
    mixture = next(name for name in digits.index if name.startswith("mixture"))
    told = "naive Bayes, ten digits"
    assert digits.index[0] == "VAE"
    assert -digits.loc[mixture, "diff"] > 4 * digits.loc[mixture, "dse"]
    assert digits.loc[mixture, "elpd"] - digits.loc[told, "elpd"] > 4 * np.hypot(*digits.loc[[mixture, told], "se"])
