"""The gallery: a page for every family made of its docstring, and the same fits by others, which agree."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pyro
import pytest
from scripts import analysis

from ppl_models.commands.options import FAMILIES
from ppl_models.errors import InputError
from ppl_models.families import NaiveBayes
from ppl_models.reports import Report, Tile, report_tile, story_of, written_page
from ppl_models.reports.canvas import new_figure
from ppl_models.reports.examples import Example, disagreements, numbers
from ppl_models.reports.prose import Prose

gallery, printed = analysis("gallery"), analysis("coming_from/printed")
PHONE, SCREEN = 390, 1100
BEADS = "```beads abacus\n.. ..\n```\n\n```text abacus\nsum: 4\n```\n\n```python ppl_models\nprint('sum: 4')\n```\n"


class Links(HTMLParser):
    """Where a page leads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if tag == "a" and name == "href"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The gallery of two families and one way, with a report beside it."""
    folder = tmp_path_factory.mktemp("results")
    report = Report("Who wears what & why", summary="Few <do>.", seed=0)
    report.figure("all", new_figure(height=2.0), caption="Nothing.", alt="An empty figure.")
    report.write(folder / "wrodl")
    (folder / "abacus.md").write_text("# Coming from an abacus\n\nBeads.\n\n" + BEADS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "WRITTEN", [folder / "abacus.md"])
        patch.setattr(gallery, "FAMILIES", {name: FAMILIES[name] for name in ("naive-bayes", "autoencoder")})
        gallery.main(seed=0, output_dir=folder / "gallery", quick=True)
    return folder / "gallery"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_story_symbols_a_use_and_a_misuse_an_example_and_a_picture(name):
    story = story_of(FAMILIES[name])
    assert "~" in story.body or "=" in story.body
    hidden = r"\| z \||\| y \||\| initial \|"  # the last one's, a chain that hides nothing
    assert re.search(hidden, story.symbols) and "| x" in story.symbols
    assert story.use.startswith("when ") and story.avoid.startswith("not when ") and story.avoid.endswith(".")
    assert FAMILIES[name].__name__ in story.source and "found = " in story.source and "figure = " in story.source
    assert len(story.picture) > 20


def test_no_two_families_share_a_page():
    assert len({story_of(family).use for family in FAMILIES.values()}) == len(FAMILIES)


@pytest.mark.parametrize(
    ("before", "after", "lacking"),
    [
        ("Use it when", "It is good when", "a paragraph 'Use it when"),
        ("Picture:", "Figure:", "a paragraph 'Picture:"),
        (">>> ", "", "an example"),
        ("``mixture.py``", "another file", "a table of symbols"),
    ],
)
def test_a_family_without_a_part_of_its_page_is_refused_by_name(monkeypatch, before, after, lacking):
    module = __import__(NaiveBayes.__module__, fromlist=["x"])
    monkeypatch.setattr(module, "__doc__", module.__doc__.replace(before, after))
    with pytest.raises(InputError, match=rf"naive_bayes.py: expected {lacking}"):
        story_of(NaiveBayes)


@pytest.mark.parametrize("path", gallery.WRITTEN, ids=lambda path: path.stem)
def test_the_same_fit_prints_the_same_numbers_on_both_sides(path):
    report = written_page(path, seed=0)
    pyro.clear_param_store()
    assert report.doubts == []
    sides = [part.examples for part in report.parts if part.kind == "examples" and len(part.examples) == 2]
    shared = [set(numbers(left.printed)) & set(numbers(right.printed)) for left, right in sides]
    assert len(sides) >= 2 and all(shared)


@pytest.mark.parametrize(
    "path", [path for path in gallery.WRITTEN if printed.elsewhere(path)], ids=lambda path: path.stem
)
def test_a_peer_that_is_installed_prints_what_its_page_says(path):
    cells = printed.elsewhere(path)
    command = printed.installed(cells[0].language)
    if command is None:
        pytest.skip(f"{cells[0].by} is not installed")
    assert printed.prints(cells, command)[:-1] == [cell.printed for cell in cells]


def test_numbers_that_differ_are_named_and_others_are_not_compared():
    sides = [Example("a", "", "BIC: 1,234.56, higher\nrows: 150"), Example("b", "", "BIC: 1234.50\ncolumns: 4")]
    assert disagreements(sides) == ["BIC: a prints 1234.56, b prints 1234.50"]
    assert disagreements([sides[0], Example("b", "", "BIC: 1234.6")]) == []


def test_a_page_that_disagrees_says_so(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A\n\nB.\n\n```python a\nprint('x: 1.0')\n```\n\n```r b\n1\n```\n\n```text R\nx: 2.0\n```\n")
    report = written_page(page, seed=0)
    assert report.doubts == ["X: a prints 1.0, b prints 2.0."]
    assert [example.by for example in report.parts[0].examples] == ["", "R"]


def test_a_page_without_a_title_is_refused(tmp_path):
    (tmp_path / "page.md").write_text("Words.\n")
    with pytest.raises(InputError, match="expected '# Title' and a paragraph first, got 'Words"):
        written_page(tmp_path / "page.md", seed=0)


def test_markup_in_prose_is_shown_and_not_obeyed():
    inner = Prose("A", "<script>x</script> [a](javascript:x) https://a.org/b.").inner
    assert "<script" not in inner and 'href="javascript' not in inner
    assert '<a href="https://a.org/b">https://a.org/b</a>.' in inner


def test_every_link_leads_to_a_page_that_is_there(place):
    pages = sorted(place.rglob("index.html"))
    assert len(pages) == 4
    for page in pages:
        links = [link for link in Links(page).found if not link.startswith(("http", "#"))]
        assert links and [link for link in links if not (page.parent / unquote(link)).is_file()] == []


def test_the_gallery_leads_to_reports_by_their_first_picture_and_back_to_families(place):
    tile = report_tile(place.parent / "wrodl", "../wrodl")
    assert isinstance(tile, Tile) and tile.alt == "An empty figure." and 'id="wrodl-all-' in tile.drawing
    text = (place / "index.html").read_text()
    assert "Who wears what &amp; why" in text and "Few &lt;do&gt;." in text and tile.link == "../wrodl/index.html"
    assert "../../wrodl/index.html" in (place / "naive-bayes" / "index.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_pages_stand_on_a_phone_and_in_print_without_a_word_to_the_console(place):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path (apt install chromium)")
    told = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        for name in (".", "naive-bayes", "abacus"):
            page.goto((place / name / "index.html").resolve().as_uri())
            assert page.locator("h1").count() == 1
            for width, sides in ((SCREEN, 2), (PHONE, 1)):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                tops = page.locator(".sides >> nth=0 >> .example").evaluate_all(
                    "all => all.map(one => one.getBoundingClientRect().top)"
                )
                assert len(tops) < 2 or len(tops) - len(set(tops)) == sides - 1
        browser.close()
    assert told == []
