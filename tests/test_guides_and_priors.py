"""Answers for z and priors of z are the distributions they say they are, and their KL is that of their draws."""

import sys
from functools import cache
from typing import get_args

import jaxtyping
import numpy as np
import pyro.distributions as dist
import pytest
import torch
from cases import rows_of
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from ppl_models.distributions import (
    DecoderLikelihoods,
    GuideKind,
    LatentPrior,
    closed_form_kl,
    make_answer,
    make_prior,
    seeded,
)
from ppl_models.distributions.amortised import FullNormal, StandardNormal
from ppl_models.errors import InputError
from ppl_models.families import VAE
from ppl_models.inference.bounds import make_elbo
from ppl_models.nn import Dense

KINDS = get_args(GuideKind)
GAUSSIAN = ("diagonal", "full")
FLOWS = ("autoregressive-flow", "spline-flow")
STANDARD = StandardNormal.like(torch.zeros(2, dtype=torch.float64))


def answer_of(kind: str, latent: int = 2) -> torch.nn.Module:
    """An answer with weights that are far enough from 0 to bend."""
    with seeded(3):
        answer = make_answer(kind, 4, latent).double()
        for parameter in answer.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5
    return answer


@cache
def posterior(kind: str, rows: int = 3) -> dist.Distribution:
    with seeded(4), torch.no_grad():
        return answer_of(kind)(torch.randn(rows, 4, dtype=torch.float64))


def draws_of(law: dist.Distribution, number: int) -> Tensor:
    with seeded(5), torch.no_grad():
        return law.sample((number,))


def close_by_draws(found: Tensor, expected: Tensor) -> None:
    """The mean of draws (draws, rows) against a closed form, to within 5 standard errors: false alarms 6e-7 a row."""
    assert ((found.mean(0) - expected).abs() < 5 * found.std(0) / len(found) ** 0.5).all()


@pytest.mark.parametrize("kind", GAUSSIAN)
def test_the_kl_from_the_standard_normal_is_that_of_draws(kind):
    q = posterior(kind)
    z = draws_of(q, 40_000)
    close_by_draws(q.log_prob(z) - STANDARD.log_prob(z), closed_form_kl(q, STANDARD).sum(-1))


def test_the_kl_of_a_full_covariance_is_torchs():
    q = posterior("full")
    plain = dist.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    expected = kl_divergence(torch.distributions.MultivariateNormal(q.loc, scale_tril=q.scale_tril), plain)
    torch.testing.assert_close(closed_form_kl(q, STANDARD)[..., 0], expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(closed_form_kl(q, plain)[..., 0], expected, rtol=1e-12, atol=0)


def test_the_kl_between_two_full_covariances_is_torchs():
    q, p = posterior("full"), dist.MultivariateNormal(torch.ones(2).double(), 2 * torch.eye(2).double())
    torch.testing.assert_close(closed_form_kl(q, p)[..., 0], kl_divergence(q, p), rtol=1e-12, atol=0)


def test_a_diagonal_guide_and_a_full_one_without_correlations_have_the_same_kl():
    base = posterior("diagonal").base_dist
    full = dist.MultivariateNormal(base.loc, scale_tril=torch.diag_embed(base.scale))
    whole = closed_form_kl(posterior("diagonal"), STANDARD)
    assert whole.shape == (3, 2)
    torch.testing.assert_close(closed_form_kl(full, STANDARD)[..., 0], whole.sum(-1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", FLOWS)
def test_no_kl_is_made_up_where_there_is_no_formula(kind):
    mixture = make_prior(LatentPrior("mixture", 3), 2, 4, posterior).double()()
    assert closed_form_kl(posterior(kind), STANDARD) is None
    assert closed_form_kl(posterior("diagonal"), mixture) is None
    laplace = dist.Laplace(torch.zeros(2), 1.0).to_event(1)
    assert closed_form_kl(laplace, dist.StudentT(3.0, torch.zeros(2)).to_event(1)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_the_answers_to_noise(kind):
    """The same density as the map's: log p(noise) − log |derivative| by automatic differentiation."""
    answer, noise = answer_of(kind), torch.tensor([[0.3, -1.2], [1.5, 0.4], [0.0, 0.1]], dtype=torch.float64)
    q = posterior(kind)
    z = answer.reparametrise(q, noise).detach()
    for row in range(3):
        jacobian = torch.func.jacrev(lambda point: answer.reparametrise(q, point.expand(3, 2)))(noise[row])[row]
        expected = STANDARD.log_prob(noise[row]) - torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(q.log_prob(z)[row], expected.detach(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", FLOWS)
def test_a_flow_knows_what_it_drew_and_inverts_what_it_did_not(kind):
    q = posterior(kind)
    z = draws_of(q, 50)
    remembered = q.log_prob(z)
    assert z.shape == (50, 3, 2) and remembered.shape == (50, 3)
    torch.testing.assert_close(q.log_prob(z.clone()), remembered, rtol=1e-8, atol=1e-8)
    other = q.expand((3,))
    torch.testing.assert_close(other.log_prob(z), remembered, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_integrates_to_one(kind):
    """By quadrature over a rectangle half as large again as that of 4,000 draws."""
    q = posterior(kind, 1)
    far = 1.5 * draws_of(q, 4000).abs().amax((0, 1))
    axes = [torch.linspace(-1, 1, 161, dtype=torch.float64) * end for end in far]
    with torch.no_grad():
        density = q.log_prob(torch.cartesian_prod(*axes)[:, None]).exp()
    cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    assert float(density.sum() * cell) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_answer_has_the_same_density_and_no_gradient_but_that_of_the_point(kind):
    answer, hidden = answer_of(kind), torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    q = answer(hidden)
    z = answer.reparametrise(q, torch.randn(3, 2, dtype=torch.float64)).detach().requires_grad_()
    frozen, free = answer.frozen(q).log_prob(z), q.log_prob(z)
    torch.testing.assert_close(frozen, free, rtol=1e-8, atol=1e-8)
    by_point = [torch.autograd.grad(each.sum(), z, retain_graph=True)[0] for each in (frozen, free)]
    torch.testing.assert_close(*by_point, rtol=1e-7, atol=1e-8)
    others = torch.autograd.grad(frozen.sum(), [hidden, *answer.parameters()], allow_unused=True)
    assert all(each is None for each in others)


def test_a_full_covariance_starts_with_next_to_no_correlations():
    rows = rows_of("iris", 150)
    family = VAE(rows.schema, latent=3, network=Dense((8,)), guide="full")
    family.adopt(rows)
    family.initialise(rows, seed=0)
    found = family.guide.answer(torch.randn(500, 8)).scale_tril.detach()
    below = found[:, *torch.tril_indices(3, 3, -1)]
    assert 0 < below.abs().mean() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_one_dimension_of_z_is_enough_for_every_guide(kind):
    q = answer_of(kind, latent=1)(torch.randn(3, 4, dtype=torch.float64))
    z = draws_of(q, 20)
    assert z.shape == (20, 3, 1)
    assert torch.isfinite(q.log_prob(z)).all()


def test_extreme_scales_are_held_within_exp_of_plus_and_minus_ten():
    answer = FullNormal(1, 2)
    answer.log_scale.weight.data.fill_(100.0)
    scales = answer(torch.tensor([[1.0], [-1.0]])).scale_tril.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(scales.log(), torch.tensor([[10.0, 10.0], [-10.0, -10.0]]))


def test_a_mixture_prior_is_the_mixture_it_says():
    with seeded(2):
        prior = make_prior(LatentPrior("mixture", 3), 2, 4, posterior).double()
        for parameter in prior.parameters():
            parameter.data += torch.randn_like(parameter)
        z = torch.randn(20, 2, dtype=torch.float64)
    weights, scales = prior.logits.softmax(0).detach().numpy(), prior.log_scale.exp().detach().numpy()
    parts = [stats.multivariate_normal(loc, np.diag(s**2)) for loc, s in zip(prior.loc.detach(), scales, strict=True)]
    expected = np.log(sum(weight * part.pdf(z.numpy()) for weight, part in zip(weights, parts, strict=True)))
    np.testing.assert_allclose(prior().log_prob(z).detach(), expected, rtol=1e-10)


def vamp(guide: str = "diagonal") -> VAE:
    rows = rows_of("fast_food_customers", 150)
    options = {"prior": LatentPrior("vamp", 5), "guide": guide, "network": Dense((6,)), "dtype": torch.float64}
    family = VAE(rows.schema, latent=2, **options)
    family.adopt(rows)
    family.initialise(rows, seed=0)
    return family


@pytest.mark.parametrize("guide", GAUSSIAN)
def test_a_vampprior_is_the_mixture_of_the_guides_answers_to_its_rows(guide):
    family, z = vamp(guide), torch.randn(7, 2, dtype=torch.float64)
    prior = family.model.prior
    prior.logits.data = torch.tensor([0.3, -1.0, 0.0, 2.0, 0.5], dtype=torch.float64)
    answers = [family.guide.at(row[None]).log_prob(z) for row in prior.inputs]
    expected = (torch.stack(answers, -1) + prior.logits.log_softmax(0)).logsumexp(-1)
    torch.testing.assert_close(family.prior().log_prob(z), expected, rtol=1e-10, atol=0)


def test_a_vampprior_starts_from_training_rows():
    family, rows = vamp(), rows_of("fast_food_customers", 150)
    numbers = family.guide.encoder.inputs(rows, torch.float64)
    same = (family.model.prior.inputs[:, None] == numbers).all(-1)
    assert same.any(-1).all()
    assert len(family.model.prior.inputs.unique(dim=0)) == 5


def test_a_vampprior_starts_from_the_same_rows_whether_or_not_it_was_trained_before():
    """Cells are hidden from the encoder in training, and not at the start."""
    rows, first = rows_of("iris", 150), []
    network = Dense((4,), hide=0.5)
    family = VAE(rows.schema, latent=1, network=network, prior=LatentPrior("vamp", 5), dtype=torch.float64)
    family.adopt(rows)
    for _ in range(2):
        family.initialise(rows, seed=0)
        first.append(family.model.prior.inputs.detach().clone())
    assert torch.equal(*first)
    assert (first[0] != 0).all()


def test_a_vampprior_of_more_components_than_rows_starts_from_some_rows_twice():
    rows = rows_of("iris", 150)[:3]
    family = VAE(rows.schema, latent=1, network=Dense((4,)), prior=LatentPrior("vamp", 7))
    family.adopt(rows)
    family.initialise(rows, seed=0)
    assert len(family.model.prior.inputs.unique(dim=0)) == 3


def test_the_priors_density_teaches_the_guide_and_the_rows_of_a_vampprior():
    family = vamp()
    family.prior().log_prob(torch.randn(7, 2, dtype=torch.float64)).sum().backward()
    prior = family.model.prior
    assert min(float(each.grad.abs().sum()) for each in (prior.logits, prior.inputs)) > 0
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in family.guide.parameters())


def test_a_vampprior_owns_none_of_the_guides_parameters():
    names = [name for name, _ in vamp().model.prior.named_parameters()]
    assert names == ["logits", "inputs"]
    family, rows = vamp(), rows_of("fast_food_customers", 150)
    make_elbo(family)(family.model, family.guide)(rows, len(rows)).backward()
    assert torch.isfinite(family.model.prior.inputs.grad).all()


def test_importing_zuko_for_a_flow_leaves_torchs_checks_of_arguments_on(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)
    assert Distribution._validate_args
    make_answer("spline-flow", 4, 2)
    assert Distribution._validate_args
    with pytest.raises(ValueError, match="scale"):
        torch.distributions.Normal(0.0, -1.0)


def test_a_flow_without_zuko_is_refused_by_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(InputError, match=r"a flow for a guide needs zuko.*pip install 'ppl_models\[flows\]'"):
        VAE(rows_of("iris", 150).schema, latent=2, guide="spline-flow")
    assert VAE(rows_of("iris", 150).schema, latent=2, guide="full").latent == 2


REFUSED = {
    "guide": (
        lambda schema: VAE(schema, latent=2, guide="laplace"),
        "guide: expected one of diagonal, full, autoregressive-flow, spline-flow, got 'laplace'",
    ),
    "prior": (lambda schema: LatentPrior("cauchy"), "prior: expected one of normal, mixture, vamp, got 'cauchy'"),
    "components": (lambda schema: LatentPrior("vamp", 0), "prior: components: expected one or more, got 0"),
    "real": (
        lambda schema: DecoderLikelihoods(real="beta"),
        "real: expected one of normal, continuous-bernoulli, got 'beta'",
    ),
    "scale": (lambda schema: DecoderLikelihoods(scale="cell"), "scale: expected one of row, column, got 'cell'"),
    "counts": (
        lambda schema: DecoderLikelihoods(counts="geometric"),
        "counts: expected one of poisson, negative-binomial, got 'geometric'",
    ),
    "levels": (
        lambda schema: DecoderLikelihoods(levels="ordinal"),
        "levels: expected one of categorical, discretised-logistic, dequantised-normal, got 'ordinal'",
    ),
    "a VampPrior of flows": (
        lambda schema: VAE(schema, latent=2, guide="spline-flow", prior=LatentPrior("vamp")),
        "prior 'vamp': expected a Gaussian guide, whose answers it mixes, got 'spline-flow'",
    ),
    "no dimension of z": (
        lambda schema: VAE(schema, latent=0),
        "VAE: expected one or more latent dimensions, got latent=0",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_answers_and_priors_that_do_not_exist_are_refused(call, message):
    """As users meet them: the type checks of the test run are off."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(InputError, match=message):
            call(rows_of("iris", 150).schema)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
