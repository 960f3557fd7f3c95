"""Predictive checks are calibrated, find what is wrong, and agree with a plain loop."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ppl_models.errors import InputError
from ppl_models.evaluation import predictive_checks

KINDS = {"height": "real", "visits": "count", "smoker": "binary", "town": "categorical"}


def draw(rows, *, seed, scale=1.0):
    random = np.random.default_rng(seed)
    height = random.normal(0.0, scale, rows)
    return pd.DataFrame(
        {
            "height": height,
            "visits": random.poisson(np.exp(0.5 * height / scale)),
            "smoker": random.integers(0, 2, rows),
            "town": random.choice(["Bonn", "Ulm", "Köln"], rows, p=[0.5, 0.3, 0.2]),
        }
    )


def line(table, column, statistic):
    return table[(table.column == column) & (table.statistic == statistic)].iloc[0]


def test_tail_probabilities_are_uniform_when_the_model_is_right():
    tails = []
    for seed in range(200):
        table = predictive_checks(draw(99 * 20, seed=seed), draw(20, seed=900 + seed), kinds=KINDS)
        tails.append(line(table, "height", "sd").tail_probability)
    # Kolmogorov-Smirnov at a false alarm rate of 1e-4, fixed seeds
    assert stats.kstest(tails, "uniform").pvalue > 1e-4


def test_a_doubled_standard_deviation_is_found():
    table = predictive_checks(draw(400 * 100, seed=1), draw(100, seed=2, scale=2.0), kinds=KINDS)
    assert line(table, "height", "sd").tail_probability == pytest.approx(2 / 401)


def test_every_statistic_agrees_with_a_plain_loop():
    replicates, held_out = draw(30 * 50, seed=3), draw(50, seed=4)
    table = predictive_checks(replicates, held_out, kinds=KINDS)
    expected = {
        ("height", "mean"): lambda frame: frame.height.mean(),
        ("height", "sd"): lambda frame: frame.height.std(),
        ("visits", "95 % quantile"): lambda frame: frame.visits.quantile(0.95),
        ("smoker", "share of 1"): lambda frame: (frame.smoker == 1).mean(),
        ("town", "share of Ulm"): lambda frame: (frame.town == "Ulm").mean(),
        ("height", "correlation with visits"): lambda frame: frame.height.corr(frame.visits),
    }
    for key, statistic in expected.items():
        loop = np.array([statistic(replicates.iloc[50 * r : 50 * r + 50]) for r in range(30)])
        found = line(table, *key)
        np.testing.assert_allclose(
            found[["observed", "predicted", "low", "high"]].to_numpy(float),
            [statistic(held_out), loop.mean(), *np.quantile(loop, (0.05, 0.95))],
        )


def test_cells_missing_in_the_held_out_rows_are_masked_in_every_replicate():
    replicates, held_out = draw(30 * 50, seed=5), draw(50, seed=6)
    held_out = held_out.mask(np.random.default_rng(7).random(held_out.shape) < 0.3)
    spoilt = replicates.mask(pd.concat([held_out.isna()] * 30, ignore_index=True))
    table = predictive_checks(replicates, held_out, kinds=KINDS)
    pd.testing.assert_frame_equal(table, predictive_checks(spoilt, held_out, kinds=KINDS))
    assert line(table, "height", "sd").observed == pytest.approx(held_out.height.std())
    correlation = held_out[["height", "visits"]].astype(float).corr().iloc[0, 1]
    assert line(table, "height", "correlation with visits").observed == pytest.approx(correlation)


def test_shares_of_a_column_add_to_one():
    table = predictive_checks(draw(500, seed=8), draw(50, seed=9), kinds=KINDS)
    shares = table[(table.column == "town") & table.statistic.str.startswith("share of")]
    assert shares[["observed", "predicted"]].sum().tolist() == pytest.approx([1.0, 1.0])


def test_a_category_that_only_the_model_knows_is_listed():
    held_out = pd.DataFrame({"town": ["Ulm", "Ulm"]})
    replicates = pd.DataFrame({"town": ["Ulm", "Bonn"] * 3})
    table = predictive_checks(replicates, held_out, kinds={"town": "categorical"})
    assert line(table, "town", "share of Bonn")[["observed", "predicted"]].tolist() == [0.0, 0.5]


def test_statistics_that_are_not_defined_are_left_out():
    held_out = draw(20, seed=10).assign(visits=1.0, smoker=np.nan)
    table = predictive_checks(draw(100, seed=11), held_out, kinds=KINDS)
    assert "smoker" not in set(table.column)
    assert not table.statistic.str.startswith("correlation").any()


def test_nothing_to_check_is_an_empty_table():
    assert predictive_checks(draw(20, seed=1), draw(10, seed=2), kinds={}).empty


@pytest.mark.parametrize(("columns", "pairs"), [(20, 190), (21, 0)])
def test_correlations_are_kept_for_at_most_twenty_columns(columns, pairs):
    rows = pd.DataFrame(np.random.default_rng(12).normal(size=(40, columns))).add_prefix("x")
    table = predictive_checks(rows, rows.iloc[:10], kinds=dict.fromkeys(rows, "real"))
    assert table.statistic.str.startswith("correlation").sum() == pairs


@pytest.mark.parametrize(
    ("replicates", "kinds", "message"),
    [
        (draw(7, seed=1), KINDS, "whole replicates of the 5 held-out rows, got 7 rows"),
        (draw(0, seed=1), KINDS, "got 0 rows"),
        (draw(10, seed=1).drop(columns="town"), KINDS, "column 'town' in the replicates"),
        (draw(10, seed=1), {"height": "complex"}, "got 'complex' for column 'height'"),
        (draw(10, seed=1), {"town": "real"}, "expected numbers in column 'town'"),
        (draw(10, seed=1).assign(height=np.nan), KINDS, "finite cells where column 'height'"),
    ],
)
def test_bad_input_is_refused(replicates, kinds, message):
    with pytest.raises(InputError, match=message):
        predictive_checks(replicates, draw(5, seed=2), kinds=kinds)
