"""Laws of invariance: what a log density of held-out rows must not depend on."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ppl_models.verify.findings import Comparison, Fact, Mean, Skip
from ppl_models.verify.scoring import Scoring

ALONE = 20  # rows that are scored one by one
CLOSE = 1e-5
MANY = 1000


def company(scoring: Scoring) -> Iterator[Fact]:
    """A row's log density is the same alone, in a batch, and in any order."""
    rows = len(scoring.data)
    whole = scoring.of(torch.arange(rows))
    again = scoring.of(torch.arange(rows))
    backwards = scoring.of(torch.arange(rows).flip(0)).flip(0)
    few = torch.arange(min(rows, ALONE))
    alone = torch.cat([scoring.of(few[row : row + 1]) for row in few])
    causes = ("batch normalisation, or a guide of the shared latents, that sees the test rows",)
    yield _same("scored twice, a row's log density changes", whole, again, ("noise is drawn anew each time",))
    yield _same("in another order, a row's log density changes", whole, backwards, ("noise or state by place", *causes))
    yield _same("alone, a row's log density changes", whole[few], alone, causes)


def blindness(scoring: Scoring) -> Iterator[Fact]:
    """What the log density is not of, such as a label, does not change it."""
    if scoring.blind is None:
        raise Skip("nothing is said that must not matter")
    rows = torch.arange(len(scoring.data))
    other = scoring.log_density(scoring.blind(scoring.data[rows])).detach().double()
    yield _same(
        "with what must not matter changed, a row's log density changes",
        scoring.of(rows),
        other,
        ("the guide or the model sees the labels of the rows that it scores",),
    )


def affine(scoring: Scoring) -> Iterator[Fact]:
    """In other units the log density is less by the log of the unit, for each continuous column: the Jacobian."""
    if scoring.rescaled is None:
        raise Skip("nothing is said of other units")
    plain = scoring.of(torch.arange(len(scoring.data)))
    for loc, scale in ((0.0, 10.0), (5.0, 0.25)):
        log_density, rows = scoring.rescaled(loc, scale)
        found = log_density(rows).detach().double()
        jacobian = scoring.columns * math.log(scale)
        apart = float((plain - jacobian - found).mean())
        yield Fact(
            bool(((plain - jacobian - found).abs() <= 1e-3 * (1 + plain.abs())).all()),
            f"in units {scale:g} times as fine log densities are {float((plain - found).mean()):.4g} lower, "
            f"expected {jacobian:.4g}",
            _jacobian_causes(apart, jacobian),
        )


def relabelling(scoring: Scoring) -> Iterator[Fact]:
    """The order of components, or of latent dimensions, changes no log density."""
    if scoring.relabelled is None:
        raise Skip("nothing is said of another order of components")
    rows = torch.arange(len(scoring.data))
    other = scoring.relabelled(scoring.data[rows]).detach().double()
    causes = ("components are told apart by their place: shares or parameters are out of step",)
    yield _same("with components relabelled, a row's log density changes", scoring.of(rows), other, causes)


def normalisation(scoring: Scoring) -> Iterator[Fact]:
    """Over the space of a row, a density integrates to 1 and a pmf sums to 1."""
    if scoring.grid is None:
        raise Skip("no grid over the space of a row is given")
    if scoring.kind == "lower bound":
        raise Skip("of a lower bound the exponential has the density for its mean, and no bound")
    rows, volume = scoring.grid
    total = float(scoring.log_density(rows).detach().double().exp().sum()) * volume
    yield Fact(abs(total - 1) <= 1e-3, f"the density integrates to {total:.6g}", _mass_causes(total))


def known(scoring: Scoring) -> Iterator[Fact | Comparison]:
    """A row's log density is what it is known to be, or for a bound no more on average."""
    if scoring.log_evidence is None:
        raise Skip("no log density is known")
    found = scoring.of(torch.arange(len(scoring.data)))
    apart = found - scoring.log_evidence
    if scoring.kind == "exact":
        yield Fact(
            bool((apart.abs() <= CLOSE * (1 + found.abs())).all()),
            f"log densities are off by {float(apart.mean()):.4g} nats a row on average, "
            f"by {float(apart.abs().max()):.4g} at the most",
            (
                "classes are not summed out: the likeliest one or a drawn one stands in place of all",
                "a constant is dropped",
            ),
        )
        return
    bound = Mean(float(apart.mean()), scoring.mean_se, MANY)  # rows are given: the error is of the bound's own draws
    yield Comparison("the mean bound less the log density", bound, 0.0, bound=True, slack=CLOSE)


def _same(what: str, one: Tensor, other: Tensor, causes: tuple[str, ...]) -> Fact:
    apart = float((one - other).abs().max())
    return Fact(apart <= CLOSE * (1 + float(one.abs().max())), f"{what}, by up to {apart:.4g} nats", causes)


def _jacobian_causes(apart: float, jacobian: float) -> tuple[str, ...]:
    if abs(apart + jacobian) < 1e-2 * abs(jacobian):
        return ("the Jacobian of the preparation is missing",)
    if abs(apart + 2 * jacobian) < 1e-2 * abs(jacobian):
        return ("the Jacobian of the preparation has the wrong sign",)
    return ("the fit depends on the units: a prior, a floor or a starting point that is not scaled",)


def _mass_causes(total: float) -> tuple[str, ...]:
    if total < 1:
        return ("a constant is dropped, mass lies outside the support, or classes are not summed out",)
    return ("a Jacobian is missing, or a joint density stands for a marginal one",)
