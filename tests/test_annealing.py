"""Annealed importance sampling: without bias forwards and backwards, bounds from both sides, exact where it can be."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from cases import CASES, build, fitted
from test_exact_vae import DEPENDENT, guided
from test_fitted_bounds import by_quadrature, misled

from ppl_models.datasets import load, prepare_split
from ppl_models.errors import InputError
from ppl_models.evaluation import Density
from ppl_models.families import VAE, Amortised
from ppl_models.inference import Gradient, fit, log_density, sandwich, simulate
from ppl_models.inference.annealing import anneal
from ppl_models.inference.row_normals import RowNormals
from ppl_models.nn import Dense

__all__ = ["misled"]  # a fixture
AMORTISED = [name for name in CASES if isinstance(build(name)[0], Amortised)]


def worsened(way):
    """The way from Normals that are off by half of their deviations and half as wide again."""
    normals = RowNormals(way.normals.loc + 0.5 * way.normals.root.sum(-1), 1.5 * way.normals.root)
    return dataclasses.replace(way, normals=normals).tuned(seed=5)


def ratios(log_weights, exact):
    """The mean of weight over evidence of each row, in its standard errors from 1."""
    relative = (log_weights - exact).exp()
    return (relative.mean(0) - 1) / (relative.std(0) / len(relative) ** 0.5)


@pytest.mark.parametrize("name", AMORTISED)
def test_the_joint_density_is_the_weight_times_the_guides(name):
    family, rows = fitted(name).family, build(name)[1][torch.arange(8)]
    noise = torch.randn(3, family.noise, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        found = family.weigh(rows, noise)
        if family.noise != family.latent or name.startswith("semi"):
            pytest.skip("the guide's density is of more than z")
        z = found.latents[0]
        expected = found.log_weights + family.posterior(rows).log_prob(z)
        torch.testing.assert_close(family.log_joint(rows, z), expected.double(), rtol=1e-9, atol=1e-8)


def test_log_joint_sums_over_hidden_classes():
    family, rows = fitted("semi-supervised").family, build("semi-supervised")[1][torch.arange(8)]
    z = torch.randn(3, 8, family.latent, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        each = []
        for code in range(rows.schema.classes):
            told = dataclasses.replace(rows, labels=torch.full((8,), code))
            each.append(family.model.log_likelihood(told, z) + family.log_shares[code])
        expected = torch.stack(each).logsumexp(0) + family.prior().log_prob(z)
        torch.testing.assert_close(family.log_joint(rows, z), expected.double(), rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_the_mean_weight_is_the_evidence_of_each_row(misled, direction):
    """2,000 chains from a bad start over 60 rows: none is 5.2 standard errors off, a false alarm of 1e-5."""
    family = misled[0]
    data, latents = simulate(family, 60, seed=4)
    exact = torch.from_numpy(by_quadrature(family, data)) - data.log_scale
    way = worsened(anneal(family, data, seed=1, temperatures=12))
    if direction == "forwards":
        off = ratios(way.forwards(2000, seed=7), exact)
        assert float(off.abs().max()) < 5.2
    else:  # without bias over the rows too, whose z is but one draw of each posterior
        relative = (exact - way.backwards(latents, 200, seed=7)).exp().mean(0)
        assert abs(float(relative.mean()) - 1) < 4.5 * float(relative.std()) / 60**0.5


def test_annealed_bounds_are_the_density_to_their_monte_carlo_error(misled):
    """The mean over rows lies within 4.5 of its Monte Carlo errors; false alarms 7e-6."""
    family, rows = misled
    found, exact = log_density(family, rows, seed=1, draws=64, method="ais"), by_quadrature(family, rows)
    assert found.kind == "lower bound" and found.mean_se < 0.01
    assert abs(found.elpd - exact.mean()) < 4.5 * found.mean_se + 1e-3


def test_a_row_is_annealed_the_same_alone_and_in_company(misled):
    family, rows = misled
    whole = log_density(family, rows, seed=1, method="ais")
    assert whole.draws == 16
    alone = [log_density(family, rows[row : row + 1], seed=1, method="ais").values[0] for row in range(4)]
    np.testing.assert_allclose(alone, whole.values[:4], rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_both_bounds_of_a_linear_vae_are_its_closed_form(kind):
    """To within 0.01 nats a row, and far closer, since the fitted Normal is the posterior."""
    family, rows, _ = guided(kind)
    assert log_density(family, rows, method="ais").elpd == pytest.approx(DEPENDENT.log_density(rows).mean(), abs=1e-6)
    data, _ = simulate(family, 40, seed=1)
    found, exact = sandwich(family, 40, seed=1), DEPENDENT.log_density(data)
    np.testing.assert_allclose(found.values, exact, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.upper, exact, rtol=0, atol=1e-6)


def test_bounds_of_a_linear_vae_hold_from_a_bad_start_too():
    """64 chains, which all rows share: within 4.5 Monte Carlo errors of the mean weight; false alarms 7e-6."""
    family, rows, _ = guided("diagonal")
    exact = torch.from_numpy(DEPENDENT.log_density(rows)) - rows.log_scale
    relative = (worsened(anneal(family, rows, seed=1)).forwards(64, seed=3) - exact).exp().mean(-1)
    assert 0 < abs(float(relative.mean()) - 1) < 4.5 * float(relative.std()) / 8 < 0.15


def test_the_gap_on_rows_drawn_from_a_vae_of_digits_is_small():
    table = load("digits_binary")
    parts = prepare_split(table.frame, table.schema, seed=0)
    family = VAE(table.schema, latent=8, network=Dense((64,)))
    fit(family, parts.train, parts.validation, seed=0, method=Gradient(steps=400))
    few, more = (sandwich(family, 40, seed=3, temperatures=number) for number in (4, 40))
    assert more.kind == "interval" and abs(more.gap) < 0.5
    assert more.gap < few.gap
    assert log_density(family, parts.test[:40], method="ais").elpd > log_density(family, parts.test[:40]).elpd


def test_an_interval_has_two_ends_and_nothing_else_has():
    facts = {"checksum": "ab", "columns": ("x",), "discrete": (False,)}
    assert Density(np.zeros(2), "interval", **facts, upper=np.ones(2)).gap == 1
    assert math.isnan(Density(np.zeros(2), "exact", **facts).gap)
    for wrong in ({"kind": "interval"}, {"kind": "exact", "upper": np.ones(2)}):
        with pytest.raises(InputError, match="expected upper for kind 'interval'"):
            Density(np.zeros(2), **wrong, **facts)


@pytest.mark.parametrize("name", ["naive Bayes, one class", "VAE, dequantised", "autoencoder of mixed columns"])
def test_families_without_known_latents_have_no_sandwich(name):
    with pytest.raises(InputError, match="draws tell all of their latents"):
        sandwich(fitted(name).family, 3, seed=0)
