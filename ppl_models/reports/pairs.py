"""Pairs of numeric columns, in held-out rows and in rows drawn from the model; on the page a reader picks the two."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ppl_models.errors import InputError
from ppl_models.reports.galleries import MOST_PAIRED_COLUMNS, MOST_POINTS, SIDES, sample_pairs
from ppl_models.reports.parts import Live
from ppl_models.reports.report import Report

MOST_NUMBERS = 60_000  # in a page, of each side
DIGITS = 5


def pairs_section(
    report: Report,
    held_out: pd.DataFrame,
    samples: pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    name: str = "pairs",
    rows: str = SIDES[0],
) -> None:
    """Add pairs of numeric columns, samples of the model over held-out rows.

    The figure pairs the first five columns; on the page any two are picked. At most 2,000 rows of either table are
    shown, and fewer of wide tables.

    Args:
        report: the report to add to.
        held_out: rows to lay the samples beside, raw units.
        samples: rows drawn from the model, raw units.
        columns: those to pair; all numeric ones if None.
        name: of the figure.
        rows: what the caption and the legend call the rows beside the samples; to be said if they were not held out.

    Raises:
        InputError: no numeric column, or one that a table has not.
    """
    chosen = list(held_out.select_dtypes("number")) if columns is None else list(columns)
    if not chosen:
        raise InputError(f"pairs_section: expected a numeric column, got {', '.join(map(str, held_out)) or 'none'}")
    sides = (rows, SIDES[1])
    figure = sample_pairs(held_out, samples, columns=chosen[:MOST_PAIRED_COLUMNS], sides=sides)
    caption = f"Pairs of columns, in {rows} and in rows drawn from the model."
    live = None
    if len(chosen) > 1:
        most = min(MOST_POINTS, MOST_NUMBERS // len(chosen))
        points = [[_numbers(frame[column].head(most)) for column in chosen] for frame in (held_out, samples)]
        live = Live("pairs", {"columns": [str(column) for column in chosen], "sides": sides, "points": points})
    report.figure(name, figure, caption=caption, alt=caption, live=live)


def _numbers(cells: pd.Series) -> list[float | None]:
    values = pd.to_numeric(cells).to_numpy(dtype=np.float64, na_value=np.nan)
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]
