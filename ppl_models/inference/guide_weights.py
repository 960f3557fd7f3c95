"""How far a conjugate guide's q(θ) is from the posterior, by importance weights with discrete latents summed out.

The guide answers for θ and for each row's class independently, and what that costs shows in the weights p(x, θ) / q(θ):
they are constant where q(θ) is the posterior, and their tail is heavy where it is too narrow. A drawn class would make
k-hat a measure of its own noise, so that all are summed out.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import pareto_k
from ppl_models.families import ClassProduct, Family
from ppl_models.inference.refined import guide_draws, log_likelihood_of, log_prob_of

CELLS_AT_ONCE = 2**20


def guide_khat(family: Family, rows: Dataset, *, seed: int, draws: int = 1000) -> float:
    """Pareto k-hat of a conjugate guide's q(θ): above 0.7 its intervals of parameters are not those of the posterior.

    Args:
        family: a conjugate family fitted to the rows.
        rows: the training rows.
        seed: the seed of the draws.
        draws: of θ.

    Returns:
        k-hat; −∞ where q(θ) is the posterior itself, as that of rows of known class is.

    Raises:
        InputError: a family that is not conjugate, a point estimate, rows of another preparation, or no draw.

    >>> from ppl_models import NaiveBayes, fit, load, prepare
    >>> table = load("wrodl")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> guide_khat(fit(NaiveBayes(table.schema), rows, seed=0).family, rows, seed=0)
    -inf
    """
    return float(pareto_k(guide_log_weights(family, rows, seed=seed, draws=draws)[None].cpu().numpy())[0])


@torch.no_grad()
def guide_log_weights(family: Family, rows: Dataset, *, seed: int, draws: int) -> Float[Tensor, " draws"]:
    """log p(x, θ) − log q(θ) of draws of the guide's θ, classes summed out where not known: nats, prepared units.

    Args:
        family: a conjugate family fitted to the rows.
        rows: the training rows.
        seed: the seed of the draws.
        draws: of θ.

    Raises:
        InputError: a family that is not conjugate, a point estimate, rows of another preparation, or no draw.
    """
    if not isinstance(family, ClassProduct) or not family.bayesian:
        found = family.likelihoods.estimate if isinstance(family, ClassProduct) else type(family).__name__
        raise InputError(f"guide weights: expected a conjugate family with estimate 'bayes', got {found!r}")
    family.require(rows)
    rows.require_whole("guide weights")
    at_least_one(draws=draws)
    with seeded(seed):
        sites = guide_draws(family, draws).sites
    prior, guide = (
        log_prob_of(family, natural.expand(draws, -1, -1), sites)
        for natural in (family.model.prior(), family.guide.natural())
    )
    features = family.features(rows)
    excluded, size = features.excluded, max(CELLS_AT_ONCE // (len(rows) * family.cells), 1)
    parts = [{name: value[first : first + size] for name, value in sites.items()} for first in range(0, draws, size)]
    likelihood = torch.cat([log_likelihood_of(family, features, part, excluded) for part in parts])
    return likelihood + prior - guide
