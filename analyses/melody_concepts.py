"""How many notes more the concept vector of many notes makes of a phrase."""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from melody_measures import ERRORS, jackknife
from melody_paths import decoded_tokens, notes_begun
from melody_phrases import Phrases

from ppl_models import Report
from ppl_models.evaluation import ConceptVector, concept_vector
from ppl_models.families import SequenceVAE

STRENGTHS = (-2, -1, 0, 1, 2)
Tokens = Int[np.ndarray, "rows steps"]
Titles = Shaped[np.ndarray, " rows"]


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


def concept_section(
    report: Report, family: SequenceVAE, train: Phrases, held_out: Phrases, *, seed: int
) -> ConceptVector:
    """Add what the concept vector of many notes, found in training phrases, does to held-out ones."""
    concept, apart = many_notes(train.codes, train.tokens, train.titles, seed=seed)
    table, (change, error) = moved(family, concept, held_out.codes, held_out.titles)
    text = (
        "Notes begun in held-out phrases decoded with the vector of many notes added so often. It leads from the third "
        f"of training phrases with the fewest to the third with the most, {apart:.1f} notes apart; its length is "
        f"{concept.length:.2f}, bootstrap se of its coordinates {np.linalg.norm(concept.se):.2f} together, "
        f"{concept.ratio:.1f} times what chance gives (p {concept.p_value:.3f}). "
    )
    report.table("notes", table, caption=text + ERRORS)
    report.summary += f" A unit of the vector of many notes adds {change:.2f} notes (se {error:.2f})."
    return concept
