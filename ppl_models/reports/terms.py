"""What the words of a report mean: definitions, of which a page shows those that it uses."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ppl_models.evaluation.diagnostics import UNRELIABLE_KHAT
from ppl_models.evaluation.differences import UNRELIABLE_DIFFERENCE
from ppl_models.reports.examples import Examples
from ppl_models.reports.parts import Draws, Picture, Table, Text
from ppl_models.reports.rolls import Rolls
from ppl_models.reports.tiles import Tiles

Part = Text | Table | Picture | Rolls | Draws | Examples | Tiles


@dataclass(frozen=True)
class Term:
    """A word and its meaning.

    Attributes:
        name: the word.
        meaning: how its number was made, and what it says.
        columns: headers of tables that are it.
        said: a pattern that finds it in texts and captions.
        kind: the kind of number that it is, of a table's column `kind`.
    """

    name: str
    meaning: str
    columns: tuple[str, ...] = ()
    said: str = r"(?!)"
    kind: str = ""


TERMS = (
    Term(
        "nats per row",
        "the natural logarithm of a row's probability, or of its density in the data's raw units; a mean over rows, "
        "higher is better. One nat more: each row is e = 2.72 times as probable.",
        said=r"\bnats\b",
    ),
    Term(
        "preparation",
        "real columns are standardised by the mean and sd of training rows, positive ones after a logarithm, others "
        "left as they are; the logarithm of that map's slope is added, so that log densities are those of raw cells.",
        columns=("elpd", "elbo"),
    ),
    Term(
        "elpd",
        "expected log predictive density: the mean log density of rows that had no part in the fit.",
        columns=("elpd",),
        said=r"\belpd\b",
    ),
    Term("se", "standard error: how much the number beside it would vary with other rows of the same kind.", ("se",)),
    Term("diff", "elpd less that of the reference, which is the best model where no other is named.", ("diff",)),
    Term(
        "dse", "standard error of diff. The rows are the same, so that it is not that of two separate means.", ("dse",)
    ),
    Term(
        "diff_low, diff_high",
        "ends of the 95 % interval of diff, wider on the longer side of skewed differences, and by the Monte Carlo "
        "errors of both numbers.",
        columns=("diff_low", "diff_high"),
    ),
    Term(
        "diff_khat",
        f"k-hat of the differences' tail. Above {UNRELIABLE_DIFFERENCE} rows that would decide may not be among those "
        "seen, and the interval is not to be trusted.",
        columns=("diff_khat",),
    ),
    Term(
        "exact",
        "a log density in closed form: of the fitted point, or with the parameters integrated out under the guide.",
        kind="exact",
    ),
    Term(
        "lower bound",
        "the logarithm of a mean of importance weights. On average it is not above the log density, and it rises to it "
        "with more draws; what is left is its gap.",
        said=r"\blower bounds?\b",
        kind="lower bound",
    ),
    Term("estimate", "a number that may err either way, by about its Monte Carlo error.", kind="estimate"),
    Term("interval", "a lower bound, shown here, and an upper bound of the same log density.", kind="interval"),
    Term("draws", "importance draws spent on each row; 0 where nothing is drawn.", columns=("draws",)),
    Term("mean_se", "Monte Carlo standard error: how much elpd would vary with other draws.", columns=("mean_se",)),
    Term("rise", "what a bound gained as its draws last doubled: about what it still is short of.", columns=("rise",)),
    Term(
        "effective",
        "effective sample size of a row's importance weights, the median over rows.",
        columns=("effective",),
    ),
    Term(
        "k-hat",
        "Pareto k-hat: how heavy the tail of some weights is, fitted to the largest of them. Above "
        f"{UNRELIABLE_KHAT} their mean, and what follows from it, is not to be trusted.",
        columns=("khat", "khat_high", "guide_khat"),
        said=r"\bk-hats?\b",
    ),
    Term("khat_high", f"share of the rows whose weights have a k-hat above {UNRELIABLE_KHAT}.", columns=("khat_high",)),
    Term(
        "ELBO",
        "evidence lower bound of the training rows, which a fit climbs: the mean of log p(x, z) less log q(z).",
        columns=("elbo",),
        said=r"\bELBO\b",
    ),
    Term(
        "last_rise", "of the ELBO that was watched, over its last tenth up to the state kept.", columns=("last_rise",)
    ),
    Term("best_found", "restarts that ended within 0.01 nats per row of the best.", columns=("best_found",)),
    Term("ahead", "nats per row of the best restart over the next.", columns=("ahead",)),
    Term(
        "guide_khat",
        f"k-hat of the conjugate guide's parameters, classes summed out. Above {UNRELIABLE_KHAT} its intervals "
        "are too narrow; −∞ where it is the posterior.",
        columns=("guide_khat",),
    ),
    Term(
        "posterior interval",
        "holds a parameter with the probability said, given the rows, the model and its prior.",
        said=r"90 % intervals?, raw units",
    ),
    Term(
        "tail_probability",
        "two-sided: how often tables drawn from the model are as far out as the rows themselves; small is bad.",
        columns=("tail_probability",),
    ),
)


def used_terms(parts: Iterable[Part], *said: str) -> list[Term]:
    """The terms that a report uses, in the order of the list.

    Args:
        parts: of the report.
        said: its other sentences.

    >>> [term.name for term in used_terms([Text("The data", "Two nats apart.")])]
    ['nats per row']
    """
    parts = list(parts)
    tables = [part for part in parts if isinstance(part, Table)]
    columns = {name for table in tables for name, _ in table.header}
    kinds = {kind for table in tables if "kind" in table.frame for kind in table.frame["kind"]}
    prose = "\n".join([*said, *(_prose(part) for part in parts)])
    return [
        term
        for term in TERMS
        if columns & {*term.columns} or (term.kind and term.kind in kinds) or re.search(term.said, prose)
    ]


def column_meanings() -> dict[str, str]:
    """What each column of a known name holds; of several terms that use it, the last is its own."""
    return {column: term.meaning for term in TERMS for column in term.columns}


def _prose(part: Part) -> str:
    if isinstance(part, Text):
        return f"{part.heading}\n{part.body}"
    if isinstance(part, Table):
        return f"{part.caption}\n{part.lead}"
    return part.caption if isinstance(part, (Picture, Rolls)) else ""
