"""Answers about rows from the discrete half: their classes, how unlikely they are, and some columns given others."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import Density, tail_probability
from ppl_models.families import ClassProduct, Exact, Family
from ppl_models.inference.chunks import chunks_of
from ppl_models.inference.density import CELLS_AT_ONCE, log_density


def require_conjugate(family: Family, what: str) -> None:
    """Refuse a family that is no class-given product.

    Args:
        family: any family.
        what: what the message begins with.

    Raises:
        InputError: the family is another.
    """
    if not isinstance(family, ClassProduct):
        raise InputError(f"{what}: expected a naive Bayes or a mixture, got {type(family).__name__}")


@torch.no_grad()
def class_probabilities(family: Family, data: Dataset) -> pd.DataFrame:
    """The probability of each class or component given a row's observed cells, θ integrated out under the guide.

    Args:
        family: a fitted naive Bayes or mixture.
        data: rows of its preparation; their labels are not used.

    Returns:
        One row a row, one column a class (components by their numbers from 1), adding up to one.

    Raises:
        InputError: another family, or rows of another preparation.

    >>> from ppl_models import GaussianMixture, fit, load, prepare
    >>> table = load("fast_food_spending")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> class_probabilities(fit(GaussianMixture(table.schema, components=2), rows, seed=0).family, rows).shape
    (1000, 2)
    """
    require_conjugate(family, "class probabilities")
    family.require(data)
    parts = [family.log_joint(batch).softmax(-1) for batch in chunks_of(data, CELLS_AT_ONCE // family.cells)]
    return pd.DataFrame(torch.cat(parts).cpu().numpy(), columns=list(family.class_names))


@torch.no_grad()
def conditional_log_density(family: Family, data: Dataset, *, given: Sequence[str]) -> Density:
    """log p(other columns | given columns) of each row: nats, raw units, higher is better.

    Args:
        family: a fitted family whose log density is exact.
        data: rows of its preparation; missing cells are integrated out on both sides.
        given: the columns that are known.

    Raises:
        InputError: a family with a bound only, a column that does not exist, or no column left.
    """
    if not isinstance(family, Exact):
        raise InputError(f"conditional density: expected a family of exact density, got {type(family).__name__}")
    known = data.only(given)
    left = [index for index, name in enumerate(data.schema.names) if name not in given]
    if not left:
        raise InputError("conditional density: expected a column besides those given, got all of them as given")
    whole = log_density(family, data)
    return replace(
        whole,
        values=whole.values - log_density(family, known).values,
        columns=tuple(data.schema.names[index] for index in left),
        discrete=tuple(data.schema.discrete[index] for index in left),
        given=", ".join([*given, *([whole.given] if whole.given else [])]),
    )


@torch.no_grad()
def tail_probabilities(family: Family, data: Dataset, *, seed: int, draws: int = 2000) -> pd.DataFrame:
    """How many rows of the model's own making are no more probable than each of these: a score of anomalies.

    Rows with cells missing are held against drawn rows that miss the same ones.

    Args:
        family: a fitted family whose log density is exact.
        data: rows of its preparation.
        seed: the seed of the draws.
        draws: rows drawn from the model.

    Returns:
        Columns probability (small for an anomaly, never 0) and se (Monte Carlo), one row a row.

    Raises:
        InputError: a family with a bound only, rows of another preparation, or no draw.
    """
    if not isinstance(family, Exact):
        raise InputError(f"tail probabilities: expected a family of exact density, got {type(family).__name__}")
    at_least_one(draws=draws)
    values = log_density(family, data).values
    with seeded(seed):
        drawn = rows_like(data, family.draw(draws).values)
    patterns, pattern = torch.unique(data.observed, dim=0, return_inverse=True)
    found = np.empty((len(data), 2))
    for index, seen in enumerate(patterns):
        names = [name for name, kept in zip(data.schema.names, seen.tolist(), strict=True) if kept]
        mine = (pattern == index).cpu().numpy()
        found[mine] = tail_probability(values[mine], log_density(family, drawn.only(names)).values)
    return pd.DataFrame(found, columns=["probability", "se"])


def rows_like(data: Dataset, values: torch.Tensor) -> Dataset:
    """Complete rows of prepared values, (rows, columns), described as ``data`` is.

    Args:
        data: rows of the same schema and preparation.
        values: prepared values.
    """
    plain = replace(
        data,
        values=values,
        observed=torch.ones_like(values, dtype=torch.bool),
        labels=torch.full_like(values[:, 0], -1, dtype=torch.long),
        weights=torch.ones_like(values[:, 0]),
        log_scale=torch.zeros_like(values[:, 0]),
        hashes=torch.arange(len(values)),
    )
    return plain.only(data.schema.names)
