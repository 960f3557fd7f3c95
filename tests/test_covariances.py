"""All fourteen covariances as families: Pyro's ELBO is fit's, units do not matter, and holes are integrated out."""

import numpy as np
import pytest
import torch
from cases import rows_of
from scipy import stats

from ppl_models.datasets import load, prepare
from ppl_models.distributions.structures import STRUCTURES
from ppl_models.families import GaussianMixture
from ppl_models.inference import NaturalGradient, estimate_elbo, fit, log_density

FEW = NaturalGradient(restarts=2, starts=4)
every_structure = pytest.mark.parametrize("name", STRUCTURES)


def fitted(name: str, rows, estimate: str = "map"):
    family = GaussianMixture(rows.schema, components=2, covariance=name, estimate=estimate)
    return fit(family, rows, seed=0, method=FEW)


@every_structure
def test_pyros_elbo_of_a_point_mass_is_the_fits(name):
    rows = rows_of("iris", 60)
    found = fitted(name, rows)
    assert estimate_elbo(found.family, rows, seed=0, particles=1).mean == pytest.approx(found.elbo, abs=1e-6)


@every_structure
def test_observed_cells_have_the_marginal_density_of_the_normals(name):
    """Against scipy's normals of each row's observed columns, in raw units."""
    rows = rows_of("iris", 60, 0.2)
    family = fitted(name, rows).family
    (block, part), *_ = family.row.parts(family.guide.natural().detach()[:, :-1])
    theta = block.decode(part)
    unit = block.unit.numpy()
    precision = theta["precision"].expand(2, *theta["precision"].shape[1:])
    full = precision.dim() == 3
    covariance = (torch.linalg.inv(precision) if full else (1 / precision.expand(2, 4)).diag_embed()).numpy()
    weights = family.weights.log_mean(family.guide.natural()[:, -1]).exp().detach().numpy()
    values, seen = rows.values.numpy() * unit, rows.observed.numpy()
    expected = [
        np.log(
            sum(
                weight * stats.multivariate_normal(loc[o], spread[np.ix_(o, o)]).pdf(x[o])
                for weight, loc, spread in zip(weights, theta["loc"].numpy(), covariance, strict=True)
            )
        )
        + np.log(unit[o]).sum()
        for x, o in zip(values, seen, strict=True)
        if o.any()
    ]
    found = log_density(family, rows).values - rows.log_scale.numpy()
    np.testing.assert_allclose(found[seen.any(1)], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["EII", "VEI", "EVE", "EEV", "VEV", "VVV"])
def test_one_unit_for_all_columns_changes_nothing_but_the_unit(name):
    table = load("iris")
    columns = list(table.schema.names)
    large = table.frame.assign(**(table.frame[columns] * 1000))
    first, second = (fitted(name, prepare(frame, table.schema)(frame)) for frame in (table.frame, large))
    assert first.elbo - second.elbo == pytest.approx(4 * np.log(1000), rel=1e-8)


@pytest.mark.parametrize("name", ["EII", "VII", "EEI", "VVI", "EEE", "VVV"])
def test_a_conjugate_covariance_knows_its_missing_cells(name):
    """Pyro's estimate agrees with the natural-gradient ELBO, cells missing; 5 standard errors."""
    rows = rows_of("iris", 60, 0.2)
    found = fitted(name, rows, "bayes")
    estimate = estimate_elbo(found.family, rows, seed=1, particles=40)
    assert abs(estimate.mean - found.elbo) < 5 * estimate.se + 1e-9
