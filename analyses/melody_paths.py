"""Paths between phrases, in nine steps: through a VAE's latent space, and by blending the notes themselves.

The notes are blended in three ways. **tokens**: step after step, in random order, changes over from the one phrase's
token to the other's, so that at a share t of the way each is the other's with probability t (the baseline of Roberts,
Engel, Raffel, Hawthorne and Eck 2018, https://arxiv.org/abs/1803.05428). **pitches**: the rhythm is that of the nearer
phrase, and each note has the weighted mean of the two pitches that sound where it begins, rounded to a semitone.
**medley**: the first phrase up to a beat and from there on the other, both as they stand, with one seam.
"""

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from melody_phrases import sounding

from ppl_models.datasets.melodies import STEPS
from ppl_models.datasets.notes import HOLD, VOCABULARY
from ppl_models.distributions import seeded
from ppl_models.evaluation import interpolate
from ppl_models.families import SequenceVAE
from ppl_models.inference.decoded import draw_rows
from ppl_models.inference.latent import codes_of, typical_rows

POINTS, HELD, PITCHES, ROUNDS = 9, VOCABULARY.index(HOLD), 2, 500  # pitches stand behind rest and hold
AT = np.linspace(0, 1, POINTS)[:, None]  # shares of the second phrase
TYPICAL, TURNED, DRAWN = "latent, linear", "latent, spherical", "latent, linear, drawn"
MIXED, AVERAGED, MEDLEY = "blended, tokens", "blended, pitches", "blended, medley"
Codes = Float[np.ndarray, "paths latent"]
Tokens = Int[np.ndarray, "paths steps"]
Paths = Int[np.ndarray, "paths points steps"]


def pairs_of(titles: Shaped[np.ndarray, " rows"], *, count: int, seed: int) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of phrases of two melodies: all are dealt out in pairs, again and again, and no pair comes twice."""
    rows, size = np.tile(np.arange(len(titles)), (ROUNDS, 1)), len(titles) // 2 * 2
    dealt = np.random.default_rng(seed).permuted(rows, axis=1)[:, :size].reshape(-1, 2)
    other = dealt[titles[dealt[:, 0]] != titles[dealt[:, 1]]]
    _, first = np.unique(np.sort(other, axis=1), axis=0, return_index=True)
    return other[np.sort(first)[:count]]


def blended(first: Tokens, last: Tokens, *, seed: int) -> dict[str, Paths]:
    """The paths from phrases to phrases, tokens as places in the vocabulary, by the name of the blending."""
    first, last = first[:, None], last[:, None]
    turn = np.random.default_rng(seed).random(first.shape)
    near, sounds = np.where(AT <= 0.5, first, last), [sounding(each, each == HELD) for each in (first, last)]
    both, mean = np.minimum(*sounds) >= PITCHES, (1 - AT) * sounds[0] + AT * sounds[1]
    return {
        MIXED: np.where(turn < AT, last, first),
        AVERAGED: np.where((near >= PITCHES) & both, np.floor(mean + 0.5).astype(int), near),
        MEDLEY: np.where(np.arange(STEPS) < STEPS * (1 - AT), first, last),
    }


def decoded(family: SequenceVAE, start: Codes, end: Codes, *, seed: int) -> dict[str, Paths]:
    """The paths of codes: the typical rows along lines and along great circles, and a row drawn at each point."""
    lines = interpolate(start, end, steps=POINTS, kind="linear")
    circles = interpolate(start, end, steps=POINTS, kind="spherical")
    with seeded(seed), torch.no_grad():
        drawn = draw_rows(family, codes_of(family, lines)).long().numpy()
    typical = {
        name: decoded_tokens(family, codes.reshape(-1, family.latent))
        for name, codes in ((TYPICAL, lines), (TURNED, circles))
    }
    return {name: tokens.reshape(drawn.shape) for name, tokens in typical.items()} | {DRAWN: drawn}


def decoded_tokens(family: SequenceVAE, codes: Float[np.ndarray, "rows latent"]) -> Int[np.ndarray, "rows steps"]:
    """The most probable tokens at codes, one after another."""
    return typical_rows(family, codes_of(family, codes)).long().numpy()


def notes_begun(tokens: Int[np.ndarray, "*batch steps"]) -> Int[np.ndarray, "*batch"]:
    """How many notes begin."""
    return (tokens >= PITCHES).sum(-1)
