"""Runs of natural-gradient steps side by side, each until it gains no more or comes to a fault."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ppl_models.families import ClassProduct
from ppl_models.inference.passes import Runs, begin, leap
from ppl_models.inference.sweeps import Rows

QUIET = 2  # cycles that gain next to nothing and end a run


@dataclass(frozen=True)
class Fault:
    """Where a run's numbers ended: a component that collapsed or lost its rows, or an overflow.

    Attributes:
        site: the Pyro site of the columns.
        component: the component, from 0; None where the weights are at fault.
    """

    site: str
    component: int | None


@dataclass(frozen=True)
class Left:
    """Why a run was left behind on a sample.

    Attributes:
        why: in words.
        same: the run that came to the same optimum, if one did.
    """

    why: str
    same: int | None = None


@dataclass
class Ascent:
    """Runs of natural-gradient steps, side by side.

    Attributes:
        natural: (restarts, classes, natural) the last sound state of each run.
        elbo: (restarts,) its ELBO of all rows in nats, prepared units; −∞ for a run that came to a fault at once.
        history: the ELBO after each cycle of two passes, (restarts,) each.
        converged: (restarts,) whether a run ended by the tolerance.
        faults: by restart, why it ended if its ELBO was no number.
        left: by restart, why it was left behind on a sample if it was; its ELBO is that of all rows even so.
    """

    natural: Float[Tensor, "restarts classes natural"]
    elbo: Float[Tensor, " restarts"]
    converged: Bool[Tensor, " restarts"]
    history: list[Float[Tensor, " restarts"]] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    left: dict[int, Left] = field(default_factory=dict)

    @classmethod
    def begin(cls, natural: Float[Tensor, "restarts classes natural"]) -> "Ascent":
        """Runs that are about to begin at these states."""
        lowest = natural.new_full(natural.shape[:1], -torch.inf)
        return cls(natural.clone(), lowest, torch.zeros(len(natural), dtype=torch.bool, device=natural.device))

    @property
    def best(self) -> int:
        """The run with the best ELBO of those that were not left behind, without a fault if there are any."""
        out = {*self.left, *(() if self.all_at_fault else self.faults)}
        elbos = self.elbo.tolist()
        return max((run for run in range(len(elbos)) if run not in out), key=elbos.__getitem__)

    @property
    def all_at_fault(self) -> bool:
        """Whether every run that was not left behind came to a fault."""
        return len(self.faults) + len(self.left) == len(self.elbo)


PLAIN = {"faults": Fault, "left": Left}  # by run, in an ascent


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
    def begin(
        cls, rows: Rows, natural: Float[Tensor, "restarts classes natural"], left: Mapping[int, Left] | None = None
    ) -> "Way":
        """One step after these states; those that were left behind end there."""
        left = dict(left or {})
        ascent, runs = Ascent.begin(natural), begin(rows, natural)
        going = torch.tensor([run for run in range(len(natural)) if run not in left], device=natural.device)
        if left:
            behind = torch.tensor(list(left), device=natural.device)
            ascent.left, ascent.natural[behind] = left, runs.natural[behind]
            ascent.elbo[behind] = runs.elbo[behind].nan_to_num(-torch.inf)
        return cls(ascent, going, torch.zeros_like(going), runs[going])

    def state(self) -> dict[str, object]:
        """As tensors and plain values."""
        plain = {
            name: {run: tuple(vars(why).values()) for run, why in getattr(self.ascent, name).items()} for name in PLAIN
        }
        ascent = vars(self.ascent) | plain
        return {"ascent": ascent, "going": self.going, "quiet": self.quiet, "runs": vars(self.runs)}

    @classmethod
    def restored(cls, state: Mapping[str, object], device: torch.device) -> "Way":
        """The way back."""
        kept = dict(state["ascent"])
        history, plain = [elbo.to(device) for elbo in kept.pop("history")], {name: kept.pop(name) for name in PLAIN}
        ascent = Ascent(**{name: value.to(device) for name, value in kept.items()}, history=history)
        for name, kind in PLAIN.items():
            setattr(ascent, name, {run: kind(*found) for run, found in plain[name].items()})
        runs = Runs(**{name: value.to(device) for name, value in state["runs"].items()})
        return cls(ascent, state["going"].to(device), state["quiet"].to(device), runs)


@torch.no_grad()
def converge(
    rows: Rows,
    way: Way,
    *,
    steps: int,
    tolerance: float,
    progress: Callable[[int], object] = lambda passes: None,
    keep: Callable[[Way], object] = lambda way: None,
) -> Ascent:
    """Cycles of two passes over all rows and a leap, for each run until it converges or faults.

    Args:
        rows: the training rows, with weights of their own for each run, or the same for all.
        way: where the runs are.
        steps: at most so many passes.
        tolerance: what two cycles of a run in succession gain no more than in the end, nats per row.
        progress: called with the number of passes done since the last call.
        keep: called after each cycle, to keep where the runs are.
    """
    ascent, left = way.ascent, tolerance * rows.weight.expand(len(way.ascent.elbo))
    for _ in range(len(ascent.history), -(-steps // 2)):
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


def _fault(family: ClassProduct, natural: Float[Tensor, "classes natural"]) -> Fault:
    """The first site and component whose expected log density is not a number."""
    for block, part in family.row.parts(natural[:, :-1]):
        sound = torch.isfinite(block.expected(part)).all(-1) & torch.isfinite(block.log_partition(part))
        if not bool(sound.all()):
            return Fault(block.site, int((~sound).nonzero()[0, 0]))
    return Fault("weights", None)
