"""Numbers of more rows than memory should hold: gone through a piece at a time, from disk where they are on disk."""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

ROWS = 2**20


def pieces(values: Float[np.ndarray, " rows"]) -> Iterator[Float[np.ndarray, " _"]]:
    """The numbers in order, so many at a time; memory is let go of once a piece has been used."""
    for first in range(0, len(values), ROWS):
        yield values[first : first + ROWS]
        if isinstance(values, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            values._mmap.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Moments:
    """Of the numbers of all rows.

    Attributes:
        rows: how many.
        mean: of them.
        deviation: their standard deviation, with rows − 1; NaN for a single row.
        skewness: their third central moment over the cube of that; 0 where all are alike.
    """

    rows: int
    mean: float
    deviation: float
    skewness: float

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN for a single row."""
        return self.deviation / self.rows**0.5


def mean(values: Float[np.ndarray, " rows"]) -> float:
    """The mean of all rows."""
    return float(sum(part.sum() for part in pieces(values)) / len(values))


def standard_error(values: Float[np.ndarray, " rows"]) -> float:
    """The standard error of the mean of all rows; NaN for a single one."""
    return moments([values]).standard_error


def moments(terms: Sequence[Float[np.ndarray, " rows"]]) -> Moments:
    """The moments of the first numbers, or of those less the second ones, row by row."""
    rows = len(terms[0])
    centre = sum(part.sum() for part in _differences(terms)) / rows
    squares = cubes = 0.0
    for part in _differences(terms):
        away = part - centre
        squares, cubes = squares + (away**2).sum(), cubes + (away**3).sum()
    deviation = float(np.sqrt(squares / (rows - 1))) if rows > 1 else float("nan")
    return Moments(rows, float(centre), deviation, float(cubes / rows / deviation**3) if deviation > 0 else 0.0)


def some(terms: Sequence[Float[np.ndarray, " rows"]]) -> Float[np.ndarray, " some"]:
    """The same numbers as of ``moments``: all of them, or of more than a million rows evenly spaced ones."""
    step = -(-len(terms[0]) // ROWS)
    return np.concatenate([part[::step] for part in _differences(terms)])


def _differences(terms: Sequence[Float[np.ndarray, " rows"]]) -> Iterator[Float[np.ndarray, " _"]]:
    for first, *others in zip(*map(pieces, terms), strict=True):
        yield first - others[0] if others else first
