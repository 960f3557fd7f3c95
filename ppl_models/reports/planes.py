"""Two columns of a classified table as a plane: rows as points, and the normal of each class as an ellipse."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ppl_models.reports.canvas import INK, colour, legend_below, new_figure, plain, tidy

RADIUS = 2.146  # of an ellipse that holds 90 % of a normal in two dimensions: the root of chi-squared's quantile
CIRCLE = np.linspace(0, 2 * np.pi, 200)


def class_plane(
    rows: pd.DataFrame,
    classes: Int[np.ndarray, " rows"],
    draws: xr.Dataset,
    *,
    known: Bool[np.ndarray, " rows"],
    wrong: Bool[np.ndarray, " rows"],
) -> Figure:
    """Draw rows in the colours of their classes, filled where a model was told the class, over each class's ellipse.

    Args:
        rows: two columns, raw units, the first drawn across; rows with a missing cell are left out.
        classes: codes of the classes that the model gives the rows.
        draws: of ``parameter_draws`` of the model; the ellipses are at their means and hold 90 % of a class.
        known: the rows whose class the model was told.
        wrong: the rows to be crossed out, for a class that is not the true one.
    """
    figure = new_figure(height=4.6)
    axes = tidy(figure.subplots())
    across, down = rows.columns
    names = [str(name) for name in draws["component"].values]
    for code in range(len(names)):
        for told, face in ((False, "none"), (True, colour(code))):
            some = rows[(classes == code) & (known == told)]
            axes.scatter(some[across], some[down], s=20, facecolor=face, edgecolor=colour(code), linewidth=0.9)
        axes.plot(*ellipse(draws, code, (across, down)), color=colour(code), linewidth=1.6)
    axes.scatter(rows[wrong][across], rows[wrong][down], s=42, marker="x", color=INK, linewidth=1.2, zorder=3)
    axes.set(xlabel=plain(across, width=70), ylabel=plain(down, width=50))
    marks = [Line2D([], [], color=colour(code), marker="o", linewidth=1.6) for code in range(len(names))]
    marks += [
        Line2D([], [], color=INK, marker=mark, linestyle="", markerfacecolor=face) for mark, face in MARKS.values()
    ]
    legend_below(figure, marks, [*names, *MARKS])
    return figure


MARKS = {"class told": ("o", INK), "class not told": ("o", "none"), "taken for a wrong class": ("x", INK)}


def ellipse(draws: xr.Dataset, component: int, columns: Sequence[str]) -> Float[np.ndarray, "2 points"]:
    """The ellipse that holds 90 % of a component's normal in two columns, at the means of its parameters' draws.

    Args:
        draws: of ``parameter_draws``, raw units.
        component: from 0.
        columns: the two columns, the first across.
    """
    means = draws.isel(component=component).mean(("chain", "draw"))
    loc, scale = (means[name].sel(continuous_column=list(columns)).values for name in ("loc", "scale"))
    correlation = 0.0
    if "correlation" in means:
        correlation = float(means["correlation"].sel(row=columns[0], column=columns[1]))
    covariance = np.outer(scale, scale) * [[1.0, correlation], [correlation, 1.0]]
    points = RADIUS * np.linalg.cholesky(covariance) @ np.array([np.cos(CIRCLE), np.sin(CIRCLE)])
    return loc[:, None] + points
