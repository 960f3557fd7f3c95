"""The report page in a browser: sorted, pointed at, picked from, in both themes, on a phone, printed and cut off."""

import json
import re
import shutil
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ppl_models.evaluation import Density
from ppl_models.reports import Report, comparison_section, conclusion, pairs_section

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path (apt install chromium)")

ROWS, PHONE, SCREEN, PAPER = 120, 390, 1100, 680  # pixels of width; A4 between margins of 15 mm
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=ROWS)
FRAME = pd.DataFrame({"length, cm": X, "weight": X**2 + RANDOM.normal(size=ROWS), "age": RANDOM.integers(1, 90, ROWS)})
FRAME = FRAME.assign(town=RANDOM.choice(["here", "there"], ROWS)).set_index(pd.RangeIndex(7, 7 + 3 * ROWS, 3))
ABOUT = ("ab12", ("x",), (False,))
BOUND = {"draws": 500, "rise": 0.01, "khat": np.full(ROWS, 0.2), "effective": np.full(ROWS, 90.0)}
DENSITIES = {
    "mixture": Density(-0.5 * X**2 - 0.9, "exact", *ABOUT),
    "VAE": Density(-0.7 * X**2 - 0.9 + 0.1 * np.sin(9 * X), "lower bound", *ABOUT, **BOUND),
    "naive Bayes, <one> & only": Density(-0.9 * X**2 - 1.0, "exact", *ABOUT),
}
CONTRAST = """() => {
  const shade = (text) => { const [r, g, b, a] = text.match(/[\\d.]+/g).map(Number); return [[r, g, b], a ?? 1]; };
  const light = (rgb) => rgb.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (one) => { const [rgb, a] = shade(getComputedStyle(one).backgroundColor);
    return a > 0 || !one.parentElement ? rgb : ground(one.parentElement); };
  return [...document.body.querySelectorAll("*")].filter((one) => one.checkVisibility() && !one.closest(".picture") &&
    [...one.childNodes].some((child) => child.nodeType === 3 && child.data.trim())).map((one) => {
      const style = getComputedStyle(one), ink = shade(one.closest("svg") ? style.fill : style.color)[0];
      const [a, b] = [ink, ground(one)].map(light).sort((a, b) => a - b);
      return [(b + 0.05) / (a + 0.05), one.textContent.trim().slice(0, 30)];
    });
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A report with every kind of part that the page has."""
    report = Report("Lengths & weights", seed=0)
    report.summary, report.sure = conclusion(comparison_section(report, DENSITIES, {}, held_out=FRAME))
    report.check("a table", ["one reason"])
    for heading in ("Samples", "Wide", "End"):
        report.text(heading, "A paragraph.")
    pairs_section(report, FRAME, FRAME.assign(weight=X))
    wide = pd.DataFrame({f"a_long_column_name_{number}": RANDOM.normal(size=3) for number in range(24)})
    report.table("wide", wide, caption="A table wider than any page.")
    return report.write(tmp_path_factory.mktemp("page") / "report")


def column(page, at: int) -> list[str]:
    return page.locator(f"table >> nth=0 >> tbody tr > :nth-child({at})").all_inner_texts()


def test_a_header_sorts_up_and_down_and_puts_the_rows_back(open_page):
    page = open_page()
    header, before = page.locator("th", has_text="elpd").first, column(page, 2)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending" and column(page, 2) == before[::-1]
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending" and column(page, 2) == before
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") is None and column(page, 2) == before
    page.locator("th", has_text="rise").first.get_by_role("button").click()
    assert column(page, 12)[0] == "0.0100" and column(page, 12)[1:] == ["–", "–"]  # what is not there comes last
    assert page.locator("table").first.locator("[aria-sort]").count() == 1


def places(path) -> np.ndarray:
    return np.array(re.findall(r"M([-\d.]+) ([-\d.]+)h0", path.get_attribute("d")), dtype=float)


def test_a_dot_that_is_pointed_at_tells_its_row(open_page):
    page = open_page()
    for model, row in ((0, int(np.argmin(X))), (2, int(np.argmax(X)))):
        name, density = list(DENSITIES.items())[model]
        dots = places(page.locator(".live .strip .dots").nth(model))
        page.locator(".live svg").first.hover(position=dict(zip("xy", dots[row].tolist(), strict=True)))
        told = page.locator(".readout").inner_text().replace("−", "-")
        assert told.startswith(f"Row {FRAME.index[row]}: {name} {density.values[row]:.6g} nats; ")
        assert told.endswith(f"age {FRAME['age'].iloc[row]}, town {FRAME['town'].iloc[row]}")
        rings = page.locator(".chosen").evaluate_all(
            "all => all.map(one => [one.cx.baseVal.value, one.cy.baseVal.value])"
        )
        np.testing.assert_allclose(rings[model], dots[row], atol=0.06)
    live = page.locator(".live").first
    drawn = live.locator("svg").get_attribute("width")
    page.set_viewport_size({"width": PHONE, "height": 900})
    live.locator(f"svg:not([width='{drawn}'])").wait_for()  # the page's policy refuses wait_for_function its eval
    ring, dot = page.locator(".chosen").nth(2), places(page.locator(".live .strip .dots").nth(2))[row]
    np.testing.assert_allclose([float(ring.get_attribute(name)) for name in ("cx", "cy")], dot, atol=0.06)


def test_the_arrow_keys_go_through_a_strip_by_rank(open_page):
    page = open_page()
    strip, values = page.get_by_role("slider").nth(1), DENSITIES["VAE"].values
    strip.focus()
    for keys, rank in ((["End"], -1), (["ArrowLeft"], -2), (["Home"], 0), (["ArrowRight", "ArrowUp"], 2)):
        for key in keys:
            page.keyboard.press(key)
        row = np.argsort(values, kind="stable")[rank]
        said = strip.get_attribute("aria-valuetext").replace("−", "-")
        assert said == f"row {FRAME.index[row]}, {values[row]:.6g} nats"
    assert strip.evaluate("one => getComputedStyle(one).outlineStyle") != "none"


def test_two_columns_are_picked_and_drawn_against_each_other(open_page):
    page = open_page()
    page.get_by_label("Across").select_option("age")
    page.get_by_label("Up").select_option("length, cm")
    picture = page.get_by_role("img", name="age against length, cm")
    drawn = places(picture.locator(".dots.data"))
    assert len(drawn) == ROWS
    assert np.corrcoef(drawn[:, 0], FRAME["age"])[0, 1] > 0.9999
    assert np.corrcoef(drawn[:, 1], FRAME["length, cm"])[0, 1] < -0.9999  # pixels are counted from the top


@pytest.mark.parametrize("width", [SCREEN, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_readable_at_any_width(open_page, scheme, width):
    page = open_page(scheme=scheme, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrasts = page.evaluate(CONTRAST)
    assert len(contrasts) > 100 and [found for found in contrasts if found[0] < 4.5] == []
    image = np.asarray(Image.open(BytesIO(page.screenshot(full_page=True))).convert("L")) / 255
    assert np.median(image) > 0.9 if scheme == "light" else image.mean() < 0.2


def test_a_table_scrolls_inside_its_own_box(open_page):
    page = open_page(width=PHONE)
    box = page.locator(".scroll").last
    assert box.evaluate("one => one.scrollWidth > one.clientWidth && one.getBoundingClientRect().right <= innerWidth")
    assert box.get_attribute("tabindex") == "0"


def test_print_shows_the_figures_themselves_in_light_and_cuts_nothing_off(open_page):
    page = open_page(scheme="dark", width=PAPER)
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert [one.is_visible() for one in page.locator(".live").all()] == [False, False]
    assert all(one.is_visible() for one in page.locator(".picture").all())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    edges = page.locator("table, .picture svg").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert max(edges) <= PAPER


def test_without_its_script_the_page_stands(open_page):
    page = open_page(script=False)
    assert all(one.is_visible() for one in page.locator(".picture").all())
    assert not any(one.is_visible() for one in page.locator(".live").all())
    assert page.locator("th button").count() == 0


def test_headings_come_in_order_and_whatever_is_drawn_has_a_name(open_page):
    page = open_page()
    levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1 and max(np.diff(levels)) <= 1
    named = "[role=img], [role=group], [role=region], [role=slider], nav"
    assert all(page.locator(named).evaluate_all("all => all.map(one => one.getAttribute('aria-label'))"))
    assert page.locator("html").get_attribute("lang") == "en"
    links = page.locator("a[href^='#']").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert len(links) == 5 and all(page.locator(link).count() == 1 for link in links)


def test_the_first_stop_of_the_keyboard_skips_to_the_content(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_the_page_allows_no_other_script_and_no_request(browser, place):
    page = browser.new_page()
    page.goto(place.as_uri())
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.mine = 1'}))")
    assert page.evaluate("window.mine") is None
    tried = "fetch('http://127.0.0.1:9/').then(() => 'went', (error) => error.message)"
    assert "Failed to fetch" in page.evaluate(tried)
    assert "default-src 'none'" in json.dumps(page.locator("meta[http-equiv]").get_attribute("content"))
    page.close()
