"""A report opens with what its comparison says and how sure that is, and explains the terms that it uses."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ppl_models.errors import InputError
from ppl_models.evaluation import Density, compare
from ppl_models.reports import Report, comparison_section, conclusion, pairs_section, rows_section
from ppl_models.reports import verdict as found
from ppl_models.reports.rows import MOST_ROWS
from ppl_models.reports.terms import TERMS, column_meanings, used_terms

ROWS = 400
ABOUT = ("ab12", ("x",), (False,))
NOISE = np.random.default_rng(0).normal(size=ROWS)
NOISE = (NOISE - NOISE.mean()) / NOISE.std(ddof=1) * ROWS**0.5  # so that dse is 1
BEST = Density(np.random.default_rng(1).normal(-3.0, 0.5, ROWS), "exact", *ABOUT)
BOUND = {"kind": "lower bound", "draws": 500, "rise": 0.01}
BOUND |= {"khat": np.full(ROWS, 0.2), "effective": np.full(ROWS, 90.0)}
HEAVY = BOUND | {"khat": np.full(ROWS, 0.9)}


def behind(errors: float, **changes: object) -> Density:
    """A density that is behind the best by so many standard errors of the difference, which is one nat."""
    return replace(BEST, values=BEST.values - errors + NOISE, **changes)


@pytest.mark.parametrize(
    ("errors", "changes", "verdict"),
    [
        (0.5, {}, "undecided"),
        (3.0, {}, "likely"),
        (6.0, {}, "certain"),
        (6.0, BOUND, "certain"),
        (6.0, BOUND | {"rise": 3.0}, "likely"),
        (6.0, BOUND | {"rise": 4.5}, "undecided"),
        (6.0, BOUND | {"rise": float("nan")}, "likely"),
        (6.0, BOUND | {"khat": None, "effective": np.full(ROWS, 2.0)}, "likely"),
        (6.0, HEAVY, "likely"),
        (6.0, HEAVY | {"effective": np.full(ROWS, 400.0)}, "certain"),
        (60.0, BOUND | {"kind": "estimate", "khat": np.full(ROWS, 0.9)}, "likely"),
    ],
)
def test_a_lead_is_certain_likely_or_undecided_by_its_interval_and_by_what_is_known_of_bounds(errors, changes, verdict):
    table = compare({"b": behind(errors, **changes), "a": BEST})
    answer, sure = conclusion(table)
    assert found(table) == verdict
    assert sure.startswith(f"This is {verdict}")
    start = {"certain": "“a” describes", "likely": "“a” probably describes", "undecided": "No model is shown"}[verdict]
    assert answer.startswith(start)
    assert "The number of “a” is exact." in sure
    assert ("That of “b” is a lower bound" in sure) == (changes.get("kind") == "lower bound")


def test_the_lead_and_its_interval_are_those_of_the_table():
    table = compare({"a": BEST, "b": behind(3.0)})
    line, (answer, _) = table.loc["b"], conclusion(table, rows="the 400 rows")
    assert f"{-line['diff']:.1f} more than “b”, the next (95 % interval {-line['diff_high']:.1f} to" in answer
    assert f"to {-line['diff_low']:.1f})" in answer and "the 400 rows" in answer


def test_the_verdict_is_the_least_sure_of_all_models_behind():
    wide = replace(BEST, values=BEST.values - 7 + 9 * NOISE)
    answer, sure = conclusion(compare({"a": BEST, "b": behind(6.0), "wide": wide}))
    assert "6.0 more than “b”" in answer
    assert sure.startswith("This is undecided: its lead over “wide” may be no more than chance.")


def test_weights_and_tails_that_cannot_be_trusted_are_told():
    table = compare({"a": BEST, "b": behind(6.0, **HEAVY)})
    assert "For “b” 100% of the rows have a k-hat above 0.7" in conclusion(table)[1]
    sure = conclusion(table.assign(diff_khat=[np.nan, 0.6], rise=0.0, khat_high=0.0))[1]
    assert sure.startswith("This is likely") and "The difference from “b” hangs on few rows" in sure
    best = replace(BEST, **HEAVY | {"kind": "estimate"})
    assert conclusion(compare({"a": best, "b": behind(6.0)}))[1].startswith("This is undecided")


def test_models_of_the_same_numbers_are_level():
    answer, sure = conclusion(compare({"a": BEST, "b": BEST}))
    assert "as much as “b”" in answer and "−0" not in answer and sure.startswith("This is undecided")


def test_one_model_and_one_row_have_words():
    assert found(compare({"a": BEST})) == "alone"
    assert conclusion(compare({"a": BEST}))[0].startswith("Only “a” was scored: it gives the held-out rows −3.0")
    single = [replace(BEST, values=np.array([value])) for value in (-1.0, -2.0)]
    answer, sure = conclusion(compare(dict(zip("ab", single, strict=True))))
    assert "interval" not in answer and sure.startswith("This is undecided")


def test_differences_from_another_model_are_not_worded():
    with pytest.raises(InputError, match="differences from the best model, got them from another reference"):
        conclusion(compare({"a": BEST, "b": behind(6.0)}, reference="b"))


def test_a_page_says_once_what_its_table_says(tmp_path):
    pages = []
    for opening in (True, False):
        report = Report("t", seed=0)
        table = comparison_section(report, {"a": BEST, "b": behind(6.0)}, {}, reference="b")
        if opening:
            report.summary, report.sure = conclusion(compare({"a": BEST, "b": behind(6.0)}))
        pages.append(report.write(tmp_path / "report").read_text(encoding="utf-8"))
        assert table.attrs == {} and table.loc["b", "diff"] == 0
    assert [page.count("“a” describes the held-out rows best") for page in pages] == [1, 1]
    assert [page.count("How sure:") for page in pages] == [1, 0]


def test_every_column_of_a_comparison_is_explained():
    meanings = column_meanings()
    assert set(compare({"a": BEST})) - {"kind"} <= set(meanings)
    assert meanings["elpd"].startswith("expected log predictive") and meanings["khat_high"].startswith("share")


def test_only_terms_that_are_used_are_explained():
    report = Report("t", summary="s", seed=0)
    assert used_terms(report.parts, "Nothing here.") == []
    report.table("t", pd.DataFrame({"elpd": [1.0], "kind": "exact"}), caption="c")
    assert [term.name for term in used_terms(report.parts)] == ["preparation", "elpd", "exact"]
    assert {term.name for term in used_terms(report.parts, "0.2 nats, by a k-hat")} >= {"nats per row", "k-hat"}
    assert len({term.name for term in TERMS}) == len(TERMS)


def live(add) -> dict:
    """What a section hands to the page's script, as JSON that holds no NaN."""
    report = Report("t", summary="s", seed=0)
    add(report)
    return json.loads(json.dumps(report.parts[0].live.data, allow_nan=False)) | {"caption": report.parts[0].caption}


def test_rows_are_told_by_their_index_value_and_cells():
    frame = pd.DataFrame({"x": [0.5, np.nan, 2.0], "town": ["a", "b", None]}, index=[7, 8, 30])
    density = Density(np.array([-1.0, -2.5, -3.0]), "exact", *ABOUT)
    data = live(lambda report: rows_section(report, {"a": density}, frame))
    assert data["rows"] == ["7", "8", "30"] and data["values"] == [[-1.0, -2.5, -3.0]] and data["means"] == [-2.16667]
    assert data["cells"] == [["x", ["0.5", "–", "2"]], ["town", ["a", "b", "–"]]]


def test_of_many_rows_the_least_and_the_most_probable_are_drawn():
    values = np.random.default_rng(0).normal(size=5000)
    values[[40, 90]] = -1e6, 9.0
    density = Density(values, "exact", *ABOUT)
    data = live(lambda report: rows_section(report, {"a": density}, pd.DataFrame({"x": values})))
    assert len(data["rows"]) == MOST_ROWS and {"40", "90"} <= {*data["rows"]}
    assert "2,000 of 5,000" in data["caption"] and "drawn at the left edge" in data["caption"]
    assert -20 < data["ends"][0] < -5 and data["ends"][1] == 9.0


def test_pairs_hold_numeric_columns_and_nothing_where_a_cell_is_missing():
    frame = pd.DataFrame({"a": [1.0, np.nan], "town": ["u", "v"], "b": [3, 4]})
    data = live(lambda report: pairs_section(report, frame, frame.head(1)))
    assert data["columns"] == ["a", "b"] and data["points"] == [[[1.0, None], [3.0, 4.0]], [[1.0], [3.0]]]
    report = Report("t", summary="s", seed=0)
    pairs_section(report, frame[["a"]], frame[["a"]])
    assert report.parts[0].live is None


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda report: rows_section(report, {}, pd.DataFrame()), "at least one density, got none"),
        (lambda report: rows_section(report, {"a": BEST}, pd.DataFrame({"x": [1.0]})), "1 rows in held_out and 400 in"),
        (lambda report: pairs_section(report, pd.DataFrame({"a": ["u"]}), pd.DataFrame()), "numeric column, got a"),
    ],
)
def test_sections_refuse_what_they_cannot_draw(add, message):
    with pytest.raises(InputError, match=message):
        add(Report("t", summary="s", seed=0))
