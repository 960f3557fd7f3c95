"""Latent spaces whose representation, realism and smoothness are known get the numbers that are known."""

import jaxtyping
import numpy as np
import pytest
from scipy import spatial, stats

from ppl_models.errors import InputError
from ppl_models.evaluation import active_units, interpolate, log_density_gap, realism, representation, smoothness

FAR = stats.norm.isf(5e-6)  # standard errors that chance exceeds once in 1e5


@pytest.fixture
def unchecked():
    """Arrays of the wrong shape arrive as they do at a user, without the type checks of the test run."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def normals(*shape, seed, shift=0.0, scale=1.0):
    """Normal rows; the shift is along the first column."""
    rows = scale * np.random.default_rng(seed).normal(size=shape)
    rows[:, 0] += shift
    return rows


def labelled(rows, *, seed, apart):
    """Codes of two classes in two dimensions, their means `apart` standard deviations from one another."""
    labels = np.random.default_rng(seed).integers(2, size=rows)
    codes = normals(rows, 2, seed=seed + 1000)
    codes[:, 0] += apart * labels
    return codes, labels


def probed(train, test, **options):
    return representation(*train, test_codes=test[0], test_labels=test[1], **options)


def arcs(angle, *, paths=20, steps=16, rate=1.0, seed=0):
    """Decoded paths that turn by an angle, of random sizes; a rate above one goes slowly first, then fast."""
    at = angle * np.linspace(0, 1, steps + 1) ** rate
    sizes = np.random.default_rng(seed).uniform(1, 2, paths)
    return sizes[:, None, None] * np.stack([np.sin(at), 1 - np.cos(at)], axis=1)


def ideals(*, apart, shift, angle, rate):
    """The measures of a space, each turned so that higher is better."""
    probes = probed(labelled(500, seed=1, apart=apart), labelled(500, seed=2, apart=apart))
    told = realism(normals(300, 2, seed=3, shift=shift), normals(300, 2, seed=4), seed=0, folds=3)
    smooth = smoothness(arcs(angle, rate=rate))
    return [*probes["accuracy"], -told["auc"].max(), *-smooth["mean"]]


def test_three_spaces_of_known_order_are_put_in_order_by_every_measure():
    good = ideals(apart=3.0, shift=0.0, angle=0.5, rate=1.0)
    fair = ideals(apart=1.5, shift=1.0, angle=np.pi / 2, rate=2.0)
    poor = ideals(apart=0.0, shift=3.0, angle=np.pi, rate=4.0)
    assert all(first > second > third for first, second, third in zip(good, fair, poor, strict=True))


@pytest.mark.parametrize("apart", [1.0, 2.0])
def test_the_probe_of_two_normal_classes_reaches_the_best_possible_accuracy(apart):
    table = probed(labelled(4000, seed=5, apart=apart), labelled(4000, seed=6, apart=apart), neighbours=101)
    best = stats.norm.cdf(apart / 2)
    assert abs(table.loc["linear probe", "accuracy"] - best) < FAR * table.loc["linear probe", "se"]
    # votes are noisier than a plane: below the best, by less than 0.03 for a hundred neighbours
    assert -0.03 < table.loc["nearest neighbours", "accuracy"] - best < FAR * table.loc["nearest neighbours", "se"]


def test_codes_that_know_nothing_do_as_well_as_chance():
    (train, kinds), (test, others) = (labelled(1000, seed=seed, apart=0.0) for seed in (7, 8))
    table = probed((train, kinds), (test, others))
    assert (np.abs(table["accuracy"] - 0.5) < FAR * table["se"]).all()
    assert (table["chance"] == np.mean(others == stats.mode(kinds).mode)).all()


def test_a_ring_around_its_middle_is_known_to_neighbours_and_not_to_a_plane():
    rows = normals(600, 2, seed=9)
    inside = np.linalg.norm(rows, axis=1) < np.sqrt(2 * np.log(2))  # the median radius
    table = probed((rows[:400], inside[:400]), (rows[400:], inside[400:]))
    assert table.loc["nearest neighbours", "accuracy"] > 0.85
    assert table.loc["linear probe", "accuracy"] < 0.65


def test_the_error_of_an_accuracy_is_binomial_over_held_out_rows():
    table = probed(labelled(300, seed=10, apart=1.0), labelled(150, seed=11, apart=1.0))
    expected = [stats.binom(150, share).std() / 150 for share in table["accuracy"]]
    np.testing.assert_allclose(table["se"], expected)


@pytest.mark.parametrize("missing", [np.array([0, 1, -1]), np.array([0, 1, np.nan]), np.array(["a", "b", None])])
def test_missing_labels_are_refused(missing):
    codes = np.zeros((3, 1))
    with pytest.raises(InputError, match=r"train_labels: expected a known class in every row, got .* at 2"):
        probed((codes, missing), (codes, np.arange(3)))
    with pytest.raises(InputError, match=r"test_labels: expected a known class in every row, got .* at 2"):
        probed((codes, np.arange(3)), (codes, missing), neighbours=1)


def test_what_no_probe_can_learn_from_is_refused(unchecked):
    codes, kinds = np.zeros((3, 1)), np.arange(3)
    with pytest.raises(InputError, match="train_labels: expected two classes or more, got only 1"):
        probed((codes, np.ones(3, dtype=int)), (codes, kinds))
    with pytest.raises(InputError, match="neighbours: expected at most the 3 training rows, got 15"):
        probed((codes, kinds), (codes, kinds))
    with pytest.raises(InputError, match="same number of latent dimensions, got 1 for train_codes, 2 for test_codes"):
        probed((codes, kinds), (np.zeros((3, 2)), kinds))
    with pytest.raises(InputError, match="test_labels: expected one per code and at least one"):
        probed((codes, kinds), (codes[:0], kinds[:0]))
    with pytest.raises(InputError, match=r"train_codes: expected finite numbers, got nan at \(0, 0\)"):
        probed((codes + np.nan, kinds), (codes, kinds))


def test_active_units_are_those_whose_means_vary():
    table = active_units(normals(2000, 3, seed=12) * np.array([1.0, 0.5, 0.01]))
    assert table["active"].tolist() == [True, True, False]
    # the closed form for normal values; its estimate from the fourth moment has a relative error below 6 % here
    np.testing.assert_allclose(table["se"], np.array([1, 0.25, 1e-4]) * np.sqrt(2 / 1999), rtol=0.25)
    assert (np.abs(table["variance"] - [1, 0.25, 1e-4]) < FAR * table["se"]).all()


def test_one_row_has_no_active_unit_and_is_refused():
    with pytest.raises(InputError, match="locs: expected two rows or more, got 1"):
        active_units(np.zeros((1, 2)))


def test_draws_from_the_same_distribution_are_not_told_apart_in_whatever_order_they_come():
    draws, rows = (part[part[:, 0].argsort()] for part in (normals(400, 2, seed=seed) for seed in (13, 14)))
    table = realism(draws, rows[::-1], seed=0)
    assert (np.abs(table["auc"] - 0.5) < FAR * table["se"]).all()


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_shifted_normals_have_the_auc_of_the_closed_form(shift):
    told = realism(normals(3000, 1, seed=15), normals(3000, 1, seed=16, shift=shift), seed=0, classifiers=["logistic"])
    assert abs(told["auc"].item() - stats.norm.cdf(shift / np.sqrt(2))) < FAR * told["se"].item()


def test_a_spread_that_is_too_wide_is_seen_by_the_forest_alone():
    table = realism(normals(1500, 1, seed=17, scale=2.0), normals(1500, 1, seed=18), seed=0)
    best = 2 / np.pi * np.arctan(2.0)  # by |x|, the best score there is
    assert abs(table.loc["logistic", "auc"] - 0.5) < FAR * table.loc["logistic", "se"]
    assert -0.05 < table.loc["forest", "auc"] - best < FAR * table.loc["forest", "se"]


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_error_of_an_auc_is_the_spread_over_repeated_samples(shift):
    repeats, truth = 200, stats.norm.cdf(shift / np.sqrt(2))
    samples = [(normals(60, 1, seed=seed), normals(60, 1, seed=9000 + seed, shift=shift)) for seed in range(repeats)]
    tables = [realism(*pair, seed=seed, folds=3, classifiers=["logistic"]) for seed, pair in enumerate(samples)]
    auc, se = np.array([table.loc["logistic"] for table in tables]).T
    # the sd of 200 repeats has a relative error of 5 %; the usual error of cross-validation is too small by 26 %
    assert np.sqrt(np.mean(se**2)) == pytest.approx(auc.std(ddof=1), rel=FAR * 0.05)
    assert abs(auc.mean() - truth) < FAR * stats.sem(auc)


def test_the_same_seed_gives_the_same_realism_and_another_shuffle_another():
    pair = normals(60, 2, seed=19), normals(50, 2, seed=20)
    first, again, other = (realism(*pair, seed=seed, folds=2) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


def test_realism_refuses_what_it_cannot_cut_into_blocks(unchecked):
    few, rows = np.zeros((9, 1)), np.zeros((10, 1))
    with pytest.raises(InputError, match="draws: expected two or more for each of 5 blocks, got 9 rows"):
        realism(few, rows, seed=0)
    with pytest.raises(InputError, match="folds: expected two or more, got 1"):
        realism(rows, rows, seed=0, folds=1)
    with pytest.raises(InputError, match="same number of columns, got 1 for draws, 2 for held_out"):
        realism(rows, np.zeros((10, 2)), seed=0)
    with pytest.raises(InputError, match="classifiers: expected some of logistic, forest, got 'tree'"):
        realism(rows, rows, seed=0, classifiers=["tree"])


def test_the_gap_of_log_densities_over_its_error_is_welchs_statistic():
    draws, rows = normals(80, 1, seed=21)[:, 0], normals(30, 1, seed=22, shift=0.5, scale=3.0)[:, 0]
    mean, se = log_density_gap(draws, rows).loc["difference"]
    assert mean / se == pytest.approx(stats.ttest_ind(draws, rows, equal_var=False).statistic)


def test_the_gap_refuses_values_without_a_mean_or_an_error():
    with pytest.raises(InputError, match=r"draws: expected finite numbers, got -inf at \(1,\)"):
        log_density_gap(np.array([0.0, -np.inf]), np.zeros(2))
    with pytest.raises(InputError, match="held out: expected two log densities or more, got 1"):
        log_density_gap(np.zeros(2), np.zeros(1))


def test_a_straight_even_path_has_both_ratios_exactly_one():
    assert smoothness(np.arange(5.0)[None, :, None] * np.array([3.0, 4.0]))["mean"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("steps", [2, 5, 1000])
def test_a_half_circle_is_longer_than_its_chord_by_half_of_pi_in_the_limit(steps):
    length, largest = smoothness(arcs(np.pi, steps=steps))["mean"]
    assert length == pytest.approx(steps * np.sin(np.pi / 2 / steps), rel=1e-12)
    assert largest == pytest.approx(1.0)
    assert steps < 1000 or length == pytest.approx(np.pi / 2, rel=1e-6)


def test_a_jump_is_straight_and_its_largest_step_is_all_of_them():
    jump = np.repeat([0.0, 7.0], [3, 6])[None, :, None]
    assert smoothness(jump)["mean"].tolist() == [1.0, 8.0]


def test_the_errors_are_those_of_means_over_paths():
    paths = np.random.default_rng(23).normal(size=(30, 6, 4)).cumsum(axis=1)
    one_by_one = np.array([smoothness(path[None])["mean"] for path in paths])
    table = smoothness(paths)
    np.testing.assert_allclose(table["mean"], one_by_one.mean(axis=0))
    np.testing.assert_allclose(table["se"], stats.sem(one_by_one))


def test_paths_that_come_back_or_never_move_are_left_out_and_counted():
    straight, closed, still = [0.0, 1.0, 2.0], [0.0, 1.0, 0.0], [5.0, 5.0, 5.0]
    table = smoothness(np.array([straight, straight, closed, still])[..., None])
    assert table["paths"].tolist() == [2, 3]
    assert table["mean"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_a_decoder_that_ignores_its_code_has_no_smoothness(number):
    noise = 1 + np.finfo(number).eps * np.random.default_rng(24).integers(-1, 2, size=(3, 8, 2))
    table = smoothness(noise.astype(number))
    assert table["mean"].isna().all()
    assert table["paths"].tolist() == [0, 0]


def test_paths_of_two_points_are_refused():
    with pytest.raises(InputError, match=r"paths: expected at least one, with three points or more, got shape \(4, 2"):
        smoothness(np.zeros((4, 2, 3)))


def test_a_spherical_path_of_unit_codes_is_that_of_scipy():
    start, end = (rows / np.linalg.norm(rows) for rows in np.random.default_rng(25).normal(size=(2, 5)))
    path = interpolate(start, end, steps=9, kind="spherical")
    np.testing.assert_allclose(path, spatial.geometric_slerp(start, end, np.linspace(0, 1, 9)), atol=1e-12)


def test_a_spherical_path_turns_evenly_and_its_radius_goes_from_length_to_length():
    start, end = np.random.default_rng(26).normal(size=(2, 3, 4, 8))
    path = interpolate(start, end, steps=7, kind="spherical")
    radii = np.linalg.norm(path, axis=-1)
    turns = np.sum(path[..., 1:, :] * path[..., :-1, :], axis=-1) / radii[..., 1:] / radii[..., :-1]
    np.testing.assert_allclose(radii, np.linspace(radii[..., 0], radii[..., -1], 7, axis=-1))
    np.testing.assert_allclose(turns, np.broadcast_to(turns[..., :1], turns.shape))


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_a_path_begins_and_ends_at_its_codes(kind):
    start, end = np.random.default_rng(27).normal(size=(2, 10, 3))
    path = interpolate(start, end, steps=4, kind=kind)
    np.testing.assert_allclose(path[:, 0], start)
    np.testing.assert_allclose(path[:, -1], end)


@pytest.mark.parametrize("nudge", [0.0, 1e-9])
def test_codes_of_one_direction_have_one_path_of_both_kinds(nudge):
    start = np.array([1.0, 2.0, 2.0])
    paths = [interpolate(start, 3 * start + nudge, steps=5, kind=kind) for kind in ("linear", "spherical")]
    np.testing.assert_allclose(paths[0], np.linspace(start, 3 * start, 5), atol=1e-8)
    np.testing.assert_allclose(paths[1], paths[0], atol=1e-8)


def test_paths_that_no_one_circle_answers_are_refused(unchecked):
    code, other = np.array([[1.0, 0.0], [1.0, 2.0]]), np.array([[0.0, 1.0], [-2.0, -4.0]])
    with pytest.raises(InputError, match=r"expected directions that are not opposite, got opposite ones at \(1,\)"):
        interpolate(code, other, steps=3, kind="spherical")
    with pytest.raises(InputError, match="end: expected codes with a direction, got the origin"):
        interpolate(code[0], np.zeros(2), steps=3, kind="spherical")
    with pytest.raises(InputError, match=r"same shape, got \(2, 2\) for start, \(2,\) for end"):
        interpolate(code, other[0], steps=3, kind="linear")
    with pytest.raises(InputError, match="steps: expected two or more, got 1"):
        interpolate(code, other, steps=1, kind="linear")
    with pytest.raises(InputError, match="kind: expected linear or spherical, got 'cubic'"):
        interpolate(code, other, steps=3, kind="cubic")
