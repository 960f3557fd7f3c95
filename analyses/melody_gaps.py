"""Are paths through the latent space more probable than blended notes? The differences, and their words."""

from collections.abc import Mapping

import pandas as pd
from melody_measures import ERRORS, Melodies, means
from melody_paths import DRAWN, MIXED, POINTS, TYPICAL

from ppl_models import Report
from ppl_models.families import Family

CLEAR = 4  # standard errors
WAYS = (
    "Latent: the most probable tokens, one after another, at points of a straight line or great circle between two "
    "codes; drawn: a phrase drawn there. Blended, tokens: step after step, in random order, changes over from the one "
    "phrase's token to the other's; pitches: the rhythm of the nearer phrase, each note at the weighted mean of the "
    "two pitches that sound where it begins; medley: the first phrase up to a beat, from there on the other. Fewer "
    "notes are more probable under every model, so that their number stands beside."
)


def gaps(
    values: Mapping[str, pd.DataFrame], judges: Mapping[str, Family], melodies: Melodies, pairs: Melodies
) -> pd.DataFrame:
    """What latent paths have more in nats a step than blended ones; errors over melodies, of the first by phrase."""
    latent, blended = ([name for name in values if name.startswith(start)] for start in ("latent", "blended"))
    found = {(one, other): (values[one] - values[other])[[*judges]] for one in latent for other in blended}
    chain, table = next(iter(judges)), means(found, melodies).rename_axis(["path", "less"])
    by_phrase = means(found, pairs)[f"{chain} se"].to_numpy()
    return table.assign(**{f"{chain} / se": table[chain] / table[f"{chain} se"], f"{chain} se by phrase": by_phrase})


def path_section(
    report: Report,
    values: Mapping[str, pd.DataFrame],
    judges: Mapping[str, Family],
    melodies: Melodies,
    pairs: Melodies,
    ends: Mapping[str, float],
) -> None:
    """Add how probable and how even the paths are."""
    chain, vae = judges
    report.text("Between phrases", WAYS)
    themselves = " and ".join(f"{value:.3f} under “{name}”" for name, value in ends.items())
    text = (
        f"{len(melodies)} pairs of phrases of two melodies, {POINTS} points each, means. Smoothness: tokens changed "
        "from a point to the next; all changes over the tokens in which the ends differ (1 goes straight); the largest "
        "change over the mean (1 is even). Of the points between the ends: notes that begin, and nats a step, exact "
        f"under “{chain}” and a lower bound under “{vae}”, which did not decode the paths. Held-out phrases themselves "
        f"have {themselves}. {ERRORS}"
    )
    average = means(values, melodies).rename_axis("path")
    report.table("paths", average, caption=text)
    table = gaps(values, judges, melodies, pairs)
    text = (
        "Latent less blended paths, pair by pair, nats a step between the ends. The most probable tokens one after "
        "another are what densities like better than what was played; drawn ones have the noise of rows, so that "
        f"theirs is the stricter test. {ERRORS} Those by phrase leave out a phrase at a time."
    )
    report.table("gaps", table, caption=text)
    report.summary += f" {answer(table, average['notes'], chain)}"


def answer(table: pd.DataFrame, notes: Mapping[str, float], chain: str) -> str:
    """How much more probable than mixed tokens points between phrases are under the chain, and than each blending."""

    def beside(path: str) -> str:
        line, apart = table.loc[(path, MIXED)], table.loc[path, f"{chain} / se"]
        more = f"{abs(line[chain]):.3f} nats a step {'more' if line[chain] > 0 else 'less'}"
        return (
            f"{more} (se {line[f'{chain} se']:.3f}; {(apart > CLEAR).sum()} of {len(apart)} ways to blend are more "
            f"than {CLEAR} se below), with {notes[path]:.1f} notes for {notes[MIXED]:.1f}"
        )

    return (
        f"Under the {chain}, points decoded between two phrases have, beside blended tokens, {beside(TYPICAL)}; "
        f"phrases drawn there have {beside(DRAWN)}."
    )
