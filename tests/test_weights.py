"""Priors of the weights: closed forms against draws, sums and Pyro, and what they are for."""

import numpy as np
import pyro
import pytest
import torch
from cases import rows_of
from scipy import special, stats

from ppl_models.distributions import WeightsPrior, seeded
from ppl_models.families import GaussianMixture
from ppl_models.inference import NaturalGradient, estimate_elbo, fit

PRIORS = {
    "Dirichlet": WeightsPrior(),
    "sparse Dirichlet": WeightsPrior(concentration=0.05),
    "Dirichlet process": WeightsPrior("stick-breaking", 2.0),
}
COUNTS = np.array([6.0, 3.0, 0.0, 1.0])
DRAWS = 20_000
SE = 4.5  # standard errors: false alarms 7e-6 a number
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)


def posterior(prior: WeightsPrior):
    """The weights of four classes, and natural parameters given how many rows each has."""
    weights = prior.over(4, "bayes")
    return weights, weights.prior + torch.tensor(COUNTS)


def drawn(weights, natural) -> torch.Tensor:
    with seeded(0):
        return weights.sample(natural.expand(DRAWS, -1))


def within(draws: torch.Tensor, expected: torch.Tensor) -> bool:
    error = draws.std(0) / len(draws) ** 0.5
    return bool(((draws.mean(0) - expected).abs() < SE * error + 1e-12).all())


@every_prior
def test_draws_of_the_weights_have_their_expected_values(prior):
    """Weights and their logarithms, eight numbers; false alarms 6e-5."""
    weights, natural = posterior(prior)
    found = drawn(weights, natural)
    torch.testing.assert_close(found.sum(-1), torch.ones(DRAWS, dtype=torch.float64))
    assert within(found, weights.log_mean(natural).exp())
    assert weights.log_mean(natural).exp().sum() == pytest.approx(1, abs=1e-12)
    if prior.concentration > 1e-1:  # the logarithm of a weight next to 0 has too heavy a tail to be averaged
        assert within(found.log(), weights.expected(natural))


@every_prior
def test_the_divergence_is_the_mean_log_ratio_of_the_site(prior):
    """Of draws under q, log q − log p by Pyro's own distributions of the site."""
    weights, natural = posterior(prior)
    with seeded(1):
        trace = pyro.poutine.trace(weights.sample).get_trace(natural.expand(DRAWS, -1))
    sites = {name: trace.nodes[name]["value"] for name in trace.stochastic_nodes}
    wide = weights.prior.expand(DRAWS, -1)
    other = pyro.poutine.trace(pyro.poutine.condition(weights.sample, data=sites)).get_trace(wide)
    ratios = sum(trace.nodes[name]["fn"].log_prob(value) for name, value in sites.items())
    ratios = ratios - sum(other.nodes[name]["fn"].log_prob(value) for name, value in sites.items())
    assert within(ratios, weights.divergence(natural))


@every_prior
def test_the_evidence_of_known_classes_is_polyas_urn(prior):
    """p(classes) row after row: for a Dirichlet its urn, for sticks a row stops at each or goes on."""
    weights, natural = posterior(prior)
    if prior.process == "dirichlet":
        total = 4 * prior.concentration
        expected = special.gammaln(total) - special.gammaln(total + COUNTS.sum())
        expected += (special.gammaln(prior.concentration + COUNTS) - special.gammaln(prior.concentration)).sum()
    else:
        after = COUNTS[::-1].cumsum()[::-1][1:]
        expected = (special.betaln(1 + COUNTS[:-1], 2.0 + after) - special.betaln(1, 2.0)).sum()
    assert float(weights.log_evidence(natural)) == pytest.approx(expected, rel=1e-10)


@every_prior
def test_free_parameters_lead_back_to_the_natural_ones(prior):
    weights, natural = posterior(prior)
    natural = natural + 0.5
    torch.testing.assert_close(weights.natural(weights.unconstrain(natural)), natural, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("flat", [True, False])
def test_the_point_of_the_weights_is_the_mode(flat):
    """Shares of the counts, each less one plus the concentration unless the prior is left out."""
    weights = WeightsPrior(concentration=3.0).over(4, "maximum-likelihood" if flat else "map")
    found = weights.settle(weights.prior + torch.tensor(COUNTS)).exp()
    counts = COUNTS if flat else COUNTS + 2
    np.testing.assert_allclose(found, counts / counts.sum(), atol=1e-300)
    if not flat:
        known = -stats.dirichlet(np.full(4, 3.0)).logpdf(found.numpy())
        assert float(weights.divergence(found.log())) == pytest.approx(known, rel=1e-10)


@every_prior
def test_the_elbo_under_each_prior_is_pyros(prior):
    """Within 4.6 standard errors of 60 particles; false alarms 2e-5."""
    rows = rows_of("iris", 150)
    method = NaturalGradient(restarts=2, starts=6)
    found = fit(GaussianMixture(rows.schema, components=6, weights=prior), rows, seed=0, method=method)
    estimate = estimate_elbo(found.family, rows, seed=1, particles=60)
    assert abs(found.elbo - estimate.mean) < 4.6 * estimate.se + 1e-9


def test_the_components_of_a_process_stand_in_the_order_of_their_size():
    rows = rows_of("iris", 150)
    family = GaussianMixture(rows.schema, components=8, weights=WeightsPrior("stick-breaking", 1.0))
    fit(family, rows, seed=0, method=NaturalGradient(restarts=2, starts=6))
    sizes = family.guide.natural().detach()[:, -1]
    assert sizes.sum() == pytest.approx(150, rel=1e-9)
    assert (sizes.diff() <= 1e-6).all()
