"""Answers about rows: their classes, how unlikely they are, and some columns given others."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyro
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import Density, tail_probability
from ppl_models.families import Amortised, ClassProduct, Exact, Family, LabelledVAE
from ppl_models.inference.density import CELLS_AT_ONCE, log_density
from ppl_models.inference.inpainting import conditional_estimate
from ppl_models.inference.weights import draws_at_once, noise_of, rows_at_once


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
def class_probabilities(family: Family, data: Dataset, *, seed: int = 0, draws: int = 500) -> pd.DataFrame:
    """The probability of each class or component given a row's observed cells.

    A naive Bayes and a mixture integrate θ out under the guide. A variational autoencoder with classes weighs draws of
    z of every class, p(y | x) ∝ Σ_k p(x, z_ky, y) / q(z_ky | x, y); what the guide of a semi-supervised one says at
    once is ``family.recognise(data)``.

    Args:
        family: a fitted naive Bayes or mixture, or a variational autoencoder with classes.
        data: rows of its preparation; their labels are not used.
        seed: the seed of the draws of z; the others draw nothing.
        draws: of z for each row and class.

    Returns:
        One row a row, called as the table called it, one column a class (components by their numbers from 1), adding
        up to one.

    Raises:
        InputError: another family, or rows of another preparation.

    >>> from ppl_models import GaussianMixture, fit, load, prepare
    >>> table = load("fast_food_spending")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> class_probabilities(fit(GaussianMixture(table.schema, components=2), rows, seed=0).family, rows).shape
    (1000, 2)
    """
    if isinstance(family, LabelledVAE):
        parts = _weighed_classes(family, data, seed=seed, draws=draws)
    else:
        require_conjugate(family, "class probabilities")
        family.require(data)
        parts = [family.log_joint(batch).softmax(-1) for batch in chunks_of(data, CELLS_AT_ONCE // family.cells)]
    return pd.DataFrame(torch.cat(parts).cpu().numpy(), data.names, list(family.class_names))


def _weighed_classes(family: LabelledVAE, data: Dataset, *, seed: int, draws: int) -> list[Float[Tensor, "_ classes"]]:
    """Each class's share in a row's importance weights, in chunks of rows and blocks of draws that fit into memory."""
    family.check_schema(data.schema)
    family.check_preparation(data)
    at_least_one(draws=draws)
    noise, found = noise_of(family, data, seed=seed, draws=draws), []
    with pyro.validation_enabled(False):
        for batch in chunks_of(data, rows_at_once(family, draws)):
            blocks = noise.split(draws_at_once(family, len(batch)))
            sums = [family.log_class_weights(batch, block).logsumexp(0) for block in blocks]
            found.append(torch.stack(sums).logsumexp(0).softmax(0).T)
    return found


@torch.no_grad()
def conditional_log_density(
    family: Family, data: Dataset, *, given: Sequence[str], seed: int = 0, draws: int = 500
) -> Density:
    """log p(other columns | given columns) of each row: nats, raw units, higher is better.

    Amortised families give an estimate, the difference of two importance-weighted bounds, which is itself no bound:
    see ``inpainting.conditional_estimate`` for its error.

    Args:
        family: a fitted family with a density.
        data: rows of its preparation; missing cells are integrated out on both sides.
        given: the columns that are known.
        seed: the seed of the importance draws; exact families draw nothing.
        draws: importance draws a row.

    Raises:
        InputError: a family that is no density, a column that does not exist, no column left, or no draw.
    """
    if not isinstance(family, Exact | Amortised):
        raise InputError(f"conditional density: expected a family with a density, got {type(family).__name__}")
    known = data.only(given)
    left = [index for index, name in enumerate(data.schema.names) if name not in given]
    if not left:
        raise InputError("conditional density: expected a column besides those given, got all of them as given")
    at_least_one(draws=draws)
    family.require(data)
    if isinstance(family, Amortised):
        found = conditional_estimate(family, data, known, seed=seed, draws=draws)
    else:
        whole = log_density(family, data)
        found = replace(whole, values=whole.values - log_density(family, known).values)
    return replace(
        found,
        columns=tuple(data.schema.names[index] for index in left),
        discrete=tuple(data.schema.discrete[index] for index in left),
        given=", ".join([*given, *([found.given] if found.given else [])]),
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
        Columns probability (small for an anomaly, never 0) and se (Monte Carlo), one row a row, called as the table
        called it.

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
    return pd.DataFrame(found, data.names, ["probability", "se"])


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
        index=None,
    )
    return plain.only(data.schema.names)
