"""Count columns that vary more than a Poisson's: negative binomial, with a prior on its dispersion."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppl_models.distributions.conjugate import TINY, Conjugate, side_by_side

GRID = torch.logspace(-1, 3, 24, dtype=torch.float64)  # of dispersions, a factor of 1.49 apart
PROBS_MOST = 1 - torch.finfo(torch.float64).eps  # the distribution refuses a probability of one


class NegativeBinomial(Conjugate):
    """x | r, p ~ NegativeBinomial, of pmf Γ(x + r) / (x! Γ(r)) (1 − p)^r p^x; p | r ~ Beta(1, 1 + r/m); r on a grid.

    Its variance is mean + mean²/r. The dispersion r of each class and column is one of the 24 values of ``GRID``,
    each with the same prior probability, so that all answers are finite sums; m is the column's training mean. As r
    grows this becomes ``GammaPoisson``, prior included.

    Limits: no dispersion between or beyond the grid's values; its end at 1000 is a Poisson for most purposes (0.2 %
    more variance at a mean of 2). The mode is that of r and p together: p's density is the higher the larger r, so
    the mode of the posterior leans to less dispersion than the posterior itself. Natural parameters: η_n and η_x, D
    of each, then D·24 scores η_g; given r, p ~ Beta(η_x, 1 + η_n·r).
    """

    supports = MappingProxyType(
        {"dispersion": constraints.integer_interval(0, len(GRID) - 1), "probs": constraints.unit_interval}
    )

    def __init__(self, site: str, columns: tuple[int, ...]) -> None:
        super().__init__(site, columns, _prior(torch.ones(len(columns), dtype=torch.float64)))
        self.register_buffer("grid", GRID, persistent=False)
        self.footprint = -(-len(GRID) // len(columns))

    def learn(self, values: Tensor, weights: Tensor, scale: Tensor) -> None:
        """Set the unit of the prior to the columns' training means."""
        self.prior = _prior(self.pick(scale)).to(self.prior)

    def _split(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What belongs to 1 and to x (..., D, 1), and to each r (..., D, G)."""
        size = len(self.columns)
        trials, total, scores = table.split([size, size, size * len(self.grid)], -1)
        return trials[..., None], total[..., None], scores.unflatten(-1, (size, -1))

    def _parts(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """η_n, η_x and η_g; NaN for a sum below 0, which no rows have, but of which the gamma function has a value."""
        trials, total, scores = self._split(natural)
        return *(torch.where(part < 0, torch.nan, part) for part in (trials, total)), scores

    def _beta(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The beta distribution's parameters (..., D, 1) and (..., D, G); η_g with p integrated out (..., D, G)."""
        trials, total, scores = self._parts(natural)
        beta = 1 + trials * self.grid
        return total, beta, scores + _log_beta(total, beta)

    def _rising(self, x: Tensor) -> Tensor:
        """log Γ(x + r) − log Γ(r), (...) to (..., G)."""
        return (x[..., None] + self.grid).lgamma() - self.grid.lgamma()

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """(1, x, log Γ(x + r) − log Γ(r) for each r), zero where missing."""
        return side_by_side(observed, values, self._rising(values).flatten(1))

    def base_measure(self, values: Tensor, observed: Tensor) -> Tensor:
        """−log x!"""
        return -(values + 1).lgamma().sum(-1)

    def expected(self, natural: Tensor) -> Tensor:
        """E[r log(1 − p)], E[log p], the probability of each r."""
        alpha, beta, scores = self._beta(natural)
        shares = scores.softmax(-1)
        both = (alpha + beta).digamma()
        failure = (shares * self.grid * (beta.digamma() - both)).sum(-1)
        success = (shares * (alpha.digamma() - both)).sum(-1)
        return torch.cat([failure, success, shares.flatten(-2)], -1)

    def log_partition(self, natural: Tensor) -> Tensor:
        """The log normaliser: a sum over the grid of beta functions."""
        return self._beta(natural)[2].logsumexp(-1).sum(-1)

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """A mixture over the grid of beta negative binomials, summed over the observed columns."""
        alpha, beta, scores = self._beta(natural)
        shares = scores.log_softmax(-1) - _log_beta(alpha, beta)

        def column(d: int) -> Tensor:  # one at a time, to hold (rows, classes, G) and not D times as much
            x = values[:, d, None, None]
            joint = _log_beta(alpha[:, d] + x, beta[:, d] + self.grid)
            terms = (shares[:, d] + joint + self._rising(values[:, d, None])).logsumexp(-1)
            return torch.where(observed[:, d, None], terms - (x[..., 0] + 1).lgamma(), 0.0)

        return sum(column(d) for d in range(len(self.columns)))

    def draw(self, natural: Tensor, member: Tensor) -> Tensor:
        """For each row and column a dispersion by its probability, a p, and a Poisson draw of a gamma rate."""
        alpha, beta, scores = (part[member] for part in self._beta(natural))
        code = dist.Categorical(logits=scores).sample()
        return self._cells(code, dist.Beta(alpha[..., 0], _at(beta, code)).sample()).sample()

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """log η_n and log η_x, (..., D); the scores η_g, (..., D, G)."""
        trials, total, scores = self._parts(natural)
        return {"log_trials": trials[..., 0].log(), "log_total": total[..., 0].log(), "score": scores}

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        return torch.cat([free["log_trials"].exp(), free["log_total"].exp(), free["score"].flatten(-2)], -1)

    def sample(self, natural: Tensor, classes: AbstractContextManager) -> dict[str, Tensor]:
        """The sites ``dispersion``, a position in the grid, and ``probs``, each (classes, D)."""
        alpha, beta, scores = self._beta(natural)
        with classes:
            code = pyro.sample(f"{self.site}.dispersion", dist.Categorical(logits=scores).to_event(1))
            probs = dist.Beta(alpha[..., 0], _at(beta, code)).to_event(1)
            return {"dispersion": code, "probs": pyro.sample(f"{self.site}.probs", probs)}

    def _cells(self, code: Tensor, probs: Tensor) -> dist.Distribution:
        return dist.NegativeBinomial(self.grid[code], probs=probs.clamp(max=PROBS_MOST))

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """NegativeBinomial(dispersion, probs) of each row's class."""
        return self._cells(theta["dispersion"][member], theta["probs"][member])

    def mode(self, natural: Tensor, *, flat: bool) -> dict[str, Tensor]:
        """The best p for each dispersion, then the best dispersion."""
        trials, total, scores = self._parts(natural)
        success, failure = (total if flat else total - 1).clamp(min=0), trials * self.grid
        probs = success / (success + failure)
        height = scores + torch.xlogy(success, probs) + failure * (-probs).log1p()
        code = height.argmax(-1)
        return {"dispersion": code, "probs": _at(probs, code)}

    def encode(self, theta: Mapping[str, Tensor]) -> Tensor:
        """r log(1 − p), log p, one indicator a dispersion."""
        code, probs = theta["dispersion"], theta["probs"]
        failure = self.grid[code] * (1 - probs).clamp(min=TINY).log()
        onehot = nn.functional.one_hot(code, len(self.grid)).to(probs)
        return torch.cat([failure, probs.clamp(min=TINY).log(), onehot.flatten(-2)], -1)

    def decode(self, encoded: Tensor) -> dict[str, Tensor]:
        """dispersion and probs."""
        _, log_probs, onehot = self._split(encoded)
        return {"dispersion": onehot.argmax(-1), "probs": log_probs[..., 0].exp()}

    def release(self, theta: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Both as real numbers; a position in the grid stays what it is."""
        free = super().release({"probs": theta["probs"]})
        return {"dispersion": theta["dispersion"].to(free["probs"]), **free}

    def confine(self, free: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back; a position is the nearest in the grid."""
        code = free["dispersion"].round().clamp(0, len(self.grid) - 1).long()
        return {"dispersion": code, **super().confine({"probs": free["probs"]})}

    def count_parameters(self, classes: int) -> int:
        """A dispersion and a p for each class and column."""
        return 2 * classes * len(self.columns)


def _prior(mean: Tensor) -> Tensor:
    """Natural parameters of the prior for columns of these means; −log B(1, 1 + r/m) is log(1 + r/m)."""
    scores = (GRID / mean[:, None]).log1p() - math.log(len(GRID))
    return torch.cat([1 / mean, torch.ones_like(mean), scores.flatten()])


def _log_beta(alpha: Tensor, beta: Tensor) -> Tensor:
    """The log of the beta function."""
    return alpha.lgamma() + beta.lgamma() - (alpha + beta).lgamma()


def _at(table: Tensor, code: Tensor) -> Tensor:
    """The entry at each position of the grid, (..., G) to (...)."""
    return table.gather(-1, code[..., None])[..., 0]
