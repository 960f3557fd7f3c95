"""Amortised answers for z: layers from an encoder's last hidden one to a distribution over z.

Each is a module with the same three methods: ``forward`` gives q(z | x), ``reparametrise`` is its smooth map from
standard normal noise to z, and ``frozen`` the same distribution with its parameters held still, which the doubly
reparametrised gradient needs.
"""

from typing import Literal

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import kl_divergence, register_kl

from ppl_models.linear import Linear

LOG_SCALE_LIMIT = 10.0
GuideKind = Literal["diagonal", "full", "autoregressive-flow", "spline-flow"]


def bounded_exp(raw: Tensor) -> Tensor:
    """exp(raw) with raw held within ±10, so that no scale or rate explodes or vanishes."""
    return raw.clamp(-LOG_SCALE_LIMIT, LOG_SCALE_LIMIT).exp()


class StandardNormal(dist.Independent):
    """Independent standard normals; a class of its own, for its KL from a normal of full covariance."""

    @classmethod
    def like(cls, zeros: Float[Tensor, " latent"]) -> dist.Distribution:
        """Over as many dimensions as there are zeros."""
        return cls(dist.Normal(zeros, torch.ones_like(zeros)), 1)


class DiagonalNormal(nn.Module):
    """q(z | x) = Normal(loc, diag scale²)."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.loc = Linear(width, latent)
        self.log_scale = Linear(width, latent)

    def forward(self, hidden: Float[Tensor, "*batch width"]) -> dist.Distribution:
        """(..., width) to a distribution over (..., latent)."""
        return dist.Normal(self.loc(hidden), bounded_exp(self.log_scale(hidden))).to_event(1)

    @staticmethod
    def reparametrise(posterior: dist.Distribution, noise: Tensor) -> Tensor:
        """loc + scale · noise."""
        return posterior.base_dist.loc + posterior.base_dist.scale * noise

    @staticmethod
    def kl_from_standard(posterior: dist.Distribution) -> Float[Tensor, "*batch latent"]:
        """KL(q(z | x) ‖ Normal(0, I)) by dimension, nats."""
        base = posterior.base_dist
        return (base.loc.square() + base.scale.square() - 1) / 2 - base.scale.log()

    @staticmethod
    def frozen(posterior: dist.Distribution) -> dist.Distribution:
        """The same normal, cut off from the encoder."""
        base = posterior.base_dist
        return dist.Normal(base.loc.detach(), base.scale.detach()).to_event(1)


class NearZero(Linear):
    """A linear layer that starts at almost nothing: the noise breaks ties and no more."""

    def reset_parameters(self) -> None:
        """Set the biases to 0 and draw small weights."""
        nn.init.zeros_(self.bias)
        nn.init.normal_(self.weight, std=0.01)


class FullNormal(nn.Module):
    """q(z | x) = Normal(loc, L Lᵀ), L lower triangular; it starts with next to no correlations."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.loc = Linear(width, latent)
        self.log_scale = Linear(width, latent)
        self.below = NearZero(width, latent * (latent - 1) // 2)
        self.register_buffer("places", torch.tril_indices(latent, latent, -1), persistent=False)

    def forward(self, hidden: Float[Tensor, "*batch width"]) -> dist.Distribution:
        """(..., width) to a distribution over (..., latent)."""
        root = torch.diag_embed(bounded_exp(self.log_scale(hidden)))
        root[..., self.places[0], self.places[1]] = self.below(hidden)
        return dist.MultivariateNormal(self.loc(hidden), scale_tril=root)

    @staticmethod
    def reparametrise(posterior: dist.Distribution, noise: Tensor) -> Tensor:
        """loc + L noise."""
        return posterior.loc + (posterior.scale_tril @ noise[..., None])[..., 0]

    @staticmethod
    def kl_from_standard(posterior: dist.Distribution) -> Float[Tensor, "*batch 1"]:
        """KL(q(z | x) ‖ Normal(0, I)), nats: ½ (tr Σ + |loc|² − L − log |Σ|)."""
        log_det = posterior.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        squares = posterior.scale_tril.square().sum((-2, -1)) + posterior.loc.square().sum(-1)
        return ((squares - posterior.loc.shape[-1]) / 2 - log_det)[..., None]

    @staticmethod
    def frozen(posterior: dist.Distribution) -> dist.Distribution:
        """The same normal, cut off from the encoder."""
        return dist.MultivariateNormal(posterior.loc.detach(), scale_tril=posterior.scale_tril.detach())


@register_kl(dist.MultivariateNormal, StandardNormal)
def _kl_full_standard(q: dist.Distribution, p: dist.Distribution) -> Tensor:
    """What Pyro asks for by the two classes."""
    return FullNormal.kl_from_standard(q)[..., 0]


def closed_form_kl(q: dist.Distribution, p: dist.Distribution) -> Tensor | None:
    """KL(q ‖ p) in nats, by dimension for independent normals and whole, (..., 1), for others; None without a formula.

    >>> q, p = (dist.Normal(torch.zeros(1), scale).to_event(1) for scale in (1.0, 2.0))
    >>> [round(float(kl), 4) for kl in closed_form_kl(q, p)]
    [0.3181]
    """
    try:
        if isinstance(q, dist.Independent) and isinstance(p, dist.Independent):
            return kl_divergence(q.base_dist, p.base_dist)
        return kl_divergence(q, p)[..., None]
    except NotImplementedError:
        return None
