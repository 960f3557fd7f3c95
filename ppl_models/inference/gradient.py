"""Gradient SVI for any pair: Pyro's ELBO as a module, Adam, one-cycle rate, best validated state."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import Family
from ppl_models.inference.bounds import pair_loss, raw_units
from ppl_models.inference.objectives import Objective, objective_value, require_suited, training_loss

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


@dataclass(frozen=True)
class Descent:
    """What gradient steps came to.

    Attributes:
        history: a row an evaluation: step, training and validation ELBO, and the same of the objective where it is not
            the ELBO; nats per row, raw units, higher is better; NaN for validation rows that there are not.
        stop: why it ended, in words.
        converged: whether patience ran out or the cycle was completed.
    """

    history: list[dict[str, float | int]]
    stop: str
    converged: bool


def climb(
    family: Family,
    train: Dataset,
    validation: Dataset | None,
    *,
    method: Gradient,
    seed: int,
    progress: Callable[[int], object],
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
    """
    loss_of = training_loss(family, method.objective)
    parameters = [parameter for parameter in family.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(parameters, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, method.learning_rate, total_steps=method.steps)
    averaged = AveragedModel(family, multi_avg_fn=get_ema_multi_avg_fn(method.average)) if method.average else None
    record = _Record(family if averaged is None else averaged.module, train, validation, method=method, seed=seed)
    batches = _batches(train.cast(parameters[0].dtype), method, seed)
    on_cpu = train.values.device.type == "cpu"
    with seeded(seed), pyro.validation_enabled(False):
        for step in range(method.steps):
            if step % method.check_every == 0:
                progress(method.check_every if step else 0)
                if (stop := record.check(step, method.patience)) is not None:
                    return record.close(family, stop)
                family.train()
            optimiser.zero_grad(set_to_none=True)
            batch = next(batches)
            loss = _or_nan(loss_of, batch, len(train), step)
            if (on_cpu or not loss.requires_grad) and not math.isfinite(loss.item()):
                return record.close(family, f"non-finite ELBO at step {step + 1}, site {faulty_site(family, batch)!r}")
            loss.backward()
            optimiser.step()
            schedule.step()
            if averaged is not None:
                averaged.update_parameters(family)
        stop = record.check(method.steps, method.patience)
    return record.close(family, stop or f"{COMPLETED} of {method.steps} steps", converged=True)


def require_trainable(family: Family, train: Dataset, method: Gradient) -> None:
    """Refuse settings that do not suit a family, before anything of it is changed.

    Raises:
        InputError: an objective whose parts the family has not, or batches of one row for batch norm.
    """
    require_suited(method.objective, family)
    smallest = min(len(train), method.batch_size or len(train))
    if smallest < 2 and any(isinstance(module, _BatchNorm) for module in family.modules()):
        raise InputError(f"{type(family).__name__}: batch norm needs two or more rows a batch, got {smallest}")


class _Record:
    """The evaluations so far, and the state to end in: the best validated one, or the last sound one."""

    def __init__(
        self, family: Family, train: Dataset, validation: Dataset | None, *, method: Gradient, seed: int
    ) -> None:
        self.family, self.seed = family, seed
        self.data = {"train": train} if validation is None else {"train": train, "validation": validation}
        self.objectives = [Objective()] if method.objective.is_elbo else [Objective(), method.objective]
        self.history: list[dict[str, float | int]] = []
        self.warm = math.ceil(method.objective.warm_up / method.check_every)
        self.best, self.best_at, self.state = -math.inf, 0, copy.deepcopy(family.state_dict())

    def check(self, step: int, patience: int) -> str | None:
        """Evaluate; keep the state if it is to be kept; say why to stop, or None."""
        self.family.eval()
        values = {}
        for objective, name in zip(self.objectives, ("elbo", "objective"), strict=False):
            values |= {f"train_{name}": math.nan, f"validation_{name}": math.nan}
            for part, data in self.data.items():
                values[f"{part}_{name}"] = _evaluate(self.family, data, objective, seed=self.seed)
        self.history.append({"step": step, **values})
        for part, data in self.data.items():
            if not all(math.isfinite(value) for key, value in values.items() if key.startswith(part)):
                return f"non-finite ELBO at step {step}, site {faulty_site(self.family, data)!r}"
        judged = values[f"validation_{name}"]
        if "validation" not in self.data or judged > self.best:
            self.best, self.best_at = judged, len(self.history)
            self.state = copy.deepcopy(self.family.state_dict())
        if len(self.history) - max(self.best_at, self.warm) >= patience:
            return (
                f"no better validation {'ELBO' if name == 'elbo' else name} in {patience} evaluations, at step {step}"
            )
        return None

    def close(self, family: Family, stop: str, *, converged: bool | None = None) -> Descent:
        """Put the kept state back."""
        family.load_state_dict(self.state)
        family.eval()
        broken = stop.startswith("non-finite")
        return Descent(self.history, stop, not broken if converged is None else converged and not broken)


@torch.no_grad()
def _evaluate(family: Family, data: Dataset, objective: Objective, *, seed: int) -> float:
    """An objective of all rows under the same noise each time, nats per row, raw units."""
    with seeded(seed):
        loss = _or_nan(_whole, family, data, objective)
    return float(raw_units(-torch.as_tensor(loss, dtype=torch.float64), data))


def _whole(family: Family, data: Dataset, objective: Objective) -> Tensor:
    """The loss of all rows, in total nats and prepared units."""
    if objective.is_elbo:
        return pair_loss(family, data)
    return -objective_value(family, objective, data)


def _or_nan(loss: Callable[..., Tensor | float], *arguments: object) -> Tensor | float:
    """A loss, or NaN where a matrix on the way to it has no decomposition."""
    try:
        return loss(*arguments)
    except torch.linalg.LinAlgError:
        return torch.tensor(math.nan)


@torch.no_grad()
def faulty_site(family: Family, batch: Dataset) -> str:
    """The first Pyro site whose value or log density is not a number, or the last before a draw that failed.

    Args:
        family: the family whose ELBO is not finite.
        batch: rows for which it is not.
    """
    with pyro.validation_enabled(False), _Last() as last:
        try:
            guide = poutine.trace(family.guide).get_trace(batch, len(batch))
            model = poutine.trace(poutine.replay(family.model, trace=guide)).get_trace(batch, len(batch))
        except (RuntimeError, ValueError):
            return last.site
    for trace in (guide, model):
        for name, site in trace.nodes.items():
            if site["type"] == "sample" and not _sound(site):
                return name
    return "none alone: the sum of log densities"


class _Last(Messenger):
    """Remembers which site was sampled last."""

    site = ""

    def _pyro_sample(self, msg: dict) -> None:
        self.site = msg["name"]


def _sound(site: dict) -> bool:
    """Whether a site's value and log density are numbers."""
    value = site["value"]
    if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
        return False
    return bool(torch.isfinite(site["fn"].log_prob(value)).all())


def _batches(train: Dataset, method: Gradient, seed: int) -> Iterator[Dataset]:
    """Batches without end, the rows in a new order every pass; an incomplete last batch is left for the next order."""
    if method.batch_size is None or method.batch_size >= len(train):
        while True:
            yield train
    generator = torch.Generator().manual_seed(seed)
    whole = len(train) // method.batch_size * method.batch_size
    while True:
        order = torch.randperm(len(train), generator=generator).to(train.values.device)[:whole]
        for rows in order.split(method.batch_size):
            yield train[rows]
