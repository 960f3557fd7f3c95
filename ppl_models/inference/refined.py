"""A richer answer for θ: a full-rank guide of the exact posterior, importance-weighted, and Hamiltonian steps.

The conjugate guide holds q(θ) and q(z | x) independent, so its intervals are too narrow where components overlap. Here
z is summed out, and a full-rank guide over unconstrained parameters (``full_rank.py``) begins at the mode of p(θ | x)
with the curvature there, moves to the posterior's moments, and is weighted by the exact log joint and resampled by
Pareto-smoothed weights. Each draw then takes Hamiltonian steps, which leave the posterior as it is and mend what the
weights missed. k-hat of the weights says how much there is to mend: below 0.7 the weights alone would do (Vehtari,
Simpson, Gelman, Yao and Gabry 2024, https://jmlr.org/papers/v25/19-556.html).

A mixture's posterior repeats itself for every order of its components. Weighted draws are kept to the part around the
mode, one in K! of it; moved ones are put back there, by the order of components that is nearest to the mode's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float, Int
from pyro import poutine
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints

from ppl_models.datasets import Dataset
from ppl_models.distributions import Conjugate, VectorToPositiveDefinite, log_of_probability, seeded
from ppl_models.errors import InputError
from ppl_models.evaluation.diagnostics import UNRELIABLE_KHAT
from ppl_models.families import ClassProduct, Features
from ppl_models.inference.full_rank import FullRank, move, settle

PROPOSALS_PER_DRAW = 5
MOST_CHAINS, BURN_IN, THINNING = 200, 10, 4
MOST_PARAMETERS = 400
CELLS_AT_ONCE = 2**18  # fits a processor's cache
GUESSES = 500
SINGULAR = 1e-13  # of a matrix's diagonal: a pivot below it is noise
TINIEST = 1e-100


@dataclass(frozen=True)
class Theta:
    """Draws of the weights and of each block's parameters.

    Attributes:
        sites: (draws, ...) values by Pyro site, chain after chain.
        chains: how many chains the draws are of; 1 for independent ones.
        khat: Pareto k-hat of the importance weights; NaN for draws of the guide itself.
        accepted: share of the Hamiltonian steps that were accepted; NaN likewise.
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
    """Draws of θ from the posterior given the rows, component summed out, by resampling and Hamiltonian steps.

    Args:
        family: a conjugate family fitted to the rows.
        rows: the training rows.
        draws: how many, split evenly over up to 200 chains.
        seed: the seed of the draws.

    Raises:
        InputError: too many parameters for a dense covariance, parameters on a grid, a point estimate, or rows of
            another preparation.
    """
    with seeded(seed):
        posterior = Posterior(family, rows)
        guide, chains = settle(posterior, FullRank(posterior.mode, posterior.covariance))
        found = guide.weigh(posterior, PROPOSALS_PER_DRAW * draws)
        side_by_side = max(count for count in range(1, min(draws, MOST_CHAINS) + 1) if draws % count == 0)
        if found.khat > UNRELIABLE_KHAT:
            chains = chains[torch.randint(len(chains), (side_by_side,))]
        else:
            chains = found.resample(side_by_side)
        moved = move(posterior, guide, chains, states=draws // side_by_side, burn_in=BURN_IN, thinning=THINNING)
    one_order, error = found.log_mean()
    evidence = one_order + math.lgamma(posterior.interchangeable + 1)
    sites = posterior.sites(moved.states.flatten(0, 1))
    return Theta(sites, side_by_side, found.khat, moved.accepted, evidence, error)


class Posterior:
    """log p(θ, x) up to a constant, class summed out where it is not known, as a function of unconstrained vectors.

    Made under torch's current random state, from which it guesses the parameters' scales.

    Attributes:
        size: how many numbers a vector has.
        start: the guide's mean.
        guesses: draws of the guide.
        interchangeable: how many components have no order of their own; 1 if all have.

    Raises:
        InputError: too many parameters for a dense covariance, parameters on a grid, a point estimate, or rows of
            another preparation.
    """

    def __init__(self, family: ClassProduct, rows: Dataset) -> None:
        family.require(rows)
        _require_smooth(family)
        self.family, self.rows, self.features = family, rows, family.features(rows)
        self.prior = family.model.prior()
        sites = guide_draws(family, GUESSES).sites
        trace = poutine.trace(family.model.parameters_from).get_trace(self.prior)
        self.maps = {name: _map_of(trace.nodes[name]) for name in sites}
        centre = {name: self.maps[name].inv(value.mean(0)) for name, value in sites.items()}
        self.shapes = {name: value.shape for name, value in centre.items()}
        self.start = torch.cat([value.flatten() for value in centre.values()])
        self.size = self.start.numel()
        if self.size > MOST_PARAMETERS:
            raise InputError(f"posterior draws: expected at most {MOST_PARAMETERS} parameters, got {self.size}")
        guesses = torch.cat([self.maps[name].inv(value).flatten(1) for name, value in sites.items()], -1)
        self.guesses = guesses[guesses.isfinite().all(-1)]
        self.interchangeable = family.classes if family.weights.exchangeable and not family.labelled else 1
        self.spread = self._by_component(sites).std(0).mean(0)
        self.excluded = self.features.excluded

    def constrain(self, free: Float[Tensor, "draws size"]) -> tuple[dict[str, Tensor], Tensor]:
        """Values by site, and log |d values / d free|; −inf, and a matrix that is sound, where one is singular."""
        parts = free.split([shape.numel() for shape in self.shapes.values()], -1)
        values, slopes = {}, free.new_zeros(len(free))
        for (name, shape), part in zip(self.shapes.items(), parts, strict=True):
            raw = part.unflatten(-1, shape)
            value = self.maps[name](raw)
            slopes = slopes + self.maps[name].log_abs_det_jacobian(raw, value).reshape(len(free), -1).sum(-1)
            if isinstance(self.maps[name], VectorToPositiveDefinite):
                sound = _sound(value)
                value = torch.where(sound[..., None, None], value, torch.eye(value.shape[-1]).to(value))
                slopes = torch.where(sound.all(-1), slopes, -torch.inf)
            values[name] = value
        return values, slopes

    def log_joint(self, free: Float[Tensor, "draws size"]) -> Float[Tensor, " draws"]:
        """log p(x | θ) + log p(θ) + log |d θ / d free|, nats in prepared units."""
        with dist.validation_enabled(False):
            values, slope = self.constrain(free)
            prior = log_prob_of(self.family, self.prior, values)
        return log_likelihood_of(self.family, self.features, values, self.excluded) + prior + slope

    @torch.no_grad()
    def log_joint_in_order(self, free: Float[Tensor, "draws size"]) -> Float[Tensor, " draws"]:
        """The same in bounded memory, −inf for components in another order than the mode's."""
        size = max(CELLS_AT_ONCE // (len(self.rows) * self.family.classes * len(self.family.schema.columns)), 1)
        joint = torch.cat([self.log_joint(part) for part in free.split(size)])
        return torch.where(self.in_order(free) & ~joint.isnan(), joint, -torch.inf)

    @cached_property
    def mode(self) -> Float[Tensor, " size"]:
        """The unconstrained vector of the highest log joint, from the guide's mean on."""
        deviation = self.guesses.std(0).clamp(1e-3, 10.0)
        guess = FullRank(self.start, deviation.square().diag()).towards(self.guesses)
        white = torch.zeros_like(self.start, requires_grad=True)
        optimiser = torch.optim.LBFGS([white], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-6)

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = -self.log_joint((guess.centre + guess.root @ white)[None])[0]
            value.backward()
            return value

        with torch.enable_grad():
            optimiser.step(loss)
        return (guess.centre + guess.root @ white).detach()

    @cached_property
    def covariance(self) -> Float[Tensor, "size size"]:
        """The inverse of the curvature at the mode."""
        with torch.enable_grad():
            curvature = torch.autograd.functional.hessian(lambda free: -self.log_joint(free[None])[0], self.mode)
        return torch.linalg.inv((curvature + curvature.mT) / 2)

    def sites(self, free: Float[Tensor, "draws size"]) -> dict[str, Tensor]:
        """Values by site, the components in the order that is nearest to the mode's."""
        values, order = self.constrain(free)[0], self.order(free)
        return {name: self._reorder(value, order) for name, value in values.items()}

    def _reorder(self, value: Tensor, order: Int[Tensor, "draws classes"]) -> Tensor:
        """A site's values in another order of the components; what they share stays."""
        if self.interchangeable == 1 or value.shape[1] != self.family.classes:
            return value
        return value.take_along_dim(order.reshape(*order.shape, *[1] * (value.dim() - 2)), 1)

    def in_order(self, free: Float[Tensor, "draws size"]) -> Bool[Tensor, " draws"]:
        """Whether a draw's components, in any other order, would be farther from those of the mode."""
        return (self.order(free) == torch.arange(self.interchangeable)).all(-1)

    def order(self, free: Float[Tensor, "draws size"]) -> Int[Tensor, "draws interchangeable"]:
        """Which of a draw's components stands for each of the mode's: the nearest ones, each used once."""
        given = torch.arange(self.interchangeable)
        if self.interchangeable == 1:
            return given.expand(len(free), -1)
        mode, drawn = (self._by_component(self.constrain(one)[0]) for one in (self.mode[None], free))
        cost = ((drawn[:, None] - mode[:, :, None]) / self.spread).square().sum(-1).nan_to_num(0.0)
        order = given.repeat(len(free), 1)
        for draw in (cost.argmin(-1) != given).any(-1).nonzero()[:, 0].tolist():
            order[draw] = torch.as_tensor(linear_sum_assignment(cost[draw].numpy())[1])
        return order

    def _by_component(self, sites: Mapping[str, Tensor]) -> Float[Tensor, "draws classes numbers"]:
        """Each component's parameters side by side; what the components share tells nothing of their order."""
        weights = self.family.weights.from_sites(dict(sites))
        parts = [value for block in self.family.row for value in parameters_of(block, sites).values()]
        owned = [value for value in parts if value.shape[1] == self.family.classes]
        return torch.cat([value.flatten(2) for value in [weights[..., None], *owned]], -1)


def _require_smooth(family: ClassProduct) -> None:
    """Refuse what has no posterior, or one that is not smooth."""
    if not family.bayesian:
        raise InputError(f"posterior draws: expected estimate 'bayes', got {family.likelihoods.estimate!r}")
    if family.likelihoods.counts == "negative-binomial":
        raise InputError("posterior draws: expected smooth parameters, a negative binomial's dispersion is on a grid")


def _sound(matrix: Float[Tensor, "draws classes columns columns"]) -> Bool[Tensor, "draws classes"]:
    """Whether a precision has a Cholesky factor, taken from the last column on as Pyro does, above rounding."""
    turned = matrix.detach().flip((-2, -1))
    root, failed = torch.linalg.cholesky_ex(turned)
    size = turned.diagonal(dim1=-2, dim2=-1)
    pivots = root.diagonal(dim1=-2, dim2=-1).square() / size
    return (failed == 0) & ((pivots > SINGULAR) & (size > TINIEST) & (size < 1 / TINIEST)).all(-1)


def _map_of(site: dict) -> Transform:
    """The map from unconstrained numbers to a site's support."""
    support = site["fn"].support
    return VectorToPositiveDefinite() if support is constraints.positive_definite else biject_to(support)


def log_prob_of(family: ClassProduct, natural: Tensor, sites: Mapping[str, Tensor]) -> Float[Tensor, " draws"]:
    """The log density of draws of θ under the conjugate distribution of these natural parameters."""
    trace = poutine.trace(poutine.condition(family.model.parameters_from, data=sites)).get_trace(natural)
    logs = (trace.nodes[name]["fn"].log_prob(value) for name, value in sites.items())
    return sum(log.reshape(len(log), -1).sum(-1) for log in logs)


def log_likelihood_of(
    family: ClassProduct, features: Features, sites: Mapping[str, Tensor], excluded: Bool[Tensor, "classes rows"] | None
) -> Float[Tensor, " draws"]:
    """log p(x | θ) of all rows by their weights, classes summed out but for those excluded; nats in prepared units."""
    return log_likelihoods_of(family, features, sites, excluded) @ features.weights


def log_likelihoods_of(
    family: ClassProduct, features: Features, sites: Mapping[str, Tensor], excluded: Bool[Tensor, "classes rows"] | None
) -> Float[Tensor, "draws rows"]:
    """The same of each row, whatever its weight."""
    joint = log_joint_of(family, features, sites)
    if excluded is not None:
        joint = joint.masked_fill(excluded, -torch.inf)
    return joint.logsumexp(1)


def log_joint_given(
    family: ClassProduct, rows: Dataset, sites: Mapping[str, Tensor]
) -> Float[Tensor, "draws classes rows"]:
    """log p(x, z = k | θ) of each row for each draw of θ, nats in prepared units."""
    return log_joint_of(family, family.features(rows), sites)


def log_joint_of(
    family: ClassProduct, features: Features, sites: Mapping[str, Tensor]
) -> Float[Tensor, "draws classes rows"]:
    """The same from the rows' features: rows last, as sums over classes are twice as fast that way."""
    encoded = [block.encode(parameters_of(block, sites)) for block in family.row]
    everything = torch.cat([*encoded, log_of_probability(family.weights.from_sites(sites))[..., None]], -1)
    joint = everything @ features.statistics.mT + features.base
    for index, hidden in features.hidden.items():
        joint = joint.index_add(-1, hidden.rows, hidden.conditional(encoded[index]).log_integral)
    return joint


def parameters_of(block: Conjugate, sites: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A block's θ among the values of all sites."""
    prefix = f"{block.site}."
    return {name.removeprefix(prefix): value for name, value in sites.items() if name.startswith(prefix)}
