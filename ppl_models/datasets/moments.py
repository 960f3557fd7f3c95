"""What a column's cells are on average, and how far apart: learned block by block, each row by its weight."""

import math

import numpy as np
import pandas as pd
from jaxtyping import Float

from ppl_models.datasets.schema import Column
from ppl_models.errors import InputError


class Moments:
    """The mean and variance of one column's cells, merged block by block.

    The merging is Chan, Golub and LeVeque's (1983, https://doi.org/10.1080/00031305.1983.10483115).

    Args:
        column: which column, and of what kind.
    """

    def __init__(self, column: Column) -> None:
        self.column, self.counted = column, column.kind in ("binary", "categorical")
        self.count, self.mean, self.variance, self.largest, self.first = 0.0, 0.0, 0.0, 0.0, math.nan

    def add(self, series: pd.Series, weights: Float[np.ndarray, " rows"] | None = None) -> None:
        """Take some cells in.

        Args:
            series: the cells, checked.
            weights: how many rows each row stands for; a row of none tells nothing.
        """
        observed = series.notna().to_numpy()
        if weights is not None:
            observed = observed & (weights > 0)
            weights = weights[observed]
        count = float(observed.sum() if weights is None else weights.sum())
        if not count or self.counted:
            self.count += count
            return
        cells = series[observed]
        values = np.log(cells) if self.column.kind == "positive" else cells
        with np.errstate(over="ignore", invalid="ignore"):
            mean, variance = _mean_and_variance(values, weights)
            if self.count:
                share, apart = count / (self.count + count), mean - self.mean
                mean = self.mean + share * apart
                variance = (1 - share) * self.variance + share * variance + share * (1 - share) * apart * apart
            else:
                self.first = cells.iloc[0]
        self.count, self.mean, self.variance = self.count + count, mean, variance
        self.largest = max(self.largest, float(cells.abs().max()))

    def unit(self, rows: float, *, image: bool, sequence: bool = False) -> tuple[float, float]:
        """What to subtract and what to divide by.

        Args:
            rows: what all rows weigh together.
            image: whether the column is a pixel, which may be constant.
            sequence: whether it is a step of a sequence, which no row may have.

        Raises:
            InputError: no cell, squares that are not finite, or a continuous column that is constant.
        """
        column = self.column
        if not self.count and not sequence:
            raise InputError(f"column {column.name!r}: expected values, every training cell is missing")
        if self.counted:
            return 0.0, 1.0
        loc, scale = self.mean, math.sqrt(self.variance) if self.variance >= 0 else math.nan
        if not (math.isfinite(loc) and math.isfinite(scale)):
            raise InputError(
                f"column {column.name!r}: expected values whose squares are finite, "
                f"got {self.largest} in the training rows; use a larger unit"
            )
        if column.kind == "count":
            return 0.0, max(loc, 1.0 / rows)
        constant = not scale > 1e-12 * max(abs(loc), 1e-300)
        if constant and image and column.kind == "real":
            return loc, 1.0  # a margin; families whose density of it would have no bound refuse it themselves
        if constant:
            raise InputError(
                f"column {column.name!r}: is constant ({self.first}) in the training rows; "
                "a density needs values that differ, so drop it"
            )
        return loc, scale


def _mean_and_variance(values: pd.Series, weights: Float[np.ndarray, " cells"] | None) -> tuple[float, float]:
    """Of observed cells."""
    if weights is None:
        return float(values.mean()), float(values.var(ddof=0))
    numbers, share = values.to_numpy(), weights / weights.sum()
    mean = float(share @ numbers)
    return mean, float(share @ (numbers - mean) ** 2)
