"""A full-rank guide over unconstrained vectors, importance-weighted, and Hamiltonian steps that mend what is left.

The guide is multivariate t distributions of one centre, a third each with a covariance, twice and four times that,
since posteriors of mixtures have tails (defensive mixtures: Hesterberg 1995,
https://doi.org/10.1080/00401706.1995.10484303). It moves to its target in rounds: a population of chains takes some
Hamiltonian steps in the coordinates of the last guide, and the next has the mean and covariance of their states
(population Monte Carlo: Bugallo, Elvira, Martino, Luengo, Míguez and Djurić 2017,
https://doi.org/10.1109/MSP.2017.2699226).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ppl_models.evaluation.diagnostics import smooth_weights

DEGREES = 5.0
INFLATIONS = (1.0, 2.0, 4.0)
ROUNDS, CHAINS, STATES = 3, 100, 10
FIRST_DRAWS = 4000
QUARTER_TURN = math.pi / 2  # of a normal target's orbit: there the next point is independent of the last
ACCEPTED = 0.8


@runtime_checkable
class Target(Protocol):
    """A density of unconstrained vectors that may repeat itself for every order of some components."""

    def log_joint(self, free: Float[Tensor, "draws size"]) -> Float[Tensor, " draws"]:
        """Its logarithm up to a constant, nats; −inf or NaN where it has no support."""

    def log_joint_in_order(self, free: Float[Tensor, "draws size"]) -> Float[Tensor, " draws"]:
        """The same without a gradient and in bounded memory, −inf for all orders but one."""

    def in_order(self, free: Float[Tensor, "draws size"]) -> Bool[Tensor, " draws"]:
        """Whether a vector has that one."""


@dataclass(frozen=True)
class Weighted:
    """Draws of the guide with their importance weights.

    Attributes:
        free: the draws.
        log_weights: log target − log guide, nats; −inf outside of the target's support.
        probabilities: the weights, Pareto-smoothed and summing to one.
        khat: Pareto k-hat of the weights.
    """

    free: Float[Tensor, "draws size"]
    log_weights: Float[Tensor, " draws"]
    probabilities: Float[Tensor, " draws"]
    khat: float

    def log_mean(self) -> tuple[float, float]:
        """The log of the mean weight, an estimate of the target's log integral, and its standard error, nats."""
        mean = float(self.log_weights.logsumexp(0)) - math.log(len(self.log_weights))
        return mean, float((self.log_weights - mean).exp().std()) / len(self.log_weights) ** 0.5

    def resample(self, draws: int) -> Float[Tensor, "draws size"]:
        """Draws with the smoothed weights as probabilities, some more than once."""
        return self.free[torch.multinomial(self.probabilities, draws, replacement=True)]


@dataclass(frozen=True)
class FullRank:
    """The guide: its centre and covariance."""

    centre: Float[Tensor, " size"]
    covariance: Float[Tensor, "size size"]

    @cached_property
    def root(self) -> Float[Tensor, "size size"]:
        """The covariance's Cholesky factor."""
        return torch.linalg.cholesky(self.covariance)

    @cached_property
    def draws(self) -> torch.distributions.Distribution:
        """The distribution that draws come from."""
        scales = self.centre.new_tensor(INFLATIONS).sqrt()[:, None, None] * self.root
        students = dist.MultivariateStudentT(self.centre.new_tensor(DEGREES), self.centre, scales)
        return dist.MixtureSameFamily(dist.Categorical(self.centre.new_ones(len(INFLATIONS))), students)

    def weigh(self, target: Target, draws: int) -> Weighted:
        """Draws with their importance weights."""
        free = self.draws.sample((draws,))
        log_weights = target.log_joint_in_order(free) - self.draws.log_prob(free)
        smoothed = smooth_weights(log_weights[None].numpy())
        return Weighted(free, log_weights, torch.as_tensor(smoothed.log_weights[0]).exp(), float(smoothed.khat[0]))

    def towards(self, states: Float[Tensor, "states size"]) -> "FullRank":
        """The guide with the moments of these states, as far as there are enough of them."""
        if len(states) < 2:
            return self
        share = len(states) / (len(states) + len(self.centre))
        centre = self.centre + share * (states.mean(0) - self.centre)
        return FullRank(centre, self.covariance + share * (states.mT.cov() - self.covariance))


@dataclass(frozen=True)
class Moved:
    """States of chains side by side, and the share of the steps that were accepted."""

    states: Float[Tensor, "chains states size"]
    accepted: float


def settle(target: Target, guide: FullRank) -> tuple[FullRank, Float[Tensor, "chains size"]]:
    """The guide moved to its target, and where the chains are that it was moved by.

    Args:
        target: what the guide is to be like.
        guide: where to begin, as a rule at the target's mode with the curvature there.
    """
    chains = guide.weigh(target, FIRST_DRAWS).resample(CHAINS)
    for _ in range(ROUNDS):
        states = move(target, guide, chains, states=STATES, burn_in=STATES).states
        chains, states = states[:, -1], states.flatten(0, 1)
        guide = guide.towards(states[target.in_order(states)])
    return guide, chains


def move(
    target: Target, guide: FullRank, free: Float[Tensor, "chains size"], *, states: int, burn_in: int, thinning: int = 1
) -> Moved:
    """Steps that leave the target as it is: along a Hamiltonian orbit, then a jump to a fresh draw of the guide.

    An orbit is about a quarter turn of a normal target's, in leapfrogs of a random length, so that narrow places are
    left again. Chains move side by side; the length's scale is adapted during the burn-in only (Neal 2011, MCMC using
    Hamiltonian dynamics, https://arxiv.org/abs/1206.1901). Jumps are an independence sampler's (Tierney 1994,
    https://doi.org/10.1214/aos/1176325750).

    Args:
        target: the log density that is kept.
        guide: whose covariance makes all directions alike, and whose draws are jumped to.
        free: where each chain begins.
        states: of each chain that are kept.
        burn_in: steps before the first of them.
        thinning: steps from one to the next.
    """
    length, kept, accepted = free.shape[1] ** -0.25, [], 0.0
    now = _at(target, free)
    for step in range(1 - burn_in, thinning * states + 1):
        now, share = _orbit(target, guide.root, now, length)
        now = _jump(target, guide.draws, now)
        if step <= 0:
            length *= math.exp(0.2 * (share - ACCEPTED))
            continue
        accepted += share / (thinning * states)
        if step % thinning == 0:
            kept.append(now.free)
    return Moved(torch.stack(kept, 1), accepted)


@dataclass(frozen=True)
class _Point:
    """Where chains are, the log target there and its gradient."""

    free: Float[Tensor, "chains size"]
    value: Float[Tensor, " chains"]
    slope: Float[Tensor, "chains size"]

    def where(self, taken: Bool[Tensor, " chains"], other: "_Point") -> "_Point":
        """This point for the chains that took it, the other for the rest."""
        free, slope = (
            torch.where(taken[:, None], *pair) for pair in ((self.free, other.free), (self.slope, other.slope))
        )
        return _Point(free, torch.where(taken, self.value, other.value), slope)


def _at(target: Target, free: Tensor) -> _Point:
    """The point at these vectors."""
    free = free.detach().requires_grad_()
    with torch.enable_grad():
        value = target.log_joint(free)
        (slope,) = torch.autograd.grad(value.sum(), free)
    return _Point(free.detach(), value.detach(), slope)


def _orbit(target: Target, root: Tensor, now: _Point, length: float) -> tuple[_Point, float]:
    """The end of each chain's orbit, or where it was if that is refused; and the share that was not."""
    momentum, lengths = torch.randn_like(now.free), length * (0.2 + torch.rand_like(now.value))[:, None]
    new, energy = now, momentum.square().sum(-1) / 2
    for _ in range(math.ceil(QUARTER_TURN / length)):
        momentum = momentum + lengths / 2 * (new.slope @ root)
        new = _at(target, new.free + lengths * momentum @ root.mT)
        momentum = momentum + lengths / 2 * (new.slope @ root)
    taken = torch.rand_like(energy).log() < new.value - now.value + energy - momentum.square().sum(-1) / 2
    return new.where(taken, now), float(taken.double().mean())


def _jump(target: Target, draws: torch.distributions.Distribution, now: _Point) -> _Point:
    """A fresh draw of the guide for each chain, or where it was."""
    new = _at(target, draws.sample((len(now.free),)))
    gain = new.value - draws.log_prob(new.free) - now.value + draws.log_prob(now.free)
    return new.where(torch.rand_like(gain).log() < gain, now)
