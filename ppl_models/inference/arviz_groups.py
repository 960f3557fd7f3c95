"""What ArviZ asks of a fitted family, group by group: draws, log likelihoods, replicated and observed rows.

Complete columns lie along ``row``, one with cells missing along a dimension of its own of the rows that have them: what
was not seen is in no group. Rows have their numbers from 0, columns their names, components their numbers from 1 and
classes their labels; a categorical column holds codes, whose names are in its attribute ``categories``.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions import seeded
from ppl_models.families import Amortised, ClassProduct, Draws, Family
from ppl_models.inference.posterior import as_table, in_raw_units
from ppl_models.inference.refined import Theta, log_likelihoods_of, log_prob_of
from ppl_models.inference.replicates import replicated_rows, rows_again
from ppl_models.inference.weights import rows_at_once

CELLS_AT_ONCE = 2**21
PLANE = {"row": "correlation_row", "column": "correlation_column"}  # rows are the table's here
Groups = dict[str, xr.Dataset]


@torch.no_grad()
def parameter_groups(
    family: ClassProduct, train: Dataset, test: Dataset | None, theta: Theta, *, refined: bool, seed: int
) -> Groups:
    """The groups of a conjugate family.

    Args:
        family: fitted to the training rows.
        train: the training rows.
        test: held-out rows, or None.
        theta: draws of θ.
        refined: whether they are the posterior's and not the guide's, whose density no one knows.
        seed: of the replicated rows.
    """
    likelihood = _log_likelihood(family, train, theta, told=True)
    log_p = likelihood.sum(-1) + log_prob_of(family, family.model.prior().expand(len(likelihood), -1, -1), theta.sites)
    stats = {"log_p": log_p}
    if not refined:
        stats["log_q"] = log_prob_of(family, family.guide.natural().expand(len(likelihood), -1, -1), theta.sites)
    told = family.labelled and bool((train.labels != UNKNOWN).any())
    with seeded(seed + 1):
        replicated = replicated_rows(family, theta.sites, len(train))
    groups = {
        "posterior": _posterior(family, theta),
        "sample_stats": xr.Dataset({name: (("chain", "draw"), _by_chain(each, theta)) for name, each in stats.items()}),
        "log_likelihood": _by_row("x_and_label" if told else "x", likelihood, theta),
        "posterior_predictive": _columns(family, replicated, _seen(family, train), (theta.chains, -1)),
        "observed_data": _observed(family, train, replicated),
    }
    if test is not None:
        likelihood = _log_likelihood(family, test, theta, told=False)
        groups |= {
            "log_likelihood_test": _by_row("x", likelihood, theta),
            "observed_data_test": _observed(family, test, replicated),
        }
    return groups


@torch.no_grad()
def latent_groups(family: Amortised, train: Dataset, *, draws: int, seed: int) -> Groups:
    """The groups of a family whose parameters are one value each, and whose guide answers for each row's z.

    Args:
        family: fitted.
        train: rows of its preparation.
        draws: of z for each row, and how many tables are replicated.
        seed: of the draws.
    """
    with seeded(seed):
        batches = chunks_of(train, rows_at_once(family, draws))
        z = torch.cat([family.posterior(batch).sample((draws,)) for batch in batches], 1).double()
    with seeded(seed + 1):
        replicated = rows_again(family, draws, len(train))
    names = [f"z{number}" for number in range(1, z.shape[-1] + 1)]
    coordinates = {"row": np.arange(len(train)), "latent": names}
    return {
        "posterior": xr.Dataset({"z": (("chain", "draw", "row", "latent"), z[None].cpu().numpy())}, coordinates),
        "posterior_predictive": _columns(family, replicated, _seen(family, train), (1, -1)),
        "observed_data": _observed(family, train, replicated),
    }


def _posterior(family: ClassProduct, theta: Theta) -> xr.Dataset:
    """The parameters in raw units; components by their numbers."""
    found = in_raw_units(family, theta)
    found = found.rename({name: PLANE[name] for name in PLANE if name in found.dims})
    return found if family.labelled else found.assign_coords(component=np.arange(1, family.classes + 1))


def _log_likelihood(family: ClassProduct, rows: Dataset, theta: Theta, *, told: bool) -> Float[Tensor, "draws rows"]:
    """log p(x | θ) of each row, or log p(x, class | θ) where the class is told: nats, raw units."""
    draws = len(next(iter(theta.sites.values())))
    parts = []
    for batch in chunks_of(rows, CELLS_AT_ONCE // (draws * family.classes)):
        features = family.features(batch)
        excluded = features.excluded if told else None
        parts.append(log_likelihoods_of(family, features, theta.sites, excluded) + batch.log_scale)
    return torch.cat(parts, 1)


def _by_chain(values: Tensor, theta: Theta) -> np.ndarray:
    """Draws in the order of chains, a line a chain."""
    return values.unflatten(0, (theta.chains, -1)).cpu().numpy()


def _by_row(name: str, values: Float[Tensor, "draws rows"], theta: Theta) -> xr.Dataset:
    """Numbers of each draw and row."""
    told = {"unit": "nats, in the data's own units", "of": "log p(x, label | θ)" if "label" in name else "log p(x | θ)"}
    arrays = {name: (("chain", "draw", "row"), _by_chain(values, theta), told)}
    return xr.Dataset(arrays, {"row": np.arange(values.shape[1])})


def _observed(family: Family, rows: Dataset, like: pd.DataFrame) -> xr.Dataset:
    """The cells that were there, raw units, of the columns that another table has."""
    frame = as_table(family, Draws(rows.values, None if family.schema.label is None else rows.labels))
    return _columns(family, frame[list(like.columns)], _seen(family, rows), ())


def _seen(family: Family, rows: Dataset) -> dict[str, Bool[np.ndarray, " rows"]]:
    """Which rows have a cell of each column, the label among them where there is one."""
    seen = dict(zip(family.schema.names, rows.observed.mT.cpu().numpy(), strict=True))
    if family.schema.label is not None:
        seen[family.schema.label.name] = (rows.labels != UNKNOWN).cpu().numpy()
    return seen


def _columns(
    family: Family, frame: pd.DataFrame, seen: Mapping[str, Bool[np.ndarray, " rows"]], lead: tuple[int, ...]
) -> xr.Dataset:
    """The columns of one table, or of many of the same length one after another, without cells that were not seen."""
    arrays, rows = {}, {}
    for name in frame.columns:
        kept = seen[name]
        if not kept.any():
            continue
        place = "row" if kept.all() else f"{name}_row"
        cells, categories = _numbers(frame[name])
        dims = (*(("chain", "draw") if lead else ()), place)
        arrays[name] = (dims, cells.reshape(*lead, len(kept))[..., kept], categories)
        rows[place] = np.flatnonzero(kept)
    return xr.Dataset(arrays, rows)


def _numbers(cells: pd.Series) -> tuple[np.ndarray, dict[str, list[str]]]:
    """A column as numbers, categories as codes with their names beside them."""
    if not isinstance(cells.dtype, pd.CategoricalDtype):
        return cells.to_numpy(dtype=np.int64 if cells.dtype == bool else None, copy=True), {}
    return cells.cat.codes.to_numpy().astype(np.int64), {"categories": [str(name) for name in cells.cat.categories]}
