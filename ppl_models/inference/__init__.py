"""Floor 3: what is done to any pair."""

from ppl_models.inference.bounds import Estimate, estimate_elbo
from ppl_models.inference.density import log_density
from ppl_models.inference.fitting import Fit, FitWarning, fit
from ppl_models.inference.gradient import Gradient
from ppl_models.inference.natural import NaturalGradient
from ppl_models.inference.posterior import density_curve, parameter_draws, sample

__all__ = [
    "Estimate",
    "Fit",
    "FitWarning",
    "Gradient",
    "NaturalGradient",
    "density_curve",
    "estimate_elbo",
    "fit",
    "log_density",
    "parameter_draws",
    "sample",
]
