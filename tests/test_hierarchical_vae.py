"""Two layers of z: linear ones have a Gaussian density, and their parts and gradients agree with other routes."""

import numpy as np
import pytest
import torch
from cases import rows_of
from scipy import stats

from ppl_models.distributions import DecoderLikelihoods, LatentPrior, seeded
from ppl_models.errors import InputError
from ppl_models.families import HierarchicalVAE
from ppl_models.inference import estimate_elbo, log_density
from ppl_models.inference.objectives import Objective, training_loss
from ppl_models.nn import Dense

SE = 4.5  # standard errors: false alarms 7e-6 a number
ROWS = rows_of("iris", 60)
RANDOM = np.random.default_rng(5)
TOP, LOADING = RANDOM.normal(size=(3, 2)), RANDOM.normal(size=(4, 3))
CENTRE, BIAS = RANDOM.normal(size=3) / 3, RANDOM.normal(size=4) / 3
MIDDLE, SCALE = np.array([0.6, 0.9, 0.7]), np.array([0.5, 0.7, 0.4, 0.6])
LAW = stats.multivariate_normal(
    LOADING @ CENTRE + BIAS, LOADING @ (TOP @ TOP.T + np.diag(MIDDLE**2)) @ LOADING.T + np.diag(SCALE**2)
)


def given(prior_mean, prior_covariance, loading, noise) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The law of w | v = loading w + noise, w normal: its slope in v, its intercept, its covariance."""
    covariance = np.linalg.inv(np.linalg.inv(prior_covariance) + loading.T @ np.linalg.solve(noise, loading))
    slope = covariance @ np.linalg.solve(noise, loading).T
    return slope, covariance @ np.linalg.solve(prior_covariance, prior_mean), covariance


def settle(answer, slope: np.ndarray, intercept: np.ndarray, root: np.ndarray) -> None:
    """Make a layer answer Normal(slope v + intercept, root rootᵀ)."""
    rows, columns = np.tril_indices(len(root), -1)
    answer.loc.weight.copy_(torch.tensor(slope))
    answer.loc.bias.copy_(torch.tensor(intercept))
    answer.log_scale.weight.zero_()
    answer.log_scale.bias.copy_(torch.tensor(np.log(np.diag(root))))
    if hasattr(answer, "below"):
        answer.below.weight.zero_()
        answer.below.bias.copy_(torch.tensor(root[rows, columns]))


@torch.no_grad()
def linear(*, wide: float = 1.0) -> HierarchicalVAE:
    """Linear layers with the exact posterior of both, or a wider one, for a guide."""
    likelihoods = DecoderLikelihoods(scale="column")
    options = {"network": Dense(()), "layer": Dense(()), "guide": "full", "dtype": torch.float64}
    family = HierarchicalVAE(ROWS.schema, latent=3, top=2, likelihoods=likelihoods, **options)
    family.adopt(ROWS)
    head, noise = family.model.heads[0], np.diag(SCALE**2)
    head.loc.weight.copy_(torch.tensor(LOADING))
    head.loc.bias.copy_(torch.tensor(BIAS))
    head.log_scale.copy_(torch.tensor(np.log(SCALE - 0.01)))
    settle(family.model.below.answer, TOP, CENTRE, np.diag(MIDDLE))
    through = LOADING @ np.diag(MIDDLE**2) @ LOADING.T + noise
    slope, _, covariance = given(np.zeros(2), np.eye(2), LOADING @ TOP, through)
    settle(family.guide.answer, slope, -slope @ LAW.mean, wide * np.linalg.cholesky(covariance))
    slope, intercept, covariance = given(CENTRE, np.diag(MIDDLE**2), LOADING, noise)
    by_top = covariance @ np.diag(MIDDLE**-2.0) @ TOP
    root = wide * np.linalg.cholesky(covariance)
    settle(family.guide.below.answer, np.hstack([slope, by_top]), intercept - slope @ BIAS, root)
    return family


def test_one_draw_from_the_exact_posterior_gives_the_closed_form():
    expected = LAW.logpdf(ROWS.values) + ROWS.log_scale.numpy()
    np.testing.assert_allclose(log_density(linear(), ROWS, draws=1).values, expected, rtol=1e-9)


def test_many_draws_from_a_wider_guide_give_the_closed_form():
    found, expected = log_density(linear(wide=1.2), ROWS, draws=2000), LAW.logpdf(ROWS.values) + ROWS.log_scale.numpy()
    assert abs(found.elpd - expected.mean()) < SE * found.mean_se
    assert (abs(found.values - expected) < SE * found.monte_carlo_se).all()


@torch.no_grad()
def test_rows_are_drawn_from_the_closed_form():
    """The mean log density of drawn rows is minus the entropy, within its standard error."""
    with seeded(1):
        logs = LAW.logpdf(linear().draw(20_000).values)
    assert abs(logs.mean() + LAW.entropy()) < SE * logs.std() / 20_000**0.5


def curved(**options) -> HierarchicalVAE:
    """A small family with hidden layers, at its start."""
    settings = {"network": Dense((3,)), "layer": Dense((3,)), "dtype": torch.float64, **options}
    family = HierarchicalVAE(ROWS.schema, latent=2, top=2, **settings)
    family.adopt(ROWS)
    family.initialise(ROWS, seed=2)
    return family


@pytest.mark.parametrize("options", [{}, {"guide": "full"}, {"prior": LatentPrior("vamp", 2)}])
def test_the_parts_of_the_elbo_sum_to_pyros(options):
    family = curved(**options)
    with seeded(1), torch.no_grad():
        found = [family.weigh(ROWS, torch.randn(1, 60, 4, dtype=torch.float64)) for _ in range(60)]
    values = np.array([float((each.log_likelihood[0] - each.kl.sum(-1) + ROWS.log_scale).mean()) for each in found])
    expected = estimate_elbo(family, ROWS, seed=2, particles=60)
    assert abs(values.mean() - expected.mean) < SE * np.hypot(values.std(ddof=1) / 60**0.5, expected.se)


@torch.no_grad()
def test_the_kl_of_both_layers_is_the_mean_of_what_draws_pay():
    """Row by row, and in as many columns as there are dimensions."""
    family = curved()
    with seeded(3):
        found = family.weigh(ROWS, torch.randn(4000, 60, family.noise, dtype=torch.float64))
    gaps = found.log_ratio + found.kl.sum(-1)
    assert found.kl.shape == (60, family.latent)
    assert (gaps.mean(0).abs() < SE * gaps.std(0) / 4000**0.5).all()


@torch.no_grad()
@pytest.mark.parametrize("guide", ["diagonal", "full"])
def test_the_joint_laws_of_both_layers_are_those_that_weigh_the_draws(guide):
    family = curved(guide=guide)
    with seeded(2):
        found = family.weigh(ROWS, torch.randn(5, 60, family.noise, dtype=torch.float64))
    ratio = family.prior().log_prob(found.latents[0]) - family.posterior(ROWS).log_prob(found.latents[0])
    torch.testing.assert_close(ratio, found.log_ratio)
    centre = family.weigh(ROWS, torch.zeros(1, family.noise, dtype=torch.float64)).latents[0][0]
    torch.testing.assert_close(family.encode(ROWS), centre)


@torch.no_grad()
def test_the_decoder_does_not_look_at_the_top_layer():
    family = curved()
    z = torch.randn(6, family.latent, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.equal(family.decode(z), family.decode(torch.cat([z[:, :2] + 3, z[:, 2:]], -1)))
    assert not torch.equal(family.decode(z), family.decode(z + 3))


def gradients(family: HierarchicalVAE, rows, *, doubly: bool, seeds: range) -> torch.Tensor:
    """The gradient of all parameters by the bound of 3 draws, one line a seed."""
    loss = training_loss(family, Objective(draws=3, doubly_reparametrised=doubly))
    found = []
    for seed in seeds:
        family.zero_grad()
        with seeded(seed):
            loss(rows, len(rows), 0).backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in family.parameters()]))
    return torch.stack(found)


@pytest.mark.parametrize("guide", ["diagonal", "full"])
def test_the_doubly_reparametrised_gradient_is_the_plain_one_in_expectation(guide):
    """Each coordinate over 40 seeds of 500 copies of two rows; false alarms 1e-5 in all."""
    family, rows = curved(guide=guide), ROWS[torch.arange(2).repeat(500)]
    with torch.no_grad():  # else z_top hardly matters to q(z | x, z_top), and a lost gradient would not show
        family.guide.below.network.layers[0].weight[:, -2:] += torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, -2.0]])
    plain, doubly = (gradients(family, rows, doubly=on, seeds=range(40 * on, 40 * on + 40)) for on in (False, True))
    error = ((plain.var(0) + doubly.var(0)) / 40).sqrt()
    limit = stats.t(39).isf(5e-6 / plain.shape[1])
    assert ((plain.mean(0) - doubly.mean(0)).abs() < limit * error + 1e-12).all()
    assert (plain.mean(0).abs() > limit * error).double().mean() > 0.5


REFUSED = {
    "a flow": ({"guide": "spline-flow"}, "expected guide 'diagonal' or 'full', got 'spline-flow'"),
    "no top": ({"top": 0}, "HierarchicalVAE: top: expected one or more, got 0"),
    "no z": ({"latent": 0}, "HierarchicalVAE: latent: expected one or more, got 0"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_two_layers_cannot_be_is_refused_by_name(options, message):
    with pytest.raises(InputError, match=message):
        HierarchicalVAE(ROWS.schema, **{"latent": 2, **options})
