"""``verify``: run the laws on a pair, or on a log density of held-out rows, and say what was found."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyro

from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.verify.bench import Bench
from ppl_models.verify.findings import Comparison, Finding, Skip, judge
from ppl_models.verify.laws import PAIR_LAWS, SCORING_LAWS, Law
from ppl_models.verify.pairs import Pair, untouched
from ppl_models.verify.scoring import Scoring

LEAST_DRAWS = 64
FOUNDATIONS = ("sites", "shapes", "plates")  # what is broken in one makes the laws after it mean nothing


class BrokenLaw(AssertionError):  # noqa: N818  # what pytest shows is the message
    """A law does not hold; the message is the whole finding."""


@dataclass(frozen=True)
class Verdict:
    """What the laws found.

    Attributes:
        findings: one a law, in their order.
        alarms: how often anything is called broken by chance where all laws hold.
    """

    findings: tuple[Finding, ...]
    alarms: float

    @property
    def broken(self) -> tuple[Finding, ...]:
        """What does not hold."""
        return tuple(finding for finding in self.findings if finding.verdict == "broken")

    def __bool__(self) -> bool:
        return not self.broken

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))

    def table(self) -> pd.DataFrame:
        """One line a law: verdict, what was found, and what usually causes it."""
        return pd.DataFrame(
            [
                {
                    "law": finding.law,
                    "verdict": finding.verdict,
                    "found": "; ".join(finding.what),
                    "likely": "; ".join(finding.causes),
                    "alarms": finding.alarms,
                }
                for finding in self.findings
            ]
        )

    def require(self) -> None:
        """Nothing, where all laws hold.

        Raises:
            BrokenLaw: some do not.
        """
        if self.broken:
            raise BrokenLaw("\n" + "\n".join(map(str, self.broken)))


def verify(
    subject: Pair | Scoring, *, seed: int = 0, draws: int = 256, alarms: float = 1e-3, laws: Sequence[str] | None = None
) -> Verdict:
    """Run the laws on a pair, or on a log density.

    Nothing of the subject is changed: parameters, buffers, the parameter store and the global random stream are
    afterwards what they were. What is broken in the structure makes the numbers mean nothing; their laws are skipped.

    Args:
        subject: what is examined.
        seed: the seed of all random numbers.
        draws: independent draws behind an estimate.
        alarms: how often a subject for which all laws hold is found to break any, by chance; each law has an equal
            share of it, and each comparison within a law an equal share of that.
        laws: names of those to run; None for all that there are for such a subject.

    Raises:
        InputError: an unknown law, too few draws, or a rate that is none.

    >>> import pyro.distributions as dist, torch
    >>> def model(x):
    ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
    ...     pyro.sample("x", dist.Normal(z, 1.0), obs=x)
    >>> def guide(x):
    ...     pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))
    >>> bool(verify(Pair(model, guide, (torch.tensor(1.0),), exact=True)))
    True
    """
    known = PAIR_LAWS if isinstance(subject, Pair) else SCORING_LAWS
    names = [law.name for law in known]
    unknown = [name for name in laws or () if name not in names]
    if unknown:
        raise InputError(f"laws: expected some of {', '.join(names)}, got {unknown[0]!r}")
    if draws < LEAST_DRAWS:
        raise InputError(f"draws: expected {LEAST_DRAWS} or more, got {draws}")
    if not 0 < alarms < 1:
        raise InputError(f"alarms: expected a rate between 0 and 1, got {alarms}")
    chosen = [law for law in known if laws is None or law.name in laws]
    share = alarms / len(known)
    if isinstance(subject, Scoring):
        with seeded(seed):
            return Verdict(tuple(_finding(law, subject, share) for law in chosen), alarms)
    try:
        with seeded(seed):
            subject.trace()
    except Exception as problem:  # noqa: BLE001  # whatever a user's pair raises is what is wrong with it
        what = f"the guide, or the model on what it drew, raises {type(problem).__name__}: {problem}"
        first, *others = chosen
        broken = Finding(first.name, first.statement, "broken", share, (what,), reference=first.reference)
        why = ("means nothing while the pair cannot be run",)
        rest = [Finding(law.name, law.statement, "skipped", share, why) for law in others]
        return Verdict((broken, *rest), alarms)
    with untouched(subject), pyro.validation_enabled(False):
        bench = Bench(subject, seed=seed, draws=draws)
        findings: list[Finding] = []
        for law in chosen:
            unsound = [one.law for one in findings if one.verdict == "broken" and one.law in FOUNDATIONS]
            if unsound:
                why = f"means nothing while {unsound[0]} is broken"
                findings.append(Finding(law.name, law.statement, "skipped", share, (why,)))
            else:
                findings.append(_finding(law, bench, share))
    return Verdict(tuple(findings), alarms)


def _finding(law: Law, subject: Bench | Scoring, alarms: float) -> Finding:
    """What one law finds."""
    try:
        found = list(law.run(subject))
    except Skip as why:
        return Finding(law.name, law.statement, "skipped", alarms, (str(why),))
    except (NotImplementedError, RuntimeError, ValueError, TypeError) as problem:
        what = f"raises {type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
        return Finding(law.name, law.statement, "broken", alarms, (what,), reference=law.reference)
    wrong = judge(found, alarms)
    compared = tuple(one for one in found if isinstance(one, Comparison))
    what = tuple(one.message() if isinstance(one, Comparison) else one.what for one in wrong)
    causes = tuple(dict.fromkeys(cause for one in wrong for cause in one.causes))
    verdict = "broken" if wrong else "holds"
    return Finding(law.name, law.statement, verdict, alarms, what, causes, compared, law.reference)
