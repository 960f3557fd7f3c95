"""Batches of rows in random order, without end."""

import torch

from ppl_models.datasets import Dataset
from ppl_models.datasets.dataset import pieces_of
from ppl_models.datasets.shares import rank_and_number
from ppl_models.datasets.stored import Stored
from ppl_models.inference.checkpoints import State

PIECE, CELLS = 4096, 2**18  # rows on disk that are read together at most, and cells
PIECES = 64  # of those rows in memory at once


class Batches:
    """Batches of equal size, the rows in a new order every pass; an incomplete last batch is left for the next order.

    Rows on disk are read in pieces whose order is random, and mixed among those that are in memory. Of several
    processes, each has its part of every batch, of its own rows.

    Attributes:
        size: rows of a batch, this process's alone.
        share: what this process's mean loss counts for in the mean of all processes.
    """

    def __init__(self, train: Dataset, size: int | None, seed: int) -> None:
        self.train, self.device = train, train.values.device
        rank, number = (0, 1) if train.share is None else rank_and_number()
        whole = train.all_rows if size is None else min(size, train.all_rows)
        self.size = len(train) if whole == train.all_rows else whole // number
        self.share = self.size * number / whole
        self.generator = torch.Generator().manual_seed(seed + rank)
        self.coming = self.chosen = self.order = torch.arange(0)  # pieces of this pass, pieces in memory, rows of those
        self.place, self.rows = 0, train
        self.piece = min(max(CELLS // train.values.shape[-1], 1), PIECE)
        if self.size == len(train) and isinstance(train, Stored):
            self.rows = train[:]

    def __next__(self) -> Dataset:
        if self.size == len(self.train):
            return self.rows
        while self.place + self.size > len(self.order):
            self._mix()
        self.place += self.size
        return self.rows[self.order[self.place - self.size : self.place]]

    def _mix(self) -> None:
        """A new order, of other rows if they are on disk."""
        if isinstance(self.train, Stored):
            together = max(PIECES, 2 * self.size // self.piece)
            if not len(self.coming):
                self.coming = torch.randperm(-(-len(self.train) // self.piece), generator=self.generator)
            self.chosen, self.coming = self.coming[:together], self.coming[together:]
            self.rows = pieces_of(self.train, self.piece, self.chosen)
        self.order, self.place = torch.randperm(len(self.rows), generator=self.generator).to(self.device), 0

    def state_dict(self) -> State:
        """The order of this pass, the place in it, and what the next order comes from."""
        names = ("coming", "chosen", "order", "place")
        return {name: getattr(self, name) for name in names} | {"random": self.generator.get_state()}

    def load_state_dict(self, state: State) -> None:
        """Go back to a state."""
        self.coming, self.chosen, self.place = state["coming"], state["chosen"], state["place"]
        self.order = state["order"].to(self.device)
        self.generator.set_state(state["random"])
        if len(self.chosen):
            self.rows = pieces_of(self.train, self.piece, self.chosen)
