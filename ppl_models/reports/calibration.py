"""Simulation-based calibration on a page: coverage, and ranks against what uniform ones would do."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ppl_models.evaluation import calibration_summary, coverage_table, rank_doubts, uniform_band
from ppl_models.evaluation.calibration import ecdf
from ppl_models.reports.canvas import colour, legend_below, panels, plain
from ppl_models.reports.report import Report


def calibration_section(
    report: Report, ranks: Mapping[str, pd.DataFrame], *, draws: int, name: str = "calibration"
) -> pd.DataFrame:
    """Add what ranks of the truth say of some posteriors; those that are not calibrated open the page.

    Args:
        report: the report to add to.
        ranks: for each posterior a line a simulation, a column a parameter, as of ``calibration_ranks``.
        draws: of the posterior, which the truth is ranked among.
        name: what the parts' names start with.

    Returns:
        A table with the columns of ``calibration_summary``, one line a posterior.
    """
    found = {posterior: calibration_summary(table, draws) for posterior, table in ranks.items()}
    table = pd.DataFrame.from_dict(found, orient="index").rename_axis("posterior")
    text = "How often central intervals hold the truth, a share of the simulations: the mean over parameters, and the "
    text += "least and the most of 90 % ones. p-values, times the parameters: of uniform ranks, and of truths that lie "
    text += "as far above the middle as below, which tells a bias and nothing of a width."
    report.table(name, table, caption=text)
    lines = [
        {"posterior": posterior, "parameter": parameter}
        | {f"{line.level:.0%}": line.coverage for line in coverage_table(one[parameter].to_numpy(), draws).itertuples()}
        for posterior, one in ranks.items()
        for parameter in one
    ]
    text = "The same of each parameter. A level p has the standard error √(p (1 − p) / n) by n simulations."
    report.table(f"{name}-coverage", pd.DataFrame(lines), caption=text)
    text = "ECDF of each parameter's ranks less the uniform one; above it, then below: a posterior too narrow."
    report.figure(f"{name}-ranks", rank_curves(ranks, draws=draws), caption=text, alt=text)
    report.check("the ranks of the truth among posterior draws", rank_doubts(table))
    return table


def rank_curves(ranks: Mapping[str, pd.DataFrame], *, draws: int) -> Figure:
    """Draw the ECDF of the ranks of each parameter less that of uniform ones, one panel a posterior.

    Args:
        ranks: for each posterior a line a simulation, a column a parameter.
        draws: of the posterior, which the truth is ranked among.
    """
    figure, axes = panels(len(ranks), columns=2, height=2.1)
    for one, (name, table) in zip(axes, ranks.items(), strict=True):
        band = uniform_band(len(table), draws)
        one.fill_between(band.at, band.low - band.at, band.high - band.at, color="#e4e4e4", linewidth=0)
        for curve in ecdf(table.to_numpy().T, draws):
            one.plot(band.at, curve - band.at, color=colour(0), linewidth=0.9, alpha=0.8)
        one.set_title(plain(name, width=34), fontsize=10)
        one.set_xlabel("rank of the truth, share of the draws", fontsize=9)
    figure.supylabel("ECDF less uniform", fontsize=10)
    marks = [Line2D([], [], color=colour(0)), Patch(color="#e4e4e4")]
    legend_below(figure, marks, ["a parameter", "where uniform ranks stay, 95 %"])
    return figure
