"""Missing cells under variational autoencoders, against factor analysis and against quadrature over z."""

from dataclasses import replace
from sys import modules

import numpy as np
import pandas as pd
import pytest
import torch
from cases import build, rows_of
from scipy import stats
from scipy.special import logsumexp
from test_latent_tools import LOADING, LOC, NOISE, SIX, iris, started

from ppl_models.datasets import Column, Dataset, Schema, prepare
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import compare
from ppl_models.families import VAE, ConditionalVAE, Family, HierarchicalVAE, LabelledVAE, SemiSupervisedVAE
from ppl_models.families.labelled_vae import beside
from ppl_models.inference import conditional_log_density, impute, log_density
from ppl_models.inference.inpainting import missing_draws
from ppl_models.inference.proposals import base_noise, propose
from ppl_models.nn import Dense

COVARIANCE = LOADING @ LOADING.T + NOISE * np.eye(4)  # of a row of factor analysis
BITS = Schema(tuple(Column(f"b{index}", "binary") for index in range(5)), Column("y", "categorical", ("u", "v")))
KNOWN = ["b0", "b2", "b4"]
NODES = 60
TINY = {
    "VAE": lambda **options: VAE(BITS, latent=2, **options),
    "full covariance": lambda **options: VAE(BITS, latent=2, guide="full", **options),
    "conditional": lambda **options: ConditionalVAE(BITS, latent=2, **options),
    "semi-supervised": lambda **options: SemiSupervisedVAE(BITS, latent=2, **options),
    "hierarchical": lambda **options: HierarchicalVAE(BITS, latent=1, top=1, **options),
}


def tiny(name: str) -> tuple[Family, Dataset]:
    """A family of five bits with two dimensions of z and steep random weights, and twelve rows."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.integers(0, 2, (12, 5)), columns=BITS.names)
    frame["y"] = pd.Categorical(np.tile(["u", "v"], 6), categories=["u", "v"])
    rows = prepare(frame, BITS)(frame)
    family = TINY[name](network=Dense((8,)), dtype=torch.float64)
    family.adopt(rows)
    family.initialise(rows, seed=3)
    with torch.no_grad():
        family.model.heads[0].logits.weight *= 5
    return family, rows


@torch.no_grad()
def exact_log_mass(family: Family, rows: Dataset) -> np.ndarray:
    """log p of the observed bits by Gauss and Hermite's quadrature over both dimensions of z, summed over classes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    log_weights = torch.tensor(np.log(weights / weights.sum()))
    z = torch.cartesian_prod(*[torch.tensor(nodes)] * 2)
    mass = (log_weights[:, None] + log_weights).flatten()[:, None, None].repeat(1, 1, len(rows))
    points = z[:, None, None].expand(-1, 1, len(rows), -1)
    if isinstance(family, HierarchicalVAE):
        below = family.model.below(z[:, :1])
        points = (below.mean + below.stddev * z[:, 1:])[:, None, None].expand(-1, 1, len(rows), -1)
    if isinstance(family, LabelledVAE):
        classes = rows.labels if family.given else torch.arange(2)[:, None]
        points = beside(points, classes, 2)
        mass = mass if family.given else mass + family.log_shares[:, None]
    (_, cells), *_ = family.model.likelihoods(points)
    logs = (cells.log_prob(rows.values) * rows.observed).sum(-1) + mass
    return logsumexp(logs.numpy(), axis=(0, 1))


@pytest.mark.parametrize("name", TINY)
def test_a_conditional_mass_of_bits_is_that_of_quadrature_within_its_error(name):
    family, rows = tiny(name)
    found = conditional_log_density(family, rows, given=KNOWN, seed=1, draws=4000)
    exact = exact_log_mass(family, rows) - exact_log_mass(family, rows.only(KNOWN))
    assert (found.khat < 0.7).all()
    assert (np.abs(found.values - exact) < SIX * found.monte_carlo_se).all()
    assert abs(found.elpd - exact.mean()) < SIX * found.mean_se
    assert found.monte_carlo_se.max() < 0.05


@pytest.mark.parametrize("name", TINY)
def test_bits_are_filled_in_with_the_probabilities_of_quadrature(name):
    """The share of ones among 20,000 draws of each missing bit."""
    family, rows = tiny(name)
    holes = rows.only(KNOWN)
    found = impute(family, holes, seed=2, draws=20_000, proposals=20_000)
    base = exact_log_mass(family, holes)
    for bit in ("b1", "b3"):
        index = BITS.names.index(bit)
        told = holes.observed.clone()
        told[:, index] = True
        ones = replace(holes, observed=told, values=holes.values.index_fill(1, torch.tensor([index]), 1.0))
        exact = np.exp(exact_log_mass(family, ones) - base)
        shares = found.draws[:, (found.cells["column"] == bit).to_numpy()].mean(0)
        error = np.sqrt(exact * (1 - exact) * (1 / 20_000 + 1 / found.rows["effective"].to_numpy()))
        assert (np.abs(shares - exact) < SIX * error).all()


def conditional(rows: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the last two cells given the first two, prepared units."""
    gain = COVARIANCE[2:, :2] @ np.linalg.inv(COVARIANCE[:2, :2])
    mean = LOC[2:] + (rows.values[:, :2].numpy() - LOC[:2]) @ gain.T
    return mean, COVARIANCE[2:, 2:] - gain @ COVARIANCE[:2, 2:]


def test_a_conditional_density_of_factor_analysis_is_the_closed_form_within_its_error():
    family, rows = iris()
    found = conditional_log_density(family, rows, given=rows.schema.names[:2], seed=0, draws=4000)
    mean, covariance = conditional(rows)
    law = stats.multivariate_normal(np.zeros(2), covariance)
    exact = law.logpdf(rows.values[:, 2:].numpy() - mean) - np.log(rows.scale[2:].numpy()).sum()
    assert (np.abs(found.values - exact) < SIX * found.monte_carlo_se).all()
    assert abs(found.elpd - exact.mean()) < SIX * found.mean_se
    assert 0 < found.mean_se < 0.02


def test_the_error_of_a_conditional_density_is_its_spread_over_seeds():
    """The standard deviation over 100 seeds against the mean of the delta method's, within 25 %."""
    family, rows = iris()
    given = {"given": rows.schema.names[:2], "draws": 200}
    found = [conditional_log_density(family, rows[:6], seed=seed, **given) for seed in range(100)]
    spread = np.std([each.values for each in found], axis=0)
    told = np.mean([each.monte_carlo_se for each in found], axis=0)
    assert np.median(told / spread) == pytest.approx(1, abs=0.25)
    assert np.mean([each.mean_se for each in found]) == pytest.approx(np.std([each.elpd for each in found]), rel=0.25)


def test_cells_of_factor_analysis_are_drawn_from_the_conditional_normal():
    """Means and covariances of 40,000 draws of two cells given two others, of three rows."""
    family, rows = iris()
    holes = rows[::60].only(rows.schema.names[:2])
    with seeded(4):
        found = missing_draws(family, holes, draws=40_000, proposals=40_000)
    mean, covariance = conditional(rows[::60])
    draws = found.cells.numpy().reshape(40_000, 3, 2)
    worth = 1 / (1 / 40_000 + 1 / found.effective)[:, None]
    variance = np.diag(covariance)
    assert (np.abs(draws.mean(0) - mean) < SIX * np.sqrt(variance / worth)).all()
    off = draws - mean
    products = np.einsum("krd,kre->rde", off, off) / 40_000
    bound = SIX * np.sqrt(2 * np.outer(variance, variance) / worth[:, :, None])
    assert (np.abs(products - covariance) < bound).all()


def test_a_row_with_nothing_observed_is_drawn_from_the_model_itself():
    """Each column by Kolmogorov and Smirnov; the proposals are the prior's, all worth the same."""
    family, rows = iris()
    with seeded(5):
        found = missing_draws(family, rows[:1].only([]), draws=3000, proposals=300_000)
    assert found.effective == pytest.approx([300_000])
    assert found.khat.tolist() == [-np.inf]
    for index in range(4):
        law = stats.norm(LOC[index], COVARIANCE[index, index] ** 0.5)
        assert stats.kstest(found.cells[:, index].numpy(), law.cdf).pvalue > 1e-5


@pytest.mark.parametrize("name", TINY)
def test_nothing_given_makes_a_conditional_the_density_itself(name):
    family, rows = tiny(name)
    found = conditional_log_density(family, rows, given=[], seed=1, draws=3000)
    error = np.hypot(found.monte_carlo_se, log_density(family, rows, seed=2, draws=3000).monte_carlo_se)
    whole = log_density(family, rows, seed=2, draws=3000).values
    assert (np.abs(found.values - whole) < SIX * error).all()


@pytest.mark.parametrize("name", TINY)
def test_proposals_estimate_the_mass_without_bias(name):
    """The mean weight of eight draws, fitted to the row, over 60 repetitions, by its standard error."""
    family, rows = tiny(name)
    holes = rows[:1].only(KNOWN)
    with seeded(6), torch.no_grad():
        found = [propose(family, holes, base_noise(family, 8)).log_weights.logsumexp(1) for _ in range(60)]
    ratios = np.exp(torch.cat(found).numpy()[:, 0] - exact_log_mass(family, holes))
    assert abs(ratios.mean() - 1) < SIX * ratios.std() / len(ratios) ** 0.5
    assert ratios.std() / len(ratios) ** 0.5 < 0.08


def test_proposals_fitted_to_a_row_are_worth_more_than_the_guides():
    """A guide that is told nothing, and too wide: the fitted draws are worth at least twice as much."""
    family, rows = iris()
    with torch.no_grad():
        family.guide.answer.loc.weight.zero_()
        family.guide.answer.log_scale.bias.fill_(np.log(2))
    with seeded(7), torch.no_grad():
        noise = base_noise(family, 1000)
        fitted = propose(family, rows, noise).log_weights[:, 0].softmax(0)
        plain = family.log_weights(rows, noise.normals).softmax(0)
    worth = [float((1 / weights.square().sum(0)).median()) for weights in (plain, fitted)]
    assert worth[1] > 2 * worth[0]


def test_a_row_whose_other_cells_are_missing_has_a_conditional_of_exactly_zero():
    family, rows = iris()
    holes = rows[:3].only(rows.schema.names[:2])
    found = conditional_log_density(family, holes, given=rows.schema.names[:2], seed=0, draws=50)
    assert found.values.tolist() == [0.0, 0.0, 0.0]
    assert found.monte_carlo_se.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["VAE of mixed columns", "hierarchical", "semi-supervised", "VAE of grey levels"])
def test_a_missing_cell_never_influences_an_answer(name):
    family, rows = started(name)
    names = rows.schema.names
    holes = rows[:20].only(names[: len(names) // 2])
    swapped = replace(holes, values=holes.values.where(holes.observed, rows.values[20:40]))
    for one, other in (
        (impute(family, each, seed=0, draws=5, proposals=50).draws for each in (holes, swapped)),
        (conditional_log_density(family, each, given=names[:1], draws=50).values for each in (holes, swapped)),
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "name",
    [
        "VAE of mixed columns",
        "VAE, spline flow",
        "VAE, dequantised",
        "conditional VAE",
        "semi-supervised",
        "hierarchical",
    ],
)
def test_imputation_fills_every_hole_and_leaves_the_rest_alone(name):
    family, rows = started(name)
    names = rows.schema.names
    keep = torch.rand(rows.observed.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    holes = replace(rows, observed=keep & rows.observed, values=rows.values.where(keep & rows.observed, 0.0))
    found = impute(family, holes, seed=1, draws=20, proposals=60)
    before = family.preparation.invert(rows.values, rows.index)
    assert not found.frame.isna().any(axis=None)
    for index, column in enumerate(names):
        kept = holes.observed[:, index].numpy()
        assert found.frame[column].dtype == before[column].dtype
        assert (found.frame[column][kept] == before[column][kept]).all()
    assert found.rows["row"].tolist() == sorted(set(found.cells["row"]))
    assert found.rows["effective"].between(1 - 1e-9, 60 + 1e-9).all()


def test_a_table_with_nothing_missing_comes_back_as_it_is():
    family, rows = iris()
    found = impute(family, rows, seed=0, draws=5, proposals=10)
    pd.testing.assert_frame_equal(found.frame, family.preparation.invert(rows.values, rows.index))
    assert (len(found.cells), len(found.rows), found.draws.shape) == (0, 0, (5, 0))


def test_parts_of_the_rows_and_of_the_draws_do_not_change_a_conditional(monkeypatch):
    family, rows = started("VAE of mixed columns")
    rows = rows[:24]
    ask = {"given": rows.schema.names[:2], "seed": 3, "draws": 70}
    whole = conditional_log_density(family, rows, **ask)
    for name in ("weights", "proposals"):
        monkeypatch.setitem(vars(modules[f"ppl_models.inference.{name}"]), "CELLS_IN_MEMORY", 2**14)
    parts = conditional_log_density(family, rows, **ask)
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-10)
    assert parts.mean_se == pytest.approx(whole.mean_se)
    assert impute(family, rows.only(rows.schema.names[:2]), seed=0, draws=3, proposals=40).frame.notna().all(axis=None)


def test_a_conditional_estimate_says_what_it_is():
    family, rows = iris()
    found = conditional_log_density(family, rows, given=rows.schema.names[:2], draws=40)
    assert found.kind == "estimate"
    assert compare({"VAE": found})["kind"].tolist() == ["estimate"]
    assert (found.columns, found.given) == (rows.schema.names[2:], ", ".join(rows.schema.names[:2]))
    with pytest.raises(InputError, match="expected the same columns"):
        compare({"conditional": found, "joint": log_density(family, rows, draws=40)})


def test_an_autoencoder_neither_fills_in_nor_prices_cells():
    family, rows = started("autoencoder of mixed columns")
    with pytest.raises(InputError, match="conditional density: expected a family with a density, got Autoencoder"):
        conditional_log_density(family, rows, given=rows.schema.names[:1])
    with pytest.raises(InputError, match="imputation: expected a naive Bayes, a mixture or a variational autoencoder"):
        impute(family, rows, seed=0)


def test_no_draw_and_no_proposal_are_refused():
    family, rows = iris()
    with pytest.raises(InputError, match="proposals: expected one or more, got 0"):
        impute(family, rows, seed=0, proposals=0)
    with pytest.raises(InputError, match="draws: expected one or more, got 0"):
        conditional_log_density(family, rows, given=rows.schema.names[:1], draws=0)


def test_a_family_that_was_never_fitted_fills_in_nothing():
    family, _ = build("VAE of mixed columns")
    rows = rows_of("fast_food_customers", 150)
    with pytest.raises(InputError, match="expected a fitted family, got one that was never fitted"):
        impute(family, rows, seed=0)
