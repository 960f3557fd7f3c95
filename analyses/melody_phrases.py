"""Phrases as the studies of melodies take them: which are new, their tokens and codes, and what each step holds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from ppl_models.datasets import Dataset, Split, phrase_tokens
from ppl_models.datasets.melodies import STEPS
from ppl_models.datasets.notes import HOLD
from ppl_models.errors import InputError
from ppl_models.families import SequenceVAE
from ppl_models.inference import encode


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


def new_phrases(frames: Split, source: str) -> pd.DataFrame:
    """Held-out phrases that no training melody has, each once.

    Raises:
        InputError: they are not of two melodies or more, between which to walk.
    """
    known = pd.MultiIndex.from_frame(frames.test).isin(pd.MultiIndex.from_frame(frames.train))
    new = frames.test[~known].drop_duplicates()
    melodies = new.index.get_level_values("title").nunique()
    if melodies < 2:
        raise InputError(f"{source}: expected held-out phrases that are new, of two melodies or more, got {melodies}")
    return new


def sounding_tokens(phrases: pd.DataFrame) -> list[list[str]]:
    """The tokens of each phrase, held steps by what is held, but for those before any note of the phrase."""
    tokens = np.array(phrase_tokens(phrases))
    held = sounding(tokens, tokens == HOLD)
    return np.where((tokens == HOLD) & (held != HOLD), np.char.add(held, ", held"), tokens).tolist()


def sounding(
    tokens: Shaped[np.ndarray, "*batch steps"], held: Bool[np.ndarray, "*batch steps"]
) -> Shaped[np.ndarray, "*batch steps"]:
    """The token that each step holds on to: its own, or the last one that is not held."""
    begun = np.maximum.accumulate(np.where(held, 0, np.arange(STEPS)), axis=-1)
    return np.take_along_axis(tokens, begun, axis=-1)
