"""Natural-gradient SVI for conjugate families: coordinate ascent in batches, all restarts at once.

A step moves the natural parameters of q(θ) towards those that are optimal for the batch's responsibilities, by a rate
ρ (Hoffman, Blei, Wang and Paisley 2013, https://jmlr.org/papers/v14/hoffman13a.html). On all rows with ρ = 1 it is
coordinate ascent and the ELBO never falls; with a point mass for a guide it is EM. On batches ρ = (t + 20)^−0.6 is a
Robbins-Monro sequence.

Many starts are run for a few passes, and the best of them to the end (Biernacki, Celeux and Govaert 2003,
https://doi.org/10.1016/S0167-9473(02)00163-9), by the accelerated steps of ``passes.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.errors import at_least_one
from ppl_models.families import ClassProduct
from ppl_models.inference.checkpoints import Keeper
from ppl_models.inference.passes import Runs, begin, divergence, leap
from ppl_models.inference.sweeps import Rows

QUIET = 2
DELAY, FORGETTING = 20.0, 0.6
SHORT_PASSES, SHORT_ROWS = 20, 2000


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


@dataclass(frozen=True)
class Fault:
    """Where a run's numbers ended: a component that collapsed or lost its rows, or an overflow.

    Attributes:
        site: the Pyro site of the columns.
        component: the component, from 0; None where the weights are at fault.
    """

    site: str
    component: int | None


@dataclass
class Ascent:
    """Runs of natural-gradient steps, side by side.

    Attributes:
        natural: (restarts, classes, natural) the last sound state of each run.
        elbo: (restarts,) its ELBO of all rows in nats, prepared units; −∞ for a run that came to a fault at once.
        history: the ELBO after each cycle of two passes, (restarts,) each.
        converged: (restarts,) whether a run ended by the tolerance.
        faults: by restart, why it ended if its ELBO was no number.
    """

    natural: Float[Tensor, "restarts classes natural"]
    elbo: Float[Tensor, " restarts"]
    converged: Bool[Tensor, " restarts"]
    history: list[Float[Tensor, " restarts"]] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)

    @classmethod
    def begin(cls, natural: Float[Tensor, "restarts classes natural"]) -> "Ascent":
        """Runs that are about to begin at these states."""
        lowest = natural.new_full(natural.shape[:1], -torch.inf)
        return cls(natural.clone(), lowest, torch.zeros(len(natural), dtype=torch.bool, device=natural.device))

    @property
    def best(self) -> int:
        """The run with the best ELBO, of those without a fault if there are any."""
        elbo = self.elbo.clone()
        if len(self.faults) < len(elbo):
            elbo[list(self.faults)] = -torch.inf
        return int(elbo.argmax())


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
    rows, kept = Rows.of(family, train), None if keeper is None else keeper.kept
    starts = _ranked_starts(rows, train, method=method, seed=seed) if kept is None else kept["starts"]

    def keep(way: Way | None, group: int) -> None:
        if keeper is not None:
            keeper.keep(lambda: {"starts": starts, "group": group, "way": None if way is None else way.state()})

    first = 0 if kept is None else kept["group"]
    for group, natural in enumerate(starts[first:], start=first):
        if kept is None or kept["way"] is None:
            keep(None, group)
            natural = natural.to(rows.base.device)
            if method.batch_size is not None and method.batch_size < len(rows.open):
                natural = _in_batches(rows, natural, method=method, seed=seed)
            way = Way.begin(rows, natural)
        else:
            way = Way.restored(kept["way"], rows.base.device)
        kept = None
        ascent = converge(rows, way, method=method, progress=progress, keep=partial(keep, group=group))
        if family.bayesian or len(ascent.faults) < len(natural):
            break
    return ascent


@dataclass
class Way:
    """Where runs are: all that their next step depends on.

    Attributes:
        ascent: how far they have come.
        going: (going,) which of them go on.
        quiet: (going,) how many cycles in succession gained next to nothing.
        runs: those that go on.
    """

    ascent: Ascent
    going: Int[Tensor, " going"]
    quiet: Int[Tensor, " going"]
    runs: Runs

    @classmethod
    def begin(cls, rows: Rows, natural: Float[Tensor, "restarts classes natural"]) -> "Way":
        """One step after these states."""
        going = torch.arange(len(natural), device=natural.device)
        return cls(Ascent.begin(natural), going, torch.zeros_like(going), begin(rows, natural))

    def state(self) -> dict[str, object]:
        """As tensors and plain values."""
        ascent = vars(self.ascent) | {"faults": {run: tuple(vars(f).values()) for run, f in self.ascent.faults.items()}}
        return {"ascent": ascent, "going": self.going, "quiet": self.quiet, "runs": vars(self.runs)}

    @classmethod
    def restored(cls, state: Mapping[str, object], device: torch.device) -> "Way":
        """The way back."""
        kept = dict(state["ascent"])
        history, faults = [elbo.to(device) for elbo in kept.pop("history")], kept.pop("faults")
        ascent = Ascent(**{name: value.to(device) for name, value in kept.items()}, history=history)
        ascent.faults = {run: Fault(*found) for run, found in faults.items()}
        runs = Runs(**{name: value.to(device) for name, value in state["runs"].items()})
        return cls(ascent, state["going"].to(device), state["quiet"].to(device), runs)


@torch.no_grad()
def converge(
    rows: Rows,
    way: Way,
    *,
    method: NaturalGradient,
    progress: Callable[[int], object] = lambda passes: None,
    keep: Callable[[Way], object] = lambda way: None,
) -> Ascent:
    """Cycles of two passes over all rows and a leap, for each run until it converges or faults.

    Args:
        rows: the training rows, with weights of their own for each run, or the same for all.
        way: where the runs are.
        method: steps and tolerance.
        progress: called with the number of passes done since the last call.
        keep: called after each cycle, to keep where the runs are.
    """
    ascent, left = way.ascent, method.tolerance * rows.weight.expand(len(way.ascent.elbo))
    for _ in range(len(ascent.history), -(-method.steps // 2)):
        going, runs = way.going, way.runs
        ascent.history.append((ascent.history or [ascent.elbo])[-1].index_copy(0, going, runs.elbo))
        sound = torch.isfinite(runs.elbo)
        gained = runs.elbo - ascent.elbo[going]
        ascent.natural[going[sound]], ascent.elbo[going[sound]] = runs.natural[sound], runs.elbo[sound]
        quiet = torch.where(gained <= left[going], way.quiet + 1, 0)
        ascent.converged[going[sound & (quiet >= QUIET)]] = True
        for run in (~sound).nonzero()[:, 0].tolist():
            ascent.faults[int(going[run])] = _fault(rows.family, runs.natural[run])
        on = sound & (quiet < QUIET)
        if not bool(on.any()):
            break
        way.going, way.quiet = going[on], quiet[on]
        way.runs = leap(rows.of_runs(way.going), runs[on])
        progress(2)
        keep(way)
    return ascent


def _ranked_starts(
    rows: Rows, train: Dataset, *, method: NaturalGradient, seed: int
) -> Sequence[Float[Tensor, "restarts classes natural"]]:
    """Where the starts are after a few passes, over some of the rows if there are many: the best restarts first.

    Those after them are for a likelihood without bound, of which the best starts may all be victims.
    """
    family = rows.family
    if not family.exchangeable(train):
        return [family.settle(rows.told()[None], None)]
    few = train
    if len(train) > (most := max(SHORT_ROWS, 10 * family.classes)):
        few = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:most].sort().values]
    features, subset = family.features(few), rows if few is train else Rows.of(family, few)
    starts = family.start(few, restarts=max(method.starts, method.restarts), seed=seed).split(method.restarts)
    runs = [_short(subset, family.posterior(features, part)) for part in starts]
    naturals, elbos = torch.cat([run[0] for run in runs]), torch.cat([run[1] for run in runs])
    ranked = naturals[elbos.nan_to_num(-torch.inf).argsort(descending=True, stable=True)]
    return ranked.split(method.restarts)


def _short(rows: Rows, natural: Tensor) -> tuple[Tensor, Tensor]:
    """A few passes."""
    for _ in range(SHORT_PASSES):
        natural = rows.family.settle(rows.sweep(natural)[1], natural)
    return natural, rows.sweep(natural)[0] - divergence(rows.family, natural)


def _fault(family: ClassProduct, natural: Float[Tensor, "classes natural"]) -> Fault:
    """The first site and component whose expected log density is not a number."""
    for block, part in family.row.parts(natural[:, :-1]):
        sound = torch.isfinite(block.expected(part)).all(-1) & torch.isfinite(block.log_partition(part))
        if not bool(sound.all()):
            return Fault(block.site, int((~sound).nonzero()[0, 0]))
    return Fault("weights", None)


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
