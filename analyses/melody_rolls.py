"""Phrases to see and to hear: rebuilt, drawn, walked between and moved, each a piano roll and a MIDI file."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from melody_paths import decoded_tokens

from ppl_models import Report, sample
from ppl_models.datasets import phrase_tokens
from ppl_models.datasets.notes import VOCABULARY
from ppl_models.evaluation import ConceptVector
from ppl_models.families import Family, SequenceVAE
from ppl_models.reports import melodies_section

SHOWN, STRENGTHS = 3, (-1, 0, 1)
Codes = Float[np.ndarray, "rows latent"]


def phrase_rolls(
    report: Report, family: SequenceVAE, tokens: Int[np.ndarray, "rows steps"], codes: Codes, names: pd.Index
) -> None:
    """Add some held-out phrases, each beside what its code is decoded to."""
    some = np.linspace(0, len(tokens) - 1, SHOWN).astype(int)
    both = np.stack([tokens[some], decoded_tokens(family, codes[some])], 1)
    melodies = _named(both, _titles(names[some]), ("held out", "decoded"))
    melodies_section(report, melodies, caption="Held-out phrases, and what their codes are decoded to.", name="phrases")


def path_rolls(report: Report, paths: Mapping[str, Int[np.ndarray, "points steps"]], ends: pd.Index) -> None:
    """Add a path of each kind between the same two phrases."""
    for number, (name, path) in enumerate(paths.items(), 1):
        points = [f"point {point}" for point in range(1, len(path) + 1)]
        text = f"From {' to '.join(_titles(ends))}: {name}."
        melodies_section(report, _named(path[None], [name], points), caption=text, name=f"path-{number}", path=True)


def drawn_rolls(report: Report, families: Mapping[str, Family], *, seed: int) -> None:
    """Add phrases drawn from some models."""
    for number, (name, family) in enumerate(families.items(), 1):
        tokens = phrase_tokens(sample(family, SHOWN, seed=seed))
        melodies = {f"{name}, draw {draw}": each for draw, each in enumerate(tokens, 1)}
        melodies_section(report, melodies, caption=f"Drawn from “{name}”.", name=f"samples-{number}")


def concept_rolls(report: Report, family: SequenceVAE, concept: ConceptVector, codes: Codes, names: pd.Index) -> None:
    """Add some held-out phrases with fewer notes, as they are, and with more."""
    some = np.linspace(0, len(codes) - 1, SHOWN).astype(int)
    moved = np.stack([decoded_tokens(family, concept.apply(codes[some], strength=by)) for by in STRENGTHS], 1)
    melodies = _named(moved, _titles(names[some]), [f"strength {by}" for by in STRENGTHS])
    text = "Held-out phrases decoded with the vector of many notes taken away, as they are, and with it added."
    melodies_section(report, melodies, caption=text, name="concept")


def _named(
    tokens: Int[np.ndarray, "titles kinds steps"], titles: Iterable[str], kinds: Iterable[str]
) -> dict[str, list[str]]:
    """Tokens by their names, phrases by title and kind."""
    names = [f"{title}, {kind}" for title in titles for kind in kinds]
    return dict(zip(names, np.array(VOCABULARY)[tokens].reshape(len(names), -1).tolist(), strict=True))


def _titles(names: pd.Index) -> list[str]:
    """The melody and the first bar of each phrase."""
    return [f"{title}, bar {bar}" for title, bar in names]
