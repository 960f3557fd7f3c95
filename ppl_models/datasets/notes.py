"""Notes as tokens: at each sixteenth step of a melody a pitch begins, is held, or there is a rest.

Pitches are named by letter, accidental and octave, C4 the middle C (Young 1939, Terminology for logarithmic frequency
units, https://doi.org/10.1121/1.1916017), and numbered as in MIDI, C4 = 60.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ppl_models.errors import InputError

REST, HOLD = "rest", "hold"
STEPS_PER_BAR, STEPS_PER_QUARTER = 16, 4
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"": 0, "#": 1, "b": -1}
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
OCTAVE = len(NAMES)
PITCH = re.compile(r"([A-G])([#b]?)(-?\d)")


def pitch_name(number: int) -> str:
    """The name of a MIDI number, black keys as sharps.

    >>> pitch_name(60), pitch_name(70)
    ('C4', 'A#4')
    """
    return f"{NAMES[number % OCTAVE]}{number // OCTAVE - 1}"


def pitch_number(name: str) -> int:
    """The MIDI number of a pitch by its name.

    Args:
        name: a letter, a sharp (#) or a flat (b) or neither, and the octave.

    Raises:
        InputError: the name is no pitch.

    >>> pitch_number("C4"), pitch_number("Bb4")
    (60, 70)
    """
    found = PITCH.fullmatch(name)
    if found is None:
        raise InputError(f"pitch: expected a name such as C4, F#4 or Bb3, got {name!r}")
    letter, accidental, octave = found.groups()
    return LETTERS[letter] + ACCIDENTALS[accidental] + OCTAVE * (int(octave) + 1)


LOWEST, HIGHEST = pitch_number("G3"), pitch_number("A5")
PITCHES = tuple(pitch_name(number) for number in range(LOWEST, HIGHEST + 1))
VOCABULARY = (REST, HOLD, *PITCHES)


@dataclass(frozen=True)
class Note:
    """One note: its first step, how many steps it lasts, and its MIDI number.

    >>> Note(start=0, steps=4, pitch=60).end
    4
    """

    start: int
    steps: int
    pitch: int

    @property
    def end(self) -> int:
        """The step after its last."""
        return self.start + self.steps


def notes_of(tokens: Sequence[str], *, where: str = "melody") -> list[Note]:
    """The notes that tokens spell; a hold with no note before it, or after a rest, holds nothing and is a rest.

    Args:
        tokens: one a step, of ``VOCABULARY``.
        where: what messages begin with.

    Raises:
        InputError: there are no tokens, or one is not of the vocabulary.

    >>> notes_of(["C4", "hold", "rest", "E4"])
    [Note(start=0, steps=2, pitch=60), Note(start=3, steps=1, pitch=64)]
    """
    require_tokens(tokens, where=where)
    # Each stretch begins at a token that is no hold, and lasts to the next one.
    starts = [step for step, token in enumerate(tokens) if token != HOLD]
    return [
        Note(start, end - start, pitch_number(tokens[start]))
        for start, end in pairwise([*starts, len(tokens)])
        if tokens[start] != REST
    ]


def tokens_of(notes: Iterable[Note], *, steps: int, where: str = "melody") -> list[str]:
    """The tokens that spell notes, rests between them: what ``notes_of`` reads.

    Args:
        notes: one voice, in any order.
        steps: how many tokens there are to be.
        where: what messages begin with.

    Raises:
        InputError: a note is outside the range or the steps, or sounds together with another.

    >>> tokens_of([Note(0, 2, 60), Note(3, 1, 64)], steps=4)
    ['C4', 'hold', 'rest', 'E4']
    """
    tokens = [REST] * steps
    free = 0
    for note in sorted(notes, key=lambda note: note.start):
        if note.start < free or note.steps < 1 or note.end > steps:
            raise InputError(
                f"{where}: expected one note at a time within {steps} steps, got {pitch_name(note.pitch)} from step "
                f"{note.start + 1} to {note.end} where step {free + 1} is the first that is free"
            )
        require_range(note.pitch, where=f"{where}, step {note.start + 1}")
        tokens[note.start : note.end] = [pitch_name(note.pitch), *[HOLD] * (note.steps - 1)]
        free = note.end
    return tokens


def require_tokens(tokens: Sequence[str], *, where: str) -> None:
    """Refuse an empty melody and a token that is not of the vocabulary.

    Raises:
        InputError: there are no tokens, or one is not of the vocabulary; it is named by its step from 1.
    """
    if not len(tokens):
        raise InputError(f"{where}: expected one or more steps, got an empty melody")
    for step, token in enumerate(tokens, 1):
        if token not in VOCABULARY:
            raise InputError(
                f"{where}, step {step}: expected {REST}, {HOLD} or a pitch from {PITCHES[0]} to {PITCHES[-1]} "
                f"as in C4 or F#4, got {token!r}"
            )


def require_range(pitch: int, *, where: str) -> None:
    """Refuse a pitch that has no token.

    Raises:
        InputError: the pitch is below or above those of the vocabulary.
    """
    if not LOWEST <= pitch <= HIGHEST:
        raise InputError(
            f"{where}: expected a pitch from {PITCHES[0]} to {PITCHES[-1]}, got {pitch_name(pitch)}, "
            f"which is outside the range"
        )
