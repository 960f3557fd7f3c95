"""Held-out densities side by side, on one scale: nats per row, raw data units, higher is better.

Two log densities can be subtracted only if they are densities of the same thing. So a `Density`
carries what it is a density of (the test rows, the columns, which of them carry a probability mass),
and `compare` refuses what differs and says what that is.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from ppl_models.errors import InputError
from ppl_models.evaluation.diagnostics import UNRELIABLE_KHAT
from ppl_models.evaluation.differences import interval_by_moments, tail_khat
from ppl_models.evaluation.pieces import Moments, mean, moments, pieces, some, standard_error

NORMAL_95 = 1.96  # standard errors on each side of an interval


@dataclass(frozen=True, eq=False)
class Density:
    """The log density of each held-out row under one fitted model, and what makes it comparable.

    Attributes:
        values: Log density of each row, in nats and in the raw units of the data; higher is better.
        kind: Whether `values` are log p(x) itself, a lower bound of it, an estimate that may err either way, or the
            lower end of an interval whose upper one is `upper`.
        checksum: SHA-256 of the raw test rows.
        columns: Names of the columns that the density is over.
        discrete: For each column, whether it carries a probability mass instead of a density.
        draws: Importance draws spent on a row; 0 where nothing is drawn.
        monte_carlo_se: Monte Carlo standard error of each value, or None.
        khat: Pareto k-hat of each row's importance weights, or None.
        effective: Effective sample size of each row's importance weights, or None.
        rise: How much the mean over rows rises from half the draws to all, nats per row; about what it is short of the
            truth, where the weights have a variance. NaN where nothing is drawn.
        mean_se: Monte Carlo standard error of the mean over rows. Rows share their draws, so that it
            does not follow from `monte_carlo_se`.
        given: What the density is conditional on, other columns or a row's total; "" for nothing.
        upper: An upper bound of each row's log p(x), of kind "interval" alone.
        upper_se: Monte Carlo standard error of the mean of `upper`.

    Raises:
        InputError: There is no row, `discrete` does not answer for every column, or `upper` is missing from an
            interval or given for another kind.
    """

    values: Float[np.ndarray, " rows"]
    kind: Literal["exact", "lower bound", "estimate", "interval"]
    checksum: str
    columns: tuple[str, ...]
    discrete: tuple[bool, ...]
    draws: int = 0
    monte_carlo_se: Float[np.ndarray, " rows"] | None = None
    khat: Float[np.ndarray, " rows"] | None = None
    effective: Float[np.ndarray, " rows"] | None = None
    rise: float = float("nan")
    mean_se: float = 0.0
    given: str = ""
    upper: Float[np.ndarray, " rows"] | None = None
    upper_se: float = 0.0

    def __post_init__(self) -> None:
        if len(self.values) == 0:
            raise InputError("a density needs at least one held-out row, got none")
        if (self.kind == "interval") != (self.upper is not None):
            raise InputError(f"expected upper for kind 'interval' and for no other, got kind {self.kind!r}")
        if len(self.columns) != len(self.discrete):
            raise InputError(
                f"expected one entry of discrete per column, got {len(self.discrete)} for {len(self.columns)}"
            )

    @property
    def elpd(self) -> float:
        """Expected log predictive density: the mean over rows, in nats per row; higher is better."""
        return mean(self.values)

    @property
    def gap(self) -> float:
        """The mean over rows of upper less lower bound, in nats per row; NaN of other kinds."""
        return float(np.mean(self.upper - self.values)) if self.upper is not None else float("nan")

    @property
    def gap_se(self) -> float:
        """The Monte Carlo standard error of `gap`, nats per row."""
        return float(np.hypot(self.mean_se, self.upper_se))

    @property
    def se(self) -> float:
        """Standard error of `elpd` over held-out rows, in nats; NaN for a single row."""
        return standard_error(self.values)


def compare(densities: Mapping[str, Density], *, reference: str | None = None) -> pd.DataFrame:
    """Put held-out densities side by side, best first, in nats per row.

    A lower bound that is ahead of an exact value is ahead for certain, up to its Monte Carlo error and
    the sampling error `dse`. One that is behind may be behind only by the gap of the bound. An estimate
    is neither: as many draws as keep `mean_se` and k-hat small are all that can be asked of it.

    Args:
        densities: Model names and their densities of the same test rows.
        reference: The model that the others are subtracted from; the best one if None.

    Returns:
        A table indexed by model, with the columns `elpd`, `se`, `diff` (elpd less the reference's),
        `dse` (paired standard error of `diff` over rows), `diff_low` and `diff_high` (its 95 % interval, wider than
        1.96 `dse` on the longer side of skewed differences, and by the Monte Carlo errors of both as far as they are
        known), `diff_khat` (of the differences' tail, seen at a million rows at most; above 0.5 the interval is not to
        be trusted), `kind`, `draws`, `mean_se` (Monte Carlo standard error of `elpd`), `rise` (of a bound, from half of
        its draws to all), `effective` (the median over rows of their weights' effective sample size) and `khat_high`
        (share of rows with k-hat above 0.7); the last three are NaN where nothing is drawn.

    Raises:
        InputError: No density, an unknown reference, values that are not finite, or densities that
            differ in their test rows, their columns, which of them carry a probability mass or what they
            are conditional on.

    >>> rows = dict(kind="exact", checksum="ab12", columns=("x",), discrete=(False,))
    >>> narrow, wide = (Density(values=np.array(v), **rows) for v in ([0.0, 0.0], [4.0, 0.0]))
    >>> print(compare({"narrow": narrow, "wide": wide})[["diff", "dse"]].to_dict("index"))
    {'wide': {'diff': 0.0, 'dse': 0.0}, 'narrow': {'diff': -2.0, 'dse': 2.0}}
    """
    _refuse_empty_or_infinite(densities)
    _refuse_incomparable(densities)
    best = max(densities, key=lambda name: densities[name].elpd)
    chosen = best if reference is None else reference
    if chosen not in densities:
        raise InputError(f"expected a reference among {_listed(densities)}, got {chosen!r}")
    table = pd.DataFrame(
        [_row(density, densities[chosen]) for density in densities.values()],
        index=pd.Index(list(densities), name="model"),
    )
    return table.sort_values("elpd", ascending=False, kind="stable")


def _row(density: Density, reference: Density) -> dict[str, object]:
    terms = (density.values, reference.values)
    found = moments(terms)
    (low,), (high,) = _interval(found)
    drawn = 0.0 if density is reference else NORMAL_95 * np.nan_to_num(np.hypot(density.mean_se, reference.mean_se))
    return {
        "elpd": density.elpd,
        "se": density.se,
        "diff": found.mean,
        "dse": found.standard_error,
        "diff_low": found.mean - float(np.hypot(found.mean - low, drawn)),
        "diff_high": found.mean + float(np.hypot(high - found.mean, drawn)),
        "diff_khat": float(tail_khat(some(terms)[None])[0]) if density is not reference else float("nan"),
        "kind": density.kind,
        "draws": density.draws,
        "mean_se": density.mean_se,
        "rise": density.rise,
        "effective": float("nan") if density.effective is None else float(np.median(density.effective)),
        "khat_high": _share_unreliable(density.khat),
    }


def _interval(found: Moments) -> tuple[Float[np.ndarray, " 1"], Float[np.ndarray, " 1"]]:
    """The 95 % interval of a mean; NaN for a single row."""
    if found.rows < 2:
        return np.full(1, np.nan), np.full(1, np.nan)
    return interval_by_moments(found.rows, *np.array([[found.mean], [found.deviation], [found.skewness]]))


def _share_unreliable(khat: Float[np.ndarray, " rows"] | None) -> float:
    if khat is None or np.isnan(khat).all():
        return float("nan")
    return float(np.mean(khat[~np.isnan(khat)] > UNRELIABLE_KHAT))


def _refuse_empty_or_infinite(densities: Mapping[str, Density]) -> None:
    if not densities:
        raise InputError("expected at least one density to compare, got none")
    for name, density in densities.items():
        before = 0
        for values in pieces(density.values):
            wrong = np.flatnonzero(~np.isfinite(values))
            if len(wrong):
                at = f"{name!r} at row {before + wrong[0]}"
                raise InputError(f"expected finite log densities, got {values[wrong[0]]} for {at}")
            before += len(values)


def _refuse_incomparable(densities: Mapping[str, Density]) -> None:
    _refuse_difference(densities, "number of test rows", lambda density: len(density.values))
    _refuse_difference(densities, "columns", lambda density: density.columns)
    for position, column in enumerate(next(iter(densities.values())).columns):
        _refuse_difference(
            densities,
            f"nature of column {column!r}",
            lambda density, at=position: "pmf" if density.discrete[at] else "pdf",
        )
    _refuse_difference(densities, "condition", lambda density: density.given or "none")
    _refuse_difference(densities, "test rows (checksum)", lambda density: density.checksum)


def _refuse_difference(densities: Mapping[str, Density], what: str, answer: Callable[[Density], Hashable]) -> None:
    groups: dict[Hashable, list[str]] = {}
    for name, density in densities.items():
        groups.setdefault(answer(density), []).append(name)
    if len(groups) > 1:
        sides = "; ".join(f"{value!r} for {_listed(names)}" for value, names in groups.items())
        raise InputError(f"expected the same {what} in every density, got {sides}")


def _listed(names: Mapping[str, Density] | list[str]) -> str:
    return ", ".join(repr(name) for name in names)
