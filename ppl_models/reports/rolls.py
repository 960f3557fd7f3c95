"""Piano rolls as a part of a report: drawn in the page itself, heard on a click, and left as MIDI files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ppl_models.datasets.midi import TEMPO, midi_bytes
from ppl_models.datasets.notes import OCTAVE, STEPS_PER_BAR, STEPS_PER_QUARTER, Note, notes_of, pitch_name
from ppl_models.errors import InputError
from ppl_models.reports.parts import in_folder

NAMED = (0, 4, 7)  # the pitch classes that the axis names: C, E, G
LEAST_ROWS = OCTAVE + 1


@dataclass(frozen=True)
class Roll:
    """One melody: its title, its notes, how many steps it has, and its MIDI file."""

    title: str
    notes: tuple[Note, ...]
    steps: int
    midi: bytes

    @property
    def told(self) -> str:
        """The notes in order, for those who do not see them."""
        names = ", ".join(pitch_name(note.pitch) for note in self.notes)
        return f"Piano roll of {self.title}: {names or 'rests alone'}"

    @property
    def played(self) -> list[tuple[int, int, int]]:
        """First step, steps and MIDI number of each note, for the page's script."""
        return [(note.start, note.steps, note.pitch) for note in self.notes]


@dataclass(frozen=True)
class Rolls:
    """Piano rolls on one axis of pitches.

    Attributes:
        name: what its MIDI files are called.
        rolls: the melodies, in order.
        caption: what is to be heard, the tempo among it.
        tempo: quarter notes a minute.
        path: whether they belong together, and are played one after another.
        midi: the MIDI file of all of them, one after another.
    """

    kind: ClassVar[str] = "rolls"
    name: str
    rolls: tuple[Roll, ...]
    caption: str
    tempo: int
    path: bool
    midi: bytes

    @property
    def step_seconds(self) -> float:
        """How long a sixteenth lasts, seconds."""
        return 60 / self.tempo / STEPS_PER_QUARTER

    @property
    def steps(self) -> int:
        """How many steps the longest melody has."""
        return max(roll.steps for roll in self.rolls)

    @property
    def highest(self) -> int:
        """The pitch of the topmost row."""
        return self._ends[1]

    @property
    def rows(self) -> int:
        """How many pitches the axis has."""
        low, high = self._ends
        return high - low + 1

    @property
    def bars(self) -> range:
        """The first steps of the bars."""
        return range(0, self.steps, STEPS_PER_BAR)

    @property
    def beats(self) -> range:
        """The first steps of the beats."""
        return range(0, self.steps + 1, STEPS_PER_QUARTER)

    @property
    def named(self) -> list[tuple[int, str]]:
        """The rows, from the top, that the axis names."""
        names = [(row, self.highest - row) for row in range(self.rows)]
        return [(row, pitch_name(pitch)) for row, pitch in names if pitch % OCTAVE in NAMED]

    @property
    def _ends(self) -> tuple[int, int]:
        pitches = [note.pitch for roll in self.rolls for note in roll.notes] or [60]
        low, high = min(pitches) - 1, max(pitches) + 1
        short = max(LEAST_ROWS - (high - low + 1), 0)
        return low - short // 2, high + short - short // 2

    def save(self, folder: Path) -> None:
        """Write midi/NAME.mid, and of each melody midi/NAME-1.mid, midi/NAME-2.mid, ..."""
        place = in_folder(folder, "midi")
        (place / f"{self.name}.mid").write_bytes(self.midi)
        for number, roll in enumerate(self.rolls, 1):
            (place / f"{self.name}-{number}.mid").write_bytes(roll.midi)


def piano_rolls(
    name: str, melodies: Mapping[str, Sequence[str]], *, caption: str, tempo: int = TEMPO, path: bool = False
) -> Rolls:
    """Lay melodies out as piano rolls.

    Args:
        name: what the MIDI files are called.
        melodies: tokens by title; a hold that holds nothing is a rest.
        caption: what is to be heard.
        tempo: quarter notes a minute.
        path: whether they are to be played one after another.

    Raises:
        InputError: there is no melody, one is empty or has an unknown token, the tempo is outside 4 to 1,000, or mido
            is not installed.

    >>> rolls = piano_rolls("one", {"a third": ["C4", "hold", "E4", "rest"]}, caption="Two notes.")
    >>> rolls.rolls[0].played
    [(0, 2, 60), (2, 1, 64)]
    """
    if not melodies:
        raise InputError("piano_rolls: expected one or more melodies, got none")
    rolls = tuple(
        Roll(title, tuple(notes_of(tokens, where=title)), len(tokens), midi_bytes({title: tokens}, tempo=tempo))
        for title, tokens in melodies.items()
    )
    told = f"{caption} Sixteenth steps across, pitches up; heard at {tempo} quarter notes a minute."
    return Rolls(name, rolls, told, tempo, path, midi_bytes(melodies, tempo=tempo))
