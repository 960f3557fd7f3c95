"""``sandwich``: bounds from both sides of the log densities of rows that a model itself drew."""

import math

import numpy as np
import pyro
import torch

from ppl_models.datasets import Dataset
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import Density
from ppl_models.families import Amortised, Family
from ppl_models.inference.annealing import TEMPERATURES, anneal
from ppl_models.inference.chunks import chunks_of
from ppl_models.inference.density import facts_of
from ppl_models.inference.posterior import simulate
from ppl_models.inference.proposals import rows_to_propose_for


@torch.no_grad()
def sandwich(family: Family, rows: int, *, seed: int, chains: int = 16, temperatures: int = TEMPERATURES) -> Density:
    """Draw rows from a fitted family, and bound the log density of each from below and from above.

    Of such rows the z that they came from is known, an exact draw of their posterior, which annealed importance
    sampling needs to run backwards (``annealing.py``). Both bounds hold on average over its random numbers. Their gap
    says how far off the lower one, or ``log_density(..., method="ais")`` of held-out rows like these, can be.

    Args:
        family: a fitted amortised family.
        rows: how many are drawn.
        seed: of the rows and the chains.
        chains: of each row and direction.
        temperatures: of the annealing; the gap shrinks with them.

    Returns:
        A density of kind "interval", nats per row in raw units.

    Raises:
        InputError: a family that is not amortised, was never fitted or dequantises its levels, or a number below 1.
    """
    at_least_one(rows=rows, chains=chains, temperatures=temperatures - 1)
    if not isinstance(family, Amortised) or family.noise != family.latent:
        raise InputError(
            f"{type(family).__name__}: expected a family whose draws tell all of their latents, "
            "got one without, or one that dequantises levels"
        )
    data, latents = simulate(family, rows, seed=seed)
    size, lower, upper = rows_to_propose_for(family, chains), [], []
    with pyro.validation_enabled(False):
        for batch, z in zip(chunks_of(data, size), latents.split(size), strict=True):
            low, high = _bounds(family, batch, z, seed=seed, chains=chains, temperatures=temperatures)
            lower.append(low + batch.log_scale)
            upper.append(high + batch.log_scale)
    low, high = (torch.cat(parts).cpu().numpy().astype(np.float64) for parts in (lower, upper))
    return Density(low, "interval", **facts_of(family, data), draws=chains, upper=high)


def _bounds(
    family: Amortised, batch: Dataset, latents: torch.Tensor, *, seed: int, chains: int, temperatures: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The lower and the upper bound of each row, nats in prepared units."""
    way = anneal(family, batch, seed=seed + 4, temperatures=temperatures)
    forwards, backwards = way.forwards(chains, seed=seed + 2), way.backwards(latents, chains, seed=seed + 3)
    return forwards.logsumexp(0) - math.log(chains), math.log(chains) - (-backwards).logsumexp(0)
