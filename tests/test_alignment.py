"""Components find their counterparts, and restarts their optimum, whatever order they come in."""

from itertools import permutations
from math import comb

import jaxtyping
import numpy as np
import pytest

from ppl_models.errors import InputError
from ppl_models.evaluation import align, restart_report


def responsibilities(*shape, seed, concentration=0.3):
    classes = shape[-1]
    return np.random.default_rng(seed).dirichlet(np.full(classes, concentration), shape[:-1])


def one_hot(*partitions, classes=3):
    return np.eye(classes)[np.array(partitions)]


@pytest.fixture
def unchecked():
    """Arrays of the wrong shape arrive as they do at a user, without the type checks of the test run."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_a_permuted_run_is_put_back_into_the_order_of_the_reference():
    reference = responsibilities(40, 5, seed=0)
    shuffles = np.random.default_rng(1).permuted(np.tile(np.arange(5), (6, 1)), axis=1)
    others = np.stack([reference[:, shuffle] for shuffle in shuffles])
    found = align(reference, others)
    np.testing.assert_array_equal(found, np.argsort(shuffles, axis=1))
    aligned = np.take_along_axis(others, found[:, None], axis=2)
    np.testing.assert_array_equal(aligned, np.broadcast_to(reference, others.shape))


def test_no_other_permutation_overlaps_more():
    reference, others = responsibilities(12, 4, seed=2), responsibilities(10, 12, 4, seed=3)
    for run, found in zip(others, align(reference, others), strict=True):
        overlaps = [(reference * run[:, order]).sum() for order in permutations(range(4))]
        assert (reference * run[:, found]).sum() == pytest.approx(max(overlaps))


def test_each_component_is_matched_once_even_if_two_overlap_most_with_the_same():
    reference = np.array([[0.5, 0.5, 0.0]] * 4 + [[0.0, 0.0, 1.0]])
    run = np.array([[[1.0, 0.0, 0.0]] * 4 + [[0.0, 0.0, 1.0]]])
    assert sorted(align(reference, run)[0]) == [0, 1, 2]


def test_no_run_has_no_permutation():
    assert align(responsibilities(4, 3, seed=4), np.zeros((0, 4, 3))).shape == (0, 3)


def test_runs_of_other_rows_or_components_are_refused(unchecked):
    with pytest.raises(InputError, match=r"reference's \(4, 3\), got \(2, 4, 2\)"):
        align(np.ones((4, 3)), np.ones((2, 4, 2)))
    with pytest.raises(InputError, match=r"reference's \(4, 3\), got \(4, 3\)"):
        align(np.ones((4, 3)), np.ones((4, 3)))


def test_responsibilities_that_are_not_finite_are_refused():
    wrong = responsibilities(2, 4, 3, seed=5)
    wrong[1, 2, 0] = np.nan
    with pytest.raises(InputError, match="others: expected finite responsibilities, got nan in run 1, row 2"):
        align(wrong[0], wrong)
    with pytest.raises(InputError, match="reference: expected finite"):
        align(wrong[1], wrong[:1])
    with pytest.raises(InputError, match="responsibilities: expected finite"):
        restart_report(np.zeros(2), wrong, rows_weight=4)


def test_restarts_that_differ_only_in_the_order_of_components_are_one_optimum():
    first = responsibilities(30, 3, seed=6)
    runs = np.stack([first[:, list(order)] for order in permutations(range(3))])
    report = restart_report(np.full(6, -2.0), runs, rows_weight=30)
    assert report[["optimum", "restarts", "elbo", "nats_below", "adjusted_rand"]].to_numpy().tolist() == [
        [1, 6, -2, 0, 1]
    ]


def test_the_tolerance_is_in_total_nats():
    runs, elbos = one_hot([0, 1, 2], [0, 1, 2]), np.array([-2.0, -2.0 - 1e-4])
    assert restart_report(elbos, runs, rows_weight=99)["restarts"].tolist() == [2]
    apart = restart_report(elbos, runs, rows_weight=101)
    assert apart["restarts"].tolist() == [1, 1]
    assert apart["nats_below"].tolist() == pytest.approx([0.0, 0.0101])
    assert restart_report(elbos, runs, rows_weight=101, tolerance=0.02)["restarts"].tolist() == [2]


def test_optima_as_high_as_each_other_are_told_apart_by_their_partitions():
    report = restart_report(np.full(3, -1.0), one_hot([0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]), rows_weight=4)
    assert report["restarts"].tolist() == [2, 1]
    assert report["nats_below"].tolist() == [0.0, 0.0]


def test_partitions_alike_at_other_heights_are_other_optima_best_first():
    report = restart_report(np.array([-3.0, -1.0, -2.0]), one_hot(*[[0, 1, 2, 2]] * 3), rows_weight=10)
    assert report["elbo"].tolist() == [-1.0, -2.0, -3.0]
    assert report["nats_below"].tolist() == [0.0, 10.0, 20.0]
    assert report["adjusted_rand"].tolist() == [1.0, 1.0, 1.0]


def test_the_adjusted_rand_index_is_hubert_and_arabies():
    first, second = np.random.default_rng(7).integers(0, 3, (2, 25))
    report = restart_report(np.array([-1.0, -2.0]), one_hot(first, second), rows_weight=25)
    table = np.histogram2d(first, second, bins=3)[0].astype(int)
    together, a, b = (sum(comb(n, 2) for n in counts.ravel()) for counts in (table, table.sum(0), table.sum(1)))
    chance = a * b / comb(25, 2)
    assert report["adjusted_rand"].tolist() == pytest.approx([1.0, (together - chance) / ((a + b) / 2 - chance)])


def test_only_components_with_a_row_are_counted_as_used():
    report = restart_report(np.array([-1.0, -2.0]), one_hot([0, 2, 2], [1, 1, 1]), rows_weight=3)
    assert report["components_used"].tolist() == [2, 1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_failed_restarts_are_dropped_and_counted(wrong):
    runs = one_hot([0, 1, 2], [0, 1, 1], [0, 1, 2])
    runs[1] = np.nan
    report = restart_report(np.array([-1.0, wrong, -1.0]), runs, rows_weight=3)
    assert report["restarts"].tolist() == [2]
    assert report.attrs == {"failed": 1}


def test_a_report_does_not_depend_on_the_order_of_the_restarts():
    elbos, runs = np.array([-1.0, -1.5, -1.0, -1.2]), responsibilities(4, 20, 3, seed=8)
    runs[2] = runs[0][:, [1, 2, 0]]
    order = np.array([3, 2, 0, 1])
    reports = [restart_report(elbos[at], runs[at], rows_weight=20) for at in (slice(None), order)]
    assert reports[0].equals(reports[1])
    assert reports[0]["restarts"].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("elbos", "options", "message"),
    [
        ([np.nan, np.inf], {}, "at least one finite ELBO, got none in 2 restarts"),
        ([0.0, 0.0], {"rows_weight": 0}, "rows_weight: expected a number above 0, got 0"),
        ([0.0, 0.0], {"rows_weight": float("nan")}, "rows_weight: expected a number above 0, got nan"),
        ([0.0, 0.0], {"tolerance": -0.1}, "tolerance: expected a number above 0, got -0.1"),
    ],
)
def test_restarts_that_cannot_be_told_apart_are_refused(elbos, options, message):
    with pytest.raises(InputError, match=message):
        restart_report(np.array(elbos), one_hot([0, 1], [0, 1]), **({"rows_weight": 2} | options))


def test_an_elbo_for_every_restart_is_expected(unchecked):
    with pytest.raises(InputError, match=r"got shapes \(3,\) and \(2, 2, 3\)"):
        restart_report(np.zeros(3), one_hot([0, 1], [0, 1]), rows_weight=2)
