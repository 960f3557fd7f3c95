"""Missing cells of columns that vary together: integrated out, whatever is missing and however it is estimated."""

import numpy as np
import pandas as pd
import pytest
import torch
from cases import rows_of
from scipy import stats

from ppl_models.datasets import load, prepare
from ppl_models.families import GaussianMixture, NaiveBayes
from ppl_models.inference import NaturalGradient, fit, log_density

FULL = ["EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"]
QUICK = NaturalGradient(restarts=2, starts=4)


def incomplete(rows: int = 80):
    """Irises with three cells in ten missing."""
    return rows_of("iris", rows, 0.3)


def mixture_of_marginals(rows, weights, parts) -> np.ndarray:
    """Log density of each row's observed cells under a mixture of parts, each (cells, columns) to a log density."""
    found = []
    for x, seen in zip(rows.values.numpy(), rows.observed.numpy(), strict=True):
        logs = [np.log(weight) + part(x[seen], seen) for weight, part in zip(weights, parts, strict=True)]
        found.append(np.logaddexp.reduce(logs) if seen.any() else 0.0)
    return np.array(found) + rows.log_scale.numpy()


@pytest.mark.parametrize("covariance", FULL)
def test_observed_cells_have_scipys_marginal_density_under_maximum_likelihood(covariance):
    """Normals of the observed columns, in units whose product is one over all columns, but not over some."""
    rows = incomplete()
    family = GaussianMixture(rows.schema, components=2, covariance=covariance, estimate="maximum-likelihood")
    family = fit(family, rows, seed=0, method=QUICK).family
    block, part = next(family.row.parts(family.guide.natural().detach()[:, :-1]))
    theta, unit = block.decode(part), block.unit.numpy()
    covariances = torch.linalg.inv(theta["precision"]).expand(2, 4, 4).numpy() / np.outer(unit, unit)
    parts = [
        lambda x, seen, loc=loc, spread=spread: stats.multivariate_normal(loc[seen], spread[np.ix_(seen, seen)]).logpdf(
            x
        )
        for loc, spread in zip(theta["loc"].numpy() / unit, covariances, strict=True)
    ]
    weights = family.guide.natural().detach()[:, -1].exp().numpy()
    expected = mixture_of_marginals(rows, weights, parts)
    np.testing.assert_allclose(log_density(family, rows).values, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("covariance", ["EEE", "VVV"])
def test_observed_cells_have_scipys_marginal_density_under_the_posterior(covariance):
    """Student's t of the observed columns, from the posterior's count, location, degrees of freedom and scatter."""
    rows = incomplete()
    family = GaussianMixture(rows.schema, components=2, covariance=covariance)
    natural = fit(family, rows, seed=0, method=QUICK).family.guide.natural().detach().numpy()
    count, first, second = natural[:, 0], natural[:, 1:5], natural[:, 5:-1].reshape(2, 4, 4)
    loc = first / count[:, None]
    scatter = second - count[:, None, None] * loc[:, :, None] * loc[:, None, :]
    number = count - 0.01
    if covariance == "EEE":
        scatter, number = np.broadcast_to(scatter.sum(0), scatter.shape), np.full(2, number.sum())
    degrees = 4 + 2 + number - 4 + 1
    shapes = scatter * ((1 + 1 / count) / degrees)[:, None, None]
    parts = [
        lambda x, seen, k=k: stats.multivariate_t(loc[k][seen], shapes[k][np.ix_(seen, seen)], degrees[k]).logpdf(x)
        for k in range(2)
    ]
    expected = mixture_of_marginals(rows, natural[:, -1] / natural[:, -1].sum(), parts)
    np.testing.assert_allclose(log_density(family, rows).values, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("estimate", ["bayes", "map", "maximum-likelihood"])
@pytest.mark.parametrize("covariance", ["VVI", "VII", "EEE", "VVV"])
def test_a_row_of_which_nothing_is_known_has_the_density_one(covariance, estimate):
    rows = incomplete()
    family = GaussianMixture(rows.schema, components=2, covariance=covariance, estimate=estimate)
    family = fit(family, rows, seed=0, method=QUICK).family
    nothing = rows[:3].only(())
    assert not nothing.observed.any()
    np.testing.assert_allclose(log_density(family, nothing).values, 0.0, atol=1e-12)


@pytest.mark.parametrize("covariance", ["EEE", "VVV"])
@pytest.mark.parametrize("estimate", ["bayes", "maximum-likelihood"])
def test_the_order_of_rows_and_of_their_patterns_changes_nothing(covariance, estimate):
    rows = incomplete()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    elbos = [
        fit(NaiveBayes(rows.schema, covariance=covariance, estimate=estimate), some, seed=0).elbo
        for some in (rows, rows[order])
    ]
    assert elbos[0] == pytest.approx(elbos[1], rel=1e-9)


def test_the_mean_of_one_normal_fills_holes_by_regression():
    """Maximum likelihood with the second column missing from some rows is the factored likelihood's closed form.

    Where the first column is always seen, the first has its own mean and variance and the second its regression on the
    first among the complete rows (Anderson 1957, https://doi.org/10.2307/2280845).
    """
    table = load("iris")
    names = list(table.schema.names)[:2]
    frame = table.frame[names].assign(**{names[1]: table.frame[names[1]].where(np.arange(150) % 3 > 0)})
    schema = type(table.schema)(table.schema.columns[:2])
    rows = prepare(frame, schema)(frame)
    family = GaussianMixture(schema, components=1, covariance="VVV", estimate="maximum-likelihood")
    found = fit(family, rows, seed=0).elbo * len(rows)
    first, both = frame[names[0]].to_numpy(), frame.dropna().to_numpy()
    slope, intercept = np.polyfit(both[:, 0], both[:, 1], 1)
    residual = both[:, 1] - slope * both[:, 0] - intercept
    expected = stats.norm(first.mean(), first.std()).logpdf(first).sum()
    expected += stats.norm(0, residual.std()).logpdf(residual).sum()
    assert found == pytest.approx(expected, rel=1e-9)


def test_all_cells_of_a_column_can_be_missing_from_new_rows():
    """New rows may have patterns that no training row had."""
    table = load("iris")
    preparation = prepare(table.frame, table.schema)
    family = fit(GaussianMixture(table.schema, components=2, covariance="EEE"), preparation(table.frame), seed=0).family
    names = list(table.schema.names)
    lone = pd.DataFrame({name: [np.nan] for name in names}).assign(**{names[2]: [4.0]}).astype(float)
    grid = pd.concat([lone.assign(**{names[2]: [x]}) for x in np.linspace(-60, 70, 1001)])
    mass = np.exp(log_density(family, preparation(grid)).values)
    assert np.trapezoid(mass, np.linspace(-60, 70, 1001)) == pytest.approx(1, abs=1e-4)
