"""Information criteria of a point estimate: what its log-likelihood is worth for the parameters it took."""

import math
from dataclasses import dataclass

import torch

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.errors import InputError
from ppl_models.families import ClassProduct, Family
from ppl_models.inference.density import CELLS_AT_ONCE


@dataclass(frozen=True)
class Criteria:
    """What a point estimate says of all rows together, in total nats and raw units, and what that took.

    Of every criterion higher is better, as mclust has it; others print them with the opposite sign.

    Attributes:
        log_likelihood: Σ weight · log p(x | θ̂), the class summed out whether it is known or not; higher is better.
        n_parameters: free parameters.
        rows: the total weight of the rows.
        bic: 2 log_likelihood − n_parameters · log rows (Schwarz 1978, https://doi.org/10.1214/aos/1176344136); higher
            is better.
        aic: 2 log_likelihood − 2 n_parameters (Akaike 1974, https://doi.org/10.1109/TAC.1974.1100705); higher is
            better.
        icl: bic + 2 Σ weight · log of the largest responsibility, which is mclust's form (Biernacki, Celeux and
            Govaert 2000, https://doi.org/10.1109/34.865189); higher is better.
    """

    log_likelihood: float
    n_parameters: int
    rows: float
    bic: float
    aic: float
    icl: float


@torch.no_grad()
def criteria(family: Family, data: Dataset) -> Criteria:
    """The information criteria of a fitted point estimate.

    Args:
        family: a class-given product with estimate "maximum-likelihood"; or "map", whose log-likelihood is not the
            largest, so that the criteria are a little too low (Fraley and Raftery 2007).
        data: the training rows, each counted by its weight; their labels are not used.

    Raises:
        InputError: a family without a point estimate, or rows of another preparation.

    >>> from ppl_models import GaussianMixture, fit, load, prepare
    >>> table = load("fast_food_spending")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> family = GaussianMixture(table.schema, components=2, estimate="maximum-likelihood")
    >>> round(criteria(fit(family, rows, seed=0).family, rows).bic, 1)
    -7357.2
    """
    _require_point_estimate(family)
    family.require(data)
    total = certainty = 0.0
    for batch in chunks_of(data, CELLS_AT_ONCE // family.cells):
        joint, counted = family.log_joint(batch), batch.weights > 0
        weights, log_density = batch.weights[counted], joint.logsumexp(-1)[counted]
        total += float(weights @ (log_density + batch.log_scale[counted]))
        certainty += float(weights @ (joint.amax(-1)[counted] - log_density))
    total, certainty = data.summed(torch.tensor([total, certainty], dtype=torch.float64)).tolist()
    number = family.n_parameters
    bic = 2 * total - number * math.log(data.total_weight)
    return Criteria(total, number, data.total_weight, bic, 2 * total - 2 * number, bic + 2 * certainty)


def _require_point_estimate(family: Family) -> None:
    """Refuse a posterior, which has no one likelihood."""
    if not isinstance(family, ClassProduct):
        raise InputError(f"criteria: expected naive Bayes or a mixture, got {type(family).__name__}")
    if family.bayesian:
        raise InputError(
            "criteria: expected one value of each parameter, got estimate 'bayes', which has no log-likelihood; "
            "fit with estimate='maximum-likelihood'"
        )
