"""``log_density``: what a fitted family says of rows it has not seen, with the kind of number said beside it."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyro
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import Density, pareto_k, summarise_weights
from ppl_models.families import Amortised, Exact, Family

CELLS_AT_ONCE = 2**16


@torch.no_grad()
def log_density(family: Family, data: Dataset, *, seed: int = 0, draws: int = 500) -> Density:
    """The log density of each row, in nats and raw units, higher is better.

    Exact families integrate every latent and parameter out in closed form under their guide. Amortised ones give a
    lower bound by K = ``draws`` importance draws from the guide, log mean_k p(x, z_k) / q(z_k | x), which rises with
    K on average; the same noise serves every row, so the order and company of rows change nothing.

    Args:
        family: a fitted family.
        data: rows of its preparation; labels and weights are not used.
        seed: the seed of the importance draws; exact families draw nothing.
        draws: importance draws a row.

    Raises:
        InputError: a family that is no density, rows of another preparation, or fewer than one draw.

    >>> from ppl_models import NaiveBayes, fit, load, prepare
    >>> table = load("wrodl")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> log_density(fit(NaiveBayes(table.schema), rows, seed=0).family, rows).kind
    'exact'
    """
    family.require(data)
    shared = {"checksum": data.checksum, "columns": data.schema.names, "discrete": data.schema.discrete}
    if isinstance(family, Exact):
        values = torch.cat([family.log_prob(batch) for batch in _chunks(data, CELLS_AT_ONCE // family.cells)])
        return Density((values + data.log_scale).cpu().numpy(), "exact", **shared)
    if not isinstance(family, Amortised):
        raise InputError(
            f"{type(family).__name__}: is not a density, since a point mass has no log p(x); its "
            "reconstruction log-likelihood is family.reconstruction_log_likelihood(data)"
        )
    at_least_one(draws=draws)
    return _bound(family, data, seed=seed, draws=draws, shared=shared)


def _bound(family: Amortised, data: Dataset, *, seed: int, draws: int, shared: dict) -> Density:
    """The importance-weighted bound of each row, in chunks of rows so that memory stays bounded."""
    noise = _noise(family, data, seed=seed, draws=draws)
    values, errors, khat, influence = [], [], [], np.zeros(draws)
    with pyro.validation_enabled(False):
        for batch in _chunks(data, CELLS_AT_ONCE // draws):
            weights = family.log_weights(batch, noise).cpu().numpy()
            summary = summarise_weights(weights)
            values.append(summary.values)
            errors.append(summary.monte_carlo_se)
            khat.append(pareto_k(weights.T))
            influence += summary.influence
    spread = float(influence.std(ddof=1)) / draws**0.5 if draws > 1 else float("nan")
    return Density(
        np.concatenate(values) + data.log_scale.cpu().numpy(),
        "lower bound",
        **shared,
        draws=draws,
        monte_carlo_se=np.concatenate(errors),
        khat=np.concatenate(khat),
        mean_se=spread / len(data),
    )


def _chunks(data: Dataset, size: int) -> Iterator[Dataset]:
    """The rows in order, so many at a time."""
    for start in range(0, len(data), max(size, 1)):
        yield data[start : start + max(size, 1)]


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
    noise = _noise(family, data, seed=seed, draws=draws)
    totals = {size: torch.zeros(draws // size, dtype=torch.float64) for size in sizes}
    with pyro.validation_enabled(False):
        for batch in _chunks(data, CELLS_AT_ONCE // draws):
            weights = family.log_weights(batch, noise).cpu()
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


def _noise(family: Amortised, data: Dataset, *, seed: int, draws: int) -> Float[Tensor, "draws latent"]:
    """The standard normal noise that serves every row."""
    with seeded(seed):
        return torch.randn(draws, family.latent, dtype=torch.float64).to(data.values.device)
