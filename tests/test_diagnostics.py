"""Monte Carlo errors are as large as they say, and k-hat finds the tail that is there."""

import numpy as np
import pytest
from scipy import stats

from ppl_models.errors import InputError
from ppl_models.evaluation import pareto_k, summarise_weights


def normal_log_weights(*, rows, draws, scale, seed):
    """Log weights of a standard normal target under a normal proposal of another scale."""
    draw = np.random.default_rng(seed).normal(0.0, scale, (rows, draws))
    return stats.norm.logpdf(draw) - stats.norm.logpdf(draw, scale=scale)


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_khat_finds_the_shape_of_a_generalised_pareto_tail(shape):
    weights = stats.genpareto(shape).rvs((40, 4000), random_state=1)
    khat = pareto_k(np.log(weights))
    # sd of one fit to 190 tail points is about (1 + k) / sqrt(190); false alarm below 1e-4 over 40 rows
    assert khat.mean() == pytest.approx(shape, abs=4 * (1 + shape) / np.sqrt(190 * 40) + 0.03)


def test_khat_is_low_for_a_wide_guide_and_high_for_a_narrow_one():
    wide, narrow = (normal_log_weights(rows=5, draws=2000, scale=scale, seed=2) for scale in (1.3, 0.2))
    assert (pareto_k(wide) < 0.5).all()
    assert (pareto_k(narrow) > 0.7).all()


def test_an_exact_guide_has_khat_minus_infinity_whatever_the_rounding():
    noise = np.random.default_rng(3).normal(0.0, 1e-13, (4, 100))
    assert (pareto_k(noise + np.array([[0.0], [-5.0], [1e3], [-1e5]])) == -np.inf).all()


def test_a_row_does_not_change_the_khat_of_another():
    weights = normal_log_weights(rows=6, draws=300, scale=0.7, seed=4)
    alone = np.concatenate([pareto_k(row[None]) for row in weights])
    np.testing.assert_array_equal(pareto_k(weights), alone)


def test_khat_leaves_its_input_as_it_was():
    weights = normal_log_weights(rows=2, draws=100, scale=0.7, seed=5)
    before = weights.copy()
    pareto_k(weights)
    np.testing.assert_array_equal(weights, before)


def test_too_few_draws_have_no_khat():
    assert np.isnan(pareto_k(normal_log_weights(rows=3, draws=24, scale=0.7, seed=6))).all()
    assert np.isfinite(pareto_k(normal_log_weights(rows=3, draws=25, scale=0.7, seed=6))).all()


def test_a_row_with_no_weight_is_hopeless():
    weights = normal_log_weights(rows=2, draws=50, scale=0.7, seed=7)
    weights[0] = -np.inf
    assert pareto_k(weights)[0] == np.inf
    assert summarise_weights(weights.T).values[0] == -np.inf


def test_values_are_the_log_of_the_mean_weight():
    weights = np.random.default_rng(8).gamma(2.0, size=(30, 4))
    np.testing.assert_allclose(summarise_weights(np.log(weights)).values, np.log(weights.mean(axis=0)))


def test_values_survive_log_weights_beyond_the_range_of_floats():
    log_weights = np.log(np.random.default_rng(9).gamma(2.0, size=(30, 4)))
    far = summarise_weights(log_weights - 5000.0)
    np.testing.assert_allclose(far.values + 5000.0, summarise_weights(log_weights).values, rtol=1e-10)
    assert np.isfinite(far.monte_carlo_se).all()


def test_the_monte_carlo_error_is_the_spread_of_repeated_estimates():
    repeats, draws = 4000, 200
    weights = normal_log_weights(rows=repeats, draws=draws, scale=1.4, seed=10)
    summary = summarise_weights(weights.T)
    # the sd of 4000 repeats has a relative error of 1 / sqrt(8000) = 1.1 %; false alarm below 1e-4
    assert summary.monte_carlo_se.mean() == pytest.approx(summary.values.std(ddof=1), rel=0.045)


def test_the_influences_of_chunks_add_to_the_error_of_the_total():
    repeats, draws, scales = 3000, 200, np.array([[1.2], [1.4], [1.8]])
    draw = np.random.default_rng(11).normal(size=(repeats, 1, draws)) * scales
    weights = (stats.norm.logpdf(draw) - stats.norm.logpdf(draw, scale=scales)).transpose(0, 2, 1)
    totals = [summarise_weights(repeat).values.sum() for repeat in weights]
    chunks = [summarise_weights(weights[0][:, rows]).influence for rows in ([0, 1], [2])]
    errors = [summarise_weights(repeat).influence.std(ddof=1) / draws**0.5 for repeat in weights]
    np.testing.assert_allclose(sum(chunks), summarise_weights(weights[0]).influence, atol=1e-10)
    # relative error of the sd of 3000 repeats is 1.3 %; false alarm below 1e-4
    assert np.mean(errors) == pytest.approx(np.std(totals, ddof=1), rel=0.052)


def test_the_rise_from_half_the_draws_is_what_is_missing_still():
    """The truth is 0; over 4,000 rows within 5 errors of the mean of the paired difference, and 1 / draws² beside."""
    weights = normal_log_weights(rows=4000, draws=200, scale=1.4, seed=12)
    summary = summarise_weights(weights.T)
    missing = -summary.values
    off = summary.rise - missing
    assert summary.rise.mean() > 0
    assert abs(off.mean()) < 5 * off.std(ddof=1) / 4000**0.5 + 10 / 200**2


def test_effective_sizes_count_draws_as_their_weights_do():
    weights = np.log(np.array([[1.0, 1.0, 2.0], [1.0, 1e-300, 1.0], [1.0, 1e-300, 1.0]]))
    np.testing.assert_allclose(summarise_weights(weights).effective, [3, 1, 16 / 6])
    hopeless = summarise_weights(np.full((4, 1), -np.inf))
    assert hopeless.effective == 0


def test_a_single_draw_has_neither_a_monte_carlo_error_nor_a_rise():
    alone = summarise_weights(np.zeros((1, 3)))
    assert np.isnan(alone.monte_carlo_se).all() and np.isnan(alone.rise).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_log_weights_that_are_no_weights_are_refused(wrong):
    weights = np.zeros((30, 3))
    weights[7, 2] = wrong
    with pytest.raises(InputError, match=f"got {wrong} at row 2"):
        summarise_weights(weights)
    with pytest.raises(InputError, match=f"got {wrong} at row 2"):
        pareto_k(weights.T)


def test_no_draw_is_refused():
    with pytest.raises(InputError, match="at least one importance draw"):
        summarise_weights(np.zeros((0, 3)))
