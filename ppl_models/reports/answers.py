"""Answers about rows in a report: cells filled in, how well known cells are filled in, and the least probable rows."""

import numpy as np
import pandas as pd

from ppl_models.families import ClassProduct
from ppl_models.inference import impute, tail_probabilities
from ppl_models.reports.report import Report

LEAST = 6  # probable rows shown
DRAWS = 20_000


def imputation_section(
    report: Report, family: ClassProduct, rows: pd.DataFrame, *, seed: int, name: str = "imputed"
) -> pd.DataFrame:
    """Add the missing cells of some rows, filled in.

    Args:
        report: the report to add to.
        family: a fitted naive Bayes or mixture.
        rows: raw rows; the table tells them by their index.
        seed: the seed of the draws.
        name: of the part.

    Returns:
        The table of ``impute``, one line a missing cell.
    """
    cells = impute(family, family.preparation(rows), seed=seed).cells
    cells["row"] = rows.index[cells["row"]]
    caption = f"The {len(cells)} missing cells given the others of their rows: the median of the draws and their 90 % "
    caption += "interval, of a category the most frequent one (its code) and its probability."
    report.table(name, cells, caption=caption)
    return cells


def hidden_cells_section(
    report: Report, family: ClassProduct, held_out: pd.DataFrame, *, seed: int, name: str = "hidden"
) -> pd.DataFrame:
    """Add how well each continuous column of rows that were held out is filled in from the others.

    Args:
        report: the report to add to.
        family: a fitted naive Bayes or mixture.
        held_out: raw rows that it was not fitted to.
        seed: the seed of the draws.
        name: of the part.

    Returns:
        A line a column: rows, rmse of the filled in medians, sd of the column, both in raw units, and covered, the
        share of the cells in their 90 % interval with its standard error.
    """
    data, lines = family.preparation(held_out), []
    for column in (column.name for column in family.schema.columns if column.continuous):
        others = [other for other in family.schema.names if other != column]
        cells = impute(family, data.only(others), seed=seed).cells.query("column == @column")
        truth = held_out[column].to_numpy()[cells["row"]]
        cells, truth = cells[np.isfinite(truth)], truth[np.isfinite(truth)]
        inside = cells["low"].le(truth) & cells["high"].ge(truth)
        rmse = float(np.sqrt(np.mean((cells["value"] - truth) ** 2)))
        lines.append((column, len(truth), rmse, truth.std(ddof=1), inside.mean(), inside.sem()))
    table = pd.DataFrame(lines, columns=["column", "rows", "rmse", "sd", "covered", "covered_se"])
    caption = "Each column hidden in turn in rows that were held out, and filled in from the others: rmse of what is "
    caption += "filled in beside the column's own sd, raw units, and the share of the cells within their 90 % interval."
    report.table(name, table, caption=caption)
    return table


def anomaly_section(
    report: Report, family: ClassProduct, rows: pd.DataFrame, *, seed: int, name: str = "anomalies"
) -> pd.DataFrame:
    """Add the rows that the model itself would draw least often.

    Args:
        report: the report to add to.
        family: a fitted family of exact density.
        rows: raw rows, the label among them where there is one.
        seed: the seed of the draws.
        name: of the part.

    Returns:
        The six rows of the smallest tail probabilities, with these and their standard errors.
    """
    found = tail_probabilities(family, family.preparation(rows), seed=seed, draws=DRAWS).set_index(rows.index)
    least = rows.join(found).nsmallest(LEAST, "probability").rename_axis("row")
    caption = f"The rows that are least probable: the share of {DRAWS:,} rows drawn from the model that are no more "
    caption += f"probable than each, and its Monte Carlo error. By chance the smallest of {len(rows)} is about "
    report.table(name, least, caption=caption + f"{1 / (len(rows) + 1):.4f}.", digits=4)
    return least
