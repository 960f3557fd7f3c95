"""Doubts: reasons not to trust a number, in a plain sentence each; none where nothing speaks against it."""

import numpy as np
import pandas as pd
import xarray as xr

from ppl_models.evaluation.comparison import Density
from ppl_models.evaluation.diagnostics import UNRELIABLE_KHAT
from ppl_models.evaluation.differences import UNRELIABLE_DIFFERENCE

MOST_UNRELIABLE = 0.05  # share of rows
FEW_DRAWS = 5  # an effective sample size whose log mean is worth little
ENOUGH = 0.5  # effective share of the draws: their log mean falls short by 1 / (2 draws) at the most
NOTABLE = 0.1  # nats per row
SMALLEST = 1e-12  # p-value that is told apart
RARE = 0.01  # a p-value, of all that are looked at together
STUCK = 0.3  # share of accepted steps
ROUNDING = 1e-6  # nats per row


def density_doubts(density: Density) -> tuple[str, ...]:
    """What speaks against a log density: its importance weights, its draws, its Monte Carlo error, its gap.

    A row's weights are in doubt with a k-hat above 0.7 or fewer than 5 effective draws, unless half of the draws are
    effective: the weights of proposals close to the posterior are nearly constant, and their tail says little.

    Args:
        density: of any kind; nothing speaks against an exact one.
    """
    rows, found = len(density.values), []
    what = "how far the bound is below log p(x)" if density.kind != "estimate" else "how far off the estimate is"
    if density.effective is not None:
        doubtful = density.effective < FEW_DRAWS
        why = f"below {FEW_DRAWS} effective draws"
        if density.khat is not None and not np.isnan(density.khat).all():
            doubtful |= density.khat > UNRELIABLE_KHAT
            why = f"k-hat above {UNRELIABLE_KHAT} or {why}"
        doubtful &= density.effective < ENOUGH * density.draws
        if doubtful.mean() > MOST_UNRELIABLE:
            found.append(
                f"the importance weights of {doubtful.sum()} of {rows} rows have {why} (the median there is "
                f"{np.median(density.effective[doubtful]):.1f} of {density.draws}): {what} in these rows is not known"
            )
    if density.rise > NOTABLE:
        found.append(
            f"the bound still rose by {density.rise:.2f} nats a row as its draws doubled to {density.draws}: more of "
            "them, or draws closer to the posterior, would tell by how much it is short"
        )
    if density.draws and np.isnan(density.mean_se):
        found.append("the Monte Carlo error of the mean is not known from a single draw")
    elif density.mean_se > density.se / 2:
        found.append(
            f"the Monte Carlo error of the mean, {density.mean_se:.3f} nats a row, is not small beside the standard "
            f"error over rows, {density.se:.3f}"
        )
    if density.upper is not None:
        found += _gap_doubts(density.gap, density.gap_se)
    return tuple(found)


def _gap_doubts(gap: float, error: float) -> list[str]:
    """What speaks against bounds from both sides."""
    if gap + 2 * error <= NOTABLE and gap >= -4 * error - ROUNDING:
        return []
    how = "apart" if gap >= 0 else "apart the wrong way round, the upper one below"
    return [f"bounds from both sides are {abs(gap):.2f} nats a row {how} (Monte Carlo error {error:.2f})"]


def comparison_doubts(table: pd.DataFrame) -> tuple[str, ...]:
    """What speaks against the differences of a table of ``compare``."""
    flagged = table.index[table["diff_khat"] > UNRELIABLE_DIFFERENCE]
    if not len(flagged):
        return ()
    worst = table.loc[flagged, "diff_khat"].max()
    listed = ", ".join(map(repr, flagged))
    return (
        f"the intervals of the differences of {listed} may be too narrow: rows that would decide are rarer than this "
        f"table is long (k-hat of the differences' tail up to {worst:.2f})",
    )


def ladder_doubts(ladder: pd.DataFrame) -> tuple[str, ...]:
    """What speaks against the bound by the most draws of a ladder: that it still rose, by doublings of the draws.

    Args:
        ladder: columns draws and elpd, nats per row, of rising numbers of draws.
    """
    if len(ladder) < 2:
        return ()
    (before, last), (lower, upper) = ladder["draws"].tail(2), ladder["elpd"].tail(2)
    rise = (upper - lower) / np.log2(last / before)
    if rise <= NOTABLE:
        return ()
    return (f"the bound still rose by {rise:.2f} nats a row for each doubling of its draws up to {last}",)


def draws_doubts(draws: xr.Dataset) -> tuple[str, ...]:
    """What speaks against draws of ``parameter_draws``."""
    khat, accepted = (draws.attrs.get(name, np.nan) for name in ("khat", "accepted"))
    if draws.attrs.get("mean_field", 0):
        return (
            "the parameters are drawn from the guide, which holds them and the rows' components independent: their "
            "intervals are too narrow where components overlap",
        )
    if khat > UNRELIABLE_KHAT and accepted < STUCK:
        return (
            f"the importance weights of the parameters have a k-hat of {khat:.2f}, and only {accepted:.0%} of the "
            "Hamiltonian steps that should mend them were accepted",
        )
    return ()


def rank_doubts(table: pd.DataFrame) -> tuple[str, ...]:
    """What speaks against posteriors, of a table of ``calibration_summary``, one a line.

    Args:
        table: columns of ``calibration_summary``; the index names the posteriors.
    """
    wrong = table[table["p, uniform"] < RARE / max(len(table), 1)]
    return tuple(
        f"{name}: the ranks of the truth are not uniform ({_p_value(line['p, uniform'])}); 90 % intervals hold it in "
        f"{line['90%, least']:.1%} to {line['90%, most']:.1%} of {line['simulations']:.0f} simulations"
        for name, line in wrong.iterrows()
    )


def _p_value(value: float) -> str:
    """A p-value in words, whose size means nothing far out."""
    return f"p = {value:.2g}" if value >= SMALLEST else f"p < {SMALLEST:g}"
