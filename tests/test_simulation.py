"""Simulation-based calibration of our own posteriors, in its short form; analyses run the long one."""

import numpy as np
import pandas as pd
import pytest
import torch
from test_exact_vae import guided

from ppl_models.datasets import Column, Schema
from ppl_models.errors import InputError
from ppl_models.evaluation import coverage_table, uniformity
from ppl_models.families import GaussianMixture, NaiveBayes
from ppl_models.inference import calibration_ranks, latent_ranks, simulate_from_prior
from ppl_models.inference.simulation import DRAWS

LABEL = Column("y", "categorical", ("u", "v"))
COLUMNS = (Column("x", "real"), Column("n", "count"), Column("c", "categorical", ("a", "b", "c")))


def naive_bayes() -> NaiveBayes:
    return NaiveBayes(Schema(COLUMNS, label=LABEL))


def mixture() -> GaussianMixture:
    return GaussianMixture(Schema((Column("x", "real"), Column("w", "real"))), components=2)


@pytest.fixture(scope="module")
def ranks() -> pd.DataFrame:
    return calibration_ranks(naive_bayes, rows=30, simulations=100, seed=1, processes=1)


def test_posteriors_of_naive_bayes_are_calibrated(ranks):
    """Ranks of 14 parameters, of which one is the rest of another: none is as rare as 1 in 2,000; the seed is fixed."""
    assert ranks.shape == (100, 14)
    assert min(uniformity(ranks[name].to_numpy(), DRAWS) for name in ranks) > 5e-4
    covered = np.mean([coverage_table(ranks[name].to_numpy(), DRAWS)["coverage"][2] for name in ranks])
    assert covered == pytest.approx(0.9, abs=0.03)


def test_posteriors_of_other_rows_are_not(ranks):
    """The ranks of each truth in another simulation's posterior are far from uniform: the test can fail."""
    family = naive_bayes()
    truths = [simulate_from_prior(family, 30, seed=seed)[1]["loc"].values.ravel()[0] for seed in range(100)]
    narrow = np.random.default_rng(0).normal(0.0, 0.1, (100, DRAWS))
    found = (narrow < np.array(truths)[:, None]).sum(1)
    assert uniformity(found, DRAWS) < 0.001 < uniformity(ranks["loc[0, 0]"].to_numpy(), DRAWS)


def test_a_broken_run_goes_on_where_it_was_left(ranks, tmp_path):
    file = tmp_path / "some" / "ranks.csv"
    options = {"rows": 30, "seed": 1, "processes": 1, "kept": file}
    first = calibration_ranks(naive_bayes, simulations=5, **options)
    again = calibration_ranks(naive_bayes, simulations=20, **options)
    pd.testing.assert_frame_equal(first, ranks.iloc[:5])
    pd.testing.assert_frame_equal(again, ranks.iloc[:20])
    pd.testing.assert_frame_equal(pd.read_csv(file, index_col=0, comment="#"), again)
    with pytest.raises(InputError, match="expected ranks that begin with '# rows 31, seed 1, refined False', got"):
        calibration_ranks(naive_bayes, simulations=20, **options | {"rows": 31})


def test_components_are_ranked_in_their_canonical_order():
    found = calibration_ranks(mixture, rows=30, simulations=2, seed=3, processes=1)
    refined = calibration_ranks(mixture, rows=30, simulations=1, seed=3, refine=True, processes=1)
    assert list(found) == list(refined) and len(found) == 2
    assert found.to_numpy().min() >= 0 and found.to_numpy().max() <= DRAWS


def test_rows_drawn_from_the_prior_follow_its_parameters():
    """Means of 4,000 rows of one class lie within 4.5 standard errors of the drawn location."""
    family = NaiveBayes(Schema((Column("x", "real"),)))
    data, truth = simulate_from_prior(family, 4000, seed=2)
    loc, scale = (float(truth[name].values.ravel()[0]) for name in ("loc", "scale"))
    assert abs(float(data.values.mean()) - loc) < 4.5 * scale / 4000**0.5
    assert float(data.values.std()) == pytest.approx(scale, rel=0.06)
    assert torch.equal(data.scale, torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize("resampled", [False, True])
def test_the_z_of_a_linear_vae_is_calibrated(resampled):
    """Under the exact posterior for a guide, 400 rows: no rank is as rare as 1 in 2,000; the seed is fixed."""
    family, _, _ = guided("full")
    found = latent_ranks(family, 400, seed=2, resampled=resampled)
    assert min(uniformity(found[name].to_numpy(), DRAWS) for name in found) > 5e-4


def test_a_guide_that_is_too_narrow_is_seen_and_resampling_mends_it():
    family, _, _ = guided("full", 0.5)
    guide, mended = (latent_ranks(family, 400, seed=2, resampled=resampled) for resampled in (False, True))
    assert coverage_table(guide["z[0]"].to_numpy(), DRAWS)["coverage"][2] < 0.75
    assert uniformity(guide["z[0]"].to_numpy(), DRAWS) < 0.001 < uniformity(mended["z[0]"].to_numpy(), DRAWS)


def test_point_estimates_and_another_familys_file_are_refused(ranks, tmp_path):
    with pytest.raises(InputError, match="expected estimate 'bayes', got 'map'"):
        simulate_from_prior(NaiveBayes(Schema((Column("x", "real"),)), estimate="map"), 3, seed=0)
    (tmp_path / "ranks.csv").write_text("# rows 30, seed 3, refined False\n" + ranks.iloc[:1].to_csv())
    with pytest.raises(InputError, match="expected ranks of"):
        calibration_ranks(mixture, rows=30, simulations=2, seed=3, kept=tmp_path / "ranks.csv", processes=1)
