"""Floor 3: what is done to any pair."""

from ppl_models.inference.bounds import Estimate, estimate_elbo, log_evidence
from ppl_models.inference.density import log_density
from ppl_models.inference.fitting import Fit, FitWarning, fit
from ppl_models.inference.gradient import Gradient
from ppl_models.inference.ladder import bound_ladder
from ppl_models.inference.natural import NaturalGradient
from ppl_models.inference.posterior import density_curve, parameter_draws, sample
from ppl_models.inference.refined import Theta, refined_draws

__all__ = [
    "Estimate",
    "Fit",
    "FitWarning",
    "Gradient",
    "NaturalGradient",
    "Theta",
    "bound_ladder",
    "density_curve",
    "estimate_elbo",
    "fit",
    "log_density",
    "log_evidence",
    "parameter_draws",
    "refined_draws",
    "sample",
]
