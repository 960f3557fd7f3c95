"""Proposals of z fitted to each row: the guide's answers to noise that is drawn where the row wants it.

One guide answers for all rows, and for some of them badly (Cremer, Li and Duvenaud 2018, Inference suboptimality in
variational autoencoders, https://arxiv.org/abs/1801.03558); of rows with cells missing it saw few. Then a few draws
carry all importance weight. So Normal(0, I) in front of the guide gives way, row by row, to

    r(ε) = 9/10 t_20(ε; loc, S) + 1/10 Normal(ε; 0, I)

with loc and S of the row's best Normal (``row_normals.py``). The weights are those of the law that proposed,

    log p(x, z(ε)) − log q(z(ε) | x) + log Normal(ε; 0, I) − log r(ε)

so that their mean estimates p(x) without bias wherever loc and S are, and its log bounds log p(x) from below. The
guide's own tenth holds every weight below ten times what it is under the guide, the t's tails make few of them large:
the defence against a Normal that misses something (Hesterberg 1995, Weighted average importance sampling and defensive
mixture distributions, https://doi.org/10.1080/00401706.1995.10484303).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Chi2

from ppl_models.datasets import Dataset
from ppl_models.families import Amortised, LabelledVAE
from ppl_models.inference.row_normals import PAIRS, ROUNDS, RowNormals, fit_normals
from ppl_models.inference.weights import CELLS_IN_MEMORY, draws_at_once, rows_at_once

FREEDOM = 20.0
OWN = 0.1  # share of draws from Normal(0, I)


@dataclass(frozen=True)
class BaseNoise:
    """The random numbers of all rows.

    Attributes:
        normals: standard normals.
        stretch: what makes them Student's t.
        own: whether a draw is the guide's own.
        pairs: standard normals for the fit.
    """

    normals: Float[Tensor, "draws noise"]
    stretch: Float[Tensor, "draws 1"]
    own: Bool[Tensor, "draws 1"]
    pairs: Float[Tensor, "rounds pairs latent"]


@dataclass(frozen=True)
class Proposals:
    """Points of the latent space for some rows, with their weights; one class where none is hidden.

    Attributes:
        z: the points.
        log_weights: log p(observed, z, y) less the log density that proposed z, nats in prepared units.
    """

    z: Float[Tensor, "proposals classes rows latent"]
    log_weights: Float[Tensor, "proposals classes rows"]


def base_noise(family: Amortised, proposals: int) -> BaseNoise:
    """The random numbers that ``propose`` takes for all rows, under torch's random state."""
    device, wide = family.loc.device, {"dtype": torch.float64}
    return BaseNoise(
        torch.randn(proposals, family.noise, **wide).to(device),
        (FREEDOM / Chi2(torch.tensor(FREEDOM, **wide)).sample((proposals, 1))).sqrt().to(device),
        (torch.rand(proposals, 1, **wide) < OWN).to(device),
        torch.randn(ROUNDS, PAIRS, family.latent, **wide).to(device),
    )


def rows_to_propose_for(family: Amortised, proposals: int) -> int:
    """Rows whose proposals, and whose Hessians, fit into memory at once."""
    return min(rows_at_once(family, proposals), max(1, CELLS_IN_MEMORY // (family.cells * family.latent)))


def propose(family: Amortised, batch: Dataset, noise: BaseNoise) -> Proposals:
    """Points for each row, fitted to its observed cells, and their weights; labels of a hidden class are not used.

    Args:
        family: a fitted amortised family.
        batch: prepared rows, as many as ``rows_to_propose_for`` at the most.
        noise: what ``base_noise`` gave.
    """
    fitted = _fitted(family, batch, noise.pairs)
    latent, others = noise.normals.split([family.latent, family.noise - family.latent], -1)
    placed = torch.where(noise.own[..., None], latent[:, None], fitted.at(latent * noise.stretch))
    found = _weighed(family, batch, torch.cat([placed, others[:, None].expand(-1, len(batch), -1)], -1))
    return Proposals(found.z, found.log_weights + _log_ratio(fitted, placed)[:, None])


def _fitted(family: Amortised, batch: Dataset, pairs: Float[Tensor, "rounds pairs latent"]) -> RowNormals:
    """The Normal of each row's noise, uniform shifts held at their middle."""

    def log_target(points: Float[Tensor, "draws rows latent"]) -> Float[Tensor, "draws rows"]:
        middle = points.new_zeros(*points.shape[:-1], family.noise - family.latent)
        found = _answered(family, batch, torch.cat([points, middle], -1))
        return found.log_weights.logsumexp(1) - points.square().sum(-1) / 2

    return fit_normals(log_target, pairs.new_zeros(len(batch), family.latent), pairs)


def _log_ratio(fitted: RowNormals, placed: Float[Tensor, "draws rows latent"]) -> Float[Tensor, "draws rows"]:
    """log Normal(0, I) less the log density that placed each row's noise."""
    latent = placed.shape[-1]
    own = -placed.square().sum(-1) / 2
    squares = fitted.offset(placed).square().sum(-1)
    constant = math.lgamma((FREEDOM + latent) / 2) - math.lgamma(FREEDOM / 2) - latent / 2 * math.log(FREEDOM / 2)
    student = constant - torch.linalg.slogdet(fitted.root)[1] - (FREEDOM + latent) / 2 * (squares / FREEDOM).log1p()
    return own - torch.logaddexp(student + math.log(1 - OWN), own + math.log(OWN))


def _weighed(family: Amortised, batch: Dataset, noise: Float[Tensor, "draws rows noise"]) -> Proposals:
    """The guide's answers with their weights, in blocks of draws that fit into memory at once."""
    found = [_answered(family, batch, part) for part in noise.split(draws_at_once(family, len(batch)))]
    return Proposals(torch.cat([each.z for each in found]), torch.cat([each.log_weights for each in found]))


def _answered(family: Amortised, batch: Dataset, noise: Float[Tensor, "draws rows noise"]) -> Proposals:
    """The guide's answers with their weights, of every class where one is hidden."""
    if not isinstance(family, LabelledVAE) or family.given:
        found = family.weigh(batch, noise)
        return Proposals(found.latents[0][:, None], found.log_weights.double()[:, None])
    found, classes = family.weigh_classes(batch, noise), family.schema.classes
    z, log_weights = (part.unflatten(1, (classes, -1)) for part in (found.latents[0], found.log_weights.double()))
    return Proposals(z, log_weights + family.log_shares.double()[:, None])
