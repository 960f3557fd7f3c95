"""The parts that most reports have: a comparison, parameters, predictive checks, samples beside data."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ppl_models.datasets import Dataset
from ppl_models.evaluation import (
    Density,
    compare,
    comparison_doubts,
    density_doubts,
    draws_doubts,
    ladder_doubts,
    parameter_table,
    predictive_checks,
)
from ppl_models.evaluation.diagnostics import UNRELIABLE_KHAT
from ppl_models.families import Family
from ppl_models.inference import Fit, fit_doubts, fit_table, sample
from ppl_models.reports.conclusions import conclusion
from ppl_models.reports.figures import bound_ladder, elbo_curves, elpd_intervals, khat_histogram, parameter_intervals
from ppl_models.reports.galleries import SIDES, category_shares
from ppl_models.reports.pairs import pairs_section
from ppl_models.reports.report import Report
from ppl_models.reports.rows import rows_section

EXACT_STEPS = 2
NAME = "comparison"


def comparison_section(
    report: Report,
    densities: Mapping[str, Density],
    fits: Mapping[str, Fit],
    *,
    name: str = NAME,
    reference: str | None = None,
    train: Dataset | None = None,
    held_out: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Add held-out densities side by side: the table, their intervals, how fits ended, the ELBO curves and the k-hats.

    What the table says stands above it, in words; what speaks against a number of it opens the page.

    Args:
        report: the report to add to.
        densities: held-out densities of the same rows by model.
        fits: the fits whose training is shown.
        name: what the parts' names start with, and what the page calls the data.
        reference: the model that differences are taken from; the best if None.
        train: the rows that the models were fitted to; recorded beside the held-out ones if given.
        held_out: the raw rows of the densities; if given, each row's log density is drawn as well.

    Returns:
        The table of ``compare``.
    """
    table = compare(densities, reference=reference)
    if train is not None:
        report.data(f"{name}, training", train.checksum, len(train))
    some = next(iter(densities.values()))
    report.data(f"{name}, held out", some.checksum, len(some.values))
    words = conclusion(table if table["diff"].iloc[0] == 0 else compare(densities))
    caption = f"Mean log density of {len(some.values):,} held-out rows in nats per row, raw units, higher is better; "
    caption += "kind says whether it is exact or a lower bound, and diff is from "
    caption += f"{'the best' if reference is None else repr(reference)}. The last section says what each column is."
    report.table(name, table, caption=caption, digits=4, lead=" ".join(words))
    shown = "Held-out log density of each model with 95 % intervals."
    report.figure(f"{name}-elpd", elpd_intervals(table), caption=shown, alt=shown)
    if held_out is not None:
        rows_section(report, {model: densities[model] for model in table.index}, held_out, name=f"{name}-rows")
    fit_section(report, fits, name=name, train=train)
    about, looked = "" if name == NAME else f"{name}, ", "the importance weights and draws behind bounds"
    for model, density in densities.items():
        if density.draws:
            report.check(looked, density_doubts(density), of=f"{about}{model}")
    if table["diff_khat"].notna().any():
        report.check("the tails of differences", comparison_doubts(table), of=about.removesuffix(", "))
    curves = {model: found.history for model, found in fits.items() if len(found.history) > EXACT_STEPS}
    if curves:
        shown = "The ELBO in training, nats per row in raw units; a fit that is exact after one step is left out."
        report.figure(f"{name}-elbo", elbo_curves(curves), caption=shown, alt=shown)
    khats = {model: density.khat for model, density in densities.items() if density.khat is not None}
    if khats:
        shown = f"Pareto k-hat of each row's importance weights; above {UNRELIABLE_KHAT} a bound's error is unknown."
        report.figure(f"{name}-khat", khat_histogram(khats), caption=shown, alt=shown)
    return table


def fit_section(
    report: Report, fits: Mapping[str, Fit], *, name: str = NAME, train: Dataset | None = None
) -> pd.DataFrame | None:
    """Add how fits ended: the evidence of their stop rule, the spread of restarts, remarks; doubts open the page.

    Args:
        report: the report to add to.
        fits: by model; nothing is added where there is none.
        name: what the table's name starts with, and what the page calls the data.
        train: the rows that all were fitted to, by which a conjugate guide's k-hat is found.

    Returns:
        The table of ``fit_table``, if there are fits.
    """
    if not fits:
        return None
    table = fit_table(fits, train)
    caption = (
        "How fits ended: the ELBO of training rows in nats per row, raw units, what it last gained, restarts, and "
    )
    caption += "the rule that ended each. The last section says what each column is."
    report.table(f"{name}-fits", table, caption=caption)
    for model, found in fits.items():
        report.check("how fits ended", fit_doubts(found), of=f"{model}" if name == NAME else f"{name}, {model}")
        for remark in found.remarks:
            report.text(f"Remark on {model}", remark)
    return table


def ladder_section(
    report: Report, ladders: Mapping[str, pd.DataFrame], *, name: str, exact: Mapping[str, float], caption: str
) -> pd.DataFrame:
    """Add how bounds rise with draws: the figure; those that still rise open the page.

    Args:
        report: the report to add to.
        ladders: tables of ``bound_ladder`` by model.
        name: of the figure.
        exact: the log density itself of the models that have one, nats per row.
        caption: of the figure.

    Returns:
        All ladders as one table, with the column model before the others.
    """
    table = pd.concat(ladders, names=["model"]).reset_index("model").reset_index(drop=True)
    report.figure(name, bound_ladder(table, exact=exact), caption=caption, alt=caption)
    for model, ladder in ladders.items():
        report.check("how bounds rise with draws", ladder_doubts(ladder), of=model)
    return table


def parameter_section(
    report: Report, draws: xr.Dataset, *, name: str = "parameters", truth: Mapping[tuple[str, str], float] | None = None
) -> pd.DataFrame:
    """Add a conjugate guide's parameters: the table, their intervals, the draws themselves.

    Args:
        report: the report to add to.
        draws: of ``parameter_draws``.
        name: of the parts.
        truth: true values by (parameter, component), for simulated data.

    Returns:
        The table of ``parameter_table``, with a column truth if it was given.
    """
    table = parameter_table(draws)
    if truth is not None:
        table["truth"] = [truth.get(key) for key in zip(table["parameter"], table["component"], strict=True)]
    if not np.isnan(draws.attrs.get("khat", np.nan)):
        text = f"Drawn with the component summed out: importance resampling (k-hat {draws.khat:.2f}), then "
        report.text("Parameters", text + f"Hamiltonian steps on the exact posterior ({draws.accepted:.0%} accepted).")
    report.check("the draws of parameters", draws_doubts(draws))
    shown = "Posterior means and 90 % intervals, raw units" + ("; crosses are the truth." if truth else ".")
    report.table(name, table, caption=shown)
    report.figure(name, parameter_intervals(_by_panel(table)), caption=shown, alt=shown)
    report.draws(name, draws)
    return table


def check_section(
    report: Report,
    replicates: pd.DataFrame,
    held_out: pd.DataFrame,
    *,
    kinds: Mapping[str, str],
    name: str = "checks",
    rows: str = SIDES[0],
) -> pd.DataFrame:
    """Add predictive checks: what some rows, as a rule held-out ones, show against tables drawn from the model.

    Args:
        report: the report to add to.
        replicates: stacked tables drawn from the model, each as long as the other table.
        held_out: rows to check the model against.
        kinds: of the columns, by name.
        name: of the part.
        rows: what the caption calls the rows to check against; to be said if they were not held out.

    Returns:
        The table of ``predictive_checks``, the least likely first.
    """
    table = predictive_checks(replicates, held_out, kinds=kinds).sort_values(
        "tail_probability", kind="stable", ignore_index=True
    )
    caption = f"Statistics of {rows} against the same of tables drawn from the model: mean and 90 % range, and "
    caption += f"the two-sided tail probability. Of {len(table)}, "
    caption += f"{int((table['tail_probability'] < 0.05).sum())} are below 0.05; the least likely 15 are shown."
    report.table(name, table.head(15), caption=caption)
    return table


def sample_section(
    report: Report,
    samples: pd.DataFrame,
    held_out: pd.DataFrame,
    *,
    kinds: Mapping[str, str],
    name: str = "samples",
    rows: str = SIDES[0],
) -> None:
    """Add samples beside rows, as a rule held-out ones: pairs of numeric columns, shares of categories.

    Args:
        report: the report to add to.
        samples: rows drawn from the model.
        held_out: rows to lay the samples beside.
        kinds: of the columns, by name.
        name: what the parts' names start with.
        rows: what captions and legends call the rows beside the samples; to be said if they were not held out.
    """
    sides = (rows, SIDES[1])
    numeric = [column for column, kind in kinds.items() if kind in ("real", "positive", "count")]
    categorical = [column for column, kind in kinds.items() if kind == "categorical"]
    if numeric:
        pairs_section(report, held_out, samples, columns=numeric, name=f"{name}-pairs", rows=rows)
    if categorical:
        shown = f"Shares of each category, in {rows} and in rows drawn from the model."
        figure = category_shares(held_out, samples, columns=categorical, sides=sides)
        report.figure(f"{name}-shares", figure, caption=shown, alt=shown)


def _by_panel(table: pd.DataFrame) -> pd.DataFrame:
    """Lay a parameter table out as panels: components side by side; categories if there is but one component."""
    varying = table[table["high"] > table["low"]]
    if varying["component"].nunique() == 1:
        return varying.assign(component=varying["entry"])
    names = [
        f"{name} of {entry}" if entry else name for name, entry in zip(table["parameter"], table["entry"], strict=True)
    ]
    return table.assign(parameter=names)


def replicate_section(
    report: Report, family: Family, held_out: pd.DataFrame, *, seed: int, tables: int = 200, name: str = ""
) -> None:
    """Draw tables as long as the held-out one, and add one of them beside it and the checks against all.

    Args:
        report: the report to add to.
        family: a fitted family; nothing is added for one of images.
        held_out: raw rows that it was not fitted to.
        seed: the seed of the draws.
        tables: how many.
        name: what the parts' names start with.
    """
    if family.schema.image_shape:
        return
    held_out, kinds = held_out[list(family.schema.names)], family.schema.kinds
    drawn, begin = sample(family, tables * len(held_out), seed=seed), f"{name}-" if name else ""
    sample_section(report, drawn.head(len(held_out)), held_out, kinds=kinds, name=f"{begin}samples")
    check_section(report, drawn, held_out, kinds=kinds, name=f"{begin}checks")
