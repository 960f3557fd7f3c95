"""What rows of unknown class add to a classifier: it is fitted to the few that tell it, to all rows, and to all told.

A generative classifier learns from rows that do not tell their class as well, for they tell how x is distributed. If
the model is right, that can only help on average; if it is not, the classes may move to where they describe x better
and the labels worse (Cozman, Cohen and Cirelo 2003, https://www.aaai.org/Papers/ICML/2003/ICML03-016.pdf).
"""

from collections.abc import Mapping
from itertools import product

import pandas as pd
from sklearn.model_selection import StratifiedKFold

from ppl_models.datasets import Schema, prepare, split
from ppl_models.evaluation import Density, score_classes
from ppl_models.families import ClassProduct
from ppl_models.inference import class_probabilities, fit, log_density
from ppl_models.reports.classification import classification_section
from ppl_models.reports.report import Report
from ppl_models.reports.sections import comparison_section

ALONE, TOLD, EVERY = WAYS = ("few alone", "few told", "all told")
SCORES = ["accuracy", "brier", "log_score", "elpd"]


def few_told(frame: pd.DataFrame, label: str, *, share: float, seed: int) -> pd.Series:
    """Choose the rows that tell their class, this share of each class.

    Args:
        frame: the table; no two rows have the same index.
        label: the column of the class.
        share: of the rows.
        seed: the seed of the choice.

    Returns:
        Whether each row tells its class, indexed as the table is.
    """
    told = split(frame, seed=seed, validation=0.0, test=share, stratify=label).test
    return frame.index.to_series().isin(told.index)


def told_section(
    report: Report,
    frame: pd.DataFrame,
    families: Mapping[str, ClassProduct],
    *,
    share: float,
    folds: int,
    seed: int,
    name: str = "told",
) -> pd.DataFrame:
    """Add what classifiers make of rows that do not tell their class, every row held out once.

    Args:
        report: the report to add to.
        frame: the table, all its classes known.
        families: labelled families of one schema by name; fitted anew.
        share: of the training rows, those that tell their class.
        folds: parts of the table, each held out once; the rows that tell are chosen anew for each.
        seed: the seed of folds, choices and fits.
        name: what the parts' names start with.

    Returns:
        A line for each family and way of fitting it ("few alone", "few told", "all told"): accuracy, brier, log_score
        and elpd, means over folds with their standard errors ``_se``, and the same for ``_gain``, the difference
        between few told and few alone, fold by fold.
    """
    schema = next(iter(families.values())).schema
    results = _held_out(frame, families, schema, share=share, folds=folds, seed=seed)
    table = _summary(results.groupby(["family", "way", "fold"], sort=False)[SCORES].mean())
    caption = (
        f"Held-out scores, means over {folds} folds and their standard errors. Few alone: fitted to the {share:.0%} "
    )
    caption += (
        "of the training rows that tell their class; few told: to all of them, the others' class summed out; all "
    )
    caption += "told. brier: lower is better; log_score and elpd, which is log p(x): nats per row, higher is better."
    report.table(name, table.filter(regex=r"^(?!.*_gain)"), caption=caption, digits=4)
    gains = table.xs(TOLD, level="way").filter(like="_gain")
    caption = "What the rows that do not tell their class add: few told less few alone, mean over folds and its error."
    report.table(f"{name}-gain", gains, caption=caption, digits=4)
    everyone, names = prepare(frame, schema)(frame), list(schema.label.categories)
    groups = {
        cell: part.droplevel([0, 1, 2]).sort_index() for cell, part in results.groupby(["family", "way"], sort=False)
    }
    semi = {cell[0]: part[names].to_numpy() for cell, part in groups.items() if cell[1] == TOLD}
    classification_section(report, semi, everyone.labels.numpy(), names=names, name=f"{name}-classes")
    about = ("exact", everyone.checksum, schema.names, schema.discrete)
    densities = {", ".join(cell): Density(part["elpd"].to_numpy(), *about) for cell, part in groups.items()}
    comparison_section(report, densities, {}, name=f"{name}-density")
    return table


def _held_out(
    frame: pd.DataFrame, families: Mapping[str, ClassProduct], schema: Schema, *, share: float, folds: int, seed: int
) -> pd.DataFrame:
    """Each row's class probabilities and log density, held out, and its fold's scores, by family, way, fold and row."""
    label, parts = schema.label.name, []
    choice = StratifiedKFold(folds, shuffle=True, random_state=seed).split(frame, frame[label])
    for fold, (train, test) in enumerate(choice):
        rows, preparation = frame.iloc[train], prepare(frame.iloc[train], schema)
        data, told = preparation(frame.iloc[test]), few_told(rows, label, share=share, seed=seed)
        ways = (rows[told], rows.assign(**{label: rows[label].where(told)}), rows)
        for (name, family), (way, known) in product(families.items(), zip(WAYS, ways, strict=True)):
            fit(family, preparation(known), seed=seed)
            found = class_probabilities(family, data).set_index(test)
            score = score_classes(found.to_numpy(), data.labels.numpy(), names=list(found))
            numbers = {each: getattr(score, each) for each in SCORES[:3]} | {"elpd": log_density(family, data).values}
            keys = ["family", "way", "fold", "row"]
            parts.append(pd.concat({(name, way, fold): found.assign(**numbers)}, names=keys))
    return pd.concat(parts)


def _summary(folds: pd.DataFrame) -> pd.DataFrame:
    """Means over folds, their standard errors, and the same of the gain from the rows that do not tell."""
    groups = folds.groupby(["family", "way"], sort=False)
    gains = (folds.xs(TOLD, level="way") - folds.xs(ALONE, level="way")).add_suffix("_gain").groupby("family")
    gains = gains.mean().join(gains.sem().add_suffix("_se"))
    return groups.mean().join(groups.sem().add_suffix("_se")).join(gains, on="family")
