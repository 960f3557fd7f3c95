"""Bounds by draws fitted to each row: bounds still, and closer than the guide's where it answers badly."""

import math

import numpy as np
import pytest
import torch
from cases import build, fitted, rows_of

from ppl_models.datasets import Dataset, image_table, prepare
from ppl_models.distributions import DecoderLikelihoods
from ppl_models.errors import InputError
from ppl_models.families import VAE
from ppl_models.inference import bounds_by_draws, fit, log_density
from ppl_models.inference.gradient import Gradient
from ppl_models.inference.row_normals import fit_normals
from ppl_models.nn import Dense

GRID = torch.linspace(-9, 9, 6001, dtype=torch.float64)


def by_quadrature(family: VAE, rows: Dataset) -> np.ndarray:
    """log ∫ p(z) p(x | z) dz of each row by the trapezoidal rule over one dimension, nats in raw units."""
    z = GRID[:, None, None].expand(-1, len(rows), 1)
    joint = family.model.log_likelihood(rows, z) + family.prior().log_prob(z)
    return (joint.logsumexp(0) + math.log(float(GRID[1] - GRID[0])) + rows.log_scale).detach().numpy()


@pytest.fixture(scope="module")
def misled() -> tuple[VAE, Dataset]:
    """A trained decoder under a guide that points elsewhere, half as wide as it was."""
    rows = rows_of("iris", 60)
    family = VAE(rows.schema, latent=1, network=Dense((8,)), dtype=torch.float64)
    fit(family, rows, seed=0, method=Gradient(steps=150, check_every=150, batch_size=None, learning_rate=0.03))
    with torch.no_grad():
        family.guide.answer.loc.bias += 0.4
        family.guide.answer.log_scale.bias -= 0.7
    return family, rows


def test_the_fitted_bound_is_the_density_to_its_monte_carlo_error(misled):
    """The mean over rows lies within 4.5 of its Monte Carlo errors, for draws enough that the bound's gap is less."""
    family, rows = misled
    found, exact = log_density(family, rows, seed=1, draws=4000, method="fitted"), by_quadrature(family, rows)
    assert found.kind == "lower bound"
    assert abs(found.elpd - exact.mean()) < 4.5 * found.mean_se
    assert found.mean_se < 0.01


def test_the_mean_weight_over_seeds_is_the_density_of_each_row(misled):
    """400 seeds of 20 draws: no mean ratio is 4.9 standard errors off, over 60 rows a false alarm of 6e-5."""
    family, rows = misled
    exact = by_quadrature(family, rows)
    found = [log_density(family, rows, seed=seed, draws=20, method="fitted").values for seed in range(400)]
    ratios = np.exp(np.stack(found) - exact)
    off = (ratios.mean(0) - 1) / (ratios.std(0, ddof=1) / 20)
    assert np.abs(off).max() < 4.9


def test_fitted_draws_come_closer_than_the_guides_own(misled):
    family, rows = misled
    plain, close = (log_density(family, rows, seed=2, draws=100, method=method) for method in ("guide", "fitted"))
    assert close.elpd > plain.elpd + 0.05
    assert (close.khat > 0.7).mean() < (plain.khat > 0.7).mean()


def test_the_normal_of_a_normal_posterior_is_found_exactly():
    """log π a quadratic of each row's own, far from the start."""
    generator = torch.Generator().manual_seed(0)
    loc, factor = (torch.randn(7, *shape, generator=generator, dtype=torch.float64) for shape in ((3,), (3, 3)))
    loc, precision = 20 * loc, factor @ factor.mT + 0.1 * torch.eye(3, dtype=torch.float64)

    def log_target(points: torch.Tensor) -> torch.Tensor:
        return -torch.einsum("kri,rij,krj->kr", points - loc, precision, points - loc) / 2

    found = fit_normals(log_target, torch.zeros_like(loc), torch.randn(2, 2, 3, generator=generator).double())
    torch.testing.assert_close(found.loc, loc)
    torch.testing.assert_close(found.root @ found.root.mT, torch.linalg.inv(precision))


def test_a_newton_step_that_overshoots_a_hundredfold_is_shortened():
    """log π = 400 ε − exp(ε) − ε²/2 from 0: its slope is 0 at ε = 5.977, its curvature there 395."""
    pairs = torch.randn(12, 50, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    start = torch.zeros(1, 1, dtype=torch.float64)
    found = fit_normals(lambda e: (400 * e - e.exp() - e.square() / 2).sum(-1), start, pairs)
    assert abs(float(found.loc) - 5.976) < 0.02
    assert abs(float(found.root) - 395**-0.5) < 0.005


def test_a_skewed_posterior_gets_the_normal_of_least_divergence():
    """π(ε) ∝ exp(aε − b exp(ε)): E[∇] = 0 and S⁻¹ = E[−∇²] at S = 1/a, loc = log(a/b) − S/2; averages of many draws."""
    a, b = torch.tensor([[2.0], [5.0]]).double(), torch.tensor([[1.0], [40.0]]).double()
    pairs = torch.randn(20, 20_000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = fit_normals(lambda points: (a * points - b * points.exp()).sum(-1), torch.zeros_like(a), pairs)
    torch.testing.assert_close((found.root**2)[..., 0], 1 / a, rtol=0.02, atol=0)
    torch.testing.assert_close(found.loc, (a / b).log() - 1 / (2 * a), rtol=0, atol=0.02)


def test_rows_whose_density_is_not_a_number_keep_the_standard_normal():
    start = torch.zeros(2, 1, dtype=torch.float64)
    broken = torch.tensor([math.nan, 1.0]).double()
    found = fit_normals(lambda points: -(broken * (points - 3).square().sum(-1)), start, torch.ones(1, 1, 1).double())
    torch.testing.assert_close(found.loc, torch.tensor([[0.0], [3.0]]).double())
    torch.testing.assert_close(found.root[0], torch.ones(1, 1).double())


@pytest.mark.parametrize("name", ["VAE of bits", "semi-supervised", "hierarchical", "VAE of grey levels"])
def test_fitted_bounds_do_not_depend_on_the_company_of_rows(name):
    family, rows = fitted(name).family, build(name)[1][:20]
    whole = bounds_by_draws(family, rows, seed=3, draws=(30, 60), method="fitted")
    assert list(whole) == [30, 60]
    alone = log_density(family, rows[4:5], seed=3, draws=60, method="fitted")
    np.testing.assert_allclose(alone.values, whole[60].values[4:5], atol=1e-4)


def test_a_dequantised_bound_agrees_with_the_guides():
    """Uniform shifts stay where they were drawn; 4.5 Monte Carlo errors of both."""
    levels = np.random.default_rng(3).binomial(16, 0.4, size=(80, 2, 2))
    table = image_table(levels, pixels="levels")
    rows = prepare(table.frame, table.schema)(table.frame)
    likelihoods = DecoderLikelihoods(levels="dequantised-normal")
    family = VAE(rows.schema, latent=1, network=Dense((8,)), likelihoods=likelihoods, dtype=torch.float64)
    family = fit(family, rows, seed=0, method=Gradient(steps=150, check_every=150)).family
    plain, close = (log_density(family, rows, seed=4, draws=2000, method=method) for method in ("guide", "fitted"))
    sound = (plain.khat < 0.6) & (close.khat < 0.6)
    error = np.hypot(plain.monte_carlo_se, close.monte_carlo_se)
    assert sound.any()
    assert (np.abs(close.values - plain.values)[sound] < 4.5 * error[sound]).all()


@pytest.mark.parametrize("name", ["VAE of bits", "mixture of bits"])
def test_another_method_is_refused(name):
    family, rows = fitted(name).family, build(name)[1]
    with pytest.raises(InputError, match="method: expected one of guide, fitted, ais, got 'laplace'"):
        log_density(family, rows, method="laplace")
