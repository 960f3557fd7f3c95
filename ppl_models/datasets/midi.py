"""Melodies as MIDI files, written and read by mido, which is optional: ``pip install 'ppl_models[music]'``.

A file has one track, a sixteenth is 120 ticks, and phrases follow one another, each begun by a marker with its title,
so that a path of nine phrases is one file that a player plays in order and that is read back as nine phrases.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from ppl_models.datasets.notes import STEPS_PER_BAR, STEPS_PER_QUARTER, Note, notes_of, tokens_of
from ppl_models.errors import InputError

TEMPO = 100  # quarter notes a minute
TICKS = 120  # in a step
SLOWEST, FASTEST = 4, 1000  # quarter notes a minute that a MIDI file can say, and that make sense
VELOCITY = 80
CHARSET = "utf-8"
ASYNCHRONOUS = 2  # a type of file whose tracks have no common time


def midi_bytes(melodies: Mapping[str, Sequence[str]], *, tempo: int = TEMPO) -> bytes:
    """The MIDI file of some melodies, one after another.

    Args:
        melodies: tokens by title; a hold that holds nothing is a rest.
        tempo: quarter notes a minute, from 4 to 1,000.

    Raises:
        InputError: there is no melody, one is empty or has an unknown token, the tempo is outside, or mido is absent.
    """
    mido = _mido()
    require_tempo(tempo)
    if not melodies:
        raise InputError("midi: expected one or more melodies, got none")
    track, at, start = mido.MidiTrack(), 0, 0
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
    for title, tokens in melodies.items():
        events = [(start, mido.MetaMessage("marker", text=title))]
        for note in notes_of(tokens, where=title):
            events.append((start + note.start, mido.Message("note_on", note=note.pitch, velocity=VELOCITY)))
            events.append((start + note.end, mido.Message("note_off", note=note.pitch)))
        for step, message in events:
            track.append(message.copy(time=TICKS * (step - at)))
            at = step
        start += len(tokens)
    track.append(mido.MetaMessage("end_of_track", time=TICKS * (start - at)))
    content = io.BytesIO()
    mido.MidiFile(type=0, ticks_per_beat=TICKS * STEPS_PER_QUARTER, tracks=[track], charset=CHARSET).save(file=content)
    return content.getvalue()


def write_midi(path: str | Path, melodies: Mapping[str, Sequence[str]], *, tempo: int = TEMPO) -> Path:
    """Write melodies, one after another, as a MIDI file.

    Args:
        path: the file.
        melodies: tokens by title.
        tempo: quarter notes a minute.

    Raises:
        InputError: what ``midi_bytes`` refuses, or the file cannot be written.
    """
    content = midi_bytes(melodies, tempo=tempo)
    try:
        Path(path).write_bytes(content)
    except OSError as problem:
        raise InputError(f"{path}: expected a file that can be written, got {problem}") from problem
    return Path(path)


def read_midi(path: str | Path) -> dict[str, list[str]]:
    """Read the melodies of a MIDI file of one voice.

    Args:
        path: the file; markers set its melodies apart, and without one all of it is a melody of the file's name.

    Returns:
        Tokens by title, whole bars of 16 sixteenths where the file ends within one.

    Raises:
        InputError: there is no such file, it is no MIDI file, is empty, has two notes at a time, a note that is
            outside the range or between the sixteenths, or a title twice, or mido is absent.
    """
    mido = _mido()
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a MIDI file, found {'a folder' if path.is_dir() else 'none'}")
    try:
        file = mido.MidiFile(path, charset=CHARSET)
    except (OSError, EOFError, ValueError, LookupError) as problem:
        raise InputError(f"{path}: could not be read as MIDI: {problem}") from problem
    if file.type == ASYNCHRONOUS or file.ticks_per_beat < 1:
        raise InputError(f"{path}: expected tracks of one time in ticks a quarter note, got a file of type {file.type}")
    starts, notes, end = _events(file, path)
    if not starts or starts[0][0] > 0:
        starts.insert(0, (0, path.stem))
    ends = [step for step, _ in starts[1:]] + [end]
    melodies: dict[str, list[str]] = {}
    for (first, title), last in zip(starts, ends, strict=True):
        if title in melodies or last <= first:
            raise InputError(f"{path}: expected melodies of titles of their own, got {title!r} twice or empty")
        own = [Note(note.start - first, note.steps, note.pitch) for note in notes if first <= note.start < last]
        melodies[title] = tokens_of(own, steps=last - first, where=f"{path}: {title}")
    return melodies


def require_tempo(tempo: int) -> None:
    """Refuse a tempo that no MIDI file says.

    Raises:
        InputError: it is below 4 or above 1,000 quarter notes a minute.
    """
    if not SLOWEST <= tempo <= FASTEST:
        raise InputError(f"tempo: expected {SLOWEST} to {FASTEST:,} quarter notes a minute, got {tempo}")


def _events(file: object, path: Path) -> tuple[list[tuple[int, str]], list[Note], int]:
    """The markers with their steps, the notes, and the step at which the file ends."""
    starts, notes, begun, ticks = [], [], {}, 0
    step = file.ticks_per_beat / STEPS_PER_QUARTER
    for message in file.merged_track:
        ticks += message.time
        if message.type == "marker":
            starts.append((_step(ticks / step, path), message.text))
        elif message.type == "note_on" and message.velocity:
            if message.note in begun:
                raise InputError(f"{path}: expected one note at a time, got {message.note} twice")
            begun[message.note] = _step(ticks / step, path)
        elif message.type in ("note_on", "note_off") and message.note in begun:
            start = begun.pop(message.note)
            notes.append(Note(start, _step(ticks / step, path) - start, message.note))
    if begun:
        raise InputError(f"{path}: expected every note to end, got {len(begun)} that do not")
    end = _step(ticks / step, path)
    return starts, notes, end if starts else -(-end // STEPS_PER_BAR) * STEPS_PER_BAR


def _step(place: float, path: Path) -> int:
    """A place in sixteenths that is a whole one."""
    if place != round(place):
        raise InputError(f"{path}: expected notes on sixteenths, got one at {place:.6g} sixteenths")
    return round(place)


def _mido() -> ModuleType:
    """mido, an optional extra."""
    try:
        import mido  # noqa: PLC0415
    except ImportError as problem:
        raise InputError("a MIDI file needs mido, which is not installed: pip install 'ppl_models[music]'") from problem
    return mido
