"""Melodies in a report: each is seen as a piano roll, heard on a click, and left as a MIDI file."""

from collections.abc import Mapping, Sequence

from ppl_models.datasets.midi import TEMPO
from ppl_models.reports.report import Report
from ppl_models.reports.rolls import piano_rolls


def melodies_section(
    report: Report,
    melodies: Mapping[str, Sequence[str]],
    *,
    caption: str,
    name: str = "melodies",
    tempo: int = TEMPO,
    path: bool = False,
) -> None:
    """Add melodies as piano rolls, with a button each to play it.

    Args:
        report: the report to add to.
        melodies: tokens by title, as ``datasets.phrase_tokens`` gives them; a hold that holds nothing is a rest.
        caption: what they are; the axes and the tempo are said after it.
        name: of the MIDI files: midi/NAME.mid holds all of them, midi/NAME-1.mid the first.
        tempo: quarter notes a minute.
        path: whether they lead from one to another: a further button plays them one after another.

    Raises:
        InputError: there is no melody, one is empty or has an unknown token, the tempo is outside 4 to 1,000, the name
            was used before, or mido is not installed.

    >>> report = Report("Two notes", seed=0)
    >>> melodies_section(report, {"a third": ["C4", "hold", "E4", "hold"]}, caption="A third.")
    >>> report.parts[0].rolls[0].told
    'Piano roll of a third: C4, E4'
    """
    report.rolls(piano_rolls(name, melodies, caption=caption, tempo=tempo, path=path))
