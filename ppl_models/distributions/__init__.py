"""Floor 1: column likelihoods, their conjugate priors, and a row of mixed columns."""

from ppl_models.distributions.amortised import GuideKind, bounded_exp, closed_form_kl
from ppl_models.distributions.categorical import log_of_probability
from ppl_models.distributions.conjugate import Conjugate
from ppl_models.distributions.decoders import DecoderLikelihoods
from ppl_models.distributions.flows import make_answer
from ppl_models.distributions.grey_levels import GreyLevels
from ppl_models.distributions.hidden import Hidden
from ppl_models.distributions.latent_priors import LatentPrior, NormalPrior, VampPrior, make_prior
from ppl_models.distributions.positive_definite import VectorToPositiveDefinite
from ppl_models.distributions.row import ConjugateRow, CountModel, Estimate, Likelihoods, assemble
from ppl_models.distributions.seeding import seeded
from ppl_models.distributions.student import StudentTails
from ppl_models.distributions.weights import Weights, WeightsPrior

__all__ = [
    "Conjugate",
    "ConjugateRow",
    "CountModel",
    "DecoderLikelihoods",
    "Estimate",
    "GreyLevels",
    "GuideKind",
    "Hidden",
    "LatentPrior",
    "Likelihoods",
    "NormalPrior",
    "StudentTails",
    "VampPrior",
    "VectorToPositiveDefinite",
    "Weights",
    "WeightsPrior",
    "assemble",
    "bounded_exp",
    "closed_form_kl",
    "log_of_probability",
    "make_answer",
    "make_prior",
    "seeded",
]
