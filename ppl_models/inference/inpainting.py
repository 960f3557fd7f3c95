"""Missing cells under a latent family: drawn, and priced, given the observed ones.

p(missing | observed) = ∫ p(missing | z) p(z | observed) dz, and p(z | observed) has no closed form. So K points are
proposed for each row from what is observed of it (``proposals.py``) and weighted,

    w_k = p(observed, z_k) / q(z_k)

Draws are then a point, drawn again in proportion to its weight, and the cells from the decoder there (sampling
importance resampling). A class that the decoder is told is drawn with z where it is hidden; its label is not used.
Weights are Pareto-smoothed first, and the effective number of proposals and k-hat are reported, row by row: where k-hat
is above 0.7 the draws are not to be trusted. For a row with nothing observed p(z | observed) is the prior, and is drawn
from as it is.

References: Rubin (1988), Using the SIR algorithm to simulate posterior distributions, Bayesian Statistics 3; Vehtari,
Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling, https://arxiv.org/abs/1507.02646.
"""

from dataclasses import dataclass

import numpy as np
import pyro
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Categorical

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import Density, pareto_k, summarise_weights
from ppl_models.evaluation.diagnostics import smooth_weights
from ppl_models.families import Amortised, LabelledVAE
from ppl_models.families.labelled_vae import beside
from ppl_models.inference.decoded import fill_rows, require_decoder
from ppl_models.inference.density import facts_of
from ppl_models.inference.proposals import BaseNoise, Proposals, base_noise, propose, rows_to_propose_for


@dataclass(frozen=True)
class MissingDraws:
    """Draws of the missing cells of some rows.

    Attributes:
        cells: the draws, prepared units; the missing cells of the rows in order, row by row.
        effective: how many independent draws from p(z | observed) each row's proposals are worth.
        khat: of each row's weights; −inf where they are constant.
    """

    cells: Float[Tensor, "draws cells"]
    effective: Float[np.ndarray, " rows"]
    khat: Float[np.ndarray, " rows"]


@torch.no_grad()
def missing_draws(family: Amortised, data: Dataset, *, draws: int, proposals: int) -> MissingDraws:
    """Draw the missing cells of rows given their observed ones, under torch's current random state.

    Args:
        family: a fitted amortised family with a decoder.
        data: rows of its preparation.
        draws: of each cell.
        proposals: points for a row, from the same noise for every row.

    Raises:
        InputError: another family, rows of another preparation, or observed cells that have no density at any proposal.
    """
    require_decoder(family, "imputation")
    family.require(data)
    noise = base_noise(family, proposals)
    found = [MissingDraws(data.values.new_empty(draws, 0), np.empty(0), np.empty(0))]
    with pyro.validation_enabled(False):
        size = rows_to_propose_for(family, max(draws, proposals))
        found += [_filled(family, batch, noise, draws) for batch in chunks_of(data, size)]
    return MissingDraws(
        torch.cat([each.cells for each in found], -1),
        np.concatenate([each.effective for each in found]),
        np.concatenate([each.khat for each in found]),
    )


@torch.no_grad()
def conditional_estimate(family: Amortised, data: Dataset, known: Dataset, *, seed: int, draws: int) -> Density:
    """Estimate log p(all observed cells) − log p(those known), nats per row in raw units, higher is better.

    Each is the log mean of K importance weights, whose proposals are fitted to what that side has observed, from the
    same noise. Both are lower bounds, so that their difference is none: it is an estimate, consistent as K grows, whose
    two errors partly cancel. A ratio of means over one set of draws from q(z | known) is as consistent, but few of its
    draws have any p(rest | z) once many cells are to be told; here each side has proposals of its own. The standard
    error is the delta method's for the difference, and k-hat the larger of both sides'.

    Args:
        family: a fitted amortised family.
        data: rows of its preparation.
        known: the same rows with fewer cells observed.
        seed: the seed of the importance draws.
        draws: importance draws a row, on each side.
    """
    with seeded(seed):
        noise = base_noise(family, draws)
    size = rows_to_propose_for(family, draws)
    with pyro.validation_enabled(False):
        sides = zip(chunks_of(data, size), chunks_of(known, size), strict=True)
        found = [_difference(*(_observed_weights(family, side, noise) for side in pair)) for pair in sides]
    values, errors, khat, effective, influence = zip(*found, strict=True)
    spread = float(np.std(sum(influence), ddof=1)) / draws**0.5 if draws > 1 else float("nan")
    return Density(
        np.concatenate(values) + (data.log_scale - known.log_scale).cpu().numpy(),
        "estimate",
        **facts_of(family, data),
        draws=draws,
        monte_carlo_se=np.concatenate(errors),
        khat=np.concatenate(khat),
        effective=np.concatenate(effective),
        mean_se=spread / len(data),
    )


def _filled(family: Amortised, batch: Dataset, noise: BaseNoise, draws: int) -> MissingDraws:
    """Some rows' missing cells."""
    found = _proposed(family, batch, noise)
    smoothed = smooth_weights(found.log_weights.logsumexp(1).T.cpu().numpy())
    weights = torch.tensor(np.exp(smoothed.log_weights), device=found.z.device)
    if not bool((weights.sum(-1) > 0).all()):
        raise InputError("imputation: expected observed cells that have a density, got a row that has none anywhere")
    chosen = torch.multinomial(weights, draws, replacement=True).T
    everyone = torch.arange(len(batch), device=weights.device)
    member = Categorical(logits=found.log_weights[chosen, :, everyone]).sample()
    points = found.z[chosen, member, everyone]
    if isinstance(family, LabelledVAE):
        points = beside(points, batch.labels if family.given else member, family.schema.classes)
    rows, columns = (~batch.observed).nonzero(as_tuple=True)
    cells = fill_rows(family, points, batch)[:, rows, columns]
    return MissingDraws(cells, 1 / weights.square().sum(-1).cpu().numpy(), smoothed.khat)


def _proposed(family: Amortised, batch: Dataset, noise: BaseNoise) -> Proposals:
    """Weighted points for some rows; the prior's, of equal weight, for those with nothing observed."""
    found = propose(family, batch, noise)
    empty = ~batch.observed.any(-1)
    if bool(empty.any()):
        found.z[:, :, empty] = family.prior().sample((len(found.z), 1, int(empty.sum())))
        found.log_weights[:, :, empty] = _log_classes(family)[:, None].to(found.log_weights)
    return found


def _log_classes(family: Amortised) -> Float[Tensor, " classes"]:
    """log p(y) of a class that is hidden, or of the only one there is."""
    hidden = isinstance(family, LabelledVAE) and not family.given
    return family.log_shares if hidden else torch.zeros(1, device=family.loc.device)


def _observed_weights(family: Amortised, batch: Dataset, noise: BaseNoise) -> Float[np.ndarray, "draws rows"]:
    """Log importance weights; 0 for rows with nothing observed, whose log p is 0 without a draw."""
    weights = propose(family, batch, noise).log_weights.logsumexp(1)
    return torch.where(batch.observed.any(-1), weights, 0.0).cpu().numpy()


def _difference(
    above: Float[np.ndarray, "draws rows"], below: Float[np.ndarray, "draws rows"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Difference of the log means of two sets of weights by row: value, error, k-hat, effective size and influence."""
    first, second = summarise_weights(above), summarise_weights(below)
    relative = np.exp(above - first.values) - np.exp(below - second.values)
    draws, rows = relative.shape
    error = relative.std(0, ddof=1) / draws**0.5 if draws > 1 else np.full(rows, np.nan)
    khat = np.maximum(pareto_k(above.T), pareto_k(below.T))
    effective = np.minimum(first.effective, second.effective)
    return first.values - second.values, error, khat, effective, relative.sum(1)
