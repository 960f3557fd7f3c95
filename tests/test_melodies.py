"""Melodies add up, move and are cut as they sound, and come back from MIDI files as they went in."""

import sys
from pathlib import Path

import mido
import numpy as np
import pandas as pd
import pytest

import ppl_models as ppl
from ppl_models.datasets import (
    Note,
    melody_phrases,
    melody_tokens,
    midi_bytes,
    notes_of,
    phrase_frame,
    phrase_tokens,
    pitch_name,
    read_chorales,
    read_midi,
    split_by_melody,
    tokens_of,
    write_midi,
)
from ppl_models.datasets.bundled import shipped
from ppl_models.datasets.melodies import STEP_NAMES, STEPS
from ppl_models.datasets.notes import HOLD, PITCHES, REST, VOCABULARY, pitch_number
from ppl_models.errors import InputError
from ppl_models.reports import Report, melodies_section

CHORALES = Path(__file__).parents[2] / "shared/data/music/jsb_chorales_satb_16th.npz"
TABLE = ppl.load("melodies")
MELODIES = shipped("melodies.csv")
# The opening notes, as degrees of the scale from the tonic in semitones: known tunes, whatever key they are typed in.
OPENINGS = {
    "Ah! vous dirai-je, maman": (0, 0, 7, 7, 9, 9, 7, 5, 5, 4, 4, 2, 2, 0),
    "Frère Jacques": (0, 2, 4, 0, 0, 2, 4, 0, 4, 5, 7),
    "Ode to Joy": (4, 4, 5, 7, 7, 5, 4, 2, 0, 0, 2, 4, 4, 2, 2),
    "Auld Lang Syne": (0, 0, 0, 4, 2, 0, 2, 4, 0, 0, 4, 7, 9),
    "Korobeiniki": (7, 2, 3, 5, 3, 2, 0, 0, 3, 7, 5, 3, 2),
    "God Rest You Merry, Gentlemen": (0, 7, 7, 5, 3, 2, 0, -2),
    "Drunken Sailor": (7, 7, 7, 7, 7, 7, 7, 0, 3, 7, 5),
    "Londonderry Air": (4, 2, 4, 9, 7, 4, 2, 0, -3),
}


def tune(notes: str, key: str = "C major", metre: str = "4/4", title: str = "tune") -> pd.DataFrame:
    return pd.DataFrame([{"title": title, "key": key, "metre": metre, "notes": notes}])


def test_every_bar_of_the_shipped_melodies_adds_up_to_its_metre():
    assert len(MELODIES) >= 24 and MELODIES["country"].nunique() >= 10
    for melody in MELODIES.itertuples():
        bars = [sum(int(note.split(":")[1]) for note in bar.split()) for bar in melody.notes.split("|")]
        full = {"2/4": 8, "4/4": 16}[melody.metre]
        assert set(bars[1:-1]) <= {full}, melody.title
        assert bars[0] + bars[-1] == (2 * full if bars[0] == full else full), melody.title


def test_every_melody_is_told_with_its_source_beside_the_file():
    text = (Path(__file__).parents[1] / "data/README.md").read_text(encoding="utf-8")
    assert all(f"| {one.title} | {one.country} | {one.source} |" in text for one in MELODIES.itertuples())
    assert f"{len(TABLE.frame)} phrases" in text


@pytest.mark.parametrize("title", OPENINGS)
def test_a_known_tune_opens_with_its_notes(title):
    melody = MELODIES.set_index("title").loc[title]
    notes = notes_of(melody_tokens(melody["notes"], melody["key"], melody["metre"]))
    tonic = {"major": 0, "minor": 9, "dorian": 2}[melody["key"].split()[1]]
    steps = np.array([note.pitch for note in notes[: len(OPENINGS[title])]]) - tonic
    np.testing.assert_array_equal(steps - steps[0], np.array(OPENINGS[title]) - OPENINGS[title][0])
    assert (steps[0] - OPENINGS[title][0]) % 12 == 0


def test_the_table_has_a_phrase_a_row_in_one_vocabulary():
    assert TABLE.frame.shape == (273, STEPS) and TABLE.schema.names == STEP_NAMES
    assert {column.categories for column in TABLE.schema.columns} == {VOCABULARY}
    assert VOCABULARY[:2] == (REST, HOLD) and [pitch_number(name) for name in PITCHES] == list(range(55, 82))
    assert not (TABLE.frame["step_01"] == HOLD).any()
    assert TABLE.frame.index.names == ["title", "bar"] and TABLE.frame.index.is_unique


def test_a_model_of_categories_reads_the_phrases_and_draws_phrases():
    rows = ppl.prepare(TABLE.frame, TABLE.schema)(TABLE.frame)
    drawn = ppl.sample(ppl.fit(ppl.NaiveBayes(TABLE.schema), rows, seed=0).family, 5, seed=0)
    assert np.shape(phrase_tokens(drawn)) == (5, STEPS)


def test_the_pickup_is_sung_behind_the_last_bar():
    tokens = melody_tokens("G4:4 | C5:8 E5:8 | G5:8 E5:4", "C major", "4/4")
    assert [(note.start, pitch_name(note.pitch)) for note in notes_of(tokens)] == [
        (0, "C5"), (8, "E5"), (16, "G5"), (24, "E5"), (28, "G4")
    ]  # fmt: skip


def test_a_note_that_is_held_into_a_phrase_begins_anew_in_it():
    frame = melody_phrases(tune("C4:16 | D4:16 | hold:8 rest:8 | E4:16"))
    assert frame.loc[("tune", 3)].tolist()[:9] == ["D4", *[HOLD] * 7, REST]


def test_bars_that_fill_no_phrase_are_left_out_and_two_bars_of_two_quarters_make_one():
    quarters = " | ".join(["C4:4 E4:4"] * 5)
    assert melody_phrases(tune(quarters, metre="2/4")).index.tolist() == [("tune", 1)]


@pytest.mark.parametrize(("key", "notes", "first"), [
    ("Eb major", "Eb3:16 | G3:16", "C4"), ("B minor", "B5:16 | D6:16", "A4"), ("F# minor", "F#4:16 | A4:16", "A4"),
    ("E dorian", "E4:16 | G4:16", "D4"), ("Bb major", "Bb2:16 | F4:16", "C4"),
])  # fmt: skip
def test_a_melody_moves_to_no_sharps_and_flats_in_the_middle_of_the_range(key, notes, first):
    assert melody_tokens(notes, key, "4/4")[0] == first


def test_a_split_by_melody_parts_no_melody():
    parts = split_by_melody(TABLE.frame, seed=3)
    titles = [set(part.index.get_level_values("title")) for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, titles)) == len(set.union(*titles)) == len(MELODIES)
    assert len(parts.train) + len(parts.validation) + len(parts.test) == len(TABLE.frame)


def test_tokens_and_notes_spell_each_other():
    random = np.random.default_rng(0)
    for tokens in random.choice(VOCABULARY, size=(200, STEPS), p=[0.1, 0.5, *[0.4 / 27] * 27]).tolist():
        notes = notes_of(tokens)
        again = tokens_of(notes, steps=STEPS)
        assert notes_of(again) == notes
        held_nothing = [old for old, new in zip(tokens, again, strict=True) if old != new]
        assert set(held_nothing) <= {HOLD}
    assert notes_of([HOLD, HOLD]) == []


BAD = {
    "metre": (tune("C4:12", metre="3/4"), r"tune: expected a metre of 2/4, 2/2, 4/4, .* got '3/4'"),
    "key": (tune("C4:16", key="H major"), r"tune: expected a key such as 'Eb major' .*, got 'H major'"),
    "mode": (tune("C4:16", key="C phrygian"), r"tune: expected a key .*major, minor, dorian.*, got 'C phrygian'"),
    "empty": (tune(" "), r"tune: expected notes such as .*, got an empty melody"),
    "no text": (tune("C4:16").assign(notes=None), "melodies: column 'notes', row 1: expected text, got None"),
    "short bar": (tune("C4:16 | C4:8 D4:4 | C4:16"), "tune, bar 2: expected 16 sixteenths, 4/4, got 12"),
    "long first bar": (tune("C4:20 | C4:16"), "tune, bar 1: expected 16 sixteenths, 4/4, got 20"),
    "no bar": (tune("C4:16 || C4:16"), "tune, bar 2: expected 16 sixteenths, 4/4, got 0"),
    "short last bar": (tune("C4:16 | C4:12"), "tune, bar 2: expected 16 sixteenths, 4/4, got 12"),
    "one short bar": (tune("C4:4"), "tune, bar 1: expected 16 sixteenths, 4/4, got 4"),
    "pickup not made up": (tune("G4:4 | C4:16"), "bar 2: expected 12 sixteenths, 4/4 less the 4 of the pickup, got 16"),
    "unknown pitch": (tune("H4:16"), "tune, bar 1: expected rest, hold or a pitch as in C4 or Bb3, got 'H4'"),
    "no length": (tune("C4:16 | C4"), "tune, bar 2: expected a note and its sixteenths as in C4:4, got 'C4'"),
    "no step": (tune("C4:0"), "tune, bar 1: expected a note and its sixteenths as in C4:4, got 'C4:0'"),
    "rests": (tune("rest:16"), "tune: expected a note that sounds, got rests alone"),
    "range": (tune("C3:16 | C6:16"), "tune, bar 1, in C: expected a pitch from G3 to A5, got C3, .* outside the range"),
    "shorter than a phrase": (tune("C4:16"), "melodies: expected one of 32 steps or more, got 1 that are shorter"),
    "twice": (pd.concat([tune("C4:16"), tune("D4:16")]), "expected each title once, got 'tune' twice"),
    "no column": (pd.DataFrame({"title": ["a"]}), "melodies: no column 'key'; the columns are title"),
}


@pytest.mark.parametrize(("melodies", "message"), BAD.values(), ids=BAD)
def test_a_melody_that_cannot_be_used_is_refused_in_one_line(melodies, message):
    with pytest.raises(InputError, match=message) as caught:
        melody_phrases(melodies)
    assert "\n" not in str(caught.value)


CALLS = {
    "unknown token": (lambda: notes_of(["C4", "H4"]), r"melody, step 2: expected rest, hold or a pitch .*, got 'H4'"),
    "token in a phrase": (lambda: phrase_frame({"a": ["C9"] * 32}), "a, step 1: expected .* G3 to A5 .*, got 'C9'"),
    "no steps": (lambda: notes_of([]), "melody: expected one or more steps, got an empty melody"),
    "two notes": (lambda: tokens_of([Note(0, 4, 60), Note(2, 4, 64)], steps=8), "one note at a time .* E4 from step 3"),
    "beyond": (lambda: tokens_of([Note(0, 4, 60)], steps=2), "within 2 steps, got C4 from step 1 to 4"),
    "low": (lambda: tokens_of([Note(0, 4, 40)], steps=8), "melody, step 1: expected a pitch from G3 to A5, got E2"),
    "no pitch": (lambda: pitch_number("c"), "pitch: expected a name such as C4, F#4 or Bb3, got 'c'"),
    "no step column": (lambda: phrase_tokens(TABLE.frame.drop(columns="step_09")), "phrases: no column 'step_09'"),
    "missing cell": (lambda: phrase_tokens(TABLE.frame.head(1).assign(step_09=None)), "'step_09', row 1: .* missing"),
    "no titles": (lambda: split_by_melody(TABLE.frame.reset_index(drop=True), seed=0), "expected 'title' in the index"),
    "no melody": (lambda: midi_bytes({}), "midi: expected one or more melodies, got none"),
    "tempo": (lambda: midi_bytes({"a": ["C4"]}, tempo=2), "tempo: expected 4 to 1,000 quarter notes a minute, got 2"),
    "no file": (lambda: read_midi("none.mid"), r"none\.mid: expected a MIDI file, found none"),
    "no folder": (lambda: write_midi("none/a.mid", {"a": ["C4"]}), "expected a file that can be written"),
    "no chorales": (lambda: read_chorales("none.npz"), r"none\.npz"),
}


@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS)
def test_what_cannot_be_done_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_every_phrase_comes_back_from_one_midi_file(tmp_path):
    titles = [f"{title}, {bar}" for title, bar in TABLE.frame.index]
    phrases = dict(zip(titles, phrase_tokens(TABLE.frame), strict=True))
    path = write_midi(tmp_path / "all.mid", phrases, tempo=90)
    assert read_midi(path) == phrases
    assert mido.MidiFile(path).length == pytest.approx(len(phrases) * STEPS * 60 / 90 / 4, rel=1e-4)


def test_a_midi_file_of_other_hands_is_read_to_the_end_of_its_last_bar(tmp_path):
    track = mido.MidiTrack([
        mido.Message("note_on", note=60), mido.Message("note_on", note=60, velocity=0, time=96),
        mido.Message("note_on", note=64, time=48), mido.Message("note_off", note=64, time=48),
    ])  # fmt: skip
    mido.MidiFile(ticks_per_beat=96, tracks=[mido.MidiTrack(), track]).save(tmp_path / "two.mid")
    tokens = ["C4", *[HOLD] * 3, REST, REST, "E4", HOLD, *[REST] * 8]
    assert read_midi(tmp_path / "two.mid") == {"two": tokens}


MESSAGES = {
    "chord": ([("note_on", 60, 0), ("note_on", 64, 0), ("note_off", 60, 120), ("note_off", 64, 0)], "one note at a"),
    "unended": ([("note_on", 60, 0)], "expected every note to end, got 1 that do not"),
    "off the grid": ([("note_on", 60, 0), ("note_off", 60, 40)], "expected notes on sixteenths, got one at 0.33"),
    "too high": ([("note_on", 100, 0), ("note_off", 100, 120)], "bad, step 1: expected a pitch from G3 to A5, got E7"),
    "struck twice": ([("note_on", 60, 0), ("note_on", 60, 120)], "expected one note at a time, got 60 twice"),
    "empty": ([], "expected melodies of titles of their own, got 'bad' twice or empty"),
}


@pytest.mark.parametrize(("messages", "refusal"), MESSAGES.values(), ids=MESSAGES)
def test_a_midi_file_that_is_no_melody_is_refused(messages, refusal, tmp_path):
    track = mido.MidiTrack([mido.Message(kind, note=note, time=time) for kind, note, time in messages])
    mido.MidiFile(type=0, ticks_per_beat=480, tracks=[track]).save(tmp_path / "bad.mid")
    with pytest.raises(InputError, match=refusal):
        read_midi(tmp_path / "bad.mid")


def test_what_is_no_midi_file_is_refused(tmp_path):
    (tmp_path / "bad.mid").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"bad\.mid: could not be read as MIDI"):
        read_midi(tmp_path / "bad.mid")


def test_without_mido_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(InputError, match=r"needs mido.*pip install 'ppl_models\[music\]'"):
        midi_bytes({"a": ["C4"]})


def chorales(**changed: np.ndarray) -> dict[str, np.ndarray]:
    """Two chorales a part: one in G major with a pickup of a quarter and a rest, and one in C."""
    soprano = np.r_[[67] * 4, [71] * 8, [-1] * 4, [72] * 4, [74] * 16]
    voices = np.stack([soprano, np.full(36, 66), np.full(36, 62), np.full(36, 55)], axis=1)
    other = np.tile([72, 65, 60, 48], (32, 1))
    parts = {f"{part}_notes": np.concatenate([voices, other]).astype(np.int16) for part in ("train", "valid", "test")}
    return parts | {f"{part}_lengths": np.array([36, 32]) for part in ("train", "valid", "test")} | changed


def test_a_soprano_is_moved_to_white_keys_and_begins_behind_its_pickup(tmp_path):
    np.savez(tmp_path / "some.npz", **chorales())
    parts = read_chorales(tmp_path / "some.npz")
    first, second = phrase_tokens(parts.test)
    assert first == ["E4", *[HOLD] * 7, *[REST] * 4, "F4", *[HOLD] * 3, "G4", *[HOLD] * 15]
    assert notes_of(second) == [Note(0, 32, 72)]
    assert parts.train.index.tolist() == [("train 1", 1), ("train 2", 1)]


FILES = {
    "lacks an array": ({"test_notes": np.zeros((4, 4))}, "expected whole numbers as 'test_notes', got float64 cells"),
    "shape": ({"test_notes": np.zeros((68, 3), int)}, r"expected test_notes \(steps, 4\) .* got shapes \(68, 3\)"),
    "lengths": ({"test_lengths": np.array([36, 33])}, "add up to the steps, got .* 69 steps"),
    "range": ({"test_notes": np.outer([40] * 34 + [90] * 34, [1] * 4)}, r"test 1: expected a pitch from G3 to A5, got"),
}


@pytest.mark.parametrize(("changed", "message"), FILES.values(), ids=FILES)
def test_a_file_of_no_chorales_is_refused(changed, message, tmp_path):
    np.savez(tmp_path / "some.npz", **chorales(**changed))
    with pytest.raises(InputError, match=message):
        read_chorales(tmp_path / "some.npz")


def test_what_is_no_npz_file_is_refused(tmp_path):
    (tmp_path / "some.npz").write_bytes(b"[[60, 72]]")
    with pytest.raises(InputError, match="could not be read as npz"):
        read_chorales(tmp_path / "some.npz")


@pytest.mark.skipif(not CHORALES.is_file(), reason=f"{CHORALES} is not there")
def test_bachs_sopranos_have_white_keys_and_long_notes_on_the_strong_beats():
    parts = read_chorales(CHORALES)
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [1665, 552, 570]
    notes = [note for tokens in phrase_tokens(parts.train) for note in notes_of(tokens)]
    assert np.mean(["#" in pitch_name(note.pitch) for note in notes]) < 0.04
    starts = np.array([note.start for note in notes if note.steps >= 8])
    assert np.mean(starts % 8 == 0) > 0.75


def test_a_report_leaves_every_melody_and_all_of_them_as_midi_files(tmp_path):
    melodies = {"one": ["C4", "hold", "rest", "E4"] * 8, "two": ["hold"] * 32}
    report = Report("Two", seed=0)
    melodies_section(report, melodies, caption="Two melodies.", path=True)
    page = report.write(tmp_path / "report").read_text(encoding="utf-8")
    rested = {"one": melodies["one"], "two": [REST] * 32}
    assert read_midi(tmp_path / "report/midi/melodies.mid") == rested
    assert read_midi(tmp_path / "report/midi/melodies-2.mid") == {"two": rested["two"]}
    assert "Two melodies. Sixteenth steps across, pitches up; heard at 100 quarter notes a minute." in page
    with pytest.raises(InputError, match="expected a new rolls name, got 'melodies' twice"):
        melodies_section(report, melodies, caption="Again.")
    with pytest.raises(InputError, match="piano_rolls: expected one or more melodies, got none"):
        melodies_section(report, {}, caption="None.")
