"""Floor 3: what is done to any pair."""

from ppl_models.inference.answers import class_probabilities, conditional_log_density, tail_probabilities
from ppl_models.inference.arviz_bridge import to_arviz
from ppl_models.inference.bootstrap import bootstrap_draws
from ppl_models.inference.bounds import Estimate, estimate_elbo, log_evidence
from ppl_models.inference.checkpoints import Checkpoint
from ppl_models.inference.criteria import Criteria, criteria
from ppl_models.inference.decoded import as_numbers, decode_images, decoded_numbers, drawn_numbers, images_of
from ppl_models.inference.density import bounds_by_draws, log_density
from ppl_models.inference.endings import fit_doubts, fit_table
from ppl_models.inference.fitting import CollapseError, Fit, FitWarning, fit
from ppl_models.inference.gradient import Gradient
from ppl_models.inference.guide_weights import guide_khat, guide_log_weights
from ppl_models.inference.imputation import Imputation, impute
from ppl_models.inference.ladder import bound_ladder
from ppl_models.inference.latent import decode, encode, latent_grid, reconstruct
from ppl_models.inference.latent_information import LatentInformation, label_readout, latent_information
from ppl_models.inference.latent_paths import LatentPath, decoded_paths, latent_path
from ppl_models.inference.natural import NaturalGradient
from ppl_models.inference.nuts import lay_beside, mixing, nuts_draws
from ppl_models.inference.objectives import Objective
from ppl_models.inference.occupancy import occupied_components
from ppl_models.inference.parts import ElboParts, elbo_parts
from ppl_models.inference.posterior import density_curve, in_raw_units, parameter_draws, sample, simulate
from ppl_models.inference.refined import Theta, refined_draws
from ppl_models.inference.remarks import remarks
from ppl_models.inference.restarts import restart_report
from ppl_models.inference.sandwich import sandwich
from ppl_models.inference.saving import load_family, load_fit, save_family, save_fit
from ppl_models.inference.selection import Selection, select_components
from ppl_models.inference.simulation import calibration_ranks, latent_ranks, simulate_from_prior
from ppl_models.inference.updating import partial_fit

__all__ = [
    "Checkpoint",
    "CollapseError",
    "Criteria",
    "ElboParts",
    "Estimate",
    "Fit",
    "FitWarning",
    "Gradient",
    "Imputation",
    "LatentInformation",
    "LatentPath",
    "NaturalGradient",
    "Objective",
    "Selection",
    "Theta",
    "as_numbers",
    "bootstrap_draws",
    "bound_ladder",
    "bounds_by_draws",
    "calibration_ranks",
    "class_probabilities",
    "conditional_log_density",
    "criteria",
    "decode",
    "decode_images",
    "decoded_numbers",
    "decoded_paths",
    "density_curve",
    "drawn_numbers",
    "elbo_parts",
    "encode",
    "estimate_elbo",
    "fit",
    "fit_doubts",
    "fit_table",
    "guide_khat",
    "guide_log_weights",
    "images_of",
    "impute",
    "in_raw_units",
    "label_readout",
    "latent_grid",
    "latent_information",
    "latent_path",
    "latent_ranks",
    "lay_beside",
    "load_family",
    "load_fit",
    "log_density",
    "log_evidence",
    "mixing",
    "nuts_draws",
    "occupied_components",
    "parameter_draws",
    "partial_fit",
    "reconstruct",
    "refined_draws",
    "remarks",
    "restart_report",
    "sample",
    "sandwich",
    "save_family",
    "save_fit",
    "select_components",
    "simulate",
    "simulate_from_prior",
    "tail_probabilities",
    "to_arviz",
]
