"""``remarks``: what a fit's end shows that its ELBO does not say, one plain sentence each; no reason to distrust it."""

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions.amortised import LOG_SCALE_LIMIT
from ppl_models.distributions.normal import SCALE_FLOOR
from ppl_models.evaluation.latent import ACTIVE
from ppl_models.families import Amortised, Family, Latent
from ppl_models.families.decoding import Decoding

MOST_ROWS = 1000
FEWEST_ACTIVE = 0.01  # share of the units
CLOSE = 0.05  # relative distance from a bound that counts as being at it


@torch.no_grad()
def remarks(family: Family, train: Dataset) -> tuple[str, ...]:
    """What is worth knowing of a fitted family besides its numbers, judged at up to 1,000 training rows.

    An amortised family's posterior has collapsed where fewer than 1 % of z's dimensions are active: where the centre of
    q(z | x) has a variance over rows above 0.01 (Burda, Grosse and Salakhutdinov 2016, Importance weighted
    autoencoders, https://arxiv.org/abs/1509.00519). Scales of the guide and of normal columns are told when they are
    at a bound that the networks cannot pass. Nothing is drawn.

    Args:
        family: a fitted family.
        train: its training rows.

    Returns:
        One sentence each; empty where there is nothing to say, as for families without a latent space.

    >>> from ppl_models import NaiveBayes, fit, load, prepare
    >>> table = load("wrodl")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> remarks(fit(NaiveBayes(table.schema), rows, seed=0).family, rows)
    ()
    """
    if not isinstance(family, Latent):
        return ()
    rows = train[torch.arange(0, len(train), -(-len(train) // MOST_ROWS), device=train.values.device)]
    with pyro.validation_enabled(False):
        found = []
        if isinstance(family, Amortised):
            found += [*_collapse(family, rows), *_guide_scales(family, rows)]
        if isinstance(family, Decoding):
            found += _column_scales(family, rows)
    return tuple(found)


def _collapse(family: Amortised, rows: Dataset) -> list[str]:
    centres = family.encode(rows)
    if len(rows) < 2 or not bool(torch.isfinite(centres).all()):
        return []
    active, units = int((centres.var(0) > ACTIVE).sum()), centres.shape[-1]
    if active >= FEWEST_ACTIVE * units:
        return []
    return [
        f"Posterior collapse: {active} of {units} latent dimensions vary with the row (variance of their centres above "
        f"{ACTIVE}), so that z says next to nothing of x."
    ]


def _guide_scales(family: Amortised, rows: Dataset) -> list[str]:
    scales = _scales(family.posterior(rows))
    if scales is None:
        return []
    logs = scales.log()
    ends = {"lower": logs < CLOSE - LOG_SCALE_LIMIT, "upper": logs > LOG_SCALE_LIMIT - CLOSE}
    return [
        f"The guide's scale of z is at its {name} bound, exp({'-' * (name == 'lower')}{LOG_SCALE_LIMIT:g}), in "
        f"{_count(at.any(-1))} rows."
        for name, at in ends.items()
        if bool(at.any())
    ]


def _scales(posterior: dist.Distribution) -> Tensor | None:
    """The scales of a Gaussian answer, those of a full covariance given the dimensions before; None for others."""
    if isinstance(posterior, dist.MultivariateNormal):
        return posterior.scale_tril.diagonal(dim1=-2, dim2=-1)
    base = posterior.base_dist if isinstance(posterior, dist.Independent) else posterior
    return base.scale if isinstance(base, dist.Normal) else None


def _column_scales(family: Decoding, rows: Dataset) -> list[str]:
    """Normal columns whose scale is at its floor or, where it has one, its ceiling."""
    found = []
    for head, cells in family.model.likelihoods(family.told(rows)):
        if not isinstance(cells, dist.Normal):
            continue
        scale = cells.scale.expand(len(rows), -1)
        seen = rows.observed[:, list(head.columns)]
        ends = {"floor": scale < SCALE_FLOOR * (1 + CLOSE), "ceiling": scale.log() > LOG_SCALE_LIMIT - CLOSE}
        for name, at in ends.items():
            for column, here in zip(head.columns, (at & seen).T, strict=True):
                if bool(here.any()):
                    found.append(_at_bound(family, column, name, here))
    return found


def _at_bound(family: Decoding, column: int, name: str, rows: Bool[Tensor, " rows"]) -> str:
    bound = f"{SCALE_FLOOR:g}" if name == "floor" else f"exp({LOG_SCALE_LIMIT:g})"
    return (
        f"The decoder's scale of column {family.schema.names[column]!r} is at its {name} of {bound} training standard "
        f"deviations in {_count(rows)} rows."
    )


def _count(rows: Bool[Tensor, " rows"]) -> str:
    return f"{int(rows.sum())} of {len(rows)}"
