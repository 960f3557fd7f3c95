"""Natural-gradient SVI for conjugate families: coordinate ascent in batches, all restarts at once.

A step moves the natural parameters of q(θ) towards those that are optimal for the batch's responsibilities, by a rate
ρ (Hoffman, Blei, Wang and Paisley 2013, https://jmlr.org/papers/v14/hoffman13a.html). On all rows with ρ = 1 it is
coordinate ascent and the ELBO never falls; with a point mass for a guide it is EM. On batches ρ = (t + 20)^−0.6 is a
Robbins-Monro sequence.

Many starts are run for a few passes and the best of them to the end, large tables' by a race on samples (``races.py``);
the steps are the accelerated ones of ``passes.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import ClassProduct
from ppl_models.inference.checkpoints import Keeper
from ppl_models.inference.convergence import Ascent, Way, converge
from ppl_models.inference.races import race, ranked_starts
from ppl_models.inference.sweeps import Rows

DELAY, FORGETTING = 20.0, 0.6


@dataclass(frozen=True)
class NaturalGradient:
    """How a conjugate family is fitted by natural gradients.

    Attributes:
        restarts: runs that go on to the end side by side; the one with the best ELBO is kept.
        starts: short runs, of which the best go on.
        steps: at most so many passes over all rows.
        tolerance: a run ends when two cycles of two passes in succession gained no more than this, nats per row.
        batch_size: None for coordinate ascent on all rows; else rows a batch, for ``epochs`` passes before it.
        epochs: passes in batches.
    """

    restarts: int = 8
    starts: int = 64
    steps: int = 10000
    tolerance: float = 1e-11
    batch_size: int | None = None
    epochs: int = 5

    def __post_init__(self) -> None:
        at_least_one(
            "NaturalGradient: ",
            restarts=self.restarts,
            starts=self.starts,
            steps=self.steps,
            batch_size=self.batch_size,
            epochs=self.epochs,
        )


@torch.no_grad()
def ascend(
    family: ClassProduct,
    train: Dataset,
    *,
    method: NaturalGradient,
    seed: int,
    progress: Callable[[int], object] = lambda passes: None,
    keeper: Keeper | None = None,
) -> Ascent:
    """Run natural-gradient steps to convergence.

    Args:
        family: a conjugate family that has adopted the training rows.
        train: the training rows.
        method: restarts, starts, steps, tolerance, batches.
        seed: the seed of the starts and of the order of batches.
        progress: called with the number of passes done since the last call.
        keeper: keeps the state after cycles, and may hold one to go on from.
    """
    if method.batch_size is not None and train.share is not None:
        raise InputError("NaturalGradient: expected no batch_size in several processes, whose passes are over all rows")
    rows, kept = Rows.of(family, train), None if keeper is None else keeper.kept
    asked = {"restarts": method.restarts, "starts": method.starts, "seed": seed}
    starts = ranked_starts(rows, train, **asked) if kept is None else kept["starts"]

    def keep(way: Way | None, group: int) -> None:
        if keeper is not None:
            keeper.keep(lambda: {"starts": starts, "group": group, "way": None if way is None else way.state()})

    first = 0 if kept is None else kept["group"]
    for group, natural in enumerate(starts[first:], start=first):
        if kept is None or kept["way"] is None:
            keep(None, group)
            natural = natural.to(rows.base.device)
            if method.batch_size is not None and method.batch_size < len(rows.open):
                way = Way.begin(rows, _in_batches(rows, natural, method=method, seed=seed))
            else:
                way = Way.begin(rows, *race(family, train, natural, seed=seed))
        else:
            way = Way.restored(kept["way"], rows.base.device)
        kept = None
        told = {"steps": method.steps, "tolerance": method.tolerance, "progress": progress}
        ascent = converge(rows, way, **told, keep=partial(keep, group=group))
        if family.bayesian or not ascent.all_at_fault:
            break
    return ascent


def _in_batches(rows: Rows, natural: Tensor, *, method: NaturalGradient, seed: int) -> Tensor:
    """Robbins-Monro steps on batches of equal size, on the sums that q(θ) is settled from."""
    total, number = None, -(-len(rows.open) // method.batch_size)
    ends = [len(rows.open) * batch // number for batch in range(number + 1)]
    for epoch in range(method.epochs):
        shuffled = rows.shuffled(seed=seed + epoch)
        for batch, (first, last) in enumerate(pairwise(ends)):
            target, rate = shuffled.step(natural, slice(first, last)), (epoch * number + batch + DELAY) ** -FORGETTING
            total = target if total is None else (1 - rate) * total + rate * target
            natural = rows.family.settle(total, natural)
    return natural
