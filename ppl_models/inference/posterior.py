"""Draws: new rows from a fitted family, and parameters from a conjugate guide in raw units."""

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import Conjugate, seeded
from ppl_models.distributions.negative_binomial import GRID
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import ClassProduct, Draws, Family
from ppl_models.inference.density import log_density
from ppl_models.inference.refined import Theta, guide_draws, log_joint_given, parameters_of, refined_draws


@torch.no_grad()
def sample(family: Family, rows: int, *, seed: int, label: object | None = None) -> pd.DataFrame:
    """New rows from a fitted family, in the raw columns, kinds and units.

    Args:
        family: a fitted family; a conjugate one draws from its predictive distribution, whose density
            ``log_density`` reports.
        rows: how many.
        seed: the seed of the draws.
        label: the class that all rows are to have, for a naive Bayes or variational autoencoder that was told classes;
            None for each by its share.

    Returns:
        The schema's columns; with the label before them if the family was told classes.

    Raises:
        InputError: a family that was never fitted, no row, a class that does not exist, or one asked of a family that
            does not draw by class.

    >>> from ppl_models import NaiveBayes, fit, load, prepare
    >>> table = load("wrodl")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> sample(fit(NaiveBayes(table.schema), rows, seed=0).family, 2, seed=1).shape
    (2, 5)
    """
    at_least_one(rows=rows)
    with seeded(seed):
        return as_table(family, family.draw(rows) if label is None else family.draw_class(rows, label))


@torch.no_grad()
def simulate(family: Family, rows: int, *, seed: int) -> tuple[Dataset, Tensor | None]:
    """Rows that a fitted family drew, prepared as its training rows were, and the latent points they came from.

    Args:
        family: a fitted family.
        rows: how many.
        seed: the seed of the draws.

    Raises:
        InputError: a family that was never fitted, or no row.
    """
    at_least_one(rows=rows)
    with seeded(seed):
        drawn = family.draw(rows)
    return family.preparation(as_table(family, drawn)), drawn.latents


def as_table(family: Family, drawn: Draws) -> pd.DataFrame:
    """Drawn rows as a table, with their classes before them if they have any."""
    frame = family.preparation.invert(drawn.values)
    if drawn.labels is not None:
        label = family.schema.label
        frame.insert(0, label.name, label.from_codes(drawn.labels.numpy()))
    return frame


@torch.no_grad()
def parameter_draws(family: Family, draws: int, *, seed: int, refine: Dataset | None = None) -> xr.Dataset:
    """Draws of a conjugate family's parameters, in raw units.

    Args:
        family: a fitted conjugate family.
        draws: how many.
        seed: the seed of the draws.
        refine: the training rows, to draw from the posterior with the component summed out (``refined.py``) and not
            from the guide, whose intervals are too narrow where components overlap.

    Returns:
        Variables with dimensions (chain, draw, component, ...): weights; loc and scale of continuous columns, those of
        a positive column for its logarithm; correlation where columns vary together; rate of counts, or their mean and
        dispersion, or their share of the row's total; probability of each category, one variable a column; of a Markov
        chain initial and transition, by token and by token before and token after. The attributes khat and accepted are
        the refinement's, NaN without; mean_field is 1 for draws of the guide where it holds them independent of
        components that no row tells, else 0.

    Raises:
        InputError: a family that is not conjugate, was never fitted or holds a point estimate, or fewer than one draw.
    """
    if not isinstance(family, ClassProduct):
        raise InputError(f"parameter draws: expected a conjugate family, got {type(family).__name__}")
    if not family.bayesian:
        raise InputError(f"parameter draws: expected estimate 'bayes', got {family.likelihoods.estimate!r}")
    at_least_one(draws=draws)
    theta = _theta(family, draws, seed=seed, refine=refine)
    mean_field = int(refine is None and family.classes > 1 and not family.labelled)
    return in_raw_units(family, theta).assign_attrs(khat=theta.khat, accepted=theta.accepted, mean_field=mean_field)


def in_raw_units(family: ClassProduct, theta: Theta) -> xr.Dataset:
    """Values of a family's parameters in raw units, by the names and dimensions of ``parameter_draws``.

    Args:
        family: a fitted family.
        theta: values by Pyro site.
    """
    variables = {"weights": (("component",), family.weights.from_sites(theta.sites))}
    for block in family.row:
        values = parameters_of(block, theta.sites)
        variables |= _RAW[block.site.split("_")[0]](family, block, values)
    arrays = {
        name: (("chain", "draw", *dims), value.unflatten(0, (theta.chains, -1)).numpy())
        for name, (dims, value) in variables.items()
    }
    names = _coordinates(family)
    if "correlation" in arrays:
        names |= dict.fromkeys(("row", "column"), names["continuous_column"])
    return xr.Dataset(arrays, coords=names)


def _theta(family: ClassProduct, draws: int, *, seed: int, refine: Dataset | None) -> Theta:
    """Draws of the guide's θ, or of the posterior's given these rows."""
    if refine is None:
        with seeded(seed):
            return guide_draws(family, draws)
    with torch.enable_grad():
        return refined_draws(family, refine, draws, seed=seed)


def _coordinates(family: ClassProduct) -> dict[str, list]:
    """Names along each dimension."""
    schema = family.schema
    components = list(schema.label.categories) if family.labelled else list(range(1, family.classes + 1))
    names = {
        f"{kind}_column": [schema.names[index] for index in schema.of_kind(*kinds)]
        for kind, kinds in (("continuous", ("real", "positive")), ("count", ("count",)))
    }
    if family.likelihoods.steps == "chain":
        tokens = list(map(str, schema.vocabulary))
        return {"component": list(map(str, components)), "token": tokens, "before": tokens, "after": tokens}
    levels = {
        f"{column.name}_category": list(column.categories) or [0, 1] for column in schema.columns if column.cardinality
    }
    return {"component": [str(name) for name in components]} | {
        name: [str(value) for value in values] for name, values in (names | levels).items() if values
    }


def _continuous(family: ClassProduct, block: Conjugate, theta: dict[str, Tensor]) -> dict[str, tuple[tuple, Tensor]]:
    """Locations and scales of the normal columns in raw units."""
    loc, scale = block.pick(family.preparation.loc), block.pick(family.preparation.scale) / block.unit
    dims = ("component", "continuous_column")
    found = {"loc": (dims, theta["loc"] * scale + loc)}
    if "freedom" in theta:
        found["freedom"] = (dims[:1], theta["freedom"].expand(theta["loc"].shape[:-1]))
    if theta["precision"].dim() == theta["loc"].dim():
        return found | {"scale": (dims, theta["precision"].rsqrt().expand_as(theta["loc"]) * scale)}
    covariance = torch.linalg.inv(theta["precision"]).expand(*theta["loc"].shape, -1)
    deviation = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    correlation = covariance / (deviation[..., :, None] * deviation[..., None, :])
    return found | {"scale": (dims, deviation * scale), "correlation": (("component", "row", "column"), correlation)}


def _counts(family: ClassProduct, block: Conjugate, theta: dict[str, Tensor]) -> dict[str, tuple[tuple, Tensor]]:
    """What tells the count columns' distributions: rates; means and dispersions; or shares of the row's total."""
    dims = ("component", "count_column")
    if "rate" in theta:
        return {"rate": (dims, theta["rate"])}
    if "dispersion" not in theta:
        return {"share": (dims, theta["probs"])}
    dispersion = GRID[theta["dispersion"].long()]
    mean = dispersion * theta["probs"] / (1 - theta["probs"])
    return {"mean": (dims, mean), "dispersion": (dims, dispersion)}


def _categories(family: ClassProduct, block: Conjugate, theta: dict[str, Tensor]) -> dict[str, tuple[tuple, Tensor]]:
    """Probabilities of each column's categories."""
    names = [family.schema.names[index] for index in block.columns]
    return {
        f"probability_{name}": (("component", f"{name}_category"), theta["probs"][..., index, :])
        for index, name in enumerate(names)
    }


def _chain(family: ClassProduct, block: Conjugate, theta: dict[str, Tensor]) -> dict[str, tuple[tuple, Tensor]]:
    """Probabilities of the first token and of each transition."""
    dims = {"initial": ("component", "token"), "transition": ("component", "before", "after")}
    return {name: (dims[name], theta[name]) for name in dims}


_RAW = {"real": _continuous, "count": _counts, "categorical": _categories, "sequence": _chain}


@torch.no_grad()
def density_curve(
    family: Family, grid: Dataset, *, seed: int, draws: int = 400, level: float = 0.9, refine: Dataset | None = None
) -> pd.DataFrame:
    """The density along a grid, and its pointwise credible band over a conjugate family's parameters, in raw units.

    Args:
        family: a fitted family.
        grid: rows of its preparation at which the density is wanted.
        seed: the seed of the draws.
        draws: of the parameters for the band, or of importance draws a row for a bound, which has no band.
        level: the band's posterior probability at each point.
        refine: the training rows, to draw the band's parameters as ``parameter_draws`` does; without them the band is
            the guide's own, too narrow where components overlap.

    Returns:
        Columns density, low, high, one row a grid row: densities per raw unit, not in nats; low and high are NaN where
        there is no band.
    """
    at_least_one(draws=draws)
    low = high = np.full(len(grid), np.nan)
    if isinstance(family, ClassProduct) and family.bayesian:
        theta = _theta(family, draws, seed=seed, refine=refine)
        densities = (log_joint_given(family, grid, theta.sites).logsumexp(1) + grid.log_scale).exp()
        low, high = np.quantile(densities.numpy(), [(1 - level) / 2, (1 + level) / 2], axis=0)
    values = log_density(family, grid, seed=seed, draws=draws).values
    return pd.DataFrame({"density": np.exp(values), "low": low, "high": high})
