"""``ppl-models fit``: a folder that is whole or none, one line for bad input, runs that go on where they were cut."""

import json

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from ppl_models import VAE, fit, load, prepare
from ppl_models.cli import app, exit_on_bad_input
from ppl_models.commands.options import FAMILIES, make_family, settings
from ppl_models.errors import InputError
from ppl_models.inference import Gradient, evaluations
from ppl_models.inference.checkpoints import read_checkpoint


@pytest.fixture
def iris(tmp_path):
    load("iris").frame.to_csv(tmp_path / "iris.csv", index=False)
    return tmp_path / "iris.csv"


def ask(*options: object):
    return CliRunner().invoke(app, ["fit", *map(str, options)])


def test_a_run_leaves_its_numbers_weights_and_nothing_to_resume(iris, tmp_path):
    out = tmp_path / "new" / "run"
    done = ask(iris, "--family", "gaussian-mixture: components=2 covariance=full", "--label", "label", "--output", out)
    assert done.exit_code == 0 and "nats per row of 150 training rows" in done.output
    written = {"history.csv", "restarts.csv", "run.json", "weights.safetensors"}
    assert {path.name for path in out.iterdir()} == written
    told = json.loads((out / "run.json").read_text())
    assert told["elbo"] == pytest.approx(pd.read_csv(out / "restarts.csv")["elbo"].max())
    assert told["rows"] == 150 and told["converged"] and told["processes"] == 1
    assert read_checkpoint(out / "weights.safetensors")["family"] == "GaussianMixture"


def test_a_vae_by_command_is_the_vae_by_hand(iris, tmp_path):
    asked = ("--label", "label", "--method", "steps=60 batch-size=32 check-every=20", "--seed", 3, "--device", "cpu")
    done = ask(iris, "--family", "vae: latent=1", *asked, "--validation", iris, "--output", tmp_path / "run", "--json")
    assert done.exit_code == 0
    table = load("iris")
    rows = prepare(table.frame, table.schema)(table.frame)
    method = Gradient(steps=60, batch_size=32, check_every=20)
    found = fit(VAE(table.schema, latent=1), rows, rows, seed=3, method=method)
    assert json.loads(done.stdout)["elbo"] == pytest.approx(found.elbo, abs=0.5)  # other batches, of the same rows


def test_a_run_that_was_broken_off_goes_on_and_ends_where_it_would_have_ended(iris, tmp_path, monkeypatch):
    asked = (iris, "--family", "vae: latent=1", "--method", "steps=60 check-every=10", "--label", "label")
    assert ask(*asked, "--output", tmp_path / "whole").exit_code == 0
    check, left = evaluations.Record.check, iter(range(100))
    monkeypatch.setattr("ppl_models.commands.fit.EVERY", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(evaluations.Record, "check", lambda *told: check(*told) if next(left) < 3 else 1 / 0)
        assert isinstance(ask(*asked, "--output", tmp_path / "cut").exception, ZeroDivisionError)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["state"]
    assert "expected a new or an empty folder" in str(ask(*asked, "--output", tmp_path / "cut").exception)
    assert ask(*asked, "--output", tmp_path / "cut", "--resume").exit_code == 0
    whole, cut = (read_checkpoint(tmp_path / name / "weights.safetensors")["state"] for name in ("whole", "cut"))
    assert all(torch.equal(cut[name], value) for name, value in whole.items())
    assert "one that came to its end" in str(ask(*asked, "--output", tmp_path / "cut", "--resume").exception)


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("bayes", (), r"family: expected one of .*gaussian-mixture.*, got 'bayes'"),
        ("mixture", (), r"family 'mixture': expected components=…, got 'no settings'"),
        ("mixture: component=2", (), r"expected settings among components, .*, got 'component'"),
        ("mixture: components", (), r"settings: expected setting=value, got 'components'"),
        ("mixture: components=2 components=3", (), r"'components' is given twice"),
        ("mixture: components=0", (), r"components"),
        ("mixture: components=2", ("--method", "passes=3"), r"method: expected settings among restarts, .*'passes'"),
        ("mixture: components=2", ("--label", "kind"), r"no column 'kind'"),
        ("mixture: components=2", ("--device", "tpu"), r"device: expected auto, cpu or cuda, got 'tpu'"),
        ("mixture: components=2", ("--validation", "none.csv"), r"none.csv: expected a CSV or Parquet file"),
        ("vae: latent=two", ("--label", "label"), r"setting 'latent': expected a whole number, got 'two'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(iris, tmp_path, family, options, message):
    done = ask(iris, "--family", family, "--output", tmp_path / "run", *options)
    assert isinstance(done.exception, InputError), done.exception
    with pytest.raises(InputError, match=message):
        raise done.exception
    assert not (tmp_path / "run").exists()


def test_bad_input_ends_with_exit_code_2(iris, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["ppl-models", "fit", str(iris), "--family", "x", "--output", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as ended:
        exit_on_bad_input(app)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: family: expected one of ")


def test_a_file_in_the_place_of_the_folder_is_refused(iris, tmp_path):
    (tmp_path / "run").write_text("")
    done = ask(iris, "--family", "vae: latent=1", "--output", tmp_path / "run")
    assert "expected a folder for the run, got a file" in str(done.exception)


def test_every_family_has_a_name():
    assert {"naive-bayes", "mixture", "gaussian-mixture", "vae", "semi-supervised-vae"} < set(FAMILIES)
    assert type(make_family("naive-bayes", load("wrodl").schema)).__name__ == "NaiveBayes"
    assert settings("a=1 b-c=0.5 d=word e=False") == {"a": 1, "b_c": 0.5, "d": "word", "e": False}
