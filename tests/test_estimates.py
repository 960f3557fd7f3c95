"""Point estimates: maximum likelihood against scikit-learn, and every estimate is where no step leads up."""

import copy

import numpy as np
import pyro
import pytest
import torch
from cases import CASES, build, fitted, rows_of
from scipy import stats
from sklearn.mixture import GaussianMixture as SklearnGaussianMixture

from ppl_models.distributions import seeded
from ppl_models.families import GaussianMixture
from ppl_models.inference import NaturalGradient, fit
from ppl_models.inference.bounds import make_elbo

POINTS = [name for name, case in CASES.items() if "mode" in name or "maximum likelihood" in name]
ML = "maximum-likelihood"
NEVER = -600  # the logarithm of a probability of 0, of which only a gain of e^600 makes another


def likeliest(x: np.ndarray, covariance: str) -> float:
    """Scikit-learn's best log-likelihood of two components from twenty starts, nats."""
    fits = (
        SklearnGaussianMixture(2, covariance_type=covariance, n_init=10, init_params=start, random_state=0, tol=1e-7)
        .set_params(max_iter=1000)
        .fit(x)
        for start in ("kmeans", "random_from_data")
    )
    return max(found.score(x) for found in fits) * len(x)


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("table", ["iris", "wine"])
def test_maximum_likelihood_is_no_worse_than_scikit_learns_best(table, covariance):
    """Of spheres in raw units up to a factor, as ours are."""
    rows = rows_of(table, 178)
    unit = rows.scale.numpy() / stats.gmean(rows.scale.numpy()) if covariance == "spherical" else 1.0
    family = GaussianMixture(rows.schema, components=2, covariance=covariance, estimate=ML)
    found = fit(family, rows, seed=0).elbo * len(rows) - float(rows.log_scale.sum())
    assert found >= likeliest(rows.values.numpy() * unit, covariance) - 1e-4


def elbo_of(family, rows) -> torch.Tensor:
    """Pyro's ELBO of all rows, nats in prepared units; it has no variance for a point estimate."""
    return -make_elbo(family).differentiable_loss(family.model, family.guide, rows, len(rows))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical", "EEV", "VEE"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("estimate", ["map", ML])
def test_a_fixed_point_of_em_has_no_slope(covariance, missing, estimate):
    """By automatic differentiation through the Pyro pair: below 1e-5 nats per row in every free parameter."""
    rows = rows_of("iris", 150, missing)
    family = GaussianMixture(rows.schema, components=2, covariance=covariance, estimate=estimate)
    fit(family, rows, seed=0, method=NaturalGradient(restarts=2, starts=4))
    with pyro.validation_enabled(False):
        elbo_of(family, rows).backward()
    slopes = {name: float(value.grad.abs().max()) / len(rows) for name, value in family.named_parameters()}
    assert max(slopes.values()) < 1e-5, slopes


@pytest.mark.parametrize("name", POINTS)
def test_no_change_of_a_free_parameter_raises_the_elbo(name):
    """Each number by a little in both directions; all numbers of a parameter together lower it."""
    found, rows = fitted(name), build(name)[1]
    family = copy.deepcopy(found.family)
    elbo = make_elbo(family)

    def moved(parameter: torch.Tensor, value: torch.Tensor) -> float:
        """The ELBO with one parameter changed, nats."""
        kept = parameter.clone()
        parameter.copy_(value.view_as(kept))
        answer = -elbo.loss(family.model, family.guide, rows, len(rows))
        parameter.copy_(kept)
        return answer

    with torch.no_grad(), pyro.validation_enabled(False), seeded(0):
        best = -elbo.loss(family.model, family.guide, rows, len(rows))
        for parameter, value in family.named_parameters():
            way = torch.where(value < NEVER, 0.0, torch.randn_like(value))
            assert moved(value, value + 0.01 * way) < best, parameter
            for step in 1e-3 * torch.eye(value.numel()).double():
                assert max(moved(value, value.flatten() + way) for way in (step, -step)) < best + 1e-9, parameter
