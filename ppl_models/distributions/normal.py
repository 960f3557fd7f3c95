"""Real columns, and positive ones on their logarithm: normal, with a normal-gamma prior."""

import math
from collections.abc import Mapping

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.distributions.conjugate import Conjugate

LOG_2PI = math.log(2 * math.pi)
SCALE_FLOOR = 0.01  # of a training standard deviation: no column's density may grow without bound


class NormalGamma(Conjugate):
    """x | loc, precision ~ Normal; precision ~ Gamma(shape, rate); loc | precision ~ Normal(m, 1/(count·precision)).

    The default prior is Fraley and Raftery's: count 0.01, two degrees of freedom more than columns in one dimension,
    and a variance of K^(−2/D) of the data's (Bayesian regularization for normal mixture estimation, 2007,
    https://doi.org/10.1007/s00357-007-0004-5). Natural parameters, D of each: count, count·m, 2·rate + count·m²;
    the shape is (count + 2.99)/2 throughout.
    """

    COUNT, SHAPE = 0.01, 1.5

    def __init__(self, site: str, columns: tuple[int, ...], classes: int) -> None:
        one = torch.ones(len(columns), dtype=torch.float64)
        variance = classes ** (-2 / len(columns))
        super().__init__(site, columns, torch.cat([self.COUNT * one, 0 * one, variance * one]))

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """(1, x, x²), zero where missing."""
        return torch.cat([observed.to(values), values, values.square()], -1)

    def _moments(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Location, count, shape and rate."""
        count, first, second = natural.chunk(3, -1)
        loc = first / count
        return loc, count, self._shape(count), (second - first * loc) / 2

    def _shape(self, count: Tensor) -> Tensor:
        return (count - self.COUNT) / 2 + self.SHAPE

    def expected(self, natural: Tensor) -> Tensor:
        """E[½ log precision − ½ precision·loc² − ½ log 2π], E[precision·loc], E[−½ precision]."""
        loc, count, shape, rate = self._moments(natural)
        precision = shape / rate
        constant = (shape.digamma() - rate.log() - precision * loc.square() - 1 / count - LOG_2PI) / 2
        return torch.cat([constant, precision * loc, -precision / 2], -1)

    def log_partition(self, natural: Tensor) -> Tensor:
        """The normal-gamma's log normaliser."""
        _, count, shape, rate = self._moments(natural)
        terms = shape.lgamma() - shape * rate.log() - count.log() / 2 + (1 - count) * LOG_2PI / 2
        return terms.sum(-1)

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """Student's t with 2·shape degrees of freedom, summed over the observed columns."""
        loc, count, shape, rate = self._moments(natural)
        spread = 2 * rate * (1 + 1 / count)
        constant = (shape + 0.5).lgamma() - shape.lgamma() - (math.pi * spread).log() / 2
        tail = (shape + 0.5) * ((values[:, None] - loc).square() / spread).log1p()
        return torch.where(observed[:, None], constant - tail, 0.0).sum(-1)

    def draw(self, natural: Tensor) -> Tensor:
        """A Student's t draw for each row and column."""
        loc, count, shape, rate = self._moments(natural)
        precision = dist.Gamma(shape, rate).sample()
        return loc + ((1 + 1 / count) / precision).sqrt() * torch.randn_like(loc)

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """loc, log count, log rate."""
        loc, count, _, rate = self._moments(natural)
        return {"loc": loc, "log_count": count.log(), "log_rate": rate.log()}

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        loc, count = free["loc"], free["log_count"].exp()
        return torch.cat([count, count * loc, 2 * free["log_rate"].exp() + count * loc.square()], -1)

    def sample(self, natural: Tensor) -> dict[str, Tensor]:
        """The sites ``precision`` and ``loc``, each (classes, D)."""
        loc, count, shape, rate = self._moments(natural)
        precision = pyro.sample(f"{self.site}.precision", dist.Gamma(shape, rate).to_event(1))
        spread = (count * precision).rsqrt()
        return {"precision": precision, "loc": pyro.sample(f"{self.site}.loc", dist.Normal(loc, spread).to_event(1))}

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """Normal(loc, precision^−½) of each row's class."""
        return dist.Normal(theta["loc"][member], theta["precision"][member].rsqrt())


class NormalHead(nn.Module):
    """A decoder's normal columns, with one learned scale a column; a linear decoder then is factor analysis."""

    def __init__(self, site: str, columns: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.site, self.columns = site, columns
        self.loc = nn.Linear(width, len(columns))
        self.log_scale = nn.Parameter(torch.zeros(len(columns)))

    def reset_parameters(self) -> None:
        """Set the scales to one training standard deviation again."""
        nn.init.zeros_(self.log_scale)

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D)."""
        return dist.Normal(self.loc(hidden), SCALE_FLOOR + self.log_scale.exp())


class HeteroscedasticHead(nn.Module):
    """A decoder's normal columns, location and scale both from the network."""

    def __init__(self, site: str, columns: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.site, self.columns = site, columns
        self.loc = nn.Linear(width, len(columns))
        self.scale = nn.Linear(width, len(columns))

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D)."""
        return dist.Normal(self.loc(hidden), SCALE_FLOOR + nn.functional.softplus(self.scale(hidden)))
