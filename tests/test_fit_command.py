"""``ppl-models fit``: a folder that is whole or none, one line for bad input, runs that go on where they were cut."""

import json

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from ppl_models import VAE, fit, load
from ppl_models.cli import app, exit_on_bad_input
from ppl_models.commands.fit import meaning
from ppl_models.commands.options import FAMILIES, make_family, make_method, settings
from ppl_models.commands.runs import open_fit
from ppl_models.datasets import prepared_share, sequence_table, stream
from ppl_models.errors import InputError
from ppl_models.inference import Gradient, Objective, evaluations
from ppl_models.nn import Convolutional


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
    written = {"history.csv", "restarts.csv", "run.json", "fit.safetensors"}
    assert {path.name for path in out.iterdir()} == written
    told = json.loads((out / "run.json").read_text())
    assert told["elbo"] == pytest.approx(pd.read_csv(out / "restarts.csv")["elbo"].max())
    assert told["rows"] == 150 and told["converged"] and told["processes"] == 1
    assert type(open_fit(out).family).__name__ == "GaussianMixture"


def test_a_vae_by_command_is_the_vae_by_hand(iris, tmp_path):
    asked = ("--label", "label", "--method", "steps=60 batch-size=32 check-every=20", "--seed", 3, "--device", "cpu")
    done = ask(iris, "--family", "vae: latent=1", *asked, "--validation", iris, "--output", tmp_path / "run", "--json")
    assert done.exit_code == 0
    preparation, rows = prepared_share(stream(iris, label="label"))
    method = Gradient(steps=60, batch_size=32, check_every=20)
    found = fit(VAE(preparation.schema, latent=1), rows, rows, seed=3, method=method)
    told = json.loads(done.stdout)
    assert told["elbo"] == found.elbo
    assert told["meaning"] == "a lower bound on the log likelihood" and told["seed"] == 3


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("naive-bayes", "a lower bound on the log evidence, of the rows with their 'label' where it is known"),
        ("gaussian-mixture: components=2 estimate=maximum-likelihood", "the log likelihood at its maximum, exact"),
        ("gaussian-mixture: components=2 estimate=map", "the log likelihood and the log prior density at the mode"),
        ("autoencoder: latent=1", "log p(x, z) at the guide's point, a bound on nothing"),
        ("conditional-vae: latent=1", "a lower bound on the log likelihood, given the label label"),
    ],
)
def test_what_the_elbo_is_stands_beside_it(iris, family, expected):
    assert meaning(make_family(family, stream(iris, label="label").schema)) == expected


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
    whole, cut = (open_fit(tmp_path / name).family.state_dict() for name in ("whole", "cut"))
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
        ("vae: latent=1 network=dens", (), r"setting 'network': expected dense, convolutional, got 'dens'"),
        ("vae: latent=1 network.width=3", (), r"setting 'network': expected settings among .*hidden.*, got 'width'"),
        ("vae: latent=1 guide=fulll", (), r"setting 'guide': expected one of diagonal, full, .*, got 'fulll'"),
        ("vae: latent=1 prior=vamp", (), r"setting 'prior': expected prior.kind=…, prior.components=…, got 'vamp'"),
        ("vae: latent=1 latent.a=2", (), r"setting 'latent': it has no settings, got latent.a=…"),
        ("vae: latent=1 dtype=int8", (), r"setting 'dtype': expected float32 or float64, got 'int8'"),
        ("mixture: components=2", ("--method", "steps=two"), r"setting 'steps': expected a whole number, got 'two'"),
        ("class-product: classes=2", (), r"family: expected one of"),
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


MIXTURES = dict.fromkeys(("mixture", "gaussian-mixture", "student-mixture"), "components=2")
NEEDED = MIXTURES | {"naive-bayes": "", "markov-chain": ""}
OF_STEPS = ("markov-chain", "sequence-vae")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_named(name):
    schema = sequence_table([["a", "b"]]).schema if name in OF_STEPS else load("iris").schema
    family = make_family(f"{name}: {NEEDED.get(name, 'latent=1')}", schema)
    assert type(family) is FAMILIES[name]


def test_settings_are_read_as_what_they_are():
    schema = load("digits_binary").schema
    told = "vae: latent=3 guide=full dtype=float64 network=convolutional network.channels=4,8 network.batch-norm=True"
    network = Convolutional((4, 8), batch_norm=True)
    expected = VAE(schema, latent=3, guide="full", dtype=torch.float64, network=network)
    assert str(make_family(told, schema)) == str(expected)
    priced = make_family("semi-supervised-vae: latent=1 alpha=2 network.hidden=8", load("iris").schema)
    assert priced.alpha == 2.0
    sparse = make_family("mixture: components=5 weights.concentration=0.01", load("iris").schema)
    assert float(sparse.weights.prior[0]) == pytest.approx(0.01)
    assert make_method("objective.kl=2 batch-size=None", Gradient) == Gradient(
        objective=Objective(kl=2.0), batch_size=None
    )
    assert make_family("naive-bayes: labelled=False", load("iris").schema).labelled is False
    assert settings("a=1 b-c.d=word") == {"a": "1", "b_c.d": "word"}
