"""A full-rank guide over unconstrained vectors, importance-weighted, and Hamiltonian steps that mend what is left.

Multivariate t distributions of one centre, a third each with a covariance, twice and four times that, since posteriors
of mixtures have tails (defensive mixtures: Hesterberg 1995, https://doi.org/10.1080/00401706.1995.10484303). Draws of
them are weighted by the exact target; centre and covariance move to the moments by those weights, Pareto-smoothed
(Vehtari, Simpson, Gelman, Yao and Gabry 2024, https://jmlr.org/papers/v25/19-556.html), and the next draws come from
there (adaptive importance sampling: Bugallo, Elvira, Martino, Luengo, Míguez and Djurić 2017,
https://doi.org/10.1109/MSP.2017.2699226). Steps that leave the target as it is then mend what the weights missed
(Gilks and Berzuini 2001, https://doi.org/10.1111/1467-9868.00280).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.evaluation.diagnostics import smooth_weights

Target = Callable[[Tensor], Tensor]
DEGREES = 5.0
INFLATIONS = (1.0, 2.0, 4.0)
ROUNDS, DRAWS_A_ROUND = 5, 4000
BURN_IN, THINNING = 20, 4
QUARTER_TURN = math.pi / 2  # of a normal target's orbit: there the next point is independent of the last
ACCEPTED = 0.8


@dataclass(frozen=True)
class Weighted:
    """Draws of the guide with their importance weights.

    Attributes:
        free: the draws.
        log_weights: log target − log guide, nats; −inf outside of the target's support.
        probabilities: the weights, Pareto-smoothed and summing to one.
        khat: Pareto k-hat of the weights.
        root: the Cholesky factor of the guide's covariance.
    """

    free: Float[Tensor, "draws size"]
    log_weights: Float[Tensor, " draws"]
    probabilities: Float[Tensor, " draws"]
    khat: float
    root: Float[Tensor, "size size"]

    @property
    def log_mean(self) -> tuple[float, float]:
        """The log of the mean weight, an estimate of the target's log integral, and its standard error, nats."""
        mean = float(self.log_weights.logsumexp(0)) - math.log(len(self.log_weights))
        return mean, float((self.log_weights - mean).exp().std()) / len(self.log_weights) ** 0.5


@dataclass(frozen=True)
class Moved:
    """States of chains, chain after chain, and the share of the steps that were accepted."""

    free: Float[Tensor, "draws size"]
    accepted: float


def weighted_draws(
    target: Target, centre: Float[Tensor, " size"], covariance: Float[Tensor, "size size"], *, draws: int
) -> Weighted:
    """Draws of the guide that was moved to the target in rounds, with their weights.

    Args:
        target: log density up to a constant of unconstrained vectors, −inf where it has no support.
        centre: where to begin, as a rule the target's mode.
        covariance: the same, as a rule the inverse of the curvature there.
        draws: how many; those of the rounds are thrown away, so that a mean of weights has no bias.
    """
    for _ in range(ROUNDS):
        centre, covariance = _moments(_weigh(target, centre, covariance, DRAWS_A_ROUND), centre, covariance)
    return _weigh(target, centre, covariance, draws)


def _weigh(target: Target, centre: Tensor, covariance: Tensor, draws: int) -> Weighted:
    """Draws of the t distributions, weighted."""
    root = torch.linalg.cholesky(covariance)
    scales = centre.new_tensor(INFLATIONS).sqrt()[:, None, None] * root
    students = dist.MultivariateStudentT(centre.new_tensor(DEGREES), centre, scales)
    guide = dist.MixtureSameFamily(dist.Categorical(centre.new_ones(len(INFLATIONS))), students)
    free = guide.sample((draws,))
    log_weights = target(free) - guide.log_prob(free)
    smoothed = smooth_weights(log_weights[None].numpy())
    probabilities = torch.as_tensor(smoothed.log_weights[0]).exp()
    return Weighted(free, log_weights, probabilities, float(smoothed.khat[0]), root)


def _moments(found: Weighted, centre: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance by the weights, as far as these rest on enough draws, else those before."""
    effective = 1 / float(found.probabilities.square().sum())
    share = effective / (effective + 2 * len(centre))
    mean = found.probabilities @ found.free
    centred = found.free - mean
    spread = (found.probabilities[:, None] * centred).mT @ centred
    return centre + share * (mean - centre), covariance + share * (spread - covariance)


def move(target: Target, free: Float[Tensor, "chains size"], root: Tensor, *, states: int) -> Moved:
    """Hamiltonian steps, each of about a quarter turn of a normal target's orbit and of jittered length.

    Chains move side by side; the step's length is adapted during the burn-in only (Neal 2011, MCMC using Hamiltonian
    dynamics, https://arxiv.org/abs/1206.1901).

    Args:
        target: log density up to a constant, −inf or NaN where it has no support.
        free: where each chain begins.
        root: the Cholesky factor of about the target's covariance, which makes all directions alike.
        states: of each chain that are kept.
    """
    length, kept, accepted = free.shape[1] ** -0.25, [], 0.0
    now = _at(target, root, torch.linalg.solve_triangular(root, free.mT, upper=False).mT)
    for step in range(BURN_IN + THINNING * states):
        now, share = _step(target, root, now, length * (0.8 + 0.4 * float(torch.rand(()))))
        if step < BURN_IN:
            length *= math.exp(0.2 * (share - ACCEPTED))
            continue
        accepted += share / (THINNING * states)
        if (step - BURN_IN) % THINNING == 0:
            kept.append(now.white @ root.mT)
    return Moved(torch.stack(kept, 1).flatten(0, 1), accepted)


@dataclass(frozen=True)
class _Point:
    """Where chains are in whitened coordinates, the log target there and its gradient."""

    white: Float[Tensor, "chains size"]
    value: Float[Tensor, " chains"]
    slope: Float[Tensor, "chains size"]


def _at(target: Target, root: Tensor, white: Tensor) -> _Point:
    """The point at these coordinates."""
    white = white.detach().requires_grad_()
    with torch.enable_grad():
        value = target(white @ root.mT)
        (slope,) = torch.autograd.grad(value.sum(), white)
    return _Point(white.detach(), value.detach(), slope)


def _step(target: Target, root: Tensor, now: _Point, length: float) -> tuple[_Point, float]:
    """Follow each chain's orbit in leapfrogs; keep or refuse its end. Also the share that was kept."""
    momentum = torch.randn_like(now.white)
    new, energy = now, momentum.square().sum(-1) / 2
    for _ in range(math.ceil(QUARTER_TURN / length)):
        momentum = momentum + length / 2 * new.slope
        new = _at(target, root, new.white + length * momentum)
        momentum = momentum + length / 2 * new.slope
    taken = torch.rand_like(energy).log() < new.value - now.value + energy - momentum.square().sum(-1) / 2
    white, slope = (torch.where(taken[:, None], *pair) for pair in ((new.white, now.white), (new.slope, now.slope)))
    return _Point(white, torch.where(taken, new.value, now.value), slope), float(taken.double().mean())
