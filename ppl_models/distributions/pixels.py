"""A decoder's last layers for pixels, and the checks that columns are pixels.

They are ``heads.py``'s for images: a head is called with the hidden layer, (..., width), for a distribution over (...,
D) prepared cells; one whose ``shifts`` is not 0 is also given a shift from 0 to 1 for each column.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema, chunks_of
from ppl_models.datasets.dataset import ROWS_AT_ONCE
from ppl_models.distributions.continuous_bernoulli import ROUNDING, ContinuousBernoulli
from ppl_models.distributions.grey_levels import DequantisedNormal, DiscretisedLogistic
from ppl_models.errors import InputError
from ppl_models.nn import Output

SCALE_FLOOR = 0.05  # of a level: a logistic in the middle of a level leaves it with probability 9e-5
STEEPEST = 100.0  # density at an end: no column's density may grow without bound


class ContinuousBernoulliHead(nn.Module):
    """Real columns with raw values from 0 to 1: a logit each, within ±100."""

    def __init__(self, site: str, columns: tuple[int, ...], output: Output) -> None:
        super().__init__()
        self.site, self.columns = site, columns
        self.logits = output(len(columns))
        self.register_buffer("loc", torch.zeros(len(columns)))
        self.register_buffer("scale", torch.ones(len(columns)))

    def adopt(self, loc: Tensor, scale: Tensor) -> None:
        """Take from all columns' preparation what was subtracted and divided by here."""
        self.loc = loc[list(self.columns)].to(self.loc)
        self.scale = scale[list(self.columns)].to(self.scale)

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D), prepared units."""
        logits = STEEPEST * (self.logits(hidden) / STEEPEST).tanh()
        return ContinuousBernoulli(logits, loc=self.loc, scale=self.scale)


def bounded_scale(free: Float[Tensor, "*batch"], levels: int) -> Float[Tensor, "*batch"]:
    """A scale between the floor and all levels, an eighth of them at 0 and a multiple of exp(free) well below."""
    return SCALE_FLOOR + levels * (free - 2).sigmoid()


class DiscretisedLogisticHead(nn.Module):
    """Grey columns of as many levels each, location and scale both from the network."""

    def __init__(self, site: str, columns: tuple[int, ...], output: Output, levels: int) -> None:
        super().__init__()
        self.site, self.columns, self.levels = site, columns, levels
        self.loc = output(len(columns))
        self.scale = output(len(columns))

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D); −1 and 1 of the network are the end levels."""
        loc = (self.levels - 1) / 2 * (1 + self.loc(hidden))
        return DiscretisedLogistic(loc, bounded_scale(self.scale(hidden), self.levels), levels=self.levels)


class DequantisedNormalHead(nn.Module):
    """Grey columns of as many levels each: a normal density of code + shift, one scale a column.

    Attributes:
        shifts: how many shifts a row has, one a column.
    """

    def __init__(self, site: str, columns: tuple[int, ...], output: Output, levels: int) -> None:
        super().__init__()
        self.site, self.columns, self.levels, self.shifts = site, columns, levels, len(columns)
        self.loc = output(len(columns))
        self.scale = nn.Parameter(torch.zeros(len(columns)))

    def reset_parameters(self) -> None:
        """Set the scales to an eighth of the levels again."""
        nn.init.zeros_(self.scale)

    def forward(self, hidden: Tensor, shift: Tensor) -> dist.Distribution:
        """(..., width) and shifts (..., D) from 0 to 1 to a distribution over (..., D)."""
        loc = self.levels / 2 * (1 + self.loc(hidden))
        return DequantisedNormal(loc, bounded_scale(self.scale, self.levels), shift=shift, levels=self.levels)


def require_unit_interval(batch: Dataset, columns: Sequence[int]) -> None:
    """Refuse columns that the continuous Bernoulli cannot describe.

    Args:
        batch: prepared rows.
        columns: positions of the columns.

    Raises:
        InputError: a column is not a real one, or a raw value is below 0 or above 1.
    """
    for index in columns:
        column = batch.schema.columns[index]
        if column.kind != "real":
            raise InputError(
                f"column {column.name!r}: the continuous Bernoulli needs a real column, got a {column.kind} one"
            )
    before = batch.rows_before
    for part in chunks_of(batch, ROWS_AT_ONCE):
        for index in columns:
            _require_unit_interval(part, index, before)
        before += len(part)


def _require_unit_interval(part: Dataset, index: int, before: int) -> None:
    raw = part.values[:, index] * part.scale[index] + part.loc[index]
    beyond = part.observed[:, index] & ((raw - 0.5).abs() > 0.5 + ROUNDING)
    if bool(beyond.any()):
        row = int(beyond.nonzero()[0, 0])
        raise InputError(
            f"column {part.schema.names[index]!r}: the continuous Bernoulli needs values from 0 to 1, got "
            f"{float(raw[row]):g} in row {before + row + 1}; divide by the largest value there can be, or use the "
            "normal likelihood"
        )


def require_levels(schema: Schema, columns: Iterable[int]) -> None:
    """Refuse columns whose categories are no grey levels.

    Args:
        schema: what the columns are.
        columns: positions of the columns.

    Raises:
        InputError: a column's categories are not increasing numbers with equal steps.
    """
    for column in (schema.columns[index] for index in columns):
        if not _even(column.categories):
            shown = ", ".join(map(repr, column.categories[:6])) + ", ..." * (len(column.categories) > 6)
            raise InputError(
                f"column {column.name!r}: grey levels need a categorical column of increasing numbers with equal "
                f"steps, got {f'categories {shown}' if shown else f'a {column.kind} one'}; "
                "use the categorical likelihood, which needs no order"
            )


def _even(categories: Sequence[object]) -> bool:
    """Whether these are two or more finite numbers that go up by equal steps."""
    if any(isinstance(each, bool) or not isinstance(each, Real) or not math.isfinite(each) for each in categories):
        return False
    steps = np.diff(np.array(categories, dtype=float))
    return len(steps) > 0 and bool(np.ptp(steps) < 1e-6 * steps.mean())
