"""Floor 1: column likelihoods, their conjugate priors, and a row of mixed columns."""

from ppl_models.distributions.conjugate import Conjugate
from ppl_models.distributions.multivariate_normal import VectorToPositiveDefinite
from ppl_models.distributions.row import ConjugateRow, Covariance, Scale, assemble, heads
from ppl_models.distributions.seeding import seeded

__all__ = [
    "Conjugate",
    "ConjugateRow",
    "Covariance",
    "Scale",
    "VectorToPositiveDefinite",
    "assemble",
    "heads",
    "seeded",
]
