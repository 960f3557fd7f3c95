"""Our own families as subjects: what the laws need of a family, from its contract alone."""

from dataclasses import replace

import torch

from ppl_models.datasets import Dataset
from ppl_models.families import Family, LabelledVAE, Latent
from ppl_models.inference import log_density
from ppl_models.inference.bounds import make_elbo
from ppl_models.verify.pairs import Pair
from ppl_models.verify.scoring import Scoring


def pair_of(family: Family, data: Dataset) -> Pair:
    """A family's model and guide on some rows.

    Args:
        family: a family that was fitted, or at least initialised.
        data: rows of its preparation.

    Raises:
        InputError: the rows are of another schema or preparation.
    """
    family.require(data)
    rows = len(data)
    classes = isinstance(family, LabelledVAE) and not family.given  # a known class is of neither part

    def parts() -> tuple[torch.Tensor, torch.Tensor]:
        found = family.weigh(data, torch.randn(1, rows, family.noise))
        return (found.log_likelihood[0] * data.weights).sum(), (found.kl.sum(-1) * data.weights).sum()

    return Pair(
        family.model,
        family.guide,
        (data, rows),
        loss=make_elbo(family),
        rows=rows,
        batch=lambda chosen: (data[chosen], rows),
        parts=parts if isinstance(family, Latent) and not classes else None,
    )


def scoring_of(family: Family, data: Dataset, *, draws: int = 50) -> Scoring:
    """A fitted family's log density of some rows.

    Args:
        family: a fitted family.
        data: rows of its preparation; their labels must not matter, unless the family is conditional on them.
        draws: importance draws a row, where it is bounded by draws.

    Raises:
        InputError: the rows are of another schema or preparation, or the family is no density.
    """
    kind = log_density(family, data[:2], draws=draws).kind

    def blind(rows: Dataset) -> Dataset:
        return replace(rows, labels=(rows.labels + 1) % data.schema.classes)

    told = data.schema.label is not None and not family.given
    return Scoring(
        lambda rows: torch.from_numpy(log_density(family, rows, draws=draws).values),
        data,
        kind=kind,
        blind=blind if told else None,
    )
