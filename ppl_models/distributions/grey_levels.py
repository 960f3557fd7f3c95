"""Grey levels 0, 1, ..., levels − 1: a number in units of levels, rounded to one of them.

The discretised logistic is the exact pmf of the rounded number (Kingma et al. 2016, Improved variational inference
with inverse autoregressive flow, https://arxiv.org/abs/1606.04934; Salimans et al. 2017, PixelCNN++,
https://arxiv.org/abs/1701.05517). Dequantisation bounds the log pmf of a number rounded down: with shift ~
Uniform(0, 1) in model and guide, E log p(code + shift) ≤ log ∫ p(code + u) du = log P(floor(y) = code), and the log
mean of K such densities is a tighter bound (Theis, van den Oord and Bethge 2016, A note on the evaluation of
generative models, https://arxiv.org/abs/1511.01844).
"""

from collections.abc import Sequence
from types import MappingProxyType

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

SHARPEST = 1e-6  # of a level: steps so steep that float32 would overflow in their slopes


class GreyLevels(dist.TorchDistribution):
    """Codes 0 to levels − 1 of a rounded number; what lies beyond the ends takes the end levels.

    Args:
        loc: where the number is, in units of levels.
        scale: its spread, in units of levels.
        levels: how many codes there are.
    """

    arg_constraints = MappingProxyType({"loc": constraints.real, "scale": constraints.positive})

    def __init__(self, loc: Tensor, scale: Tensor, *, levels: int) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The codes."""
        return constraints.integer_interval(0, self.levels - 1)

    def at_least(self, code: int) -> Tensor:
        """The probability of this code or a higher one."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """Σ P(code ≥ k) over k = 1, ..., levels − 1: the mean code, between the levels."""
        return sum(self.at_least(code) for code in range(1, self.levels))


class DiscretisedLogistic(GreyLevels):
    """P(code) = σ((code + ½ − loc) / scale) − σ((code − ½ − loc) / scale), with the open tails at the ends.

    >>> cells = DiscretisedLogistic(torch.tensor(0.3), torch.tensor(0.5), levels=3)
    >>> cells.log_prob(torch.arange(3.0)).exp()
    tensor([0.5987, 0.3181, 0.0832])
    """

    @property
    def _spread(self) -> Tensor:
        return self.scale.clamp(min=SHARPEST)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "DiscretisedLogistic":
        """The same for a wider batch."""
        return DiscretisedLogistic(self.loc.expand(batch_shape), self.scale.expand(batch_shape), levels=self.levels)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log pmf by log(σ(b) − σ(a)) = log σ(b) + log σ(−a) + log(1 − exp(a − b)), where b − a = 1 / scale."""
        if self._validate_args:
            self._validate_sample(value)
        value, steepness = value.to(self.loc), 1 / self._spread
        first, last = value == 0, value == self.levels - 1
        upper = nn.functional.logsigmoid((value + 0.5 - self.loc) * steepness).masked_fill(last, 0.0)
        lower = nn.functional.logsigmoid((self.loc - (value - 0.5)) * steepness).masked_fill(first, 0.0)
        between = (-torch.expm1(-steepness)).log().masked_fill(first | last, 0.0)
        return upper + lower + between

    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """A logistic draw, rounded to the nearest level."""
        with torch.no_grad():
            uniform = torch.rand_like(self.loc.expand(self._extended_shape(torch.Size(sample_shape))))
            return (self.loc + self._spread * uniform.logit()).round().clamp(0, self.levels - 1)

    def at_least(self, code: int) -> Tensor:
        """1 − σ((code − ½ − loc) / scale)."""
        return ((self.loc - code + 0.5) / self._spread).sigmoid()


class DequantisedNormal(GreyLevels):
    """The density Normal(loc, scale) of code + shift, for a shift that is drawn from Uniform(0, 1).

    For one shift ``log_prob`` is a log density and no log pmf: only its mean over shifts, or the log mean of K
    densities, is a lower bound on the log pmf of floor(y). That pmf has none of the mass below 0 and above levels, so
    over the codes it adds up to less than one: the bound stays a lower one.
    """

    def __init__(self, loc: Tensor, scale: Tensor, *, shift: Tensor, levels: int) -> None:
        loc, scale, self.shift = torch.broadcast_tensors(loc, scale, shift)
        super().__init__(loc, scale, levels=levels)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "DequantisedNormal":
        """The same for a wider batch."""
        loc, scale, shift = (each.expand(batch_shape) for each in (self.loc, self.scale, self.shift))
        return DequantisedNormal(loc, scale, shift=shift, levels=self.levels)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density of code + shift, nats in units of levels."""
        if self._validate_args:
            self._validate_sample(value)
        return dist.Normal(self.loc, self.scale).log_prob(value.to(self.loc) + self.shift)

    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """A normal draw rounded down, the same for any shift; mass that the pmf misses goes to the end levels."""
        with torch.no_grad():
            return dist.Normal(self.loc, self.scale).sample(torch.Size(sample_shape)).floor().clamp(0, self.levels - 1)

    def at_least(self, code: int) -> Tensor:
        """Φ((loc − code) / scale)."""
        return torch.special.ndtr((self.loc - code) / self.scale)
