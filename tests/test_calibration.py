"""Ranks of simulation-based calibration: uniform where posteriors are right, and each fault seen by the look for it."""

import numpy as np
import pandas as pd
import pytest

from ppl_models.errors import InputError
from ppl_models.evaluation import calibration_summary, coverage_table, ranks_of, symmetry, uniform_band, uniformity
from ppl_models.evaluation.calibration import ecdf

SIMULATIONS, DRAWS = 400, 199


def normal_ranks(*, seed: int = 0, width: float = 1.0, off: float = 0.0, simulations: int = SIMULATIONS):
    """mean ~ Normal(0, 1), x ~ Normal(mean, 1): ranks among draws of a posterior that is moved and scaled."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=(simulations, 1))
    x = truth + random.normal(size=truth.shape)
    draws = (x / 2 + off)[:, None] + width * 0.5**0.5 * random.normal(size=(simulations, DRAWS, 1))
    return ranks_of(truth, draws)[:, 0]


def test_right_posteriors_have_uniform_ranks():
    ranks = normal_ranks()
    assert uniformity(ranks, DRAWS) > 0.01 and symmetry(ranks, DRAWS) > 0.01
    table = coverage_table(ranks, DRAWS)
    assert (np.abs(table["coverage"] - table["level"]) < 4 * table["se"]).all()


def test_narrow_posteriors_cover_too_seldom_and_vsbc_is_blind_to_that():
    ranks = normal_ranks(width=0.6)
    table = coverage_table(ranks, DRAWS).set_index("level")["coverage"]
    assert uniformity(ranks, DRAWS) < 0.001 and table[0.9] < 0.8
    assert symmetry(ranks, DRAWS) > 0.01


def test_biased_posteriors_are_seen_by_both():
    ranks = normal_ranks(off=0.4)
    assert uniformity(ranks, DRAWS) < 0.001 and symmetry(ranks, DRAWS) < 0.001


def test_the_band_is_left_by_one_uniform_sample_in_twenty():
    """Of 1,000 uniform samples, within 4 binomial errors of 5 % and the 2,000 samples' own; the seed is fixed."""
    band = uniform_band(100, DRAWS)
    samples = np.random.default_rng(5).integers(0, DRAWS + 1, (1000, 100))
    curves = ecdf(samples, DRAWS)
    left = ((curves < band.low) | (curves > band.high)).any(-1).mean()
    assert abs(left - 0.05) < 4 * (0.05 * 0.95 * (1 / 1000 + 1 / 2000)) ** 0.5


def test_p_values_of_uniform_ranks_are_uniform():
    found = [uniformity(np.random.default_rng(seed).integers(0, 40, 50), 39) for seed in range(20)]
    assert 0.2 < np.mean(found) < 0.8 and min(found) > 0.001


@pytest.mark.parametrize("ends", [(0, 200), (40, 160)])
def test_symmetry_alarms_as_often_as_its_p_value_says(ends):
    """1,000 samples, uniform or of posteriors too wide: within 4 binomial errors; the seed is fixed."""
    samples = np.random.default_rng(7).integers(*ends, (1000, 240))
    found = np.array([symmetry(ranks, DRAWS) for ranks in samples])
    for level in (0.01, 0.05, 0.5):
        assert abs((found < level).mean() - level) < 4 * (level * (1 - level) / 1000) ** 0.5


def test_the_summary_of_a_posterior_averages_and_counts_its_parameters():
    ranks = pd.DataFrame({"right": normal_ranks(), "narrow": normal_ranks(seed=1, width=0.6)})
    found = calibration_summary(ranks, DRAWS)
    each = [coverage_table(ranks[name].to_numpy(), DRAWS).set_index("level")["coverage"] for name in ranks]
    assert found["simulations"] == SIMULATIONS and found["parameters"] == 2
    assert found["80%"] == pytest.approx((each[0][0.8] + each[1][0.8]) / 2)
    assert (found["90%, least"], found["90%, most"]) == (each[1][0.9], each[0][0.9])
    assert found["p, uniform"] < 0.001 and found["p, symmetric"] > 0.01


def test_ranks_count_draws_below_and_half_of_ties():
    draws = np.array([[[0.0], [1.0], [1.0], [2.0]]])
    assert ranks_of(np.array([[1.0]]), draws)[0, 0] == 2
    assert ranks_of(np.array([[3.0]]), draws)[0, 0] == 4


@pytest.mark.parametrize("look", [coverage_table, uniformity, symmetry])
@pytest.mark.parametrize("ranks", [np.array([3, 41]), np.array([-1]), np.array([], dtype=np.int64)])
def test_impossible_ranks_are_refused(look, ranks):
    with pytest.raises(InputError, match="expected whole numbers from 0 to the 40 draws"):
        look(ranks, 40)
