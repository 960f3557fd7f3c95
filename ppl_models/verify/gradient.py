"""The law of the gradient: it is the derivative of what the loss estimates, along a random direction.

Where all draws are smooth functions of random numbers, so is the loss with fixed random numbers of the parameters, and
its central differences tell, draw by draw. Else the score function's estimate does,

    d/dθ E_q[f] = E_q[(f − b) d/dθ log q + d/dθ f],     f = log p(x, z) − log q(z),

made of replayed traces, with the differences taken at fixed z (Mohamed, Rosca, Figurnov and Mnih 2020, Monte Carlo
gradient estimation in machine learning, https://arxiv.org/abs/1906.10652).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from pyro import poutine
from pyro.distributions import Delta
from torch import Tensor
from torch import distributions as d

from ppl_models.distributions import seeded
from ppl_models.verify.bench import Bench
from ppl_models.verify.draws import drawn_sites, log_prob, weigh_traces
from ppl_models.verify.findings import Comparison, Mean, Skip, mean_of
from ppl_models.verify.pairs import Pair, base_of, is_enumerated, latent, whole_plates

# whose draws are smooth functions of fixed random numbers; those of a gamma or a beta are accepted or not
PATHWISE = (
    d.Normal,
    d.MultivariateNormal,
    d.LowRankMultivariateNormal,
    d.Uniform,
    d.Laplace,
    d.Cauchy,
    d.Exponential,
    Delta,
)
STEP = {torch.float64: 1e-4, torch.float32: 1e-2}
PARTS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)  # of a step, between which slopes are looked at

WIDER = 4.0  # than what these slopes tell: of ReLU networks in single precision the worst draw in 1,600 was off by 1.9
MIDDLE = 0.25 / 1.5  # how far apart the innermost slopes are, of the outermost


def gradient(bench: Bench) -> Iterator[Comparison]:
    """The loss's gradient is the derivative of its expectation."""
    parameters = bench.pair.parameters()
    if not parameters:
        raise Skip("the pair has no parameters")
    model, guide = bench.traces
    if any(latent(s) and s["name"] not in guide.nodes and not is_enumerated(s) for s in drawn_sites(model)):
        raise Skip("a latent site is drawn by the model itself")
    step = max(STEP.get(value.dtype, 1e-2) for value in parameters.values())
    along = Direction(bench.pair, parameters, step=step, seed=bench.stream(9))
    asked = [site for site in drawn_sites(guide) if latent(site)]
    smooth = all(is_enumerated(site) or isinstance(base_of(site["fn"]), PATHWISE) for site in asked)
    if not smooth and bench.pair.draws_claimed > 1:
        raise Skip("a bound by several draws, and some of its draws are not reparametrised")
    always = smooth and not bench.pair.stopped
    seeds = [bench.stream(10, draw) for draw in range(16 if always else bench.draws)]
    with whole_plates():
        found = torch.tensor([along.gradient(seed) for seed in seeds], dtype=torch.float64)
        if smooth:
            right, bent = torch.tensor([along.differences(seed) for seed in seeds], dtype=torch.float64).T
        else:
            right = along.score([bench.stream(11, draw) for draw in range(len(seeds))])
            bent = torch.zeros_like(right)
    apart = found - right
    rounded = (1e-7 if step > 1e-3 else 1e-14) * abs(float(bench.claimed.mean())) / step
    slack = 4 * rounded + 1e-5 * (1 + float(right.abs().mean()))
    what = "the derivative of the loss along a random direction, nats"
    if always:  # the same for each draw: the worst one tells
        worst = int(apart.abs().argmax())
        known, expected = Mean(float(found[worst]), 0.0, 1), float(right[worst])
        slack += WIDER * float(bent.max())
    else:
        se = mean_of(apart).se if smooth else math.hypot(mean_of(found).se, mean_of(right).se)
        known, expected = Mean(float(found.mean()), se, len(found)), float(right.mean())
        slack += WIDER * float(bent.mean())
    causes = _causes(found, right, smooth=smooth)
    yield Comparison(what, known, expected, slack=slack, causes=causes)


class Direction:
    """A random direction in the space of all parameters, of length 1 an entry.

    Args:
        pair: whose parameters they are.
        parameters: the parameters.
        step: of the differences.
        seed: of the direction.
    """

    def __init__(self, pair: Pair, parameters: Mapping[str, Tensor], *, step: float, seed: int) -> None:
        self.pair, self.parameters, self.step = pair, parameters, step
        with seeded(seed):
            self.entries = {name: torch.randn_like(value) for name, value in parameters.items()}
        size = sum(float(entry.square().sum()) for entry in self.entries.values()) ** 0.5
        self.entries = {name: entry / size for name, entry in self.entries.items()}

    @contextmanager
    def moved(self, by: float) -> Iterator[None]:
        """The parameters so many steps along the direction."""
        with torch.no_grad():
            before = {name: value.clone() for name, value in self.parameters.items()}
            for name, value in self.parameters.items():
                value.add_(self.entries[name], alpha=by * self.step)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in self.parameters.items():
                    value.copy_(before[name])

    def gradient(self, seed: int) -> float:
        """The loss's gradient along the direction."""
        for value in self.parameters.values():
            value.grad = None
        with seeded(seed):
            self.pair.gradients()
        slopes = [
            (value.grad.double() * self.entries[name].double()).sum()
            for name, value in self.parameters.items()
            if value.grad is not None
        ]
        return float(sum(slopes))

    def differences(self, seed: int) -> tuple[float, float]:
        """The loss's central difference with fixed random numbers, and how far it may be off.

        Slopes within the step tell: the means of two that mirror each other, of which a curve's first bend is gone, by
        what they differ from the difference; and a kink in the middle, such as ReLU's at zero, by how much more the
        slopes beside it differ than the bend makes them.
        """
        heights = []
        for by in PARTS:
            with self.moved(by), seeded(seed):
                heights.append(-self.pair.elbo())
        places, heights = torch.tensor([[by * self.step for by in PARTS], heights], dtype=torch.float64)
        slope = (heights[-1] - heights[0]) / (places[-1] - places[0])
        left, right = (heights.diff() / places.diff()).reshape(2, -1)
        left = left.flip(0)  # both from the middle outwards
        kink = (right - left)[0] - (right - left)[-1] * MIDDLE
        return float(slope), float(((left + right) / 2 - slope).abs().max() + kink.abs() / 2)

    @torch.no_grad()
    def score(self, seeds: list[int]) -> Float[Tensor, " draws"]:
        """The score function's estimates of the loss's derivative."""
        weights, scores, slopes = [], [], []
        for seed in seeds:
            with seeded(seed):
                _, guide = self.pair.trace()
            up, down = (self._at(guide, by) for by in (1.0, -1.0))
            weights.append((up[0] + down[0]) / 2)
            scores.append((up[1] - down[1]) / (2 * self.step))
            slopes.append((up[0] - down[0]) / (2 * self.step))
        weight, score, slope = (torch.tensor(values, dtype=torch.float64) for values in (weights, scores, slopes))
        others = (weight.sum() - weight) / max(len(weight) - 1, 1)
        return -((weight - others) * score + slope)

    def _at(self, guide: poutine.Trace, by: float) -> tuple[float, float]:
        """The ELBO's term and the guide's log density of a draw, with the parameters moved."""
        pair = self.pair
        with self.moved(by):
            again = poutine.trace(poutine.replay(pair.guide, trace=guide)).get_trace(*pair.args, **pair.kwargs)
            model = poutine.trace(poutine.replay(pair.model, trace=again)).get_trace(*pair.args, **pair.kwargs)
            terms = weigh_traces(pair, model, again)
        own = sum(float(log_prob(site).sum()) for site in drawn_sites(again) if latent(site))  # draws have no scale
        return terms.elbo, own


def _causes(found: Float[Tensor, " draws"], right: Float[Tensor, " draws"], *, smooth: bool) -> tuple[str, ...]:
    """What a wrong gradient looks like."""
    if not bool(found.any()):
        return ("everything is detached: detach(), no_grad() or .item() before the loss",)
    ratios = found / right if smooth else found.mean() / right.mean()
    if bool((ratios + 1).abs().max() < 0.01):
        return ("the gradient has the wrong sign",)
    if bool((ratios - ratios.mean()).abs().max() < 0.01 * ratios.mean().abs()):
        return (f"the gradient is {float(ratios.mean()):.3g} times what it should be",)
    if smooth:
        return ("a draw or a parameter is detached: sample() for rsample(), detach(), no_grad() or .data",)
    return ("the score function's term is missing for a draw that is not reparametrised",)
