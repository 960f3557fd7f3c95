"""Two processes, each with its share of the rows, come to what one comes to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from cases import rows_of
from several import CONJUGATE, STEPS

from ppl_models import VAE, GaussianMixture, NaiveBayes, fit, load
from ppl_models.commands.runs import open_fit
from ppl_models.datasets import Query, prepared_share, share_of, some_of, stream
from ppl_models.datasets.dataset import Share
from ppl_models.errors import InputError
from ppl_models.inference import Checkpoint, Gradient, Objective, checkpoints, gradient, guide_khat, log_evidence
from ppl_models.inference.checkpoints import read_checkpoint

HERE = Path(__file__).parent
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch knows no other processes")


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process finds, and what two find."""
    told = []
    for command in ((sys.executable,), TORCHRUN):
        folder = tmp_path_factory.mktemp("found")
        done = run(*command, "several.py", folder, cwd=HERE)
        assert done.returncode == 0, done.stderr
        told.append(torch.load(folder / "found", weights_only=False))
    return told


@pytest.mark.parametrize("name", CONJUGATE)
def test_a_conjugate_fit_is_that_of_one_process(found, name):
    (elbo, criteria, natural, elpd), others = (each["conjugate"][name] for each in found)
    np.testing.assert_allclose(others[0], elbo, rtol=1e-10)
    np.testing.assert_allclose(others[3], elpd, rtol=1e-8)
    np.testing.assert_allclose(others[1], criteria, rtol=1e-9)
    if name != "latent classes, maximum likelihood":  # whose likelihood is flat where it is highest
        torch.testing.assert_close(others[2], natural, rtol=1e-7, atol=1e-7)


def test_the_loss_of_a_vae_is_that_of_one_process_under_the_same_noise(found):
    one, two = (each["vae"] for each in found)
    assert len(one["losses"]) == STEPS and float(one["losses"].diff().abs().max()) > 1e-3
    torch.testing.assert_close(two["losses"], one["losses"], rtol=0, atol=1e-5)
    for ours, theirs in zip(two["parameters"], one["parameters"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_what_parameters_cost_counts_once(found):
    for each in (each["by gradients"] for each in found):
        mean, se = each["estimate"]
        assert mean == pytest.approx(each["exact"], abs=5 * se + 1e-9)  # less than once in a million runs
    one, two = (each["by gradients"]["history"] for each in found)
    assert two == pytest.approx(one, abs=0.5)  # by other draws; the cost of the parameters is 0.9 nats a row


def test_running_means_of_batch_norm_are_the_first_process_s(found):
    assert found[0]["normed"] is not None
    first, second = found[1]["normed"]["buffers"]
    assert any(float(buffer.abs().max()) > 0 for buffer in first)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))


def test_several_processes_go_on_where_they_were_broken_off(found):
    for number, each in enumerate((each["resumed"] for each in found), start=1):
        assert each["states"] == number and each["history"]
        assert each["elbos"][0] == each["elbos"][1]


def test_the_command_comes_to_the_same_in_two_processes(tmp_path):
    load("iris").frame.to_csv(tmp_path / "iris.csv", index=False)
    told = {}
    for name, command in (("one", (sys.executable,)), ("two", TORCHRUN)):
        asked = ("--family", "naive-bayes: covariance=VVV", "--label", "label", "--output", tmp_path / name)
        done = run(*command, "-m", "ppl_models", "fit", tmp_path / "iris.csv", *asked, "--json")
        assert done.returncode == 0, done.stderr
        told[name] = json.loads(done.stdout)
    assert (told["one"]["processes"], told["two"]["processes"]) == (1, 2)
    np.testing.assert_allclose(told["two"]["elbo"], told["one"]["elbo"], rtol=1e-10)
    one, two = (open_fit(tmp_path / name).family.state_dict() for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-10, atol=1e-12)


class Third(Share):
    """The last of three processes, without the others."""

    def summed(self, tensor):
        return 3 * tensor

    def gathered(self, tensor):
        return tensor


def test_a_share_tells_of_all_rows():
    rows = rows_of("iris", 150)
    mine = rows[100:]
    vars(mine)["share"] = Third(100, 150)
    assert (len(mine), mine.all_rows, mine.total_weight) == (50, 150, 150.0)
    assert mine[:10].share is None and mine[:10].all_rows == 10
    some = some_of(mine, 60, seed=0)
    assert set(some.hashes.tolist()) == set(some_of(rows, 60, seed=0).hashes.tolist()) & set(mine.hashes.tolist())


def test_what_needs_all_rows_refuses_a_share_of_them(monkeypatch):
    rows = rows_of("iris", 150)[:]
    family = NaiveBayes(rows.schema)
    fit(family, rows, seed=0)
    vars(rows)["share"] = Third(150, 300)
    for asked in (lambda: log_evidence(family, rows), lambda: guide_khat(family, rows, seed=0)):
        with pytest.raises(InputError, match="expected a table that one process has whole, got 150 of 300 rows"):
            asked()
    monkeypatch.setattr(gradient, "rank_and_number", lambda: (0, 2))
    with pytest.raises(InputError, match="free_nats: expected 0 in several processes"):
        vae, free = VAE(rows.schema, latent=1), Gradient(steps=1, objective=Objective(free_nats=0.1))
        gradient.require_trainable(vae, rows, free)


def test_a_fit_of_one_process_beside_others_keeps_its_own_state(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "rank_and_number", lambda: (1, 2))
    rows = rows_of("iris", 150)
    path = tmp_path / "state"
    fit(GaussianMixture(rows.schema, components=2), rows, seed=0, checkpoint=Checkpoint(path, every=0.0))
    assert len(read_checkpoint(path)["states"]) == 1


def test_where_there_is_one_process_it_has_all_rows(tmp_path):
    rows = rows_of("iris", 150)
    assert share_of(rows) is rows
    load("iris").frame.to_csv(tmp_path / "iris.csv", index=False)
    preparation, prepared = prepared_share(stream(tmp_path / "iris.csv", load("iris").schema))
    assert len(prepared) == 150 and prepared.share is None
    assert (
        prepared_share(stream(tmp_path / "iris.csv", load("iris").schema), preparation)[1].checksum == prepared.checksum
    )


@pytest.mark.parametrize("kind", ["csv", "parquet", "query"])
def test_a_part_of_a_stream_is_those_rows_of_its_files(tmp_path, kind):
    frame = load("wine").frame
    parts = [frame.iloc[:50], frame.iloc[50:51], frame.iloc[51:]]
    for index, part in enumerate(parts):
        some = duckdb.from_df(part)
        if kind == "csv":
            part.to_csv(tmp_path / f"{index}.csv", index=False)
        else:
            some.write_parquet(str(tmp_path / f"{index}.parquet"))
    source = tmp_path
    if kind == "query":
        with duckdb.connect(str(tmp_path / "all.duckdb")) as database:
            database.execute("create table wine as from frame")
        source = Query(tmp_path / "all.duckdb", "from wine")
    whole = stream(source, load("wine").schema, batch_size=20)
    assert whole.rows == len(frame)
    everything = list(whole.frames())
    for first, last in ((0, 178), (0, 50), (49, 52), (60, 61), (170, 178)):
        mine = stream(source, load("wine").schema, batch_size=20)
        vars(mine)["part"] = range(first, last)
        read = np.concatenate([each.to_numpy() for each in mine.frames()])
        assert (read == np.concatenate([each.to_numpy() for each in everything])[first:last]).all()
        assert mine.rows == last - first
