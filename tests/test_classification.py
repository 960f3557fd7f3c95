"""Scores of class probabilities are scikit-learn's, and calibration finds who is too sure."""

import jaxtyping
import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

from ppl_models.errors import InputError
from ppl_models.evaluation import calibration_table, score_classes

NAMES = ("ash", "birch", "cedar")


def draw(rows, *, seed, concentration=1.0, classes=3):
    """Class probabilities, and classes drawn from them."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, concentration), rows)
    labels = (random.random((rows, 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return probabilities, labels


@pytest.fixture
def unchecked():
    """Arrays of the wrong shape arrive as they do at a user, without the type checks of the test run."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_are_those_of_scikit_learn(classes):
    probabilities, labels = draw(300, seed=classes, classes=classes)
    scores, codes = score_classes(probabilities, labels, names=range(classes)), range(classes)
    brier = metrics.brier_score_loss(labels, probabilities, labels=codes, scale_by_half=False)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(labels, probabilities.argmax(axis=1)))
    assert scores.brier == pytest.approx(brier)
    assert scores.log_score == pytest.approx(-metrics.log_loss(labels, probabilities, labels=codes))


def test_confusion_counts_rows_by_predicted_and_true_class_as_scikit_learn_does():
    probabilities, labels = draw(200, seed=1)
    confusion = score_classes(probabilities, labels, names=NAMES).confusion
    expected = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(3)).T
    np.testing.assert_array_equal(confusion, expected)
    assert (confusion.index.name, confusion.columns.name) == ("predicted", "true")
    assert tuple(confusion.index) == tuple(confusion.columns) == NAMES


def test_a_class_that_never_occurs_keeps_its_line_and_column():
    confusion = score_classes(np.array([[0.8, 0.2, 0.0]]), np.array([1]), names=NAMES).confusion
    assert confusion.loc["ash", "birch"] == confusion.to_numpy().sum() == 1
    assert confusion.shape == (3, 3)


def test_standard_errors_are_the_spread_of_repeated_scores():
    repeats = [score_classes(*draw(100, seed=seed), names=NAMES) for seed in range(600)]
    for name in ("accuracy", "brier", "log_score"):
        errors, values = ([getattr(one, name + end) for one in repeats] for end in ("_se", ""))
        # the sd of 600 repeats has a relative error of 1 / sqrt(1200) = 2.9 %; false alarm below 1e-4 over the three
        assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.13)


def test_the_standard_error_of_the_accuracy_is_that_of_a_share():
    scores = score_classes(*draw(80, seed=2), names=NAMES)
    assert scores.accuracy_se == pytest.approx((scores.accuracy * (1 - scores.accuracy) / 79) ** 0.5)


def test_certainty_scores_zero_when_right_and_two_when_wrong():
    right, wrong = (score_classes(np.eye(3), np.array(labels), names=NAMES) for labels in ([0, 1, 2], [1, 2, 0]))
    assert (right.accuracy, right.brier, right.log_score, right.calibration_error) == (1, 0, 0, 0)
    assert (wrong.accuracy, wrong.brier, wrong.log_score, wrong.calibration_error) == (0, 2, -np.inf, 1)
    assert np.isnan(wrong.log_score_se)


def test_rows_of_unknown_class_are_left_out():
    probabilities, labels = draw(50, seed=3)
    known = np.arange(50) % 3 > 0
    part = score_classes(probabilities, np.where(known, labels, -1), names=NAMES)
    alone = score_classes(probabilities[known], labels[known], names=NAMES)
    assert part.rows == alone.rows == known.sum()
    assert (part.brier, part.log_score_se, part.calibration_error) == pytest.approx(
        (alone.brier, alone.log_score_se, alone.calibration_error)
    )


def test_a_single_row_has_no_standard_error():
    scores = score_classes(np.array([[0.2, 0.5, 0.3]]), np.array([1]), names=NAMES)
    assert np.isnan([scores.accuracy_se, scores.brier_se, scores.log_score_se]).all()


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy():
    probabilities, labels = draw(400, seed=4, concentration=0.4)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.ceil(confidence * 10)
    gaps = [abs((confidence - right)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert score_classes(probabilities, labels, names=NAMES).calibration_error == pytest.approx(sum(gaps))


def test_who_is_too_sure_has_a_calibration_error():
    probabilities, labels = draw(5000, seed=5)
    sharpened = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    honest, too_sure = (score_classes(p, labels, names=NAMES).calibration_error for p in (probabilities, sharpened))
    # by chance alone 0.013 with sd 0.004: false alarm below 1e-4
    assert honest < 0.03
    assert too_sure > 0.1


@pytest.mark.parametrize("bins", [1, 5, 10])
def test_the_calibration_table_is_scikit_learns_curve_of_all_pairs(bins):
    probabilities, labels = draw(200, seed=6)
    table = calibration_table(probabilities, labels, bins=bins)
    true = labels[:, None] == np.arange(3)
    observed, predicted = calibration_curve(true.ravel(), probabilities.ravel(), n_bins=bins)
    np.testing.assert_allclose(table[["observed", "predicted"]], np.stack([observed, predicted], axis=1))
    assert table["pairs"].sum() == 600


def test_empty_bins_are_left_out_and_the_others_keep_their_edges():
    table = calibration_table(np.array([[0.95, 0.05], [0.5, 0.5]]), np.array([0, 1]))
    assert table[["low", "high"]].round(12).to_numpy().tolist() == [[0.0, 0.1], [0.4, 0.5], [0.9, 1.0]]
    assert table["pairs"].tolist() == [1, 2, 1]


def test_intervals_of_the_observed_share_are_those_of_clopper_and_pearson():
    table = calibration_table(*draw(30, seed=7))
    for row in table.itertuples():
        exact = stats.binomtest(round(row.observed * row.pairs), row.pairs).proportion_ci(0.9, method="exact")
        assert (row.observed_low, row.observed_high) == pytest.approx((exact.low, exact.high))


def test_intervals_hold_a_calibrated_prediction_at_least_as_often_as_they_say():
    tables = [calibration_table(*draw(300, seed=seed)) for seed in range(100, 200)]
    held = [
        (table["observed_low"] <= table["predicted"]) & (table["predicted"] <= table["observed_high"])
        for table in tables
    ]
    bins = sum(len(table) for table in tables)
    # the bins of a table are nearly independent: sd 0.3 / sqrt(1000); false alarm below 1e-4 on this side
    assert np.concatenate(held).mean() > 0.9 - 4 * 0.3 / bins**0.5


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[0.5, 0.5], [0.9, 0.2]], [0, 1], "add to 1, got smallest 0.2 and sum 1.1 at row 1"),
        ([[0.5, 0.5], [1.5, -0.5]], [0, 1], "numbers from 0 that add to 1, got smallest -0.5 and sum 1 at row 1"),
        ([[np.nan, 0.5], [0.5, 0.5]], [0, 1], "got smallest nan and sum nan at row 0"),
        ([[0.5, 0.5], [0.5, 0.5]], [0, 2], "labels: expected codes from -1 to 1, got 2 at row 1"),
        ([[0.5, 0.5], [0.5, 0.5]], [-2, 0], "labels: expected codes from -1 to 1, got -2 at row 0"),
        ([[0.5, 0.5], [0.5, 0.5]], [-1, -1], "at least one row of known class, got none in 2 rows"),
        (np.zeros((0, 2)), np.zeros(0, int), "at least one row of known class, got none in 0 rows"),
    ],
)
def test_what_is_no_probability_or_no_label_is_refused(probabilities, labels, message):
    for ask in (calibration_table, lambda p, y: score_classes(p, y, names=("no", "yes"))):
        with pytest.raises(InputError, match=message):
            ask(np.array(probabilities), np.array(labels))


def test_numbers_that_do_not_fit_are_refused(unchecked):
    with pytest.raises(InputError, match=r"got shapes \(4, 3\) and \(5,\)"):
        calibration_table(np.full((4, 3), 1 / 3), np.zeros(5, int))
    with pytest.raises(InputError, match=r"got shapes \(4,\) and \(4,\)"):
        score_classes(np.ones(4), np.zeros(4, int), names=("no", "yes"))
    with pytest.raises(InputError, match=r"expected codes from -1 to 2, got 0\.5 at row 0"):
        calibration_table(np.full((2, 3), 1 / 3), np.array([0.5, 1.0]))


def test_names_for_other_classes_and_no_bin_are_refused():
    probabilities, labels = draw(4, seed=8)
    with pytest.raises(InputError, match="names: expected one for each of 3 classes, got 2"):
        score_classes(probabilities, labels, names=NAMES[:2])
    with pytest.raises(InputError, match="bins: expected one or more, got 0"):
        calibration_table(probabilities, labels, bins=0)
