"""Floor 3: what is done to any pair."""

from ppl_models.inference.answers import class_probabilities, conditional_log_density, tail_probabilities
from ppl_models.inference.bootstrap import bootstrap_draws
from ppl_models.inference.bounds import Estimate, estimate_elbo, log_evidence
from ppl_models.inference.criteria import Criteria, criteria
from ppl_models.inference.density import log_density
from ppl_models.inference.fitting import CollapseError, Fit, FitWarning, fit
from ppl_models.inference.gradient import Gradient
from ppl_models.inference.imputation import Imputation, impute
from ppl_models.inference.ladder import bound_ladder
from ppl_models.inference.natural import NaturalGradient
from ppl_models.inference.nuts import lay_beside, mixing, nuts_draws
from ppl_models.inference.occupancy import occupied_components
from ppl_models.inference.posterior import density_curve, in_raw_units, parameter_draws, sample
from ppl_models.inference.refined import Theta, refined_draws
from ppl_models.inference.restarts import restart_report
from ppl_models.inference.selection import Selection, select_components
from ppl_models.inference.updating import partial_fit

__all__ = [
    "CollapseError",
    "Criteria",
    "Estimate",
    "Fit",
    "FitWarning",
    "Gradient",
    "Imputation",
    "NaturalGradient",
    "Selection",
    "Theta",
    "bootstrap_draws",
    "bound_ladder",
    "class_probabilities",
    "conditional_log_density",
    "criteria",
    "density_curve",
    "estimate_elbo",
    "fit",
    "impute",
    "in_raw_units",
    "lay_beside",
    "log_density",
    "log_evidence",
    "mixing",
    "nuts_draws",
    "occupied_components",
    "parameter_draws",
    "partial_fit",
    "refined_draws",
    "restart_report",
    "sample",
    "select_components",
    "tail_probabilities",
]
