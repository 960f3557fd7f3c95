"""Tables that several processes have a share of: each has rows of its own, and sums are of all of them.

Processes are those of ``torch.distributed``, as ``torchrun`` starts them. Each has a run of the table's rows, in the
order of the ranks, so that together they are the table as one process would have it.
"""

import gc
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, distributed

from ppl_models.datasets.dataset import Dataset, Share
from ppl_models.datasets.preparation import Preparation, prepare
from ppl_models.datasets.streams import Stream

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes(Share):
    """The share of one of several processes.

    Attributes:
        first: how many rows come before its own.
        rows: of the whole table.
    """

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each."""
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    def gathered(self, tensor: Tensor) -> Tensor:
        """What every process brings, one after another."""
        found: list[Tensor] = [tensor] * distributed.get_world_size()
        distributed.all_gather_object(found, tensor.cpu())
        return torch.cat(found).to(tensor.device)


def rank_and_number() -> tuple[int, int]:
    """Which process this is, from 0, and how many there are."""
    several = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if several else (0, 1)


def from_first(item: Item) -> Item:
    """What the first process has, in all of them."""
    if rank_and_number()[1] == 1:
        return item
    held = [item]
    distributed.broadcast_object_list(held)
    return held[0]


def gathered_by_first(item: Item) -> list[Item]:
    """What each process has, in the first of them; in the others nothing."""
    rank, number = rank_and_number()
    if number == 1:
        return [item]
    held = [None] * number if rank == 0 else None
    distributed.gather_object(item, held)
    return held or []


def leave() -> None:
    """Part from the other processes; what holds on to them goes first, so that no thread of theirs is left running."""
    gc.collect()
    distributed.destroy_process_group()


def share_of(data: Dataset) -> Dataset:
    """This process's rows of a table that every process has whole; all of them where there is but one."""
    rank, number = rank_and_number()
    if number == 1:
        return data
    mine = _part(len(data), rank, number)
    return replace(data[mine.start : mine.stop], share=Processes(mine.start, len(data)))


def prepared_share(table: Stream, preparation: Preparation | None = None) -> tuple[Preparation, Dataset]:
    """Prepare this process's rows of a stream; all of them where there is but one.

    Of Parquet files it reads no others. Of CSV files and queries it reads those before them as well, and drops them.

    Args:
        table: the stream, the same in every process.
        preparation: how; None for what the first process learns from the whole stream.
    """
    rank, number = rank_and_number()
    preparation = preparation or from_first(prepare(table) if rank == 0 else None)
    if number == 1:
        return preparation, preparation(table)
    rows = from_first(table.rows if rank == 0 else None)
    mine = _part(rows, rank, number)
    return preparation, replace(preparation(replace(table, part=mine)), share=Processes(mine.start, rows))


def _part(rows: int, rank: int, number: int) -> range:
    """A run of rows for each process, as long as each other's to one row."""
    return range(rows * rank // number, rows * (rank + 1) // number)
