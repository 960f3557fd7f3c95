"""Rows on disk are as good as rows in memory: the same parts, fits and densities; nothing of them is left over."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cases import CASES, build

from ppl_models import VAE, GaussianMixture, NaiveBayes, compare, fit, load, log_density, prepare
from ppl_models.datasets import chunks_of, some_of, stream
from ppl_models.datasets.dataset import BY_ROW
from ppl_models.datasets.stored import Shelf, Stored, store
from ppl_models.distributions import DecoderLikelihoods
from ppl_models.errors import InputError
from ppl_models.evaluation import pieces
from ppl_models.families import ConditionalVAE
from ppl_models.inference import Checkpoint, Gradient, NaturalGradient, batches, sweeps
from ppl_models.inference.batches import Batches

CONJUGATE = [name for name, case in CASES.items() if isinstance(case.method, NaturalGradient)]
FEW = NaturalGradient(restarts=2, starts=3, steps=4000)


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """A folder for what is stored, which nothing is ever seen in."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert [path.name for path in folder.iterdir() if not path.name.startswith("torchinductor")] == []


def stored(rows, size=17) -> Stored:
    return store(chunks_of(rows, size))


@pytest.mark.parametrize("name", CASES)
def test_any_part_of_stored_rows_is_that_part(name):
    _, rows = build(name)
    kept = stored(rows)
    assert len(kept) == len(rows) and kept.complete == rows.complete and kept.checksum == rows.checksum
    assert kept.total_weight == pytest.approx(rows.total_weight)
    assert kept.total_log_scale == pytest.approx(rows.total_log_scale, rel=1e-12)
    mask = torch.arange(len(rows)) % 3 == 0
    for part in (slice(3, 40), slice(None), torch.tensor([5, 0, 5, 9]), mask):
        for field in BY_ROW:
            assert torch.equal(getattr(kept[part], field), getattr(rows[part], field)), field
    assert kept.cast(torch.float32)[:2].values.dtype == torch.float32


@pytest.mark.parametrize("name", CONJUGATE)
def test_a_fit_to_stored_rows_is_the_fit_to_rows_in_memory(name, monkeypatch):
    family, rows = build(name)
    plain = fit(family, rows, seed=0, method=FEW)
    monkeypatch.setattr(sweeps, "HELD_BESIDE_DISK", 0)
    monkeypatch.setattr(sweeps, "STATISTICS_AT_ONCE", 0)
    monkeypatch.setattr(sweeps, "FEWEST_ROWS", 29)
    other, _ = build(name)
    kept = stored(rows)
    found = fit(other, kept, seed=0, method=FEW)
    assert found.elbo == pytest.approx(plain.elbo, rel=1e-9)
    torch.testing.assert_close(other.guide.natural(), family.guide.natural(), rtol=1e-3, atol=1e-6)
    density = log_density(other, kept)
    assert isinstance(density.values, np.memmap)
    np.testing.assert_allclose(density.values, log_density(other, rows).values, rtol=1e-12)


@pytest.mark.parametrize("name", ["Gaussian mixture, full", "naive Bayes, some labels missing"])
def test_steps_on_batches_of_stored_rows_come_to_the_same(name, monkeypatch):
    monkeypatch.setattr(sweeps, "HELD_BESIDE_DISK", 0)
    monkeypatch.setattr("ppl_models.inference.recalled.PIECE", 4)
    family, rows = build(name)
    batched = NaturalGradient(restarts=2, starts=3, steps=400, batch_size=len(rows) // 3)
    plain = fit(family, rows, seed=0, method=FEW)
    assert fit(family, stored(rows), seed=0, method=batched).elbo == pytest.approx(plain.elbo, abs=1e-3)


def test_a_stream_goes_from_files_to_scores(tmp_path):
    table = load("fast_food_customers")
    frame = table.frame
    frame.iloc[:200].to_csv(tmp_path / "a.csv", index=False)
    frame.iloc[200:].to_csv(tmp_path / "b.csv", index=False)
    rows = stream([tmp_path / "a.csv", tmp_path / "b.csv"], table.schema, batch_size=50)
    preparation = prepare(rows)
    kept, plain = preparation(rows), preparation(frame)
    assert isinstance(kept, Stored) and kept.checksum == plain.checksum
    family = NaiveBayes(table.schema)
    assert fit(family, kept, seed=0).elbo == pytest.approx(fit(family, plain, seed=0).elbo, rel=1e-9)
    both = compare({"disk": log_density(family, kept), "memory": log_density(family, plain)})
    assert both["diff"].abs().max() < 1e-12
    with pytest.raises(InputError, match="weights: expected none for a stream"):
        preparation(rows, weights=np.ones(len(frame)))
    with pytest.raises(InputError, match="device: expected 'cpu' for rows on disk, got 'meta'"):
        kept.to("meta")


@pytest.mark.parametrize("rows", [np.ones((5, 2)), np.arange(10.0).reshape(5, 2)])
def test_what_is_the_same_in_all_rows_takes_no_room(rows):
    with Shelf() as shelf:
        for part in (rows[:2], rows[:0], rows[2:]):
            shelf.add(part)
        assert np.array_equal(shelf.rows_added(), rows)
        assert (shelf.file is None) == bool((rows == 1).all())


def test_rows_that_differ_late_are_all_there(monkeypatch):
    monkeypatch.setattr("ppl_models.datasets.stored.ROWS_AT_ONCE", 3)
    rows = np.array([7, 7, 7, 7, 7, 7, 7, 8])
    with Shelf() as shelf:
        for part in (rows[:4], rows[4:7], rows[7:]):
            shelf.add(part)
        assert np.array_equal(shelf.rows_added(), rows)


def test_every_row_on_disk_is_in_one_batch_of_a_pass(monkeypatch):
    monkeypatch.setattr(batches, "PIECE", 8)
    monkeypatch.setattr(batches, "PIECES", 3)
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=96)})
    rows = stored(prepare(frame)(frame))
    found, orders = Batches(rows, 6, seed=0), []
    for _ in range(2):
        orders.append(torch.cat([next(found).hashes for _ in range(16)]))
        assert torch.equal(orders[-1].sort().values, rows.hashes.sort().values)
    assert not torch.equal(*orders)
    assert len(next(Batches(rows, 50, seed=0))) == 50


def test_all_rows_as_one_batch_are_read_once():
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=96)})
    rows = stored(prepare(frame)(frame))
    found = Batches(rows.cast(torch.float32), None, seed=0)
    assert next(found) is next(found) and not isinstance(next(found), Stored)
    assert next(found).values.dtype == torch.float32 and torch.equal(next(found).hashes, rows.hashes)


def test_wide_rows_are_read_in_smaller_pieces():
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(5, 600))).add_prefix("x")
    assert Batches(stored(prepare(wide)(wide)), 2, seed=0).piece == batches.CELLS // 600 < batches.PIECE


def test_a_batch_has_rows_of_open_class_where_they_are_few(monkeypatch):
    monkeypatch.setattr("ppl_models.inference.recalled.PIECE", 4)
    monkeypatch.setattr(sweeps, "HELD_BESIDE_DISK", 0)
    table = load("iris")
    frame = table.frame.assign(label=table.frame["label"].where(np.arange(150) != 77, None))
    family, kept = NaiveBayes(table.schema), stored(prepare(frame, table.schema)(frame))
    family.adopt(kept)
    rows = sweeps.Rows.of(family, kept).shuffled(seed=0)
    assert len(rows.open) == 1
    assert [len(rows.open[first : first + 1]) for first in (0,)] == [1]
    batched = NaturalGradient(restarts=1, starts=1, batch_size=40, epochs=2)
    assert fit(family, kept, seed=0, method=batched).converged


@pytest.mark.parametrize("name", [name for name in CONJUGATE if "maximum" in name or "mode" in name or "multi" in name])
def test_rows_on_disk_are_refused_as_rows_in_memory_are(name, monkeypatch):
    family, rows = build(name)
    monkeypatch.setattr("ppl_models.families.class_product.ROWS_AT_ONCE", 7)
    monkeypatch.setattr("ppl_models.datasets.dataset.ROWS_AT_ONCE", 7)
    family.check(stored(rows))
    family.check(rows)


def test_columns_that_determine_one_another_are_told_of_rows_on_disk(monkeypatch):
    monkeypatch.setattr("ppl_models.datasets.dataset.ROWS_AT_ONCE", 7)
    x = np.random.default_rng(0).normal(size=(60, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 0] - 2 * x[:, 1]})
    rows = stored(prepare(frame)(frame))
    family = GaussianMixture(rows.schema, components=2, covariance="full", estimate="maximum-likelihood")
    with pytest.raises(InputError, match="columns 1, 2, 3 of the schema do"):
        family.check(rows)


def test_a_row_that_is_refused_is_named_by_its_place_in_the_table(monkeypatch):
    for module in ("families.family", "families.conditional_vae", "distributions.pixels", "families.class_product"):
        monkeypatch.setattr(f"ppl_models.{module}.ROWS_AT_ONCE", 7)
    table = load("iris")
    frame = table.frame.assign(label=table.frame["label"].where(np.arange(150) != 77, None))
    with pytest.raises(InputError, match="that of row 78 is missing"):
        ConditionalVAE(table.schema, latent=1).check(stored(prepare(frame, table.schema)(frame)))
    frame = pd.DataFrame({"x": np.r_[np.linspace(0, 1, 20), 1.5]})
    real = DecoderLikelihoods(real="continuous-bernoulli")
    rows = stored(prepare(frame)(frame))
    with pytest.raises(InputError, match=r"got 1.5 in row 21"):
        VAE(rows.schema, latent=1, likelihoods=real).check(rows)


def test_densities_on_disk_compare_as_in_memory(monkeypatch):
    table = load("iris")
    rows = prepare(table.frame, table.schema)(table.frame)
    found = {}
    for components in (1, 2):
        family = GaussianMixture(table.schema, components=components)
        fit(family, rows, seed=0)
        found[str(components)] = family
    plain = compare({name: log_density(family, rows) for name, family in found.items()})
    monkeypatch.setattr(pieces, "ROWS", 150)
    kept = stored(rows)
    on_disk = compare({name: log_density(family, kept) for name, family in found.items()})
    pd.testing.assert_frame_equal(on_disk, plain, rtol=1e-9)
    monkeypatch.setattr(pieces, "ROWS", 40)
    thinned = compare({name: log_density(family, kept) for name, family in found.items()})
    columns = ["elpd", "se", "diff", "dse", "diff_low", "diff_high"]
    pd.testing.assert_frame_equal(thinned[columns], plain[columns], rtol=1e-9)
    assert np.isfinite(thinned["diff_khat"].iloc[1]) and thinned["diff_khat"].iloc[1] != plain["diff_khat"].iloc[1]


def test_a_vae_learns_from_rows_on_disk_and_goes_on_where_it_was_broken_off(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "PIECE", 8)
    monkeypatch.setattr(batches, "PIECES", 6)
    table = load("iris")
    rows = stored(prepare(table.frame, table.schema)(table.frame))
    method = Gradient(steps=60, batch_size=20, check_every=10)
    whole = fit(VAE(table.schema, latent=1), rows, seed=0, method=method)
    path = tmp_path / "state"

    class BrokenOffError(Exception):
        """Stands for whatever ends a process."""

    def break_off(*arguments):
        raise BrokenOffError

    with monkeypatch.context() as patch:
        checks = iter(range(4))
        record = "ppl_models.inference.evaluations.Record.check"
        check = __import__("ppl_models.inference.evaluations", fromlist=["Record"]).Record.check
        patch.setattr(record, lambda *given: check(*given) if next(checks) < 3 else break_off())
        with pytest.raises(BrokenOffError):
            kept = Checkpoint(path, every=0.0)
            fit(VAE(table.schema, latent=1), rows, seed=0, method=method, checkpoint=kept)
    again = fit(VAE(table.schema, latent=1), rows, seed=0, method=method, checkpoint=Checkpoint(path, resume=True))
    assert again.elbo == whole.elbo
    pd.testing.assert_frame_equal(again.history, whole.history)


def test_numbers_in_pieces_come_to_the_same(monkeypatch):
    values = np.random.default_rng(0).normal(size=101)
    plain = pieces.mean(values), pieces.standard_error(values)
    monkeypatch.setattr(pieces, "ROWS", 10)
    np.testing.assert_allclose((pieces.mean(values), pieces.standard_error(values)), plain, rtol=1e-12)
    assert [len(part) for part in pieces.pieces(values)] == [10] * 10 + [1]


def test_some_rows_are_different_rows_in_order():
    frame = pd.DataFrame({"x": np.arange(50.0)})
    rows = prepare(frame)(frame)
    some = some_of(rows, 20, seed=3).values[:, 0]
    assert (some.diff() > 0).all() and len(some) == 20
    assert some_of(rows, 50, seed=3) is rows
    assert not torch.equal(some, some_of(rows, 20, seed=4).values[:, 0])


def test_a_large_mixture_races_on_disk_as_in_memory():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(np.array([[0.0, 0.0], [4.0, 1.0]])[random.integers(2, size=17_000)]))
    frame.columns = ["a", "b"]
    rows = prepare(frame)(frame)
    found = [fit(GaussianMixture(rows.schema, components=2), each, seed=0) for each in (rows, stored(rows, 5000))]
    assert found[0].elbo == pytest.approx(found[1].elbo, abs=1e-10)
    assert found[0].restarts["end"].tolist() == found[1].restarts["end"].tolist()
    assert Path(tempfile.gettempdir()).name == "scratch"
