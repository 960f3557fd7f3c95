"""Numbers against closed forms, exhaustive sums, quadrature and independent libraries, in float64."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from cases import rows_of
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from scipy import integrate, stats
from scipy.special import gammaln, multigammaln
from sklearn.mixture import GaussianMixture as SklearnGaussianMixture

from ppl_models.datasets import Column, Schema, load, prepare
from ppl_models.datasets.bundled import shipped
from ppl_models.families import GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import estimate_elbo, fit, log_density, log_evidence

LOG_2PI = np.log(2 * np.pi)


def shared_evidence(samples: list[np.ndarray], rate: float) -> float:
    """log ∫ Π Normal(x | loc, precision) dNormal-gamma over samples that share a precision, by Murphy (2007), eq. 99.

    Each sample has a location of its own.
    """
    count, shape, total = 0.01, 1.5, sum(map(len, samples))
    after, spread = rate, 0.0
    for x in samples:
        n, mean = len(x), x.mean() if len(x) else 0.0
        after += ((x - mean) ** 2).sum() / 2 + count * n * mean**2 / (2 * (count + n))
        spread += (np.log(count) - np.log(count + n)) / 2
    gammas = gammaln(shape + total / 2) - gammaln(shape)
    return gammas + shape * np.log(rate) - (shape + total / 2) * np.log(after) + spread - total / 2 * LOG_2PI


def wishart_evidence(groups: list[np.ndarray], variance: float) -> float:
    """log ∫ Π MultivariateNormal dNormal-Wishart over groups that share a precision, by Murphy (2007), eq. 266."""
    n, d, count, degrees = sum(map(len, groups)), groups[0].shape[1], 0.01, groups[0].shape[1] + 2
    after = variance * np.eye(d)
    for x in groups:
        after += (x - x.mean(0)).T @ (x - x.mean(0))
        after += count * len(x) / (count + len(x)) * np.outer(x.mean(0), x.mean(0))
    return (
        -n * d / 2 * np.log(np.pi)
        + multigammaln((degrees + n) / 2, d)
        - multigammaln(degrees / 2, d)
        + degrees / 2 * d * np.log(variance)
        - (degrees + n) / 2 * np.linalg.slogdet(after)[1]
        + d / 2 * sum(np.log(count) - np.log(count + len(x)) for x in groups)
    )


# whose precision a class's column has
OWNERS = {
    "VVI": lambda label, column: (label, column),
    "VII": lambda label, column: label,
    "EEI": lambda label, column: column,
    "EII": lambda label, column: 0,
}


def covariance_evidence(covariance: str, groups: list[np.ndarray], scale: np.ndarray) -> float:
    """The log evidence of the rows of each class, in standardised units; spheres are those of raw units."""
    classes, columns = len(groups), groups[0].shape[1]
    variance = classes ** (-2 / columns)
    if covariance == "EEE":
        return wishart_evidence(groups, variance)
    if covariance == "VVV":
        return sum(wishart_evidence([x], variance) for x in groups)
    unit = scale / stats.gmean(scale) if covariance[1] == "I" else np.ones(columns)
    samples = defaultdict(list)
    for label, rows in enumerate(groups):
        for column, x in enumerate((rows * unit).T):
            samples[OWNERS[covariance](label, column)].append(x)
    return sum(shared_evidence(some, variance * (unit**2).mean() / 2) for some in samples.values())


def poisson_evidence(x: np.ndarray, mean: float) -> float:
    n, total = len(x), x.sum()
    return gammaln(1 + total) - np.log(mean) - (1 + total) * np.log(1 / mean + n) - gammaln(x + 1).sum()


def categorical_evidence(x: np.ndarray, categories: int) -> float:
    counts = np.bincount(x.astype(int), minlength=categories)
    return gammaln(categories) - gammaln(categories + len(x)) + gammaln(1 + counts).sum()


def naive_bayes_evidence(data) -> float:
    """The log evidence of labelled rows, column by column and class by class, missing cells left out."""
    classes, labels = data.schema.classes, data.labels.numpy()
    continuous = len(data.schema.of_kind("real", "positive"))
    total = categorical_evidence(labels, classes) if data.schema.label else 0.0
    for index, column in enumerate(data.schema.columns):
        for label in range(classes):
            keep = data.observed[:, index].numpy() & ((labels == label) | (data.schema.label is None))
            x = data.values[:, index].numpy()[keep]
            if column.kind == "count":
                total += poisson_evidence(x, float(data.scale[index]))
            elif column.continuous:
                total += shared_evidence([x], classes ** (-2 / continuous) / 2)
            else:
                total += categorical_evidence(x, column.cardinality)
    return float(total + data.log_scale.sum())


def customers_with_all_labels():
    bundled = load("fast_food_customers")
    groups = shipped("fast_food_customers_groups.csv")["group"]
    frame = bundled.frame.assign(group=groups.to_numpy()).head(400)
    return prepare(frame, bundled.schema)(frame)


@pytest.mark.parametrize(
    "make_rows", [customers_with_all_labels, lambda: rows_of("wine", 178), lambda: rows_of("wrodl", 50)]
)
def test_naive_bayes_elbo_is_the_log_evidence(make_rows):
    rows = make_rows()
    found = fit(NaiveBayes(rows.schema), rows, seed=0)
    assert found.elbo * len(rows) == pytest.approx(naive_bayes_evidence(rows), rel=1e-8)


def test_pyros_elbo_of_labelled_naive_bayes_has_no_variance():
    rows = customers_with_all_labels()
    found = fit(NaiveBayes(rows.schema), rows, seed=0)
    estimate = estimate_elbo(found.family, rows, seed=0)
    assert estimate.mean == pytest.approx(naive_bayes_evidence(rows) / len(rows), rel=1e-6)
    assert estimate.se < 1e-6


@pytest.mark.parametrize("covariance", [*OWNERS, "EEE", "VVV"])
def test_one_gaussian_component_has_the_log_evidence(covariance):
    rows = rows_of("wine", 178)
    found = fit(GaussianMixture(rows.schema, components=1, covariance=covariance), rows, seed=0)
    expected = covariance_evidence(covariance, [rows.values.numpy()], rows.scale.numpy()) + float(rows.log_scale.sum())
    assert found.elbo * len(rows) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("covariance", [*OWNERS, "EEE", "VVV"])
def test_known_classes_that_share_precisions_have_the_log_evidence(covariance):
    """Three classes of wine, which share what the covariance says; Pyro's ELBO has no variance either."""
    rows = rows_of("wine", 178)
    found = fit(NaiveBayes(rows.schema, covariance=covariance), rows, seed=0)
    groups = [rows.values.numpy()[rows.labels.numpy() == label] for label in range(3)]
    expected = covariance_evidence(covariance, groups, rows.scale.numpy()) + float(rows.log_scale.sum())
    expected = (expected + categorical_evidence(rows.labels.numpy(), 3)) / len(rows)
    estimate = estimate_elbo(found.family, rows, seed=0, particles=2)
    assert found.elbo == pytest.approx(expected, rel=1e-8)
    assert log_evidence(found.family, rows) == pytest.approx(expected, rel=1e-8)
    assert estimate.mean == pytest.approx(expected, rel=1e-8)
    assert estimate.se < 1e-8


@pytest.mark.parametrize(
    ("covariance", "shape"), [("diag", (3, 4)), ("full", (3, 4, 4)), ("tied", (1, 4, 4)), ("spherical", (3, 1))]
)
def test_log_prob_at_fixed_parameters_is_scikit_learns(covariance, shape):
    """The Pyro model, conditioned on scikit-learn's parameters, component summed out by enumeration.

    Spheres are those of raw units up to a factor; the columns' factors have a product of one.
    """
    rows = rows_of("iris", 60)
    family = GaussianMixture(rows.schema, components=3, covariance=covariance)
    family.adopt(rows)
    x = rows.values.numpy()
    if covariance == "spherical":
        x = x * rows.scale.numpy() / stats.gmean(rows.scale.numpy())
    other = SklearnGaussianMixture(3, covariance_type=covariance, random_state=0).fit(x)
    parameters = {"weights": other.weights_, "real.loc": other.means_, "real.precision": other.precisions_}
    parameters = {name: torch.tensor(value) for name, value in parameters.items()}
    parameters["real.precision"] = parameters["real.precision"].reshape(shape)
    model = poutine.condition(family.model, data=parameters)
    elbo = TraceEnum_ELBO(max_plate_nesting=1)

    def total(batch):
        """log p(rows, θ) less the prior's log density of θ."""
        with pyro.validation_enabled(False):
            joint = -elbo.loss(model, lambda batch, rows: None, batch, len(batch))
        trace = poutine.trace(model).get_trace(batch, len(batch))
        trace.compute_log_prob()
        return joint - sum(float(trace.nodes[name]["log_prob_sum"]) for name in parameters)

    found = np.array([total(rows[row : row + 1]) for row in range(len(rows))])
    np.testing.assert_allclose(found, other.score_samples(x), rtol=1e-8)


SMALL = pd.DataFrame(
    {
        "visits": [0, 3, 1, 4, 2, 7, 1, 2],
        "app": [0, 1, 1, 0, 1, 0, 0, 1],
        "dish": list("abcabbba"),
        "dollars": [3.0, 5.5, 9.25, 1.5, 8.0, 2.25, 7.0, 30.0],
        "age": [21.0, 33.5, 60.0, 41.0, 25.5, 70.25, 38.0, 52.0],
    }
)


def density_of(columns: dict[str, str], make, categories=None):
    """A function from raw rows to densities, of a family fitted to these columns of the small table."""
    schema = Schema(
        tuple(
            Column(name, kind, ("a", "b", "c", "d") if kind == "categorical" else ()) for name, kind in columns.items()
        )
    )
    preparation = prepare(SMALL[list(columns)], schema)
    family = fit(make(schema), preparation(SMALL[list(columns)]), seed=0).family
    return lambda frame: np.exp(log_density(family, preparation(pd.DataFrame(frame))).values)


@pytest.mark.parametrize(
    "make",
    [
        NaiveBayes,
        lambda schema: Mixture(schema, components=2),
        lambda schema: Mixture(schema, components=2, counts="negative-binomial", estimate="map"),
        lambda schema: Mixture(schema, components=2, estimate="maximum-likelihood"),
    ],
)
@pytest.mark.parametrize(
    ("name", "kind", "support"),
    [("visits", "count", np.arange(3000)), ("app", "binary", [0, 1]), ("dish", "categorical", ["a", "b", "c", "d"])],
)
def test_every_pmf_sums_to_one(make, name, kind, support):
    assert density_of({name: kind}, make)({name: support}).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        NaiveBayes,
        lambda schema: Mixture(schema, components=2),
        lambda schema: GaussianMixture(schema, components=2, covariance="full"),
    ],
)
@pytest.mark.parametrize(("name", "kind"), [("age", "real"), ("dollars", "positive")])
def test_every_one_dimensional_pdf_integrates_to_one(make, name, kind):
    """On a grid of the heavy-tailed predictive: u from −1 to 1 with x a rational map of u, or its exponential."""
    density = density_of({name: kind}, make)
    u = np.linspace(-1, 1, 200_003)[1:-1]
    x, slope = 40 + 30 * u / (1 - u**2), 30 * (1 + u**2) / (1 - u**2) ** 2
    if kind == "positive":
        x, slope = (x - 40) / 15 + 1.8, slope / 15
        keep = np.abs(x) < 700
        x, slope, u = np.exp(x[keep]), slope[keep] * np.exp(x[keep]), u[keep]
    assert integrate.trapezoid(density({name: x}) * slope, u) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("covariance", ["diagonal", "full", "tied", "spherical", "EEV"])
def test_every_two_dimensional_pdf_integrates_to_one(covariance):
    density = density_of(
        {"age": "real", "dollars": "real"}, lambda schema: GaussianMixture(schema, components=2, covariance=covariance)
    )
    u = np.linspace(-1, 1, 803)[1:-1]
    step, slope = u / (1 - u**2), (1 + u**2) / (1 - u**2) ** 2
    age, dollars = np.meshgrid(40 + 20 * step, 8 + 9 * step, indexing="ij")
    values = density({"age": age.ravel(), "dollars": dollars.ravel()}).reshape(age.shape)
    inner = integrate.trapezoid(values * 9 * slope[None], u, axis=1)
    assert integrate.trapezoid(inner * 20 * slope, u) == pytest.approx(1, abs=1e-4)


def prepared_iris(factor: float):
    """Iris with its first column multiplied."""
    bundled = load("iris")
    frame = bundled.frame.assign(**{bundled.schema.names[0]: factor * bundled.frame[bundled.schema.names[0]]})
    return prepare(frame, bundled.schema)(frame)


@pytest.mark.parametrize("factor", [2.54, -1000.0])
@pytest.mark.parametrize("make", [NaiveBayes, lambda schema: GaussianMixture(schema, components=2, covariance="full")])
def test_rescaling_a_column_shifts_the_log_density_of_its_fit(make, factor):
    densities = []
    for rows in (prepared_iris(1.0), prepared_iris(factor)):
        densities.append(log_density(fit(make(rows.schema), rows, seed=0).family, rows).values)
    np.testing.assert_allclose(densities[1] - densities[0], -np.log(abs(factor)), rtol=0, atol=1e-10)
