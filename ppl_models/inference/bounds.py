"""Pyro's own ELBO of a pair, as a number with its error: the truth that faster estimates are held against."""

from dataclasses import dataclass

import pyro
import torch
from pyro.infer import ELBO, TraceEnum_ELBO
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.families import Family


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


@torch.no_grad()
def estimate_elbo(family: Family, data: Dataset, *, seed: int, particles: int = 10) -> Estimate:
    """The ELBO of all rows by Pyro's estimator of the pair.

    Args:
        family: a fitted family.
        data: rows of its preparation.
        seed: the seed of the particles.
        particles: independent estimates, whose mean and standard error are returned.

    Raises:
        InputError: the rows are of another schema or preparation.
    """
    family.require(data)
    elbo = make_elbo(family)
    with seeded(seed), pyro.validation_enabled(False):
        losses = [elbo.loss(family.model, family.guide, data, len(data)) for _ in range(particles)]
    values = raw_units(-torch.tensor(losses, dtype=torch.float64), data)
    return Estimate(float(values.mean()), float(values.std(correction=min(1, particles - 1)) / particles**0.5))


def raw_units(elbo: Tensor, data: Dataset) -> Tensor:
    """An ELBO of all rows in prepared units as nats per row in raw units."""
    return (elbo + (data.weights * data.log_scale).sum()) / data.total_weight
