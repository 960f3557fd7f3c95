"""A table as tensors: what models and guides are called with, whole or a batch at a time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ppl_models.datasets.schema import Schema
from ppl_models.errors import InputError

UNKNOWN = -1
ROWS_AT_ONCE = 2**16
BY_ROW = ("values", "observed", "labels", "weights", "log_scale", "hashes")


@dataclass(frozen=True)
class Share:
    """Which rows of a table a process has, where several share it; see ``shares.py``.

    Attributes:
        first: how many rows come before its own.
        rows: of the whole table.
    """

    first: int
    rows: int

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        raise NotImplementedError

    def gathered(self, tensor: Tensor) -> Tensor:
        """What every process brings, one after another."""
        raise NotImplementedError


@dataclass(frozen=True)
class Dataset:
    """Prepared rows.

    Attributes:
        schema: what the columns are.
        values: (rows, columns) float64; real and positive columns standardised, counts and 0/1 as they are,
            categories as codes from 0; 0 where missing.
        observed: (rows, columns) whether a cell was there.
        labels: (rows,) codes of the classes, −1 where unknown or where there is no label.
        weights: (rows,) how much a row counts in training; 1 by default.
        log_scale: (rows,) log |d prepared / d raw| over the observed cells, in nats: added to a log density of
            prepared values it gives that of the raw ones.
        loc: (columns,) what the preparation subtracted; 0 for discrete columns.
        scale: (columns,) what it divided by; for counts the training mean, a unit that is not divided by.
        hashes: (rows,) a hash of each raw row's feature cells.
        share: where these are the rows of one of several processes, which of all rows they are.
        index: what the table called its rows; None where they are numbered from 0, as after a choice by a tensor.
    """

    schema: Schema
    values: Float[Tensor, "rows columns"]
    observed: Bool[Tensor, "rows columns"]
    labels: Int[Tensor, " rows"]
    weights: Float[Tensor, " rows"]
    log_scale: Float[Tensor, " rows"]
    loc: Float[Tensor, " columns"]
    scale: Float[Tensor, " columns"]
    hashes: Int[Tensor, " rows"]
    share: Share | None = None
    index: pd.Index | None = None

    def __len__(self) -> int:
        return self.values.shape[0]

    def __getitem__(self, rows: Tensor | slice) -> "Dataset":
        part = {name: getattr(self, name)[rows] for name in BY_ROW if name != "observed"}
        part["index"] = self.index[rows] if self.index is not None and isinstance(rows, slice) else None
        if not self.complete:
            return replace(self, observed=self.observed[rows], **part, share=None)
        found = replace(self, observed=self.observed[:1].expand(len(part["values"]), -1), **part, share=None)
        vars(found)["complete"] = True  # told, since to look through the cells of every batch takes time
        return found

    @property
    def names(self) -> pd.Index:
        """What the rows of a table about these rows are called."""
        return pd.RangeIndex(len(self)) if self.index is None else self.index

    @property
    def checksum(self) -> str:
        """The sha256 of the columns' names and the raw rows, their order included; the label is left out."""
        return self.digest("hashes").hexdigest()

    def digest(self, *fields: str) -> "hashlib._Hash":
        """The sha256 of the columns' names and of some fields of all rows."""
        digest = hashlib.sha256("\x1f".join(self.schema.names).encode())
        for name in fields:
            for part in chunks_of(self, ROWS_AT_ONCE):
                digest.update(getattr(part, name).cpu().numpy().tobytes())
        return digest

    @property
    def rows_before(self) -> int:
        """How many rows of other processes come before these."""
        return 0 if self.share is None else self.share.first

    @property
    def all_rows(self) -> int:
        """How many rows there are, those of other processes included."""
        return len(self) if self.share is None else self.share.rows

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over all processes of what these rows come to."""
        return tensor if self.share is None else self.share.summed(tensor)

    def sum_of(self, of: Callable[["Dataset"], Tensor]) -> Tensor:
        """The sum over all rows, those of other processes included.

        Args:
            of: what some of the rows, in memory, come to.
        """
        return self.summed(sum((of(part) for part in chunks_of(self, ROWS_AT_ONCE)), start=of(self[:0])))

    def require_whole(self, what: str) -> None:
        """Refuse the rows of one of several processes.

        Args:
            what: what needs all rows.

        Raises:
            InputError: there are rows in other processes.
        """
        if self.share is not None:
            raise InputError(
                f"{what}: expected a table that one process has whole, got {len(self)} of {self.all_rows} rows"
            )

    @property
    def total_weight(self) -> float:
        """The sum of all rows' weights: what "per row" divides by."""
        return float(self.summed(self.weights.sum()))

    @cached_property
    def known_labels(self) -> int:
        """How many rows' class is known, those of other processes included."""
        return int(self.sum_of(lambda part: (part.labels != UNKNOWN).sum()))

    @cached_property
    def total_log_scale(self) -> float:
        """Σ weight · log |d prepared / d raw|, nats: what the ELBO of raw rows is more than that of prepared ones."""
        return float(self.sum_of(lambda part: (part.weights * part.log_scale).sum()))

    @cached_property
    def complete(self) -> bool:
        """Whether no cell is missing."""
        return bool(self.observed.all())

    def gathered(self, parts: Iterable[Float[Tensor, " _"]]) -> Float[np.ndarray, " rows"]:
        """Numbers of all rows, which come a part of the rows at a time, where the rows themselves are."""
        return torch.cat(list(parts)).cpu().numpy()

    def to(self, device: torch.device | str) -> "Dataset":
        """The same rows on another device."""
        return replace(
            self, **{name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        )

    def cast(self, dtype: torch.dtype) -> "Dataset":
        """The same rows with the values in another precision, for networks that compute in it."""
        return replace(self, values=self.values.to(dtype))

    def only(self, names: Sequence[str]) -> "Dataset":
        """The same rows with every cell of the other columns missing.

        Args:
            names: the columns whose cells are kept.

        Raises:
            InputError: there is no such column.
        """
        unknown = [name for name in names if name not in self.schema.names]
        if unknown:
            raise InputError(f"columns: no column {unknown[0]!r}; the columns are {', '.join(self.schema.names)}")
        kept = torch.tensor([name in names for name in self.schema.names], device=self.values.device)
        observed = self.observed & kept
        values = torch.where(observed, self.values, 0.0)
        return replace(self, values=values, observed=observed, log_scale=self.log_slopes.where(observed, 0.0).sum(-1))

    @property
    def log_slopes(self) -> Float[Tensor, "rows columns"]:
        """log |d prepared / d raw| of each cell, nats; 0 for discrete columns."""
        kinds = self.schema.kinds.values()
        positive = torch.tensor([kind == "positive" for kind in kinds], device=self.values.device)
        discrete = torch.tensor(self.schema.discrete, device=self.values.device)
        logs = torch.where(positive, self.values * self.scale + self.loc, 0.0)
        return torch.where(discrete, 0.0, -self.scale.log() - logs)

    def weighted(self, weights: Float[Tensor, " rows"]) -> "Dataset":
        """The same rows with other weights."""
        return replace(self, weights=weights.to(self.weights))


def chunks_of(data: Dataset, size: int) -> Iterator[Dataset]:
    """The rows in order, so many at a time, so that memory stays bounded."""
    for start in range(0, len(data), max(size, 1)):
        yield data[start : start + max(size, 1)]


def pieces_of(data: Dataset, size: int, chosen: Int[Tensor, " pieces"]) -> Dataset:
    """Some of the pieces that ``chunks_of`` cuts the rows in, joined in order."""
    return joined([data[size * piece : size * (piece + 1)] for piece in chosen.sort().values.tolist()])


def joined(parts: Sequence[Dataset]) -> Dataset:
    """The rows of all parts, one after another."""
    return replace(
        parts[0],
        share=None,
        index=None,
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in BY_ROW},
    )


def some_of(data: Dataset, most: int, *, seed: int) -> Dataset:
    """So many of all rows at most, chosen at random, in order; the same rows in each of several processes."""
    if data.all_rows <= most and data.share is None:
        return data
    number = min(most, data.all_rows)
    chosen = np.sort(np.random.default_rng(seed).choice(data.all_rows, number, replace=False, shuffle=False))
    mine = chosen[(chosen >= data.rows_before) & (chosen < data.rows_before + len(data))] - data.rows_before
    part = data[torch.from_numpy(mine).to(data.labels.device)]
    if data.share is None:
        return part
    return replace(part, **{name: data.share.gathered(getattr(part, name)) for name in BY_ROW})
