"""Count columns: Poisson, with a gamma prior."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppl_models.distributions.conjugate import TINY, Conjugate, side_by_side


class GammaPoisson(Conjugate):
    """x | rate ~ Poisson(rate); rate ~ Gamma(shape, inverse scale).

    The prior is an exponential whose mean is the column's training mean. Natural parameters, D of each: inverse
    scale, shape.
    """

    nonnegative = True
    supports = MappingProxyType({"rate": constraints.positive})

    def __init__(self, site: str, columns: tuple[int, ...]) -> None:
        super().__init__(site, columns, torch.ones(2 * len(columns), dtype=torch.float64))

    def learn(self, values: Tensor, weights: Tensor, scale: Tensor) -> None:
        """Set the prior's mean to the columns' training means."""
        self.prior = torch.cat([1 / self.pick(scale), torch.ones_like(self.pick(scale))]).to(self.prior)

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """(1, x), zero where missing."""
        return side_by_side(observed, values)

    def base_measure(self, values: Tensor, observed: Tensor) -> Tensor:
        """−log x!"""
        return -(values + 1).lgamma().sum(-1)

    def expected(self, natural: Tensor) -> Tensor:
        """E[−rate], E[log rate]."""
        inverse, shape = natural.chunk(2, -1)
        return torch.cat([-shape / inverse, shape.digamma() - inverse.log()], -1)

    def log_partition(self, natural: Tensor) -> Tensor:
        """The gamma's log normaliser."""
        inverse, shape = natural.chunk(2, -1)
        return (shape.lgamma() - shape * inverse.log()).sum(-1)

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """Negative binomial, summed over the observed columns."""
        inverse, shape = natural.chunk(2, -1)
        x = values[:, None]
        terms = (
            (shape + x).lgamma()
            - shape.lgamma()
            - (x + 1).lgamma()
            - shape * (1 / inverse).log1p()
            - x * inverse.log1p()
        )
        return torch.where(observed[:, None], terms, 0.0).sum(-1)

    def draw(self, natural: Tensor, member: Tensor) -> Tensor:
        """A negative binomial draw for each row and column."""
        inverse, shape = natural[member].chunk(2, -1)
        return dist.Poisson(dist.Gamma(shape, inverse).sample()).sample()

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """log inverse scale, log shape."""
        inverse, shape = natural.chunk(2, -1)
        return {"log_inverse_scale": inverse.log(), "log_shape": shape.log()}

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        return torch.cat([free["log_inverse_scale"].exp(), free["log_shape"].exp()], -1)

    def sample(self, natural: Tensor, classes: AbstractContextManager) -> dict[str, Tensor]:
        """The site ``rate`` (classes, D)."""
        inverse, shape = natural.chunk(2, -1)
        with classes:
            return {"rate": pyro.sample(f"{self.site}.rate", dist.Gamma(shape, inverse).to_event(1))}

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """Poisson(rate) of each row's class."""
        return dist.Poisson(theta["rate"][member])

    def mode(self, natural: Tensor, *, flat: bool) -> dict[str, Tensor]:
        """The gamma's mode; if flat, the mean count."""
        inverse, shape = natural.chunk(2, -1)
        return {"rate": (shape if flat else shape - 1).clamp(min=0) / inverse}

    def encode(self, theta: Mapping[str, Tensor]) -> Tensor:
        """−rate, log rate."""
        rate = theta["rate"]
        return torch.cat([-rate, rate.clamp(min=TINY).log()], -1)

    def decode(self, encoded: Tensor) -> dict[str, Tensor]:
        """The rate, from its logarithm, so that it is above 0."""
        return {"rate": encoded.chunk(2, -1)[1].exp()}

    def count_parameters(self, classes: int) -> int:
        """A rate for each class and column."""
        return classes * len(self.columns)
