"""A saved fit is the fit; what is no saved fit is refused in words."""

import json
import pickle

import pandas as pd
import pytest
import torch
from cases import CASES, build

from ppl_models import GaussianMixture, NaiveBayes, fit, load, log_density, prepare
from ppl_models.datasets import Column, Schema
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.families import Latent
from ppl_models.inference import NaturalGradient, load_family, load_fit, save_family, save_fit, saving
from ppl_models.inference.checkpoints import write_checkpoint


@pytest.mark.parametrize("name", CASES)
def test_a_family_comes_back_with_every_bit(name, tmp_path):
    family, rows = build(name)
    family.adopt(rows)
    family.initialise(rows, seed=0)
    family.eval()
    save_family(family, tmp_path / "family")
    again = load_family(tmp_path / "family")
    assert type(again) is type(family) and again.schema == family.schema
    for (key, value), (other, loaded) in zip(family.state_dict().items(), again.state_dict().items(), strict=True):
        assert key == other and torch.equal(value, loaded), key
    if isinstance(family, Latent):
        with seeded(0):
            noise = torch.randn(1, 5, family.noise)
        ours, theirs = (one.weigh(rows[:5], noise).log_likelihood for one in (family, again))
        assert torch.equal(ours, theirs)
    else:
        assert torch.equal(again.log_prob(rows[:5]), family.log_prob(rows[:5]))
    with seeded(1):
        drawn = family.draw(3).values
    with seeded(1):
        assert torch.equal(again.draw(3).values, drawn)


def test_scores_of_a_loaded_fit_are_those_of_the_fit(tmp_path):
    table = load("iris")
    rows = prepare(table.frame, table.schema)(table.frame)
    family = fit(GaussianMixture(table.schema, components=2, covariance="full"), rows, seed=0).family
    save_family(family, tmp_path / "family")
    again = load_family(tmp_path / "family")
    fresh = again.preparation(table.frame)
    assert (log_density(again, fresh).values == log_density(family, rows).values).all()


@pytest.mark.parametrize("estimate", ["bayes", "maximum-likelihood"])
def test_a_fit_comes_back_with_its_history(tmp_path, estimate):
    table = load("iris")
    rows = prepare(table.frame, table.schema)(table.frame)
    found = fit(GaussianMixture(table.schema, components=2, estimate=estimate), rows, seed=0)
    save_fit(found, tmp_path / "fit")
    again = load_fit(tmp_path / "fit")
    for name in ("elbo", "stop", "converged", "seed", "seconds", "remarks", "criteria"):
        assert getattr(again, name) == getattr(found, name)
    for name in ("history", "restarts"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(found, name))
    assert torch.equal(again.states, found.states)
    assert log_density(load_family(tmp_path / "fit"), rows).elpd == log_density(found.family, rows).elpd
    save_family(found.family, tmp_path / "family")
    with pytest.raises(InputError, match="got a family without one"):
        load_fit(tmp_path / "family")


def test_order_and_truth_of_columns_come_back():
    kinds = {"ordered": Column("size", "categorical", ("S", "M", "L"), ordered=True)}
    schema = Schema((*kinds.values(), Column("member", "binary", boolean=True)), Column("group", "categorical", (1, 2)))
    assert saving.unpack_schema(json.loads(json.dumps(saving.pack_schema(schema)))) == schema


def test_a_loaded_family_can_be_fitted_again(tmp_path):
    table = load("iris")
    rows = prepare(table.frame, table.schema)(table.frame)
    family = fit(GaussianMixture(table.schema, components=2), rows, seed=0).family
    save_family(family, tmp_path / "family")
    method = NaturalGradient(restarts=2, starts=4)
    again = fit(load_family(tmp_path / "family"), rows, seed=1, method=method)
    assert again.elbo == fit(GaussianMixture(table.schema, components=2), rows, seed=1, method=method).elbo


def state(**changes: object) -> dict[str, object]:
    plain = {"writer": saving.WRITER, "format": 1, "version": "0.1", "family": "NaiveBayes", "settings": {}}
    schema = saving.pack_schema(load("wrodl").schema)
    return plain | {"schema": schema, "state": NaiveBayes(load("wrodl").schema).state_dict(), "fit": None} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"writer": "another"}, "expected a family that save_family wrote, got another file"),
        ({"format": 2, "version": "9.1"}, "expected format 1 or older, got format 2 of ppl_models 9.1; a newer"),
        ({"family": "NoFamily"}, "expected a whole family, got a damaged one"),
        ({"family": "one_hot"}, "expected a whole family, got a damaged one"),
        ({"state": {}}, "expected a whole family, got a damaged one"),
        ({"settings": {"covariance": {"kind": "Path", "settings": {}}}}, "expected a whole family, got a damaged one"),
    ],
)
def test_what_is_no_saved_fit_is_refused(tmp_path, changes, message):
    write_checkpoint(tmp_path / "family", state(**changes))
    with pytest.raises(InputError, match=message):
        load_family(tmp_path / "family")


@pytest.mark.parametrize("content", [b"", b"{}", json.dumps({"a": 1}).encode(), pickle.dumps({"writer": 1})])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "family").write_bytes(content)
    with pytest.raises(InputError, match="expected a checkpoint, got another file"):
        load_family(tmp_path / "family")
    with pytest.raises(InputError, match="found no file"):
        load_family(tmp_path / "nothing")


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a fitted family, got one that was never fitted"):
        save_family(NaiveBayes(load("wrodl").schema), tmp_path / "family")
    strange = Schema((Column("x", "categorical", (("a",), ("b",))),))
    with pytest.raises(InputError, match="column 'x': expected categories that are text, numbers or truths"):
        saving.pack_schema(strange)
    assert not list(tmp_path.iterdir())
