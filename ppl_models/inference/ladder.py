"""``bound_ladder``: how a bound of held-out rows rises with the number of importance draws."""

import math

import pandas as pd
import pyro
import torch

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import Amortised
from ppl_models.inference.weights import log_weights_of, noise_of, rows_at_once


@torch.no_grad()
def bound_ladder(family: Amortised, data: Dataset, *, seed: int, draws: int = 2000) -> pd.DataFrame:
    """K-draw bounds of rows for K = 1, 2, 5, 10, ... up to ``draws``, from one set of draws.

    The draws are split into blocks of K; a bound is the mean of its blocks', so the bounds of small K are as well
    determined as those of large ones. K = 1 is the ELBO.

    Args:
        family: a fitted amortised family.
        data: rows of its preparation.
        seed: the seed of the draws.
        draws: how many in all.

    Returns:
        Columns draws (K), elpd (nats per row, raw units) and mean_se, its Monte Carlo error, NaN for one block.
    """
    family.require(data)
    at_least_one(draws=draws)
    if not isinstance(family, Amortised):
        raise InputError(
            f"bound ladder: expected a family whose density is bounded by draws, got {type(family).__name__}"
        )
    sizes = [size for power in range(7) for size in (10**power, 2 * 10**power, 5 * 10**power) if size <= draws]
    noise = noise_of(family, data, seed=seed, draws=draws)
    totals = {size: torch.zeros(draws // size, dtype=torch.float64) for size in sizes}
    with pyro.validation_enabled(False):
        for batch in chunks_of(data, rows_at_once(family, draws)):
            weights = log_weights_of(family, batch, noise).cpu()
            for size, total in totals.items():
                blocks = weights[: draws // size * size].unflatten(0, (-1, size))
                total += (blocks.logsumexp(1) - math.log(size)).sum(-1)
    means = {size: total / len(data) + float(data.log_scale.mean()) for size, total in totals.items()}
    return pd.DataFrame(
        [
            {
                "draws": size,
                "elpd": float(mean.mean()),
                "mean_se": float(mean.std() / len(mean) ** 0.5) if len(mean) > 1 else math.nan,
            }
            for size, mean in means.items()
        ]
    )
