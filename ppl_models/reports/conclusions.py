"""A comparison in words: who describes the held-out rows best, by how much, how surely, and by what kind of number."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import pandas as pd

from ppl_models.errors import InputError
from ppl_models.evaluation.comparison import NORMAL_95
from ppl_models.evaluation.diagnostics import UNRELIABLE_KHAT
from ppl_models.evaluation.differences import UNRELIABLE_DIFFERENCE
from ppl_models.evaluation.doubts import ENOUGH, FEW_DRAWS, MOST_UNRELIABLE

CLEAR = 2  # times its reach that an interval stays clear of zero where a lead is certain: about four standard errors
MOST_NAMED = 3
MOST_DIGITS = 6
SAME = 1e-9  # nats per row: what rounding leaves
BOUNDS = ("lower bound", "interval")
KINDS = {
    "exact": "is exact",
    "lower bound": "is a lower bound, so that its log density is this or more",
    "estimate": "is an estimate, which may err either way",
    "interval": "is the lower end of an interval that holds its log density",
}


class Verdict(IntEnum):
    """How sure it is that one model is ahead of another."""

    UNDECIDED = 0
    LIKELY = 1
    CERTAIN = 2


def conclusion(comparison: pd.DataFrame, *, rows: str = "the held-out rows") -> tuple[str, str]:
    """Word a table of ``compare``: the answer, and how sure it is.

    A lead is likely where the 95 % interval of the difference stays clear of zero, and certain where it would at twice
    its width. What a lower bound that is behind gained as its draws last doubled is taken from the lead first. It is
    likely at most where that is not known, or where k-hat says that the interval is not to be trusted; and undecided
    where the estimate ahead is not to be trusted. The verdict is the least sure of those over each other model.

    Args:
        comparison: a table of ``compare`` whose differences are from the best model.
        rows: what the rows are called.

    Returns:
        Which model describes the rows best and by how many nats per row over the next, with the 95 % interval; and
        whether that is certain, likely or undecided, of what kind the numbers are, and which k-hats warn.

    Raises:
        InputError: the differences are from another model than the best.

    >>> from ppl_models.evaluation import Density, compare
    >>> values, about = np.linspace(-3.0, -1.0, 30), ("exact", "ab12", ("x",), (False,))
    >>> densities = {"a": Density(values, *about), "b": Density(2 * values, *about)}
    >>> print(conclusion(compare(densities), rows="them")[0])
    “a” describes them best: −2.00 nats per row, 2.00 more than “b”, the next (95 % interval 1.77 to 2.23).
    """
    if not comparison["diff"].iloc[0] == 0:
        raise InputError("conclusion: expected differences from the best model, got them from another reference")
    best, others = comparison.iloc[0], comparison.iloc[1:]
    warnings = [f"The number of {_named([best.name])} {KINDS[best['kind']]}.", *_warnings(best, others)]
    if others.empty:
        return _alone(best, rows), " ".join(warnings)
    verdicts = _verdicts(comparison)
    least = Verdict(verdicts.min())
    return _answer(best, others.iloc[0], least, rows=rows), " ".join(
        [_sure(least, others[verdicts == least]), *warnings]
    )


def verdict(comparison: pd.DataFrame) -> str:
    """How sure it is that the best model of a table of ``compare`` is the best: the word that ``conclusion`` uses.

    Args:
        comparison: a table of ``compare`` whose differences are from the best model.

    Returns:
        "certain", "likely" or "undecided"; "alone" where there is no other model.
    """
    return "alone" if len(comparison) == 1 else Verdict(_verdicts(comparison).min()).name.lower()


def _alone(best: pd.Series, rows: str) -> str:
    reach = NORMAL_95 * best["se"]
    low, middle, high = _written(best["elpd"] - reach, best["elpd"], best["elpd"] + reach, digits=_digits(reach))
    interval = "" if np.isnan(reach) else f" (95 % interval {low} to {high})"
    return f"Only {_named([best.name])} was scored: it gives {rows} {middle} nats per row{interval}."


def _answer(best: pd.Series, following: pd.Series, verdict: Verdict, *, rows: str) -> str:
    reach = (following["diff_high"] - following["diff_low"]) / 2
    ends = (-following["diff_high"], -following["diff_low"])
    elpd, lead, low, high = _written(best["elpd"], -following["diff"], *ends, digits=_digits(reach))
    winner, behind = _named([best.name]), _named([following.name])
    more = f"{lead} more than {behind}" if following["diff"] < 0 else f"as much as {behind}"
    interval = "" if np.isnan(reach) else f" (95 % interval {low} to {high})"
    if verdict is Verdict.UNDECIDED:
        return f"No model is shown to describe {rows} best: {winner} gives them {elpd} nats per row, {more}{interval}."
    describes = "describes" if verdict is Verdict.CERTAIN else "probably describes"
    return f"{winner} {describes} {rows} best: {elpd} nats per row, {more}, the next{interval}."


def _sure(verdict: Verdict, unsure: pd.DataFrame) -> str:
    over = f"its lead over {_named(list(unsure.index))}"
    if verdict is Verdict.CERTAIN:
        return "This is certain as far as these rows tell: no 95 % interval would hold zero if it were twice as wide."
    if verdict is Verdict.LIKELY:
        return f"This is likely, not certain: {over} is above zero by its 95 % interval, but not beyond doubt."
    gap = "" if (unsure["kind"] == "exact").all() else " or the gap of a bound"
    return f"This is undecided: {over} may be no more than chance{gap}."


def _warnings(best: pd.Series, others: pd.DataFrame) -> list[str]:
    found, bounds = [], list(others.index[others["kind"].isin(BOUNDS)])
    if bounds:
        what = "is a lower bound: part of its lag" if len(bounds) == 1 else "are lower bounds: part of their lag"
        found.append(f"That of {_named(bounds)} {what} may be the bound's own gap.")
    lines = {best.name: best} | dict(others.iterrows())
    heavy = {name: line["khat_high"] for name, line in lines.items() if _heavy(line)}
    if heavy:
        share = f"up to {max(heavy.values()):.0%}" if len(heavy) > 1 else f"{max(heavy.values()):.0%}"
        found.append(
            f"For {_named(list(heavy))} {share} of the rows have a k-hat above {UNRELIABLE_KHAT}: how far "
            "off that leaves the number is not known."
        )
    tails = list(others.index[others["diff_khat"] > UNRELIABLE_DIFFERENCE])
    if tails:
        found.append(f"The difference from {_named(tails)} hangs on few rows, so that its interval may be too narrow.")
    return found


def _verdicts(comparison: pd.DataFrame) -> pd.Series:
    return comparison.iloc[1:].apply(_verdict, axis=1, best=comparison.iloc[0])


def _verdict(line: pd.Series, best: pd.Series) -> Verdict:
    """How sure it is that the best is ahead of the model of a line."""
    reach, lead = line["diff_high"] - line["diff"], -line["diff"]
    known, short = True, 0.0
    if line["kind"] != "exact":
        known = bool(np.isfinite(line["rise"])) and not _doubtful(line)
        short = max(line["rise"], 0.0) if known else 0.0
    if not lead - short > reach or (best["kind"] == "estimate" and _doubtful(best)):
        return Verdict.UNDECIDED
    sound = known and line["diff_khat"] <= UNRELIABLE_DIFFERENCE
    return Verdict.CERTAIN if sound and lead - short > CLEAR * reach else Verdict.LIKELY


def _heavy(line: pd.Series) -> bool:
    """Whether importance weights are in doubt: heavy tails in too many rows, and few draws effective."""
    return bool(line["khat_high"] > MOST_UNRELIABLE and not line["effective"] >= ENOUGH * line["draws"])


def _doubtful(line: pd.Series) -> bool:
    """The same, or hardly any draw effective."""
    few = line["effective"] < FEW_DRAWS and not line["effective"] >= ENOUGH * line["draws"]
    return bool(few) or _heavy(line)


def _digits(reach: float) -> int:
    """Decimals that show two digits of a reach."""
    return int(np.clip(1 - np.floor(np.log10(reach)), 1, MOST_DIGITS)) if reach > SAME else 3


def _written(*numbers: float, digits: int) -> list[str]:
    return [f"{number + 0.0:,.{digits}f}".replace("-", "−") for number in numbers]


def _named(names: Sequence[str]) -> str:
    named = [f"“{name}”" for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        named[-1:] = [f"{len(names) - len(named) + 1} others"]
    return " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
