"""Parameter draws with the component summed out, against closed forms, quadrature and one another."""

import numpy as np
import pandas as pd
import pytest
import torch
from cases import rows_of
from scipy import stats

from ppl_models.datasets import Column, Schema, load, prepare
from ppl_models.distributions import VectorToPositiveDefinite, seeded
from ppl_models.families import GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import fit, log_evidence, parameter_draws, refined_draws

DRAWS = 2000


def small_mixture():
    """Two components of counts in 60 rows: weights and two rates, three parameters, small enough for quadrature."""
    rng = np.random.default_rng(0)
    counts = np.concatenate([rng.poisson(2, 30), rng.poisson(7, 30)])
    frame = pd.DataFrame({"visits": counts})
    schema = Schema((Column("visits", "count"),))
    rows = prepare(frame, schema)(frame)
    return rows, fit(Mixture(schema, components=2), rows, seed=0).family


def quadrature(rows) -> tuple[np.ndarray, np.ndarray, float]:
    """Posterior means and sds of (first weight, lower rate, higher rate), and the log evidence, on a grid."""
    x, mean = rows.values.numpy()[:, 0], float(rows.scale[0])
    weight, rate = np.linspace(0.002, 0.998, 120), np.linspace(0.05, 14, 200)
    low, high = (values.ravel() for values in np.meshgrid(rate, rate, indexing="ij"))
    keep = low < high
    low, high = low[keep], high[keep]
    mass = stats.poisson(np.stack([low, high])[..., None]).pmf(x)
    joint = np.stack([np.log(w * mass[0] + (1 - w) * mass[1]).sum(-1) for w in weight])
    joint += (-(low + high) / mean - 2 * np.log(mean))[None]
    cell = (weight[1] - weight[0]) * (rate[1] - rate[0]) ** 2
    evidence = np.logaddexp.reduce(joint.ravel()) + np.log(cell)
    share = np.exp(joint - joint.max())
    share /= share.sum()
    values = [np.broadcast_to(part, share.shape) for part in (weight[:, None], low, high)]
    means = np.array([(share * part).sum() for part in values])
    return means, np.sqrt([(share * (part - m) ** 2).sum() for part, m in zip(values, means, strict=True)]), evidence


def test_refined_draws_of_a_mixture_have_the_moments_of_quadrature():
    """Means within 0.1 posterior sd and sds within 10 % of a three-dimensional grid."""
    rows, family = small_mixture()
    sites = refined_draws(family, rows, DRAWS, seed=0).sites
    order = sites["count.rate"][..., 0].argsort(-1)
    rates = sites["count.rate"][..., 0].gather(1, order)
    weight = sites["weights"].gather(1, order)[:, 0]
    found = torch.cat([weight[:, None], rates], 1).numpy()
    means, deviations, _ = quadrature(rows)
    assert np.abs((found.mean(0) - means) / deviations).max() < 0.1
    assert np.abs(found.std(0) / deviations - 1).max() < 0.1


def test_importance_weights_give_the_log_evidence_of_both_orders():
    rows, family = small_mixture()
    assert refined_draws(family, rows, DRAWS, seed=0).log_evidence == pytest.approx(
        quadrature(rows)[2] + np.log(2), abs=0.05
    )


def test_the_guides_own_intervals_are_too_narrow_where_components_overlap():
    rows, family = small_mixture()
    own, refined = (parameter_draws(family, DRAWS, seed=0, refine=data)["rate"] for data in (None, rows))
    assert float(refined.std(("chain", "draw")).min()) > 1.3 * float(own.std(("chain", "draw")).min())


@pytest.mark.parametrize("make", [NaiveBayes, lambda schema: GaussianMixture(schema, components=1, covariance="full")])
def test_refined_draws_agree_with_a_guide_that_holds_the_posterior(make):
    rows = rows_of("iris", 150)
    family = fit(make(rows.schema), rows, seed=0).family
    own, refined = (parameter_draws(family, DRAWS, seed=0, refine=data) for data in (None, rows))
    means = [draws[["loc", "scale"]].mean(("chain", "draw")) for draws in (own, refined)]
    deviations = [draws[["loc", "scale"]].std(("chain", "draw")) for draws in (own, refined)]
    gap, ratio = abs(means[1] - means[0]) / deviations[0], deviations[1] / deviations[0]
    for name in ("loc", "scale"):
        assert float(gap[name].max()) < 0.25
        assert float(abs(ratio[name] - 1).max()) < 0.15
    assert refined.attrs["khat"] < 0.7


def test_the_log_evidence_is_the_elbo_of_a_guide_that_holds_the_posterior():
    rows = rows_of("wine", 178)
    found = fit(NaiveBayes(rows.schema), rows, seed=0)
    assert log_evidence(found.family, rows) == pytest.approx(found.elbo, rel=1e-10)


def test_importance_weights_reach_the_exact_log_evidence():
    rows = rows_of("iris", 150)
    family = fit(NaiveBayes(rows.schema), rows, seed=0).family
    found = refined_draws(family, rows, DRAWS, seed=0).log_evidence + float(rows.log_scale.sum())
    assert found / len(rows) == pytest.approx(log_evidence(family, rows), abs=1e-3)


def test_the_map_to_positive_definite_matrices_is_inverted_and_has_its_jacobian():
    transform = VectorToPositiveDefinite()
    with seeded(0):
        free = torch.randn(6, dtype=torch.float64)
    matrix = transform(free)
    rows, columns = torch.tril_indices(3, 3)
    slope = torch.autograd.functional.jacobian(lambda x: transform(x)[rows, columns], free)
    torch.testing.assert_close(transform.inv(matrix), free)
    torch.testing.assert_close(transform.log_abs_det_jacobian(free, matrix), torch.linalg.slogdet(slope)[1])


def test_fast_food_intervals_hold_the_truth():
    """The 90 % intervals of the two-component mixture of all customers hold the means and sds they were drawn with."""
    table = load("fast_food_spending")
    rows = prepare(table.frame, table.schema)(table.frame)
    family = fit(GaussianMixture(table.schema, components=2), rows, seed=0).family
    draws = parameter_draws(family, DRAWS, seed=0, refine=rows)
    for name, truth in (("loc", [40, 55]), ("scale", [5, 7])):
        low, high = np.quantile(draws[name].values.reshape(-1, 2), [0.05, 0.95], axis=0)
        assert (low < truth).all() and (truth < high).all()
