"""Answers about rows: batches add up to the whole, conditionals are densities, draws of missing cells follow them."""

import numpy as np
import pandas as pd
import pytest
import torch
from cases import rows_of
from scipy import integrate, stats

from ppl_models.datasets import infer_schema, load, prepare
from ppl_models.datasets.bundled import shipped
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import compare
from ppl_models.families import VAE, GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import (
    Gradient,
    class_probabilities,
    conditional_log_density,
    fit,
    impute,
    log_density,
    partial_fit,
    tail_probabilities,
)
from ppl_models.inference.imputation import completed
from ppl_models.nn import Dense

FALSE_ALARM = 1e-5  # of each comparison of draws with a distribution


def customers():
    """Customers of known group, columns of all kinds, some cells missing."""
    bundled = load("fast_food_customers")
    frame = bundled.frame.assign(group=shipped("fast_food_customers_groups.csv")["group"].to_numpy())
    return prepare(frame, bundled.schema)(frame)


def state(family) -> torch.Tensor:
    return family.guide.natural().detach()


@pytest.mark.parametrize("settings", [{}, {"covariance": "EEE"}, {"counts": "negative-binomial"}])
def test_a_hundred_batches_give_the_posterior_of_one(settings):
    rows = customers() if "covariance" not in settings else rows_of("wine", 178)
    whole = fit(NaiveBayes(rows.schema, **settings), rows, seed=0).family
    piecewise = NaiveBayes(rows.schema, **settings)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))
    for batch in order.tensor_split(100):
        partial_fit(piecewise, rows[batch])
    torch.testing.assert_close(state(piecewise), state(whole), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(log_density(piecewise, rows).values, log_density(whole, rows).values, atol=1e-10)


def test_class_probabilities_add_up_and_are_named_by_the_label():
    rows = customers()
    found = class_probabilities(fit(NaiveBayes(rows.schema), rows, seed=0).family, rows)
    assert list(found) == list(rows.schema.label.categories)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


def iris_fit(**settings):
    rows = rows_of("iris", 150)
    return fit(GaussianMixture(rows.schema, components=2, covariance="full", **settings), rows, seed=0).family, rows


@pytest.mark.parametrize("estimate", ["bayes", "maximum-likelihood"])
def test_a_conditional_density_integrates_to_one(estimate):
    family, rows = iris_fit(estimate=estimate)
    names = list(rows.schema.names)
    grid = np.linspace(-5, 15, 4001)
    frame = family.preparation.invert(rows.values[:1]).loc[[0] * len(grid)].assign(**{names[2]: grid})
    density = conditional_log_density(family, family.preparation(frame), given=[names[0], names[1], names[3]])
    assert density.columns == (names[2],)
    assert integrate.trapezoid(np.exp(density.values), grid) == pytest.approx(1, abs=1e-5)


def test_a_conditional_density_is_not_compared_with_a_joint_one():
    family, rows = iris_fit()
    given = conditional_log_density(family, rows, given=rows.schema.names[:1])
    other = conditional_log_density(family, rows, given=rows.schema.names[1:2])
    with pytest.raises(InputError, match="expected the same columns"):
        compare({"joint": log_density(family, rows), "conditional": given})
    with pytest.raises(InputError, match="expected the same"):
        compare({"one": given, "other": other})


def test_only_exact_families_have_tails():
    rows = rows_of("iris", 60)
    vae = VAE(rows.schema, latent=1, network=Dense((4,)))
    fit(vae, rows, seed=0, method=Gradient(steps=10, check_every=5))
    with pytest.raises(InputError, match="expected a family of exact density, got VAE"):
        tail_probabilities(vae, rows, seed=0)


def test_missing_cells_of_one_normal_are_drawn_from_the_conditional_normal():
    """10,000 draws of two cells given two others, by Kolmogorov and Smirnov along two directions."""
    rows = rows_of("iris", 150)
    family = fit(GaussianMixture(rows.schema, components=1, covariance="full", estimate="map"), rows, seed=0).family
    theta = family.row.blocks[0].decode(state(family)[:, :-1])
    loc, covariance = theta["loc"][0].numpy(), torch.linalg.inv(theta["precision"][0]).numpy()
    holes = rows[:1].only(rows.schema.names[:2])
    with seeded(2):
        drawn = completed(family, holes, 10_000)[:, 0, 2:].numpy()
    gain = covariance[2:, :2] @ np.linalg.inv(covariance[:2, :2])
    mean = loc[2:] + gain @ (rows.values[0, :2].numpy() - loc[:2])
    spread = covariance[2:, 2:] - gain @ covariance[:2, 2:]
    for way in (np.array([1.0, 0.0]), np.array([1.0, -1.0])):
        known = stats.norm(way @ mean, (way @ spread @ way) ** 0.5)
        assert stats.kstest(drawn @ way, known.cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize("covariance", ["full", "tied", "spherical", "diagonal"])
def test_missing_cells_are_drawn_from_the_conditional_density(covariance):
    """One cell given three, θ and component integrated out: probability integral transforms of 4,000 draws."""
    rows = rows_of("iris", 150)
    family = fit(GaussianMixture(rows.schema, components=2, covariance=covariance), rows, seed=0).family
    names = list(rows.schema.names)
    holes = rows[50:51].only([name for name in names if name != names[3]])
    with seeded(3):
        drawn = completed(family, holes, 4000)[:, 0, 3].numpy()
    grid = np.linspace(-12, 12, 6001)
    values = rows.values[50:51].repeat(len(grid), 1)
    values[:, 3] = torch.tensor(grid)
    frame = family.preparation.invert(values)
    density = conditional_log_density(family, family.preparation(frame), given=[n for n in names if n != names[3]])
    prepared = np.exp(density.values + np.log(float(family.preparation.scale[3])))
    cdf = integrate.cumulative_trapezoid(prepared, grid, initial=0)
    assert cdf[-1] == pytest.approx(1, abs=1e-4)
    assert stats.kstest(np.interp(drawn, grid, cdf), "uniform").pvalue > FALSE_ALARM


def test_imputation_fills_every_hole_and_leaves_the_rest_alone():
    bundled = load("fast_food_customers")
    rows = prepare(bundled.frame, bundled.schema)(bundled.frame)
    found = impute(fit(Mixture(bundled.schema, components=3), rows, seed=0).family, rows, seed=1, draws=50)
    before = bundled.frame[list(bundled.schema.names)]
    assert not found.frame.isna().any().any()
    for name in before:
        kept = before[name].notna().to_numpy()
        same = found.frame[name][kept].to_numpy(), before[name][kept].to_numpy()
        assert (same[0] == same[1]).all() if before[name].dtype.name == "category" else np.allclose(*same)
    numbers = found.cells.dropna(subset=["mean"])
    assert (numbers["low"] <= numbers["value"]).all() and (numbers["value"] <= numbers["high"]).all()
    assert found.cells["probability"].dropna().between(0, 1).all()


def test_imputed_intervals_hold_the_cells_that_were_hidden():
    """90 % intervals over some 300 cells of a simulated normal table: share within 4.5 binomial errors."""
    random = np.random.default_rng(4)
    frame = pd.DataFrame(random.normal(size=(400, 3)) @ random.normal(size=(3, 3)), columns=list("abc"))
    hidden = random.random(frame.shape) < 0.25
    hidden[hidden.all(axis=1)] = False
    rows = prepare(frame, infer_schema(frame))(frame.mask(hidden))
    family = fit(GaussianMixture(rows.schema, components=1, covariance="full"), rows, seed=0).family
    cells = impute(family, rows, seed=5, draws=800).cells
    truth = frame.to_numpy()[hidden]
    share = ((cells["low"] <= truth) & (truth <= cells["high"])).mean()
    assert abs(share - 0.9) < 4.5 * (0.09 / len(truth)) ** 0.5 + 0.005


def test_a_planted_anomaly_has_the_smallest_tail_probability():
    family, rows = iris_fit()
    frame = family.preparation.invert(rows.values)
    frame.iloc[7] = frame.iloc[7] + 4
    found = tail_probabilities(family, family.preparation(frame), seed=0)
    assert found["probability"].argmin() == 7
    assert found["probability"].iloc[7] < 0.005


def test_tail_probabilities_of_the_models_own_rows_are_uniform():
    family, _ = iris_fit()
    with seeded(6):
        own = family.preparation(family.preparation.invert(family.draw(1000).values))
    found = tail_probabilities(family, own, seed=7, draws=20_000)
    assert stats.kstest(found["probability"], "uniform").pvalue > FALSE_ALARM
