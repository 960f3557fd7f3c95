"""A report is one whole folder that needs no network; a figure draws whatever it is given."""

import json
import re
from html.parser import HTMLParser

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from ppl_models import reports
from ppl_models.errors import InputError
from ppl_models.reports import Report, to_svg, write_index

LONG = "$naive$ Bayes_with {a conjugate} normal-gamma prior for each of the columns & a <flat> class prior"
NAMES = [LONG, "_hidden", "b", "c", "d", "e", "f", "g", "h", "i", "j"]


def curve(values):
    return pd.DataFrame({"x": values, "density": values, "low": np.nan, "high": np.nan})


def elpds(se):
    return pd.DataFrame({"elpd": -1.0, "se": se, "kind": "lower bound"}, index=NAMES)


def history(elbo):
    return pd.DataFrame({"step": range(len(elbo)), "train_elbo": elbo, "validation_elbo": np.nan})


ONE = pd.DataFrame({LONG: [1.0], "other": [np.nan], "town": [LONG]})
MANY = pd.DataFrame({"n": np.arange(3000.0), LONG: 1e9, "town": [f"town {i % 40}" for i in range(3000)]})
RUNG = pd.DataFrame({"model": NAMES, "draws": 1, "elpd": -3.0, "mean_se": np.nan})
PARAMETER = pd.DataFrame({"parameter": LONG, "component": NAMES, "mean": 1.0, "low": np.nan, "high": 2.0})
FIGURES = {
    "density-one-row": lambda: reports.density_overlay(np.ones(1), {LONG: curve([1.0])}, label=LONG),
    "density-no-row": lambda: reports.density_overlay(np.full(2, np.nan), {}, label="x, cm"),
    "density-ten": lambda: reports.density_overlay(np.arange(9.0), {n: curve([0.0, 9.0]) for n in NAMES}, label="x"),
    "elpd": lambda: reports.elpd_intervals(elpds(0.5)),
    "elpd-interval": lambda: reports.elpd_intervals(elpds(0.5).assign(kind="interval")),
    "elpd-one-row": lambda: reports.elpd_intervals(elpds(np.nan).iloc[:1]),
    "elbo": lambda: reports.elbo_curves({name: history([-1e30, -5.0, -4.0]) for name in NAMES}),
    "elbo-one-step": lambda: reports.elbo_curves({LONG: history([-3.0]), "nothing": history([np.nan])}),
    "ladder": lambda: reports.bound_ladder(RUNG, exact={LONG: -2.9}),
    "parameters": lambda: reports.parameter_intervals(PARAMETER),
    "parameters-truth": lambda: reports.parameter_intervals(PARAMETER.assign(truth=1.1)),
    "khat": lambda: reports.khat_histogram({LONG: np.array([np.inf, 0.2, 9.0]), "_none": np.full(3, np.nan)}),
    "khat-exact": lambda: reports.khat_histogram({"exact": np.full(3, -np.inf)}),
    "pairs": lambda: reports.sample_pairs(MANY, ONE.assign(n=np.nan), columns=["n", LONG]),
    "pairs-one-row": lambda: reports.sample_pairs(ONE, ONE, columns=[LONG, "other"]),
    "shares": lambda: reports.category_shares(MANY, ONE, columns=["town"]),
    "images": lambda: reports.image_grid({LONG: np.full((13, 4, 6), np.nan), "one": np.ones((1, 8, 8))}),
    "latent": lambda: reports.latent_grid(np.zeros((1, 30, 4, 4))),
}


@pytest.fixture
def report():
    report = Report("<b>Bold</b> & plain", summary="'Quoted' <i>summary</i>", sure="Quite <sure>.", seed=3)
    report.text("What <em>is</em> it?", "First.\n\nSecond <script>alert(1)</script>.")
    report.table("scores", elpds(1 / 3), caption="Scores of <u>all</u>.")
    report.figure("first", FIGURES["elpd"](), caption="A figure.", alt='It says "more".')
    report.figure("second", FIGURES["khat"](), caption="Another.", alt="Bars.")
    report.draws("posterior", xr.Dataset({"loc": (("draw", "component"), np.arange(8.0).reshape(4, 2))}))
    report.data("test", "ab12", 1234)
    return report


class Page(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], text
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def every(self, attribute):
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]


@pytest.fixture
def page(report, tmp_path):
    return Page(report.write(tmp_path / "report").read_text(encoding="utf-8"))


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_every_figure_draws_awkward_input_the_same_twice(draw):
    first, second = to_svg(draw(), name="same"), to_svg(draw(), name="same")
    assert first.startswith("<svg")
    assert first == second


def test_a_figure_drawn_again_is_the_same():
    figure = FIGURES["parameters"]()
    assert to_svg(figure) == to_svg(figure)


def test_ids_of_figures_do_not_meet_in_one_page(page):
    ids = page.every("id")
    assert len(ids) == len(set(ids))
    local = [link[1:] for link in page.every("xlink:href") if link.startswith("#")]
    assert set(local) <= set(ids)


def test_a_page_loads_nothing_from_elsewhere(page):
    links = page.every("src") + page.every("href") + page.every("xlink:href")
    assert not [link for link in links if re.match(r"\w+://|//", link)]
    assert not {"link", "iframe"} & {tag for tag, _ in page.tags}
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]


def test_every_file_that_a_page_links_is_in_its_folder(page, tmp_path):
    files = [link for link in page.every("href") if not link.startswith("#")]
    assert len(files) == 7
    assert all((tmp_path / "report" / link).is_file() for link in files)


def test_texts_are_escaped(page):
    assert not {"b", "i", "em", "u"} & {tag for tag, _ in page.tags}
    assert "<script>alert" not in page.text
    assert 'It says "more".' in page.every("aria-label")


def test_headings_come_in_order_and_figures_have_a_text(page):
    headings = [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1", "h2", "h2", "h2"]
    assert [attributes["aria-label"] for _, attributes in page.tags if attributes.get("role") == "img"]
    assert page.tags[0] == ("html", {"lang": "en"})


def test_tables_are_saved_in_full(page, tmp_path):
    saved = pd.read_csv(tmp_path / "report/tables/scores.csv", index_col=0)
    pd.testing.assert_frame_equal(saved, elpds(1 / 3), check_names=False)


def test_a_table_shows_digits_and_a_dash_for_nothing(tmp_path):
    report = Report("t", summary="s", seed=0)
    frame = pd.DataFrame(
        {"a": [1 / 3, np.nan, 0.0], "b": [12345, 6, 7], "c": [True, False, True], "d": [1e-7, 1e12, -2.0]}
    )
    report.table("t", frame, caption="c", digits=2)
    shown = [[text for text, _ in line] for line in report.parts[0].lines]
    assert shown == [["0.33", "12345", "yes", "1e-07"], ["–", "6", "no", "1e+12"], ["0.00", "7", "yes", "-2.00"]]


def test_a_header_of_several_levels_is_read_in_one_line():
    report, frame = Report("t", summary="s", seed=0), pd.DataFrame({"a": [1, 1], "b": [1.0, 2.0]})
    report.table("t", frame.groupby("a").agg(["mean", "sem"]), caption="c")
    assert [name for name, _ in report.parts[0].header] == ["a", "b mean", "b sem"]


def test_arviz_opens_the_draws(page, tmp_path):
    posterior = az.from_netcdf(tmp_path / "report/draws/posterior.nc").posterior
    assert dict(posterior["loc"].sizes) == {"chain": 1, "draw": 4, "component": 2}
    np.testing.assert_array_equal(posterior["loc"][0], np.arange(8.0).reshape(4, 2))


def test_the_record_says_how_the_numbers_were_made(report, tmp_path):
    record = json.loads((report.write(tmp_path / "r", seconds=1.5).parent / "run.json").read_text())
    assert (record["seed"], record["seconds"], record["title"]) == (3, 1.5, "<b>Bold</b> & plain")
    assert record["data"] == {"test": {"checksum": "ab12", "rows": 1234}}
    assert set(record["versions"]) == {"python", "torch", "pyro-ppl", "numpy", "pandas", "arviz"}


def test_a_former_report_is_replaced_whole(report, tmp_path):
    report.write(tmp_path / "report")
    Report("New", summary="s", seed=0).write(tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"index.html", "run.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_failure_leaves_the_former_report_and_nothing_else(report, tmp_path):
    before = report.write(tmp_path / "report").read_bytes()
    report.draws("broken", xr.Dataset({"loc": ("draw", np.array([object()]))}))
    with pytest.raises(ValueError, match="unable to infer dtype"):
        report.write(tmp_path / "report")
    assert (tmp_path / "report/index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("record", [None, "not json", "[]", '{"other": 1}'])
def test_a_folder_of_something_else_is_refused(report, tmp_path, record):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / ("run.json" if record else "thesis.tex")).write_text(record or "")
    with pytest.raises(InputError, match=f"empty folder or a former report, got {foreign}"):
        report.write(foreign)
    assert len(list(foreign.iterdir())) == 1


def test_an_empty_folder_is_taken_and_missing_parents_are_made(report, tmp_path):
    (tmp_path / "empty").mkdir()
    assert report.write(tmp_path / "empty").is_file()
    assert report.write(tmp_path / "a/b/c").is_file()


def test_a_failure_takes_away_the_parents_that_it_made_and_no_other(report, tmp_path):
    (tmp_path / "mine").mkdir()
    report.draws("broken", xr.Dataset({"loc": ("draw", np.array([object()]))}))
    with pytest.raises(ValueError, match="unable to infer dtype"):
        report.write(tmp_path / "mine/a/b")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_a_file_in_the_way_is_refused(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"got the file {tmp_path / 'file'}"):
        report.write(tmp_path / "file")
    with pytest.raises(InputError, match=f"can be written, got {tmp_path / 'file'}"):
        report.write(tmp_path / "file/report")


@pytest.mark.parametrize("name", ["../up", "a b", "", "1", "scores"])
def test_names_are_file_names_and_new(report, name):
    with pytest.raises(InputError, match=re.escape(repr(name))):
        report.table(name, ONE, caption="c")


def test_a_table_is_kept_as_it_was_when_added(tmp_path):
    report, frame = Report("t", summary="s", seed=0), pd.DataFrame({"a": [1]})
    report.table("t", frame, caption="c")
    frame.loc[0, "a"] = 2
    assert report.parts[0].frame.loc[0, "a"] == 1


def test_an_index_links_each_report_with_its_title(report, page, tmp_path):
    places = {"a": tmp_path / "report", "<b>": report.write(tmp_path / "with space & more")}
    index = write_index(tmp_path / "pages", places, title="All")
    links = Page(index.read_text(encoding="utf-8")).every("href")
    assert links == ["../report/index.html", "../with%20space%20%26%20more/index.html"]
    assert "Quite &lt;sure&gt;." in index.read_text(encoding="utf-8")
    assert "&lt;b&gt;Bold&lt;/b&gt; &amp; plain" in index.read_text(encoding="utf-8")


def test_an_index_is_replaced_by_the_next(report, tmp_path):
    places = {"a": report.write(tmp_path / "a")}
    write_index(tmp_path, places, title="Old")
    assert "New" in write_index(tmp_path, places, title="New").read_text(encoding="utf-8")


@pytest.mark.parametrize("foreign", ["file", "folder", "report"])
def test_an_index_page_of_something_else_is_refused_and_kept(report, tmp_path, foreign):
    page, place = tmp_path / "b/index.html", report.write(tmp_path / "a")
    if foreign == "report":
        report.write(page.parent)
    elif foreign == "folder":
        page.mkdir(parents=True)
    else:
        page.parent.mkdir()
        page.write_bytes(b"\xff<p>mine</p>")
    before = sorted((path, path.stat().st_mtime_ns) for path in page.parent.rglob("*"))
    with pytest.raises(InputError, match=f"a former index page of ppl_models, got another in {page.parent}"):
        write_index(page.parent, {"a": place}, title="All")
    assert sorted((path, path.stat().st_mtime_ns) for path in page.parent.rglob("*")) == before


def test_an_index_of_what_is_no_report_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected a report with a run\.json"):
        write_index(tmp_path, {"a": tmp_path / "nothing"}, title="All")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: reports.sample_pairs(ONE, ONE, columns=["z"]), r"columns \['z'\] in 'held-out rows'"),
        (lambda: reports.sample_pairs(MANY, MANY, columns=["n"] * 6), "1 to 5 columns to pair, got 6"),
        (
            lambda: reports.category_shares(ONE, MANY, columns=["other"]),
            r"columns \['other'\] in 'drawn from the model'",
        ),
        (lambda: reports.category_shares(ONE, ONE, columns=[]), "at least one column"),
    ],
)
def test_columns_that_cannot_be_drawn_are_refused(draw, message):
    with pytest.raises(InputError, match=message):
        draw()


KINDS = {"n": "real", "town": "categorical"}
SECTIONS = {
    "checks": lambda report, **rows: reports.check_section(report, MANY.tail(40), MANY.head(20), kinds=KINDS, **rows),
    "samples": lambda report, **rows: reports.sample_section(report, MANY, MANY.head(20), kinds=KINDS, **rows),
}


@pytest.mark.parametrize("add", SECTIONS.values(), ids=SECTIONS)
def test_captions_call_the_rows_what_they_are(add):
    for rows, said in (({}, "held-out rows"), ({"rows": "the 20 towns"}, "the 20 towns")):
        report = Report("t", summary="s", seed=0)
        add(report, **rows)
        assert all(said in part.caption and ("held" in part.caption) == (not rows) for part in report.parts)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_legends_call_the_rows_what_they_are():
    sides = ("the 20 towns", "drawn")
    assert legend(reports.category_shares(MANY, MANY, columns=["town"], sides=sides)) == [*sides]
    assert legend(reports.sample_pairs(MANY, MANY, columns=["n"], sides=sides)) == [*sides]
    assert legend(reports.sample_pairs(MANY, MANY, columns=["n"])) == ["held-out rows", "drawn from the model"]
