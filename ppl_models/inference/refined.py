"""A richer answer for θ: the posterior's mode and curvature, importance resampling, and Metropolis steps.

The conjugate guide holds q(θ) and q(z | x) independent, so its intervals are too narrow where components overlap. Here
z is summed out and θ is proposed from multivariate t distributions around the mode of p(θ | x), on unconstrained
parameters: a third each with the curvature's covariance there, twice and four times that, since such posteriors have
tails (defensive mixtures: Hesterberg 1995, https://doi.org/10.1080/00401706.1995.10484303). The proposals are weighted
by the exact log joint and resampled, and each then takes random-walk Metropolis steps, which leave the posterior as it
is and mend what the weights missed (Gilks and Berzuini 2001, https://doi.org/10.1111/1467-9868.00280). k-hat of the
weights says how much there is to mend: below 0.7 the weights alone would do (Vehtari, Simpson, Gelman, Yao and Gabry
2024, https://jmlr.org/papers/v25/19-556.html).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float, Int
from pyro import poutine
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints

from ppl_models.datasets import Dataset
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions import VectorToPositiveDefinite, seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import pareto_k
from ppl_models.families import ClassProduct

PROPOSALS_PER_DRAW = 5
DEGREES = 5.0
INFLATIONS = (1.0, 2.0, 4.0)
MOST_CHAINS, BURN_IN, THINNING = 200, 50, 15
MOST_PERMUTED = 6
MOST_PARAMETERS = 400
CELLS_AT_ONCE = 2**21


@dataclass(frozen=True)
class Theta:
    """Draws of the weights and of each block's parameters.

    Attributes:
        sites: (draws, ...) values by Pyro site, chain after chain.
        chains: how many chains the draws are of; 1 for independent ones.
        khat: Pareto k-hat of the importance weights; NaN for draws of the guide itself.
        accepted: share of the Metropolis steps that were accepted; NaN likewise.
        log_evidence: log p(x) of all rows by these weights, nats in prepared units, below the truth on average; NaN
            for draws of the guide itself.
        evidence_se: its Monte Carlo standard error, nats.
    """

    sites: dict[str, Tensor]
    chains: int = 1
    khat: float = math.nan
    accepted: float = math.nan
    log_evidence: float = math.nan
    evidence_se: float = math.nan


def guide_draws(family: ClassProduct, draws: int) -> Theta:
    """Draws of θ from the conjugate guide, under torch's current random state."""
    natural = family.guide.natural().detach()
    trace = poutine.trace(family.model.parameters_from).get_trace(natural.expand(draws, -1, -1))
    return Theta({name: trace.nodes[name]["value"] for name in trace.stochastic_nodes if name != "classes"})


def refined_draws(family: ClassProduct, rows: Dataset, draws: int, *, seed: int) -> Theta:
    """Draws of θ from the posterior given the rows, component summed out, by resampling and Metropolis steps.

    Args:
        family: a conjugate family fitted to the rows.
        rows: the training rows.
        draws: how many, split evenly over up to 200 chains.
        seed: the seed of the draws.

    Raises:
        InputError: too many parameters for a dense curvature, or rows of another preparation.
    """
    family.require(rows)
    with seeded(seed):
        posterior = _Posterior(family, rows, guide_draws(family, 500))
        if posterior.size > MOST_PARAMETERS:
            raise InputError(
                f"refined draws: expected at most {MOST_PARAMETERS} parameters, the family has {posterior.size}"
            )
        proposal = posterior.proposal()
        free, log_weights = posterior.weigh(proposal, PROPOSALS_PER_DRAW * draws)
        chains = max(count for count in range(1, min(draws, MOST_CHAINS) + 1) if draws % count == 0)
        picked = torch.multinomial(log_weights.softmax(0), chains, replacement=True)
        step = 2.38 / posterior.size**0.5 * proposal.component_distribution.scale_tril[0]
        kept, accepted = posterior.move(free[picked], step, draws // chains)
    one_order = float(log_weights.logsumexp(0)) - math.log(len(log_weights))
    error = float((log_weights - one_order).exp().std()) / len(log_weights) ** 0.5
    khat = float(pareto_k(log_weights[None].numpy())[0])
    evidence = one_order + math.lgamma(posterior.interchangeable + 1)
    return Theta(posterior.constrain(kept)[0], chains, khat, accepted, evidence, error)


class _Posterior:
    """log p(θ, x) up to a constant, as a function of unconstrained vectors (draws, size)."""

    def __init__(self, family: ClassProduct, rows: Dataset, guess: Theta) -> None:
        self.family, self.rows = family, rows
        self.prior = family.model.prior()
        trace = poutine.trace(family.model.parameters_from).get_trace(self.prior)
        self.maps = {name: _map_of(trace.nodes[name]) for name in guess.sites}
        centre = {name: self.maps[name].inv(value.mean(0)) for name, value in guess.sites.items()}
        self.shapes = {name: value.shape for name, value in centre.items()}
        self.start = torch.cat([value.flatten() for value in centre.values()])
        self.size = self.start.numel()
        self.interchangeable = 1 if family.labelled else family.classes
        pooled = [value.reshape(len(value), family.classes, -1) for value in guess.sites.values()]
        self.spread = torch.cat(pooled, -1).std(0).mean(0)

    def constrain(self, free: Float[Tensor, "draws size"]) -> tuple[dict[str, Tensor], Tensor]:
        """Values by site, and log |d values / d free|."""
        parts = free.split([shape.numel() for shape in self.shapes.values()], -1)
        raw = {name: part.unflatten(-1, shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
        values = {name: self.maps[name](part) for name, part in raw.items()}
        slopes = (self.maps[name].log_abs_det_jacobian(raw[name], values[name]) for name in raw)
        return values, sum(slope.reshape(len(free), -1).sum(-1) for slope in slopes)

    def log_joint(self, free: Float[Tensor, "draws size"]) -> Float[Tensor, " draws"]:
        """log p(x | θ) + log p(θ) + log |d θ / d free|, nats in prepared units."""
        values, slope = self.constrain(free)
        conditioned = poutine.condition(self.family.model.parameters_from, data=values)
        trace = poutine.trace(conditioned).get_trace(self.prior)
        prior = sum(trace.nodes[name]["fn"].log_prob(values[name]).reshape(len(free), -1).sum(-1) for name in values)
        joint = log_joint_given(self.family, self.rows, values)
        labels = self.family.model.known(self.rows)
        told = joint.gather(1, labels.clamp(min=0).expand(len(free), 1, -1))[:, 0]
        return (torch.where(labels == UNKNOWN, joint.logsumexp(1), told) * self.rows.weights).sum(-1) + prior + slope

    @cached_property
    def mode(self) -> Float[Tensor, " size"]:
        """The unconstrained vector of the highest log joint, from the guide's means."""
        free = self.start.clone().requires_grad_()
        optimiser = torch.optim.LBFGS([free], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-6)

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = -self.log_joint(free[None])[0]
            value.backward()
            return value

        optimiser.step(loss)
        return free.detach()

    def proposal(self) -> torch.distributions.Distribution:
        """Multivariate t distributions around the mode, with the curvature there and wider."""
        mode = self.mode
        curvature = torch.autograd.functional.hessian(lambda free: -self.log_joint(free[None])[0], mode)
        covariance = torch.linalg.inv((curvature + curvature.mT) / 2)
        scales = mode.new_tensor(INFLATIONS).sqrt()[:, None, None] * torch.linalg.cholesky(covariance)
        students = dist.MultivariateStudentT(mode.new_tensor(DEGREES), mode, scales)
        return dist.MixtureSameFamily(dist.Categorical(mode.new_ones(len(INFLATIONS))), students)

    @torch.no_grad()
    def weigh(self, proposal: torch.distributions.Distribution, draws: int) -> tuple[Tensor, Tensor]:
        """Draws of a proposal and their log importance weights, in bounded memory."""
        free = proposal.sample((draws,))
        size = max(CELLS_AT_ONCE // (len(self.rows) * self.family.classes * len(self.family.schema.columns)), 1)
        joint = torch.cat([self.log_joint(part) for part in free.split(size)])
        kept = self.in_order(free)
        return free, torch.where(kept, joint - proposal.log_prob(free), -torch.inf)

    @torch.no_grad()
    def move(self, free: Float[Tensor, "chains size"], step: Tensor, states: int) -> tuple[Tensor, float]:
        """States of chains of random-walk Metropolis steps, chain after chain, and the share of steps accepted."""
        joint, kept, accepted = self.log_joint(free), [], 0.0
        moves = BURN_IN + THINNING * states
        for move in range(1, moves + 1):
            new = free + torch.randn_like(free) @ step.mT
            raised = self.log_joint(new)
            taken = (torch.rand_like(joint).log() < raised - joint) & self.in_order(new)
            free, joint = torch.where(taken[:, None], new, free), torch.where(taken, raised, joint)
            accepted += float(taken.double().mean())
            if move > BURN_IN and (move - BURN_IN) % THINNING == 0:
                kept.append(free)
        return torch.stack(kept, 1).flatten(0, 1), accepted / moves

    def by_component(self, free: Float[Tensor, "draws size"]) -> Float[Tensor, "draws classes numbers"]:
        """Each component's parameters side by side."""
        values = self.constrain(free)[0].values()
        return torch.cat([value.reshape(len(free), self.family.classes, -1) for value in values], -1)

    def in_order(self, free: Float[Tensor, "draws size"]) -> Bool[Tensor, " draws"]:
        """Whether a draw's components, in any other order, would be farther from those of the mode.

        A mixture's posterior repeats itself for every order of its components; this keeps the part around the mode,
        one in K! of it. Beyond six components only exchanges of two are tried, which may keep a little more.
        """
        if self.interchangeable == 1:
            return torch.ones(len(free), dtype=torch.bool)
        gap = (self.by_component(free)[:, :, None] - self.by_component(self.mode[None])[:, None]) / self.spread
        cost = gap.square().sum(-1)
        orders = self.orders()
        total = cost[:, torch.arange(self.interchangeable), orders].sum(-1)
        return total[:, 0] <= total.amin(-1) + 1e-9

    def orders(self) -> Int[Tensor, "orders classes"]:
        """Orders of the components to try, the given one first."""
        given = tuple(range(self.interchangeable))
        if self.interchangeable <= MOST_PERMUTED:
            return torch.tensor(list(permutations(given)))
        swapped = [given]
        for one, other in combinations(given, 2):
            order = list(given)
            order[one], order[other] = other, one
            swapped.append(tuple(order))
        return torch.tensor(swapped)


def _map_of(site: dict) -> Transform:
    """The map from unconstrained numbers to a site's support."""
    support = site["fn"].support
    return VectorToPositiveDefinite() if support is constraints.positive_definite else biject_to(support)


def log_joint_given(
    family: ClassProduct, rows: Dataset, sites: Mapping[str, Tensor]
) -> Float[Tensor, "draws classes rows"]:
    """log p(x, z = k | θ) of each row for each draw of θ, nats in prepared units; draws and classes are one batch."""
    weights = sites["weights"]
    member = torch.arange(weights.numel())[:, None]
    joint = weights.log().flatten()[:, None].expand(-1, len(rows))
    for block in family.row:
        prefix = f"{block.site}."
        theta = {name.removeprefix(prefix): value.flatten(0, 1) for name, value in sites.items() if prefix in name}
        cells = block.likelihood(theta, member).log_prob(block.pick(rows.values))
        joint = joint + (cells if cells.dim() == 2 else (cells * block.pick(rows.observed)).sum(-1))
    return joint.unflatten(0, weights.shape)
