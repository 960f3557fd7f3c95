"""Linear VAEs against probabilistic PCA and factor analysis, whose densities are closed forms, guide by guide."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from cases import rows_of
from scipy import stats
from sklearn.decomposition import PCA
from test_exactness import prepared_iris

from ppl_models.datasets import Dataset
from ppl_models.distributions import DecoderLikelihoods
from ppl_models.families import VAE
from ppl_models.inference import Gradient, elbo_parts, fit, log_density
from ppl_models.inference.gradient import climb
from ppl_models.nn import Dense

GAUSSIAN = ("diagonal", "full")
FLOWS = ("autoregressive-flow", "spline-flow")


def linear(rows: Dataset, guide: str = "diagonal") -> VAE:
    """A linear decoder with one scale a column, and an encoder without hidden layers: factor analysis."""
    likelihoods = DecoderLikelihoods(scale="column")
    family = VAE(rows.schema, latent=2, network=Dense(()), likelihoods=likelihoods, guide=guide, dtype=torch.float64)
    family.adopt(rows)
    family.initialise(rows, seed=0)
    return family


def put(values: dict[torch.Tensor, np.ndarray]) -> None:
    with torch.no_grad():
        for parameter, value in values.items():
            parameter.copy_(torch.as_tensor(value))


@dataclass(frozen=True)
class Analysis:
    """Factor analysis x = loading z + loc + noise, and its posterior of z: centre = slope (x − loc), covariance."""

    loading: np.ndarray
    loc: np.ndarray
    noise: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        return np.linalg.inv(self.loading.T @ (self.loading / self.noise[:, None]) + np.eye(2))

    @property
    def slope(self) -> np.ndarray:
        return self.covariance @ (self.loading / self.noise[:, None]).T

    def log_density(self, rows: Dataset) -> np.ndarray:
        law = stats.multivariate_normal(self.loc, self.loading @ self.loading.T + np.diag(self.noise))
        return law.logpdf(rows.values.numpy()) + rows.log_scale.numpy()

    def reconstruction(self, rows: Dataset, covariance: np.ndarray) -> float:
        """E log p(x | z) for z of the posterior's centre and this covariance: the mean over rows."""
        x = rows.values.numpy() - self.loc
        squares = (x - x @ self.slope.T @ self.loading.T) ** 2 + np.diag(self.loading @ covariance @ self.loading.T)
        logs = -0.5 * (np.log(2 * np.pi * self.noise) + squares / self.noise)
        return (logs.sum(-1) + rows.log_scale.numpy()).mean()

    def kl(self, rows: Dataset, covariance: np.ndarray) -> float:
        """KL(q(z | x) ‖ p(z)) of such a q: the mean over rows."""
        centres = (rows.values.numpy() - self.loc) @ self.slope.T
        logs = np.trace(covariance) - 2 - np.linalg.slogdet(covariance)[1]
        return ((logs + (centres**2).sum(-1)) / 2).mean()


DEPENDENT = Analysis(  # z's two dimensions are correlated given x
    np.array([[0.8, 0.1], [-0.2, 0.5], [0.7, 0.2], [0.1, 0.9]]),
    np.array([0.1, -0.2, 0.0, 0.3]),
    np.array([0.5, 0.6, 0.5, 0.7]),
)


def set_decoder(family: VAE, truth: Analysis) -> None:
    head = family.model.heads[0]
    logs = np.log(np.sqrt(truth.noise) - 0.01)
    put({head.loc.weight: truth.loading, head.loc.bias: truth.loc, head.log_scale: logs})


def set_guide(family: VAE, truth: Analysis, *, widened: float = 1.0) -> np.ndarray:
    """The exact posterior, or its best diagonal approximation, with its scales widened; returns the covariance."""
    answer, kind = family.guide.answer, family.guide_kind
    root = np.linalg.cholesky(truth.covariance)
    if kind == "diagonal":
        root = np.diag(np.diag(np.linalg.inv(truth.covariance)) ** -0.5)
    root = root * widened
    put({answer.loc.weight: truth.slope, answer.loc.bias: -truth.slope @ truth.loc})
    put({answer.log_scale.weight: np.zeros((2, 4)), answer.log_scale.bias: np.log(np.diag(root))})
    if kind == "full":
        put({answer.below.weight: np.zeros((1, 4)), answer.below.bias: root[[1], [0]]})
    return root @ root.T


@cache
def guided(kind: str, widened: float = 1.0) -> tuple[VAE, Dataset, np.ndarray | None]:
    """Factor analysis with a guide of this kind: set, if Gaussian, or trained with the model held fixed, if a flow."""
    rows = rows_of("iris", 40)
    family = linear(rows, kind)
    set_decoder(family, DEPENDENT)
    if kind in GAUSSIAN:
        return family, rows, set_guide(family, DEPENDENT, widened=widened)
    family.model.requires_grad_(False)
    method = Gradient(steps=250, batch_size=None, learning_rate=0.02, check_every=250)
    climb(family, rows, None, method=method, seed=0, progress=lambda steps: None)
    return family, rows, None


def linear_vae(rows: Dataset, scale_of_guide: float) -> tuple[VAE, PCA]:
    """Probabilistic PCA's maximum likelihood, with the exact posterior, or a wider one, for a guide."""
    other, family = PCA(2).fit(rows.values.numpy()), linear(rows)
    noise = other.noise_variance_
    loading = other.components_.T * np.sqrt(other.explained_variance_ - noise)
    truth = Analysis(loading, other.mean_, np.full(4, noise))
    set_decoder(family, truth)
    set_guide(family, truth, widened=scale_of_guide)
    return family, other


def test_rescaling_a_column_shifts_the_bound_of_a_vae():
    densities = []
    for rows in (prepared_iris(1.0), prepared_iris(2.54)):
        family = VAE(rows.schema, latent=2, network=Dense((8,)), dtype=torch.float64)
        family.adopt(rows)
        family.initialise(rows, seed=0)
        densities.append(log_density(family, rows, draws=5).values)
    np.testing.assert_allclose(densities[1] - densities[0], -np.log(2.54), rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_linear_vae_reaches_probabilistic_pca(scale):
    rows = rows_of("iris", 150)
    family, other = linear_vae(rows, scale)
    found = log_density(family, rows, draws=500)
    expected = other.score_samples(rows.values.numpy()) + rows.log_scale.numpy()
    assert found.elpd == pytest.approx(expected.mean(), abs=0.01)


def test_a_trained_linear_vae_has_the_density_of_factor_analysis():
    """At the trained parameters, p(x) = Normal(bias, W Wᵀ + diag scale²) in closed form."""
    rows = rows_of("iris", 150)
    family = linear(rows)
    fit(family, rows, seed=0, method=Gradient(steps=300, batch_size=None, learning_rate=0.05, check_every=300))
    head = family.model.heads[0]
    weight, bias, logs = (each.detach().numpy() for each in (head.loc.weight, head.loc.bias, head.log_scale))
    expected = Analysis(weight, bias, (0.01 + np.exp(logs)) ** 2).log_density(rows)
    assert log_density(family, rows, draws=500).elpd == pytest.approx(expected.mean(), abs=0.01)


@pytest.mark.parametrize("kind", GAUSSIAN + FLOWS)
def test_5000_draws_from_any_guide_reach_factor_analysis(kind):
    """To within 0.005 nats a row; the full guide, which is the posterior, by a single draw, the others by no means."""
    family, rows, _ = guided(kind)
    exact = DEPENDENT.log_density(rows)
    assert log_density(family, rows, draws=5000).elpd == pytest.approx(exact.mean(), abs=0.005)
    single = np.abs(log_density(family, rows, draws=1).values - exact).max()
    assert single < 1e-10 if kind == "full" else single > 0.01


@pytest.mark.parametrize("kind", GAUSSIAN)
@pytest.mark.parametrize("widened", [1.0, 1.3])
def test_the_parts_of_a_linear_vaes_elbo_are_closed_forms(kind, widened):
    """The KL exactly, the reconstruction to within 4.6 standard errors of 400 particles: false alarms 4e-6 a case."""
    family, rows, covariance = guided(kind, widened)
    parts = elbo_parts(family, rows, seed=0, particles=400)
    assert parts.kl.mean == pytest.approx(DEPENDENT.kl(rows, covariance), abs=1e-10)
    assert abs(parts.reconstruction.mean - DEPENDENT.reconstruction(rows, covariance)) < 4.7 * parts.reconstruction.se
    assert 0 < parts.reconstruction.se < 0.05


def test_the_kl_of_a_diagonal_guide_is_told_by_dimension():
    family, rows, covariance = guided("diagonal")
    centres = (rows.values.numpy() - DEPENDENT.loc) @ DEPENDENT.slope.T
    variances = np.diag(covariance)
    expected = ((variances + centres**2 - 1 - np.log(variances)) / 2).mean(0)
    units = elbo_parts(family, rows, seed=0, particles=2).units
    np.testing.assert_allclose([unit.mean for unit in units], expected, rtol=1e-10)


@pytest.mark.parametrize("kind", FLOWS)
def test_the_kl_of_a_flow_is_that_of_quadrature(kind):
    """Over q log(q / p) in two dimensions, for one row, to within 4.7 standard errors: false alarms 3e-6."""
    family, rows, _ = guided(kind)
    row = rows[:1]
    with torch.no_grad():
        centre, spread = family.encode(row)[0], family.posterior(row).sample((4000,)).std(0)[0]
        steps = torch.linspace(-8, 8, 161, dtype=torch.float64)
        grid = centre + torch.cartesian_prod(steps, steps) * spread
        log_q = family.posterior(row).log_prob(grid[:, None])[:, 0]
        cell = (steps[1] - steps[0]) ** 2 * spread.prod()
        expected = float((log_q.exp() * (log_q - family.prior().log_prob(grid))).sum() * cell)
    parts = elbo_parts(family, row, seed=0, particles=400)
    assert not parts.closed_form
    assert float(log_q.exp().sum() * cell) == pytest.approx(1, abs=1e-3)
    assert abs(parts.kl.mean - expected) < 4.7 * parts.kl.se + 1e-3


def test_the_parts_count_rows_by_weight_and_add_up():
    family, rows, covariance = guided("full")
    weighted = rows.weighted(torch.arange(40) % 3.0)
    parts = elbo_parts(family, weighted, seed=0, particles=5)
    shares = weighted.weights.numpy() / weighted.total_weight
    expected = sum(share * DEPENDENT.kl(rows[row : row + 1], covariance) for row, share in enumerate(shares))
    assert parts.kl.mean == pytest.approx(expected, abs=1e-10)
    assert parts.elbo.mean == parts.reconstruction.mean - parts.kl.mean
