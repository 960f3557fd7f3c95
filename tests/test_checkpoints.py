"""A fit that is broken off and gone on with ends bit for bit where an unbroken one does; no file is half-written."""

import os
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from cases import build
from scripts import analysis

from ppl_models.datasets import load, prepare
from ppl_models.distributions import WeightsPrior
from ppl_models.distributions.seeding import seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import storage
from ppl_models.families import VAE, GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import Checkpoint, Gradient, NaturalGradient, Objective, checkpoints, fit
from ppl_models.inference.checkpoints import read_checkpoint, write_checkpoint
from ppl_models.nn import Dense

ADAM = Gradient(steps=90, check_every=10, batch_size=32, average=0.9)
WIDE = Dense((16,))
STOPPED = Gradient(steps=400, batch_size=None, learning_rate=0.1, check_every=5, patience=2)
FITS = {
    "mixture": ("mixture of mixed columns", NaturalGradient(restarts=3, starts=6)),
    "mixture by batches": ("mixture of mixed columns", NaturalGradient(restarts=2, starts=4, batch_size=40)),
    "maximum likelihood": ("latent classes, maximum likelihood", NaturalGradient(restarts=2, starts=6)),
    "VAE": ("VAE of bits", ADAM),
    "autoencoder": ("contractive autoencoder", ADAM),
    "VAE stopped early": ("VAE of bits", STOPPED),
    "VAE by several draws": ("VAE of bits", Gradient(steps=60, check_every=10, objective=Objective(draws=3))),
}


class BrokenOffError(Exception):
    """Where a fit is broken off."""


def case(kind: str):
    """A new family, its rows and its method."""
    name, method = FITS[kind]
    return *build(name), method


def ended(kind: str, path=None, *, resume: bool = False):
    """A fit and the family's state at its end."""
    family, rows, method = case(kind)
    kept = None if path is None else Checkpoint(path, resume=resume, every=0.0)
    found = fit(family, rows[:100], rows[100:], seed=5, method=method, checkpoint=kept)
    return found, {name: value.clone() for name, value in family.state_dict().items()}


@pytest.fixture
def breaking(monkeypatch):
    """Break a fit after so many checkpoints."""

    def after(count: int):
        left = iter(range(count))

        def write(path, state):
            write_checkpoint(path, state)
            if next(left, None) == count - 1:
                raise BrokenOffError

        monkeypatch.setattr(checkpoints, "write_checkpoint", write)

    return after


@pytest.mark.filterwarnings("ignore::ppl_models.errors.FitWarning")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", FITS)
def test_a_broken_fit_ends_where_the_unbroken_one_ends(kind, count, breaking, tmp_path):
    whole, state = ended(kind)
    breaking(count)
    with pytest.raises(BrokenOffError):
        ended(kind, tmp_path / "fit.safetensors")
    torch.manual_seed(99)
    found, again = ended(kind, tmp_path / "fit.safetensors", resume=True)
    assert all(torch.equal(again[name], value) for name, value in state.items())
    pd.testing.assert_frame_equal(found.history, whole.history, check_exact=True)
    pd.testing.assert_frame_equal(found.restarts, whole.restarts, check_exact=True)
    assert (found.elbo, found.stop, found.converged) == (whole.elbo, whole.stop, whole.converged)


def test_to_keep_the_state_changes_nothing(tmp_path):
    _, state = ended("VAE")
    _, kept = ended("VAE", tmp_path / "fit.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in state.items())


def test_a_finished_fit_may_be_resumed(tmp_path):
    whole, state = ended("VAE", tmp_path / "fit.safetensors")
    again, same = ended("VAE", tmp_path / "fit.safetensors", resume=True)
    assert again.elbo == whole.elbo and all(torch.equal(same[name], value) for name, value in state.items())


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    ended("mixture", tmp_path / "fit.safetensors")
    with pytest.raises(InputError, match="expected no file, found one; resume from it, or name another"):
        ended("mixture", tmp_path / "fit.safetensors")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (lambda family, rows, method: (family, rows[:90], method, 5), "training table"),
        (lambda family, rows, method: (family, rows, method, 6), "seed"),
        (lambda family, rows, method: (family, rows, Gradient(steps=91), 5), "method"),
        (lambda family, rows, method: (VAE(rows.schema, latent=3, network=WIDE), rows, method, 5), "settings"),
        (lambda family, rows, method: (Mixture(rows.schema, components=2), rows, None, 5), "family"),
    ],
)
def test_the_checkpoint_of_another_fit_is_refused(changed, named, tmp_path):
    family, rows, method = case("VAE")
    path = tmp_path / "fit.safetensors"
    fit(family, rows, seed=5, method=method, checkpoint=Checkpoint(path, every=0.0))
    family, rows, method, seed = changed(case("VAE")[0], rows, method)
    with pytest.raises(InputError, match=f"the checkpoint of this fit, got that of one with another {named}"):
        fit(family, rows, seed=seed, method=method, checkpoint=Checkpoint(path, resume=True))


def test_fits_that_differ_in_their_settings_labels_weights_or_preparation_alone_are_told_apart(tmp_path):
    frame = load("iris").frame
    schema = load("iris").schema
    rows, half = prepare(frame, schema)(frame), prepare(frame[:100], schema)(frame)
    weights = torch.linspace(0.5, 1.5, len(rows), dtype=torch.float64)
    make = partial(GaussianMixture, schema, components=2)
    fits = [
        (make(), rows),
        (make(), half),
        (make(), rows.weighted(weights)),
        (make(), rows.weighted(weights.flip(0))),
        (make(weights=WeightsPrior(concentration=0.01)), rows),
        (make(estimate="map"), rows),
        (make(estimate="maximum-likelihood"), rows),
        (make(covariance="full"), rows),
        (Mixture(schema, components=2, smoothing=5.0), rows),
        (Mixture(schema, components=2), rows),
        (NaiveBayes(schema), rows),
        (NaiveBayes(schema), replace(rows, labels=rows.labels.flip(0))),
        *((VAE(schema, latent=2, network=Dense((8,), hide=share)), rows) for share in (0.0, 0.3)),
    ]
    paths = [tmp_path / str(number) for number in range(len(fits))]
    for (family, data), path in zip(fits, paths, strict=True):
        method = Gradient(steps=2, check_every=1) if isinstance(family, VAE) else NaturalGradient(restarts=1, starts=1)
        fit(family, data, seed=0, method=method, checkpoint=Checkpoint(path, every=0.0))
    identities = {str(read_checkpoint(path)["identity"]) for path in paths}
    assert len(identities) == len(fits)


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path):
    with pytest.raises(InputError, match="expected a folder to keep the checkpoint in, found none"):
        ended("mixture", tmp_path / "none" / "fit.safetensors")


def test_a_full_disk_does_not_cost_the_fit(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", refuse)
    with pytest.warns(UserWarning, match="the state could not be kept: .*No space left"):
        _, state = ended("VAE", tmp_path / "fit.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in ended("VAE")[1].items())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    path = tmp_path / "fit.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected a checkpoint, got another file"):
        read_checkpoint(path)


def test_a_state_comes_back_as_it_was(tmp_path):
    with seeded(0):
        state = {"a": [torch.rand(2), (1, None)], "b": {0: torch.arange(3), "c": {}}, "d": float("-inf"), "e": True}
    write_checkpoint(tmp_path / "state", state)
    found = read_checkpoint(tmp_path / "state")
    assert torch.equal(found["a"][0], state["a"][0]) and torch.equal(found["b"][0], state["b"][0])
    assert (found["a"][1], found["b"]["c"], found["d"], found["e"]) == ((1, None), {}, float("-inf"), True)


def test_what_no_checkpoint_can_hold_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match=r"state\.deep\.0: expected a tensor"):
        write_checkpoint(tmp_path / "state", {"deep": [object()]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writer is killed in a fork")
def test_a_killed_writer_never_leaves_an_unreadable_file(tmp_path):
    path, kills, numbers, delay = tmp_path / "state", analysis("benchmarks/kills"), set(), 0.02
    write_checkpoint(path, {"all": torch.zeros(50_000), "number": 0})
    for attempt in range(40):
        kills.killed(kills.write_for_ever, path, after=delay * attempt / 40)
        found = read_checkpoint(path)
        assert bool((found["all"] == found["number"]).all())
        numbers.add(found["number"])
        delay = delay if len(numbers) > 1 else 1.2 * delay
    assert len(numbers) > 1
