"""Numbers of more rows than memory should hold: gone through a piece at a time, from disk where they are on disk."""

import mmap
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

ROWS = 2**20


def pieces(values: Float[np.ndarray, " rows"]) -> Iterator[Float[np.ndarray, " _"]]:
    """The numbers in order, so many at a time; memory is let go of once a piece has been used."""
    for first in range(0, len(values), ROWS):
        yield values[first : first + ROWS]
        if isinstance(values, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            values._mmap.madvise(mmap.MADV_DONTNEED)


def mean(values: Float[np.ndarray, " rows"]) -> float:
    """The mean of all rows."""
    if len(values) <= ROWS:
        return float(np.mean(values))
    return float(sum(part.sum() for part in pieces(values)) / len(values))


def standard_error(values: Float[np.ndarray, " rows"]) -> float:
    """The standard error of the mean of all rows; NaN for a single one."""
    rows = len(values)
    if rows <= ROWS:
        return float(np.std(values, ddof=1) / np.sqrt(rows)) if rows > 1 else float("nan")
    centre = mean(values)
    return float(np.sqrt(sum(((part - centre) ** 2).sum() for part in pieces(values)) / (rows - 1) / rows))
