"""Passes over all rows: the bound of each run, and the sums that its next step goes to.

Rows whose class is certain are passed over once and for all: what they add to the bound is linear in their sums. The
others are passed over a block at a time, so that what a block needs stays in the processor's cache.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.datasets.stored import Stored
from ppl_models.families import ClassProduct, Features, sums
from ppl_models.inference.recalled import Recalled, certain_rows

CELLS_AT_ONCE = 2**17  # joint densities of a block
STATISTICS_AT_ONCE, FEWEST_ROWS = 2**18, 2**10
HELD, HELD_BESIDE_DISK = 2**27, 2**22  # numbers: a gigabyte, and 34 MB where the rows themselves are on disk


@dataclass(frozen=True)
class Rows:
    """Training rows for runs side by side.

    Attributes:
        family: the conjugate family that has adopted them.
        open: the rows whose class is not certain; statistics of too many to be held are worked out anew.
        settled: (classes, natural) the sums of the others' statistics, 0 where there are none; with a first dimension
            for the runs where each has weights of its own, and so the two below.
        base: Σ weight · h(x), nats.
        weight: what all rows weigh together.
        summed: over all processes, where each has a share of the rows; base and weight are of all of them then.
    """

    family: ClassProduct
    open: Features | Recalled
    settled: Float[Tensor, "*sums"]
    base: Float[Tensor, "*runs"]
    weight: Float[Tensor, "*runs"]
    summed: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def of(cls, family: ClassProduct, train: Dataset) -> "Rows":
        """All rows of a table; statistics of rows of certain class are never in memory at once."""
        rows = cls._of_one(family, train)
        if train.share is None:
            return rows
        settled = train.summed(rows.settled + torch.zeros_like(family.model.prior()))
        base, weight = (train.summed(torch.as_tensor(each)) for each in (rows.base, rows.weight))
        return replace(rows, settled=settled, base=base, weight=weight, summed=train.summed)

    @classmethod
    def _of_one(cls, family: ClassProduct, train: Dataset) -> "Rows":
        """The rows of one process."""
        held = family.width * train.all_rows <= (HELD_BESIDE_DISK if isinstance(train, Stored) else HELD)
        if held and family.exchangeable(train):
            return cls.among(family, family.features(train).once())
        size = max(STATISTICS_AT_ONCE // family.width, FEWEST_ROWS)
        number, rest, settled, base, weight = 0, [family.features(train[:0])], 0.0, 0.0, 0.0
        for part in (cls._of_part(family, chunk) for chunk in chunks_of(train, size)):
            number, rest = number + len(part.open), [*rest, part.open] if held else rest
            settled, base, weight = settled + part.settled, base + part.base, weight + part.weight
        open_rows = Features.joined(rest).once() if held or not number else Recalled(family, train, size, number)
        return cls(family, open_rows, settled, base, weight)

    @classmethod
    def _of_part(cls, family: ClassProduct, part: Dataset) -> "Rows":
        settled = family.certain_sums(part)
        if settled is None:
            return cls.among(family, family.features(part))
        base = (part.weights * family.row.base_measure(part)).sum()
        return cls(family, family.features(part[:0]), settled, base, part.weights.sum())

    @classmethod
    def among(cls, family: ClassProduct, features: Features) -> "Rows":
        """These rows, with weights of their own for each run if they have them."""
        certain = certain_rows(family, features)
        base, weight = (features.weights * features.base).sum(-1), features.weights.sum(-1)
        if not bool(certain.any()):
            return cls(family, features, family.model.prior().new_zeros(()), base, weight)
        known, rest = (features[which.nonzero()[:, 0]] for which in (certain, ~certain))
        return cls(family, rest, _told_sums(family, known), base, weight)

    def of_runs(self, some: Int[Tensor, " kept"]) -> "Rows":
        """The same rows for some of the runs."""
        if not self.weight.dim():
            return self
        settled = self.settled[some] if self.settled.dim() else self.settled
        return Rows(self.family, self.open.of_runs(some), settled, self.base[some], self.weight[some])

    def told(self) -> Float[Tensor, "classes natural"]:
        """The prior's natural parameters and the sums of statistics of the rows of known class, their cells alone."""
        found = sum(_told_sums(self.family, part) for part in self._parts())
        return self.family.model.prior() + self.settled + self._of_all(found)

    def single(self) -> "Rows":
        """The same rows, those of open class in single precision; sums of them are not.

        They stay as they are where cells are hidden, and where no posterior keeps a component from a width at which
        single precision has nothing left of the differences of squares.
        """
        hidden = isinstance(self.open, Features) and self.open.hidden
        return self if hidden or not self.family.bayesian else replace(self, open=self.open.cast(torch.float32))

    def shuffled(self, *, seed: int) -> "Rows":
        """The same rows, those of open class in another order."""
        if isinstance(self.open, Recalled):
            return replace(self, open=self.open.shuffled(seed=seed))
        order = torch.randperm(len(self.open), generator=torch.Generator().manual_seed(seed))
        return replace(self, open=self.open[order.to(self.open.labels.device)])

    def sweep(self, natural: Float[Tensor, "runs classes natural"]) -> tuple[Tensor, Tensor]:
        """Pass over all rows.

        Returns:
            (runs,) Σ weight · log Σ_k exp E_q[log p(x, z = k | θ, weights)], nats in prepared units; and where the next
            step goes, (runs, classes, natural): the prior's natural parameters and the sums of statistics.
        """
        coefficients = self.family.coefficients(natural)
        local, total = coefficients.new_zeros(len(natural)), torch.zeros_like(coefficients)
        for block in self.blocks(natural.shape[0] * natural.shape[1]):
            part, sums = self.family.sweep(block, coefficients)
            local, total = local + part, total + sums
        local, total = self._of_all(local), self._of_all(total)
        settled = (self.settled * coefficients).sum((-2, -1)) + self.base
        return settled + local, self.family.model.prior() + self.settled + total

    def step(self, natural: Float[Tensor, "runs classes natural"], batch: slice) -> Tensor:
        """Where the next step goes as some of the rows of open class tell it for all of them."""
        part = self.open[batch]
        _, sums = self.family.sweep(part, self.family.coefficients(natural))
        return self.family.model.prior() + self.settled + len(self.open) / len(part) * sums

    def _of_all(self, sums: Tensor) -> Tensor:
        """Sums over all processes."""
        return sums if self.summed is None else self.summed(sums)

    def blocks(self, width: int) -> Iterator[Features]:
        """The rows of open class, so many at a time; all at once where some have hidden cells, which share patterns."""
        for part in self._parts():
            size = max(CELLS_AT_ONCE // width, 1)
            if part.hidden or len(part) <= size:
                yield from [part] if len(part) else []
            else:
                yield from (part[first : first + size] for first in range(0, len(part), size))

    def _parts(self) -> Iterator[Features]:
        return self.open.parts() if isinstance(self.open, Recalled) else iter([self.open])


def _told_sums(family: ClassProduct, known: Features) -> Float[Tensor, "*runs classes natural"]:
    """Σ weight · T(x) of each class's rows; all rows are of the only class, where there is one."""
    told = known.told if family.classes > 1 else torch.ones_like(known.told)
    return sums(family.row, known, told.expand(*known.weights.shape[:-1], *told.shape), None)
