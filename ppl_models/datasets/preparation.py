"""The map from raw cells to prepared numbers, learned from training rows alone, with its Jacobian."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ppl_models.datasets.dataset import UNKNOWN, Dataset
from ppl_models.datasets.kinds import infer_schema
from ppl_models.datasets.moments import Moments
from ppl_models.datasets.schema import Column, Schema
from ppl_models.datasets.splits import Split, split
from ppl_models.datasets.stored import store
from ppl_models.datasets.table import conform
from ppl_models.errors import InputError

COLUMNS_AT_A_TIME = 16  # as many lines of memory stay in the processor's cache


@dataclass(frozen=True)
class Preparation:
    """A column-wise map: (x − loc) / scale for real columns, (log x − loc) / scale for positive ones.

    Discrete columns keep their values; the ``scale`` of a count column is its training mean, which priors and
    decoders take as their unit.

    Attributes:
        schema: what the columns are.
        loc: (columns,) float64.
        scale: (columns,) float64, above zero.
    """

    schema: Schema
    loc: Float[Tensor, " columns"]
    scale: Float[Tensor, " columns"]

    def __call__(self, frame: "pd.DataFrame | Frames", *, weights: np.ndarray | None = None) -> Dataset:
        """Prepare a table.

        Args:
            frame: raw rows that hold the schema's columns; the label may be absent. Or a stream, which is gone through
                once and put on disk as it is prepared, for any number of passes in bounded memory.
            weights: (rows,) how much each row counts in training; 1 by default. Not for a stream.

        Raises:
            InputError: a cell does not fit the schema, or a weight is negative or not finite.
        """
        if not isinstance(frame, pd.DataFrame):
            _refuse_weights(weights)
            return store(self(part) for part in frame.frames())
        frame = conform(frame, self.schema)
        raw = _raw_values(frame, self.schema)
        observed = ~torch.isnan(raw)
        values, log_scale = self._standardise(raw, observed)
        return Dataset(
            schema=self.schema,
            values=values.masked_fill_(~observed, 0.0),
            observed=observed,
            labels=_labels(frame, self.schema),
            weights=weights_of(weights, len(frame)),
            log_scale=log_scale,
            loc=self.loc,
            scale=self.scale,
            hashes=_hashes(frame[list(self.schema.names)]),
            index=_index(frame),
        )

    def _standardise(
        self, raw: Float[Tensor, "rows columns"], observed: Bool[Tensor, "rows columns"]
    ) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, " rows"]]:
        """Prepared values, and each row's log slope; a wide table of discrete columns is left as it is."""
        positive, continuous = self._columns("positive"), self._columns("real", "positive")
        if not continuous.any():
            return raw, torch.zeros(len(raw), dtype=torch.float64)
        logs = torch.where(observed & positive, raw, 1.0).log() if positive.any() else torch.zeros(())
        standard = (torch.where(positive, logs, raw) - self.loc).div_(self.scale)
        slope = torch.where(observed & continuous, -self.scale.log() - logs, 0.0)
        return torch.where(continuous, standard, raw), slope.sum(-1)

    def invert(self, values: Float[Tensor, "rows columns"], index: pd.Index | None = None) -> pd.DataFrame:
        """Prepared values as a table in the raw kinds and units, its rows called by this index or numbered from 0."""
        found = pd.DataFrame(
            {
                column.name: _raw(
                    values[:, index].detach().cpu().numpy(), column, float(self.loc[index]), float(self.scale[index])
                )
                for index, column in enumerate(self.schema.columns)
            }
        )
        return found if index is None else found.set_axis(index)

    def _columns(self, *kinds: str) -> Tensor:
        return torch.tensor([column.kind in kinds for column in self.schema.columns])


@runtime_checkable
class Frames(Protocol):
    """A table that is gone through a block at a time, such as a ``Stream``."""

    schema: Schema

    def frames(self) -> Iterator[pd.DataFrame]:
        """Blocks of rows, every cell checked."""


def prepare(
    train: pd.DataFrame | Frames, schema: Schema | None = None, *, weights: np.ndarray | None = None
) -> Preparation:
    """Learn the preparation from training rows.

    Args:
        train: raw training rows, two at least; or a stream, which is gone through once.
        schema: what the columns are; inferred from the rows if None, and a stream's own.
        weights: (rows,) how many rows each row stands for, as in training; 1 by default. Not for a stream.

    Raises:
        InputError: too few rows, a cell that does not fit, a column that is empty, or a continuous one that
            is constant (other than a pixel) or too large to square; or a weight is negative or not finite.

    >>> preparation = prepare(pd.DataFrame({"dollars": [40.0, 50.5, 61.0]}))
    >>> round(float(preparation.loc), 2), round(float(preparation.scale), 2)
    (50.5, 8.57)
    """
    if isinstance(train, pd.DataFrame):
        schema = infer_schema(train) if schema is None else schema
        blocks: Iterable[pd.DataFrame] = [conform(train, schema)]
        counts = None if weights is None else weights_of(weights, len(train)).numpy()
    else:
        _refuse_weights(weights)
        schema, blocks, counts = train.schema, train.frames(), None
    found, rows = [Moments(column) for column in schema.columns], 0.0
    for frame in blocks:
        rows += len(frame) if counts is None else counts.sum()
        for moments in found:
            moments.add(frame[moments.column.name], counts)
    if rows < 2 and (counts is None or (counts > 0).sum() < 2):
        raise InputError(f"table: expected two or more training rows, got {rows:g}")
    block = {"image": schema.image_shape is not None, "sequence": schema.sequence}
    units = torch.tensor([moments.unit(rows, **block) for moments in found], dtype=torch.float64)
    return Preparation(schema, units[:, 0], units[:, 1])


def _index(frame: pd.DataFrame) -> pd.Index | None:
    """What a table calls its rows; None where that is their number from 0."""
    plain = frame.index.name is None and frame.index.equals(pd.RangeIndex(len(frame)))
    return None if plain else frame.index


def _raw_values(frame: pd.DataFrame, schema: Schema) -> Float[Tensor, "rows columns"]:
    """The cells as numbers, NaN where missing; a few columns at a time, since whole rows lie far apart in a frame."""
    values = np.empty((len(frame), len(schema.columns)))
    for start in range(0, len(schema.columns), COLUMNS_AT_A_TIME):
        columns = schema.columns[start : start + COLUMNS_AT_A_TIME]
        values[:, start : start + len(columns)] = np.column_stack([_codes(frame[each.name], each) for each in columns])
    return torch.from_numpy(values)


def _codes(series: pd.Series, column: Column) -> np.ndarray:
    """Numbers for one column's cells, NaN where missing."""
    if column.kind != "categorical":
        return series.to_numpy(dtype=float)
    codes = series.cat.codes.to_numpy().astype(float)
    return np.where(codes < 0, np.nan, codes)


def _labels(frame: pd.DataFrame, schema: Schema) -> Int[Tensor, " rows"]:
    """Codes of the classes, UNKNOWN where there is none."""
    if schema.label is None or schema.label.name not in frame:
        return torch.full((len(frame),), UNKNOWN)
    return torch.tensor(frame[schema.label.name].cat.codes.to_numpy().astype(np.int64))


def weights_of(weights: np.ndarray | None, rows: int) -> Float[Tensor, " rows"]:
    """How many rows each row stands for, checked.

    Args:
        weights: (rows,) numbers from 0; None for 1 each.
        rows: how many there are.

    Raises:
        InputError: another number of weights, one that is negative or not finite, or none above 0.
    """
    if weights is None:
        return torch.ones(rows, dtype=torch.float64)
    tensor = torch.tensor(np.asarray(weights, dtype=float))
    if tensor.shape != (rows,) or not bool((tensor >= 0).all()) or not 0 < float(tensor.sum()) < float("inf"):
        raise InputError(
            f"weights: expected {rows} finite numbers from 0, not all zero, got shape {tuple(tensor.shape)}"
            f" with smallest {min(tensor.flatten().tolist(), default=math.nan):g} and sum {float(tensor.sum()):g}"
        )
    return tensor


def _refuse_weights(weights: np.ndarray | None) -> None:
    if weights is not None:
        raise InputError("weights: expected none for a stream, whose rows all count alike")


def _raw(values: np.ndarray, column: Column, loc: float, scale: float) -> pd.Series | pd.Categorical | np.ndarray:
    """One column's prepared values in its own kind and unit."""
    if column.kind == "categorical":
        return column.from_codes(values.astype(int))
    if column.kind in ("count", "binary"):
        return values.astype(bool if column.boolean else np.int64)
    straight = values * scale + loc
    return np.exp(straight) if column.kind == "positive" else straight


def _hashes(frame: pd.DataFrame) -> Int[Tensor, " rows"]:
    """A hash of each row's cells; the 64 bits are read as signed, since torch does little with unsigned ones."""
    return torch.tensor(pd.util.hash_pandas_object(frame, index=False).to_numpy().view(np.int64))


@dataclass(frozen=True)
class Prepared:
    """A table's three parts, raw and prepared, and the preparation learned from the first.

    Attributes:
        frames: the raw rows of each part.
        preparation: learned from the training rows.
        train: prepared training rows.
        validation: prepared validation rows.
        test: prepared test rows.
    """

    frames: Split
    preparation: Preparation
    train: Dataset
    validation: Dataset
    test: Dataset


def prepare_split(
    frame: pd.DataFrame, schema: Schema | None = None, *, seed: int, stratify: str | None = None
) -> Prepared:
    """Split a table, learn the preparation from its training rows, and prepare all three parts.

    Args:
        frame: the table, rows by columns.
        schema: what the columns are; inferred from the whole table if None.
        seed: the seed of the split.
        stratify: a column whose values keep their shares in each part.

    Raises:
        InputError: what ``split``, ``prepare`` and the preparation refuse.

    >>> from ppl_models import load
    >>> len(prepare_split(load("iris").frame, load("iris").schema, seed=0).test)
    38
    """
    schema = infer_schema(frame) if schema is None else schema
    frames = split(conform(frame, schema), seed=seed, stratify=stratify)
    preparation = prepare(frames.train, schema)
    train, validation, test = (preparation(part) for part in (frames.train, frames.validation, frames.test))
    return Prepared(frames, preparation, train, validation, test)
