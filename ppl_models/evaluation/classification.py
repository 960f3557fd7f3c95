"""How good held-out class probabilities are: right, sharp, and as frequent as they say.

Accuracy asks only for the most probable class. The Brier score and the log score are proper: in expectation
the true probabilities, and no others, do best. Calibration asks whether what is given 30 % happens in 30 % of
the cases, and leaves out whether 30 % was worth saying.

References:
    Brier (1950), https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    Gneiting, Raftery (2007), https://doi.org/10.1198/016214506000001437
    Guo, Pleiss, Sun, Weinberger (2017), https://arxiv.org/abs/1706.04599 (expected calibration error)
    Clopper, Pearson (1934), https://doi.org/10.1093/biomet/26.4.404 (interval of a share)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import stats

from ppl_models.errors import InputError, at_least_one

BINS = 10
LEVEL = 0.9  # of the interval of an observed share
ROUNDING = 1e-5  # a softmax of single precision adds to one within it
UNKNOWN = -1  # the code of a class that is not known


@dataclass(frozen=True, eq=False)
class Classification:
    """How good the class probabilities of held-out rows are; each `_se` is a standard error over rows.

    Attributes:
        accuracy: share of rows whose most probable class is the true one; higher is better. Ties go to the
            class of the lowest code.
        accuracy_se: NaN for a single row, as the other two.
        brier: mean over rows of the squared error summed over classes; lower is better, 0 to 2.
        brier_se: in the units of `brier`.
        log_score: mean log probability of the true class, in nats per row; higher is better, at most 0, and -inf
            where some true class had none.
        log_score_se: in nats; NaN where `log_score` is -inf.
        calibration_error: expected calibration error of the most probable class over ten bins of equal width: the mean
            distance of confidence and accuracy, 0 to 1; lower is better, and above 0 by chance alone.
        confusion: counts of rows, a line per predicted class and a column per true class, by name.
        rows: rows of known class, which are all that is counted.
    """

    accuracy: float
    accuracy_se: float
    brier: float
    brier_se: float
    log_score: float
    log_score_se: float
    calibration_error: float
    confusion: pd.DataFrame
    rows: int


def score_classes(
    probabilities: Float[np.ndarray, "rows classes"], labels: Int[np.ndarray, " rows"], *, names: Sequence[object]
) -> Classification:
    """Score the class probabilities of held-out rows against their true classes.

    Args:
        probabilities: p(class given row); every row adds to one.
        labels: codes of the true classes, from 0; rows of unknown class, code -1, are left out.
        names: the classes' names in the order of their codes.

    Raises:
        InputError: The probabilities are none, a label is no code, no label is known, or the numbers of rows,
            labels, classes and names do not fit.

    >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]])
    >>> scores = score_classes(probabilities, np.array([0, 1, 1, -1]), names=("no", "yes"))
    >>> print(f"{scores.accuracy:.3f} {scores.brier:.3f} {scores.log_score:.3f}, {scores.confusion.values.tolist()}")
    0.667 0.540 -0.742, [[1, 1], [0, 1]]
    """
    known, codes = _known(probabilities, labels)
    if len(names) != known.shape[1]:
        raise InputError(f"names: expected one for each of {known.shape[1]} classes, got {len(names)}")
    predicted = known.argmax(axis=1)
    scores = _row_scores(known, codes)
    with np.errstate(invalid="ignore"):
        errors = scores.sem().add_suffix("_se")
    confidence = _binned(known.max(axis=1), predicted == codes, BINS)
    return Classification(
        **scores.mean().to_dict(),
        **errors.to_dict(),
        calibration_error=_distance(confidence),
        confusion=_confusion(predicted, codes, names),
        rows=len(codes),
    )


def calibration_table(
    probabilities: Float[np.ndarray, "rows classes"], labels: Int[np.ndarray, " rows"], *, bins: int = BINS
) -> pd.DataFrame:
    """Set predicted class probabilities beside how often the class was the true one, bin by bin.

    Every pair of a row and a class counts once: the class is predicted with p and is true or not. The pairs of a
    row exclude one another, so that the interval is on the wide side where several of them share a bin.

    Args:
        probabilities: p(class given row); every row adds to one.
        labels: codes of the true classes, from 0; rows of unknown class, code -1, are left out.
        bins: bins of equal width between 0 and 1, each with its upper edge and without its lower one.

    Returns:
        A line per bin that is not empty, with the columns `low` and `high` (the bin's edges), `pairs`, `predicted`
        (their mean probability), `observed` (share that is true), `observed_low` and `observed_high` (its 90 %
        interval by Clopper and Pearson).

    Raises:
        InputError: The probabilities are none, a label is no code, no label is known, the numbers of rows and
            labels differ, or there is no bin.

    >>> table = calibration_table(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]), bins=2)
    >>> print(table[["low", "high", "pairs", "predicted", "observed"]].round(2).values.tolist())
    [[0.0, 0.5, 2.0, 0.15, 0.5], [0.5, 1.0, 2.0, 0.85, 0.5]]
    """
    at_least_one(bins=bins)
    known, codes = _known(probabilities, labels)
    table = _binned(known.ravel(), _one_hot(known, codes).ravel(), bins)
    true = (table["observed"] * table["pairs"]).round()
    low, high = _clopper_pearson(true.to_numpy(), table["pairs"].to_numpy())
    return table.assign(observed_low=low, observed_high=high)


def _row_scores(probabilities: Float[np.ndarray, "rows classes"], codes: Int[np.ndarray, " rows"]) -> pd.DataFrame:
    with np.errstate(divide="ignore"):
        log_score = np.log(probabilities[np.arange(len(codes)), codes])
    return pd.DataFrame(
        {
            "accuracy": (probabilities.argmax(axis=1) == codes).astype(np.float64),
            "brier": ((probabilities - _one_hot(probabilities, codes)) ** 2).sum(axis=1),
            "log_score": log_score,
        }
    )


def _one_hot(
    probabilities: Float[np.ndarray, "rows classes"], codes: Int[np.ndarray, " rows"]
) -> Bool[np.ndarray, "rows classes"]:
    return np.arange(probabilities.shape[1]) == codes[:, None]


def _confusion(
    predicted: Int[np.ndarray, " rows"], true: Int[np.ndarray, " rows"], names: Sequence[object]
) -> pd.DataFrame:
    classes = len(names)
    counts = np.bincount(predicted * classes + true, minlength=classes**2).reshape(classes, classes)
    return pd.DataFrame(
        counts, index=pd.Index(list(names), name="predicted"), columns=pd.Index(list(names), name="true")
    )


def _binned(predicted: Float[np.ndarray, " pairs"], true: Bool[np.ndarray, " pairs"], bins: int) -> pd.DataFrame:
    edges = np.linspace(0.0, 1.0, bins + 1)
    at = np.searchsorted(edges[1:-1], predicted)
    pairs, probability, happened = (np.bincount(at, weights=what, minlength=bins) for what in (None, predicted, true))
    filled = pairs > 0
    pairs = pairs[filled]
    return pd.DataFrame(
        {
            "low": edges[:-1][filled],
            "high": edges[1:][filled],
            "pairs": pairs,
            "predicted": probability[filled] / pairs,
            "observed": happened[filled] / pairs,
        }
    )


def _distance(table: pd.DataFrame) -> float:
    return float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["pairs"]))


def _clopper_pearson(
    true: Float[np.ndarray, " bins"], pairs: Int[np.ndarray, " bins"]
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    tail = (1 - LEVEL) / 2
    low = np.where(true > 0, stats.beta.ppf(tail, true, pairs - true + 1), 0.0)
    return low, np.where(true < pairs, stats.beta.ppf(1 - tail, true + 1, pairs - true), 1.0)


def _known(
    probabilities: Float[np.ndarray, "rows classes"], labels: Int[np.ndarray, " rows"]
) -> tuple[Float[np.ndarray, "known classes"], Int[np.ndarray, " known"]]:
    """The rows of known class, checked."""
    values, codes = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if values.ndim != 2 or codes.shape != values.shape[:1]:
        raise InputError(
            f"expected probabilities (rows, classes) and labels (rows,), got shapes {values.shape} and {codes.shape}"
        )
    _refuse_no_probabilities(values)
    wrong = np.flatnonzero(~np.isin(codes, np.arange(UNKNOWN, values.shape[1])))
    if len(wrong):
        raise InputError(
            f"labels: expected codes from {UNKNOWN} to {values.shape[1] - 1}, got {codes[wrong[0]]} at row {wrong[0]}"
        )
    known = codes != UNKNOWN
    if not known.any():
        raise InputError(f"labels: expected at least one row of known class, got none in {len(codes)} rows")
    return values[known], codes[known].astype(np.int64)


def _refuse_no_probabilities(values: Float[np.ndarray, "rows classes"]) -> None:
    wrong = np.flatnonzero(~((values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) <= ROUNDING)))
    if len(wrong):
        row = values[wrong[0]]
        raise InputError(
            f"probabilities: expected numbers from 0 that add to 1, got smallest {row.min():.6g} and sum "
            f"{row.sum():.6g} at row {wrong[0]}"
        )
