"""What a law found: facts that hold or not, and comparisons that are judged at a stated false-alarm rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from scipy import stats
from torch import Tensor


class Skip(Exception):  # noqa: N818  # no error
    """A law has nothing to say of a subject; the message says why."""


@dataclass(frozen=True)
class Fact:
    """What is so or not so, with nothing left to chance.

    Attributes:
        holds: whether it is as it should be.
        what: what was found where it is not.
        causes: what makes it so, where the fact itself knows better than its law.
    """

    holds: bool
    what: str
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mean:
    """The mean of independent draws.

    Attributes:
        value: the mean.
        se: its standard error.
        draws: how many.
        skewness: of the draws, which widens what their mean may stray by.
    """

    value: float
    se: float
    draws: int
    skewness: float = 0.0

    def apart(self, expected: float, alarms: float, *, slack: float = 0.0) -> bool:
        """Whether the draws' expectation differs from a number, by a t-test.

        Args:
            expected: the number.
            alarms: how often the test may say so of an expectation that does not.
            slack: a difference that counts as none.
        """
        return not abs(self.value - expected) <= slack + self.limit(alarms / 2)

    def above(self, bound: float, alarms: float, *, slack: float = 0.0) -> bool:
        """Whether the draws' expectation is above a number, by a one-sided t-test."""
        return not self.value - bound <= slack + self.limit(alarms)

    def limit(self, alarms: float) -> float:
        """How far the mean of so many draws strays, on one side, about as often as that.

        Skewed draws stray farther, by the first term of Cornish and Fisher's expansion of t.
        """
        quantile = float(stats.t(max(self.draws - 1, 1)).isf(alarms))
        return (quantile + abs(self.skewness) * (2 * quantile**2 + 1) / (6 * self.draws**0.5)) * self.se


def mean_of(values: Float[Tensor, " draws"]) -> Mean:
    """The mean of independent draws with its standard error, 0 for a single one."""
    values = values.detach().double()
    if len(values) < 2:
        return Mean(float(values.mean()), 0.0, len(values))
    deviation = float(values.std())
    skewness = float(((values - values.mean()) ** 3).mean()) / deviation**3 if deviation > 0 else 0.0
    return Mean(float(values.mean()), deviation / len(values) ** 0.5, len(values), skewness)


def beside(one: Mean, other: Mean) -> Mean:
    """The first mean, with the errors of both: to be compared with the second's value."""
    return Mean(
        one.value, math.hypot(one.se, other.se), min(one.draws, other.draws), max(one.skewness, other.skewness, key=abs)
    )


@dataclass(frozen=True)
class Comparison:
    """An estimate against what it should be.

    Attributes:
        what: what is estimated.
        estimate: the estimate.
        expected: its expectation, or the bound that it must not pass.
        bound: whether ``expected`` is an upper bound.
        slack: a difference that counts as none: rounding, truncation, the expectation's own error.
        causes: what makes them differ, where it is known.
    """

    what: str
    estimate: Mean
    expected: float
    bound: bool = False
    slack: float = 0.0
    causes: tuple[str, ...] = ()

    def holds(self, alarms: float) -> bool:
        """Whether nothing speaks against it, at this rate of false alarms."""
        test = self.estimate.above if self.bound else self.estimate.apart
        return not test(self.expected, alarms, slack=self.slack)

    def message(self) -> str:
        """Estimate, standard error and expectation in words."""
        side = "at most " if self.bound else ""
        return (
            f"{self.what}: {self.estimate.value:.6g} (se {self.estimate.se:.2g}, {self.estimate.draws} draws), "
            f"expected {side}{self.expected:.6g}"
        )


@dataclass(frozen=True)
class Finding:
    """What one law found of a subject.

    Attributes:
        law: its name.
        statement: what it demands.
        verdict: "holds", "broken" or "skipped".
        alarms: how often it is called broken by chance where it holds.
        what: each thing found wrong, or why it was skipped.
        causes: what usually causes it, the likeliest first.
        estimates: what was estimated, right or wrong.
        reference: where the law is from.
    """

    law: str
    statement: str
    verdict: str
    alarms: float
    what: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    estimates: tuple[Comparison, ...] = ()
    reference: str = ""

    def __str__(self) -> str:
        lines = [f"{self.law}: {self.verdict}. {self.statement}"]
        lines += [f"  {what}" for what in self.what]
        if self.verdict == "broken":
            lines += [f"  likely: {cause}" for cause in self.causes]
            lines.append(
                f"  false alarms: about {self.alarms:.1g}. {self.reference}"
                if self.estimates
                else f"  {self.reference}"
            )
        return "\n".join(lines)


def judge(found: Sequence[Fact | Comparison], alarms: float) -> list[Fact | Comparison]:
    """What does not hold, each comparison at an equal share of the rate."""
    share = alarms / max(sum(isinstance(one, Comparison) for one in found), 1)
    return [one for one in found if not (one.holds if isinstance(one, Fact) else one.holds(share))]


def rounding(*values: float) -> float:
    """A difference between sums of this size that single precision makes."""
    return 1e-5 * (1 + max((abs(value) for value in values if math.isfinite(value)), default=0.0))
