"""Numbers become answers: arrays in, tables out, with no model and no tensor in sight."""

from ppl_models.evaluation.checks import predictive_checks
from ppl_models.evaluation.comparison import Density, compare
from ppl_models.evaluation.diagnostics import ImportanceSummary, pareto_k, summarise_weights
from ppl_models.evaluation.intervals import parameter_table

__all__ = [
    "Density",
    "ImportanceSummary",
    "compare",
    "parameter_table",
    "pareto_k",
    "predictive_checks",
    "summarise_weights",
]
