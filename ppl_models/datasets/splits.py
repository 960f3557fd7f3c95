"""Rows for training, for validation and for testing, set apart before anything is learned."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ppl_models.errors import InputError


@dataclass(frozen=True)
class Split:
    """Three parts of one table; no row is in two of them."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame


def split(
    frame: pd.DataFrame, *, seed: int, validation: float = 0.15, test: float = 0.25, stratify: str | None = None
) -> Split:
    """Divide a table's rows at random.

    Args:
        frame: the table, rows by columns.
        seed: the seed of the draw.
        validation: share of the rows for validation, from 0 to 1.
        test: share of the rows for testing, from 0 to 1.
        stratify: a column whose values keep their shares in each part, missing ones counted as a value.

    Raises:
        InputError: the shares leave no row for a part that was asked for, or the column is unknown.

    >>> parts = split(pd.DataFrame({"x": range(100)}), seed=0)
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (60, 15, 25)
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise InputError(f"split: expected shares that sum below 1, got validation={validation}, test={test}")
    if stratify is not None and stratify not in frame.columns:
        raise InputError(f"split: no column {stratify!r}; the columns are {', '.join(map(str, frame.columns))}")
    order = np.random.default_rng(seed).permutation(len(frame))
    if stratify is not None:
        order = _interleave(order, frame[stratify])
    held_out, checked = round(len(frame) * test), round(len(frame) * validation)
    if len(frame) - held_out - checked < 2 or (test and not held_out) or (validation and not checked):
        raise InputError(
            f"split: {len(frame)} rows are too few for shares validation={validation}, test={test}; "
            "two training rows and one row of each other part are needed"
        )
    parts = np.split(order, [held_out, held_out + checked])
    part_test, part_validation, part_train = (frame.iloc[np.sort(part)] for part in parts)
    return Split(part_train, part_validation, part_test)


def _interleave(order: np.ndarray, strata: pd.Series) -> np.ndarray:
    """An order in which every stretch holds each stratum in its share: rows sorted by rank within stratum."""
    codes = pd.factorize(strata.iloc[order], use_na_sentinel=False)[0]
    ranks = pd.Series(codes).groupby(codes).cumcount().to_numpy()
    sizes = np.bincount(codes)
    return order[np.argsort((ranks + 0.5) / sizes[codes], kind="stable")]
