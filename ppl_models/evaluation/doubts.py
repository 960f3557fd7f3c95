"""Doubts: reasons not to trust a number, in a plain sentence each; none where nothing speaks against it."""

import numpy as np
import pandas as pd
import xarray as xr

from ppl_models.evaluation.comparison import Density
from ppl_models.evaluation.diagnostics import UNRELIABLE_KHAT
from ppl_models.evaluation.differences import UNRELIABLE_DIFFERENCE

MOST_UNRELIABLE = 0.05  # share of rows
FEW_DRAWS = 5  # an effective sample size whose log mean is worth little
ENOUGH = 0.5  # effective share of the draws whose log mean falls short by a thousandth, whatever k-hat says
NOTABLE = 0.1  # nats per row
RARE = 0.01  # a p-value
STUCK = 0.3  # share of accepted steps


def density_doubts(density: Density) -> tuple[str, ...]:
    """What speaks against a log density: its importance weights, its draws, its Monte Carlo error, its gap.

    A row's weights are in doubt with fewer than 5 effective draws, or with a k-hat above 0.7 unless half of the draws
    are effective: the weights of proposals close to the posterior are nearly constant, and their tail says little.

    Args:
        density: of any kind; nothing speaks against an exact one.
    """
    rows, found = len(density.values), []
    what = "how far the bound is below log p(x)" if density.kind != "estimate" else "how far off the estimate is"
    if density.effective is not None:
        doubtful = density.effective < FEW_DRAWS
        why = f"below {FEW_DRAWS} effective draws"
        if density.khat is not None and not np.isnan(density.khat).all():
            doubtful |= (density.khat > UNRELIABLE_KHAT) & (density.effective < ENOUGH * density.draws)
            why = f"k-hat above {UNRELIABLE_KHAT} or {why}"
        if doubtful.mean() > MOST_UNRELIABLE:
            found.append(
                f"the importance weights of {doubtful.sum()} of {rows} rows have {why} (the median there is "
                f"{np.median(density.effective[doubtful]):.1f} of {density.draws}): {what} in these rows is not known"
            )
    if density.rise > NOTABLE:
        found.append(
            f"the bound still rose by {density.rise:.2f} nats a row as its draws doubled to {density.draws}: more "
            "draws, or the methods 'fitted' and 'ais', come closer"
        )
    if density.mean_se > density.se / 2:
        found.append(
            f"the Monte Carlo error of the mean, {density.mean_se:.3f} nats a row, is not small beside the standard "
            f"error over rows, {density.se:.3f}"
        )
    if density.gap > NOTABLE + 2 * density.gap_se or density.gap < -4 * density.gap_se - 1e-6:
        found.append(f"the upper bound is {density.gap:.2f} nats a row above the lower (se {density.gap_se:.2f})")
    return tuple(found)


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
    wrong = table[table["p, uniform"] < RARE]
    return tuple(
        f"{name}: the ranks of the truth are not uniform (p = {line['p, uniform']:.2g}); 90 % intervals hold it in "
        f"{line['90%, least']:.1%} to {line['90%, most']:.1%} of {line['simulations']:.0f} simulations"
        for name, line in wrong.iterrows()
    )
