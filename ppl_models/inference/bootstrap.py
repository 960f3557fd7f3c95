"""The bootstrap of a point estimate: how far its parameters would go on other rows of the same kind.

Each replicate draws as many rows as there are, with replacement, which is to give the rows multinomial weights (Efron
1979, https://doi.org/10.1214/aos/1176344552), and is fitted from the estimate on, so that it stays at the same optimum
(McLachlan and Peel 2000, Finite Mixture Models, section 2.16). Components may still change places on the way; so the
replicates are put in the order of the estimate by their responsibilities for the rows. All replicates are fitted side
by side, as restarts are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyro
import torch
import xarray as xr
from jaxtyping import Float
from pyro import poutine
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import align
from ppl_models.families import ClassProduct, Family, Features
from ppl_models.inference.convergence import Way, converge
from ppl_models.inference.natural import NaturalGradient
from ppl_models.inference.passes import bound
from ppl_models.inference.posterior import in_raw_units
from ppl_models.inference.refined import Theta
from ppl_models.inference.sweeps import Rows

CELLS_AT_ONCE = 2**21
METHOD = NaturalGradient(tolerance=1e-9)


@dataclass(frozen=True)
class Replicates:
    """Estimates from resampled rows.

    Attributes:
        natural: (replicates, classes, natural) those that are no degenerate ones.
        degenerate: how many had a component that collapsed or lost its rows, and were dropped.
        unconverged: how many of those kept reached the limit on passes.
    """

    natural: Float[Tensor, "replicates classes natural"]
    degenerate: int
    unconverged: int


@torch.no_grad()
def bootstrap_draws(family: Family, train: Dataset, draws: int, *, seed: int) -> xr.Dataset:
    """Bootstrap replicates of a point estimate's parameters, in raw units.

    Args:
        family: a class-given product with estimate "maximum-likelihood" or "map", fitted to the rows.
        train: the training rows. Their weights count copies of a row: a replicate draws as many rows as the weights
            sum to, each in proportion to its weight.
        draws: how many replicates.
        seed: the seed of the draws.

    Returns:
        What ``parameter_draws`` returns, one chain with a draw for each replicate. The attributes degenerate and
        unconverged count the replicates that were dropped, since a component of theirs collapsed, and those that were
        kept although they reached the limit on passes.

    Raises:
        InputError: a family without a point estimate, rows of another preparation, fewer than one draw, or no replicate
            that is not degenerate.

    >>> from ppl_models import GaussianMixture, fit, load, prepare
    >>> table = load("fast_food_spending")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> family = GaussianMixture(table.schema, components=1, estimate="maximum-likelihood")
    >>> round(float(bootstrap_draws(fit(family, rows, seed=0).family, rows, 200, seed=0)["loc"].std()), 2)
    0.32
    """
    _require_point_estimate(family)
    family.require(train)
    train.require_whole("bootstrap")
    at_least_one(draws=draws)
    features, start = family.features(train), family.guide.natural()[None]
    parts = []
    with pyro.validation_enabled(False):
        for weights in _resampled(features.weights, draws, seed=seed, classes=family.classes):
            part = refit(family, replace(features, weights=weights), start.expand(len(weights), -1, -1))
            parts.append(replace(part, natural=in_order(family, features, part.natural)))
    natural = torch.cat([part.natural for part in parts])
    counts = {name: sum(getattr(part, name) for part in parts) for name in ("degenerate", "unconverged")}
    if not len(natural):
        raise InputError(f"bootstrap: all {draws} replicates came to a degenerate component; use fewer components")
    return in_raw_units(family, _sites_at(family, natural)).assign_attrs(counts)


def refit(family: ClassProduct, features: Features, start: Float[Tensor, "replicates classes natural"]) -> Replicates:
    """Fit every replicate to the end.

    Args:
        family: the family, which is left as it is.
        features: of the rows, with weights (replicates, rows).
        start: where the replicates start.
    """
    rows = Rows.among(family, features.once())
    ascent = converge(rows, Way.begin(rows, start), steps=METHOD.steps, tolerance=METHOD.tolerance)
    kept = torch.ones_like(ascent.converged)
    kept[list(ascent.faults)] = False
    return Replicates(ascent.natural[kept], len(ascent.faults), int((kept & ~ascent.converged).sum()))


@torch.no_grad()
def in_order(
    family: ClassProduct, features: Features, natural: Float[Tensor, "replicates classes natural"]
) -> Float[Tensor, "replicates classes natural"]:
    """Replicates with their components in the family's order, by the responsibilities for these rows."""
    if family.labelled or not len(natural):
        return natural
    reference = bound(family, features, family.guide.natural()[None])[1][0]
    order = align(reference.cpu().numpy(), bound(family, features, natural)[1].cpu().numpy())
    return natural.take_along_dim(torch.tensor(order, device=natural.device)[..., None], 1)


def _require_point_estimate(family: Family) -> None:
    """Refuse what has a posterior, or nothing that could be refitted side by side."""
    if not isinstance(family, ClassProduct):
        raise InputError(f"bootstrap: expected naive Bayes or a mixture, got {type(family).__name__}")
    if family.bayesian:
        raise InputError(
            "bootstrap: expected estimate 'maximum-likelihood' or 'map', got 'bayes', whose posterior "
            "parameter_draws draws from"
        )


def _resampled(weights: Float[Tensor, " rows"], draws: int, *, seed: int, classes: int) -> Iterator[Tensor]:
    """Weights of resampled rows, (replicates, rows), so many replicates at a time as memory holds."""
    random, share = np.random.default_rng(seed), weights.cpu().numpy() / float(weights.sum())
    total, size = max(round(float(weights.sum())), 1), max(CELLS_AT_ONCE // (len(weights) * classes), 1)
    for done in range(0, draws, size):
        yield torch.tensor(random.multinomial(total, share, size=min(size, draws - done))).to(weights)


def _sites_at(family: ClassProduct, natural: Float[Tensor, "replicates classes natural"]) -> Theta:
    """The values of Pyro's sites at point estimates."""
    trace = poutine.trace(family.model.parameters_from).get_trace(natural)
    return Theta({name: trace.nodes[name]["value"] for name in trace.stochastic_nodes if name != "classes"})
