"""Tail probabilities are the closed form's, uniform under the model, and never zero."""

import numpy as np
import pytest
from scipy import stats

from ppl_models.errors import InputError
from ppl_models.evaluation import tail_probability


def log_densities(*shape, seed):
    """Log densities of rows drawn from the standard normal."""
    return stats.norm.logpdf(np.random.default_rng(seed).normal(size=shape))


def test_the_tail_probability_of_a_standard_normal_is_that_of_both_tails():
    draws, x = 100_000, np.array([-4.0, -3.0, -2.0, -1.0, -0.1, 0.5, 1.5, 2.5, 3.5])
    table = tail_probability(stats.norm.logpdf(x), log_densities(draws, seed=0))
    below = table["probability"] * (1 + draws) - 1
    # an exact binomial interval at 1e-5 for each of nine points: false alarm below 1e-4
    low, high = stats.binom.interval(1 - 1e-5, draws, 2 * stats.norm.cdf(-np.abs(x)))
    assert ((low <= below) & (below <= high)).all()


def test_the_tail_probability_in_three_dimensions_is_that_of_a_chi_square():
    draws, radius = 50_000, np.array([0.5, 1.0, 2.0, 3.0])
    simulated = stats.norm.logpdf(np.random.default_rng(1).normal(size=(draws, 3))).sum(axis=1)
    values = 3 * stats.norm.logpdf(0.0) - radius**2 / 2
    below = tail_probability(values, simulated)["probability"] * (1 + draws) - 1
    low, high = stats.binom.interval(1 - 2e-5, draws, stats.chi2(3).sf(radius**2))  # false alarm below 1e-4 over four
    assert ((low <= below) & (below <= high)).all()


def test_rows_of_the_model_have_uniform_tail_probabilities():
    table = tail_probability(log_densities(1000, seed=2), log_densities(200_000, seed=3))
    # Kolmogorov-Smirnov at a false alarm rate of 1e-4, fixed seeds
    assert stats.kstest(table["probability"], "uniform").pvalue > 1e-4


def test_every_rank_among_the_draws_is_as_likely_under_the_model():
    values = log_densities(4000, 20, seed=4)
    tails = np.array([tail_probability(row[:1], row[1:])["probability"][0] for row in values])
    counts = np.bincount(np.round(tails * 20).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-4  # the false alarm rate, at a fixed seed


def test_the_standard_error_is_the_spread_over_repeated_draws():
    value = stats.norm.logpdf(np.array([1.5]))
    tables = [tail_probability(value, simulated) for simulated in log_densities(2000, 200, seed=5)]
    tails, errors = (np.array([table[name][0] for table in tables]) for name in ("probability", "se"))
    # the sd of 2000 repeats has a relative error of 1 / sqrt(4000) = 1.6 %; false alarm below 1e-4
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(tails.std(ddof=1), rel=0.07)


def test_tail_probabilities_agree_with_a_plain_loop_and_ties_count_as_no_more_probable():
    random = np.random.default_rng(6)
    values, simulated = random.integers(-5, 0, 30).astype(float), random.integers(-5, 0, 40).astype(float)
    by_hand = [(1 + sum(other <= value for other in simulated)) / 41 for value in values]
    np.testing.assert_allclose(tail_probability(values, simulated)["probability"], by_hand)


def test_no_tail_probability_is_zero():
    table = tail_probability(np.array([-np.inf, -1e300]), log_densities(99, seed=7))
    assert table["probability"].tolist() == [0.01, 0.01]
    assert (table["se"] > 0).all()


def test_no_row_is_an_empty_table():
    assert tail_probability(np.zeros(0), np.zeros(3)).shape == (0, 2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_densities_that_are_none_are_refused_by_name_and_row(wrong):
    fine, spoilt = np.zeros(3), np.array([0.0, wrong])
    with pytest.raises(InputError, match=f"values: expected log densities below infinity, got {wrong} at row 1"):
        tail_probability(spoilt, fine)
    with pytest.raises(InputError, match=f"simulated: .* got {wrong} at row 1"):
        tail_probability(fine, spoilt)


def test_no_draw_is_refused():
    with pytest.raises(InputError, match="simulated: expected the log density of at least one drawn row, got none"):
        tail_probability(np.zeros(2), np.zeros(0))
