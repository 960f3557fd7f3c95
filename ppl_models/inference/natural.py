"""Natural-gradient SVI for conjugate families: coordinate ascent in batches, all restarts at once.

A step moves the natural parameters of q(θ) towards those that are optimal for the batch's responsibilities, by a rate
ρ (Hoffman, Blei, Wang and Paisley 2013, https://jmlr.org/papers/v14/hoffman13a.html). On all rows with ρ = 1 it is
coordinate ascent and the ELBO never falls; on batches ρ = (t + 20)^−0.6 is a Robbins-Monro sequence.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.errors import at_least_one
from ppl_models.families import ClassProduct, Features, one_hot

CHECK_EVERY = 5
DELAY, FORGETTING = 20.0, 0.6


@dataclass(frozen=True)
class NaturalGradient:
    """How a conjugate family is fitted by natural gradients.

    Attributes:
        restarts: starts that are run side by side; the one with the best ELBO is kept.
        steps: at most so many passes over all rows.
        tolerance: stop when no restart gained more than this in a pass, nats per row.
        batch_size: None for coordinate ascent on all rows; else rows a batch, for ``epochs`` passes before it.
        epochs: passes in batches.
    """

    restarts: int = 8
    steps: int = 3000
    tolerance: float = 1e-7
    batch_size: int | None = None
    epochs: int = 5

    def __post_init__(self) -> None:
        at_least_one(
            "NaturalGradient: ",
            restarts=self.restarts,
            steps=self.steps,
            batch_size=self.batch_size,
            epochs=self.epochs,
        )


@dataclass(frozen=True)
class Ascent:
    """What natural-gradient steps came to.

    Attributes:
        natural: (classes, natural) of the best restart, in canonical order.
        elbo: (passes, restarts) ELBO of all rows in nats, prepared units.
        kept: the pass whose state ``natural`` is, from 0: the last that was looked at and sound.
        converged: whether the tolerance was reached.
        fault: the Pyro site at which the last pass's ELBO was not a number; None if it was one.
    """

    natural: Float[Tensor, "classes natural"]
    elbo: Float[Tensor, "passes restarts"]
    kept: int
    converged: bool
    fault: str | None


@torch.no_grad()
def ascend(
    family: ClassProduct,
    train: Dataset,
    *,
    method: NaturalGradient,
    seed: int,
    progress: Callable[[int], object] = lambda passes: None,
) -> Ascent:
    """Run natural-gradient steps to convergence.

    Args:
        family: a conjugate family that has adopted the training rows.
        train: the training rows.
        method: restarts, steps, tolerance, batches.
        seed: the seed of the starts and of the order of batches.
        progress: called with the number of passes done since the last call.
    """
    features = family.features(train)
    start = family.start(train, restarts=method.restarts, seed=seed)
    natural = family.posterior(features, start)
    if method.batch_size is not None and method.batch_size < len(train):
        natural = _in_batches(family, features, natural, method=method, order=_batches(len(train), method, seed))
    elbos: list[Tensor] = []
    kept, sound, converged, fault = 0, family.model.prior().expand_as(natural), False, None
    for step in range(method.steps):
        elbo, responsibilities = bound(family, features, natural)
        elbos.append(elbo)
        progress(1)
        if step % CHECK_EVERY == 0 or step < CHECK_EVERY or step + 1 == method.steps:
            if not bool(torch.isfinite(elbo).all()):
                fault = _faulty_site(family, natural)
                break
            kept, sound = step, natural
            converged = step > 0 and float((elbo - elbos[-2]).max()) <= method.tolerance * train.total_weight
            if converged:
                break
        natural = family.posterior(features, responsibilities)
    best = elbos[kept].nan_to_num(-torch.inf).argmax()
    return Ascent(family.arrange(sound[best]), torch.stack(elbos), kept, converged, fault)


def bound(family: ClassProduct, features: Features, natural: Tensor) -> tuple[Tensor, Tensor]:
    """The ELBO of all rows, (restarts,) nats, and the responsibilities that it is for."""
    joint = family.expected_log_joint(features, natural)
    unknown = features.labels == UNKNOWN
    told = joint.gather(-1, features.labels.clamp(min=0).expand(joint.shape[:-1])[..., None])[..., 0]
    local = torch.where(unknown, joint.logsumexp(-1), told)
    responsibilities = torch.where(unknown[:, None], joint.softmax(-1), one_hot(features.labels, joint.shape[-1]))
    return (local * features.weights).sum(-1) - family.divergence(natural), responsibilities


def _faulty_site(family: ClassProduct, natural: Tensor) -> str:
    """The first site whose expected log density is not a number."""
    for block, part in family.row.parts(natural[..., :-1]):
        if not bool(torch.isfinite(block.expected(part)).all() and torch.isfinite(block.log_partition(part)).all()):
            return block.site
    return "component"


def _in_batches(
    family: ClassProduct, features: Features, natural: Tensor, *, method: NaturalGradient, order: Iterator[Tensor]
) -> Tensor:
    """Robbins-Monro steps on batches, for ``epochs`` passes."""
    rows_in_all = len(features.labels)
    for step, rows in enumerate(order):
        batch = features[rows]
        _, responsibilities = bound(family, batch, natural)
        rate = (step + DELAY) ** -FORGETTING
        target = family.posterior(batch, responsibilities, rows_in_all / len(rows))
        natural = (1 - rate) * natural + rate * target
    return natural


def _batches(rows: int, method: NaturalGradient, seed: int) -> Iterator[Tensor]:
    """The rows of each batch, in a new order every pass."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(method.epochs):
        yield from torch.randperm(rows, generator=generator).split(method.batch_size)
