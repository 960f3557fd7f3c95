"""Linear VAEs against probabilistic PCA and factor analysis, whose densities are closed forms."""

import numpy as np
import pytest
import torch
from cases import rows_of
from scipy import stats
from sklearn.decomposition import PCA
from test_exactness import prepared_iris

from ppl_models.datasets import Schema
from ppl_models.distributions import DecoderLikelihoods
from ppl_models.families import VAE
from ppl_models.inference import Gradient, fit, log_density
from ppl_models.nn import Dense


def linear(schema: Schema) -> VAE:
    """A linear decoder with one scale a column: factor analysis."""
    likelihoods = DecoderLikelihoods(scale="column")
    return VAE(schema, latent=2, network=Dense(()), likelihoods=likelihoods, dtype=torch.float64)


def test_rescaling_a_column_shifts_the_bound_of_a_vae():
    densities = []
    for rows in (prepared_iris(1.0), prepared_iris(2.54)):
        family = VAE(rows.schema, latent=2, network=Dense((8,)), dtype=torch.float64)
        family.adopt(rows)
        family.initialise(rows, seed=0)
        densities.append(log_density(family, rows, draws=5).values)
    np.testing.assert_allclose(densities[1] - densities[0], -np.log(2.54), rtol=0, atol=1e-10)


def linear_vae(rows, scale_of_guide: float = 1.0) -> tuple[VAE, PCA]:
    """A linear VAE at probabilistic PCA's maximum likelihood, with the exact posterior, or a wider one, for a guide."""
    other = PCA(2).fit(rows.values.numpy())
    noise = other.noise_variance_
    loading = other.components_.T * np.sqrt(other.explained_variance_ - noise)
    inverse = np.linalg.inv(loading.T @ loading + noise * np.eye(2))
    family = VAE(
        rows.schema, latent=2, network=Dense(()), likelihoods=DecoderLikelihoods(scale="column"), dtype=torch.float64
    )
    family.adopt(rows)
    head, guide = family.model.heads[0], family.guide
    values = {
        head.loc.weight: loading,
        head.loc.bias: other.mean_,
        head.log_scale: np.full(4, np.log(noise**0.5 - 0.01)),
        guide.answer.loc.weight: inverse @ loading.T,
        guide.answer.loc.bias: -inverse @ loading.T @ other.mean_,
        guide.answer.log_scale.weight: np.zeros((2, 4)),
        guide.answer.log_scale.bias: np.log(scale_of_guide * np.sqrt(noise * np.diag(inverse))),
    }
    with torch.no_grad():
        for parameter, value in values.items():
            parameter.copy_(torch.tensor(value))
    return family, other


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
    family = VAE(
        rows.schema, latent=2, network=Dense(()), likelihoods=DecoderLikelihoods(scale="column"), dtype=torch.float64
    )
    fit(family, rows, seed=0, method=Gradient(steps=1500, batch_size=None, learning_rate=0.03))
    head = family.model.heads[0]
    weight, spread = head.loc.weight.detach().numpy(), (0.01 + head.log_scale.exp()).detach().numpy()
    exact = stats.multivariate_normal(head.loc.bias.detach().numpy(), weight @ weight.T + np.diag(spread**2))
    expected = exact.logpdf(rows.values.numpy()) + rows.log_scale.numpy()
    assert log_density(family, rows, draws=500).elpd == pytest.approx(expected.mean(), abs=0.01)
