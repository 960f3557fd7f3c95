"""What a code keeps of a phrase, and how many notes more the concept vector of many notes makes of it."""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from melody_measures import ERRORS, jackknife
from melody_paths import PITCHES, decoded_tokens, notes_begun
from melody_phrases import Phrases

from ppl_models import Report
from ppl_models.evaluation import ConceptVector, concept_vector
from ppl_models.families import SequenceVAE

STRENGTHS = (-2, -1, 0, 1, 2)
Tokens = Int[np.ndarray, "rows steps"]
Titles = Shaped[np.ndarray, " rows"]


def kept(family: SequenceVAE, codes: Float[np.ndarray, "rows latent"], tokens: Tokens, titles: Titles) -> pd.DataFrame:
    """Shares of steps, and of the steps where a note begins, that come back: of the own code, another's, and the mean.

    Another's is the code of the row half a table further on.
    """
    others = np.roll(codes, len(codes) // 2, axis=0)
    told = {"its own": codes, "another phrase's": others, "the prior's mean": np.zeros_like(codes)}
    begins, lines = tokens >= PITCHES, {}
    sung = begins.any(1)
    for name, some in told.items():
        right = decoded_tokens(family, some) == tokens
        notes = (right & begins)[sung].sum(1) / begins[sung].sum(1)
        lines[name] = [*jackknife(right.mean(1), titles[:, None]), *jackknife(notes, titles[sung, None])]
    return pd.DataFrame(lines, ["steps", "steps se", "notes", "notes se"]).T.rename_axis("code")


def many_notes(
    codes: Float[np.ndarray, "rows latent"], tokens: Tokens, titles: Titles, *, seed: int
) -> tuple[ConceptVector, float]:
    """The direction from the third of phrases with the fewest notes to the third with the most, and how many apart."""
    counts = notes_begun(tokens)
    low, high = np.quantile(counts, [1 / 3, 2 / 3])
    ends, many = (counts <= low) | (counts >= high), counts >= high
    found = concept_vector(codes[ends], many[ends], groups=titles[ends], seed=seed)
    return found, float(counts[many].mean() - counts[ends & ~many].mean())


def moved(
    family: SequenceVAE, concept: ConceptVector, codes: Float[np.ndarray, "rows latent"], titles: Titles
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Notes begun in what is decoded with the concept added so often; and the change a unit, with its error."""
    each = {by: notes_begun(decoded_tokens(family, concept.apply(codes, strength=by))) for by in STRENGTHS}
    lines = {by: [*jackknife(n, titles[:, None]), *jackknife(n - each[0], titles[:, None])] for by, n in each.items()}
    table = pd.DataFrame(lines, ["notes", "se", "change", "change se"]).T
    table.index = pd.Index([f"{by:+d}" for by in STRENGTHS], name="strength")
    return table, jackknife((each[1] - each[-1]) / 2, titles[:, None])


def kept_section(report: Report, family: SequenceVAE, phrases: Phrases) -> None:
    """Add how much of held-out phrases comes back from their codes."""
    table = kept(family, phrases.codes, phrases.tokens, phrases.titles)
    text = (
        "Share of a held-out phrase's steps whose token comes back when a code is decoded, and of those where a note "
    )
    text += "begins: its own code, another held-out phrase's, and the prior's mean, which is told nothing of it. "
    report.table("reconstruction", table, caption=text + ERRORS)
    own = table.iloc[0]
    report.summary += (
        f" Decoded from its code a phrase has {own['steps']:.1%} of its steps back (se {own['steps se']:.1%})."
    )
