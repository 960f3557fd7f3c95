"""Numbers against closed forms, exhaustive sums, quadrature and independent libraries, in float64."""

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
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture as SklearnGaussianMixture

from ppl_models.datasets import Column, Schema, load, prepare
from ppl_models.datasets.bundled import shipped
from ppl_models.families import VAE, GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import Gradient, NaturalGradient, estimate_elbo, fit, log_density

LOG_2PI = np.log(2 * np.pi)


def normal_evidence(x: np.ndarray, classes: int, columns: int) -> float:
    """log ∫ Π Normal(x | loc, precision) dNormal-gamma, by Murphy (2007), eq. 99."""
    count, shape, rate = 0.01, 1.5, classes ** (-2 / columns) / 2
    n, mean = len(x), x.mean() if len(x) else 0.0
    after = rate + ((x - mean) ** 2).sum() / 2 + count * n * mean**2 / (2 * (count + n))
    return (
        gammaln(shape + n / 2)
        - gammaln(shape)
        + shape * np.log(rate)
        - (shape + n / 2) * np.log(after)
        + (np.log(count) - np.log(count + n)) / 2
        - n / 2 * LOG_2PI
    )


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
                total += normal_evidence(x, classes, continuous)
            else:
                total += categorical_evidence(x, column.cardinality)
    return float(total + data.log_scale.sum())


def normal_wishart_evidence(x: np.ndarray) -> float:
    """log ∫ Π MultivariateNormal dNormal-Wishart, by Murphy (2007), eq. 266."""
    n, d = x.shape
    count, degrees, scatter = 0.01, d + 2, np.eye(d)
    mean = x.mean(0)
    after = scatter + (x - mean).T @ (x - mean) + count * n / (count + n) * np.outer(mean, mean)
    return (
        -n * d / 2 * np.log(np.pi)
        + multigammaln((degrees + n) / 2, d)
        - multigammaln(degrees / 2, d)
        + degrees / 2 * np.linalg.slogdet(scatter)[1]
        - (degrees + n) / 2 * np.linalg.slogdet(after)[1]
        + d / 2 * (np.log(count) - np.log(count + n))
    )


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


def test_one_diagonal_gaussian_component_has_the_log_evidence():
    rows = rows_of("iris", 150)
    found = fit(GaussianMixture(rows.schema, components=1), rows, seed=0)
    expected = sum(normal_evidence(rows.values[:, index].numpy(), 1, 4) for index in range(4)) + rows.log_scale.sum()
    assert found.elbo * len(rows) == pytest.approx(float(expected), rel=1e-8)


def test_one_full_gaussian_component_has_the_log_evidence():
    rows = rows_of("wine", 178)
    found = fit(GaussianMixture(rows.schema, components=1, covariance="full"), rows, seed=0)
    expected = normal_wishart_evidence(rows.values.numpy()) + float(rows.log_scale.sum())
    assert found.elbo * len(rows) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("covariance", "scikit"), [("diagonal", "diag"), ("full", "full")])
def test_log_prob_at_fixed_parameters_is_scikit_learns(covariance, scikit):
    """The Pyro model, conditioned on scikit-learn's parameters, component summed out by enumeration."""
    rows = rows_of("iris", 60)
    other = SklearnGaussianMixture(3, covariance_type=scikit, random_state=0).fit(rows.values.numpy())
    family = GaussianMixture(rows.schema, components=3, covariance=covariance)
    family.adopt(rows)
    parameters = {"weights": other.weights_, "real.loc": other.means_, "real.precision": other.precisions_}
    parameters = {name: torch.tensor(value) for name, value in parameters.items()}
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
    np.testing.assert_allclose(found, other.score_samples(rows.values.numpy()), rtol=1e-8)


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


@pytest.mark.parametrize("make", [NaiveBayes, lambda schema: Mixture(schema, components=2)])
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


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_every_two_dimensional_pdf_integrates_to_one(covariance):
    density = density_of(
        {"age": "real", "dollars": "real"}, lambda schema: GaussianMixture(schema, components=2, covariance=covariance)
    )
    u = np.linspace(-1, 1, 1203)[1:-1]
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


def test_rescaling_a_column_shifts_the_bound_of_a_vae():
    densities = []
    for rows in (prepared_iris(1.0), prepared_iris(2.54)):
        family = VAE(rows.schema, latent=2, hidden=(8,), dtype=torch.float64)
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
    family = VAE(rows.schema, latent=2, hidden=(), scale="column", dtype=torch.float64)
    family.adopt(rows)
    head, guide = family.model.heads[0], family.guide
    values = {
        head.loc.weight: loading,
        head.loc.bias: other.mean_,
        head.log_scale: np.full(4, np.log(noise**0.5 - 0.01)),
        guide.loc.weight: inverse @ loading.T,
        guide.loc.bias: -inverse @ loading.T @ other.mean_,
        guide.log_scale.weight: np.zeros((2, 4)),
        guide.log_scale.bias: np.log(scale_of_guide * np.sqrt(noise * np.diag(inverse))),
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
    family = VAE(rows.schema, latent=2, hidden=(), scale="column", dtype=torch.float64)
    fit(family, rows, seed=0, method=Gradient(steps=1500, batch_size=None, learning_rate=0.03))
    head = family.model.heads[0]
    weight, spread = head.loc.weight.detach().numpy(), (0.01 + head.log_scale.exp()).detach().numpy()
    exact = stats.multivariate_normal(head.loc.bias.detach().numpy(), weight @ weight.T + np.diag(spread**2))
    expected = exact.logpdf(rows.values.numpy()) + rows.log_scale.numpy()
    assert log_density(family, rows, draws=500).elpd == pytest.approx(expected.mean(), abs=0.01)


@pytest.mark.parametrize(
    "make",
    [
        NaiveBayes,
        lambda schema: GaussianMixture(schema, components=2),
        lambda schema: GaussianMixture(schema, components=2, covariance="full"),
    ],
)
def test_natural_and_ordinary_gradients_reach_the_same_elbo(make):
    rows = rows_of("iris", 150)
    natural = fit(make(rows.schema), rows, seed=0, method=NaturalGradient(restarts=1))
    ordinary = fit(make(rows.schema), rows, seed=0, method=Gradient(steps=700, batch_size=None, learning_rate=0.1))
    estimate = estimate_elbo(ordinary.family, rows, seed=3, particles=200)
    assert estimate.mean == pytest.approx(natural.elbo, abs=0.01)


@pytest.mark.parametrize("make", [NaiveBayes, lambda schema: Mixture(schema, components=3)])
def test_the_reported_elbo_is_pyros_for_mixed_columns(make):
    """Within 4.2 standard errors of TraceEnum_ELBO (and rounding), some labels and cells missing; false alarms 6e-5."""
    rows = rows_of("fast_food_customers", 300)
    found = fit(make(rows.schema), rows, seed=0)
    estimate = estimate_elbo(found.family, rows, seed=1, particles=100)
    assert abs(found.elbo - estimate.mean) < 4.2 * estimate.se + 1e-9


def test_the_reported_elbo_is_pyros_for_full_covariances():
    rows = rows_of("iris", 150)
    found = fit(GaussianMixture(rows.schema, components=3, covariance="full"), rows, seed=0)
    estimate = estimate_elbo(found.family, rows, seed=1, particles=100)
    assert abs(found.elbo - estimate.mean) < 4.2 * estimate.se + 1e-9


def test_minibatches_end_where_all_rows_end():
    bundled = load("fast_food_spending")
    rows = prepare(bundled.frame, bundled.schema)(bundled.frame)
    methods = NaturalGradient(), NaturalGradient(batch_size=100)
    whole, parts = (fit(GaussianMixture(rows.schema, components=2), rows, seed=0, method=one) for one in methods)
    assert parts.elbo == pytest.approx(whole.elbo, abs=1e-5)


def test_row_weights_count_rows():
    """A row of weight 2 is a row that occurs twice."""
    bundled = load("iris")
    frame = bundled.frame.head(90)
    doubled = pd.concat([frame, frame.head(30)])
    preparation = prepare(frame, bundled.schema)
    weighted = fit(
        NaiveBayes(bundled.schema, labelled=False), preparation(frame, weights=np.repeat([2.0, 1.0], [30, 60])), seed=0
    )
    repeated = fit(NaiveBayes(bundled.schema, labelled=False), preparation(doubled), seed=0)
    assert weighted.elbo == pytest.approx(repeated.elbo, rel=1e-12)
    torch.testing.assert_close(weighted.family.guide.natural(), repeated.family.guide.natural(), rtol=1e-10, atol=1e-10)


def test_weighted_rows_count_alike_in_both_fits_and_in_pyro():
    """Natural gradients' ELBO of weighted rows is Pyro's of the pair, whose plate counts each row by its weight."""
    rows = rows_of("fast_food_customers", 300)
    weighted = rows.weighted(torch.linspace(0, 3, 300, dtype=torch.float64))
    found = fit(Mixture(rows.schema, components=3), weighted, seed=0)
    estimate = estimate_elbo(found.family, weighted, seed=1)
    assert estimate.mean == pytest.approx(found.elbo, rel=1e-8)


def test_wrodl_outfits_have_the_probabilities_of_one_added_to_every_count():
    table = load("wrodl")
    preparation = prepare(table.frame, table.schema)
    family = fit(NaiveBayes(table.schema), preparation(table.frame), seed=0).family
    outfits = pd.DataFrame(
        {
            "top": ["ShortHairShortFlat", "LongHairBun"],
            "hair_colour": "Black",
            "accessories": "Sunglasses",
            "clothing": "Overall",
            "clothing_colour": "White",
        }
    )
    found = np.exp(log_density(family, preparation(outfits)).values)
    assert found[0] == pytest.approx(12 / 57 * 8 / 56 * 18 / 53 * 19 / 54 * 7 / 58, rel=1e-8)
    assert found[1] == pytest.approx(1 / 57 * 8 / 56 * 18 / 53 * 19 / 54 * 7 / 58, rel=1e-8)
