"""Races on samples leave behind only runs that all rows would have left behind."""

import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
import torch

from ppl_models import GaussianMixture, fit, prepare
from ppl_models.inference import NaturalGradient, fit_table, races, restart_report
from ppl_models.inference.convergence import Ascent, Fault, Left
from ppl_models.inference.natural import ascend

METHOD = NaturalGradient(restarts=6, starts=12, steps=400)
ROWS = 20_000


def three_groups(seed: int) -> pd.DataFrame:
    """Rows of three groups, two of which overlap: several optima."""
    random = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [2.0, 1.0], [6.0, -3.0]])
    return pd.DataFrame(random.normal(centres[random.choice(3, ROWS, p=[0.5, 0.3, 0.2])]), columns=["a", "b"])


@pytest.fixture(scope="module")
def raced():
    frame = three_groups(0)
    rows = prepare(frame)(frame)
    return fit(GaussianMixture(rows.schema, components=3), rows, seed=0, method=METHOD), rows


def test_the_best_of_all_runs_over_all_rows_is_found(raced, monkeypatch):
    found, rows = raced
    monkeypatch.setattr("ppl_models.inference.natural.race", lambda family, train, natural, *, seed: (natural, {}))
    whole = fit(GaussianMixture(rows.schema, components=3), rows, seed=0, method=METHOD)
    assert found.elbo == pytest.approx(whole.elbo, abs=1e-9)
    assert (whole.restarts["end"] == "converged").all() and whole.restarts["same_as"].tolist() == list(range(6))


def test_a_run_left_behind_says_why_and_its_elbo_is_that_of_all_rows(raced):
    found, rows = raced
    left = found.restarts[found.restarts["end"].str.startswith("left behind on a sample of 4000 rows")]
    assert len(left) and (left["elbo"] < found.elbo).all()
    with torch.no_grad():
        family = found.family
        sweep = races.Rows.of(family, rows).sweep(found.states)[0] - races.divergence(family, found.states)
    raw = (sweep + rows.log_scale.sum()) / len(rows)
    np.testing.assert_allclose(raw.numpy(), found.restarts["elbo"], rtol=1e-12)


def test_runs_left_behind_in_the_best_optimum_have_found_it(raced):
    found, rows = raced
    same = found.restarts["same_as"] != found.restarts["restart"]
    assert same.any() and found.restarts["end"][same].str.contains("in the optimum of restart").all()
    (best,) = fit_table({"a": found}).itertuples()
    roots = found.restarts["elbo"].to_numpy()[found.restarts["same_as"]]
    assert best.best_found == (roots > found.elbo - 0.01).sum() > 1
    report = restart_report(found, rows)
    assert report["restarts"].sum() + report.attrs["left_behind"] == 6 and report.attrs["failed"] == 0


def test_a_run_clearly_behind_is_left_behind_and_one_in_the_same_place_goes_with_the_other(raced):
    found, rows = raced
    family, few = found.family, races.Rows.of(found.family, rows[:4000])
    good = family.guide.natural().detach()
    alike = good.mean(0).expand_as(good)  # all components the same
    for ends, told in (([good, alike], "nats per row behind the best"), ([good, good], "in the optimum of restart 3")):
        natural = torch.stack(ends)
        elbo = few.sweep(natural)[0] - races.divergence(family, natural)
        state = races.Ascent(natural, elbo, torch.ones(2, dtype=torch.bool))
        ((run, left),) = races._behind(few, state, [3, 5]).items()
        assert run == 5 and told in left.why


def test_small_tables_do_not_race():
    frame = three_groups(0).iloc[:3000]
    rows = prepare(frame)(frame)
    family = GaussianMixture(rows.schema, components=3)
    family.adopt(rows)
    assert ascend(family, rows, method=METHOD, seed=0).left == {}


def test_point_estimates_and_hidden_cells_keep_double_precision():
    frame = three_groups(0).iloc[:200]
    rows = prepare(frame)(frame)
    point = GaussianMixture(rows.schema, components=2, covariance="full", estimate="maximum-likelihood")
    full = GaussianMixture(rows.schema, components=2, covariance="full")
    cells = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.1).dropna(how="all")
    missing = prepare(cells)(cells)
    for family, data, expected in (
        (point, rows, torch.float64),
        (full, missing, torch.float64),
        (full, rows, torch.float32),
    ):
        assert races.Rows.of(family, data).single().open.statistics.dtype == expected


def test_a_race_holds_no_more_than_a_fit_may(monkeypatch):
    frame = three_groups(0)
    rows = prepare(frame)(frame)
    family = GaussianMixture(rows.schema, components=3)
    family.adopt(rows)
    sizes = []
    monkeypatch.setattr(races, "some_of", lambda data, size, *, seed: sizes.append(size) or data[:size])
    monkeypatch.setattr(races, "RACE_ROWS", 2500)
    natural = family.posterior(family.features(rows), family.start(rows, restarts=4, seed=0))
    monkeypatch.setattr(races, "HELD", 2400 * family.width)
    assert races.race(family, rows, natural, seed=0)[1] == {} and not sizes
    monkeypatch.setattr(races, "HELD", 2600 * family.width)
    races.race(family, rows, natural, seed=0)
    assert sizes == [2500]


def test_a_sample_of_rows_without_weight_tells_nothing():
    frame = three_groups(1)
    rows = prepare(frame)(frame, weights=(np.arange(ROWS) < 1000).astype(float))
    family = GaussianMixture(rows.schema, components=3)
    family.adopt(rows)
    assert ascend(family, rows, method=METHOD, seed=0).left == {}


def test_a_point_estimate_races_too():
    frame = three_groups(0)
    rows = prepare(frame)(frame)
    family = GaussianMixture(rows.schema, components=3, estimate="maximum-likelihood")
    found = fit(family, rows, seed=0, method=METHOD)
    assert found.converged and found.restarts["end"].str.startswith("left behind").any()
    peer = sklearn.mixture.GaussianMixture(3, covariance_type="diag", n_init=5, tol=1e-9, max_iter=2000, random_state=0)
    assert found.elbo >= peer.fit(frame).score(frame) - 1e-4


def test_the_best_run_is_none_that_was_left_behind():
    ascent = Ascent(torch.zeros(4, 1, 1), torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.ones(4, dtype=torch.bool))
    ascent.left = {0: Left("behind")}
    assert (ascent.best, ascent.all_at_fault) == (1, False)
    ascent.faults = {1: Fault("x", None), 3: Fault("x", None)}
    assert (ascent.best, ascent.all_at_fault) == (2, False)
    ascent.faults[2] = Fault("x", None)
    assert (ascent.best, ascent.all_at_fault) == (1, True)


def test_rows_of_different_weights_race_by_their_weights():
    frame = three_groups(1)
    weights = np.where(np.arange(ROWS) % 2, 0.0, 2.0)
    preparation = prepare(frame)
    family = GaussianMixture(preparation.schema, components=3)
    some = fit(family, preparation(frame, weights=weights), seed=0, method=METHOD)
    half = fit(family, preparation(frame.iloc[::2], weights=np.full(ROWS // 2, 2.0)), seed=0, method=METHOD)
    assert some.elbo == pytest.approx(half.elbo, abs=1e-6)
