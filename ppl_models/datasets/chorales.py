"""The soprano lines of Bach's chorales as phrases, from a file that is not shipped.

The file (npz) has four voices in sixteenth steps: ``train_notes`` (steps, 4) MIDI numbers, soprano first, a negative
number for a rest, the chorales one after another, and ``train_lengths``, how many steps each has; so ``valid_`` and
``test_``. It tells pitches and no attacks, bar lines or keys, hence three rules:

- a pitch that stays is held: a note that is struck again reads as one long note;
- the steps beyond the last whole bar of 16 are the pickup, which is left out: long notes then begin on the first and
  third beat. Chorales in 3/4 are cut by sixteenths like the others;
- a chorale is moved to the key in which its four voices have the fewest black keys.
"""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from ppl_models.datasets.idx import unpacked
from ppl_models.datasets.melodies import nearest_shift, phrase_frame
from ppl_models.datasets.notes import HOLD, LETTERS, LOWEST, OCTAVE, PITCHES, REST, STEPS_PER_BAR, require_range
from ppl_models.datasets.splits import Split
from ppl_models.errors import InputError

PARTS = ("train", "valid", "test")
VOICES = 4
WHITE_KEYS = np.isin(np.arange(OCTAVE), list(LETTERS.values()))


def read_chorales(path: str | Path) -> Split:
    """Read the soprano lines of chorales as phrases of two bars; no chorale is in two of the three parts.

    Args:
        path: the npz file.

    Returns:
        Its own three parts, each a frame as ``melody_phrases`` gives it, titled "train 1", "train 2", ...

    Raises:
        InputError: there is no such file, it lacks an array or has one of another shape, the lengths do not add up to
            the steps, or a soprano is outside the range or rests throughout.
    """
    content = unpacked(path, wanted="chorales")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise InputError(f"{path}: could not be read as npz: {' '.join(str(problem).split())}") from problem
    return Split(*(_part(held, part, path) for part in PARTS))


def _part(held: dict[str, np.ndarray], part: str, path: str | Path) -> pd.DataFrame:
    """The phrases of one part."""
    notes, lengths = (_whole_numbers(held, f"{part}_{name}", path) for name in ("notes", "lengths"))
    if notes.ndim != 2 or notes.shape[1] != VOICES or lengths.ndim != 1 or lengths.sum() != len(notes):
        raise InputError(
            f"{path}: expected {part}_notes (steps, {VOICES}) and {part}_lengths that add up to the steps, "
            f"got shapes {notes.shape} and {lengths.shape} and {lengths.sum()} steps"
        )
    chorales = np.split(notes, np.cumsum(lengths)[:-1])
    return phrase_frame(
        {f"{part} {place}": _soprano(voices, f"{path}: {part} {place}") for place, voices in enumerate(chorales, 1)}
    )


def _whole_numbers(held: dict[str, np.ndarray], name: str, path: str | Path) -> np.ndarray:
    """One array of the file."""
    if name not in held or held[name].dtype.kind not in "iu":
        found = f"{held[name].dtype} cells" if name in held else f"the arrays {', '.join(held) or 'none'}"
        raise InputError(f"{path}: expected whole numbers as {name!r}, got {found}")
    return held[name].astype(np.int64)


def _soprano(voices: Int[np.ndarray, "steps voices"], where: str) -> list[str]:
    """The tokens of the first voice, without its pickup."""
    line, pickup = voices[:, 0], len(voices) % STEPS_PER_BAR
    counts = np.bincount(voices[voices >= 0] % OCTAVE, minlength=OCTAVE)
    white = [counts[np.roll(WHITE_KEYS, -up)].sum() for up in range(OCTAVE)]
    sounding = line[line >= 0]
    shift = nearest_shift(sounding.tolist(), int(np.argmax(white)), where=where)
    for pitch in (sounding.min(), sounding.max()):
        require_range(int(pitch) + shift, where=where)
    begins = np.append(True, line[1:] != line[:-1])
    begins[pickup] = True  # of a note that the pickup holds into the first bar
    pitches = np.array([REST, *PITCHES])[np.where(line < 0, 0, line + shift - LOWEST + 1)]
    return np.where(begins | (line < 0), pitches, HOLD)[pickup:].tolist()
