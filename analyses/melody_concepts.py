"""What a code keeps of a phrase, and how many notes more the concept vector of many notes makes of it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from melody_measures import jackknife
from melody_paths import PITCHES, decoded_tokens, notes_begun

from ppl_models.datasets import Dataset
from ppl_models.evaluation import ConceptVector, concept_vector
from ppl_models.families import SequenceVAE
from ppl_models.inference import encode

STRENGTHS = (-2, -1, 0, 1, 2)
Tokens = Int[np.ndarray, "rows steps"]
Titles = Shaped[np.ndarray, " rows"]


@dataclass(frozen=True)
class Phrases:
    """Phrases as tokens, places in the vocabulary, with their codes and the titles of their melodies."""

    tokens: Int[np.ndarray, "rows steps"]
    codes: Float[np.ndarray, "rows latent"]
    titles: Shaped[np.ndarray, " rows"]


def phrases_of(family: SequenceVAE, rows: Dataset) -> Phrases:
    """Prepared phrases, encoded."""
    titles = rows.names.get_level_values("title").to_numpy()
    return Phrases(rows.values.long().numpy(), encode(family, rows).to_numpy(), titles)


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
