"""A column of amounts, some of them zero, as a mixed row: whether there is any, and how much, missing where it is zero.

p(row) then is a mass at zero and a density above it, for the missing cell is integrated out: the sum of the mass and
the integral of the density is one. So mixtures of normals and of log-normals stand on one scale, zeros and all, once
what normals give to amounts below zero is taken from them. Amounts that people round have a second scale, without the
grain of the rounding: the probability of the bin that an amount is in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import integrate

from ppl_models.datasets import Column, Schema
from ppl_models.datasets.schema import Kind
from ppl_models.evaluation import Density
from ppl_models.families import ClassProduct
from ppl_models.inference import conditional_log_density, log_density, parameter_draws, sample
from ppl_models.reports.canvas import colour, legend_below, panels, plain
from ppl_models.reports.figures import HISTOGRAM_COLOUR
from ppl_models.reports.report import Report
from ppl_models.reports.sections import check_section

STEPS = 40  # of the quadrature within a bin
FAR = np.geomspace(1e-8, 1e6, 4001)  # how far below zero
SHOWN_SHARE = 0.99  # of the amounts, on the axis that is not logarithmic
BARS, POINTS = 60, 3000
FEWEST_TICKS = 4
MOST_ABOVE = 2.0  # times the highest bar
REPLICATES = 400


@dataclass(frozen=True)
class Amounts:
    """The two columns that hold the amounts.

    Attributes:
        some: the binary column, 1 where the amount is not zero.
        amount: the continuous column, missing where it is.

    >>> Amounts("spends", "dollars").frame(pd.Series([0.0, 12.5])).to_dict("list")
    {'spends': [0, 1], 'dollars': [nan, 12.5]}
    """

    some: str
    amount: str

    def frame(self, amounts: pd.Series) -> pd.DataFrame:
        """Amounts from zero as rows of the two columns."""
        return pd.DataFrame({self.some: (amounts > 0).astype(int), self.amount: amounts.where(amounts > 0)})

    def totals(self, rows: pd.DataFrame) -> pd.Series:
        """The way back; the amount of a drawn row counts only if there is any."""
        return rows[self.amount].where(rows[self.some] == 1, 0.0)

    def schema(self, kind: Kind) -> Schema:
        """The columns, the amount real (normal) or positive (log-normal)."""
        return Schema((Column(self.some, "binary"), Column(self.amount, kind)))

    def density(self, family: ClassProduct, amounts: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """The density of some amounts, none of them zero, per unit; its integral is the probability of any amount."""
        rows = family.preparation(pd.DataFrame({self.some: 1, self.amount: amounts}))
        return np.exp(log_density(family, rows).values)

    def spilt(self, family: ClassProduct) -> float:
        """The probability that normals give to amounts below zero, by quadrature."""
        if family.schema.kinds[self.amount] == "positive":
            return 0.0
        return float(integrate.simpson(self.density(family, -FAR) * FAR, x=np.log(FAR)))

    def log_density(self, family: ClassProduct, rows: pd.DataFrame) -> Density:
        """log p of each row, given that the amount is not below zero: nats, raw units, higher is better."""
        found = log_density(family, family.preparation(rows))
        return replace(found, values=found.values - np.log1p(-self.spilt(family)))

    def log_mass(self, family: ClassProduct, rows: pd.DataFrame, *, edges: Float[np.ndarray, " edges"]) -> Density:
        """log P of zero or of the bin that an amount is in, on the same condition: nats, higher is better.

        Args:
            family: fitted to such rows.
            rows: the rows, their amounts between the first and the last edge.
            edges: the bins' edges, above zero and rising.
        """
        exact, ratios = self.log_density(family, rows), edges[1:] / edges[:-1]
        grid = edges[:-1, None] * ratios[:, None] ** (np.arange(STEPS + 1) / STEPS)
        heights = self.density(family, grid.ravel()).reshape(grid.shape) / (1 - self.spilt(family))
        masses = np.trapezoid(heights, grid, axis=1)
        place = np.searchsorted(edges, rows[self.amount].fillna(edges[1])) - 1
        with np.errstate(divide="ignore"):
            values = np.where(rows[self.some] == 1, np.log(masses[place]), exact.values)
        return replace(exact, values=values, columns=("bin",), discrete=(True,))

    def parts(self, family: ClassProduct, rows: pd.DataFrame) -> dict[str, float]:
        """log p(row) of the model as it was fitted, by what it says of the zeros and what of the amounts.

        Returns:
            p(zero) and p(below zero); in nats, zero or not a row, the amount a row that has some, and their sum a row.
        """
        data = family.preparation(rows)
        nothing = family.preparation(pd.DataFrame({self.some: [0], self.amount: [np.nan]}))
        given = conditional_log_density(family, data, given=[self.some])
        return {
            "p(zero)": float(np.exp(log_density(family, nothing).elpd)),
            "p(below zero)": self.spilt(family),
            "zero or not": log_density(family, data.only([self.some])).elpd,
            "amount, if any": float(given.values.sum() / rows[self.some].sum()),
            "together": log_density(family, data).elpd,
        }

    def components(self, family: ClassProduct, *, seed: int, draws: int = 400) -> pd.DataFrame:
        """The posterior means of each component's share, its amounts, in raw units, and how often it has any.

        Args:
            family: fitted to such rows.
            seed: the seed of the draws.
            draws: of the parameters.

        Returns:
            Columns share, median, low and high (the median less and plus an sd, two thirds of the amounts), any.
        """
        means = parameter_draws(family, draws, seed=seed).mean(("chain", "draw"))
        straight = np.exp if family.schema.kinds[self.amount] == "positive" else np.asarray
        loc, scale = (means[name].values[:, 0] for name in ("loc", "scale"))
        amounts = {"median": straight(loc), "low": straight(loc - scale), "high": straight(loc + scale)}
        often = means[f"probability_{self.some}"].values[:, 1]
        index = pd.RangeIndex(1, family.classes + 1, name="component")
        return pd.DataFrame({"share": means["weights"].values} | amounts | {"any": often}, index=index)


def amount_overlay(
    amounts: Float[np.ndarray, " rows"],
    grid: Float[np.ndarray, " points"],
    densities: Mapping[str, Float[np.ndarray, " points"]],
    *,
    label: str,
) -> Figure:
    """Set densities over a histogram twice: per unit, up to the 99 % quantile, and per factor e, on a log axis.

    In the first, a line may run out of the panel, where a narrow component stands high above the bars.

    Args:
        amounts: the data, above zero, raw units.
        grid: where the densities are known, above zero and rising, raw units.
        densities: for each model its density at the grid, per unit.
        label: name and unit of the amounts.
    """
    figure, (straight, logarithmic) = panels(2, columns=1, height=2.6)
    top, ends = float(np.quantile(amounts, SHOWN_SHARE)), (float(amounts.min()), float(amounts.max()))
    highest = _histogram(straight, amounts, np.linspace(0, top, BARS + 1))
    _histogram(logarithmic, np.log(amounts), np.linspace(*np.log(ends), BARS + 1))
    for position, density in enumerate(densities.values()):
        straight.plot(grid, density, color=colour(position), linewidth=1.6)
        logarithmic.plot(np.log(grid), density * grid, color=colour(position), linewidth=1.6)
    ticks = _ticks(*ends)
    logarithmic.set_xticks(np.log(ticks), [f"{tick:,g}" for tick in ticks])
    straight.set(xlabel=plain(label, width=70), ylabel="density, per unit", xlim=(0, top))
    straight.set_ylim(0, min(straight.get_ylim()[1], MOST_ABOVE * highest))
    logarithmic.set(xlabel=plain(f"{label}, log axis", width=70), ylabel="density, per factor e", xlim=np.log(ends))
    lines = [Line2D([], [], color=colour(position), linewidth=1.6) for position in range(len(densities))]
    legend_below(figure, [Patch(color=HISTOGRAM_COLOUR), *lines], ["data", *densities])
    return figure


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers for a log axis: of each power of ten as few multiples as leave four of them, or all nine."""
    for multiples in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
        ticks = [tick for tick in np.outer(powers, multiples).ravel().tolist() if low <= tick <= high]
        if len(ticks) >= FEWEST_TICKS:
            break
    return ticks


def amount_section(
    report: Report,
    layout: Amounts,
    families: Mapping[str, ClassProduct],
    *,
    held_out: pd.DataFrame,
    everyone: pd.DataFrame,
    unit: str,
    seed: int,
) -> None:
    """Add what some families say of amounts: of zeros and the rest, their components, their densities, their draws.

    Args:
        report: the report to add to.
        layout: the two columns.
        families: by name, fitted to the same rows.
        held_out: rows that they were not fitted to.
        everyone: all rows, for the histogram.
        unit: of the amounts.
        seed: the seed of the draws.
    """
    parts = pd.DataFrame({name: layout.parts(family, held_out) for name, family in families.items()}).T
    share = 1 - held_out[layout.some].mean()
    caption = (
        f"{len(held_out)} held-out rows, {share:.3f} of them zero, under the models as fitted: log probability of "
    )
    caption += "zero or not, nats a row; log density of the amount, nats a row that has one; both together, nats a row."
    report.table("parts", parts.rename_axis("model"), caption=caption, digits=4)
    tables = {name: layout.components(family, seed=seed) for name, family in families.items()}
    caption = f"Components, posterior means, {unit}: two thirds of the amounts are from low to high; any is the share "
    caption += "that is not zero. Which of several components a zero is from, nothing can tell."
    report.table("components", pd.concat(tables, names=["model"]), caption=caption)
    amounts = everyone[layout.amount].dropna().to_numpy()
    grid = np.geomspace(amounts.min() / 2, 2 * amounts.max(), POINTS)
    densities = {name: layout.density(family, grid) for name, family in families.items()}
    densities = {name: density / np.trapezoid(density, grid) for name, density in densities.items()}
    caption = "All amounts above zero, and the densities that the models give to such amounts."
    report.figure("densities", amount_overlay(amounts, grid, densities, label=unit), caption=caption, alt=caption)
    kinds = {layout.some: "binary", layout.amount: "real"}
    for position, (name, family) in enumerate(families.items(), 1):
        drawn = sample(family, REPLICATES * len(held_out), seed=seed)
        sides = [rows.assign(**{layout.amount: layout.totals(rows)}) for rows in (drawn, held_out)]
        report.text(
            f"Tables drawn from {name}", "Zeros count as amounts of 0, and those below zero as they were drawn."
        )
        check_section(report, *sides, kinds=kinds, name=f"checks-{position}")


def _histogram(axes: Axes, values: Float[np.ndarray, " rows"], edges: Float[np.ndarray, " edges"]) -> float:
    """Bars whose areas are shares of all values, those beyond the edges counted in; the height of the highest."""
    weights = np.full(len(values), 1 / (len(values) * (edges[1] - edges[0])))
    heights, *_ = axes.hist(values, edges, weights=weights, color=HISTOGRAM_COLOUR)
    return float(heights.max())
