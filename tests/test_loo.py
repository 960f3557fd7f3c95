"""Leave-one-out densities are ArviZ's, and those that a conjugate posterior has in closed form."""

import arviz
import numpy as np
import pytest
from scipy import stats

from ppl_models.errors import InputError
from ppl_models.evaluation import pareto_k, psis_loo
from ppl_models.evaluation.diagnostics import smooth_weights

SCALE, PRIOR_SCALE = 1.5, 3.0


def posterior(x):
    """Mean and sd of θ given rows x ~ N(θ, 1.5) and θ ~ N(0, 3)."""
    precision = PRIOR_SCALE**-2 + len(x) * SCALE**-2
    return x.sum() * SCALE**-2 / precision, precision**-0.5


def predictive(x, rows):
    """log p(x given rows), exactly."""
    loc, sd = posterior(rows)
    return stats.norm.logpdf(x, loc, np.hypot(sd, SCALE))


def log_likelihood(x, *, draws, seed):
    loc, sd = posterior(x)
    theta = np.random.default_rng(seed).normal(loc, sd, (draws, 1))
    return stats.norm.logpdf(x, theta, SCALE)


def arviz_loo(values):
    """Densities of the rows, their k-hat, the total's se and p_loo by the installed ArviZ."""
    groups = {"posterior": {"theta": np.zeros((1, len(values)))}, "log_likelihood": {"x": values[None]}}
    if int(arviz.__version__.split(".")[0]) >= 1:
        found = arviz.loo(arviz.from_dict(groups), pointwise=True, reff=1.0)
        return found.elpd_i, found.pareto_k, found.se, found.p
    found = arviz.loo(arviz.from_dict(**groups), pointwise=True, reff=1.0)
    return found.loo_i, found.pareto_k, found.se, found.p_loo


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(1.0, SCALE, 20)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
@pytest.mark.parametrize("draws", [100, 2000])
def test_leave_one_out_is_that_of_arviz(x, draws):
    values = log_likelihood(np.append(x, 12.0), draws=draws, seed=1)
    found, (elpd, khat, se, p_loo) = psis_loo(values), arviz_loo(values)
    np.testing.assert_allclose(found.elpd_loo, elpd, rtol=1e-10)
    np.testing.assert_allclose(found.khat, khat, rtol=1e-10)
    assert found.p_loo == pytest.approx(float(p_loo))
    assert 21 * found.se == pytest.approx(float(se), rel=0.025)  # its variance may be divided by rows, not rows - 1


def test_leave_one_out_is_the_exact_predictive_density_of_a_conjugate_posterior(x):
    values = log_likelihood(x, draws=4000, seed=2)
    exact = np.array([predictive(x[i], np.delete(x, i)) for i in range(len(x))])
    weights = np.exp(-values)
    error = weights.std(axis=0) / weights.mean(axis=0) / 4000**0.5
    # five standard errors of a raw importance sample, which smoothing can only lower: false alarm 1e-5 over 20 rows
    assert (np.abs(psis_loo(values).elpd_loo - exact) < 5 * error).all()
    assert error.max() < 0.01


def test_the_effective_number_of_parameters_is_what_a_conjugate_posterior_gains_by_seeing_the_row(x):
    found = [psis_loo(log_likelihood(x, draws=2000, seed=seed)).p_loo for seed in range(20)]
    exact = sum(predictive(x[i], x) - predictive(x[i], np.delete(x, i)) for i in range(len(x)))
    # Student's t with 19 degrees of freedom exceeds 5 in either direction once in 1e4
    assert abs(np.mean(found) - exact) < 5 * np.std(found, ddof=1) / 20**0.5
    assert exact == pytest.approx(1.0, abs=0.3)


def test_elpd_and_se_are_the_mean_over_rows_and_its_standard_error(x):
    found = psis_loo(log_likelihood(x, draws=100, seed=3))
    assert found.elpd == pytest.approx(sum(found.elpd_loo) / 20)
    assert found.se == pytest.approx((sum((found.elpd_loo - found.elpd) ** 2) / 19 / 20) ** 0.5)


def test_khat_finds_the_row_that_the_others_do_not_expect(x):
    found = psis_loo(log_likelihood(np.append(x, 40.0), draws=2000, seed=4))
    assert found.khat.argmax() == 20
    assert found.khat[20] > 0.7 > found.khat[:20].max()
    assert found.khat_high == pytest.approx(1 / 21)


def test_a_row_that_no_parameter_touches_keeps_its_density(x):
    values = log_likelihood(x, draws=100, seed=5)
    values[:, 3] = -1.25
    found = psis_loo(values)
    assert found.elpd_loo[3] == pytest.approx(-1.25)
    assert found.khat[3] == -np.inf


def test_densities_beyond_the_range_of_floats_survive(x):
    values = log_likelihood(x, draws=200, seed=6)
    near, far = psis_loo(values), psis_loo(values - 5000.0)
    np.testing.assert_allclose(far.elpd_loo + 5000.0, near.elpd_loo, rtol=1e-9)
    assert far.p_loo == pytest.approx(near.p_loo, rel=1e-6)


def test_single_precision_is_enough_for_the_input(x):
    values = log_likelihood(x, draws=200, seed=7)
    assert psis_loo(values.astype(np.float32)).elpd == pytest.approx(psis_loo(values).elpd, abs=1e-5)


def test_leave_one_out_leaves_its_input_as_it_was(x):
    values = log_likelihood(x, draws=100, seed=8)
    before = values.copy()
    psis_loo(values)
    np.testing.assert_array_equal(values, before)


def test_a_single_row_has_no_standard_error(x):
    assert np.isnan(psis_loo(log_likelihood(x[:1], draws=30, seed=9)).se)


def test_smoothed_weights_add_to_one_and_keep_the_order_of_the_draws():
    weights = np.random.default_rng(10).pareto(1.5, (5, 400))
    smoothed = np.exp(smooth_weights(np.log(weights)).log_weights)
    np.testing.assert_allclose(smoothed.sum(axis=1), 1.0)
    np.testing.assert_array_equal(np.argsort(smoothed, kind="stable"), np.argsort(weights, kind="stable"))


def test_smoothing_lowers_the_error_of_an_importance_sampled_mean():
    draw = np.random.default_rng(11).normal(0.0, 0.55, (2000, 200))
    log_weights = stats.norm.logpdf(draw) - stats.norm.logpdf(draw, scale=0.55)
    raw = np.exp(log_weights) / np.exp(log_weights).sum(axis=1, keepdims=True)
    errors = [(w * draw**2).sum(axis=1) - 1.0 for w in (raw, np.exp(smooth_weights(log_weights).log_weights))]
    # the root mean square falls to 0.72 of it, with sd 0.04 over seeds; false alarm below 1e-4
    assert np.mean(errors[1] ** 2) ** 0.5 < 0.95 * np.mean(errors[0] ** 2) ** 0.5


def test_rows_that_cannot_be_smoothed_keep_their_weights():
    none, flat, few = np.full(50, -np.inf), np.repeat([0.0, -1.0], 25), np.log(np.arange(1.0, 21.0))
    smoothed = smooth_weights(np.stack([none, flat]))
    np.testing.assert_array_equal(smoothed.khat, [np.inf, np.inf])
    np.testing.assert_array_equal(smoothed.log_weights[0], none)
    np.testing.assert_allclose(smoothed.log_weights[1], flat - np.log(np.exp(flat).sum()))
    np.testing.assert_allclose(np.exp(smooth_weights(few[None]).log_weights[0]), np.arange(1, 21) / 210)


def test_khat_is_the_same_with_and_without_the_weights():
    log_weights = np.random.default_rng(12).normal(size=(4, 300))
    np.testing.assert_array_equal(smooth_weights(log_weights).khat, pareto_k(log_weights))


@pytest.mark.parametrize(("shape", "message"), [((24, 3), "25 or more draws .* got 24 of 3"), ((30, 0), "got 30 of 0")])
def test_too_few_draws_and_no_row_are_refused(shape, message):
    with pytest.raises(InputError, match=message):
        psis_loo(np.zeros(shape))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_densities_that_are_not_finite_are_refused(wrong):
    values = np.zeros((30, 3))
    values[7, 2] = wrong
    with pytest.raises(InputError, match=f"log_likelihood: expected finite values, got {wrong} at draw 7, row 2"):
        psis_loo(values)
