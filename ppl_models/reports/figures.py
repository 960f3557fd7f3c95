"""Figures of densities, fits and comparisons: plain arrays and tables in, a matplotlib `Figure` out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from ppl_models.evaluation.comparison import NORMAL_95
from ppl_models.evaluation.diagnostics import UNRELIABLE_KHAT
from ppl_models.reports.canvas import INK, LINE, colour, legend_below, new_figure, panels, plain, tidy

HIDDEN_SHARE = 0.15  # of the ELBO values, at most: those of the first steps
NARROWEST = 0.005  # nats per row: what is less than this apart is drawn level
FEW_STEPS = 30  # each is marked; a single one would not be seen as a line
KHAT_RANGE = (-0.5, 1.5)
HISTOGRAM_COLOUR = "#d5d8dc"
FACES = {
    "exact": colour(0),
    "lower bound": "white",
    "estimate": HISTOGRAM_COLOUR,
    "interval": "#bcd9f2",
}  # of a point, by kind of number


def density_overlay(data: Float[np.ndarray, " rows"], curves: Mapping[str, pd.DataFrame], *, label: str) -> Figure:
    """Set the densities of some models over a histogram of the data.

    Args:
        data: Values of one column, raw units; missing ones are left out.
        curves: For each model a table with the columns `x`, `density`, `low` and `high`; a credible
            band is drawn where `low` and `high` are known.
        label: Name and unit of the column.
    """
    figure = new_figure(height=3.6)
    axes = tidy(figure.subplots())
    known = data[np.isfinite(data)]
    if len(known):
        bins = int(np.clip(np.sqrt(len(known)) * 1.5, 5, 60))
        axes.hist(known, bins=bins, density=True, color=HISTOGRAM_COLOUR)
    for position, curve in enumerate(curves.values()):
        shade = colour(position)
        axes.fill_between(curve["x"], curve["low"], curve["high"], color=shade, alpha=0.22, linewidth=0)
        axes.plot(curve["x"], curve["density"], color=shade, linewidth=1.8)
    axes.set(xlabel=plain(label, width=70), ylabel="density, per unit of x", ylim=(0, None))
    handles = [Patch(color=HISTOGRAM_COLOUR), *(_line(position) for position in range(len(curves)))]
    legend_below(figure, handles, ["data", *curves])
    return figure


def elpd_intervals(table: pd.DataFrame) -> Figure:
    """Draw the held-out log density of each model with its 95 % interval over rows.

    Args:
        table: What `compare` returns: indexed by model, with the columns `elpd`, `se` and `kind`.
    """
    ordered = table.sort_values("elpd")
    names = [plain(name) for name in ordered.index]
    tallest = max(name.count("\n") + 1 for name in names)
    figure = new_figure(height=1.0 + len(names) * (0.12 + LINE * tallest))
    axes = tidy(figure.subplots())
    for position, (_, row) in enumerate(ordered.iterrows()):
        face = FACES[row["kind"]]
        _interval(axes, row["elpd"], position, reach=NORMAL_95 * np.nan_to_num(row["se"]), face=face)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="held-out log density, nats per row (higher is better)", ylim=(-0.6, len(names) - 0.4))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    kinds = [kind for kind in FACES if kind in set(ordered["kind"])]
    handles = [_dot(FACES[kind]) for kind in kinds]
    legend_below(figure, handles, [f"{kind}, ± {NORMAL_95} standard errors" for kind in kinds])
    return figure


def elbo_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the ELBO over the steps of a fit, one panel a model, as the scales differ.

    The lowest values, which are those of the first steps, run out of the panel.

    Args:
        histories: For each model a table with the columns `step`, `train_elbo` and `validation_elbo`,
            in nats per row; the last may be NaN.
    """
    figure, axes = panels(len(histories), columns=2, height=2.3)
    for one, (name, history) in zip(axes, histories.items(), strict=True):
        for position, part in enumerate(("train", "validation")):
            known = history[np.isfinite(history[f"{part}_elbo"])]
            marker = "." if len(known) < FEW_STEPS else ""
            one.plot(
                known["step"],
                known[f"{part}_elbo"],
                marker=marker,
                linestyle="-",
                color=colour(position),
                linewidth=1.4,
            )
        one.set_title(plain(name, width=34), fontsize=10)
        one.set_xlabel("step", fontsize=9)
        one.set_ylim(*_settled(history))
        one.ticklabel_format(axis="y", useOffset=False)
        one.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.supylabel("ELBO, nats per row", fontsize=10)
    legend_below(figure, [_line(0), _line(1)], ["training", "validation"])
    return figure


def bound_ladder(table: pd.DataFrame, *, exact: Mapping[str, float] | None = None) -> Figure:
    """Draw how a lower bound rises with the number of importance draws, one panel a model.

    Args:
        table: One line per model and number of draws, with the columns `model`, `draws`, `elpd` and
            `mean_se` (Monte Carlo standard error), in nats per row.
        exact: The exact value of models that have one, drawn as a dashed line.
    """
    groups, exact = list(table.groupby("model", sort=False)), exact or {}
    figure, axes = panels(len(groups), columns=2, height=2.4)
    for one, (name, rungs) in zip(axes, groups, strict=True):
        reach = NORMAL_95 * rungs["mean_se"]
        one.errorbar(rungs["draws"], rungs["elpd"], yerr=reach, color=colour(0), marker="o", capsize=3)
        if name in exact:
            one.axhline(exact[name], color=INK, linestyle="--", linewidth=1.2)
        one.set_title(plain(name, width=34), fontsize=10)
        one.set_xlabel("importance draws per row", fontsize=9)
        one.set_xscale("log")
        one.xaxis.set_major_formatter("{x:,.0f}")
        one.xaxis.set_minor_locator(NullLocator())
    figure.supylabel("log density, nats per row", fontsize=10)
    lines = {f"bound, ± {NORMAL_95} Monte Carlo errors": Line2D([], [], color=colour(0), marker="o")}
    if exact:
        lines["exact"] = Line2D([], [], color=INK, linestyle="--")
    legend_below(figure, list(lines.values()), list(lines))
    return figure


def parameter_intervals(table: pd.DataFrame) -> Figure:
    """Draw posterior means with 90 % intervals, one panel a parameter, one line a component.

    Args:
        table: One line per parameter and component, with the columns `parameter`, `component`,
            `mean`, `low`, `high` and, where it is known, `truth`; raw units.
    """
    groups = list(table.groupby("parameter", sort=False))
    tallest = max((len(group) for _, group in groups), default=1)
    figure, axes = panels(len(groups), columns=2, height=1.0 + 0.26 * tallest)
    for one, (name, group) in zip(axes, groups, strict=True):
        for position, (_, row) in enumerate(group.iterrows()):
            one.plot([row["low"], row["high"]], [position, position], color=colour(0), linewidth=2)
        one.plot(group["mean"], range(len(group)), "o", color=colour(0))
        one.plot(group.get("truth", np.full(len(group), np.nan)), range(len(group)), "x", color=INK, zorder=3)
        one.set_yticks(range(len(group)), [plain(name, width=24, lines=1) for name in group["component"]])
        one.set_ylim(len(group) - 0.5, -0.5)
        one.set_title(plain(name, width=26), fontsize=10)
        one.set_xlabel("raw units", fontsize=9)
        one.xaxis.set_major_locator(MaxNLocator(3))
    marks = {"posterior mean, 90 % interval": _dot(colour(0))}
    if "truth" in table and table["truth"].notna().any():
        marks["truth"] = Line2D([], [], color=INK, marker="x", linestyle="")
    legend_below(figure, list(marks.values()), list(marks))
    return figure


def khat_histogram(khats: Mapping[str, Float[np.ndarray, " _"]]) -> Figure:
    """Draw how k-hat spreads over the held-out rows, with the share of rows above 0.7.

    Values beyond the axis are counted at its ends. Rows with constant weights (-inf) are below every
    threshold and not drawn; rows without an estimate (NaN) are left out.
    """
    figure = new_figure(height=3.2)
    axes = tidy(figure.subplots())
    bins = np.linspace(*KHAT_RANGE, 41)
    for position, khat in enumerate(khats.values()):
        known = khat[~np.isnan(khat)]
        drawn = np.clip(known[known > -np.inf], *KHAT_RANGE)
        share = np.full(len(drawn), 100 / max(1, len(known)))
        axes.hist(drawn, bins, weights=share, histtype="step", color=colour(position), linewidth=1.6)
    for threshold in (0.5, UNRELIABLE_KHAT):
        axes.axvline(threshold, color=INK, linestyle=":", linewidth=1.2)
        top = axes.get_xaxis_transform()
        axes.text(threshold, 1.01, threshold, transform=top, ha="center", va="bottom", fontsize=9)
    axes.set(xlabel=f"Pareto k-hat of a held-out row (above {UNRELIABLE_KHAT}: not to be trusted)", ylabel="rows, %")
    axes.set_xlim(*KHAT_RANGE)
    labels = [f"{name}: {_percent_above(khat[~np.isnan(khat)])}" for name, khat in khats.items()]
    legend_below(figure, [_line(position) for position in range(len(khats))], labels)
    return figure


def _percent_above(khat: Float[np.ndarray, " rows"]) -> str:
    if len(khat) == 0:
        return "no estimate"
    if np.isneginf(khat).all():
        return "the guide is exact"
    return f"{100 * np.mean(khat > UNRELIABLE_KHAT):.3g} % above {UNRELIABLE_KHAT}"


def _settled(history: pd.DataFrame) -> tuple[float, float]:
    parts = [history[name].to_numpy(dtype=float) for name in ("train_elbo", "validation_elbo")]
    known = [part[np.isfinite(part)] for part in parts if np.isfinite(part).any()]
    if not known:
        return -1.0, 1.0
    low = min(np.quantile(part, HIDDEN_SHARE) for part in known)
    high = max(part.max() for part in known)
    margin = max(0.08 * (high - low), NARROWEST)
    return low - margin, high + margin


def _interval(axes: Axes, middle: float, line: int, *, reach: float, face: str) -> None:
    axes.plot([middle - reach, middle + reach], [line, line], color=colour(0), linewidth=2, zorder=2)
    axes.plot([middle], [line], "o", markersize=7, color=colour(0), markerfacecolor=face, zorder=3)


def _line(position: int) -> Line2D:
    return Line2D([], [], color=colour(position), linewidth=1.8)


def _dot(face: str) -> Line2D:
    return Line2D([], [], color=colour(0), marker="o", markerfacecolor=face, linewidth=2)
