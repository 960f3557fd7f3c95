"""Proposals of z for rows with cells missing: the guide's answers to noise that is fitted to each row.

The guide saw few rows with these cells missing, and its q(z | observed) is mostly too narrow or beside the point: then
importance weights are carried by a few draws. So the noise that it answers to is moved. In two rounds of trial draws,
the noise's weighted mean and variance are found for each row,

    noise ~ ½ Normal(loc, diag scale²) + ½ Normal(loc, diag (1.5 scale)²)

takes the place of Normal(0, I) in front of the guide, and the weights are corrected by the ratio of the two densities.
Trials that are worth few draws are believed little: they count as their effective number against as many draws from
Normal(0, I) as z has dimensions. The wide half keeps the weights' tail light. The draws that count are fresh ones, so
that the mean of their weights estimates p(observed) without bias, as it does without any fitting.

References: Cappé, Guillin, Marin and Robert (2004), Population Monte Carlo, https://doi.org/10.1198/106186004X12803;
Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions,
https://doi.org/10.1080/00401706.1995.10484303.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.families import Amortised, LabelledVAE
from ppl_models.inference.density import CELLS_IN_MEMORY, rows_at_once

ROUNDS = 2
TRIALS = 300  # draws of a round
WIDE = 1.5


@dataclass(frozen=True)
class Proposals:
    """Points of the latent space for some rows, with their weights; one class where none is hidden.

    Attributes:
        z: the points.
        log_weights: log p(observed, z, y) less the log density that proposed z, nats in prepared units.
    """

    z: Float[Tensor, "proposals classes rows latent"]
    log_weights: Float[Tensor, "proposals classes rows"]


def base_noise(family: Amortised, proposals: int) -> Float[Tensor, "draws noise"]:
    """The standard normals that ``propose`` takes for all rows, trials included, under torch's random state."""
    return torch.randn(ROUNDS * TRIALS + proposals, family.noise + 1, dtype=torch.float64).to(family.loc.device)


def rows_to_propose_for(family: Amortised, proposals: int) -> int:
    """Rows whose proposals fit into memory at once."""
    return rows_at_once(family, max(proposals, TRIALS))


def propose(family: Amortised, batch: Dataset, noise: Float[Tensor, "draws noise"]) -> Proposals:
    """Points for each row, fitted to its observed cells, and their weights; labels of a hidden class are not used.

    Args:
        family: a fitted amortised family.
        batch: prepared rows, as many as ``rows_to_propose_for`` at the most.
        noise: what ``base_noise`` gave.
    """
    *trials, last = noise.split([TRIALS] * ROUNDS + [len(noise) - ROUNDS * TRIALS])
    loc = noise.new_zeros(len(batch), family.latent)
    scale = torch.ones_like(loc)
    for trial in trials:
        placed, log_ratio = _placed(trial, loc, scale)
        log_weights = _weighed(family, batch, placed).log_weights.logsumexp(1) + log_ratio
        loc, scale = _fitted(placed[..., : family.latent], log_weights)
    placed, log_ratio = _placed(last, loc, scale)
    found = _weighed(family, batch, placed)
    return Proposals(found.z, found.log_weights + log_ratio[:, None])


def _placed(
    noise: Float[Tensor, "draws _"], loc: Float[Tensor, "rows latent"], scale: Float[Tensor, "rows latent"]
) -> tuple[Float[Tensor, "draws rows noise"], Float[Tensor, "draws rows"]]:
    """Noise where a row wants it, near or wide by the last number, and log Normal(0, I) less its log density there."""
    latent = loc.shape[-1]
    offset = noise[:, :latent] * torch.where(noise[:, -1:] > 0, WIDE, 1.0)
    squares = offset.square().sum(-1)
    parts = torch.stack([-squares / 2, -squares / (2 * WIDE**2) - latent * math.log(WIDE)])
    moved = loc + scale * offset[:, None]
    log_ratio = -moved.square().sum(-1) / 2 - (parts.logsumexp(0) - math.log(2))[:, None] + scale.log().sum(-1)
    others = noise[:, None, latent:-1].expand(-1, len(loc), -1)
    return torch.cat([moved, others], -1), log_ratio


def _fitted(
    placed: Float[Tensor, "draws rows latent"], log_weights: Float[Tensor, "draws rows"]
) -> tuple[Float[Tensor, "rows latent"], Float[Tensor, "rows latent"]]:
    """Weighted means and scales of the noise, drawn to 0 and 1 where few draws carry the weight."""
    weights = log_weights.softmax(0).nan_to_num(1 / len(placed))
    worth = 1 / weights.square().sum(0)
    trust = (worth / (worth + placed.shape[-1]))[:, None]
    mean = torch.einsum("kr,krl->rl", weights, placed)
    variance = torch.einsum("kr,krl->rl", weights, (placed - mean).square())
    return trust * mean, (trust * variance + 1 - trust).sqrt()


def _weighed(family: Amortised, batch: Dataset, noise: Float[Tensor, "draws rows noise"]) -> Proposals:
    """The guide's answers with their weights, in blocks of draws that fit into memory at once."""
    block = max(1, CELLS_IN_MEMORY // (family.cells * len(batch)))
    found = [_answered(family, batch, part) for part in noise.split(block)]
    return Proposals(torch.cat([each.z for each in found]), torch.cat([each.log_weights for each in found]))


def _answered(family: Amortised, batch: Dataset, noise: Float[Tensor, "draws rows noise"]) -> Proposals:
    """The guide's answers with their weights, of every class where one is hidden."""
    if not isinstance(family, LabelledVAE) or family.given:
        found = family.weigh(batch, noise)
        return Proposals(found.latents[0][:, None], found.log_weights.double()[:, None])
    found, classes = family.weigh_classes(batch, noise), family.schema.classes
    z, log_weights = (part.unflatten(1, (classes, -1)) for part in (found.latents[0], found.log_weights.double()))
    return Proposals(z, log_weights + family.log_shares.double()[:, None])
