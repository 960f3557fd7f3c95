"""What z is before a row is seen: a standard normal, a mixture of normals, or a mixture of the guide's own answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ppl_models.distributions.amortised import StandardNormal, bounded_exp
from ppl_models.errors import InputError, at_least_one

PriorKind = Literal["normal", "mixture", "vamp"]


@dataclass(frozen=True)
class LatentPrior:
    """Which prior z has.

    Attributes:
        kind: "normal" (standard), "mixture" of diagonal normals that are learned with the decoder, or "vamp", the
            mixture of the guide's answers to learned rows (Tomczak and Welling 2018,
            https://arxiv.org/abs/1705.07120).
        components: of a mixture.
    """

    kind: PriorKind = "normal"
    components: int = 10

    def __post_init__(self) -> None:
        if self.kind not in get_args(PriorKind):
            raise InputError(f"prior: expected one of {', '.join(get_args(PriorKind))}, got {self.kind!r}")
        at_least_one("prior: ", components=self.components)


class NormalPrior(nn.Module):
    """z ~ Normal(0, I)."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(latent), persistent=False)

    def forward(self) -> dist.Distribution:
        """A distribution over (latent,)."""
        return StandardNormal.like(self.zeros)


class MixturePrior(nn.Module):
    """z ~ Σ_k weight_k Normal(loc_k, diag scale_k²)."""

    def __init__(self, latent: int, components: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.empty(components, latent))
        self.log_scale = nn.Parameter(torch.zeros(components, latent))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Equal weights, unit scales, locations drawn from the standard normal."""
        nn.init.zeros_(self.logits)
        nn.init.normal_(self.loc)
        nn.init.zeros_(self.log_scale)

    def forward(self) -> dist.Distribution:
        """A distribution over (latent,)."""
        parts = dist.Normal(self.loc, bounded_exp(self.log_scale)).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), parts)


class VampPrior(nn.Module):
    """z ~ Σ_k weight_k q(z | u_k), u_k learned rows as the encoder sees them.

    The guide's encoder and answer are asked, not owned: their parameters stay the guide's.
    """

    def __init__(self, numbers: int, components: int, answer: Callable[[Tensor], dist.Distribution]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.inputs = nn.Parameter(torch.zeros(components, numbers))
        self.answer = (answer,)  # in a tuple, since a module as an attribute would be registered

    def reset_parameters(self) -> None:
        """Equal weights."""
        nn.init.zeros_(self.logits)

    @torch.no_grad()
    def start(self, inputs: Float[Tensor, "rows numbers"]) -> None:
        """Start from rows of the training table, drawn at random, again from the first where they are too few."""
        rows = torch.randperm(len(inputs))[torch.arange(len(self.inputs)) % len(inputs)]
        self.inputs.copy_(inputs[rows])

    def forward(self) -> dist.Distribution:
        """A distribution over (latent,)."""
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), self.answer[0](self.inputs))


def make_prior(
    prior: LatentPrior, latent: int, numbers: int, answer: Callable[[Tensor], dist.Distribution]
) -> NormalPrior | MixturePrior | VampPrior:
    """The prior's module.

    Args:
        prior: which one.
        latent: dimensions of z.
        numbers: that the encoder sees of a row.
        answer: the guide's q(z | u) of rows as the encoder sees them.
    """
    if prior.kind == "normal":
        return NormalPrior(latent)
    if prior.kind == "mixture":
        return MixturePrior(latent, prior.components)
    return VampPrior(numbers, prior.components, answer)
