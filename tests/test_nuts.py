"""NUTS samples Pyro's own model with the class summed out, and its moments are those of closed forms."""

from functools import cache

import arviz
import numpy as np
import pytest
import torch
import xarray as xr
from cases import rows_of
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from test_refined import quadrature, small_mixture

from ppl_models.datasets import Dataset, load, prepare
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.families import ClassProduct, GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import fit, lay_beside, mixing, nuts_draws
from ppl_models.inference.refined import Posterior

SE = 5.0  # Monte Carlo standard errors: false alarms 6e-7 a number
CHAINS, EACH = 32, 60
CASES = {
    "diagonal": ("iris", 0.0, lambda schema: GaussianMixture(schema, components=3)),
    "diagonal, cells missing": ("iris", 0.2, lambda schema: GaussianMixture(schema, components=2)),
    "full": ("iris", 0.0, lambda schema: GaussianMixture(schema, components=2, covariance="full")),
    "tied": ("iris", 0.0, lambda schema: GaussianMixture(schema, components=2, covariance="tied")),
    "mixed columns, cells missing": ("fast_food_customers", 0.2, lambda schema: Mixture(schema, components=2)),
    "some labels missing": ("fast_food_customers", 0.0, NaiveBayes),
}


def holes(table: str, share: float) -> Dataset:
    """40 rows of a table, of which this share of the cells is missing."""
    bundled = load(table)
    names = list(bundled.schema.names)
    frame = bundled.frame.sample(frac=1, random_state=3).head(40).reset_index(drop=True)
    frame[names] = frame[names].mask(np.random.default_rng(0).random((40, len(names))) < share)
    return prepare(frame, bundled.schema)(frame)


def posterior_of(make, rows: Dataset) -> Posterior:
    """The posterior of a family fitted to these rows."""
    with seeded(0):
        return Posterior(fit(make(rows.schema), rows, seed=0).family, rows)


def pyros_log_joint(family: ClassProduct, rows: Dataset, sites: dict[str, torch.Tensor]) -> float:
    """log p(x, θ) of Pyro's model, the rows' classes enumerated and summed out."""
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    return -elbo.loss(poutine.condition(family.model, data=sites), lambda *_: None, rows, len(rows))


def gaps(posterior: Posterior, pyros) -> np.ndarray:
    """Our log joint in the sites' own units less Pyro's, at random points about the mode."""
    with seeded(1):
        free = posterior.mode + 0.3 * torch.randn(4, posterior.size, dtype=torch.float64)
    sites, slope = posterior.constrain(free)
    theirs = [pyros({name: value[place] for name, value in sites.items()}) for place in range(len(free))]
    return (posterior.log_joint(free) - slope).numpy() - np.array(theirs)


@pytest.mark.parametrize("case", CASES)
def test_the_potential_is_that_of_pyros_model_with_its_classes_enumerated(case):
    table, share, make = CASES[case]
    posterior = posterior_of(make, holes(table, share))
    found = gaps(posterior, lambda sites: pyros_log_joint(posterior.family, posterior.rows, sites))
    np.testing.assert_allclose(found, found[0], atol=1e-8)


def test_the_potential_integrates_a_missing_cell_of_pyros_model_under_a_full_covariance():
    """A sum over Pyro's site of the missing cell: for normal densities it is exact to rounding."""
    table = load("iris")
    frame = table.frame.iloc[::6].reset_index(drop=True)
    frame.iloc[0, 1] = np.nan
    rows, grid = prepare(frame, table.schema)(frame), torch.linspace(-6, 6, 121, dtype=torch.float64)
    posterior = posterior_of(lambda schema: GaussianMixture(schema, components=2, covariance="full"), rows)

    def pyros(sites: dict[str, torch.Tensor]) -> float:
        cells = torch.zeros(len(grid), *rows.values.shape, dtype=torch.float64)
        cells[:, 0, 1] = grid
        return np.logaddexp.reduce(
            [pyros_log_joint(posterior.family, rows, sites | {"real.missing": filling}) for filling in cells]
        )

    found = gaps(posterior, pyros)
    np.testing.assert_allclose(found, found[0], atol=1e-8)


@cache
def normal_draws() -> tuple[Dataset, dict[str, np.ndarray]]:
    """Draws (chains, draws, columns) of the one normal of each of iris's columns."""
    rows = rows_of("iris", 150)
    family = fit(GaussianMixture(rows.schema, components=1), rows, seed=0).family
    sites = nuts_draws(family, rows, CHAINS * EACH, seed=0, warmup=60, chains=CHAINS).sites
    return rows, {name: sites[f"real.{name}"][:, 0].reshape(CHAINS, EACH, -1).numpy() for name in ("loc", "precision")}


def normal_gamma(x: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Means and variances of the posterior of each column by Murphy (2007), prior as ``normal.py`` has it."""
    count, shape, rate = 0.01 + len(x), 1.5 + len(x) / 2, 0.5 + ((x - x.mean(0)) ** 2).sum(0) / 2
    rate = rate + 0.01 * len(x) * x.mean(0) ** 2 / (2 * count)
    located = (len(x) * x.mean(0) / count, rate / (count * (shape - 1)))
    return {"loc": located, "precision": (shape / rate, shape / rate**2)}


def errors(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How many Monte Carlo standard errors the means over chains and draws are off."""
    effective = [arviz.ess(values[..., place], method="mean") for place in range(values.shape[-1])]
    return np.abs(values.mean((0, 1)) - expected) / (values.std((0, 1)) / np.sqrt(np.array(effective, dtype=float)))


@pytest.mark.parametrize("name", ["loc", "precision"])
def test_one_normal_has_the_moments_of_the_normal_gamma_posterior(name):
    """Four means and four variances; false alarms 5e-6 each way."""
    rows, draws = normal_draws()
    mean, variance = normal_gamma(rows.values.numpy())[name]
    assert errors(draws[name], mean).max() < SE
    assert errors((draws[name] - mean) ** 2, variance).max() < SE


def test_a_mixture_of_counts_has_the_moments_of_quadrature():
    """Three means and three sds; false alarms 4e-6."""
    rows, family = small_mixture()
    sites = nuts_draws(family, rows, CHAINS * 4 * EACH, seed=1, warmup=60, chains=CHAINS).sites
    order = sites["count.rate"][..., 0].argsort(-1)
    rates, weight = sites["count.rate"][..., 0].gather(1, order), sites["weights"].gather(1, order)[:, :1]
    draws = torch.cat([weight, rates], 1).reshape(CHAINS, 4 * EACH, 3).numpy()
    means, deviations, _ = quadrature(rows)
    assert errors(draws, means).max() < SE
    assert errors((draws - means) ** 2, deviations**2).max() < SE


def test_draws_that_left_the_order_of_the_mode_are_put_back():
    posterior = posterior_of(CASES["diagonal"][2], holes("iris", 0.0))
    sites, _ = posterior.constrain(posterior.mode[None])
    turned = {name: value[:, [2, 0, 1]] for name, value in sites.items()}
    free = torch.cat([posterior.maps[name].inv(value).flatten(1) for name, value in turned.items()], -1)
    assert not posterior.in_order(free).item()
    for name, value in posterior.sites(free).items():
        torch.testing.assert_close(value, sites[name])


def test_a_seed_tells_the_draws():
    rows, family = small_mixture()
    one, again, other = (
        nuts_draws(family, rows, 32, seed=seed, warmup=16, chains=4).sites["weights"] for seed in (0, 0, 1)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


def draws_of(values: np.ndarray) -> xr.Dataset:
    """Draws (chains, draws, components) as a variable."""
    names = [str(place + 1) for place in range(values.shape[-1])]
    return xr.Dataset({"loc": (("chain", "draw", "component"), values)}, coords={"component": names})


def test_chains_are_told_to_agree_or_not():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 500, 3))
    values[0, :, 1] += 3
    values[..., 2] = 7
    table = mixing(draws_of(values))
    assert table["r_hat"][0] < 1.01 < 1.4 < table["r_hat"][1] and np.isnan(table["r_hat"][2])
    assert table["ess_bulk"][0] > 1500 > 20 > table["ess_bulk"][1]
    assert table["ess_sd"][0] > 1500


def test_posteriors_are_laid_beside_one_another_in_the_references_sds():
    values = np.random.default_rng(0).normal(size=(4, 500, 2))
    table = lay_beside(draws_of(values), {"narrow": draws_of(1 + values / 2), "same": draws_of(values)})
    deviation = values.reshape(-1, 2).std(0, ddof=1)
    np.testing.assert_allclose(table["narrow ratio"], 0.5)
    np.testing.assert_allclose(table["narrow shift"], (1 - values.mean((0, 1)) / 2) / deviation)
    np.testing.assert_allclose(table[["same ratio", "same shift"]], [[1, 0]] * 2, atol=1e-12)


@pytest.mark.parametrize(("draws", "warmup"), [(30, 20), (8, 20), (32, 15)])
def test_numbers_that_do_not_suit_the_chains_are_refused(draws, warmup):
    rows, family = small_mixture()
    with pytest.raises(InputError, match="expected a multiple of 4 draws, at least 4 a chain, and a warmup"):
        nuts_draws(family, rows, draws, seed=0, warmup=warmup, chains=4)
