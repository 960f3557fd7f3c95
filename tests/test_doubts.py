"""Doubts: each is raised by what it is about and by nothing else, reaches the reader first, and ends strict scripts."""

import dataclasses
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from cases import CASES, CONJUGATE, build, fitted
from scripts import analysis

from ppl_models import Report, compare, fit, load, prepare
from ppl_models.errors import InputError
from ppl_models.evaluation import (
    Density,
    calibration_summary,
    comparison_doubts,
    density_doubts,
    draws_doubts,
    ladder_doubts,
    rank_doubts,
)
from ppl_models.families import VAE, GaussianMixture, NaiveBayes
from ppl_models.inference import (
    FitWarning,
    Gradient,
    NaturalGradient,
    fit_doubts,
    fit_table,
    guide_khat,
    guide_log_weights,
    log_evidence,
    parameter_draws,
    refined_draws,
)
from ppl_models.reports.folders import read_record
from ppl_models.scripts import DOUBTFUL

ROWS = 40
EXACT = Density(np.linspace(-3.0, -1.0, ROWS), "exact", "abc", ("x",), (False,))
SOUND = dataclasses.replace(
    EXACT,
    kind="lower bound",
    draws=500,
    khat=np.full(ROWS, 0.3),
    effective=np.full(ROWS, 200.0),
    rise=0.001,
    mean_se=0.01,
)
INTERVAL = dataclasses.replace(SOUND, kind="interval", upper=SOUND.values + 0.05)
HEAVY = np.where(np.arange(ROWS) < 3, 0.9, 0.3)


@pytest.mark.parametrize("density", [EXACT, SOUND, INTERVAL], ids=lambda density: density.kind)
def test_nothing_speaks_against_a_sound_density(density):
    assert density_doubts(density) == ()


@pytest.mark.parametrize(
    ("density", "changes", "doubt"),
    [
        (SOUND, {"khat": HEAVY}, "importance weights of 3 of 40 rows have k-hat above 0.7 or below 5 effective draws"),
        (SOUND, {"khat": HEAVY, "kind": "estimate"}, "how far off the estimate is in these rows is not known"),
        (SOUND, {"khat": None, "effective": 4 * HEAVY}, "weights of 40 of 40 rows have below 5 effective draws"),
        (SOUND, {"rise": 0.3}, "the bound still rose by 0.30 nats a row as its draws doubled to 500"),
        (SOUND, {"mean_se": 0.3}, r"the Monte Carlo error of the mean, 0\.300 nats a row, is not small beside"),
        (SOUND, {"draws": 1, "khat": None, "effective": None, "mean_se": math.nan}, "is not known from a single draw"),
        (INTERVAL, {"upper": SOUND.values + 0.4}, r"both sides are 0\.40 nats a row apart \(Monte Carlo error 0\.01\)"),
        (INTERVAL, {"upper_se": 0.1}, r"both sides are 0\.05 nats a row apart \(Monte Carlo error 0\.10\)"),
        (INTERVAL, {"upper_se": math.nan}, "both sides are 0.05 nats a row apart"),
        (INTERVAL, {"upper": SOUND.values - 0.2}, "0.20 nats a row apart the wrong way round, the upper one below"),
    ],
)
def test_each_weakness_of_a_density_is_told(density, changes, doubt):
    (told,) = density_doubts(dataclasses.replace(density, **changes))
    assert re.search(doubt, told)


def test_one_row_in_twenty_may_be_heavy_and_nearly_constant_weights_are_no_reason():
    assert density_doubts(dataclasses.replace(SOUND, khat=np.where(np.arange(ROWS) < 2, 0.9, 0.3))) == ()
    assert density_doubts(dataclasses.replace(SOUND, khat=HEAVY, effective=np.full(ROWS, 480.0))) == ()
    assert density_doubts(dataclasses.replace(SOUND, draws=4, khat=None, effective=np.full(ROWS, 3.7))) == ()


def test_differences_of_long_tails_are_told_by_their_models():
    random = np.random.default_rng(0)
    values = {"a": np.zeros(400), "b, c": random.standard_cauchy(400) - 9, "d": random.normal(size=400) - 9}
    table = compare({name: dataclasses.replace(EXACT, values=one) for name, one in values.items()})
    (told,) = comparison_doubts(table)
    assert "the differences of 'b, c' may be too narrow" in told
    assert comparison_doubts(table.drop(index="b, c")) == ()


def test_differences_whose_largest_are_alike_have_a_tail_that_ends():
    """Two models of a few categories: bounded differences, of which many are the largest."""
    values = np.random.default_rng(0).choice([-0.2, -0.1, 0.1, 0.25], 400)
    sides = {"a": np.zeros(400), "b": values}
    table = compare({name: dataclasses.replace(EXACT, values=one) for name, one in sides.items()})
    assert comparison_doubts(table) == ()


def test_a_ladder_that_still_rises_is_told_by_doublings():
    ladder = pd.DataFrame({"draws": [100, 200, 800], "elpd": [-5.0, -4.0, -3.4]})
    (told,) = ladder_doubts(ladder)
    assert told == "the bound still rose by 0.30 nats a row for each doubling of its draws up to 800"
    assert ladder_doubts(ladder.assign(elpd=[-5.0, -4.0, -3.9])) == ladder_doubts(ladder.head(1)) == ()


def test_draws_are_doubted_where_weights_fail_and_steps_are_refused():
    draws = xr.Dataset()
    for khat, accepted, doubts in ((math.nan, math.nan, 0), (0.9, 0.8, 0), (0.3, 0.1, 0), (0.9, 0.1, 1)):
        assert len(draws_doubts(draws.assign_attrs(khat=khat, accepted=accepted))) == doubts


@pytest.mark.parametrize(("components", "refine", "doubts"), [(1, False, 0), (2, False, 1), (2, True, 0)])
def test_draws_of_a_mean_field_guide_are_doubted_where_components_are_hidden(components, refine, doubts):
    schema, rows = spending()
    family = fit(GaussianMixture(schema, components=components), rows, seed=0).family
    draws = parameter_draws(family, 50, seed=0, refine=rows if refine else None)
    assert len(draws_doubts(draws)) == doubts


def test_posteriors_whose_ranks_are_not_uniform_are_told():
    line = {"simulations": 240, "90%, least": 0.79, "90%, most": 0.85, "p, uniform": 0.5}
    table = pd.DataFrame({"right": line, "narrow": line | {"p, uniform": 0.002}}).T
    (told,) = rank_doubts(table)
    assert told.startswith(
        "narrow: the ranks of the truth are not uniform (p = 0.002); 90 % intervals hold it in 79.0%"
    )
    (far,) = rank_doubts(table.loc[["narrow"]].assign(**{"p, uniform": 0.0}))
    assert "(p < 1e-12)" in far
    assert rank_doubts(pd.concat([table.loc[["right"]]] * 9 + [table.loc[["narrow"]]])) == ()


def test_posteriors_of_many_parameters_can_be_told():
    ranks = pd.DataFrame(np.zeros((200, 60), dtype=np.int64))
    (told,) = rank_doubts(pd.DataFrame({"wrong": calibration_summary(ranks, 199)}).T)
    assert "90 % intervals hold it in 0.0% to 0.0% of 200 simulations" in told


def spending():
    table = load("fast_food_spending")
    return table.schema, prepare(table.frame, table.schema)(table.frame)


def test_a_fit_that_reached_its_limit_is_told_with_its_last_rise():
    schema, rows = spending()
    with pytest.warns(FitWarning):
        found = fit(GaussianMixture(schema, components=2), rows, seed=0, method=NaturalGradient(steps=2))
    (told,) = fit_doubts(found)
    assert told.startswith("the fit ended before its rule did: reached its limit of 2 passes")
    assert fit_doubts(fit(GaussianMixture(schema, components=2), rows, seed=0)) == ()


def test_a_fit_without_validation_rows_is_told_to_rise_still():
    """The same history of validation rows tells as well, unless it ended by patience."""
    schema, rows = spending()
    found = fit(VAE(schema, latent=1), rows, seed=0, method=Gradient(steps=20))
    history = pd.DataFrame({"step": range(20), "train_elbo": np.arange(20.0), "validation_elbo": math.nan})
    (told,) = fit_doubts(dataclasses.replace(found, history=history))
    assert told.startswith("the ELBO still rose by 2.00 nats a row in the last tenth of the fit")
    assert fit_doubts(dataclasses.replace(found, history=history.assign(train_elbo=-3.0))) == ()
    validated = dataclasses.replace(found, history=history.assign(validation_elbo=history["train_elbo"]))
    assert fit_doubts(validated) == (told,)
    assert fit_doubts(dataclasses.replace(validated, stop="no rise for 10 evaluations")) == ()


def test_a_best_restart_that_stands_alone_is_told():
    schema, rows = spending()
    found = fit(GaussianMixture(schema, components=2), rows, seed=0)
    restarts = pd.DataFrame(
        {"restart": range(3), "elbo": [-3.0, -2.0, -math.inf], "end": "converged", "same_as": range(3)}
    )
    alone = dataclasses.replace(found, restarts=restarts)
    (told,) = fit_doubts(alone)
    assert told.startswith("the best of 3 restarts stands alone, 1.00 nats a row ahead of the next")
    line = fit_table({"alone": alone}).loc["alone"]
    assert (line["restarts"], line["best_found"], line["ahead"]) == (3, 1, 1.0)
    assert math.isnan(line["guide_khat"])


def test_restarts_that_broke_are_none_of_those_that_found_the_best():
    schema, rows = spending()
    found = fit(GaussianMixture(schema, components=2), rows, seed=0)
    restarts = pd.DataFrame({"restart": range(3), "elbo": [-3.0, -2.0, -1.0], "same_as": range(3)})
    ends = ["converged", "converged", "not a number at site 'real', component 1"]
    line = fit_table({"a": dataclasses.replace(found, restarts=restarts.assign(end=ends))}).loc["a"]
    assert (line["best_found"], line["ahead"]) == (1, 1.0)
    (told,) = fit_doubts(dataclasses.replace(found, restarts=restarts.assign(end=ends[:1] + ends[2:] * 2)))
    assert told == "2 of 3 restarts broke"


def test_how_fits_ended_is_told_with_the_guides_khat():
    schema, rows = spending()
    fits = {
        name: fit(GaussianMixture(schema, components=size), rows, seed=0) for size, name in ((1, "one"), (2, "two"))
    }
    table = fit_table(fits, rows)
    assert table.index.tolist() == ["one", "two"] and table["converged"].all()
    assert table["steps"].tolist() == [len(found.history) for found in fits.values()]
    assert table["guide_khat"]["one"] == -math.inf
    assert 0.5 < table["guide_khat"]["two"] < 1.5
    others = prepare(load("fast_food_spending").frame.iloc[:50], schema)(load("fast_food_spending").frame)
    assert fit_table(fits, others)["guide_khat"].isna().all()


def test_the_guides_weights_are_the_evidence_where_classes_are_known():
    family, rows = fitted("naive Bayes, all labels known").family, build("naive Bayes, all labels known")[1]
    weights = guide_log_weights(family, rows, seed=1, draws=20)
    evidence = log_evidence(family, rows) * float(rows.weights.sum()) - float(rows.log_scale @ rows.weights)
    torch.testing.assert_close(weights, torch.full_like(weights, evidence), rtol=1e-9, atol=1e-6)
    assert guide_khat(family, rows, seed=1) == -math.inf


def test_the_guides_weights_of_a_mixture_average_to_its_evidence():
    """Within 4 errors of that by the refined posterior, which counts both orders of components; the seed is fixed."""
    schema, _ = spending()
    frame = load("fast_food_spending").frame.iloc[::10]
    rows = prepare(frame, schema)(frame)
    family = fit(GaussianMixture(schema, components=2), rows, seed=0).family
    weights = guide_log_weights(family, rows, seed=1, draws=4000)
    mean = float(weights.logsumexp(0)) - math.log(4000)
    relative = (weights - mean).exp()
    error = float(relative.std()) / 4000**0.5
    other = refined_draws(family, rows, 1000, seed=1)
    assert float(weights.mean()) > log_elbo(family, rows)
    assert abs(mean - (other.log_evidence - math.log(2))) < 4 * math.hypot(error, other.evidence_se)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.method is CONJUGATE])
def test_the_guides_weights_are_above_the_elbo_on_average_for_every_conjugate_family(name):
    """log E[w] is the evidence; E[log w] is the ELBO with classes summed out: above the ELBO, up to 5 errors."""
    found, rows = fitted(name), build(name)[1]
    if not found.family.bayesian:
        return
    weights = guide_log_weights(found.family, rows, seed=3, draws=400)
    elbo = found.elbo * rows.total_weight - float(rows.log_scale @ rows.weights)
    assert float(weights.mean()) > elbo - 5 * float(weights.std()) / 20 - 1e-6 * abs(elbo)


def log_elbo(family, rows) -> float:
    """The training ELBO of all rows in prepared units, with the class drawn and not summed out."""
    return fit(family, rows, seed=0).elbo * len(rows) - float(rows.log_scale.sum())


def test_guides_without_weights_are_refused():
    schema, rows = spending()
    with pytest.raises(InputError, match="expected a conjugate family with estimate 'bayes', got 'VAE'"):
        guide_khat(VAE(schema, latent=1), rows, seed=0)
    point = GaussianMixture(schema, components=2, estimate="map")
    with pytest.raises(InputError, match="expected a conjugate family with estimate 'bayes', got 'map'"):
        guide_khat(fit(point, rows, seed=0).family, rows, seed=0)
    with pytest.raises(InputError, match="draws"):
        guide_khat(fit(NaiveBayes(schema, labelled=False), rows, seed=0).family, rows, seed=0, draws=0)


def page(tmp_path: Path, **checks: tuple[str, ...]) -> str:
    report = Report("Title", summary="Answer.", seed=0)
    for what, doubts in checks.items():
        report.check(what, doubts, of="VAE")
    return report.write(tmp_path / "out").read_text()


def test_a_page_opens_with_its_doubts_with_what_was_looked_at_or_with_neither(tmp_path):
    doubtful = page(tmp_path, weights=("too <few",), fits=())
    assert "What cannot be trusted" in doubtful and "<li>VAE: too &lt;few.</li>" in doubtful
    assert "Looked at: weights, fits." in doubtful
    assert doubtful.index("What cannot be trusted") < doubtful.index("How each number was made")
    assert read_record(tmp_path / "out")["doubts"] == ["VAE: too <few."]
    assert "Nothing was found that cannot be trusted" in page(tmp_path, weights=())
    assert "Nothing was checked here" in page(tmp_path)


SCRIPT = '''
from pathlib import Path
from ppl_models import Report
from ppl_models.scripts import OutputDir, Quick, Seed, script

def main(*, seed: Seed = 0, output_dir: OutputDir = Path("out"), quick: Quick = False) -> None:
    """Write."""
    report = Report("Title", summary="Answer.", seed=seed)
    report.check("weights", {doubts!r})
    report.write(output_dir)

script(main)
'''


@pytest.fixture
def scripts(tmp_path):
    for name, doubts in {"sound": (), "doubtful": ("too few draws",)}.items():
        (tmp_path / f"{name}.py").write_text(SCRIPT.format(doubts=doubts))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "options", "code"), [("sound", ["--strict"], 0), ("doubtful", ["--strict"], DOUBTFUL), ("doubtful", [], 0)]
)
def test_a_strict_script_ends_with_3_on_a_doubt_its_report_written(scripts, name, options, code):
    command = [sys.executable, f"{name}.py", *options]
    done = subprocess.run(command, cwd=scripts, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr == ("out: cannot be trusted:\nToo few draws.\n" if code else "")
    assert read_record(scripts / "out")["doubts"] == (["Too few draws."] if name == "doubtful" else [])


@pytest.mark.parametrize("strict", [True, False])
def test_all_reports_end_with_3_if_one_does_their_index_written(scripts, monkeypatch, strict):
    module = analysis("report")
    monkeypatch.setattr(module, "__file__", str(scripts / "report.py"))
    monkeypatch.setattr(module, "ANALYSES", ("doubtful", "sound"))
    if strict:
        with pytest.raises(SystemExit) as ended:
            module.main(output_dir=scripts / "all", strict=True)
        assert ended.value.code == DOUBTFUL
    else:
        module.main(output_dir=scripts / "all")
    index = (scripts / "all" / "index.html").read_text()
    assert index.count("1 reason not to trust some of its numbers") == 1
