"""Draws: new rows from a fitted family, and parameters from a conjugate guide in raw units."""

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.families import ClassProduct, Family


@torch.no_grad()
def sample(family: Family, rows: int, *, seed: int) -> pd.DataFrame:
    """New rows from a fitted family, in the raw columns, kinds and units.

    Args:
        family: a fitted family; a conjugate one draws from its predictive distribution, whose density
            ``log_density`` reports.
        rows: how many.
        seed: the seed of the draws.

    Returns:
        The schema's columns; with the label before them if the family was told classes.

    >>> from ppl_models import NaiveBayes, fit, load, prepare
    >>> table = load("wrodl")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> sample(fit(NaiveBayes(table.schema), rows, seed=0).family, 2, seed=1).shape
    (2, 5)
    """
    if rows < 1:
        raise InputError(f"rows: expected one or more, got {rows}")
    with seeded(seed):
        drawn = family.draw(rows)
    frame = family.preparation.invert(drawn.values)
    if drawn.labels is not None:
        label = family.schema.label
        frame.insert(0, label.name, pd.Categorical.from_codes(drawn.labels.numpy(), categories=list(label.categories)))
    return frame


@torch.no_grad()
def parameter_draws(family: ClassProduct, draws: int, *, seed: int) -> xr.Dataset:
    """Draws of a conjugate guide's parameters, in raw units.

    Args:
        family: a fitted conjugate family.
        draws: how many.
        seed: the seed of the draws.

    Returns:
        Variables with dimensions (chain, draw, component, ...): weights; loc and scale of continuous columns, those
        of a positive column for its logarithm; correlation under a full covariance; rate of counts; probability of
        each category, one variable a column.
    """
    natural = family.guide.natural()
    batched = natural.expand(draws, *natural.shape)
    with seeded(seed):
        variables = {"weights": (("component",), torch.distributions.Dirichlet(batched[..., -1]).sample())}
        for block, part in family.row.parts(batched[..., :-1]):
            variables |= _RAW[block.site.split("_")[0]](family, block, part)
    arrays = {name: (("chain", "draw", *dims), value.numpy()[None]) for name, (dims, value) in variables.items()}
    return xr.Dataset(arrays, coords=_coordinates(family))


def _coordinates(family: ClassProduct) -> dict[str, list]:
    """Names along each dimension."""
    schema = family.schema
    components = list(schema.label.categories) if family.labelled else list(range(1, family.classes + 1))
    names = {
        f"{kind}_column": [schema.names[index] for index in schema.of_kind(*kinds)]
        for kind, kinds in (("continuous", ("real", "positive")), ("count", ("count",)))
    }
    levels = {
        f"{column.name}_category": list(column.categories) or [0, 1] for column in schema.columns if column.cardinality
    }
    return {"component": [str(name) for name in components]} | {
        name: [str(value) for value in values] for name, values in (names | levels).items() if values
    }


def _continuous(family: ClassProduct, block: torch.nn.Module, part: Tensor) -> dict[str, tuple[tuple, Tensor]]:
    """Locations and scales of the normal columns in raw units."""
    theta = block.sample(part)
    loc, scale = block.pick(family.loc), block.pick(family.scale)
    dims = ("component", "continuous_column")
    found = {"loc": (dims, theta["loc"] * scale + loc)}
    if theta["precision"].dim() == theta["loc"].dim():
        return found | {"scale": (dims, theta["precision"].rsqrt() * scale)}
    covariance = torch.linalg.inv(theta["precision"])
    deviation = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    correlation = covariance / (deviation[..., :, None] * deviation[..., None, :])
    return found | {"scale": (dims, deviation * scale), "correlation": (("component", "row", "column"), correlation)}


def _counts(family: ClassProduct, block: torch.nn.Module, part: Tensor) -> dict[str, tuple[tuple, Tensor]]:
    """Rates of the count columns."""
    return {"rate": (("component", "count_column"), block.sample(part)["rate"])}


def _categories(family: ClassProduct, block: torch.nn.Module, part: Tensor) -> dict[str, tuple[tuple, Tensor]]:
    """Probabilities of each column's categories."""
    probabilities = block.sample(part)["probs"]
    names = [family.schema.names[index] for index in block.columns]
    return {
        f"probability_{name}": (("component", f"{name}_category"), probabilities[..., index, :])
        for index, name in enumerate(names)
    }


_RAW = {"real": _continuous, "count": _counts, "categorical": _categories}


@torch.no_grad()
def density_band(
    family: ClassProduct, grid: Dataset, *, seed: int, draws: int = 400, level: float = 0.9
) -> Float[np.ndarray, "3 rows"]:
    """The density of each row of a grid, and its credible band over the guide's parameters, in raw units.

    Args:
        family: a fitted conjugate family.
        grid: rows of its preparation at which the density is wanted.
        seed: the seed of the parameter draws.
        draws: how many.
        level: the band's posterior probability.

    Returns:
        Three rows: the predictive density, the band's low end, its high end; a density per raw unit, not in nats.
    """
    with seeded(seed):
        densities = _log_prob_draws(family, grid, draws) + grid.log_scale
    tail = (1 - level) / 2
    low, high = np.quantile(densities.exp().numpy(), [tail, 1 - tail], axis=0)
    return np.stack([(family.log_prob(grid) + grid.log_scale).exp().numpy(), low, high])


def _log_prob_draws(family: ClassProduct, grid: Dataset, draws: int) -> Float[Tensor, "draws rows"]:
    """log p(x | θ) of each row for each draw of θ from the guide; draws and classes are one batch."""
    natural = family.guide.natural()
    weights = torch.distributions.Dirichlet(natural[:, -1]).sample((draws,))
    member = torch.arange(draws * family.classes)[:, None]
    joint = weights.log().flatten()[:, None]
    for block, part in family.row.parts(natural[:, :-1].repeat(draws, 1)):
        cells = block.likelihood(block.sample(part), member).log_prob(block.pick(grid.values))
        joint = joint + (cells if cells.dim() == 2 else (cells * block.pick(grid.observed)).sum(-1))
    return joint.unflatten(0, (draws, family.classes)).logsumexp(1)
