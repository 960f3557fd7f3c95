"""Tables on disk: prepared once, and read a part at a time as often as they are gone through.

A field of all rows is a file without a name in the folder for temporary files (TMPDIR tells another one), which is gone
with the table. What is the same in all rows, such as weights of 1, takes no room.
"""

import mmap
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets.dataset import BY_ROW, ROWS_AT_ONCE, Dataset
from ppl_models.errors import InputError

LOOKED_UP = 64  # rows here and there before memory is let go of


class Shelf:
    """One array that grows at its end, on disk as soon as two of its rows differ."""

    def __init__(self) -> None:
        self.rows, self.first, self.file = 0, None, None

    def add(self, rows: np.ndarray) -> None:
        """Put some rows at the end."""
        if self.first is None and len(rows):
            self.first = rows[:1].copy()
        if self.file is None and not (rows == self.first).all():
            self.file = tempfile.TemporaryFile()  # noqa: SIM115
            for done in range(0, self.rows, ROWS_AT_ONCE):
                number = min(ROWS_AT_ONCE, self.rows - done)
                self.file.write(np.broadcast_to(self.first, (number, *self.first.shape[1:])).tobytes())
        if self.file is not None:
            self.file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def __enter__(self) -> "Shelf":
        return self

    def __exit__(self, *failure: object) -> None:
        if self.file is not None:
            self.file.close()  # what is mapped to it stays

    def rows_added(self) -> np.ndarray:
        """All rows."""
        shape = (self.rows, *self.first.shape[1:])
        if self.file is None:
            return np.broadcast_to(self.first, shape)
        self.file.flush()
        return np.memmap(self.file, self.first.dtype, "r+", shape=shape)


def let_go(mapped: Iterable[np.memmap]) -> None:
    """Let go of the memory that holds what was read of arrays on disk; they are read again when they are asked for."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for each in mapped:
            each._mmap.madvise(mmap.MADV_DONTNEED)  # numpy has no other way to it


@dataclass(frozen=True)
class Stored(Dataset):
    """Prepared rows on disk: parts of them, which are in memory, are all that anything should ask for.

    Attributes:
        mapped: the fields that are on disk.
        precision: what values are handed out in.
    """

    mapped: dict[str, np.memmap] = field(default_factory=dict, repr=False)
    precision: torch.dtype = torch.float64

    def __getitem__(self, rows: Tensor | slice) -> Dataset:
        rows = rows.nonzero()[:, 0] if isinstance(rows, Tensor) and rows.dtype == torch.bool else rows
        part = {name: self._read(name, rows) for name in BY_ROW}
        alike = {name: getattr(self, name) for name in ("schema", "loc", "scale")}
        found = Dataset(**alike, **part | {"values": part["values"].to(self.precision)})
        if self.complete:
            vars(found)["complete"] = True
        return found

    def _read(self, name: str, rows: Tensor | slice) -> Tensor:
        """Some rows of a field; each that is looked up on its own brings its surroundings into memory."""
        array, found = getattr(self, name), []
        if name not in self.mapped:
            return array[rows]
        for some in [rows] if isinstance(rows, slice) else rows.split(LOOKED_UP):
            found.append(array[some].clone())
            let_go([self.mapped[name]])
        return torch.cat(found) if len(found) > 1 else found[0]

    @property
    def complete(self) -> bool:
        """Whether no cell is missing."""
        return "observed" not in self.mapped and bool(self.observed[:1].all())

    def to(self, device: torch.device | str) -> "Stored":
        """The same rows: they stay on disk, and there is no other device to have them on.

        Raises:
            InputError: another device than the CPU.
        """
        if torch.device(device).type != "cpu":
            raise InputError(f"device: expected 'cpu' for rows on disk, got {str(device)!r}; take parts of them")
        return self

    def cast(self, dtype: torch.dtype) -> "Stored":
        """The same rows, whose parts have the values in another precision."""
        return replace(self, precision=dtype)

    def gathered(self, parts: Iterable[Float[Tensor, " _"]]) -> Float[np.ndarray, " rows"]:
        """Numbers of all rows, which come a part of the rows at a time, on disk as the rows are."""
        with Shelf() as shelf:
            for part in parts:
                shelf.add(part.cpu().numpy())
            return shelf.rows_added()


def store(parts: Iterable[Dataset]) -> Stored:
    """Put rows on disk that come a part at a time.

    Args:
        parts: prepared rows, all by the same preparation, one at least.
    """
    with ExitStack() as stack:
        shelves = {name: stack.enter_context(Shelf()) for name in BY_ROW}
        for part in parts:
            for name, shelf in shelves.items():
                shelf.add(getattr(part, name).numpy())
        arrays = {name: shelf.rows_added() for name, shelf in shelves.items()}
    mapped = {name: array for name, array in arrays.items() if isinstance(array, np.memmap)}
    tensors = {name: torch.from_numpy(array) if name in mapped else _alike(array) for name, array in arrays.items()}
    return Stored(schema=part.schema, loc=part.loc, scale=part.scale, **tensors, mapped=mapped)


def _alike(array: np.ndarray) -> Tensor:
    """Rows that are all the same."""
    return torch.tensor(array[:1]).expand(len(array), *array.shape[1:])
