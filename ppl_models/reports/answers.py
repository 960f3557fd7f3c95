"""Answers in a report: cells filled in, and how well; the least probable rows; how many components, and which rows."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Int
from sklearn.metrics import adjusted_rand_score

from ppl_models.datasets import Dataset
from ppl_models.families import ClassProduct
from ppl_models.inference import class_probabilities, fit, impute, tail_probabilities
from ppl_models.reports.report import Report

CRITERIA = {"held-out elpd": "elpd_kfold", "BIC": "bic_higher_is_better", "ICL": "icl_higher_is_better"}
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
        The table of ``impute``, one line a missing cell, with categories in the place of their codes.
    """
    found = impute(family, family.preparation(rows), seed=seed)
    places = list(zip(found.cells["row"], found.cells["column"], strict=True))
    cells = found.cells.assign(value=[found.frame[column].iloc[row] for row, column in places])
    cells["row"] = rows.index[cells["row"]]
    caption = f"The {len(cells)} missing cells given the others of their rows: the median of the draws and their 90 % "
    caption += "interval, of a category the most frequent one and its probability."
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


def choice_section(
    report: Report,
    selection: pd.DataFrame,
    rows: Dataset,
    *,
    make: Callable[..., ClassProduct],
    truths: Mapping[str, Int[np.ndarray, " rows"]],
    seed: int,
    name: str = "choice",
) -> pd.DataFrame:
    """Add what some criteria choose of a grid of mixtures, and how well the components agree with known groups.

    Args:
        report: the report to add to.
        selection: of ``select_components``.
        rows: all rows, of its schema.
        make: as it was given there.
        truths: by name, codes of the rows' groups, which no mixture was told; rows of code −1 are left out.
        seed: the seed of the fits.
        name: what the parts' names start with.

    Returns:
        A line a criterion: covariance, components and, a column for each truth, the adjusted Rand index with it.
    """
    caption = "Mixtures that were told no class, the best by held-out density first. elbo and elpd: nats per row, raw "
    caption += "units; log_likelihood: nats in total; bic, icl, aic: twice nats in total; of all, higher is better."
    report.table(f"{name}-grid", selection.replace("", np.nan).dropna(axis=1, how="all"), caption=caption)
    best = [selection[column].idxmax() for column in CRITERIA.values()]
    table = selection.loc[best, ["covariance", "components"]].set_axis(pd.Index(CRITERIA, name="criterion"))
    agreements = {}
    for choice in table.drop_duplicates().itertuples(index=False):
        family = fit(make(rows.schema, **choice._asdict()), rows, seed=seed).family
        found = class_probabilities(family, rows).to_numpy().argmax(1)
        rands = {truth: adjusted_rand_score(codes[codes >= 0], found[codes >= 0]) for truth, codes in truths.items()}
        agreements[tuple(choice)] = rands
    table = table.join(pd.DataFrame([agreements[tuple(line)] for line in table.to_numpy()], index=table.index))
    caption = "What each criterion chooses, and the adjusted Rand index of its components with known groups: 1 for the "
    report.table(name, table, caption=caption + "same partition, about 0 for one by chance.")
    return table
