"""Class probabilities in a report: how good they are, and whether they keep their word."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ppl_models.evaluation import Classification, calibration_table, score_classes
from ppl_models.reports.canvas import INK, colour, legend_below, panels, plain
from ppl_models.reports.report import Report


def reliability(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how often a class was the true one against the probability that it was given, one panel a model.

    Args:
        tables: For each model what `calibration_table` returns.
    """
    figure, axes = panels(len(tables), columns=2, height=3.1)
    for one, (name, table) in zip(axes, tables.items(), strict=True):
        one.plot([0, 100], [0, 100], color=INK, linestyle="--", linewidth=1.0)
        reach = 100 * np.array([table["observed"] - table["observed_low"], table["observed_high"] - table["observed"]])
        marks = {"color": colour(0), "linestyle": "", "marker": "o", "markersize": 5, "capsize": 3}
        one.errorbar(100 * table["predicted"], 100 * table["observed"], yerr=reach.clip(0), **marks)
        one.set_title(plain(name, width=34), fontsize=10)
        one.set_xlabel("probability given, mean of a bin, %", fontsize=9)
        one.set(xlim=(-3, 103), ylim=(-3, 103), aspect="equal")
    figure.supylabel("share that came true, %", fontsize=10)
    lines = {"observed, 90 % interval": Line2D([], [], color=colour(0), marker="o", linestyle="")}
    lines["as frequent as it says"] = Line2D([], [], color=INK, linestyle="--")
    legend_below(figure, list(lines.values()), list(lines))
    return figure


def classification_section(
    report: Report,
    probabilities: Mapping[str, Float[np.ndarray, "rows classes"]],
    labels: Int[np.ndarray, " rows"],
    *,
    names: Sequence[object],
    name: str = "classes",
    rows: str = "held-out rows",
) -> pd.DataFrame:
    """Add class probabilities of some rows by one or more models: their scores, confusions and calibration.

    Args:
        report: the report to add to.
        probabilities: p(class given row) by model, of the same rows.
        labels: codes of the true classes; rows of unknown class, code -1, are left out.
        names: the classes' names in the order of their codes.
        name: what the parts' names start with.
        rows: what captions call the rows; to be said if they were not held out.

    Returns:
        A line per model: accuracy, Brier score and log score, each with its standard error over rows, and the
        calibration error.
    """
    scores = {model: score_classes(values, labels, names=names) for model, values in probabilities.items()}
    table = pd.DataFrame({model: _line(score) for model, score in scores.items()}).T.rename_axis("model")
    counted = next(iter(scores.values())).rows
    caption = f"Class probabilities of {counted} {rows}, standard errors (se) over them. accuracy: share whose most "
    caption += "probable class is the true one; brier: squared error summed over classes, 0 to 2, lower is better; "
    caption += "log_score: nats per row, higher is better; calibration_error: mean distance of confidence and accuracy."
    report.table(name, table, caption=caption, digits=4)
    confusions = pd.concat({model: score.confusion for model, score in scores.items()}, names=["model"])
    report.table(f"{name}-confusion", confusions, caption=f"Counts of {rows}: predicted class by line, true by column.")
    calibrations = {model: calibration_table(values, labels) for model, values in probabilities.items()}
    shown = f"How often a class came true among {rows}, by the probability that it was given; every pair of a row and "
    shown += "a class counts once."
    report.figure(f"{name}-calibration", reliability(calibrations), caption=shown, alt=shown)
    together = pd.concat(calibrations, names=["model"]).reset_index("model").reset_index(drop=True)
    report.table(f"{name}-calibration", together, caption="The same as numbers; observed with its 90 % interval.")
    return table


def _line(score: Classification) -> dict[str, float]:
    """The scores that are numbers."""
    return {name: value for name, value in asdict(score).items() if name not in ("confusion", "rows")}
