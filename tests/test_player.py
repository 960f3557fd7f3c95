"""Piano rolls in a browser: what is drawn and what sounds are the tokens, in both themes, on paper and by keyboard."""

import json
import re
import shutil

import numpy as np
import pytest

from ppl_models.datasets import notes_of
from ppl_models.reports import Report, melodies_section

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path (apt install chromium)")

PHONE, SCREEN, PAPER = 390, 1100, 680  # pixels of width
TEMPO = 150
STEP = 60 / TEMPO / 4  # seconds
MELODIES = {
    "Frère <Jacques> & co": [pitch for name in ("C4", "D4", "E4", "C4") * 2 for pitch in (name, *["hold"] * 3)],
    "rests 'and' \"quotes\"": ["hold", "rest", "G#4", "hold", *["rest"] * 12, "A5", *["hold"] * 15],
    "silent": ["hold"] * 32,
}
PATH = {f"step {step}": ["G4", "hold"] * (16 - step) + ["rest"] * 2 * step for step in range(1, 10)}
# What the page asks of Web Audio, written down beside doing it.
LISTEN = """(() => {
  window.heard = [];
  const start = OscillatorNode.prototype.start, stop = OscillatorNode.prototype.stop;
  OscillatorNode.prototype.start = function (at) {
    window.heard.push(this.told = { context: this.context, at, frequency: this.frequency.value });
    return start.call(this, at);
  };
  OscillatorNode.prototype.stop = function (at) {
    this.told.until ??= at;
    this.told.cut = at === undefined;
    return stop.call(this, at);
  };
})()"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    report = Report("Melodies", seed=0)
    melodies_section(report, MELODIES, caption="Three.", tempo=TEMPO)
    melodies_section(report, PATH, caption="Nine.", name="path", tempo=TEMPO, path=True)
    return report.write(tmp_path_factory.mktemp("page") / "report")


def expected(*melodies: list[str]) -> np.ndarray:
    """Start, duration, frequency and pitch of each note of melodies that follow one another."""
    first = np.cumsum([0, *map(len, melodies)])
    pairs = zip(first[:-1], melodies, strict=True)
    notes = [(start + note.start, note) for start, tokens in pairs for note in notes_of(tokens)]
    pitches = np.array([note.pitch for _, note in notes])
    starts, lengths = (STEP * np.array(steps) for steps in zip(*((at, note.steps) for at, note in notes), strict=True))
    return np.stack([starts, lengths, 440 * 2 ** ((pitches - 69) / 12), pitches], axis=1)


def contrast(ink: str, ground: str) -> float:
    """The contrast ratio of WCAG 2.2 between two colours."""
    shades = np.array([[int(part) / 255 for part in re.findall(r"\d+", colour)[:3]] for colour in (ink, ground)])
    linear = np.where(shades <= 0.03928, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (light + 0.05) / (dark + 0.05)


def scheduled(button) -> np.ndarray:
    notes = json.loads(button.get_attribute("data-scheduled"))
    return np.array([[note[key] for key in ("start", "duration", "frequency", "pitch")] for note in notes])


def test_a_click_schedules_the_notes_of_the_tokens_and_another_stops_them(open_page):
    page = open_page()
    for title, tokens in list(MELODIES.items())[:2]:
        button = page.get_by_role("group", name=title, exact=True).get_by_role("button")
        assert (button.inner_text(), button.get_attribute("aria-label")) == ("Play", f"Play {title}")
        page.evaluate("window.heard.length = 0")
        button.click()
        assert (button.inner_text(), button.get_attribute("aria-label")) == ("Stop", f"Stop {title}")
        np.testing.assert_allclose(scheduled(button), expected(tokens), rtol=1e-12, atol=1e-12)
        asked = "window.heard.map((one) => [one.at, one.until - one.at, one.frequency])"
        heard = np.array(page.evaluate(asked))
        heard[:, 0] -= heard[0, 0] - expected(tokens)[0, 0]
        np.testing.assert_allclose(heard, expected(tokens)[:, :3], rtol=1e-6)
        button.click()
        assert button.inner_text() == "Play" and button.get_attribute("data-scheduled") is None
        assert page.evaluate("window.heard.every((one) => one.cut)")


def test_a_melody_ends_by_itself_and_only_one_is_heard(open_page):
    page = open_page()
    first, second = (page.locator(".play").nth(place) for place in (0, 1))
    first.click()
    second.click()
    assert (first.inner_text(), second.inner_text()) == ("Play", "Stop")
    assert page.evaluate("new Set(window.heard.map((one) => one.context)).size") == 1
    page.locator(".play[data-scheduled]").wait_for(state="detached", timeout=15_000)
    assert second.inner_text() == "Play" and page.locator(".now").count() == 0


def test_the_keyboard_plays_a_path_from_end_to_end(open_page):
    page = open_page()
    button = page.get_by_role("button", name="Play all, one after another")
    button.focus()
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Stop all, one after another")
    np.testing.assert_allclose(scheduled(button), expected(*PATH.values()), rtol=1e-12, atol=1e-12)
    assert page.locator(".now").count() == len(PATH)
    page.keyboard.press("Space")
    assert page.locator("[data-scheduled]").count() == 0 and page.locator(".now").count() == 0


def test_what_is_silent_cannot_be_played(open_page):
    assert open_page().get_by_role("button", name="Play silent").is_disabled()


@pytest.mark.parametrize("script", [True, False])
def test_the_rolls_draw_the_notes_with_and_without_the_script(open_page, script):
    page = open_page(script=script)
    assert page.locator(".play").count() == (len(MELODIES) + len(PATH) + 1 if script else 0)
    texts = page.locator(".roll").first.locator("text").all_text_contents()
    assert ", ".join(texts) == "G5, E5, C5, G4, E4, C4, bar 1, bar 2"
    for title, tokens in MELODIES.items():
        roll = page.get_by_role("group", name=title, exact=True)
        boxes = [[float(one.get_attribute(key)) for key in ("x", "width", "y")] for one in roll.locator(".note").all()]
        notes = notes_of(tokens)
        assert [(x, width) for x, width, _ in boxes] == [(note.start, note.steps) for note in notes]
        assert {y + note.pitch for (_, _, y), note in zip(boxes, notes, strict=True)} <= {82.0}  # one row a semitone
        assert roll.get_by_role("img").get_attribute("aria-label").startswith(f"Piano roll of {title}: ")


@pytest.mark.parametrize(("scheme", "width"), [("light", SCREEN), ("dark", PHONE)])
def test_rolls_fit_and_stand_out_in_both_themes(open_page, scheme, width):
    page = open_page(scheme=scheme, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sheet = page.locator(".roll").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    assert min(sheet) > 250
    for ink, named in ((".roll .note", "fill"), (".roll text", "fill"), (".play", "color")):
        found = page.locator(ink).first.evaluate(f"one => getComputedStyle(one).{named}")
        ground = page.locator(".roll").first.evaluate("one => getComputedStyle(one).backgroundColor")
        assert contrast(found, ground) > (3 if "note" in ink else 4.5)


def test_paper_shows_every_roll_and_no_button(open_page):
    page = open_page(scheme="dark", width=PAPER)
    page.emulate_media(media="print")
    assert not any(one.is_visible() for one in page.locator(".play").all())
    right = page.locator(".roll svg").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert len(right) == len(MELODIES) + len(PATH) and max(right) <= PAPER
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_every_link_leads_to_a_file_of_the_report(open_page, place):
    links = open_page().locator(".rolls a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert len(links) == len(MELODIES) + len(PATH) + 2
    assert all((place.parent / link).read_bytes().startswith(b"MThd") for link in links)
