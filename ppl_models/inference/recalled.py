"""Statistics of rows that are too many for all of them to be held: worked out anew, a part at a time, in each pass."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.datasets.dataset import UNKNOWN, pieces_of
from ppl_models.families import ClassProduct, Features

PIECE = 256  # rows that stay together where the order is random


@dataclass(frozen=True)
class Recalled:
    """Rows of open class, as far as a pass asks ``Features`` for them.

    Attributes:
        family: the conjugate family that has adopted the rows.
        train: all rows.
        size: rows in a part.
        rows: how many are of open class.
        precision: of the statistics.
        order: of pieces of the rows, for batches; None where they come one after another.
    """

    family: ClassProduct
    train: Dataset
    size: int
    rows: int
    precision: torch.dtype = torch.float64
    order: Int[Tensor, " pieces"] | None = None

    def __len__(self) -> int:
        return self.rows

    def parts(self) -> Iterator[Features]:
        """All rows in order, a part at a time."""
        for part in chunks_of(self.train, self.size):
            yield self._open(part)

    def __getitem__(self, batch: slice) -> Features:
        """A batch of the rows in their random order, to whole pieces of them; bounds are shares of ``len``.

        Where none of its rows is of open class, it grows until one is.
        """
        first, last = (bound * len(self.order) // self.rows for bound in (batch.start, batch.stop))
        while not len(found := self._open(pieces_of(self.train, PIECE, self.order[first : max(last, first + 1)]))):
            first, last = max(2 * first - last - 1, 0), 2 * last - first + 1
        return found

    def shuffled(self, *, seed: int) -> "Recalled":
        """The same rows in pieces whose order is random."""
        number = -(-len(self.train) // PIECE)
        return replace(self, order=torch.randperm(number, generator=torch.Generator().manual_seed(seed)))

    def cast(self, precision: torch.dtype) -> "Recalled":
        """The same rows with their statistics in another precision, where no cells are hidden."""
        return replace(self, precision=precision)

    def _open(self, part: Dataset) -> Features:
        features = self.family.features(part)
        certain = certain_rows(self.family, features)
        features = features[(~certain).nonzero()[:, 0]] if bool(certain.any()) else features
        return features if self.precision == torch.float64 or features.hidden else features.cast(self.precision)


def certain_rows(family: ClassProduct, features: Features) -> Bool[Tensor, " rows"]:
    """Which rows' class is known, or the only one, with no cell hidden."""
    certain = torch.full_like(features.labels, family.classes == 1, dtype=torch.bool) | (features.labels != UNKNOWN)
    for hidden in features.hidden.values():
        certain[hidden.rows] = False
    return certain
