"""Student's t mixtures: scipy's densities, EM by the paper's equations, sums by hand, outliers that move nothing."""

from itertools import product

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from cases import build, fitted, rows_of
from pyro import poutine
from scipy import optimize, special, stats

from ppl_models.datasets import Column, Dataset, Schema, prepare
from ppl_models.distributions import seeded
from ppl_models.distributions.multivariate_t import MultivariateT
from ppl_models.errors import InputError
from ppl_models.evaluation import compare
from ppl_models.families import GaussianMixture, StudentMixture
from ppl_models.inference import Fit, NaturalGradient, bootstrap_draws, class_probabilities, fit, impute, log_density

ML = "maximum-likelihood"
NAMES = ["x", "y", "size"]
SCHEMA = Schema((Column("x", "real"), Column("y", "real"), Column("size", "positive")))
SHAPE = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.5], [0.0, -0.5, 0.5]])
SE = 4.6  # standard errors: false alarms 4e-6 a number


def drawn(rows: int, freedoms=(3.0, 10.0), *, seed: int) -> pd.DataFrame:
    """Rows of t components of even weight, the last column positive."""
    random = np.random.default_rng(seed)
    member = random.integers(len(freedoms), size=rows)
    parts = [
        stats.multivariate_t([6.0 * k, -2.0 * k, 1.0], SHAPE, freedom, seed=random).rvs(rows)
        for k, freedom in enumerate(freedoms)
    ]
    frame = pd.DataFrame(np.choose(member[:, None], parts), columns=NAMES)
    return frame.assign(size=np.exp(frame["size"]))


def quick(family: StudentMixture | GaussianMixture, rows: Dataset) -> Fit:
    return fit(family, rows, seed=0, method=NaturalGradient(restarts=2, starts=8))


def holed(frame: pd.DataFrame, share: float) -> pd.DataFrame:
    return frame.mask(np.random.default_rng(7).random(frame.shape) < share)


def prepared(frame: pd.DataFrame) -> Dataset:
    return prepare(frame, SCHEMA)(frame)


def theta_of(family: StudentMixture) -> tuple[np.ndarray, list]:
    """The weights, and scipy's t of each component in prepared units."""
    natural = family.guide.natural().detach()
    theta = next(iter(family.row)).decode(natural[:, :-1])
    known = family.likelihoods.tails.freedom
    freedom = (
        theta["freedom"].expand(family.classes) if known is None else torch.full((family.classes,), known).double()
    )
    precision = theta["precision"] if theta["precision"].dim() == 3 else theta["precision"].diag_embed()
    freedom = freedom.expand(family.classes).numpy()
    parts = zip(theta["loc"].numpy(), torch.linalg.inv(precision).numpy(), freedom, strict=True)
    return natural[:, -1].exp().numpy(), list(parts)


def joint_by_scipy(family: StudentMixture, rows: Dataset) -> np.ndarray:
    """log weight + log p(observed cells | component), nats in prepared units, (rows, components)."""
    weights, parts = theta_of(family)
    found = np.tile(np.log(weights), (len(rows), 1))
    for row, (values, seen) in enumerate(zip(rows.values.numpy(), rows.observed.numpy(), strict=True)):
        for component, (loc, scale, freedom) in enumerate(parts if seen.any() else ()):
            part = stats.multivariate_t(loc[seen], scale[np.ix_(seen, seen)], freedom)
            found[row, component] += part.logpdf(values[seen])
    return found


@pytest.mark.parametrize("options", [{"covariance": "full"}, {}, {"tied_freedom": True}, {"freedom": 2.5}], ids=str)
def test_densities_are_scipys_to_1e_8_in_raw_units(options):
    frame = holed(drawn(150, seed=1), 0.2).dropna(how="all")
    rows = prepared(frame)
    family = quick(StudentMixture(SCHEMA, components=2, **options), rows).family
    joint, found = joint_by_scipy(family, rows), log_density(family, rows)
    log_slopes = np.log(frame["size"].fillna(1.0)) + (frame.notna() * np.log(rows.scale.numpy())).sum(axis=1)
    expected = special.logsumexp(joint, axis=1) - log_slopes
    assert found.kind == "exact"
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(class_probabilities(family, rows), special.softmax(joint, axis=1), atol=1e-8)


def em(x: np.ndarray, responsibilities: np.ndarray, passes: int) -> float:
    """EM for t mixtures by Peel and McLachlan's equations (2000, section 4); log-likelihood of all rows, nats."""
    size, classes = x.shape[1], responsibilities.shape[1]
    u, freedom = np.ones_like(responsibilities), np.full(classes, 10.0)
    for _ in range(passes):
        weighted = responsibilities * u
        loc = weighted.T @ x / weighted.sum(0)[:, None]
        centred = x[:, None] - loc
        scale = np.einsum("nk,nki,nkj->kij", weighted, centred, centred) / responsibilities.sum(0)[:, None, None]
        shares = responsibilities.mean(0)
        parts = [stats.multivariate_t(loc[k], scale[k], freedom[k]).logpdf(x) for k in range(classes)]
        joint = np.log(shares) + np.stack(parts, 1)
        responsibilities = special.softmax(joint, axis=1)
        distance = np.einsum("nki,kij,nkj->nk", centred, np.linalg.inv(scale), centred)
        u = (freedom + size) / (freedom + distance)
        log_u = special.digamma((freedom + size) / 2) - np.log((freedom + distance) / 2)
        told = (responsibilities * (log_u - u)).sum(0) / responsibilities.sum(0)
        freedom = np.array([optimize.brentq(lambda v, one=one: slope(v) + one, 0.5, 1000) for one in told])
    return float(special.logsumexp(joint, axis=1).sum())


def slope(freedom: float) -> float:
    return 1 + np.log(freedom / 2) - special.digamma(freedom / 2)


def test_em_by_the_papers_equations_gets_no_further():
    """From eight random starts, and from our own end: within 1e-3 nats of all rows together."""
    rows = prepared(drawn(300, (2.0, 5.0), seed=2))
    found = quick(StudentMixture(SCHEMA, components=2, covariance="full", estimate=ML), rows)
    ours, x = found.log_likelihood - float(rows.log_scale.sum()), rows.values.numpy()
    random = np.random.default_rng(0)
    theirs = [em(x, random.dirichlet(np.full(2, 0.2), len(x)), 120) for _ in range(8)]
    assert max(theirs) < ours + 1e-3
    assert max(theirs) > ours - 0.05
    assert em(x, class_probabilities(found.family, rows).to_numpy(), 400) == pytest.approx(ours, abs=1e-3)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_with_many_degrees_of_freedom_it_is_the_gaussian_mixture(covariance):
    rows = rows_of("iris", 150, 0.1)
    options = {"components": 2, "covariance": covariance, "estimate": ML}
    ours = quick(StudentMixture(rows.schema, freedom=1e7, **options), rows)
    theirs = quick(GaussianMixture(rows.schema, **options), rows)
    assert ours.elbo == pytest.approx(theirs.elbo, abs=1e-5)
    for one, other in zip(*(log_density(found.family, rows).values for found in (ours, theirs)), strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_rows_of_a_gaussian_mixture_ask_for_next_to_no_tails():
    frame = drawn(400, (1e6, 1e6), seed=3)
    rows = prepared(frame)
    options = {"components": 2, "covariance": "full", "estimate": ML}
    ours, theirs = (quick(kind(SCHEMA, **options), rows) for kind in (StudentMixture, GaussianMixture))
    assert -1e-3 < ours.elbo - theirs.elbo < 1.0 / len(frame)
    assert min(freedom for _, _, freedom in theta_of(ours.family)[1]) > 20


def test_the_parameters_of_a_simulation_are_found():
    """Each within 4.6 bootstrap standard errors."""
    rows = prepared(drawn(3000, (3.0, 8.0), seed=4))
    found = quick(StudentMixture(SCHEMA, components=2, covariance="full", estimate=ML), rows)
    replicates = bootstrap_draws(found.family, rows, 40, seed=0)
    truth = {
        "weights": [0.5, 0.5],
        "freedom": [3.0, 8.0],
        "loc": [[0, 0, 1], [6, -2, 1]],
        "scale": np.tile(np.sqrt(np.diag(SHAPE)), (2, 1)),
    }
    for name, expected in truth.items():
        mean, se = replicates[name].mean(("chain", "draw")), replicates[name].std(("chain", "draw"))
        assert (np.abs(mean - expected) < SE * se).all(), name


@pytest.mark.parametrize(("share", "wide", "ahead"), [(0.05, 10.0, 0.3), (0.02, 1000.0, 2.0)])
def test_with_outliers_it_beats_the_gaussian_mixture_on_held_out_rows(share, wide, ahead):
    """Some rows thrown far out, in training and held out alike: by so many nats a row, and 5 dse."""
    random, frame = np.random.default_rng(5), drawn(1200, (1e6, 1e6), seed=5)
    cells = np.column_stack([frame["x"], frame["y"], np.log(frame["size"])])
    out = random.random(len(cells)) < share
    cells[out] += wide * random.normal(size=(int(out.sum()), 3))
    schema = Schema(tuple(Column(name, "real") for name in NAMES))
    frame = pd.DataFrame(cells, columns=NAMES)
    prepare_rows = prepare(frame[:600], schema)
    train, test = prepare_rows(frame[:600]), prepare_rows(frame[600:])
    options = {"components": 2, "covariance": "full", "estimate": "map"}
    fits = {kind.__name__: quick(kind(schema, **options), train) for kind in (StudentMixture, GaussianMixture)}
    table = compare({name: log_density(found.family, test) for name, found in fits.items()})
    diff, dse = table.loc["GaussianMixture", ["diff", "dse"]]
    assert -diff > ahead and -diff > 5 * dse


def test_the_elbo_is_the_sum_over_all_components_of_all_rows():
    """Every one of 2⁷ allocations scored by the Pyro model, cells missing."""
    name = "Student mixture, full, cells missing, mode"
    family, rows = fitted(name).family, build(name)[1][:7]
    theta = poutine.trace(family.model.parameters_from).get_trace(family.guide.natural().detach())
    sites = {name: theta.nodes[name]["value"] for name in theta.stochastic_nodes if name != "classes"}
    found = []
    for allocation in product(range(2), repeat=7):
        given = pyro.condition(family.model, data=sites | {"component": torch.tensor(allocation)})
        found.append(poutine.trace(given).get_trace(rows, len(rows)).log_prob_sum())
    prior = -family.divergence(family.guide.natural()[None])[0]
    expected = (family.log_prob(rows).sum() + prior).detach()
    assert float(torch.stack(found).logsumexp(0).detach()) == pytest.approx(float(expected), abs=1e-8)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_missing_cells_are_drawn_from_the_t_given_the_observed_ones(covariance):
    """Its mean and sd in closed form, by 4,000 draws."""
    frame = drawn(200, (6.0,), seed=6)
    frame.loc[0, "x"] = np.nan
    rows = prepared(frame)
    family = quick(StudentMixture(SCHEMA, components=1, covariance=covariance), rows).family
    ((loc, scale, freedom),) = theta_of(family)[1]
    rest, centred = scale[1:, 1:], rows.values[0, 1:].numpy() - loc[1:]
    mean = loc[0] + scale[0, 1:] @ np.linalg.solve(rest, centred)
    distance = centred @ np.linalg.solve(rest, centred)
    variance = scale[0, 0] - scale[0, 1:] @ np.linalg.solve(rest, scale[1:, 0])
    spread = np.sqrt((freedom + distance) / (freedom + 2) * variance)
    draws = impute(family, rows, seed=0, draws=4000).draws[:, 0]
    expected = stats.t(freedom + 2, mean * float(rows.scale[0]) + float(rows.loc[0]), spread * float(rows.scale[0]))
    assert stats.kstest(draws, expected.cdf).pvalue > 1e-5


@pytest.mark.parametrize("along_axes", [True, False])
def test_draws_of_the_distribution_are_ts(along_axes):
    """A linear combination of the columns is Student's t of the same degrees of freedom."""
    precision = torch.tensor([0.5, 2.0, 4.0]).double()
    matrix = precision.diag() + 0.3
    loc, way = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([1.0, 2.0, -1.0]).double()
    scale = torch.linalg.inv(precision.diag() if along_axes else matrix)
    everyone = torch.ones(3, dtype=torch.bool)
    law = MultivariateT(torch.tensor(4.0).double(), loc, precision if along_axes else matrix, everyone)
    with seeded(0):
        found = law.sample((5000,)) @ way
    known = stats.t(4.0, float(loc @ way), float(way @ scale @ way) ** 0.5)
    assert stats.kstest(found.numpy(), known.cdf).pvalue > 1e-5
    value = torch.tensor([0.3, 1.0, -2.0]).double()
    assert float(law.log_prob(value)) == pytest.approx(stats.multivariate_t(loc, scale, 4.0).logpdf(value), abs=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "components: expected a whole number from 1, got 0"),
        ({"components": 2, "freedom": 0.0}, "freedom: expected a number above 0, got 0.0"),
        ({"components": 2, "covariance": "EEV"}, "Student's t: expected covariance 'full' or 'diagonal'.*got 'EEV'"),
        ({"components": 2, "estimate": "bayes"}, "Student's t: .*'map' or 'maximum-likelihood'.*'bayes'"),
    ],
)
def test_what_it_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        StudentMixture(SCHEMA, **options)


def test_columns_of_other_kinds_are_refused():
    with pytest.raises(InputError, match="StudentMixture: expected real or positive columns, column 'n' is count"):
        StudentMixture(Schema((Column("n", "count"),)), components=2)
