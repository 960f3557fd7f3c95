"""The log density of each held-out row: one strip a model, which shows what it did not expect."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from ppl_models.errors import InputError
from ppl_models.evaluation import Density
from ppl_models.reports.canvas import INK, colour, new_figure, plain, tidy
from ppl_models.reports.parts import Live
from ppl_models.reports.report import Report

MOST_ROWS = 2000
MOST_CELLS, MOST_COLUMNS = 8, 40  # of a row, told on the page; none of a row that is as wide as an image
GOLDEN = 0.6180339887  # its multiples spread evenly: rows of like values are set apart
MIDDLE = (0.01, 0.99)  # quantiles; what is further out by twice their distance is drawn at the edge
FAR = 2.0
DIGITS = 6


def rows_section(
    report: Report, densities: Mapping[str, Density], held_out: pd.DataFrame, *, name: str = "rows"
) -> None:
    """Add the log density of each held-out row under each model; on the page a row is told when pointed at.

    Of more than 2,000 rows as many are drawn, evenly by the rank of their mean over the models, the least and the most
    probable among them.

    Args:
        report: the report to add to.
        densities: held-out densities of the same rows by model.
        held_out: these rows, raw; the page tells them by their index and their first eight cells, of tables
            of up to 40 columns.
        name: of the figure.

    Raises:
        InputError: no density, or another number of rows.
    """
    if not densities:
        raise InputError("rows_section: expected at least one density, got none")
    for model, density in densities.items():
        if len(density.values) != len(held_out):
            got = f"{len(held_out)} rows in held_out and {len(density.values)} in {model!r}"
            raise InputError(f"rows_section: expected the rows of the densities, got {got}")
    values = np.stack([np.asarray(density.values, dtype=np.float64) for density in densities.values()])
    drawn = _drawn(values)
    ends = _ends(values)
    some = f"{len(drawn):,} of {values.shape[1]:,}" if len(drawn) < values.shape[1] else f"{len(drawn):,}"
    caption = f"Log density of {some} held-out rows, a dot each, nats, raw units; a bar marks the mean over all rows."
    if values.min() < ends[0]:
        caption += f" Rows below {ends[0]:.4g} are drawn at the left edge."
    columns = list(held_out)[:MOST_CELLS] if held_out.shape[1] <= MOST_COLUMNS else []
    data = {
        "models": list(densities),
        "kinds": [density.kind for density in densities.values()],
        "means": [_number(density.elpd) for density in densities.values()],
        "ends": [_number(end) for end in ends],
        "rows": [str(label) for label in held_out.index[drawn]],
        "values": [[_number(value) for value in line] for line in values[:, drawn]],
        "cells": [[str(column), _cells(held_out[column].iloc[drawn])] for column in columns],
    }
    figure = row_strips(dict(zip(densities, values[:, drawn], strict=True)), ends=ends, means=values.mean(1))
    report.figure(name, figure, caption=caption, alt=caption, live=Live("rows", data))


def row_strips(
    values: Mapping[str, Float[np.ndarray, " rows"]], *, ends: tuple[float, float], means: Float[np.ndarray, " models"]
) -> Figure:
    """Draw a strip a model, with a dot for each row at its log density.

    Args:
        values: log densities of the same rows by model, nats.
        ends: of the axis; what is beyond is drawn at them.
        means: of each model's rows, drawn as a bar.
    """
    figure = new_figure(height=1.0 + 0.5 * len(values))
    axes = tidy(figure.subplots())
    for line, one in enumerate(values.values()):
        spread = 0.5 * (np.arange(len(one)) * GOLDEN % 1 - 0.5)
        axes.scatter(np.clip(one, *ends), line + spread, s=5, color=colour(0), alpha=0.6, linewidths=0, rasterized=True)
    axes.plot(means, np.arange(len(values)), "|", markersize=22, markeredgewidth=1.6, color=INK)
    axes.set_yticks(range(len(values)), [plain(name) for name in values])
    margin = 0.02 * (ends[1] - ends[0])
    axes.set(xlabel="log density of a row, nats (higher is better)", ylim=(len(values) - 0.5, -0.5))
    axes.set_xlim(ends[0] - margin, ends[1] + margin)
    return figure


def _drawn(values: Float[np.ndarray, "models rows"]) -> Int[np.ndarray, " drawn"]:
    """The positions of the rows that are drawn, in the order of the table."""
    rows = values.shape[1]
    if rows <= MOST_ROWS:
        return np.arange(rows)
    ranked = np.argsort(values.mean(0), kind="stable")
    return np.sort(ranked[np.linspace(0, rows - 1, MOST_ROWS).round().astype(int)])


def _ends(values: Float[np.ndarray, "models rows"]) -> tuple[float, float]:
    low, high = np.quantile(values, MIDDLE)
    margin = max(FAR * (high - low), 1e-6)
    return max(float(values.min()), low - margin), max(float(values.max()), low + 1e-6)


def _cells(column: pd.Series) -> list[str]:
    return ["–" if pd.isna(cell) else f"{cell:.{DIGITS}g}" if isinstance(cell, float) else str(cell) for cell in column]


def _number(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
