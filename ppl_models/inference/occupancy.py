"""How many components the rows occupy, where there are more than they need."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import ClassProduct, Family
from ppl_models.inference.passes import bound

CELLS_AT_ONCE = 2**21


@torch.no_grad()
def occupied_components(family: Family, data: Dataset, *, draws: int = 1000, seed: int) -> pd.DataFrame:
    """The posterior of how many components hold at least one of the rows.

    It is q(z)'s, which gives each row its component by itself: where fits of several numbers of components compete,
    the guide has settled for one of them, and this posterior is narrower than the truth.

    Args:
        family: a fitted mixture, with a sparse prior of the weights or a truncated Dirichlet process as a rule.
        data: the training rows; those of weight 0 do not count.
        draws: of the components of all rows.
        seed: the seed of the draws.

    Returns:
        A line for each number from 1 to that of all components, with the columns components and probability.
        ``attrs["mean"]`` is the posterior mean.

    Raises:
        InputError: a family that is no mixture, rows of another preparation, or fewer than one draw.

    >>> from ppl_models import Mixture, fit, load, prepare
    >>> from ppl_models.distributions import WeightsPrior
    >>> table, sparse = load("fast_food_spending"), WeightsPrior(concentration=0.01)
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> found = fit(Mixture(table.schema, components=5, weights=sparse), rows, seed=0)
    >>> occupied_components(found.family, rows, seed=0).attrs["mean"]
    2.0
    """
    if not isinstance(family, ClassProduct):
        raise InputError(f"occupied components: expected a mixture, got {type(family).__name__}")
    family.require(data)
    data.require_whole("occupied components")
    at_least_one(draws=draws)
    responsibilities = bound(family, family.features(data), family.guide.natural()[None])[1][0][data.weights > 0]
    size = max(CELLS_AT_ONCE // len(responsibilities), 1)
    with seeded(seed):
        occupied = [_occupied(responsibilities, min(size, draws - done)) for done in range(0, draws, size)]
    counts = torch.cat(occupied).bincount(minlength=family.classes + 1)[1:]
    table = pd.DataFrame(
        {"components": np.arange(1, family.classes + 1), "probability": (counts / draws).cpu().numpy()}
    )
    table.attrs["mean"] = float(table["components"] @ table["probability"])
    return table


def _occupied(responsibilities: Float[Tensor, "rows classes"], draws: int) -> Int[Tensor, " draws"]:
    """How many components a draw of all rows' components occupies."""
    member = torch.multinomial(responsibilities, draws, replacement=True).mT
    return torch.zeros(draws, responsibilities.shape[1], device=member.device).scatter_(1, member, 1.0).sum(1).long()
