"""Real columns, and positive ones on their logarithm: normal, with a normal-gamma prior."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import constraints

from ppl_models.distributions.conjugate import Conjugate, common_unit, side_by_side, weighted_members

LOG_2PI = math.log(2 * math.pi)
TIGHTEST = 1e8  # a precision beyond this in prepared units is a component collapsed onto a point or a plane
MULTIPLIED = 4  # factors of a product, which would overflow beyond 1e77 each
SCALE_FLOOR = 0.01  # of a training standard deviation: no column's density may grow without bound


class NormalGamma(Conjugate):
    """x | loc, precision ~ Normal; precision ~ Gamma(shape, rate); loc | precision ~ Normal(m, 1/(count·precision)).

    A precision is one column's of one class (VVI), a class's for all columns (spherical, VII), a column's for all
    classes (tied, EEI) or the only one (both, EII). The default prior is Fraley and Raftery's: count 0.01, two degrees
    of freedom more than columns in one dimension, and a variance of K^(−2/D) of the data's (Bayesian regularization for
    normal mixture estimation, 2007, https://doi.org/10.1007/s00357-007-0004-5). Natural parameters, D of each: count,
    count·m, 2·rate + count·m²; the shape is (count + 2.99)/2 throughout, with counts summed where precisions are
    shared.
    """

    COUNT, SHAPE = 0.01, 1.5
    supports = MappingProxyType({"precision": constraints.positive, "loc": constraints.real})

    def __init__(
        self, site: str, columns: tuple[int, ...], classes: int, *, tied: bool = False, spherical: bool = False
    ) -> None:
        self.classes, self.shared = classes, (*((-2,) * tied), *((-1,) * spherical))
        self.members = (classes if tied else 1) * (len(columns) if spherical else 1)
        one = torch.ones(len(columns), dtype=torch.float64)
        variance = classes ** (-2 / len(columns)) / self.members
        super().__init__(site, columns, torch.cat([self.COUNT * one, 0 * one, variance * one]))

    @property
    def tied(self) -> bool:
        """Whether the classes share their precisions."""
        return -2 in self.shared

    def learn(self, values: Tensor, weights: Tensor, scale: Tensor) -> None:
        """Take raw units, up to a factor, where columns share a precision: a sphere is one in the units of the data."""
        if -1 in self.shared:
            self.unit = common_unit(self.pick(scale)).to(self.unit)
            count, first, second = self.prior.chunk(3)
            variance = self.classes ** (-2 / len(self.columns)) / self.members * self.unit.square().mean()
            self.prior = torch.cat([count, first, torch.full_like(second, variance)])

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """(1, x, x²), zero where missing."""
        return side_by_side(observed, values, values.square())

    def class_sums(self, values: Tensor, observed: Tensor, member: Tensor, weights: Tensor, classes: int) -> Tensor:
        """The same sums as those of the statistics, which are never side by side."""
        weighted = weighted_members(member, weights, classes)
        complete, size = bool(observed.all()), values.shape[-1]
        count = weighted.sum(-1, keepdim=True).expand(-1, size) if complete else weighted @ observed.to(values)
        return torch.cat([count, weighted @ values, weighted @ values.square()], -1)

    def _pool(self, table: Tensor) -> Tensor:
        """Sums over the classes and columns that share a precision."""
        return table.sum(self.shared, keepdim=True) if self.shared else table

    def _moments(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Location and count of each class and column, shape and rate of each precision."""
        count, first, second = natural.chunk(3, -1)
        loc = first / count
        shape = self._pool(count - self.COUNT) / 2 + self.SHAPE
        return loc, count, shape, self._pool(second - first * loc) / 2

    def expected(self, natural: Tensor) -> Tensor:
        """E[½ log precision − ½ precision·loc² − ½ log 2π], E[precision·loc], E[−½ precision]."""
        loc, count, shape, rate = self._moments(natural)
        precision = (shape / rate).expand_as(loc)
        constant = (shape.digamma() - rate.log() - precision * loc.square() - 1 / count - LOG_2PI) / 2
        return torch.cat([constant, precision * loc, -precision / 2], -1)

    def log_partition(self, natural: Tensor) -> Tensor:
        """The normal-gamma's log normaliser."""
        _, count, shape, rate = self._moments(natural)
        shared = (shape.lgamma() - shape * rate.log()).sum(-1) / (self.classes if self.tied else 1)
        return shared + ((1 - count) * LOG_2PI / 2 - count.log() / 2).sum(-1)

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """Student's t with 2·shape degrees of freedom; one for all observed columns where they share a precision."""
        if -1 in self.shared:
            return self._predictive_of_spheres(natural, values, observed)
        loc, count, shape, rate = self._moments(natural)
        after, wider = shape + 0.5, 1 + 1 / count
        constant = after.lgamma() - shape.lgamma() - (2 * math.pi * rate * wider).log() / 2
        narrow = (2 * rate * wider).rsqrt()
        distance = values.mT * narrow[..., None] - (loc * narrow)[..., None]
        if bool(observed.all()):
            constants = constant.sum(-1).expand(len(values), -1)
        else:
            distance, constants = distance * observed.mT, observed.to(values) @ constant.mT
        factors = torch.addcmul(torch.ones_like(rate[0, 0]), distance, distance)
        if bool((after == after[..., :1]).all()):
            return constants - (after[..., :1] * log_product(factors)).mT
        return constants - (after[..., None] * factors.log()).sum(-2).mT

    def _predictive_of_spheres(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """One t for all observed columns."""
        loc, count, shape, rate = self._moments(natural)
        seen, wider = observed[:, None].to(values), 1 + 1 / count
        number = seen.sum(-1, keepdim=True)
        distance = (seen * (values[:, None] - loc).square() / wider).sum(-1, keepdim=True)
        after = shape + number / 2
        terms = after.lgamma() - shape.lgamma() - number / 2 * (2 * math.pi * rate).log()
        terms = terms - after * (distance / (2 * rate)).log1p()
        return terms.sum(-1) - (seen * wider.log()).sum(-1) / 2

    def draw(self, natural: Tensor, member: Tensor) -> Tensor:
        """A Student's t draw for each row and column."""
        nothing = natural.new_zeros(len(member), len(self.columns))
        return self.draw_given(natural, member, nothing, nothing.bool())

    def draw_given(self, natural: Tensor, member: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """The same, with what a row's observed cells tell of a precision that its columns share."""
        loc, count, shape, rate = self._moments(natural)
        shape, rate = (each.expand(self.classes, -1)[member] for each in (shape, rate))
        loc, wider = loc[member], 1 + 1 / count[member]
        if -1 in self.shared:
            shape = shape + observed.sum(-1, keepdim=True) / 2
            rate = rate + (observed * (values - loc).square() / wider).sum(-1, keepdim=True) / 2
        precision = dist.Gamma(shape, rate).sample()
        return torch.where(observed, values, loc + (wider / precision).sqrt() * torch.randn_like(loc))

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """loc, log count, log rate."""
        loc, count, _, rate = self._moments(natural)
        return {"loc": loc, "log_count": count.log(), "log_rate": rate.log()}

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        loc, count = free["loc"], free["log_count"].exp()
        second = 2 * free["log_rate"].exp() / self.members + count * loc.square()
        return torch.cat([count, count * loc, second], -1)

    def sample(self, natural: Tensor, classes: AbstractContextManager) -> dict[str, Tensor]:
        """The sites ``precision`` and ``loc``, each (classes, D), of size one where a precision is shared."""
        loc, count, shape, rate = self._moments(natural)
        with nullcontext() if self.tied else classes:
            precision = pyro.sample(f"{self.site}.precision", dist.Gamma(shape, rate).to_event(1))
        with classes:
            spread = (count * precision).rsqrt()
            return {
                "precision": precision,
                "loc": pyro.sample(f"{self.site}.loc", dist.Normal(loc, spread).to_event(1)),
            }

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """Normal(loc, precision^−½) of each row's class."""
        loc, precision = theta["loc"], theta["precision"]
        return dist.Normal(loc[member], precision.expand(len(loc), -1)[member].rsqrt())

    def mode(self, natural: Tensor, *, flat: bool) -> dict[str, Tensor]:
        """The mean, and the inverse of the pooled variance."""
        if flat:
            count, first, second = natural.chunk(3, -1)
            loc = first / count
            return {"precision": self._pool(count) / self._pool(second - first * loc), "loc": loc}
        loc, _, shape, rate = self._moments(natural)
        return {"precision": (shape - 1 + self.members / 2) / rate, "loc": loc}

    def encode(self, theta: Mapping[str, Tensor]) -> Tensor:
        """½ log precision − ½ precision·loc² − ½ log 2π, precision·loc, −½ precision."""
        loc = theta["loc"]
        precision = theta["precision"].expand_as(loc)
        constant = (precision.log() - precision * loc.square() - LOG_2PI) / 2
        return torch.cat([constant, precision * loc, -precision / 2], -1)

    def decode(self, encoded: Tensor) -> dict[str, Tensor]:
        """precision and loc."""
        _, pull, spread = encoded.chunk(3, -1)
        precision = -2 * spread
        loc = pull / precision
        precision = precision[..., :1, :] if self.tied else precision
        return {"precision": precision[..., :1] if -1 in self.shared else precision, "loc": loc}

    def collapsed(self, theta: Mapping[str, Tensor]) -> Tensor:
        """Whether a standard deviation is below 1e-4 of the column's."""
        return ~(theta["precision"] < TIGHTEST).all(-1).expand(theta["loc"].shape[:-1])

    def count_parameters(self, classes: int) -> int:
        """A location for each class and column, and the precisions."""
        locations = classes * len(self.columns)
        return locations + locations // self.members


def log_product(factors: Float[Tensor, "*batch columns rows"]) -> Float[Tensor, "*batch rows"]:
    """Σ log of factors from 1 on, a few of them at a time, since a logarithm costs more than a product."""
    logs = sum(part.prod(-2).log() for part in factors.split(MULTIPLIED, -2))
    return logs if bool(torch.isfinite(logs).all()) else factors.log().sum(-2)
