"""The MNIST script, on small digits: what was computed is kept and not computed again."""

import json

import pandas as pd
from test_scripts import run

NAMES = ("naive Bayes, one class", "VAE 400-40", "VAE 400-40, averaged, 5 draws")


def mnist(folder, *options: object):
    return run("mnist", "--quick", "--data", folder / "none", "--parts", folder / "parts", *options)


def test_a_model_that_is_kept_is_not_computed_again(tmp_path):
    only = [option for name in NAMES for option in ("--only", name)]
    first = mnist(tmp_path, *only, "--output-dir", tmp_path / "report")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("*.*")}
    again = mnist(tmp_path, *only, "--output-dir", tmp_path / "report")
    assert (first.returncode, again.returncode, again.stdout) == (0, 0, first.stdout)
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("*.*")}
    facts = [json.loads(path.read_text()) for path in kept if path.name == "fit.json"]
    assert len(facts) == 3 and all(fact["train_elbo"] < 0 for fact in facts)
    worth = pd.read_csv(tmp_path / "report/tables/gains.csv")
    assert worth["ingredient"].tolist() == ["averaged, 5 draws"] and (worth["dse"] > 0).all()


def test_a_model_cut_between_fit_and_scores_is_scored_as_it_was_fitted(tmp_path):
    only = ("--only", NAMES[1], "--output-dir", tmp_path / "report")
    first = mnist(tmp_path, *only)
    for path in [*(tmp_path / "parts").rglob("*.npz"), *(tmp_path / "parts").rglob("fitted.json")]:
        path.unlink()
    fit = next((tmp_path / "parts").rglob("fit.json")).stat().st_mtime_ns
    again = mnist(tmp_path, *only)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert next((tmp_path / "parts").rglob("fit.json")).stat().st_mtime_ns == fit


def test_an_unknown_model_is_refused_in_one_line(tmp_path):
    done = mnist(tmp_path, "--only", "GAN", "--output-dir", tmp_path / "report")
    assert done.returncode == 2
    assert "--only: expected some of naive Bayes" in done.stderr and done.stderr.count("\n") == 1
