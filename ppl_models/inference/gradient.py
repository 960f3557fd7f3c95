"""Gradient SVI for any pair: Pyro's ELBO as a module, Adam, one-cycle rate, best validated state."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pyro
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ppl_models.datasets import Dataset
from ppl_models.datasets.shares import rank_and_number
from ppl_models.distributions import seeded
from ppl_models.distributions.seeding import random_state, set_random_state
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import Family
from ppl_models.inference.batches import Batches
from ppl_models.inference.checkpoints import Keeper, State
from ppl_models.inference.evaluations import Descent, Record, faulty_site, or_nan
from ppl_models.inference.objectives import Objective, require_suited, training_loss
from ppl_models.inference.processes import agree, together

COMPLETED = "completed its cycle"  # as a reason to stop


@dataclass(frozen=True)
class Gradient:
    """How a family is fitted by stochastic gradients.

    Attributes:
        steps: at most so many steps; the learning rate follows one cycle over them.
        batch_size: rows a step; None for all.
        learning_rate: the highest rate of the cycle (Smith and Topin 2018, https://arxiv.org/abs/1708.07120).
        check_every: steps between evaluations of the ELBO.
        patience: with validation rows, stop when so many evaluations in a row, from the end of the objective's warm-up
            on, brought no better value.
        objective: what is climbed.
        average: decay of the exponential moving average of all parameters that takes their place in the end, such as
            0.999 (Polyak and Juditsky 1992, https://doi.org/10.1137/0330046); 0 for none.
    """

    steps: int = 3000
    batch_size: int | None = 128
    learning_rate: float = 3e-3
    check_every: int = 50
    patience: int = 20
    objective: Objective = field(default_factory=Objective)
    average: float = 0.0

    def __post_init__(self) -> None:
        at_least_one(
            "Gradient: ",
            steps=self.steps,
            batch_size=self.batch_size,
            check_every=self.check_every,
            patience=self.patience,
        )
        if not 0 <= self.average < 1:
            raise InputError(f"Gradient: expected average from 0 to below 1, got {self.average}")


def climb(
    family: Family,
    train: Dataset,
    validation: Dataset | None,
    *,
    method: Gradient,
    seed: int,
    progress: Callable[[int], object],
    keeper: Keeper | None = None,
) -> Descent:
    """Train a family that has been initialised.

    With validation rows it ends in the state of the best validation ELBO, and early if that does not rise; without, the
    whole cycle is run and its end is kept, since the rate has come down to nothing there.

    Args:
        family: a family that has adopted the training rows.
        train: the training rows.
        validation: rows to judge by, or None.
        method: steps, batches, rate, patience.
        seed: the seed of batches and noise.
        progress: called with the number of steps done since the last call.
        keeper: keeps the state after evaluations, and may hold one to go on from.
    """
    rank, number = rank_and_number() if train.share is not None else (0, 1)
    loss_of = training_loss(family, method.objective)
    if number > 1:
        loss_of = together(family, loss_of)
    told_at_once = number == 1 and train.values.device.type == "cpu"
    with seeded(seed + rank), pyro.validation_enabled(False):
        way = _Way(family, train, validation, method=method, seed=seed)
        if keeper is not None and keeper.kept is not None:
            way.restore(keeper.kept)
            progress(way.step)
        for step in range(way.step, method.steps):
            if step % method.check_every == 0 and len(way.record.history) <= step // method.check_every:
                progress(method.check_every if step else 0)
                if number > 1:
                    agree(way.record.family)
                if (stop := way.record.check(step, method.patience)) is not None:
                    return way.record.close(family, stop)
                family.train()
                way.step = step
                if keeper is not None:
                    keeper.keep(way.state)
            way.optimiser.zero_grad(set_to_none=True)
            batch = next(way.batches)
            loss = or_nan(loss_of, batch, train.all_rows, step)
            loss = loss * way.batches.share if number > 1 else loss
            if (told_at_once or not loss.requires_grad) and not math.isfinite(loss.item()):
                site = faulty_site(family, batch)
                return way.record.close(family, f"non-finite ELBO at step {step + 1}, site {site!r}")
            loss.backward()
            way.advance()
        if number > 1:
            agree(way.record.family)
        stop = way.record.check(method.steps, method.patience)
    return way.record.close(family, stop or f"{COMPLETED} of {method.steps} steps", converged=True)


class _Way:
    """Where a fit is: all that its next step depends on.

    Attributes:
        step: how many steps were done when the state was last told.
    """

    def __init__(
        self, family: Family, train: Dataset, validation: Dataset | None, *, method: Gradient, seed: int
    ) -> None:
        parameters = [parameter for parameter in family.parameters() if parameter.requires_grad]
        self.family, self.step = family, 0
        self.optimiser = torch.optim.Adam(parameters, fused=True)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, method.learning_rate, total_steps=method.steps
        )
        decay = method.average
        self.averaged = AveragedModel(family, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
        judged = family if self.averaged is None else self.averaged.module
        told = {"objective": method.objective, "check_every": method.check_every, "seed": seed}
        self.record = Record(judged, train, validation, **told)
        self.batches = Batches(train.cast(parameters[0].dtype), method.batch_size, seed)

    def advance(self) -> None:
        """One step along the gradient."""
        self.optimiser.step()
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.family)

    def state(self) -> State:
        """Everything, the random state included."""
        return {
            "step": self.step,
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "random": random_state(self.batches.device),
        }

    def restore(self, state: State) -> None:
        """Go back to a state."""
        self.step = state["step"]
        for name, part in self._parts().items():
            part.load_state_dict(state["parts"][name])
        self.family.train()
        set_random_state(state["random"], self.batches.device)

    def _parts(self) -> dict[str, object]:
        names = ("family", "optimiser", "schedule", "averaged", "record", "batches")
        return {name: part for name in names if (part := getattr(self, name)) is not None}


def require_trainable(family: Family, train: Dataset, method: Gradient) -> None:
    """Refuse settings that do not suit a family, before anything of it is changed.

    Raises:
        InputError: an objective whose parts the family has not, or batches of one row for batch norm.
    """
    require_suited(method.objective, family)
    number = 1 if train.share is None else rank_and_number()[1]
    if method.batch_size is not None and method.batch_size % number:
        raise InputError(f"batch_size: expected a multiple of {number} processes, got {method.batch_size}")
    if number > 1 and method.objective.free_nats:
        raise InputError("free_nats: expected 0 in several processes, of which none has the mean over a whole batch")
    smallest = min(len(train), (method.batch_size or len(train)) // number)
    if smallest < 2 and any(isinstance(module, _BatchNorm) for module in family.modules()):
        raise InputError(f"{type(family).__name__}: batch norm needs two or more rows a batch, got {smallest}")
