"""``partial_fit``: the posterior of rows so far becomes the prior of the next ones."""

import torch

from ppl_models.datasets import Dataset
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.errors import InputError
from ppl_models.families import Family
from ppl_models.inference.answers import require_conjugate
from ppl_models.inference.passes import bound


@torch.no_grad()
def partial_fit(family: Family, batch: Dataset) -> None:
    """Update the guide by a batch of rows that it has not seen.

    For naive Bayes with known classes, any batches in any order give the posterior of one fit to all rows. A row of
    unknown class counts by its responsibilities under the guide so far, as in streaming variational Bayes (Broderick,
    Boyd, Wibisono, Wilson and Jordan 2013), where the order matters; a mixture should begin with ``fit`` on some rows.

    Args:
        family: a naive Bayes or mixture with estimate "bayes"; one that was never fitted begins at its prior.
        batch: rows of one preparation throughout.

    Raises:
        InputError: another family or estimate, rows of another preparation, or unknown classes alone in the first
            batch.

    >>> from ppl_models import NaiveBayes, load, prepare
    >>> table = load("wrodl")
    >>> rows, family = prepare(table.frame, table.schema)(table.frame), NaiveBayes(table.schema)
    >>> for start in range(0, 50, 10):
    ...     partial_fit(family, rows[start : start + 10])
    """
    require_conjugate(family, "partial_fit")
    if not family.bayesian:
        raise InputError(
            f"partial_fit: expected estimate 'bayes', got {family.likelihoods.estimate!r}, which keeps no counts"
        )
    if bool(family.scale.isnan().any()):
        _begin(family, batch)
    family.require(batch)
    features = family.features(batch)
    natural = family.guide.natural()[None]
    _, responsibilities = bound(family, features, natural)
    update = family.accumulate(features, responsibilities, previous=natural) - family.model.prior()
    family.guide.set_natural((natural + update)[0])


def _begin(family: Family, batch: Dataset) -> None:
    """Take over the first batch's preparation; its rows must tell the classes apart."""
    family.check_schema(batch.schema)
    if family.classes > 1 and bool((family.model.known(batch) == UNKNOWN).any()):
        raise InputError(
            f"partial_fit: expected a family fitted to some rows or a first batch of known classes, got a new "
            f"{type(family).__name__} and rows of unknown class"
        )
    family.take_preparation(batch)
    family.guide.set_natural(family.guide.initial())
