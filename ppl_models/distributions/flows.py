"""Normalising flows as answers for z, through zuko: what a Gaussian cannot bend to, a flow can.

Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling (2016), Improved variational inference with inverse
autoregressive flow, https://arxiv.org/abs/1606.04934; Durkan, Bekasov, Murray and Papamakarios (2019), Neural spline
flows, https://arxiv.org/abs/1906.04032.
"""

from collections.abc import Sequence
from types import ModuleType

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.func import functional_call

from ppl_models.distributions.amortised import DiagonalNormal, FullNormal, GuideKind
from ppl_models.errors import InputError

TRANSFORMS = 2
FLOW_WIDTH = 64


class FlowPosterior(nn.Module):
    """q(z | x) = the law of T(noise; x), noise standard normal, T a stack of autoregressive maps.

    T is the direction in which a flow is fast, so that draws and their densities cost one pass; the density of a
    point that was not drawn costs a pass a dimension.

    Args:
        width: of the encoder's last hidden layer, which every map is given.
        latent: dimensions of z.
        spline: rational-quadratic splines for maps, and not affine ones.
    """

    def __init__(self, width: int, latent: int, *, spline: bool) -> None:
        super().__init__()
        zuko = _zuko()
        make = zuko.flows.NSF if spline else zuko.flows.MAF
        options = {"context": width, "transforms": TRANSFORMS, "hidden_features": (FLOW_WIDTH, FLOW_WIDTH)}
        self.maps = _Maps(make(latent, **options).transform)
        self.latent = latent

    def forward(self, hidden: Float[Tensor, "*batch width"]) -> dist.Distribution:
        """(..., width) to a distribution over (..., latent)."""
        return FlowDistribution(self.maps, hidden, self.latent)

    @staticmethod
    def reparametrise(posterior: dist.Distribution, noise: Tensor) -> Tensor:
        """T(noise; x)."""
        return posterior.place(noise)

    @staticmethod
    def frozen(posterior: dist.Distribution) -> dist.Distribution:
        """The same flow, cut off from the encoder and its own parameters."""
        parameters = {name: value.detach() for name, value in posterior.maps.named_parameters()}
        return FlowDistribution(posterior.maps, posterior.context.detach(), posterior.latent, parameters)


class FlowDistribution(TorchDistribution):
    """The law of T(noise; context).

    Args:
        maps: T as a module.
        context: (..., width) what T is given; its leading dimensions are the batch.
        latent: dimensions of z.
        parameters: of T, in place of its own; None for its own.
    """

    arg_constraints: dict = {}  # noqa: RUF012  # torch reads a plain dict
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, maps: nn.Module, context: Tensor, latent: int, parameters: dict | None = None) -> None:
        self.maps, self.context, self.latent, self.parameters = maps, context, latent, parameters
        self.placed: tuple[Tensor, Tensor] | None = None
        super().__init__(context.shape[:-1], (latent,), validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> dist.Distribution:
        """The same flow over more rows."""
        context = self.context.expand(*batch_shape, self.context.shape[-1])
        return FlowDistribution(self.maps, context, self.latent, self.parameters)

    def place(self, noise: Float[Tensor, "*draws latent"]) -> Float[Tensor, "*rows latent"]:
        """T(noise; context), remembered with its log density."""
        noise = noise.expand(*torch.broadcast_shapes(noise.shape[:-1], self.batch_shape), self.latent)
        z, slope = self._run(noise, forwards=True)
        self.placed = (z, _standard(noise) - slope)
        return z

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws that gradients pass through."""
        shape = (*sample_shape, *self.batch_shape, self.latent)
        return self.place(torch.randn(shape, dtype=self.context.dtype, device=self.context.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density in nats: at once for what was drawn last, by inverting T for other points."""
        if self.placed is not None and self.placed[0] is value:
            return self.placed[1]
        noise, slope = self._run(value, forwards=False)
        return _standard(noise) + slope

    def _run(self, value: Tensor, *, forwards: bool) -> tuple[Tensor, Tensor]:
        inputs, way = (value, self.context), {"forwards": forwards}
        if self.parameters is None:
            return self.maps(*inputs, **way)
        return functional_call(self.maps, self.parameters, inputs, way)


class _Maps(nn.Module):
    """A flow's transformation both ways with log |derivative|; a module, so that its parameters can be replaced."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, value: Tensor, context: Tensor, *, forwards: bool) -> tuple[Tensor, Tensor]:
        """The image of each value, and the log derivative there."""
        found = self.transform(context)
        return (found if forwards else found.inv).call_and_ladj(value)


def _standard(noise: Tensor) -> Tensor:
    """The log density of standard normal noise."""
    return dist.Normal(torch.zeros_like(noise), 1.0).log_prob(noise).sum(-1)


def _zuko() -> ModuleType:
    """zuko, an optional extra; importing it switches torch's argument checks off, which is undone here."""
    checked = Distribution._validate_args
    try:
        import zuko  # noqa: PLC0415
    except ImportError as error:
        raise InputError(
            "a flow for a guide needs zuko, which is not installed: pip install 'ppl_models[flows]'"
        ) from error
    finally:
        Distribution.set_default_validate_args(checked)
    return zuko


def make_answer(kind: GuideKind, width: int, latent: int) -> nn.Module:
    """The layer that answers for z, of one of the four kinds."""
    if kind == "diagonal":
        return DiagonalNormal(width, latent)
    if kind == "full":
        return FullNormal(width, latent)
    return FlowPosterior(width, latent, spline=kind == "spline-flow")
