"""``log_density``: what a fitted family says of rows it has not seen, with the kind of number said beside it."""

import numpy as np
import pyro
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import Density, pareto_k, summarise_weights
from ppl_models.families import Amortised, Exact, Family
from ppl_models.inference.chunks import chunks_of

CELLS_AT_ONCE = 2**16
CELLS_IN_MEMORY = 2**21


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
    shared = {
        "checksum": data.checksum,
        "columns": data.schema.names,
        "discrete": data.schema.discrete,
        "given": family.given,
    }
    if isinstance(family, Exact):
        values = torch.cat([family.log_prob(batch) for batch in chunks_of(data, CELLS_AT_ONCE // family.cells)])
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
    noise = noise_of(family, data, seed=seed, draws=draws)
    values, errors, khat, influence = [], [], [], np.zeros(draws)
    with pyro.validation_enabled(False):
        for batch in chunks_of(data, rows_at_once(family, draws)):
            weights = log_weights_of(family, batch, noise).cpu().numpy()
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


def rows_at_once(family: Amortised, draws: int) -> int:
    """Rows whose draws fill the memory set aside: few of many draws, many of few."""
    return max(1, CELLS_IN_MEMORY // (family.cells * min(draws, 64)))


def noise_of(family: Amortised, data: Dataset, *, seed: int, draws: int) -> Float[Tensor, "draws noise"]:
    """The standard normal noise that serves every row."""
    with seeded(seed):
        return torch.randn(draws, family.noise, dtype=torch.float64).to(data.values.device)


def log_weights_of(
    family: Amortised, batch: Dataset, noise: Float[Tensor, "draws noise"]
) -> Float[Tensor, "draws rows"]:
    """Log importance weights of all draws of some rows, in blocks of draws that fit into memory at once."""
    block = max(1, CELLS_IN_MEMORY // (family.cells * len(batch)))
    return torch.cat([family.log_weights(batch, part) for part in noise.split(block)])
