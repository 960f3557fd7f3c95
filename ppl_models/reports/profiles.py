"""What the classes of a latent class analysis look like: sizes, and the probability of each answer."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppl_models.errors import InputError
from ppl_models.evaluation import draws_doubts, parameter_table
from ppl_models.reports.canvas import new_figure, plain
from ppl_models.reports.report import Report

MOST_LINES = 40
SHADES = colormaps["Blues"]
DARK = 0.6  # of the shades; letters on them are white


def class_profiles(draws: xr.Dataset) -> pd.DataFrame:
    """The probability of each answer in each class, with its 90 % interval.

    Of a question with two answers only the second is told, since the first has the rest.

    Args:
        draws: of ``parameter_draws``; columns that are not categories are left out.

    Returns:
        Columns item, answer, component, mean, sd, low, high, one row an answer and a class.

    Raises:
        InputError: there is no column of categories.
    """
    items = {name.removeprefix("probability_"): name for name in map(str, draws) if name.startswith("probability_")}
    if not items:
        raise InputError(f"class profiles: expected a column of categories, got draws of {', '.join(map(str, draws))}")
    return pd.concat([_answers(item, draws[[name]]) for item, name in items.items()], ignore_index=True)


def profile_map(profiles: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Draw a class a column and an answer a line, darker where the answer is more probable.

    At most 40 lines are drawn: those of the answers that differ most between the classes.

    Args:
        profiles: what `class_profiles` returns.
        sizes: the classes' shares: columns component, mean, low and high.
    """
    names = profiles["item"] + " = " + profiles["answer"].astype(str)
    wide = profiles.assign(line=names).pivot(index="line", columns="component", values=["mean", "low", "high"])
    wide = wide.loc[names.drop_duplicates(), :]
    spread = (wide["mean"].max(axis=1) - wide["mean"].min(axis=1)).sort_values(ascending=False, kind="stable")
    wide = wide[wide.index.isin(spread.index[:MOST_LINES])]
    figure = new_figure(height=1.3 + 0.36 * len(wide))
    axes = figure.subplots()
    picture = axes.pcolormesh(100 * wide["mean"][sizes["component"]], cmap=SHADES, vmin=0, vmax=100, edgecolor="white")
    for (line, column), mean in np.ndenumerate(wide["mean"][sizes["component"]]):
        low, high = (wide[side][sizes["component"]].iloc[line, column] for side in ("low", "high"))
        _write(axes, (column + 0.5, line + 0.5), mean, f"{100 * mean:.0f}  ({100 * low:.0f} – {100 * high:.0f})")
    axes.set_yticks(np.arange(len(wide)) + 0.5, [plain(line, width=24, lines=2) for line in wide.index], fontsize=9)
    heads = [
        f"class {size.component}\n{100 * size.mean:.0f} % ({100 * size.low:.0f} – {100 * size.high:.0f})"
        for size in sizes.itertuples()
    ]
    axes.set_xticks(np.arange(len(heads)) + 0.5, heads, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    figure.colorbar(picture, ax=axes, label="probability, %", shrink=0.9, aspect=30)
    return figure


def profile_section(report: Report, draws: xr.Dataset, *, name: str = "profiles") -> pd.DataFrame:
    """Add the classes of a latent class analysis: the probabilities as a table and as a map, and the draws.

    Args:
        report: the report to add to.
        draws: of ``parameter_draws``.
        name: of the parts.

    Returns:
        The table of ``class_profiles``, after the classes' shares.
    """
    profiles, sizes = class_profiles(draws), parameter_table(draws[["weights"]])
    shares = sizes.assign(item="share of the class", answer="")[profiles.columns]
    table = pd.concat([shares, profiles], ignore_index=True)
    shown = "Probability of each answer in each class, and the classes' shares, in % with 90 % intervals."
    report.figure(name, profile_map(profiles, sizes), caption=shown, alt=shown)
    report.table(name, table, caption="The same as numbers." + _how_drawn(draws))
    report.draws(name, draws)
    report.check("the draws of parameters", draws_doubts(draws))
    return table


def _how_drawn(draws: xr.Dataset) -> str:
    """How far the draws of the posterior are from those of the guide, where they were refined."""
    khat, accepted = (draws.attrs.get(name, np.nan) for name in ("khat", "accepted"))
    if np.isnan(khat):
        return ""
    return f" Class summed out: importance resampling (k-hat {khat:.2f}), Hamiltonian steps ({accepted:.0%} accepted)."


def _answers(item: str, draws: xr.Dataset) -> pd.DataFrame:
    """The answers of one item."""
    table = parameter_table(draws).rename(columns={"entry": "answer"}).assign(item=item)
    answers = table["answer"].drop_duplicates()
    kept = table if len(answers) > 2 else table[table["answer"] == answers.iloc[-1]]
    return kept[["item", "answer", "component", "mean", "sd", "low", "high"]]


def _write(axes: Axes, place: tuple[float, float], value: float, text: str) -> None:
    """Letters in the middle of a cell, white on dark."""
    axes.text(*place, text, ha="center", va="center", fontsize=9, color="white" if value > DARK else "black")
