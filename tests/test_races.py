"""Races on samples leave behind only runs that all rows would have left behind."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppl_models import GaussianMixture, fit, prepare
from ppl_models.inference import NaturalGradient, fit_table, races, restart_report
from ppl_models.inference.natural import ascend

METHOD = NaturalGradient(restarts=6, starts=12, steps=400)
ROWS = 20_000


def three_groups(seed: int) -> pd.DataFrame:
    """Rows of three groups, two of which overlap, for four components: several optima."""
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


def test_rows_of_different_weights_race_by_their_weights():
    frame = three_groups(1)
    weights = np.where(np.arange(ROWS) % 2, 0.0, 2.0)
    preparation = prepare(frame)
    family = GaussianMixture(preparation.schema, components=3)
    some = fit(family, preparation(frame, weights=weights), seed=0, method=METHOD)
    half = fit(family, preparation(frame.iloc[::2], weights=np.full(ROWS // 2, 2.0)), seed=0, method=METHOD)
    assert some.elbo == pytest.approx(half.elbo, abs=1e-6)
