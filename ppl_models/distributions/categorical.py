"""Binary and categorical columns: a probability for each category, with a Dirichlet prior."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import constraints

from ppl_models.distributions.conjugate import Conjugate

LARGEST_TABLE = 1024


class DirichletCategorical(Conjugate):
    """x | probabilities ~ Categorical; probabilities ~ Dirichlet(smoothing, ...), which is added to every count.

    All columns here have the same number of categories C; a binary column is one with C = 2. Natural parameters:
    the D·C concentrations.
    """

    supports = MappingProxyType({"probs": constraints.simplex})
    of_probabilities = nonnegative = True

    def __init__(self, site: str, columns: tuple[int, ...], categories: int, *, smoothing: float = 1.0) -> None:
        self.categories = categories
        super().__init__(site, columns, torch.full((len(columns) * categories,), smoothing, dtype=torch.float64))

    def _table(self, natural: Tensor) -> Tensor:
        return natural.unflatten(-1, (len(self.columns), self.categories))

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """One indicator a category, zero where missing."""
        onehot = nn.functional.one_hot(values.long(), self.categories).to(values)
        return (onehot * observed[..., None]).flatten(1)

    def class_sums(self, values: Tensor, observed: Tensor, member: Tensor, weights: Tensor, classes: int) -> Tensor:
        """The same sums as those of the statistics, counted."""
        numbers, size = len(self.columns), self.categories
        at = values.long() + size * torch.arange(numbers, device=values.device) + numbers * size * member[:, None]
        counted = (weights[:, None] * observed).flatten()
        found = torch.bincount(at.flatten(), counted, minlength=classes * numbers * size)
        return found.view(classes, numbers * size).to(values)

    def expected(self, natural: Tensor) -> Tensor:
        """E[log probability]."""
        table = self._table(natural)
        return (table.digamma() - table.sum(-1, keepdim=True).digamma()).flatten(-2)

    def log_partition(self, natural: Tensor) -> Tensor:
        """The Dirichlet's log normaliser."""
        table = self._table(natural)
        return (table.lgamma().sum(-1) - table.sum(-1).lgamma()).sum(-1)

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """The log of each cell's share of the concentrations."""
        table = self._table(natural)
        shares = (table / table.sum(-1, keepdim=True)).log()
        if len(values) < LARGEST_TABLE:
            return self.statistics(values, observed) @ shares.flatten(-2).mT
        if not bool(observed.all()):
            shares = nn.functional.pad(shares, (0, 1))  # a missing cell is one category more, which costs nothing
            values = torch.where(observed, values, self.categories)
        return look_up(shares, values)

    def draw(self, natural: Tensor, member: Tensor) -> Tensor:
        """A category for each row and column, by its share."""
        return dist.Categorical(probs=self._table(natural)[member]).sample().to(natural)

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """log concentration, (..., D, C)."""
        return {"log_concentration": self._table(natural).log()}

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        return free["log_concentration"].exp().flatten(-2)

    def sample(self, natural: Tensor, classes: AbstractContextManager) -> dict[str, Tensor]:
        """The site ``probs`` (classes, D, C)."""
        prior = dist.Dirichlet(self._table(natural)).to_event(1)
        with classes:
            return {"probs": pyro.sample(f"{self.site}.probs", prior)}

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """Categorical(probs) of each row's class."""
        return dist.Categorical(probs=theta["probs"][member])

    def mode(self, natural: Tensor, *, flat: bool) -> dict[str, Tensor]:
        """Shares of the counts."""
        counts = self._table(natural) if flat else (self._table(natural) - 1).clamp(min=0)
        return {"probs": counts / counts.sum(-1, keepdim=True)}

    def encode(self, theta: Mapping[str, Tensor]) -> Tensor:
        """log probability, finite for none."""
        return log_of_probability(theta["probs"]).flatten(-2)

    def decode(self, encoded: Tensor) -> dict[str, Tensor]:
        """probs."""
        return {"probs": self._table(encoded.exp())}

    def count_parameters(self, classes: int) -> int:
        """One less than there are categories, for each class and column."""
        return classes * len(self.columns) * (self.categories - 1)


def log_of_probability(probability: Tensor) -> Tensor:
    """A logarithm that is −708 where the probability is 0, since a matrix product cannot hold −∞."""
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()


def look_up(
    table: Float[Tensor, "classes columns categories"], codes: Float[Tensor, "rows columns"]
) -> Float[Tensor, "rows classes"]:
    """Σ over columns of the numbers at the codes, several columns at a time: their codes together are one code."""
    size = table.shape[-1]
    together, total = max(int(math.log(LARGEST_TABLE, size)), 1), 0.0
    for part, some in zip(table.split(together, 1), codes.split(together, 1), strict=True):
        sums = part[:, 0]
        for column in range(1, part.shape[1]):
            sums = (sums[..., None] + part[:, column, None]).flatten(1)
        places = size ** torch.arange(part.shape[1] - 1, -1, -1, device=codes.device)
        total = total + sums.mT.contiguous()[(some @ places.to(some)).long()]
    return total
