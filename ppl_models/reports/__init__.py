"""Answers become pages: figures, and reports that are one folder each and need no network."""

from ppl_models.reports.calibration import calibration_section, rank_curves
from ppl_models.reports.canvas import to_svg
from ppl_models.reports.classification import classification_section, reliability
from ppl_models.reports.conclusions import conclusion, verdict
from ppl_models.reports.family_pages import family_page, story_of
from ppl_models.reports.figures import (
    bound_ladder,
    density_overlay,
    elbo_curves,
    elpd_intervals,
    khat_histogram,
    parameter_intervals,
)
from ppl_models.reports.galleries import category_shares, image_grid, latent_grid, sample_pairs
from ppl_models.reports.melodies import melodies_section
from ppl_models.reports.pairs import pairs_section
from ppl_models.reports.profiles import profile_map, profile_section
from ppl_models.reports.report import Report, write_index
from ppl_models.reports.rows import row_strips, rows_section
from ppl_models.reports.sections import (
    check_section,
    comparison_section,
    fit_section,
    ladder_section,
    parameter_section,
    replicate_section,
    sample_section,
)
from ppl_models.reports.tiles import Tile, report_tile
from ppl_models.reports.written_pages import written_page

__all__ = [
    "Report",
    "Tile",
    "bound_ladder",
    "calibration_section",
    "category_shares",
    "check_section",
    "classification_section",
    "comparison_section",
    "conclusion",
    "density_overlay",
    "elbo_curves",
    "elpd_intervals",
    "family_page",
    "fit_section",
    "image_grid",
    "khat_histogram",
    "ladder_section",
    "latent_grid",
    "melodies_section",
    "pairs_section",
    "parameter_intervals",
    "parameter_section",
    "profile_map",
    "profile_section",
    "rank_curves",
    "reliability",
    "replicate_section",
    "report_tile",
    "row_strips",
    "rows_section",
    "sample_pairs",
    "sample_section",
    "story_of",
    "to_svg",
    "verdict",
    "write_index",
    "written_page",
]
