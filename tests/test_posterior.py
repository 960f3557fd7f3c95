"""Draws of parameters and rows, and densities over them, have the moments of the closed-form posterior."""

import numpy as np
import pandas as pd
import pytest
from cases import fitted, rows_of
from scipy import stats

from ppl_models.datasets import infer_schema, load, prepare
from ppl_models.errors import InputError
from ppl_models.families import ClassProduct, GaussianMixture, NaiveBayes
from ppl_models.inference import density_curve, fit, parameter_draws, sample

SE = 4.5  # standard errors: false alarms 7e-6 a number
ROWS = pd.DataFrame(
    {
        "age": [20.0, 24.5, 31.0, 44.0, 52.5, 61.0] * 10,
        "dollars": [3.0, 9.5, 4.0, 12.0, 30.0, 2.5] * 10,
        "visits": [0, 2, 1, 5, 3, 0] * 10,
        "dish": ["a", "b", "a", "b", "a", "a"] * 10,
        "group": ["old", "old", "young"] * 20,
    }
)


def known_classes() -> ClassProduct:
    """Naive Bayes of the rows above: its posterior is closed-form."""
    schema = infer_schema(ROWS, label="group", kinds={"dollars": "positive"}, categories={"dish": ("a", "b", "c")})
    preparation = prepare(ROWS, schema)
    return fit(NaiveBayes(preparation.schema), preparation(ROWS), seed=0).family


def within(draws: np.ndarray, expected: np.ndarray) -> bool:
    """Whether means over draws lie within standard errors of what is expected."""
    se = draws.std(0, ddof=1) / len(draws) ** 0.5
    return bool((np.abs(draws.mean(0) - expected) < SE * se).all())


def moments(group: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means of the locations and of the squared scales of one class, raw units, by Murphy (2007)."""
    whole = ROWS[["age", "dollars"]].assign(dollars=np.log(ROWS["dollars"]))
    center, unit = whole.mean().to_numpy(), whole.std(ddof=0).to_numpy()
    z = (whole.loc[group.index].to_numpy() - center) / unit
    n, mean = len(z), z.mean(0)
    rate = 2 ** (-2 / 2) / 2 + ((z - mean) ** 2).sum(0) / 2 + 0.01 * n * mean**2 / (2 * (n + 0.01))
    return center + unit * n * mean / (n + 0.01), unit**2 * rate / (1.5 + n / 2 - 1)


@pytest.fixture(scope="module")
def draws():
    return parameter_draws(known_classes(), 4000, seed=1).squeeze("chain")


@pytest.mark.parametrize("group", ["old", "young"])
def test_parameter_draws_have_the_means_of_the_posterior_in_raw_units(draws, group):
    """Nine numbers a class, positive columns on their logarithm; false alarms 6e-5."""
    rows, one = ROWS[ROWS["group"] == group], draws.sel(component=group)
    loc, square = moments(rows)
    shares = [(1 + (rows["dish"] == dish).sum()) / (3 + len(rows)) for dish in "abc"]
    assert within(one["loc"].to_numpy(), loc)
    assert within(one["scale"].to_numpy() ** 2, square)
    assert within(one["rate"].to_numpy()[:, 0], (1 + rows["visits"].sum()) / (1 / ROWS["visits"].mean() + len(rows)))
    assert within(one["probability_dish"].to_numpy(), shares)
    assert within(one["weights"].to_numpy(), (1 + len(rows)) / (2 + len(ROWS)))


def test_parameter_draws_name_their_dimensions(draws):
    assert draws["loc"].dims == draws["scale"].dims == ("draw", "component", "continuous_column")
    assert draws["component"].values.tolist() == ["old", "young"]
    assert draws["continuous_column"].values.tolist() == ["age", "dollars"]
    assert draws["count_column"].values.tolist() == ["visits"]
    assert draws["dish_category"].values.tolist() == ["a", "b", "c"]


def test_full_covariances_are_drawn_as_scales_and_correlations():
    """Their product has the inverse-Wishart's mean; ten numbers, false alarms 7e-5."""
    rows = rows_of("iris", 150)
    found = parameter_draws(
        fit(GaussianMixture(rows.schema, components=1, covariance="full"), rows, seed=0).family, 4000, seed=1
    )
    scale, correlation = found["scale"].to_numpy()[0, :, 0], found["correlation"].to_numpy()[0, :, 0]
    z, unit = rows.values.numpy(), rows.scale.numpy()
    mean = z.mean(0)
    scatter = np.eye(4) + (z - mean).T @ (z - mean) + 0.01 * 150 / 150.01 * np.outer(mean, mean)
    expected = scatter / (150 + 4 + 2 - 4 - 1) * np.outer(unit, unit)
    above = np.triu_indices(4)
    draws = scale[:, :, None] * scale[:, None, :] * correlation
    assert within(draws[:, *above], expected[above])
    assert found["correlation"].dims[-2:] == ("row", "column")
    assert found["row"].values.tolist() == found["column"].values.tolist() == list(rows.schema.names)


@pytest.fixture(scope="module")
def spending():
    """A mixture's curve, and the densities of 4,000 draws of its parameters at the same points."""
    table, grid = load("fast_food_spending"), np.linspace(30, 65, 8)
    preparation = prepare(table.frame, table.schema)
    family = fit(GaussianMixture(table.schema, components=2), preparation(table.frame), seed=0).family
    curve = density_curve(family, preparation(pd.DataFrame({"dollars_per_week": grid})), seed=1, draws=4000)
    one = parameter_draws(family, 4000, seed=2).squeeze(("chain", "continuous_column"))
    normal = stats.norm(one["loc"].to_numpy(), one["scale"].to_numpy())
    return curve, np.stack([(one["weights"].to_numpy() * normal.pdf(x)).sum(-1) for x in grid], axis=1)


def test_the_predictive_density_is_the_mean_over_parameters(spending):
    assert within(spending[1], spending[0]["density"].to_numpy())


def test_the_band_holds_its_share_of_parameters_and_the_predictive_density(spending):
    """5 % of other draws lie below and above, within 4.5 standard errors; false alarms 1e-4."""
    curve, draws = spending
    tolerance = SE * (0.05 * 0.95 * 2 / 4000) ** 0.5
    np.testing.assert_allclose((draws < curve["low"].to_numpy()).mean(0), 0.05, atol=tolerance)
    np.testing.assert_allclose((draws > curve["high"].to_numpy()).mean(0), 0.05, atol=tolerance)
    assert curve["density"].between(curve["low"], curve["high"]).all()


def test_samples_have_the_means_of_the_predictive():
    """Eight numbers; false alarms 6e-5."""
    found = sample(known_classes(), 20_000, seed=1)
    groups, weights = [ROWS[ROWS["group"] == name] for name in ("old", "young")], np.array([41, 21]) / 62
    locs = weights @ [moments(group)[0] for group in groups]
    rate = weights @ [(1 + group["visits"].sum()) / (1 / ROWS["visits"].mean() + len(group)) for group in groups]
    shares = weights @ [[(1 + (group["dish"] == dish).sum()) / (3 + len(group)) for dish in "abc"] for group in groups]
    assert within(np.column_stack([found["age"], np.log(found["dollars"])]), locs)
    assert within(found["visits"].to_numpy(), rate)
    assert within((found["dish"].to_numpy()[:, None] == list("abc")).astype(float), shares)
    assert within((found["group"] == "old").to_numpy(float), weights[0])


@pytest.mark.parametrize("name", ["old", "young"])
def test_samples_of_one_class_have_its_means(name):
    """Five numbers a class; false alarms 7e-5."""
    found, group = sample(known_classes(), 20_000, seed=2, label=name), ROWS[ROWS["group"] == name]
    assert (found["group"] == name).all()
    assert within(np.column_stack([found["age"], np.log(found["dollars"])]), moments(group)[0])
    shares = [(1 + (group["dish"] == dish).sum()) / (3 + len(group)) for dish in "abc"]
    assert within((found["dish"].to_numpy()[:, None] == list("abc")).astype(float), shares)


@pytest.mark.parametrize(
    ("family", "label", "message"),
    [
        (known_classes, "middle", "label 'group': expected one of old, young, got 'middle'"),
        (lambda: fitted("mixture of mixed columns").family, 1, "expected a family that was told classes, got Mixture"),
    ],
)
def test_a_class_that_is_not_there_is_refused(family, label, message):
    with pytest.raises(InputError, match=message):
        sample(family(), 3, seed=0, label=label)


def test_another_seed_draws_other_rows():
    family = fitted("mixture of mixed columns").family
    assert not sample(family, 20, seed=1).equals(sample(family, 20, seed=2))
