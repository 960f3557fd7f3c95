"""Importance weights of an amortised family's rows, in pieces of bounded memory."""

import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.families import Amortised

CELLS_IN_MEMORY = 2**20


def rows_at_once(family: Amortised, draws: int) -> int:
    """Rows whose draws fill the memory set aside: few of many draws, many of few."""
    return max(1, CELLS_IN_MEMORY // (family.cells * min(draws, 64)))


def draws_at_once(family: Amortised, rows: int) -> int:
    """Draws of so many rows that fit into memory at once."""
    return max(1, CELLS_IN_MEMORY // (family.cells * rows))


def noise_of(family: Amortised, data: Dataset, *, seed: int, draws: int) -> Float[Tensor, "draws noise"]:
    """The standard normal noise that serves every row."""
    with seeded(seed):
        return torch.randn(draws, family.noise, dtype=torch.float64).to(data.values.device)


def log_weights_of(
    family: Amortised, batch: Dataset, noise: Float[Tensor, "draws noise"]
) -> Float[Tensor, "draws rows"]:
    """Log importance weights of all draws of some rows, nats in prepared units."""
    return torch.cat([family.log_weights(batch, part) for part in noise.split(draws_at_once(family, len(batch)))])
