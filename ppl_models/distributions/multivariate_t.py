"""Multivariate Student's t of a row's observed cells; the others are integrated out."""

from collections.abc import Sequence
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Gamma, constraints

from ppl_models.distributions.hidden import log_det_of, root_of


class MultivariateT(TorchDistribution):
    """Student's t with a location and a precision, on the columns that are observed.

    The part of a multivariate t is one of the same freedom, with the part of the scale matrix, precision⁻¹ (Kotz and
    Nadarajah 2004, https://doi.org/10.1017/CBO9780511550683, section 1.10). Draws are of all columns.

    Args:
        freedom: degrees of freedom, of the batch's shape.
        loc: the location.
        precision: the inverse of the scale matrix, or its diagonal, of the shape of ``loc``, where it has no more.
        observed: which cells count.
    """

    arg_constraints = MappingProxyType({"freedom": constraints.positive, "loc": constraints.real_vector})
    support = constraints.real_vector
    has_rsample = False

    def __init__(
        self,
        freedom: Float[Tensor, "*batch"],
        loc: Float[Tensor, "*batch columns"],
        precision: Tensor,
        observed: Bool[Tensor, "*rows columns"],
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.freedom, self.loc, self.precision, self.observed = freedom, loc, precision, observed
        self.along_axes = precision.dim() == loc.dim()
        shape = torch.broadcast_shapes(freedom.shape, loc.shape[:-1], observed.shape[:-1])
        super().__init__(shape, loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: "MultivariateT | None" = None) -> "MultivariateT":
        """The same over a larger batch."""
        loc = self.loc.expand(*batch_shape, -1)
        tail = self.event_shape if self.along_axes else 2 * self.event_shape
        freedom, precision = self.freedom.expand(batch_shape), self.precision.expand(*batch_shape, *tail)
        return type(self)(freedom, loc, precision, self.observed, validate_args=False)

    def log_prob(self, value: Float[Tensor, "*rows columns"]) -> Tensor:
        """The log density of the observed cells, nats; 0 where there is none."""
        seen = self.observed.sum(-1).to(self.loc)
        after, half = (self.freedom + seen) / 2, self.freedom / 2
        distance, log_det = self._distance(torch.where(self.observed, value - self.loc, 0.0))
        constant = after.lgamma() - half.lgamma() - seen / 2 * (torch.pi * self.freedom).log() - log_det / 2
        return constant - after * (distance / self.freedom).log1p()

    def _distance(self, centred: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances of the observed cells, and log |scale matrix| of their part."""
        if self.along_axes:
            logs = torch.where(self.observed, self.precision.log(), 0.0)
            return (centred.square() * self.precision).sum(-1), -logs.sum(-1)
        scale = torch.linalg.inv(self.precision)
        if not bool(self.observed.all()):
            both = self.observed[..., :, None] & self.observed[..., None, :]
            scale = torch.where(both, scale, torch.eye(scale.shape[-1]).to(scale))
        root = root_of((scale + scale.mT) / 2)
        whitened = torch.linalg.solve_triangular(root, centred[..., None], upper=False)[..., 0]
        return whitened.square().sum(-1), log_det_of(root)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws, under torch's current random state."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            width = Gamma(self.freedom / 2, self.freedom / 2, validate_args=False).expand(self.batch_shape)
            noise = torch.randn(shape + self.event_shape, dtype=self.loc.dtype, device=self.loc.device)
            if self.along_axes:
                turned = noise * self.precision.rsqrt()
            else:
                upper = root_of(self.precision).mT
                turned = torch.linalg.solve_triangular(upper, noise[..., None], upper=True)[..., 0]
            return self.loc + turned * width.sample(sample_shape).rsqrt()[..., None]
