"""A prior of z as facts for the page: every one is a mixture of normals, and may have a normal layer below it.

A component's log density is constant − ½ |root (z − loc)|², with root the inverse of a Cholesky factor of its
covariance, or one over each scale.
"""

import math

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from ppl_models.distributions.amortised import LOG_SCALE_LIMIT, StandardNormal
from ppl_models.errors import InputError
from ppl_models.explorer.heads import Facts
from ppl_models.explorer.steps import Numbers, steps_of
from ppl_models.families.hierarchical_vae import Layers


@torch.no_grad()
def prior_facts(prior: Distribution, numbers: Numbers) -> Facts:
    """What the page needs to know of p(z) to give its log density, nats.

    Args:
        prior: a standard normal, a mixture of normals, or either over a normal layer below it.
        numbers: where its parameters go.

    Raises:
        InputError: another prior.

    >>> prior_facts(StandardNormal.like(torch.zeros(2)), Numbers())
    {'components': 1, 'width': 2, 'full': False, 'constants': 0, 'loc': 1, 'roots': 3}
    """
    if not isinstance(prior, Layers):
        return _mixture(prior, numbers)
    network, answer = prior.below.network, prior.below.answer
    below = {
        "network": steps_of(network, numbers),
        "loc": steps_of(answer.loc, numbers),
        "log_scale": steps_of(answer.log_scale, numbers),
        "limit": LOG_SCALE_LIMIT,
    }
    return {**_mixture(prior.top, numbers), "below": below}


def _mixture(prior: Distribution, numbers: Numbers) -> Facts:
    log_weights, parts = torch.zeros(1), prior
    if isinstance(prior, MixtureSameFamily):
        log_weights, parts = prior.mixture_distribution.logits.double(), prior.component_distribution
    elif not isinstance(prior, StandardNormal):
        raise InputError(f"explorer: expected a prior of normals, got {type(prior).__name__}")
    loc, roots, log_slopes = _normals(parts)
    constants = log_weights.to(loc) + log_slopes - loc.shape[-1] * math.log(2 * math.pi) / 2
    sizes = {"components": len(constants), "width": loc.shape[-1], "full": roots.ndim == 3}
    return {**sizes, **{name: numbers.add(part) for name, part in zip(PARTS, (constants, loc, roots), strict=True)}}


PARTS = ("constants", "loc", "roots")


def _normals(parts: Distribution) -> tuple[Tensor, Tensor, Tensor]:
    """Locations, roots and the logs of the roots' determinants, one a component."""
    if isinstance(parts, dist.MultivariateNormal):
        roots = torch.linalg.inv(parts.scale_tril.double())
        return parts.loc.double(), roots, roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    loc, roots = (torch.atleast_2d(part.double()) for part in (parts.base_dist.loc, 1 / parts.base_dist.scale))
    return loc, roots, roots.log().sum(-1)
