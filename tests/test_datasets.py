"""Tables keep what they say: kinds, rows, cells, units and checksums."""

import importlib.util
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch

from ppl_models.datasets import Column, Schema, conform, infer_schema, load, prepare, prepare_split, read, split
from ppl_models.datasets.bundled import WRODL_TOPS
from ppl_models.errors import InputError

DATA = Path(__file__).parents[1] / "data"

MIXED = pd.DataFrame(
    {
        "height": [1.5, 1.75, np.nan, 1.8, 1.62],
        "dollars": [3.0, 4.5, 120.25, np.nan, 9.0],
        "visits": [0, 3, 2, 2, np.nan],
        "app": [1, 0, np.nan, 1, 0],
        "dish": ["tea", None, "cake", "tea", "pie"],
    }
)
MIXED_SCHEMA = infer_schema(MIXED, kinds={"dollars": "positive"}, categories={"dish": ("cake", "pie", "soup", "tea")})

SERIES = {
    "fractions": ([0.5, 2.0], "real"),
    "negative whole numbers": ([-1, 3], "real"),
    "whole numbers to 99": ([0, 99], "count"),
    "whole numbers above 99": ([0, 100], "real"),
    "whole numbers with a missing cell": ([4.0, np.nan, 7.0], "count"),
    "zeros and ones": ([0, 1], "binary"),
    "zeros and ones with a missing cell": (pd.array([0, 1, None], dtype="Int64"), "binary"),
    "zeros alone": ([0, 0], "binary"),
    "booleans": ([True, False], "binary"),
    "booleans with a missing cell": ([True, False, None], "binary"),
    "nullable booleans": (pd.array([True, None], dtype="boolean"), "binary"),
    "text": (["tea", "cake", None], "categorical"),
    "text of numbers and as many words": (["1", "2", "old", "new"], "categorical"),
    "different text in 20 rows": ([f"p{row}" for row in range(20)], "categorical"),
    "pandas categories": (pd.Categorical([1, 2, 1]), "categorical"),
}

SHAPES = {
    "fast_food_spending": (1000, {"real": 1}),
    "fast_food_customers": (2000, {"positive": 1, "count": 1, "binary": 1, "categorical": 1, "real": 1}),
    "wrodl": (50, {"categorical": 5}),
    "wine": (178, {"real": 13}),
    "iris": (150, {"real": 4}),
    "breast_cancer": (569, {"real": 30}),
    "digits": (1797, {"categorical": 64}),
    "digits_binary": (1797, {"binary": 64}),
}

WRODL_COUNTS = {
    "top": dict(zip(WRODL_TOPS, (7, 0, 1, 23, 1, 11, 7), strict=True)),
    "hair_colour": {"Black": 7, "Blonde": 6, "Brown": 2, "PastelPink": 3, "Red": 8, "SilverGray": 24},
    "accessories": {"Blank": 11, "Round": 22, "Sunglasses": 17},
    "clothing": {"Hoodie": 7, "Overall": 18, "ScoopNeck": 19, "VNeck": 6},
    "clothing_colour": {"Black": 4, "Blue": 5, "Gray": 6, "Green": 8, "Orange": 6, "Pink": 8, "Red": 7, "White": 6},
}


@pytest.mark.parametrize(("values", "kind"), SERIES.values(), ids=SERIES)
def test_values_speak_for_their_kind(values, kind):
    assert infer_schema(pd.DataFrame({"x": values})).kinds == {"x": kind}


def test_categories_are_the_sorted_values_that_occur():
    assert infer_schema(MIXED).columns[-1].categories == ("cake", "pie", "tea")


def test_a_pandas_category_that_no_row_has_is_kept():
    dish = pd.Categorical(["tea", "tea"], categories=["tea", "soup"])
    assert infer_schema(pd.DataFrame({"dish": dish})).columns[0].categories == ("tea", "soup")


def test_given_kinds_and_categories_go_before_seen_ones():
    schema = infer_schema(MIXED, kinds={"app": "count"}, categories={"visits": range(4), "dish": ("tea", "cake")})
    assert (schema.kinds["app"], schema.kinds["visits"]) == ("count", "categorical")
    assert [column.categories for column in schema.columns] == [(), (), (0, 1, 2, 3), (), ("tea", "cake")]


def test_an_override_changes_the_named_column_alone():
    assert MIXED_SCHEMA.override(app="count").kinds == MIXED_SCHEMA.kinds | {"app": "count"}


def test_the_label_is_set_apart_from_the_columns():
    schema = infer_schema(MIXED, label="dish")
    assert schema.label == Column("dish", "categorical", ("cake", "pie", "tea"))
    assert "dish" not in schema.names


def test_conform_returns_numbers_and_categories_in_the_schemas_order():
    found = conform(MIXED[MIXED.columns[::-1]].assign(extra=1), MIXED_SCHEMA)
    assert list(found) == list(MIXED)
    assert all(found[name].dtype == float for name in list(MIXED)[:-1])
    assert found["dish"].cat.categories.tolist() == ["cake", "pie", "soup", "tea"]


def test_conform_changes_no_cell():
    found = conform(MIXED, MIXED_SCHEMA)
    pd.testing.assert_frame_equal(found, MIXED.astype({"dish": found["dish"].dtype}), check_dtype=False)


def test_booleans_and_text_that_spells_numbers_become_numbers():
    frame = pd.DataFrame({"app": [True, False, None], "age": ["1.5", "2", None]})
    found = conform(frame, Schema((Column("app", "binary"), Column("age", "real"))))
    np.testing.assert_array_equal(found.to_numpy(), [[1, 1.5], [0, 2], [np.nan, np.nan]])


@pytest.mark.parametrize("stratify", [None, "group"])
def test_every_row_is_in_exactly_one_part(stratify):
    frame = load("fast_food_customers").frame
    parts = split(frame, seed=1, stratify=stratify)
    pd.testing.assert_frame_equal(pd.concat([parts.train, parts.validation, parts.test]).sort_index(), frame)


def test_parts_have_the_shares_asked_for():
    parts = split(load("wine").frame, seed=1, validation=0.1, test=0.3)
    assert (len(parts.validation), len(parts.test)) == (round(17.8), round(53.4))


def test_a_split_is_reproducible_and_another_seed_gives_another():
    frame = load("iris").frame
    first, again, other = (split(frame, seed=seed).test.index for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)


@pytest.mark.parametrize(("table", "column"), [("wine", "label"), ("fast_food_customers", "group"), ("wrodl", "top")])
def test_strata_keep_their_shares_within_one_row(table, column):
    frame = load(table).frame
    parts = split(frame, seed=1, stratify=column)
    shares = frame[column].value_counts(normalize=True, dropna=False)
    for part in (parts.train, parts.validation, parts.test):
        counts = part[column].value_counts(dropna=False).reindex(shares.index, fill_value=0)
        assert (counts - len(part) * shares).abs().max() <= 1


def test_changed_test_rows_change_nothing_in_training():
    frame, schema = load("wine").frame, load("wine").schema
    before = prepare_split(frame, schema, seed=1)
    changed = frame.copy()
    changed.loc[before.frames.test.index, "alcohol"] = 1e6
    after = prepare_split(changed, schema, seed=1)
    assert torch.equal(before.train.values, after.train.values)
    assert not torch.equal(before.test.values, after.test.values)


def test_training_rows_have_mean_zero_and_deviation_one():
    rows = prepare_split(load("wine").frame, load("wine").schema, seed=1).train.values.numpy()
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(rows.std(0), 1, rtol=1e-12)


def test_positive_columns_are_standardised_on_their_logarithm():
    values = prepare(MIXED, MIXED_SCHEMA)(MIXED).values[:, 1].numpy()
    logs = np.log(MIXED["dollars"])
    np.testing.assert_allclose(values, ((logs - logs.mean()) / logs.std(ddof=0)).fillna(0), rtol=1e-12)


def test_discrete_columns_enter_as_they_are():
    rows = prepare(MIXED, MIXED_SCHEMA)(MIXED)
    np.testing.assert_array_equal(rows.values[:, 2:].T, [[0, 3, 2, 2, 0], [1, 0, 0, 1, 0], [3, 0, 0, 3, 1]])
    assert float(rows.scale[2]) == MIXED["visits"].mean()


def test_missing_cells_are_marked_and_hold_zero():
    rows = prepare(MIXED, MIXED_SCHEMA)(MIXED)
    np.testing.assert_array_equal(rows.observed, MIXED.notna())
    assert rows.values[~rows.observed].abs().max() == 0


def test_inverting_gives_back_the_raw_cells():
    preparation, whole = prepare(MIXED, MIXED_SCHEMA), MIXED.dropna()
    found = preparation.invert(preparation(whole).values)
    expected = conform(whole, MIXED_SCHEMA).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-14)


def test_log_scale_is_the_log_slope_of_the_observed_continuous_cells():
    preparation, step = prepare(MIXED, MIXED_SCHEMA), 1e-6
    up, down = (
        preparation(MIXED.assign(height=MIXED.height * factor, dollars=MIXED.dollars * factor)).values[:, :2]
        for factor in (1 + step, 1 - step)
    )
    slopes = (up - down).numpy() / (2 * step * MIXED[["height", "dollars"]].to_numpy())
    expected = np.nansum(np.log(np.abs(slopes)), axis=1)
    np.testing.assert_allclose(preparation(MIXED).log_scale, expected, rtol=1e-8)


def test_rows_without_continuous_cells_have_no_log_scale():
    bits = load("digits_binary")
    assert prepare(bits.frame, bits.schema)(bits.frame).log_scale.abs().max() == 0


def test_unknown_and_absent_labels_are_minus_one():
    preparation = prepare(MIXED, infer_schema(MIXED, label="dish"))
    assert preparation(MIXED).labels.tolist() == [2, -1, 0, 2, 1]
    assert preparation(MIXED.drop(columns="dish")).labels.tolist() == [-1] * 5


CHANGES = {
    "a cell": lambda frame: frame.assign(visits=frame.visits.replace(3, 4)),
    "a cell that goes missing": lambda frame: frame.assign(visits=frame.visits.replace(3, np.nan)),
    "the order of rows": lambda frame: frame.iloc[::-1],
    "a category": lambda frame: frame.assign(dish=frame.dish.replace("pie", "tea")),
}


def checksum(frame: pd.DataFrame, schema: Schema = MIXED_SCHEMA) -> str:
    return prepare(frame, schema)(frame).checksum


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_checksum_changes_with_the_rows(change):
    assert checksum(MIXED) == checksum(MIXED.copy())
    assert checksum(change(MIXED)) != checksum(MIXED)


def test_the_checksum_is_that_of_the_rows_in_a_slice():
    rows = prepare(MIXED, MIXED_SCHEMA)(MIXED)
    assert rows[:2].checksum == rows[torch.tensor([0, 1])].checksum == checksum(MIXED.head(2))
    assert rows[:2].checksum != rows[2:4].checksum


def test_the_checksum_changes_with_a_columns_name():
    old, new = (MIXED[["height"]].set_axis([name], axis=1) for name in ("height", "length"))
    assert checksum(old, infer_schema(old)) != checksum(new, infer_schema(new))


def test_the_checksum_leaves_the_label_out():
    schema = infer_schema(MIXED, label="dish")
    assert checksum(MIXED.assign(dish=["pie"] * 5), schema) == checksum(MIXED, schema)


@pytest.mark.parametrize("name", SHAPES)
def test_bundled_tables_have_their_rows_and_kinds(name):
    table = load(name)
    kinds = pd.Series(table.schema.kinds).value_counts().to_dict()
    assert (len(table.frame), kinds) == SHAPES[name]


def test_wrodl_has_its_published_marginal_counts():
    frame = load("wrodl").frame
    assert {name: frame[name].value_counts().to_dict() for name in frame} == WRODL_COUNTS


def test_customers_miss_one_cell_in_twenty():
    """10,000 cells; 4.5 standard errors of a share of 0.05, false alarms 7e-6."""
    table = load("fast_food_customers")
    share = table.frame[list(table.schema.names)].isna().to_numpy().mean()
    assert share == pytest.approx(0.05, abs=4.5 * (0.05 * 0.95 / 10_000) ** 0.5)


@pytest.mark.parametrize("table", ["fast_food_spending", "fast_food_customers", "wrodl"])
def test_simulated_files_are_made_again_byte_for_byte(table, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("simulate", DATA / "simulate.py")
    simulate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(simulate)
    monkeypatch.setattr(simulate, "HERE", tmp_path)
    getattr(simulate, table)()
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in DATA.glob(f"{table}*.csv")}


def test_a_changed_shipped_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "wrodl.csv").write_text((DATA / "wrodl.csv").read_text().replace("Black", "Blue", 1))
    monkeypatch.setattr("ppl_models.datasets.bundled._folder", lambda: tmp_path)
    with pytest.raises(InputError, match=r"wrodl\.csv: expected sha256 .* the file was changed"):
        load("wrodl")


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv", "parquet"])
def test_every_format_gives_the_same_frame(suffix, tmp_path):
    table, path = load("fast_food_customers"), tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        frame = table.frame.astype({"group": object, "favourite": object})
        duckdb.from_df(frame).write_parquet(str(path))
    else:
        table.frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    pd.testing.assert_frame_equal(read(path, table.schema), table.frame)


def test_a_read_frame_infers_the_same_schema_from_csv_and_parquet(tmp_path):
    frame = pd.read_csv(DATA / "fast_food_customers.csv")
    duckdb.from_df(frame).write_parquet(str(tmp_path / "rows.parquet"))
    found = infer_schema(read(tmp_path / "rows.parquet"), label="group")
    assert found == infer_schema(read(DATA / "fast_food_customers.csv"), label="group")


def test_a_missing_cell_of_a_csv_file_is_empty_or_na_or_nan_and_no_other_word(tmp_path):
    (tmp_path / "rows.csv").write_text('size,x\n1,None\n2,null\n\nNA,""\nNaN,N/A\n\nnan,\n')
    frame = read(tmp_path / "rows.csv")
    assert frame["size"].notna().tolist() == [True, True, False, False, False]
    assert infer_schema(frame).columns[1].categories == ("N/A", "None", "null")
