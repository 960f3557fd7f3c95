"""Count columns that share out a row's total: multinomial, with a Dirichlet prior."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppl_models.distributions.conjugate import TINY, Conjugate
from ppl_models.errors import InputError

QUANTILES = 101  # of the training totals


class Shares(dist.TorchDistribution):
    """A total's counts by their probabilities: a multinomial whose rows differ in their totals.

    ``log_prob`` takes a row's total from the row itself, and a draw takes any of the totals given.
    """

    arg_constraints = MappingProxyType({"probs": constraints.simplex})
    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(self, probs: Tensor, totals: Tensor) -> None:
        self.probs, self.totals = probs, totals
        super().__init__(probs.shape[:-1], probs.shape[-1:])

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "Shares":
        """The same for a wider batch."""
        return Shares(self.probs.expand(*batch_shape, -1), self.totals)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log pmf of counts given their total, coefficient included."""
        return log_coefficient(value) + torch.xlogy(value, self.probs).sum(-1)

    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """A binomial draw from what is left of the total, column by column."""
        shape = self._extended_shape(torch.Size(sample_shape))
        left = self.totals[torch.randint(len(self.totals), shape[:-1], device=self.totals.device)]
        rest = self.probs.flip(-1).cumsum(-1).flip(-1).clamp(min=TINY)
        counts = []
        for share in (self.probs / rest).expand(shape).unbind(-1):
            counts.append(torch.binomial(left, share))
            left = left - counts[-1]
        return torch.stack(counts, -1)


def log_coefficient(counts: Tensor) -> Tensor:
    """The log of the multinomial coefficient."""
    return (counts.sum(-1) + 1).lgamma() - (counts + 1).lgamma().sum(-1)


class DirichletMultinomial(Conjugate):
    """x | total, probabilities ~ Multinomial; probabilities ~ Dirichlet(1, ..., 1).

    All D columns are one draw: the pmf, coefficient included, is that of a row's counts given their total. So a row
    has all of its cells or none, and no density of the totals themselves is learned. New rows take one of 101
    quantiles of the training totals. Natural parameters: the D concentrations.

    Attributes:
        given: what the pmf is conditional on.
        totals: (101,) quantiles of the training rows' totals, each as likely; rows without a single count are left
            out, since rows whose cells are missing look like them.
    """

    given = "row total"
    of_probabilities = nonnegative = True
    supports = MappingProxyType({"probs": constraints.simplex})

    def __init__(self, site: str, columns: tuple[int, ...]) -> None:
        super().__init__(site, columns, torch.ones(len(columns), dtype=torch.float64))
        self.register_buffer("totals", torch.zeros(QUANTILES, dtype=torch.float64))

    def check(self, observed: Tensor, *, before: int = 0) -> None:
        """Refuse rows with some of the cells missing, but not all."""
        partial = observed.any(-1) & ~observed.all(-1)
        if bool(partial.any()):
            row = int(partial.nonzero()[0, 0])
            raise InputError(
                f"row {before + row + 1}: {int((~observed[row]).sum())} of {len(self.columns)} counts are missing, "
                "expected all or none of the multinomial's cells"
            )

    def learn(self, values: Tensor, weights: Tensor, scale: Tensor) -> None:
        """Keep the quantiles of the rows' totals, each row counted by its weight."""
        totals, order = values.sum(-1).sort()
        shares = (weights[order] * (totals > 0)).cumsum(0)
        if len(totals) and bool(shares[-1] > 0):
            middles = (torch.arange(QUANTILES).to(totals) + 0.5) / QUANTILES
            self.totals = totals[torch.searchsorted(shares, middles * shares[-1], right=True)].to(self.totals)

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """The counts, zero where missing."""
        self.check(observed)
        return values

    def base_measure(self, values: Tensor, observed: Tensor) -> Tensor:
        """The log of the multinomial coefficient."""
        return log_coefficient(values)

    def expected(self, natural: Tensor) -> Tensor:
        """E[log probability]."""
        return natural.digamma() - natural.sum(-1, keepdim=True).digamma()

    def log_partition(self, natural: Tensor) -> Tensor:
        """The Dirichlet's log normaliser."""
        return natural.lgamma().sum(-1) - natural.sum(-1).lgamma()

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """Dirichlet multinomial of each row's counts given their total."""
        self.check(observed)
        both, total = natural.sum(-1), values.sum(-1, keepdim=True)
        columns = ((natural + values[:, None]).lgamma() - natural.lgamma()).sum(-1)
        return columns + both.lgamma() - (both + total).lgamma() + log_coefficient(values)[:, None]

    def draw(self, natural: Tensor, member: Tensor) -> Tensor:
        """A total for each row, shared out by probabilities of the row's own."""
        return Shares(dist.Dirichlet(natural[member]).sample(), self.totals).sample()

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """log concentration, (..., D)."""
        return {"log_concentration": natural.log()}

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        return free["log_concentration"].exp()

    def sample(self, natural: Tensor, classes: AbstractContextManager) -> dict[str, Tensor]:
        """The site ``probs`` (classes, D)."""
        with classes:
            return {"probs": pyro.sample(f"{self.site}.probs", dist.Dirichlet(natural))}

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """Multinomial(probs) of each row's class; the columns are its event."""
        return Shares(theta["probs"][member], self.totals)

    def mode(self, natural: Tensor, *, flat: bool) -> dict[str, Tensor]:
        """The Dirichlet's mode; if flat, the shares of the counts."""
        counts = (natural if flat else natural - 1).clamp(min=0)
        return {"probs": counts / counts.sum(-1, keepdim=True)}

    def encode(self, theta: Mapping[str, Tensor]) -> Tensor:
        """log probability."""
        return theta["probs"].clamp(min=TINY).log()

    def decode(self, encoded: Tensor) -> dict[str, Tensor]:
        """probs."""
        return {"probs": encoded.exp()}

    def count_parameters(self, classes: int) -> int:
        """The probabilities of each class, which add up to one."""
        return classes * (len(self.columns) - 1)
