"""Numbers become answers: arrays in, tables out, with no model and no tensor in sight."""

from ppl_models.evaluation.alignment import align, restart_report
from ppl_models.evaluation.analogies import analogies, analogy_accuracy
from ppl_models.evaluation.anomaly import tail_probability
from ppl_models.evaluation.calibration import (
    Band,
    calibration_summary,
    coverage_table,
    ranks_of,
    symmetry,
    uniform_band,
    uniformity,
)
from ppl_models.evaluation.checks import predictive_checks
from ppl_models.evaluation.classification import Classification, calibration_table, score_classes
from ppl_models.evaluation.comparison import Density, compare
from ppl_models.evaluation.concepts import ConceptVector, concept_vector, transfer
from ppl_models.evaluation.diagnostics import ImportanceSummary, pareto_k, summarise_weights
from ppl_models.evaluation.differences import mean_interval, tail_khat
from ppl_models.evaluation.doubts import comparison_doubts, density_doubts, draws_doubts, ladder_doubts, rank_doubts
from ppl_models.evaluation.information import BitsPerDimension, aggregate_information, bits_per_dimension, discrete_kl
from ppl_models.evaluation.intervals import parameter_table
from ppl_models.evaluation.latent import active_units, representation
from ppl_models.evaluation.loo import LeaveOneOut, psis_loo
from ppl_models.evaluation.paths import interpolate, smoothness
from ppl_models.evaluation.realism import log_density_gap, realism
from ppl_models.evaluation.storage import load_density, save_density

__all__ = [
    "Band",
    "BitsPerDimension",
    "Classification",
    "ConceptVector",
    "Density",
    "ImportanceSummary",
    "LeaveOneOut",
    "active_units",
    "aggregate_information",
    "align",
    "analogies",
    "analogy_accuracy",
    "bits_per_dimension",
    "calibration_summary",
    "calibration_table",
    "compare",
    "comparison_doubts",
    "concept_vector",
    "coverage_table",
    "density_doubts",
    "discrete_kl",
    "draws_doubts",
    "interpolate",
    "ladder_doubts",
    "load_density",
    "log_density_gap",
    "mean_interval",
    "parameter_table",
    "pareto_k",
    "predictive_checks",
    "psis_loo",
    "rank_doubts",
    "ranks_of",
    "realism",
    "representation",
    "restart_report",
    "save_density",
    "score_classes",
    "smoothness",
    "summarise_weights",
    "symmetry",
    "tail_khat",
    "tail_probability",
    "transfer",
    "uniform_band",
    "uniformity",
]
