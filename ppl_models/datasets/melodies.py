"""Melodies as rows: typed by note and length, transposed to no sharps or flats, cut into phrases of two bars.

The text of a melody has its bars set apart by ``|`` and its notes by blanks, ``"C4:4 E4:4 G4:8 | hold:8 rest:8"``. A
note is a pitch, ``rest`` or ``hold`` (the one before goes on over the bar line), a colon, and a length in sixteenths.

- Every bar must add up to its metre. A first bar that is shorter is a pickup, which the last bar makes up for.
  Messages number the bars as they are typed, from 1.
- Metres are 2/4 and 4/4 (2/2 too): two bars of 2/4 are one bar of 16 steps. Bars of 12 sixteenths, as in 3/4 and 6/8,
  do not fill 16 steps and are refused rather than padded.
- A melody is moved to the key without sharps and flats (C major, A minor, D dorian), by the octave that puts the middle
  of its compass nearest to the middle of the range, G3 to A5.
- Phrases begin at bar lines and do not overlap. The pickup is put behind the last bar, as strophes follow one another;
  bars that fill no phrase at the end are left out. A note that is held into a phrase begins anew in it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ppl_models.datasets.notes import (
    ACCIDENTALS,
    HIGHEST,
    HOLD,
    LETTERS,
    LOWEST,
    OCTAVE,
    REST,
    STEPS_PER_BAR,
    VOCABULARY,
    pitch_name,
    pitch_number,
    require_range,
    require_tokens,
)
from ppl_models.datasets.schema import Column, Schema
from ppl_models.datasets.splits import Split, split
from ppl_models.datasets.table import refuse_cells
from ppl_models.errors import InputError

BARS = 2  # in a phrase
STEPS = BARS * STEPS_PER_BAR
STEP_NAMES = tuple(f"step_{step:02d}" for step in range(1, STEPS + 1))
METRES = {"2/4": 8, "2/2": 16, "4/4": 16}  # sixteenths in a bar
MODES = {"major": 0, "minor": 9, "dorian": 2}  # the tonic of the mode where there are no sharps and flats
COLUMNS = ("title", "key", "metre", "notes")
INDEX = ["title", "bar"]


def phrase_schema() -> Schema:
    """The schema of phrases: a sequence of 32 steps over one vocabulary."""
    return Schema(tuple(Column(name, "categorical", VOCABULARY) for name in STEP_NAMES), sequence=True)


def melody_phrases(melodies: pd.DataFrame) -> pd.DataFrame:
    """Cut a table of melodies into phrases of two bars.

    Args:
        melodies: a melody a row, with the columns title, key ("G major"), metre ("4/4") and notes.

    Returns:
        A phrase a row, columns ``step_01`` to ``step_32``, tokens as categories; the index is the title and the number
        of the phrase's first bar of 16 sixteenths, from 1.

    Raises:
        InputError: a column is missing or a title is there twice, a melody is empty, a key, a metre or a note is
            unknown, a bar does not add up to its metre, or a note is outside the range; melody and bar are named.

    >>> tune = {"title": "Scale", "key": "G major", "metre": "4/4", "notes": "G4:4 A4:4 B4:4 C5:4 | D5:16"}
    >>> melody_phrases(pd.DataFrame([tune])).iloc[0, [0, 1, 4, 16]].tolist()
    ['C4', 'hold', 'D4', 'G4']
    """
    missing = [name for name in COLUMNS if name not in melodies]
    if missing:
        raise InputError(f"melodies: no column {missing[0]!r}; the columns are {', '.join(map(str, melodies))}")
    for name in COLUMNS:
        written = melodies[name].map(lambda cell: isinstance(cell, str))
        refuse_cells(~written.astype(bool), melodies[name], f"melodies: column {name!r}", "text")
    twice = melodies["title"][melodies["title"].duplicated()]
    if len(twice):
        raise InputError(f"melodies: expected each title once, got {twice.iloc[0]!r} twice")
    tunes = melodies[list(COLUMNS)].itertuples(index=False)
    return phrase_frame({one.title: melody_tokens(one.notes, one.key, one.metre, title=one.title) for one in tunes})


def melody_tokens(notes: str, key: str, metre: str, *, title: str = "melody") -> list[str]:
    """A melody's tokens, transposed, its pickup behind its last bar.

    Args:
        notes: its text.
        key: tonic and mode, such as "Eb major"; modes are major, minor and dorian.
        metre: 2/4, 2/2 or 4/4.
        title: what messages begin with.

    Raises:
        InputError: as ``melody_phrases`` says.

    >>> melody_tokens("A4:2 | G4:8 E4:8 | D4:14", "C major", "4/4")[-3:]
    ['hold', 'A4', 'hold']
    """
    bars, pickup = _bars(notes, metre, title)
    steps = [step for bar in bars for step in bar]
    shift = _shift(steps, key, title)
    tokens = []
    for number, bar in enumerate(bars, 1):
        for step in bar:
            if isinstance(step, int):
                require_range(step + shift, where=f"{title}, bar {number}, in C")
            tokens.append(pitch_name(step + shift) if isinstance(step, int) else step)
    return tokens[pickup:] + tokens[:pickup]


def phrase_frame(melodies: dict[str, Sequence[str]]) -> pd.DataFrame:
    """Cut melodies of whole bars into phrases of two.

    Args:
        melodies: tokens by title, from the first step of a bar; what fills no phrase at the end is left out.

    Returns:
        A phrase a row, as ``melody_phrases`` gives it.

    Raises:
        InputError: a melody is empty or has an unknown token, or none is as long as a phrase.

    >>> phrase_frame({"one note": ["C4"] + ["hold"] * 40}).index.tolist()
    [('one note', 1)]
    """
    names, rows = [], []
    for title, tokens in melodies.items():
        require_tokens(tokens, where=title)
        sounding = REST
        for first in range(0, len(tokens) - STEPS + 1, STEPS):
            phrase = list(tokens[first : first + STEPS])
            if phrase[0] == HOLD:
                phrase[0] = sounding
            sounding = next((token for token in reversed(phrase) if token != HOLD), sounding)
            names.append((title, first // STEPS_PER_BAR + 1))
            rows.append(phrase)
    if not rows:
        raise InputError(f"melodies: expected one of {STEPS} steps or more, got {len(melodies)} that are shorter")
    codes = pd.Categorical(np.ravel(rows), categories=list(VOCABULARY)).codes.reshape(len(rows), STEPS)
    index = pd.MultiIndex.from_tuples(names, names=INDEX)
    columns = zip(phrase_schema().columns, codes.T, strict=True)
    return pd.DataFrame({column.name: column.from_codes(code) for column, code in columns}, index)


def phrase_tokens(phrases: pd.DataFrame) -> list[list[str]]:
    """The tokens of each phrase, of a table or of rows that a model drew.

    Raises:
        InputError: a step is missing or has no column.

    >>> tune = {"title": "Rest", "key": "C major", "metre": "2/4", "notes": "C4:8 | rest:8 | rest:8 | rest:8"}
    >>> phrase_tokens(melody_phrases(pd.DataFrame([tune])))[0][7:9]
    ['hold', 'rest']
    """
    absent = [name for name in STEP_NAMES if name not in phrases]
    if absent:
        raise InputError(f"phrases: no column {absent[0]!r}; the columns are {', '.join(map(str, phrases))}")
    tokens = phrases[list(STEP_NAMES)].astype(object)
    for row, name in np.argwhere(tokens.isna().to_numpy()):
        raise InputError(f"phrases: column {STEP_NAMES[name]!r}, row {row + 1}: expected a token, got a missing cell")
    return tokens.to_numpy().tolist()


def split_by_melody(phrases: pd.DataFrame, *, seed: int, validation: float = 0.15, test: float = 0.25) -> Split:
    """Divide phrases at random, all phrases of a melody into one part.

    Args:
        phrases: with the titles in their index.
        seed: the seed of the draw.
        validation: share of the melodies for validation, from 0 to 1.
        test: share of the melodies for testing, from 0 to 1.

    Raises:
        InputError: the index has no titles, or what ``split`` refuses.
    """
    if INDEX[0] not in phrases.index.names:
        raise InputError(f"split_by_melody: expected {INDEX[0]!r} in the index, got {list(phrases.index.names)}")
    titles = phrases.index.get_level_values(INDEX[0])
    parts = split(titles.unique().to_frame(), seed=seed, validation=validation, test=test)
    chosen = (phrases[titles.isin(part.index)] for part in (parts.train, parts.validation, parts.test))
    return Split(*chosen)


def _bars(notes: str, metre: str, title: str) -> tuple[list[list[int | str]], int]:
    """The steps of each bar, pitches as numbers, and how many of them are a pickup."""
    if metre not in METRES:
        raise InputError(
            f"{title}: expected a metre of {', '.join(METRES)}, whose bars fill {STEPS_PER_BAR} sixteenth steps, "
            f"got {metre!r}"
        )
    if not notes.strip():
        raise InputError(f"{title}: expected notes such as 'C4:4 | G4:8', got an empty melody")
    bars = [list(_steps(bar, f"{title}, bar {number}")) for number, bar in enumerate(notes.split("|"), 1)]
    full = METRES[metre]
    pickup = len(bars[0]) if len(bars[0]) < full and len(bars) > 1 else 0
    wanted = [pickup or full, *[full] * (len(bars) - 2), full - pickup][: len(bars)]
    for number, (bar, steps) in enumerate(zip(bars, wanted, strict=True), 1):
        if len(bar) != steps:
            less = f" less the {pickup} of the pickup" if steps == full - pickup != full else ""
            raise InputError(f"{title}, bar {number}: expected {steps} sixteenths, {metre}{less}, got {len(bar)}")
    return bars, pickup


def _steps(bar: str, where: str) -> Iterator[int | str]:
    """The steps of one bar, a number where a pitch begins."""
    for note in bar.split():
        name, _, length = note.partition(":")
        if not length.isdecimal() or not int(length):
            raise InputError(f"{where}: expected a note and its sixteenths as in C4:4, got {note!r}")
        try:
            first = name if name in (REST, HOLD) else pitch_number(name)
        except InputError:
            raise InputError(f"{where}: expected {REST}, {HOLD} or a pitch as in C4 or Bb3, got {name!r}") from None
        yield first
        yield from [REST if first == REST else HOLD] * (int(length) - 1)


def _shift(steps: Sequence[int | str], key: str, title: str) -> int:
    """By how many semitones a melody moves."""
    tonic, _, mode = key.partition(" ")
    if mode not in MODES or tonic[:1] not in LETTERS or tonic[1:] not in ACCIDENTALS:
        raise InputError(f"{title}: expected a key such as 'Eb major' ({', '.join(MODES)}), got {key!r}")
    home = MODES[mode] - LETTERS[tonic[0]] - ACCIDENTALS[tonic[1:]]
    pitches = [step for step in steps if isinstance(step, int)]
    return nearest_shift(pitches, home, where=title)


def nearest_shift(pitches: Sequence[int], shift: int, *, where: str) -> int:
    """The shift by whole octaves more or less that puts the middle of a compass nearest to the middle of the range.

    Args:
        pitches: MIDI numbers.
        shift: semitones; of two that are as near the lower is taken.
        where: what messages begin with.

    Raises:
        InputError: there is no pitch.

    >>> nearest_shift([48, 60], -1, where="melody")
    11
    """
    if not len(pitches):
        raise InputError(f"{where}: expected a note that sounds, got rests alone")
    away = (LOWEST + HIGHEST) / 2 - (min(pitches) + max(pitches)) / 2  # so far from the middle of the range
    return int(shift + OCTAVE * np.ceil((away - shift) / OCTAVE - 0.5))
