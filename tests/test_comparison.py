"""Densities are compared on one scale, and only if they are densities of the same thing."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from ppl_models import NaiveBayes, Report, fit, log_density
from ppl_models.datasets import infer_schema, prepare_split
from ppl_models.errors import InputError
from ppl_models.evaluation import Density, compare
from ppl_models.reports import comparison_section


def density(values, **changes):
    facts = {"kind": "exact", "checksum": "ab12", "columns": ("x", "n"), "discrete": (False, True)}
    return Density(values=np.asarray(values, dtype=np.float64), **(facts | changes))


@pytest.fixture
def normals():
    random = np.random.default_rng(0)
    locs = {"a": -2.0, "b": -1.0, "c": -3.0}
    return {name: density(random.normal(loc, 1.0, 200)) for name, loc in locs.items()}


def test_elpd_and_se_are_the_mean_and_its_standard_error(normals):
    values = normals["a"].values
    by_hand = (sum((values - sum(values) / 200) ** 2) / 199 / 200) ** 0.5
    assert normals["a"].elpd == pytest.approx(sum(values) / 200)
    assert normals["a"].se == pytest.approx(by_hand)


def test_the_best_model_comes_first_and_is_the_reference(normals):
    table = compare(normals)
    assert list(table.index) == ["b", "a", "c"]
    assert table.loc["b", ["diff", "dse"]].tolist() == [0.0, 0.0]


def test_differences_are_taken_from_the_named_reference(normals):
    table = compare(normals, reference="c")
    assert table.loc["a", "diff"] == pytest.approx(normals["a"].elpd - normals["c"].elpd)


def test_dse_is_the_paired_standard_error(normals):
    paired = density(normals["b"].values + 0.5 * np.tile([1.0, -1.0], 100))
    table = compare({"b": normals["b"], "paired": paired}, reference="b")
    assert table.loc["paired", "dse"] == pytest.approx(0.5 * (200 / 199) ** 0.5 / 200**0.5)


def test_a_constant_shift_has_no_paired_error(normals):
    shifted = density(normals["b"].values - 1.0)
    table = compare({"b": normals["b"], "shifted": shifted})
    assert table.loc["shifted", "dse"] == pytest.approx(0.0, abs=1e-12)


def test_the_interval_of_a_difference_holds_both_monte_carlo_errors(normals):
    """The truth is the mean of rows plus errors of sd 0.4 and 0.3, whose difference has the sd 0.5."""
    still = compare(normals, reference="b")
    drawn = {name: dataclasses.replace(normals[name], mean_se=error) for name, error in (("a", 0.4), ("b", 0.3))}
    found = compare(drawn, reference="b")
    for end in ("diff_low", "diff_high"):
        before, after = (abs(table.loc["a", end] - table.loc["a", "diff"]) for table in (still, found))
        assert after == pytest.approx(np.hypot(before, 1.96 * 0.5))
        assert found.loc["b", end] == 0
    assert found.loc["a", "dse"] == still.loc["a", "dse"]


def test_a_bound_by_one_draw_has_the_interval_of_its_rows(normals):
    single = compare(normals | {"a": dataclasses.replace(normals["a"], mean_se=float("nan"))}, reference="b")
    np.testing.assert_allclose(single["diff_low"], compare(normals, reference="b")["diff_low"])


def test_share_of_unreliable_rows_leaves_out_the_unknown_ones():
    khat = np.array([-np.inf, 0.71, 0.7, np.nan])
    table = compare({"bound": density(np.zeros(4), kind="lower bound", khat=khat, draws=50, mean_se=0.2)})
    assert table.loc["bound", "khat_high"] == pytest.approx(1 / 3)
    assert table.loc["bound", ["kind", "draws", "mean_se"]].tolist() == ["lower bound", 50, 0.2]


def test_exact_densities_have_no_share_of_unreliable_rows(normals):
    assert compare(normals)["khat_high"].isna().all()


def test_a_single_row_has_no_standard_error():
    assert np.isnan(compare({"a": density([-1.0])}).loc["a", "se"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checksum": "cd34"}, r"same test rows \(checksum\).*'ab12' for 'a'; 'cd34' for 'b'"),
        ({"values": [0.0]}, "same number of test rows.*2 for 'a'; 1 for 'b'"),
        ({"columns": ("x", "m")}, r"same columns.*\('x', 'n'\) for 'a'; \('x', 'm'\) for 'b'"),
        ({"discrete": (False, False)}, "nature of column 'n'.*'pmf' for 'a'; 'pdf' for 'b'"),
        ({"values": [0.0, np.nan]}, "finite log densities, got nan for 'b' at row 1"),
        ({"values": [-np.inf, 0.0]}, "finite log densities, got -inf for 'b' at row 0"),
    ],
)
def test_what_differs_is_refused_by_name(changes, message):
    with pytest.raises(InputError, match=message):
        compare({"a": density([0.0, 1.0]), "b": density(**({"values": [0.0, 1.0]} | changes))})


def test_an_unknown_reference_is_refused(normals):
    with pytest.raises(InputError, match="reference among 'a', 'b', 'c', got 'd'"):
        compare(normals, reference="d")


def test_nothing_to_compare_is_refused():
    with pytest.raises(InputError, match="at least one density"):
        compare({})


def test_a_density_answers_for_its_rows_and_for_every_column():
    with pytest.raises(InputError, match="at least one held-out row"):
        density([])
    with pytest.raises(InputError, match="got 1 for 2"):
        density([0.0], discrete=(True,))


@pytest.fixture
def compared():
    """A comparison of one model, and the rows that it was fitted to and held against."""
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=40)})
    parts = prepare_split(frame, infer_schema(frame), seed=0)
    found = fit(NaiveBayes(infer_schema(frame), labelled=False), parts.train, seed=0)
    report = Report("t", summary="s", seed=0)
    densities = {"normal": log_density(found.family, parts.test, seed=0)}
    comparison_section(report, densities, {"normal": found}, name="x", train=parts.train)
    return report, parts


def test_a_comparison_records_the_rows_fitted_to_and_the_rows_held_out(compared):
    report, parts = compared
    assert report.sources == {
        "x, training": {"checksum": parts.train.checksum, "rows": 24},
        "x, held out": {"checksum": parts.test.checksum, "rows": 10},
    }
    assert parts.train.checksum != parts.test.checksum


def test_only_a_comparison_speaks_of_held_out_rows_and_bounds(compared, tmp_path):
    words = ("held-out rows", "lower bound")
    caption = compared[0].parts[0].caption
    assert [word for word in words if word in caption] == [*words]
    empty = Report("t", summary="s", seed=0).write(tmp_path / "empty").read_text(encoding="utf-8")
    assert not [word for word in words if word in empty]
