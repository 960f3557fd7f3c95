"""Pyro's own ELBO of a pair, as a number with its error: the truth that faster estimates are held against."""

from dataclasses import dataclass

import pyro
import torch
from pyro.infer import ELBO, TraceEnum_ELBO
from torch import Tensor

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import ClassProduct, Exact, Family, Latent, one_hot

CELLS_IN_MEMORY = 2**22


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo estimate in nats per row, raw units, higher is better, and its standard error."""

    mean: float
    se: float


def make_elbo(family: Family) -> ELBO:
    """Pyro's estimator that suits the pair: classes enumerated, Gaussians with their KL in closed form."""
    if issubclass(family.elbo, TraceEnum_ELBO):
        return family.elbo(max_plate_nesting=1, strict_enumeration_warning=False)
    return family.elbo()


def pair_loss(family: Family, data: Dataset) -> Tensor:
    """Pyro's loss of all rows, those of other processes included, in batches of bounded memory.

    A batch's loss, as one of all rows, counts by its share of the rows, so that what is theirs together counts once.
    """
    elbo, rows = make_elbo(family), data.all_rows
    size = max(1, CELLS_IN_MEMORY // family.cells) if isinstance(family, Latent | Exact) else len(data)
    parts = chunks_of(data, size)
    losses = [len(part) / rows * elbo.loss(family.model, family.guide, part, rows) for part in parts]
    return data.summed(torch.tensor(losses, dtype=torch.float64).sum())


@torch.no_grad()
def estimate_elbo(family: Family, data: Dataset, *, seed: int, particles: int = 10) -> Estimate:
    """The ELBO of all rows by Pyro's estimator of the pair.

    Args:
        family: a fitted family.
        data: rows of its preparation.
        seed: the seed of the particles.
        particles: independent estimates, whose mean and standard error are returned.

    Raises:
        InputError: the rows are of another schema or preparation, or there is no particle.
    """
    family.require(data)
    at_least_one(particles=particles)
    with seeded(seed), pyro.validation_enabled(False):
        losses = [pair_loss(family, data) for _ in range(particles)]
    values = raw_units(-torch.stack(losses), data)
    return Estimate(float(values.mean()), float(values.std(correction=min(1, particles - 1)) / particles**0.5))


def raw_units(elbo: Tensor, data: Dataset) -> Tensor:
    """An ELBO of all rows in prepared units as nats per row in raw units."""
    return (elbo + data.total_log_scale) / data.total_weight


@torch.no_grad()
def log_evidence(family: Family, data: Dataset) -> float:
    """The exact log evidence of rows whose class is known, or the only one: nats per row, raw units.

    Args:
        family: a conjugate family fitted to rows of this preparation.
        data: the training rows.

    Raises:
        InputError: some row's class is unknown, so that the evidence is a sum over all allocations; a point
            estimate; or cells missing among columns that vary together.
    """
    if not isinstance(family, ClassProduct):
        raise InputError(f"log evidence: expected a conjugate family, got {type(family).__name__}")
    family.require(data)
    data.require_whole("log evidence")
    features = family.features(data)
    if family.classes > 1 and bool((features.labels == UNKNOWN).any()):
        raise InputError("log evidence: expected rows of known class, got some without; only bounds exist then")
    if not family.bayesian or features.hidden:
        found = f"estimate {family.likelihoods.estimate!r}" if not family.bayesian else "cells missing among them"
        raise InputError(f"log evidence: expected a conjugate posterior of columns without hidden cells, got {found}")
    told = one_hot(features.labels.clamp(min=0), family.classes)
    after, before = family.posterior(features, told[None])[0], family.model.prior()
    blocks = family.row.log_partition(after[:, :-1]) - family.row.log_partition(before[:, :-1])
    everything = blocks.sum() + family.weights.log_evidence(after[:, -1])
    return float(raw_units(everything + (features.base * features.weights).sum(), data))
