"""Floor 1: column likelihoods, their conjugate priors, and a row of mixed columns."""

from ppl_models.distributions.categorical import log_of_probability
from ppl_models.distributions.conjugate import Conjugate
from ppl_models.distributions.hidden import Hidden
from ppl_models.distributions.positive_definite import VectorToPositiveDefinite
from ppl_models.distributions.row import ConjugateRow, CountModel, Estimate, Likelihoods, Scale, assemble, heads
from ppl_models.distributions.seeding import seeded
from ppl_models.distributions.weights import Weights, WeightsPrior

__all__ = [
    "Conjugate",
    "ConjugateRow",
    "CountModel",
    "Estimate",
    "Hidden",
    "Likelihoods",
    "Scale",
    "VectorToPositiveDefinite",
    "Weights",
    "WeightsPrior",
    "assemble",
    "heads",
    "log_of_probability",
    "seeded",
]
