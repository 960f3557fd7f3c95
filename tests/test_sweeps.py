"""Passes over rows in blocks give what the plain formulas give; what is held or counted once loses nothing."""

from dataclasses import replace

import pyro
import pytest
import torch
from cases import CASES, build

from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions.categorical import look_up
from ppl_models.distributions.normal import log_product
from ppl_models.families import Features, one_hot
from ppl_models.inference import NaturalGradient, sweeps
from ppl_models.inference.passes import bound, divergence
from ppl_models.inference.sweeps import Rows

CONJUGATE = [name for name, case in CASES.items() if isinstance(case.method, NaturalGradient)]
CLOSE = {"rtol": 1e-10, "atol": 1e-9}


def begun(name: str):
    """A family, its rows and two states of it."""
    family, rows = build(name)
    family.adopt(rows)
    features = family.features(rows)
    start = family.start(rows, restarts=2, seed=3)
    natural = family.posterior(features, start.expand(2, -1, -1)).detach()
    return family, rows, features, natural


@pytest.mark.parametrize("name", CONJUGATE)
def test_a_sweep_is_the_bound_and_the_next_step(name, monkeypatch):
    monkeypatch.setattr(sweeps, "CELLS_AT_ONCE", 100)
    monkeypatch.setattr(sweeps, "STATISTICS_AT_ONCE", 400)
    family, rows, features, natural = begun(name)
    with torch.no_grad(), pyro.validation_enabled(False):
        elbo, responsibilities = bound(family, features, natural)
        following = family.accumulate(features, responsibilities, previous=natural)
        for found in (Rows.of(family, rows), Rows.among(family, features.once())):
            local, total = found.sweep(natural)
            torch.testing.assert_close(local - divergence(family, natural), elbo, **CLOSE)
            torch.testing.assert_close(total, following, **CLOSE)


@pytest.mark.parametrize("name", CONJUGATE)
def test_runs_with_weights_of_their_own_are_swept_each_by_its_own(name):
    family, _, features, natural = begun(name)
    weights = torch.rand(2, len(features), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), pyro.validation_enabled(False):
        both = Rows.among(family, replace(features, weights=weights))
        for run in range(2):
            one = Rows.among(family, replace(features, weights=weights[run]))
            some = torch.tensor([run])
            for together, alone in zip(both.of_runs(some).sweep(natural[some]), one.sweep(natural[some]), strict=True):
                torch.testing.assert_close(together, alone, **CLOSE)


@pytest.mark.parametrize("name", CONJUGATE)
def test_class_sums_are_sums_of_statistics(name):
    family, rows, _, _ = begun(name)
    member = torch.arange(len(rows)) % family.classes
    weighted = rows.weighted(torch.linspace(0.5, 2.0, len(rows), dtype=torch.float64))
    told = one_hot(member, family.classes) * weighted.weights[:, None]
    expected = told.mT @ family.row.statistics(weighted)[:, :-1]
    torch.testing.assert_close(family.row.class_sums(weighted, member, family.classes), expected, **CLOSE)


@pytest.mark.parametrize("name", CONJUGATE)
def test_features_held_once_or_joined_from_parts_are_the_same(name):
    family, rows, features, natural = begun(name)
    joined = Features.joined([family.features(rows[:17]), family.features(rows[17:])])
    expected = family.expected_log_joint(features, natural)
    for found in (joined, joined.once(), features.once()):
        torch.testing.assert_close(family.expected_log_joint(found, natural), expected, **CLOSE)
        torch.testing.assert_close(
            family.accumulate(found, expected.softmax(-1), previous=natural),
            family.accumulate(features, expected.softmax(-1), previous=natural),
            **CLOSE,
        )


def test_statistics_that_differ_in_one_late_row_are_not_taken_for_equal():
    statistics = torch.ones(3000, 3, dtype=torch.float64)
    statistics[2999, 1] = 2.0
    nothing = torch.zeros(3000, dtype=torch.float64)
    labels = torch.full((3000,), UNKNOWN)
    found = Features(statistics, nothing, labels, one_hot(labels, 2), nothing + 1).once()
    assert found.statistics.shape == (3000, 2)
    torch.testing.assert_close(found.statistics[:, found.places], statistics, rtol=0, atol=0)


def test_rows_of_known_class_are_passed_over_once():
    family, rows = build("naive Bayes, some labels missing")
    family.adopt(rows)
    unknown = int((rows.labels == UNKNOWN).sum())
    assert 0 < unknown < len(rows)
    assert len(Rows.of(family, rows).open) == unknown


def test_the_logarithm_of_a_product_does_not_overflow():
    factors = torch.tensor([[1e80], [1e300], [2.0], [1.0], [1e200]], dtype=torch.float64)
    torch.testing.assert_close(log_product(factors), factors.log().sum(-2), rtol=1e-14, atol=0)


def test_numbers_are_looked_up_by_many_codes_at_once():
    random = torch.Generator().manual_seed(0)
    table = torch.randn(3, 13, 4, dtype=torch.float64, generator=random)
    codes = torch.randint(4, (50, 13), generator=random)
    expected = torch.stack([table[:, torch.arange(13), row].sum(-1) for row in codes])
    torch.testing.assert_close(look_up(table, codes.double()), expected, rtol=1e-13, atol=1e-13)
