"""Real columns between 0 and 1: the continuous Bernoulli.

    p(x) = exp(logit · x) · logit / (exp(logit) − 1)   for 0 ≤ x ≤ 1,

which is exp(logit · (x − ½)) · t / sinh(t) with t = logit / 2: no overflow, no 0 / 0 (Loaiza-Ganem and Cunningham 2019,
The continuous Bernoulli, https://arxiv.org/abs/1907.06845). torch's own keeps σ(logit) off 0 and 1 by 1e-7 in float32,
so beyond a logit of 16 its density no longer integrates to one and its normaliser has no gradient.
"""

from collections.abc import Sequence
from types import MappingProxyType

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import constraints

ROUNDING = 1e-6  # beyond 0 and 1: what arithmetic in float32 may add to a value at an end
NEAR = 0.1  # below it the series are exact to float64, above it the closed forms


def log_sinhc(t: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """log(sinh(t) / t), which is even and 0 at 0, with finite gradients everywhere."""
    near = t.abs() < NEAR
    square, far = t.masked_fill(~near, 0.0).square(), t.abs().masked_fill(near, 1.0)
    series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square / 37800)))
    return torch.where(near, series, far + (-torch.expm1(-2 * far) / (2 * far)).log())


def langevin(t: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """coth(t) − 1 / t, the slope of ``log_sinhc``."""
    near = t.abs() < NEAR
    small, far = t.masked_fill(~near, 0.0), t.masked_fill(near, 1.0)
    square = small.square()
    series = small * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square * (1 / 4725 - square * 2 / 93555))))
    return torch.where(near, series, 1 / far.tanh() - 1 / far)


class ContinuousBernoulli(dist.TorchDistribution):
    """The continuous Bernoulli of loc + scale · value: densities, draws and means are in prepared units.

    A raw value up to a rounding beyond 0 or 1 counts as that end; further out the density is 0.

    Args:
        logits: the natural parameter; 0 is the uniform distribution.
        loc: what the preparation subtracted from raw values.
        scale: what it divided by.

    >>> one = torch.tensor(1.0)
    >>> ContinuousBernoulli(0 * one, loc=0.5 * one, scale=0.25 * one).log_prob(one).exp()
    tensor(0.2500)
    """

    arg_constraints = MappingProxyType(
        {"logits": constraints.real, "loc": constraints.real, "scale": constraints.positive}
    )

    def __init__(self, logits: Tensor, *, loc: Tensor, scale: Tensor) -> None:
        self.logits, self.loc, self.scale = torch.broadcast_tensors(logits, loc, scale)
        super().__init__(self.logits.shape)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """0 to 1 in prepared units."""
        return constraints.interval(-self.loc / self.scale, (1 - self.loc) / self.scale)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "ContinuousBernoulli":
        """The same for a wider batch."""
        logits, loc, scale = (each.expand(batch_shape) for each in (self.logits, self.loc, self.scale))
        return ContinuousBernoulli(logits, loc=loc, scale=scale)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density of prepared values, nats; −∞ beyond the ends."""
        centred = self.loc + self.scale * value - 0.5
        inside = self.logits * centred.clamp(-0.5, 0.5) - log_sinhc(self.logits / 2) + self.scale.log()
        return inside.masked_fill(centred.abs() > 0.5 + 2 * ROUNDING, -torch.inf)

    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """By the inverse of the distribution function of the falling density, turned round where it rises."""
        with torch.no_grad():
            uniform = torch.rand_like(self.logits.expand(self._extended_shape(torch.Size(sample_shape))))
            fall = self.logits.abs().clamp(min=ROUNDING)
            low = -(uniform * torch.expm1(-fall)).log1p() / fall
            return (torch.where(self.logits > 0, 1 - low, low) - self.loc) / self.scale

    @property
    def mean(self) -> Tensor:
        """The mean, prepared units."""
        return ((1 + langevin(self.logits / 2)) / 2 - self.loc) / self.scale
