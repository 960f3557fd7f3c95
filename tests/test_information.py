"""Information and divergences are those of the closed forms, and their bounds hold."""

import math

import jaxtyping
import numpy as np
import pytest
from scipy import stats

from ppl_models.errors import InputError
from ppl_models.evaluation import Density, aggregate_information, bits_per_dimension, discrete_kl

FAR = stats.norm.isf(5e-6)  # standard errors that chance exceeds once in 1e5
MEAN_KL, INFORMATION, MISS = "E KL(q(z|x) || p(z))", "I(x; z)", "KL(q(z) || p(z))"


@pytest.fixture
def unchecked():
    """Arrays of the wrong shape arrive as they do at a user, without the type checks of the test run."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def channel(rows, scale, *, seed):
    """Log densities of codes z = x + noise, for standard normal x and a standard normal prior."""
    x, noise = np.random.default_rng(seed).normal(size=(2, rows))
    z = x + scale * noise
    return stats.norm.logpdf(z[:, None], x[None, :], scale), stats.norm.logpdf(z)


def closed_form(scale):
    """E KL, I and KL of the aggregate N(0, 1 + scale²) for the channel."""
    variance = 1 + scale**2
    information, miss = 0.5 * np.log(1 + scale**-2), 0.5 * (variance - 1 - np.log(variance))
    return {MEAN_KL: information + miss, INFORMATION: information, MISS: miss}


@pytest.mark.parametrize("scale", [1.0, 2.0, 4.0])
def test_the_parts_of_a_gaussian_channel_are_those_of_the_closed_form(scale):
    table = aggregate_information(*channel(1500, scale, seed=0))
    for measure, value in closed_form(scale).items():
        low, low_se, high, high_se = table.loc[measure]
        # the two bounds are apart by 1 / (N scale²) in expectation, at most 0.0007
        assert value - 0.001 - FAR * high_se < high
        assert low < value + 0.001 + FAR * low_se
        assert high - low < 0.01


def test_information_and_miss_add_to_the_mean_kl():
    table = aggregate_information(*channel(50, 0.5, seed=1))
    low, high = table["low"], table["high"]
    assert low[INFORMATION] + high[MISS] == pytest.approx(low[MEAN_KL])
    assert high[INFORMATION] + low[MISS] == pytest.approx(high[MEAN_KL])


def repeated(measure, *, rows, repeats):
    tables = [aggregate_information(*channel(rows, 0.5, seed=seed)) for seed in range(repeats)]
    return np.array([table.loc[measure] for table in tables]).T


@pytest.mark.parametrize("measure", [INFORMATION, MISS])
def test_low_and_high_bound_the_value_in_expectation(measure):
    low, _, high, _ = repeated(measure, rows=30, repeats=500)
    assert low.mean() + FAR * stats.sem(low) < closed_form(0.5)[measure] < high.mean() - FAR * stats.sem(high)


@pytest.mark.parametrize("measure", [INFORMATION, MISS])
def test_errors_are_the_spread_over_repeated_samples(measure):
    low, low_se, high, high_se = repeated(measure, rows=150, repeats=400)
    # 3.5 % for the sd of 400 repeats, over four times, and up to 8 % for what the errors are too large by here
    assert np.sqrt(np.mean(low_se**2)) == pytest.approx(low.std(ddof=1), rel=0.25)
    assert np.sqrt(np.mean(high_se**2)) == pytest.approx(high.std(ddof=1), rel=0.25)


def test_both_bounds_are_those_of_a_plain_loop():
    log_q, log_p = channel(5, 0.8, seed=10)
    low, _, high, _ = aggregate_information(log_q, log_p).loc[INFORMATION]
    density = np.exp(log_q)
    left_in = [np.log(density[i, i] / np.mean(density[i])) for i in range(5)]
    left_out = [np.log(density[i, i] / np.mean(np.delete(density[i], i))) for i in range(5)]
    assert (low, high) == pytest.approx((np.mean(left_in), np.mean(left_out)))


def test_left_in_information_is_never_above_log_n_and_reaches_it_for_narrow_posteriors():
    low, _, high, _ = aggregate_information(*channel(20, 1e-4, seed=2)).loc[INFORMATION]
    assert low == pytest.approx(np.log(20))
    assert high > 100


def test_left_in_information_is_unbiased_for_a_population_that_is_the_rows():
    scale, x = 0.7, np.array([-1.0, 0.0, 2.0])
    grid = np.linspace(-8, 9, 20_001)
    parts = stats.norm.pdf(grid[:, None], x, scale)
    exact = np.mean(np.trapezoid(parts * np.log(parts / parts.mean(1, keepdims=True)), grid, axis=0))
    z = x + scale * np.random.default_rng(3).normal(size=(1000, 3))
    log_q = stats.norm.logpdf(z[:, :, None], x, scale)
    low = [aggregate_information(one, np.zeros(3)).loc[INFORMATION, "low"] for one in log_q]
    assert abs(np.mean(low) - exact) < FAR * stats.sem(low)


def test_log_densities_that_are_none_are_refused(unchecked):
    log_q, log_p = channel(4, 1.0, seed=4)
    with pytest.raises(
        InputError, match=r"log_q \(rows, rows\) and log_p \(rows,\) of two rows or more, got \(4, 4\) and"
    ):
        aggregate_information(log_q, log_p[:3])
    with pytest.raises(
        InputError, match=r"log_q of a code under its own row: expected finite numbers, got -inf at \(2,\)"
    ):
        aggregate_information(np.where(np.arange(4) == 2, -np.inf, log_q), log_p)
    with pytest.raises(InputError, match=r"log_q: expected log densities below infinity, got nan at \(0, 0\)"):
        aggregate_information(log_q * np.nan, log_p)
    with pytest.raises(InputError, match=r"log_p: expected finite numbers, got nan at \(0,\)"):
        aggregate_information(log_q, log_p * np.nan)


def distributions(*shape, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])


def test_discrete_kl_is_the_sum_of_its_definition_and_that_of_scipy():
    for p, q in distributions(20, 2, 6, seed=5):
        by_hand = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert discrete_kl(p, q) == pytest.approx(by_hand)
        assert discrete_kl(p, q) == pytest.approx(stats.entropy(p, q))


def test_discrete_kl_is_zero_only_where_both_are_the_same_and_not_symmetric():
    p, q = distributions(2, 5, seed=6)
    assert discrete_kl(p, p) == 0
    assert discrete_kl(p, q) > 0
    assert discrete_kl(p, q) != pytest.approx(discrete_kl(q, p))


def test_what_p_rules_out_costs_nothing_and_what_q_rules_out_costs_all():
    p, q = np.array([0.0, 0.5, 0.5]), np.array([0.5, 0.25, 0.25])
    assert discrete_kl(p, q) == pytest.approx(math.log(2))
    assert discrete_kl(q, p) == np.inf


def test_numbers_that_are_no_distribution_are_refused(unchecked):
    fair = np.array([0.5, 0.5])
    with pytest.raises(InputError, match=r"p: expected probabilities that add to 1, got smallest 0 and sum 0\.9"):
        discrete_kl(np.array([0.5, 0.4]), fair)
    with pytest.raises(InputError, match=r"q: expected probabilities that add to 1, got smallest -0\.5 and sum 1"):
        discrete_kl(fair, np.array([1.5, -0.5]))
    with pytest.raises(InputError, match=r"q: expected finite numbers, got nan at \(1,\)"):
        discrete_kl(fair, np.array([0.5, np.nan]))
    with pytest.raises(InputError, match="same number of classes, got 2 for p, 3 for q"):
        discrete_kl(fair, np.full(3, 1 / 3))


def density(values, **changes):
    facts = {"kind": "exact", "checksum": "ab12", "columns": ("x", "y", "n"), "discrete": (True, True, True)}
    return Density(values=np.asarray(values, dtype=np.float64), **(facts | changes))


def test_fair_coins_cost_one_bit_a_column_and_bits_scale_as_nats_do():
    assert bits_per_dimension(density(np.full(5, 3 * np.log(0.5)))).bits == pytest.approx(1.0)
    rows = density(np.random.default_rng(7).normal(-4, 1, 50))
    found = bits_per_dimension(rows)
    assert found.bits == pytest.approx(-rows.elpd / 3 / np.log(2))
    assert found.se == pytest.approx(rows.se / 3 / np.log(2))


def test_bits_of_the_true_distribution_are_its_entropy():
    p = distributions(4, seed=8)
    drawn = np.random.default_rng(9).choice(4, size=(5000, 3), p=p)
    found = bits_per_dimension(density(np.log(p[drawn]).sum(axis=1)))
    assert abs(found.bits - stats.entropy(p, base=2)) < FAR * found.se


def test_a_lower_bound_of_the_log_probability_is_an_upper_bound_of_the_bits():
    found = bits_per_dimension(density([-1.0, -2.0], kind="lower bound", mean_se=3.0, draws=10))
    assert found.kind == "upper bound"
    assert found.monte_carlo_se == pytest.approx(1 / np.log(2))
    assert bits_per_dimension(density([-1.0, -2.0])).kind == "exact"


def test_bits_of_continuous_columns_or_impossible_rows_are_refused():
    with pytest.raises(InputError, match="expected discrete columns, got the continuous column 'y'"):
        bits_per_dimension(density([-1.0], discrete=(True, False, True)))
    with pytest.raises(InputError, match=r"density: expected finite numbers, got -inf at \(0,\)"):
        bits_per_dimension(density([-np.inf]))
