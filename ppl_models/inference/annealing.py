"""Annealed importance sampling over each row's z, forwards for a lower bound and backwards for an upper one.

Between a Normal for each row, fitted to its posterior (``row_normals.py``), and the posterior itself stand tempered
densities, in the Normal's own coordinates u:

    log f_β(u) = (1 − β) log Normal(u; 0, I) + β (log p(x, z(u)) + log |dz / du|)

Forwards, a chain starts from the Normal, is moved by Hamiltonian Monte Carlo at each β in turn, and collects
w = Π f_{β_t}(u_t) / f_{β_{t−1}}(u_t), whose mean over chains is p(x) without bias: its log bounds log p(x) from below
(Neal 2001, Annealed importance sampling, https://doi.org/10.1023/A:1008923215028). Backwards from the z that a row was
drawn from, which is an exact draw of its posterior, the mean of 1 / w is 1 / p(x) without bias, and minus its log
bounds log p(x) from above (Grosse, Ghahramani and Adams 2015, Sandwiching the marginal likelihood,
https://arxiv.org/abs/1511.02543; Wu, Burda, Salakhutdinov and Grosse 2017, On the quantitative analysis of
decoder-based generative models, https://arxiv.org/abs/1611.04273).

Each row and each β has its own step, found by pilot chains before the chains that count, whose moves then leave the
densities as they are. All rows see the same random numbers, so that neither their order nor their company matters.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.families import Amortised
from ppl_models.inference.row_normals import PAIRS, ROUNDS, RowNormals, fit_normals

TEMPERATURES = 60
LEAPS = 3  # of a trajectory
PILOTS = 4  # chains that find the steps
ACCEPTED = 0.8  # share of moves that the steps aim at


@dataclass(frozen=True)
class Annealing:
    """The way between each row's Normal and its posterior.

    Attributes:
        family: a fitted amortised family.
        batch: prepared rows.
        normals: where the way begins.
        powers: β, from 0 to 1.
        steps: of the trajectories at each β between.
    """

    family: Amortised
    batch: Dataset
    normals: RowNormals
    powers: Float[Tensor, " temperatures"]
    steps: Float[Tensor, "between rows"]

    def forwards(self, chains: int, *, seed: int) -> Float[Tensor, "chains rows"]:
        """log w of chains from the Normal to the posterior, nats in prepared units."""
        numbers = _Numbers(seed, chains, self.family.noise, self.batch.values.device)
        start = numbers.normals()[:, None].expand(-1, len(self.batch), -1)
        return self._run(start, range(1, len(self.powers)), numbers)[0]

    def backwards(self, points: Float[Tensor, "rows noise"], chains: int, *, seed: int) -> Float[Tensor, "chains rows"]:
        """log w of chains from exact draws of the posterior to the Normal, nats in prepared units."""
        numbers = _Numbers(seed, chains, self.family.noise, self.batch.values.device)
        start = self.normals.offset(points[None].double()).expand(chains, -1, -1)
        return self._run(start, range(len(self.powers) - 1, 0, -1), numbers)[0]

    def tuned(self, *, seed: int) -> "Annealing":
        """The same way, with steps found by pilot chains."""
        numbers = _Numbers(seed, PILOTS, self.family.noise, self.batch.values.device)
        start = numbers.normals()[:, None].expand(-1, len(self.batch), -1)
        _, steps = self._run(start, range(1, len(self.powers)), numbers, tuning=True)
        return replace(self, steps=steps)

    def _run(
        self, u: Float[Tensor, "chains rows noise"], order: range, numbers: "_Numbers", *, tuning: bool = False
    ) -> tuple[Float[Tensor, "chains rows"], Float[Tensor, "between rows"]]:
        """Chains over all β in an order: their log weights, and the steps, adapted on the way if they are tuned."""
        steps = self.steps.clone()
        state = self._at(u)
        log_weights = torch.zeros_like(state.target)
        for number in order:
            log_weights = log_weights + (self.powers[number] - self.powers[number - 1]) * (state.target - state.base)
            here = number if order.step > 0 else number - 1  # the density that is moved within
            if not 0 < here < len(self.powers) - 1:
                continue
            step = steps[here - 1]
            state, accepted = self._moved(state, float(self.powers[here]), step, numbers)
            if tuning:
                steps[here - 1] = step * (0.5 * (accepted.mean(0) - ACCEPTED)).exp()
                steps[here:] = steps[here - 1]
        return log_weights, steps

    def _moved(
        self, state: "_State", power: float, step: Float[Tensor, " rows"], numbers: "_Numbers"
    ) -> tuple["_State", Float[Tensor, "chains rows"]]:
        """One trajectory of each chain, accepted or not, and the probability that it is."""
        momentum = numbers.normals()[:, None].expand_as(state.u)
        found, speed, by = state, momentum, step[:, None]
        for leap in range(LEAPS):
            speed = speed + (by / 2 if leap == 0 else by) * found.slope(power)
            found = self._at(found.u + by * speed)
        speed = speed + by / 2 * found.slope(power)
        change = found.log_density(power) - state.log_density(power)
        change = change + (momentum.square().sum(-1) - speed.square().sum(-1)) / 2
        probability = change.nan_to_num(nan=-torch.inf).clamp(max=0).exp()
        return state.replaced(found, numbers.uniforms()[:, None] < probability), probability

    def _at(self, u: Float[Tensor, "chains rows noise"]) -> "_State":
        """The densities and the posterior's gradient at u."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            points = self.normals.loc + torch.einsum("rij,krj->kri", self.normals.root, u)
            target = self.family.log_joint(self.batch, points) + torch.linalg.slogdet(self.normals.root)[1]
            (gradient,) = torch.autograd.grad(target.sum(), u)
        return _State(u.detach(), target.detach(), gradient)


@dataclass(frozen=True)
class _State:
    """Where chains are.

    Attributes:
        u: their places.
        target: log f_1 there.
        gradient: of it.
    """

    u: Float[Tensor, "chains rows noise"]
    target: Float[Tensor, "chains rows"]
    gradient: Float[Tensor, "chains rows noise"]

    @property
    def base(self) -> Float[Tensor, "chains rows"]:
        """log f_0."""
        return -(self.u.square().sum(-1) + self.u.shape[-1] * math.log(2 * math.pi)) / 2

    def log_density(self, power: float) -> Float[Tensor, "chains rows"]:
        """log f_β."""
        return (1 - power) * self.base + power * self.target

    def slope(self, power: float) -> Float[Tensor, "chains rows noise"]:
        """The gradient of log f_β."""
        return power * self.gradient - (1 - power) * self.u

    def replaced(self, other: "_State", where: Tensor) -> "_State":
        """The other's chains where they were accepted."""
        return _State(
            torch.where(where[..., None], other.u, self.u),
            torch.where(where, other.target, self.target),
            torch.where(where[..., None], other.gradient, self.gradient),
        )


class _Numbers:
    """The random numbers of all rows, in their order."""

    def __init__(self, seed: int, chains: int, noise: int, device: torch.device) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.chains, self.noise, self.device = chains, noise, device

    def normals(self) -> Float[Tensor, "chains noise"]:
        """Standard normals."""
        drawn = torch.randn(self.chains, self.noise, dtype=torch.float64, generator=self.generator)
        return drawn.to(self.device)

    def uniforms(self) -> Float[Tensor, " chains"]:
        """Uniform from 0 to 1."""
        return torch.rand(self.chains, dtype=torch.float64, generator=self.generator).to(self.device)


@torch.no_grad()
def anneal(family: Amortised, batch: Dataset, *, seed: int, temperatures: int = TEMPERATURES) -> Annealing:
    """The way to each row's posterior, its steps tuned.

    Args:
        family: a fitted amortised family.
        batch: prepared rows.
        seed: of the fit's and the pilot chains' random numbers.
        temperatures: steps from β = 0 to β = 1.
    """
    with seeded(seed):
        pairs = torch.randn(ROUNDS, PAIRS, family.noise, dtype=torch.float64).to(batch.values.device)
    start = torch.zeros(len(batch), family.noise, dtype=torch.float64, device=batch.values.device)
    start[:, : family.latent] = family.encode(batch).double()
    normals = fit_normals(lambda points: family.log_joint(batch, points), start, pairs)
    powers = torch.linspace(0, 1, temperatures + 1, dtype=torch.float64)
    first = torch.full((temperatures - 1, len(batch)), 1.2 * family.noise**-0.25, dtype=torch.float64)
    return Annealing(family, batch, normals, powers, first.to(batch.values.device)).tuned(seed=seed + 1)
