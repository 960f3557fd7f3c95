"""Files and tables that cannot be used are refused in one line that says where, what was expected and what came."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ppl_models.datasets import (
    Column,
    Schema,
    infer_schema,
    load,
    prepare,
    read,
    sequence_schema,
    sequence_table,
    split,
)
from ppl_models.errors import InputError
from ppl_models.families import MarkovChain, SequenceVAE
from ppl_models.inference import fit, log_density
from ppl_models.recurrent import Recurrent

FILES = {
    "empty.csv": "",
    "blank.csv": "\n\n",
    "header.csv": "x,y\n",
    "twice.csv": "x,y,x\n1,2,3\n",
    "wide.csv": "x,y\n1,2,3\n4,5,6\n",
    "ragged.csv": "x,y\n1,2\n4,5,6\n",
    "short.csv": "x,y,z\n1,2,3\n\n4,5,\n6,7\n",
    "semicolons.csv": "x;y\n1;2\n",
    "rows.xlsx": "x\n1\n",
    "broken.parquet": "x,y\n1,2\n",
    "text.csv": "x\n1\nabc\n",
    "latin.csv": "stra\udce4e\n1\n",
}
FRAME = pd.DataFrame({"x": [0.5, 1.5, 2.5, 4.0], "n": [1, 0, 2, 5], "b": [0, 1, 1, 0], "y": ["u", "v", "u", "v"]})
SCHEMA = infer_schema(FRAME, label="y")
REAL = Schema((Column("x", "real"),))


def cells(kind: str, *values: object):
    """Prepare one column of this kind."""
    levels = ("a", "b") if kind == "categorical" else ()
    return prepare(pd.DataFrame({"x": values}), Schema((Column("x", kind, levels),)))


def rows(schema: Schema = SCHEMA, frame: pd.DataFrame = FRAME, **changes):
    return prepare(frame.assign(**changes), schema)(frame.assign(**changes))


def hole():
    """Fit a chain to a row that misses a step before its last one."""
    found = sequence_table([["a", "b"], [None, "b"]])
    schema = Schema(STEPS, sequence=True)
    return fit(MarkovChain(schema), rows(schema, found.frame.set_axis(["s1", "s2"], axis=1)), seed=0)


def many_holes():
    """Score a row that misses all steps but its last one."""
    found = sequence_table([["a", "b"] * 8, [None] * 15 + ["b"]])
    data = rows(found.schema, found.frame)
    return log_density(fit(MarkovChain(found.schema), data[:1], seed=0).family, data[1:])


FILES_REFUSED = {
    "missing file": ("none.csv", None, r"none\.csv: expected a CSV or Parquet file, found none"),
    "folder": ("", None, r": expected a CSV or Parquet file, found a folder"),
    "other suffix": ("rows.xlsx", None, r"rows\.xlsx: expected a name ending in \.csv or \.parquet, got 'rows\.xlsx'"),
    "no bytes": ("empty.csv", None, r"empty\.csv: expected rows, got an empty file"),
    "blank lines": ("blank.csv", None, r"blank\.csv: expected rows, got an empty file"),
    "header only": ("header.csv", None, r"header\.csv: expected rows, got an empty table"),
    "repeated column": ("twice.csv", None, r"twice\.csv: column 'x' occurs more than once"),
    "more cells than names": ("wide.csv", None, r"wide\.csv: expected 2 cells a row as in the header, got more"),
    "one longer row": ("ragged.csv", None, r"ragged\.csv: could not be read: .*Expected 2 fields in line 3, saw 3"),
    "one shorter row": ("short.csv", None, r"short\.csv: row 3: expected 3 cells as in the header, got 2"),
    "semicolons": ("semicolons.csv", None, r"expected a comma-separated file, got the one column 'x;y'"),
    "no Parquet": ("broken.parquet", None, r"broken\.parquet: could not be read: .*Parquet"),
    "no UTF-8": ("latin.csv", None, r"latin\.csv: could not be read: 'utf-8' codec"),
    "absent column": ("text.csv", Schema((Column("z", "real"),)), r"text\.csv: no column 'z'; the columns are x"),
    "text": ("text.csv", REAL, r"text\.csv: column 'x', row 2: expected a number, got 'abc'"),
}

TABLES = {
    "empty table": (lambda: infer_schema(FRAME.head(0)), "table: expected rows, got an empty table"),
    "one row": (lambda: prepare(FRAME.head(1), SCHEMA), "table: expected two or more training rows, got 1"),
    "no column": (lambda: infer_schema(FRAME[["y"]], label="y"), "at least one column besides the label .* got none"),
    "repeated column": (lambda: infer_schema(FRAME[["x", "x"]]), "table: column 'x' occurs more than once"),
    "repeated, conformed": (lambda: prepare(FRAME[["x", "x"]], REAL), "table: column 'x' occurs more than once"),
    "numbered columns": (lambda: infer_schema(pd.DataFrame([[1.5], [2.5]])), "expected text as column names, got 0"),
    "unknown label": (lambda: infer_schema(FRAME, label="z"), "table: no column 'z'; the columns are x, n, b, y"),
    "unknown column in kinds": (lambda: infer_schema(FRAME, kinds={"z": "real"}), "table: no column 'z'; the columns"),
    "unknown in categories": (lambda: infer_schema(FRAME, categories={"z": "ab"}), "table: no column 'z'; the columns"),
    "unknown in override": (lambda: SCHEMA.override(z="real"), "schema: no column 'z'; the columns are x, n, b"),
    "unknown in schema": (lambda: prepare(FRAME, SCHEMA)(FRAME[["x", "n"]]), "table: no column 'b'; .* are x, n"),
    "named twice": (lambda: Schema((Column("x", "real"),) * 2), "schema: column 'x' is named twice"),
    "numeric label": (lambda: Schema(REAL.columns, Column("y", "real")), "label 'y': must be categorical, not real"),
    "one category": (lambda: Column("x", "categorical", ("a",)), r"'x'.* two or more categories, got \['a'\]"),
    "category twice": (lambda: Column("x", "categorical", tuple("aba")), "'x': a category is listed twice in"),
    "real categories": (lambda: Column("x", "real", ("a",)), r"'x': only a categorical .*, got \['a'\] for a real"),
    "categories unnamed": (lambda: SCHEMA.override(n="categorical"), r"'n': .* expected Column\('n', 'categorical', "),
    "another column": (lambda: SCHEMA.override(n=Column("x", "real")), "'n': expected a Column of that name, .* 'x'"),
    "wrong image shape": (lambda: infer_schema(FRAME, image_shape=(2, 3)), r"\(2, 3\) needs 6 columns, .* has 4"),
    "all labels missing": (lambda: infer_schema(FRAME.assign(y=None), label="y"), "label 'y': .* every row is missing"),
    "one class": (lambda: infer_schema(FRAME.assign(y="u"), label="y"), "'y': expected two or more .* only 'u'"),
    "unseen class": (lambda: rows(y=["u", "v", "w", "u"]), "column 'y', row 3: expected one of u, v, got 'w'"),
    "text": (lambda: cells("real", 1.5, "abc"), "table: column 'x', row 2: expected a number, got 'abc'"),
    "complex": (lambda: cells("real", 1.5, 2j), "'x', row 1: expected a number, got"),
    "list": (lambda: infer_schema(pd.DataFrame({"x": ["a", ["b"]]})), "'x', row 2: .* single value, .* type list"),
    "dict": (lambda: cells("categorical", "a", {}), "'x', row 2: expected a single value, got a cell of type dict"),
    "too large": (lambda: cells("real", 1e200, 2e200), r"'x': expected values whose squares are finite, got 2e\+200"),
    "constant count": (lambda: infer_schema(pd.DataFrame({"x": [7, 7]})), r"'x': is constant \(7\); drop it or give"),
    "infinity": (lambda: cells("real", 1.5, 2.0, -np.inf), "'x', row 3: expected a finite number, got -inf"),
    "negative count": (lambda: cells("count", 0, -1), "'x', row 2: expected a whole number from 0, got -1"),
    "fractional count": (lambda: cells("count", 0.5, 1), "'x', row 1: expected a whole number from 0, got 0.5"),
    "zero dollars": (lambda: cells("positive", 0.5, 0), "'x', row 2: expected a number above zero, got 0"),
    "two in bits": (lambda: cells("binary", 0, 1, 2), "'x', row 3: expected 0 or 1, got 2"),
    "unseen category": (lambda: cells("categorical", "a", "c"), "'x', row 2: expected one of a, b, got 'c'"),
    "constant": (lambda: cells("real", 2.5, 2.5), r"column 'x': is constant \(2.5\) in the training rows"),
    "constant on its logarithm": (lambda: cells("positive", 1.0, 1.0), r"column 'x': is constant \(1.0\)"),
    "all cells missing": (lambda: infer_schema(FRAME.assign(x=np.nan)), "column 'x': .* every cell is missing"),
    "all training cells missing": (lambda: cells("real", None, None), "column 'x': .* every training cell is missing"),
    "shares above one": (lambda: split(FRAME, seed=0, test=0.9), "sum below 1, got validation=0.15, test=0.9"),
    "negative share": (lambda: split(FRAME, seed=0, test=-0.1), "expected shares .* test=-0.1"),
    "too few rows to split": (lambda: split(FRAME.head(3), seed=0), "split: 3 rows are too few for shares"),
    "unknown stratum": (lambda: split(FRAME, seed=0, stratify="z"), "split: no column 'z'; the columns are x, n, b, y"),
    "unknown table": (lambda: load("titanic"), "bundled table: expected one of .*wrodl.*, got 'titanic'"),
}

STEPS = tuple(Column(name, "categorical", ("a", "b")) for name in ("s1", "s2"))
TUNES = pd.DataFrame({"s1": ["a", "b"], "s2": ["b", "z"]})
SEQUENCES = {
    "no sequence": (lambda: sequence_table([]), "sequences: expected one or more sequences, got none"),
    "an empty sequence": (lambda: sequence_table([["a", "b"], []], pad=True), "row 2: .* got an empty sequence"),
    "no token seen": (lambda: sequence_table([["a", "b"], [None] * 2]), "row 2: expected .*, got 2 missing ones"),
    "ragged lengths": (lambda: sequence_table([["a", "b"], ["a"]]), "row 2: expected 2 steps .* row 1, got 1; pad="),
    "unknown token": (
        lambda: sequence_table([["a", "b"], ["a", "z"]], vocabulary="ab"),
        "row 2, step 2: expected one of 2 tokens, a, b, got 'z'",
    ),
    "unknown token in a frame": (
        lambda: sequence_schema(TUNES, vocabulary="ab"),
        "row 2, column 's2': expected one of 2 tokens, a, b, got 'z'",
    ),
    "unknown token to be prepared": (
        lambda: prepare(TUNES, Schema(STEPS, sequence=True)),
        "column 's2', row 2: expected one of a, b, got 'z'",
    ),
    "one token": (lambda: sequence_table([["a", "a"]]), r"a vocabulary of two or more tokens, got \['a'\]"),
    "too few labels": (lambda: sequence_table([["a", "b"]] * 2, labels=["u"]), r"2 labels, one a sequence, .* \(1,\)"),
    "no step": (lambda: sequence_schema(TUNES[["s1"]], label="s1"), "expected a vocabulary of two or more tokens"),
    "no such label": (lambda: sequence_schema(TUNES, label="y"), "table: no column 'y'; the columns are s1, s2"),
    "other categories": (
        lambda: Schema((*STEPS, Column("s3", "categorical", ("a", "c"))), sequence=True),
        "sequence: expected one vocabulary, the 2 categories of 's1', got others in 's3', 'c' for one",
    ),
    "other order": (
        lambda: Schema((*STEPS, Column("s3", "categorical", ("b", "a"))), sequence=True),
        "sequence: expected one vocabulary, .* got others in 's3', 'b' for one",
    ),
    "a number among steps": (
        lambda: Schema((*STEPS, Column("x", "real")), sequence=True),
        "sequence: expected categorical columns alone, 'x' is real; drop it or make it the label",
    ),
    "an image": (lambda: Schema(STEPS, None, (1, 2), True), r"expected steps in a line, got image_shape \(1, 2\)"),
    "a chain of no steps": (lambda: MarkovChain(REAL), "MarkovChain: expected the steps of a sequence, .* 1 columns"),
    "a network of no steps": (lambda: SequenceVAE(REAL, latent=1), "SequenceVAE: expected the steps of a sequence"),
    "holes to be integrated out": (lambda: hole(), "missing steps all stand at their end, 's1' of row 2 is missing"),
    "too many holes": (lambda: many_holes(), "row 1: expected holes of at most 20,000 fillings .* got 15 of 2 tokens"),
    "a bar of no steps": (lambda: Recurrent(bar=0), "Recurrent: bar: expected one or more, got 0"),
    "all forgotten": (lambda: Recurrent(forget=1.0), "Recurrent: expected forget from 0 to below 1, got 1.0"),
}

UNCLEAR = {
    "word among numbers": (["1", "2.5", None, "abc"], r"column 'x', row 4: expected a number, got 'abc'; .* kinds="),
    "identifier": ([f"p{row}" for row in range(21)], r"'x': looks like an identifier.* 'categorical'}"),
    "dates": (pd.date_range("2024-01-01", periods=2), "'x': expected numbers, text or booleans, got datetime64 cells"),
    "durations": (pd.to_timedelta([1, 2]), "'x': expected numbers, text or booleans, got timedelta64 cells"),
    "complex": ([1j, 2.0], "'x': expected numbers, text or booleans, got complex cells"),
}

WEIGHTS = {
    "negative": ([1, 1, -1, 1], r"weights: expected 4 finite numbers from 0, not all zero, .* smallest -1"),
    "all zero": ([0, 0, 0, 0], r"weights: expected 4 finite numbers from 0, not all zero, .* sum 0"),
    "too many": ([1] * 5, r"weights: expected 4 finite .* got shape \(5,\)"),
    "none": ([], r"weights: expected 4 finite .* got shape \(0,\)"),
    "not a number": ([1, 1, 1, np.nan], r"weights: expected 4 finite .* sum nan"),
    "infinite": ([1, 1, 1, np.inf], r"weights: expected 4 finite .* sum inf"),
}


def refuse(call, message: str) -> None:
    """The call raises an InputError of one line with this message."""
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


@pytest.mark.parametrize(("name", "schema", "message"), FILES_REFUSED.values(), ids=FILES_REFUSED)
def test_files_that_cannot_be_read_are_refused_by_name(name, schema, message, folder):
    refuse(lambda: read(folder / name, schema), str(folder) + ".*" + message)


@pytest.mark.parametrize(("call", "message"), TABLES.values(), ids=TABLES)
def test_tables_that_cannot_be_used_are_refused_by_column_and_row(call, message):
    refuse(call, message)


@pytest.mark.parametrize(("call", "message"), SEQUENCES.values(), ids=SEQUENCES)
def test_sequences_that_cannot_be_used_are_refused_by_row_and_step(call, message):
    refuse(call, message)


@pytest.mark.parametrize(("values", "message"), UNCLEAR.values(), ids=UNCLEAR)
def test_columns_that_speak_for_no_kind_are_refused_until_one_is_given(values, message):
    frame = pd.DataFrame({"x": values})
    refuse(lambda: infer_schema(frame), message)
    assert infer_schema(frame, kinds={"x": "categorical"}).kinds == {"x": "categorical"}


@pytest.mark.parametrize(("weights", "message"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_do_not_count_rows_are_refused(weights, message):
    refuse(lambda: prepare(FRAME, SCHEMA)(FRAME, weights=np.array(weights)), message)
