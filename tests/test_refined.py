"""Parameter draws with the component summed out, against closed forms, quadrature and one another."""

import numpy as np
import pandas as pd
import pytest
import torch
from cases import rows_of
from scipy import stats

from ppl_models.datasets import Column, Schema, load, prepare
from ppl_models.distributions import VectorToPositiveDefinite, WeightsPrior, seeded
from ppl_models.families import GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import fit, log_evidence, parameter_draws, refined_draws
from ppl_models.inference.full_rank import FullRank, move, settle
from ppl_models.inference.refined import Posterior

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


class Skewed:
    """Logarithms of gammas with a shear, which are skewed: a target whose moments are known."""

    shapes = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    shear = torch.tensor([[1.0, 0, 0], [0.8, 1, 0], [-0.5, 0.3, 1]], dtype=torch.float64)

    def log_joint(self, free):
        log_gamma = torch.linalg.solve_triangular(self.shear, free.mT, upper=False).mT
        return (self.shapes * log_gamma - log_gamma.exp() - self.shapes.lgamma()).sum(-1)

    log_joint_in_order = log_joint

    def in_order(self, free):
        return torch.ones(len(free), dtype=torch.bool)

    def draw(self, draws):
        return torch.distributions.Gamma(self.shapes, 1.0).sample((draws,)).log() @ self.shear.mT

    @property
    def mean(self):
        return self.shear @ self.shapes.digamma()

    @property
    def covariance(self):
        return self.shear @ torch.polygamma(1, self.shapes).diag() @ self.shear.mT


def standard_errors(draws, target):
    """How far means and mean products of independent draws are from the target's, in standard errors."""
    centred = draws - target.mean
    products = (centred[:, :, None] * centred[:, None, :] - target.covariance)[:, *torch.tril_indices(3, 3)]
    values = torch.cat([centred, products], 1)
    return values.mean(0).abs() / (values.std(0) / len(draws) ** 0.5)


def test_steps_leave_their_target_as_it_is():
    """Chains begin at exact draws, with a guide that is wrong; nine numbers, false alarms 6e-5."""
    target, eye = Skewed(), torch.eye(3, dtype=torch.float64)
    with seeded(0):
        moved = move(target, FullRank(0 * target.mean, eye), target.draw(20_000), states=1, burn_in=0, thinning=4)
    assert 0.3 < moved.accepted < 0.99
    assert standard_errors(moved.states[:, 0], target).max() < 4.5


def test_a_guide_settles_at_the_moments_of_its_target():
    """Begun three units off and with a tenth of the sd; a thousand states, some of them alike."""
    target = Skewed()
    with seeded(0):
        guide, chains = settle(target, FullRank(target.mean + 3, 0.01 * torch.eye(3, dtype=torch.float64)))
        found = guide.weigh(target, 20_000)
    deviation = target.covariance.diagonal().sqrt()
    assert ((guide.centre - target.mean) / deviation).abs().max() < 0.3
    assert (guide.covariance.diagonal().sqrt() / deviation - 1).abs().max() < 0.3
    assert len(chains) == 100 and found.khat < 0.7


def test_weighted_draws_give_the_targets_integral_and_moments():
    """The target integrates to |shear| = 1; 4.5 standard errors, 7e-6, and moments within a few per cent."""
    target = Skewed()
    with seeded(1):
        found = FullRank(target.mean, target.covariance).weigh(target, 50_000)
    value, error = found.log_mean()
    assert abs(value) < 4.5 * error < 0.05
    mean = found.probabilities @ found.free
    assert ((mean - target.mean) / target.covariance.diagonal().sqrt()).abs().max() < 0.05


def test_a_matrix_that_is_all_but_singular_has_no_density_and_raises_nothing():
    rows = rows_of("iris", 150)
    family = fit(GaussianMixture(rows.schema, components=1, covariance="full"), rows, seed=0).family
    with seeded(0):
        posterior = Posterior(family, rows)
    free = posterior.start + torch.tensor([0.0, -30, -400, 400], dtype=torch.float64)[:, None]
    values = posterior.log_joint(free)
    assert values[0].isfinite() and not values[1:].isfinite().any()
    assert posterior.log_joint_in_order(free)[1:].eq(-torch.inf).all()


def test_components_with_an_order_of_their_own_keep_it():
    """Sticks are not exchangeable: there is no other order to put a draw into."""
    rows = rows_of("iris", 150)
    weights = WeightsPrior(process="stick-breaking")
    family = fit(GaussianMixture(rows.schema, components=2, weights=weights), rows, seed=0).family
    with seeded(0):
        posterior = Posterior(family, rows)
    assert posterior.interchangeable == 1
    assert posterior.in_order(posterior.guesses).all()


def test_fast_food_intervals_hold_the_truth():
    """The 90 % intervals of the two-component mixture of all customers hold the means and sds they were drawn with."""
    table = load("fast_food_spending")
    rows = prepare(table.frame, table.schema)(table.frame)
    family = fit(GaussianMixture(table.schema, components=2), rows, seed=0).family
    draws = parameter_draws(family, DRAWS, seed=0, refine=rows)
    for name, truth in (("loc", [40, 55]), ("scale", [5, 7])):
        low, high = np.quantile(draws[name].values.reshape(-1, 2), [0.05, 0.95], axis=0)
        assert (low < truth).all() and (truth < high).all()
