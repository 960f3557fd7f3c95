"""Tables beyond memory: read a batch at a time, checked as ``read`` checks them, the next one while this one is used.

Batches are shuffled by a pool of some of them: half of what is in it goes out at random, and as much comes in. Files
are taken in a random order as well; so a table that is sorted by something should be many files.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from ppl_models.datasets.dataset import Dataset
from ppl_models.datasets.kinds import infer_schema
from ppl_models.datasets.preparation import Preparation
from ppl_models.datasets.schema import Schema
from ppl_models.datasets.sources import Query, Source, count_rows, files_of, read_blocks
from ppl_models.datasets.table import conform, text_columns
from ppl_models.errors import InputError, at_least_one

BATCH, POOLED = 65_536, 8
Item = TypeVar("Item")


@dataclass(frozen=True)
class Stream:
    """A table that is read anew each time it is gone through.

    Attributes:
        source: where the rows come from.
        schema: what the columns are.
        batch_size: rows a batch.
        seed: the seed of the order of rows; None for the order they are read in.
        part: which rows of the source; None for all.
    """

    source: Source
    schema: Schema
    batch_size: int = BATCH
    seed: int | None = None
    part: range | None = None

    def frames(self) -> Iterator[pd.DataFrame]:
        """The raw rows in order, every cell checked, about a batch at a time.

        Raises:
            InputError: the source cannot be read, has no rows, or a cell does not fit the schema.
        """
        names, found = [column.name for column in self.schema.described], False
        for block in read_blocks(self.source, names, text_columns(self.schema), self.batch_size, self.part):
            if len(block.frame):
                found = True
                yield conform(block.frame, self.schema, source=f"{block.where}, rows from {block.first + 1} on")
        if not found:
            raise InputError(f"{_name(self.source)}: expected rows, got an empty table")

    @property
    def rows(self) -> int:
        """How many rows there are; those of other files than Parquet are read for it."""
        return count_rows(self.source, self.batch_size) if self.part is None else len(self.part)

    def batches(self, preparation: Preparation, *, epoch: int = 0) -> Iterator[Dataset]:
        """Prepared rows, a batch at a time, the next one made ready while this one is used.

        Args:
            preparation: what ``prepare`` learned from this stream, or from the one of the training rows.
            epoch: which pass this is; each has an order of its own.

        Raises:
            InputError: what ``frames`` refuses.
        """
        frames = self.frames() if self.seed is None else self._shuffled(np.random.default_rng([self.seed, epoch]))
        return _ahead(preparation(batch) for batch in _of_size(frames, self.batch_size))

    def _shuffled(self, random: np.random.Generator) -> Iterator[pd.DataFrame]:
        """The rows in a random order."""
        stream, pool = self, []
        if not isinstance(self.source, Query) and len(files := files_of(self.source)) > 1:
            stream = replace(self, source=[files[index] for index in random.permutation(len(files))])
        for frame in stream.frames():
            pool.append(frame)
            if sum(map(len, pool)) >= POOLED * self.batch_size:
                mixed = _mixed(pool, random)
                half = len(mixed) // 2
                yield mixed.iloc[:half]
                pool = [mixed.iloc[half:]]
        yield _mixed(pool, random)


def stream(
    source: Source,
    schema: Schema | None = None,
    *,
    label: str | None = None,
    batch_size: int = BATCH,
    seed: int | None = None,
) -> Stream:
    """A table that need not fit into memory.

    Args:
        source: a CSV or Parquet file, a folder of files of one of these kinds, several files, or a ``Query`` of a
            DuckDB or SQLite file.
        schema: what the columns are; None to read it off the first rows, which may not show every category.
        label: the column of the classes, where the schema is read off.
        batch_size: rows a batch.
        seed: the seed of the order of rows; None for the order they are read in.

    Raises:
        InputError: there is no such file, it is of another kind, empty, or it cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "x.csv")
    ...     pd.DataFrame({"dollars": [40.0, 50.5, 61.0]}).to_csv(path, index=False)
    ...     sum(len(frame) for frame in stream(path, batch_size=2).frames())
    3
    """
    at_least_one(batch_size=batch_size)
    if schema is None:
        schema = infer_schema(first_rows(source, batch_size), label=label)
    return Stream(source, schema, batch_size, seed)


def first_rows(source: Source, size: int = BATCH) -> pd.DataFrame:
    """The rows that a schema is read off, as the source has them.

    Args:
        source: as of ``stream``.
        size: about how many.

    Raises:
        InputError: the source cannot be read, or has no rows.
    """
    with closing(read_blocks(source, None, (), size)) as blocks:
        first = next((block.frame for block in blocks if len(block.frame)), None)
    if first is None:
        raise InputError(f"{_name(source)}: expected rows, got an empty table")
    return first


def _name(source: Source) -> str:
    """The source in a message."""
    if isinstance(source, Query):
        return str(source.database)
    return str(source) if isinstance(source, str | Path) else f"{source[0]} and {len(source) - 1} more"


def _mixed(pool: list[pd.DataFrame], random: np.random.Generator) -> pd.DataFrame:
    """All rows of some tables in a random order."""
    together = pd.concat(pool, ignore_index=True)
    return together.iloc[random.permutation(len(together))]


def _of_size(frames: Iterator[pd.DataFrame], size: int) -> Iterator[pd.DataFrame]:
    """The same rows, so many at a time; the last may be fewer."""
    rest: pd.DataFrame | None = None
    for frame in frames:
        rest = frame if rest is None else pd.concat([rest, frame], ignore_index=True)
        whole = len(rest) // size * size
        for first in range(0, whole, size):
            yield rest.iloc[first : first + size]
        rest = rest.iloc[whole:]
    if rest is not None and len(rest):
        yield rest


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made while the one before it is used."""
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = worker.submit(next, items, None)
            yield item
