"""Numbers become answers: arrays in, tables out, with no model and no tensor in sight."""

from ppl_models.evaluation.alignment import align, restart_report
from ppl_models.evaluation.anomaly import tail_probability
from ppl_models.evaluation.checks import predictive_checks
from ppl_models.evaluation.classification import Classification, calibration_table, score_classes
from ppl_models.evaluation.comparison import Density, compare
from ppl_models.evaluation.diagnostics import ImportanceSummary, pareto_k, summarise_weights
from ppl_models.evaluation.intervals import parameter_table
from ppl_models.evaluation.loo import LeaveOneOut, psis_loo

__all__ = [
    "Classification",
    "Density",
    "ImportanceSummary",
    "LeaveOneOut",
    "align",
    "calibration_table",
    "compare",
    "parameter_table",
    "pareto_k",
    "predictive_checks",
    "psis_loo",
    "restart_report",
    "score_classes",
    "summarise_weights",
    "tail_probability",
]
