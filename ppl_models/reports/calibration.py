"""The figure of simulation-based calibration: ranks against what uniform ones would do."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ppl_models.evaluation import uniform_band
from ppl_models.evaluation.calibration import ecdf
from ppl_models.reports.canvas import colour, legend_below, panels, plain


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
        one.set_title(plain(name, width=40), fontsize=10)
        one.set_xlabel("rank of the truth, share of the draws", fontsize=9)
    figure.supylabel("ECDF less uniform", fontsize=10)
    marks = [Line2D([], [], color=colour(0)), Patch(color="#e4e4e4")]
    legend_below(figure, marks, ["a parameter", "where uniform ranks stay, 95 %"])
    return figure
