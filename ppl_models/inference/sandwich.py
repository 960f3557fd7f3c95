"""``sandwich``: bounds from both sides of the log densities of rows that a model itself drew."""

from dataclasses import replace

import pyro
import torch

from ppl_models.datasets import chunks_of
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import Density
from ppl_models.families import Amortised, Family
from ppl_models.inference.annealing import TEMPERATURES, anneal
from ppl_models.inference.density import RowBounds, facts_of
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
    size, lower, upper = rows_to_propose_for(family, chains), RowBounds(chains), RowBounds(chains)
    with pyro.validation_enabled(False):
        for batch, z in zip(chunks_of(data, size), latents.split(size), strict=True):
            way = anneal(family, batch, seed=seed + 4, temperatures=temperatures)
            lower.add(way.forwards(chains, seed=seed + 2).cpu().numpy())
            upper.add(-way.backwards(z, chains, seed=seed + 3).cpu().numpy())
    facts = facts_of(family, data)
    low, inverse = lower.close(data, facts), upper.close(data, facts)
    high = 2 * data.log_scale.cpu().numpy() - inverse.values  # 1 / p(x) is what the chains backwards estimate
    return replace(low, kind="interval", upper=high, upper_se=inverse.mean_se)
