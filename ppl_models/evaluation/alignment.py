"""Label switching: which component of one run is which of another, and which runs found the same optimum.

Components have no names: a mixture's density, and so its ELBO, is the same under all orders of them. Before
runs are averaged or set side by side, each is put into the order of a reference. And before restarts are said to
agree, both their ELBOs and their partitions of the rows have to: two optima can be as high by chance.

References:
    Stephens (2000), https://doi.org/10.1111/1467-9868.00265 (relabelling as an assignment problem)
    Kuhn (1955), https://doi.org/10.1002/nav.3800020109 (the Hungarian method)
    Hubert, Arabie (1985), https://doi.org/10.1007/BF01908075 (the adjusted Rand index)
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from ppl_models.errors import InputError

TOLERANCE = 0.01  # nats in total between members of one optimum
SAME_PARTITION = 0.99  # the adjusted Rand index from which two partitions count as one


def align(
    reference: Float[np.ndarray, "rows classes"], others: Float[np.ndarray, "runs rows classes"]
) -> Int[np.ndarray, "runs classes"]:
    """Find the order of each run's components that agrees best with a reference run.

    Of all permutations it is the one that maximises the overlap of the responsibilities, summed over rows and
    components. `np.take_along_axis(others, permutation[:, None], axis=2)` is the runs in the order of the reference.

    Args:
        reference: responsibilities p(component given row) of the reference run.
        others: responsibilities of the runs to be aligned, of the same rows.

    Returns:
        `permutation[r, k]`: the component of run r that matches component k of the reference.

    Raises:
        InputError: The runs have other rows or another number of components than the reference, or a
            responsibility is not finite.

    >>> reference = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.1, 0.9]])
    >>> print(align(reference, reference[None, :, [2, 0, 1]]))
    [[1 2 0]]
    """
    if others.ndim != 3 or others.shape[1:] != reference.shape:
        raise InputError(
            f"others: expected shape (runs, rows, classes) with the reference's {reference.shape}, got {others.shape}"
        )
    _refuse_infinite(reference[None], np.array([True]), "reference")
    _refuse_infinite(others, np.full(len(others), True), "others")
    overlap = reference.T @ others
    found = [linear_sum_assignment(matrix, maximize=True)[1] for matrix in overlap]
    return np.array(found, dtype=np.int64).reshape(len(others), reference.shape[1])


def restart_report(
    elbos: Float[np.ndarray, " restarts"],
    responsibilities: Float[np.ndarray, "restarts rows classes"],
    *,
    rows_weight: float | int,
    tolerance: float = TOLERANCE,
) -> pd.DataFrame:
    """Sort restarts into the distinct optima that they ended in, best first.

    A restart belongs to the first optimum whose best member is ahead of it by less than the tolerance and parts the
    rows as it does (adjusted Rand index of at least 0.99); where there is none, it is an optimum of its own.

    Args:
        elbos: final ELBO of each restart, nats per row, higher is better; restarts whose ELBO is not finite are
            dropped. In double precision: the tolerance is a small difference of large totals.
        responsibilities: p(component given row) of each restart, of the same rows; each row is assigned to its
            most probable component.
        rows_weight: total weight of the rows that `elbos` are means over.
        tolerance: nats in total, not per row.

    Returns:
        A line per optimum with the columns `optimum` (1, 2, …), `restarts` (how many ended there), `elbo` (the
        best member's, nats per row), `nats_below` (the best optimum, in total), `adjusted_rand` (of its partition
        with the best optimum's; 1 for the same) and `components_used` (with any row assigned). `attrs["failed"]`
        counts the restarts that were dropped.

    Raises:
        InputError: Numbers of restarts differ, no ELBO is finite, a responsibility of a restart whose ELBO is
            finite is not, or the weight or the tolerance is not above zero.

    >>> halves = np.eye(2)[[0, 0, 1, 1]]
    >>> runs = np.stack([halves, halves[:, ::-1], halves[[0, 2, 0, 2]], halves])
    >>> report = restart_report(np.array([-1.0, -1.0, -1.5, np.nan]), runs, rows_weight=4)
    >>> print(report[["restarts", "elbo", "nats_below", "adjusted_rand"]].values.tolist(), report.attrs)
    [[2.0, -1.0, 0.0, 1.0], [1.0, -1.5, 2.0, -0.5]] {'failed': 1}
    """
    finished = np.isfinite(elbos)
    _refuse_bad_restarts(finished, responsibilities, rows_weight=rows_weight, tolerance=tolerance)
    order = np.flatnonzero(finished)[np.argsort(-elbos[finished], kind="stable")]
    totals = elbos[order].astype(np.float64) * rows_weight
    partitions = responsibilities.argmax(axis=2)[order]
    best, restarts = np.unique(_optima(totals, partitions, tolerance), return_counts=True)
    report = pd.DataFrame(
        {
            "optimum": np.arange(1, len(best) + 1),
            "restarts": restarts,
            "elbo": elbos[order][best],
            "nats_below": totals[0] - totals[best],
            "adjusted_rand": [float(adjusted_rand_score(partitions[0], partitions[run])) for run in best],
            "components_used": [len(np.unique(partitions[run])) for run in best],
        }
    )
    report.attrs["failed"] = int((~finished).sum())
    return report


def _optima(
    totals: Float[np.ndarray, " restarts"], partitions: Int[np.ndarray, "restarts rows"], tolerance: float
) -> Int[np.ndarray, " restarts"]:
    """For each restart, best first, the best member of its optimum."""
    found: list[int] = []
    for run, total in enumerate(totals):
        level = [best for best in dict.fromkeys(found) if totals[best] - total < tolerance]
        alike = (best for best in level if adjusted_rand_score(partitions[best], partitions[run]) >= SAME_PARTITION)
        found.append(next(alike, run))
    return np.array(found)


def _refuse_bad_restarts(
    finished: Bool[np.ndarray, " _"],
    responsibilities: Float[np.ndarray, "_ _ _"],
    *,
    rows_weight: float | int,
    tolerance: float,
) -> None:
    if responsibilities.ndim != 3 or finished.shape != responsibilities.shape[:1]:
        raise InputError(
            "expected elbos (restarts,) and responsibilities (restarts, rows, classes), got shapes "
            f"{finished.shape} and {responsibilities.shape}"
        )
    if not finished.any():
        raise InputError(f"elbos: expected at least one finite ELBO, got none in {len(finished)} restarts")
    for name, value in (("rows_weight", rows_weight), ("tolerance", tolerance)):
        if not value > 0:
            raise InputError(f"{name}: expected a number above 0, got {value}")
    _refuse_infinite(responsibilities, finished, "responsibilities")


def _refuse_infinite(runs: Float[np.ndarray, "_ _ _"], kept: Bool[np.ndarray, " _"], name: str) -> None:
    wrong = np.argwhere(~np.isfinite(runs) & kept[:, None, None])
    if len(wrong):
        run, row, _ = wrong[0]
        raise InputError(
            f"{name}: expected finite responsibilities, got {runs[tuple(wrong[0])]} in run {run}, row {row}"
        )
