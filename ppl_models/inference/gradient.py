"""Gradient SVI for any pair: Pyro's ELBO as a module, Adam, one-cycle rate, best validated state."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import at_least_one
from ppl_models.families import Family
from ppl_models.inference.bounds import make_elbo, raw_units


@dataclass(frozen=True)
class Gradient:
    """How a family is fitted by stochastic gradients.

    Attributes:
        steps: at most so many steps; the learning rate follows one cycle over them.
        batch_size: rows a step; None for all.
        learning_rate: the highest rate of the cycle (Smith and Topin 2018, https://arxiv.org/abs/1708.07120).
        check_every: steps between evaluations of the ELBO.
        patience: with validation rows, stop when so many evaluations in a row brought no better ELBO.
    """

    steps: int = 3000
    batch_size: int | None = 128
    learning_rate: float = 3e-3
    check_every: int = 50
    patience: int = 20

    def __post_init__(self) -> None:
        at_least_one(
            "Gradient: ",
            steps=self.steps,
            batch_size=self.batch_size,
            check_every=self.check_every,
            patience=self.patience,
        )


@dataclass(frozen=True)
class Descent:
    """What gradient steps came to.

    Attributes:
        history: a row an evaluation: step, training and validation ELBO in nats per row, raw units.
        stop: why it ended, in words.
        converged: whether patience ran out or the cycle was completed.
    """

    history: list[tuple[int, float, float]]
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
    loss_of = make_elbo(family)(family.model, family.guide)
    parameters = [parameter for parameter in family.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(parameters, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, method.learning_rate, total_steps=method.steps)
    batches = _batches(train, method, seed)
    record = _Record(family, train, validation, seed)
    on_cpu = train.values.device.type == "cpu"
    with seeded(seed), pyro.validation_enabled(False):
        for step in range(method.steps):
            if step % method.check_every == 0:
                progress(method.check_every if step else 0)
                if (stop := record.check(step, method.patience)) is not None:
                    return record.close(stop)
            optimiser.zero_grad(set_to_none=True)
            batch = next(batches)
            loss = _or_nan(loss_of, batch, len(train)) / len(train)
            if (on_cpu or not loss.requires_grad) and not math.isfinite(loss.item()):
                return record.close(f"non-finite ELBO at step {step + 1}, site {faulty_site(family, batch)!r}")
            loss.backward()
            optimiser.step()
            schedule.step()
        stop = record.check(method.steps, method.patience)
    return record.close(stop or f"completed its cycle of {method.steps} steps", converged=True)


class _Record:
    """The evaluations so far, and the state to end in: the best validated one, or the last sound one."""

    def __init__(self, family: Family, train: Dataset, validation: Dataset | None, seed: int) -> None:
        self.family, self.train, self.validation, self.seed = family, train, validation, seed
        self.history: list[tuple[int, float, float]] = []
        self.best, self.best_at, self.state = -math.inf, 0, copy.deepcopy(family.state_dict())

    def check(self, step: int, patience: int) -> str | None:
        """Evaluate; keep the state if it is to be kept; say why to stop, or None."""
        elbos = [
            math.nan if data is None else _evaluate(self.family, data, self.seed)
            for data in (self.train, self.validation)
        ]
        self.history.append((step, *elbos))
        for data, elbo in ((self.train, elbos[0]), (self.validation, elbos[1])):
            if data is not None and not math.isfinite(elbo):
                return f"non-finite ELBO at step {step}, site {faulty_site(self.family, data)!r}"
        if self.validation is None or elbos[1] > self.best:
            self.best, self.best_at = elbos[1], len(self.history)
            self.state = copy.deepcopy(self.family.state_dict())
        if len(self.history) - self.best_at >= patience:
            return f"no better validation ELBO in {patience} evaluations, at step {step}"
        return None

    def close(self, stop: str, *, converged: bool | None = None) -> Descent:
        """Put the kept state back."""
        self.family.load_state_dict(self.state)
        broken = stop.startswith("non-finite")
        return Descent(self.history, stop, not broken if converged is None else converged and not broken)


@torch.no_grad()
def _evaluate(family: Family, data: Dataset, seed: int) -> float:
    """The ELBO of all rows under the same noise each time, nats per row, raw units."""
    with seeded(seed):
        loss = _or_nan(make_elbo(family).loss, family.model, family.guide, data, len(data))
    return float(raw_units(torch.as_tensor(-loss, dtype=torch.float64), data))


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
