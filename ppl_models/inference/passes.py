"""Passes of natural-gradient inference over all rows, with every third of them leapt: SQUAREM.

Two steps of a fixed-point map from a state on, T₀ → T₁ → T₂, tell a direction and a curvature; T₀ − 2α r + α² v with
r = T₁ − T₀, v = T₂ − T₁ − r and α = −‖r‖/‖v‖ goes on along them (Varadhan and Roland 2008,
https://doi.org/10.1111/j.1467-9469.2007.00585.x). T are the sums that q(θ) is settled from, so that a leap may go
anywhere that sums may; where it lost, the plain second step stands, and so the bound never falls.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.families import ClassProduct, Features
from ppl_models.inference.sweeps import Rows

LONGEST, SHRUNK = 64.0, 0.01


@dataclass(frozen=True)
class Runs:
    """Runs side by side.

    Attributes:
        total: the prior's natural parameters and the sums of statistics.
        natural: q(θ), settled from them.
        elbo: of all rows, nats in prepared units.
        following: the total after one more step.
    """

    total: Float[Tensor, "restarts classes natural"]
    natural: Float[Tensor, "restarts classes natural"]
    elbo: Float[Tensor, " restarts"]
    following: Float[Tensor, "restarts classes natural"]

    def __getitem__(self, some: Tensor) -> "Runs":
        return Runs(self.total[some], self.natural[some], self.elbo[some], self.following[some])

    def where(self, wanted: Tensor, others: "Runs") -> "Runs":
        """These runs, with ``others`` in the place of those that are not wanted."""
        parts = [
            value.index_copy(0, (~wanted).nonzero()[:, 0], getattr(others, name)) for name, value in vars(self).items()
        ]
        return Runs(*parts)


def begin(rows: Rows, natural: Float[Tensor, "restarts classes natural"]) -> Runs:
    """Runs one step after these states."""
    return settle(rows, rows.sweep(natural)[1], natural)


def settle(rows: Rows, total: Float[Tensor, "restarts classes natural"], previous: Tensor) -> Runs:
    """Runs at these sums."""
    natural = rows.family.settle(total, previous)
    local, following = rows.sweep(natural)
    return Runs(total, natural, local - divergence(rows.family, natural), following)


def leap(rows: Rows, runs: Runs) -> Runs:
    """Two steps, and as far beyond them as pays."""
    one = settle(rows, runs.following, runs.natural)
    leapt = settle(rows, _beyond(rows.family, runs.total, one.total, one.following), one.natural)
    better = leapt.elbo >= one.elbo
    if bool(better.all()):
        return leapt
    worse = (~better).nonzero()[:, 0]
    return leapt.where(better, settle(rows.of_runs(worse), one.following[worse], one.natural[worse]))


def _beyond(family: ClassProduct, start: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The sums along the direction and the curvature of two steps; numbers that cannot be negative stay above 0."""
    direction, curvature = first - start, second - 2 * first + start
    ratio = direction.flatten(1).norm(dim=1) / curvature.flatten(1).norm(dim=1)
    length = ratio.nan_to_num(1.0).clamp(1.0, LONGEST)[:, None, None]
    beyond = start + 2 * length * direction + length.square() * curvature
    prior = family.model.prior()
    return torch.where(family.nonnegative, torch.maximum(beyond, prior + SHRUNK * (second - prior)), beyond)


def bound(
    family: ClassProduct, features: Features, natural: Float[Tensor, "restarts classes natural"]
) -> tuple[Float[Tensor, " restarts"], Float[Tensor, "restarts rows classes"]]:
    """The ELBO of all rows, nats in prepared units, and the responsibilities that it is for."""
    joint = family.expected_log_joint(features, natural)
    unknown = features.labels == UNKNOWN
    told = joint.gather(-1, features.labels.clamp(min=0).expand(joint.shape[:-1])[..., None])[..., 0]
    local = torch.where(unknown, joint.logsumexp(-1), told)
    responsibilities = torch.where(unknown[:, None], joint.softmax(-1), features.told)
    return (local * features.weights).sum(-1) - divergence(family, natural), responsibilities


def divergence(family: ClassProduct, natural: Float[Tensor, "restarts classes natural"]) -> Float[Tensor, " restarts"]:
    """KL(q(θ) ‖ prior) of each run, nats; NaN for one that has come to a fault, of which a prior knows no density."""
    sound = torch.isfinite(natural).flatten(1).all(-1)
    if bool(sound.all()):
        return family.divergence(natural)
    return natural.new_full(sound.shape, torch.nan).masked_scatter(sound, family.divergence(natural[sound]))
