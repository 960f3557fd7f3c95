"""``elbo_parts``: the ELBO of rows, and apart from one another what it is made of.

    ELBO = E_q[log p(x | z)] − KL(q(z | x) ‖ p(z))

Hoffman and Johnson (2016), ELBO surgery, http://approximateinference.org/accepted/HoffmanJohnson2016.pdf.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyro
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import Family, Latent, Weighed
from ppl_models.inference.bounds import CELLS_IN_MEMORY, Estimate, raw_units


@dataclass(frozen=True)
class ElboParts:
    """The ELBO of rows and its two parts: means over rows by weight, nats per row, raw units.

    Attributes:
        elbo: reconstruction − kl, higher is better.
        reconstruction: E_q[log p(x | z)], higher is better; the Jacobian of the preparation belongs to it.
        kl: KL(q(z | x) ‖ p(z)), from 0 up, though not for sure where it is a Monte Carlo estimate; of a point mass
            −log p(z), what the prior charges for the point.
        units: the KL of each dimension of z, or one of all where it has no parts by dimension; they add up to ``kl``.
        closed_form: whether the KL is exact for each row, and not the mean over draws.
    """

    elbo: Estimate
    reconstruction: Estimate
    kl: Estimate
    units: tuple[Estimate, ...]
    closed_form: bool


@torch.no_grad()
def elbo_parts(family: Family, data: Dataset, *, seed: int, particles: int = 10) -> ElboParts:
    """The ELBO of all rows as its reconstruction and its KL.

    Args:
        family: a fitted family whose rows have a place in a latent space.
        data: rows of its preparation.
        seed: the seed of the particles.
        particles: independent draws of z for each row, over whose means the standard errors are taken.

    Raises:
        InputError: a family without latents of its rows, rows of another schema or preparation, or no particle.

    >>> from ppl_models import VAE, fit, load, prepare
    >>> from ppl_models.inference import Gradient
    >>> table = load("fast_food_spending")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> found = fit(VAE(table.schema, latent=1), rows, seed=0, method=Gradient(steps=3))
    >>> parts = elbo_parts(found.family, rows, seed=0)
    >>> parts.closed_form, len(parts.units), parts.elbo.mean == parts.reconstruction.mean - parts.kl.mean
    (True, 1, True)
    """
    if not isinstance(family, Latent):
        raise InputError(f"ELBO parts: expected a family with a latent point a row, got {type(family).__name__}")
    family.require(data)
    at_least_one(particles=particles)
    with seeded(seed), pyro.validation_enabled(False):
        found = torch.stack([sum(_sums(family, data)) for _ in range(particles)])
        closed = _closed_form(family, data[:1])
    reconstruction, units = raw_units(found[:, 0], data), found[:, 1:] / data.total_weight
    parts = _estimate(reconstruction), _estimate(units.sum(-1))
    whole = Estimate(parts[0].mean - parts[1].mean, _estimate(reconstruction - units.sum(-1)).se)
    return ElboParts(whole, *parts, tuple(map(_estimate, units.T)), closed)


def _sums(family: Latent, data: Dataset) -> Iterator[Float[Tensor, " parts"]]:
    """The reconstruction and each unit's KL by one draw of z a row, summed by weight over each part of the rows."""
    for part in chunks_of(data, CELLS_IN_MEMORY // family.cells):
        found = _drawn(family, part)
        columns = torch.cat([found.log_likelihood[0][:, None].double(), found.kl.double()], -1)
        yield part.weights.double() @ columns


def _closed_form(family: Latent, row: Dataset) -> bool:
    """Whether a row's KL is the same whatever is drawn: a mean over draws is not."""
    return torch.equal(_drawn(family, row).kl, _drawn(family, row).kl)


def _drawn(family: Latent, rows: Dataset) -> Weighed:
    """One draw of z for each row."""
    return family.weigh(rows, torch.randn(1, len(rows), family.noise, device=rows.values.device))


def _estimate(values: Float[Tensor, " particles"]) -> Estimate:
    """The mean over particles and its standard error; 0 for a single one."""
    return Estimate(float(values.mean()), float(values.std(correction=min(1, len(values) - 1)) / len(values) ** 0.5))
