"""What a fit by gradients was worth on its way, and the state that it ends in."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppl_models.datasets import Dataset, share_of, some_of
from ppl_models.distributions import seeded
from ppl_models.families import Family
from ppl_models.inference.bounds import pair_loss, raw_units
from ppl_models.inference.objectives import Objective, objective_value

MOST_ROWS = 10_000  # training rows that are evaluated on the way
KEPT = ("history", "best", "best_at", "state")


@dataclass(frozen=True)
class Descent:
    """What gradient steps came to.

    Attributes:
        history: a row an evaluation: step, ELBO of the training rows, or 10,000 of them, and of the validation rows,
            and the same of the objective where it is not the ELBO; nats per row, raw units, higher is better; NaN for
            validation rows that there are not.
        stop: why it ended, in words.
        converged: whether patience ran out or the cycle was completed.
    """

    history: list[dict[str, float | int]]
    stop: str
    converged: bool


class Record:
    """The evaluations so far, and the state to end in: the best validated one, or the last sound one."""

    def __init__(
        self,
        family: Family,
        train: Dataset,
        validation: Dataset | None,
        *,
        objective: Objective,
        check_every: int,
        seed: int,
    ) -> None:
        self.family, self.seed = family, seed
        some = some_of(train, MOST_ROWS, seed=seed)
        some = some if train.share is None else share_of(some)
        self.data = {"train": some} if validation is None else {"train": some, "validation": validation}
        self.objectives = [Objective()] if objective.is_elbo else [Objective(), objective]
        self.history: list[dict[str, float | int]] = []
        self.warm = math.ceil(objective.warm_up / check_every)
        self.best, self.best_at, self.state = -math.inf, 0, copy.deepcopy(family.state_dict())

    def state_dict(self) -> dict[str, object]:
        """The evaluations and the kept state."""
        return {name: getattr(self, name) for name in KEPT}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go back to a state."""
        for name in KEPT:
            setattr(self, name, state[name])

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
        loss = or_nan(_whole, family, data, objective)
    return float(raw_units(-torch.as_tensor(loss, dtype=torch.float64), data))


def _whole(family: Family, data: Dataset, objective: Objective) -> Tensor:
    """The loss of all rows, in total nats and prepared units."""
    if objective.is_elbo:
        return pair_loss(family, data)
    return -objective_value(family, objective, data)


def or_nan(loss: Callable[..., Tensor | float], *arguments: object) -> Tensor | float:
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
