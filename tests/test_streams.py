"""Streams give the rows that ``read`` gives, from every source, by any batches, and learn the same preparation."""

import sqlite3
import threading
import warnings

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch

from ppl_models.datasets import Column, Query, Schema, conform, infer_schema, prepare, read, stream
from ppl_models.errors import InputError

ROWS = 5000


@pytest.fixture(scope="module")
def frame():
    """A table of all kinds with cells missing."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "real": random.normal(1e6, 2.0, ROWS),
            "positive": random.lognormal(size=ROWS),
            "count": random.poisson(3.0, ROWS).astype(float),
            "binary": random.integers(0, 2, ROWS).astype(float),
            "code": random.choice(["1", "2", "ten"], ROWS),
            "class": random.choice(["a", "b"], ROWS),
        }
    )
    for name in ("real", "count", "code", "class"):
        table.loc[random.random(ROWS) < 0.1, name] = np.nan
    return table


@pytest.fixture(scope="module")
def schema(frame):
    return infer_schema(frame, label="class", kinds={"positive": "positive", "code": "categorical"})


def csv_file(frame, folder):
    frame.to_csv(folder / "x.csv", index=False)
    return folder / "x.csv"


def zipped(frame, folder):
    frame.to_csv(folder / "x.csv.gz", index=False)
    return folder / "x.csv.gz"


def parquet(frame, folder):
    duckdb.register("frame", frame)
    duckdb.execute(f"copy frame to '{folder / 'x.parquet'}' (row_group_size 2048)")
    return folder / "x.parquet"


def many(frame, folder):
    (folder / "parts" / "deep").mkdir(parents=True)
    parts = ["0.csv", "1.csv", "deep/2.csv"]
    for name, part in zip(parts, np.array_split(np.arange(len(frame)), 3), strict=True):
        frame.iloc[part].to_csv(folder / "parts" / name, index=False)
    return folder / "parts"


def listed(frame, folder):
    return sorted(many(frame, folder).rglob("*.csv"))


def duck(frame, folder):
    with duckdb.connect(str(folder / "x.duckdb")) as connection:
        connection.register("frame", frame)
        connection.execute("create table x as select * from frame")
    return Query(folder / "x.duckdb", "select * from x")


def lite(frame, folder):
    connection = sqlite3.connect(folder / "x.db")
    frame.to_sql("x", connection, index=False)
    connection.close()
    return Query(folder / "x.db", "select * from x order by rowid")


SOURCES = [csv_file, zipped, parquet, many, listed, duck, lite]


@pytest.mark.parametrize("batch_size", [700, 10**6])
@pytest.mark.parametrize("make", SOURCES)
def test_every_source_gives_the_rows_of_the_table_in_order(make, batch_size, frame, schema, tmp_path):
    found = stream(make(frame, tmp_path), schema, batch_size=batch_size)
    together = pd.concat(found.frames(), ignore_index=True)
    pd.testing.assert_frame_equal(together, conform(frame, schema), rtol=1e-15)


@pytest.mark.parametrize("make", SOURCES)
def test_batches_are_the_prepared_rows(make, frame, schema, tmp_path):
    preparation = prepare(frame, schema)
    whole = preparation(frame)
    batches = list(stream(make(frame, tmp_path), schema, batch_size=700).batches(preparation))
    assert [len(batch) for batch in batches] == [700] * 7 + [100]
    for name in ("values", "observed", "labels", "log_scale", "weights", "hashes"):
        torch.testing.assert_close(torch.cat([getattr(batch, name) for batch in batches]), getattr(whole, name))


@pytest.mark.parametrize("batch_size", [300, 2048, 10**6])
def test_the_preparation_of_a_stream_is_that_of_the_table(batch_size, frame, schema, tmp_path):
    found, whole = prepare(stream(csv_file(frame, tmp_path), schema, batch_size=batch_size)), prepare(frame, schema)
    torch.testing.assert_close(found.loc, whole.loc, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found.scale, whole.scale, rtol=1e-9, atol=0)


def test_shuffled_batches_hold_every_row_once_in_an_order_of_their_own(frame, schema, tmp_path):
    preparation, source = prepare(frame, schema), many(frame, tmp_path)

    def order(seed: int, epoch: int) -> list[int]:
        parts = stream(source, schema, batch_size=100, seed=seed).batches(preparation, epoch=epoch)
        return torch.cat([batch.hashes for batch in parts]).tolist()

    straight, first, again, second = preparation(frame).hashes.tolist(), order(0, 0), order(0, 0), order(0, 1)
    assert first == again != second != straight
    assert sorted(first) == sorted(second) == sorted(straight)


def test_a_schema_may_be_read_off_the_first_rows(frame, tmp_path):
    table = frame[["real", "count"]]
    assert stream(csv_file(table, tmp_path)).schema == infer_schema(read(tmp_path / "x.csv"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.csv", "none.csv: expected a CSV or Parquet file or a folder"),
        (lambda folder: [], "source: expected one file or more, got none"),
        (lambda folder: folder / "empty", "expected a folder of CSV or Parquet files, found none in it"),
        (lambda folder: folder / "mixed", "expected files of one kind, found CSV and Parquet"),
        (lambda folder: folder / "x.doc", "expected a name ending in .csv or .parquet"),
        (lambda folder: Query(folder / "none.db", "select 1"), "expected a DuckDB or SQLite file, found none"),
        (lambda folder: Query(folder / "x.doc", "select 1"), "could not be read"),
        (lambda folder: Query(folder / "good.db", "select z from y"), "could not be read: no such table: y"),
        (lambda folder: folder / "broken.parquet", "broken.parquet: could not be read"),
        (lambda folder: folder / "wide.csv", "wide.csv: could not be read: Error tokenizing data"),
        (lambda folder: folder / "header.csv", "header.csv: expected rows, got an empty table"),
        (lambda folder: folder / "word.csv", "word.csv, rows from 3 on: column 'x', row 2: expected a number"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(make, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    for name in ("mixed/a.csv", "mixed/b.parquet", "x.doc", "broken.parquet"):
        (tmp_path / name).write_text("x\n1\n2\n")
    (tmp_path / "wide.csv").write_text("x\n1\n1,2\n")
    (tmp_path / "header.csv").write_text("x\n")
    (tmp_path / "word.csv").write_text("x\n1\n2\n3\nten\n5\n")
    connection = sqlite3.connect(tmp_path / "good.db")
    connection.execute("create table x (x real)")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match=message):
        list(stream(make(tmp_path), Schema((Column("x", "real"),)), batch_size=2).frames())


def test_a_row_that_is_too_short_is_refused_before_it_is_handed_out(tmp_path):
    (tmp_path / "x.csv").write_text("x,y\n" + "1,2\n" * 5 + "3\n" + "1,2\n" * 50)
    schema = Schema((Column("x", "real"), Column("y", "real")))
    rows = 0
    with pytest.raises(InputError, match="row 6: expected 2 cells as in the header, got 1"):
        for frame in stream(tmp_path / "x.csv", schema, batch_size=2).frames():
            rows += len(frame)
    assert rows == 4


def test_files_of_other_programs_in_a_folder_are_no_tables(frame, schema, tmp_path):
    folder = many(frame, tmp_path)
    for name in (".0.csv.crc", "_SUCCESS", "readme.txt", "0.csv.bak", ".hidden.csv"):
        (folder / name).write_text("nothing")
    assert sum(map(len, stream(folder, schema).frames())) == ROWS


def test_a_message_names_the_file_and_the_row_in_it_whatever_the_order(tmp_path):
    for name, cells in {"a": "1\n2\n3\n", "b": "1\n2\nten\n", "c": "1\n2\n3\n"}.items():
        (tmp_path / f"{name}.csv").write_text("x\n" + cells)
    schema = Schema((Column("x", "real"),))
    preparation = prepare(pd.DataFrame({"x": [1.0, 2.0]}), schema)
    for seed in range(4):
        found = stream(tmp_path, schema, batch_size=2, seed=seed)
        with pytest.raises(InputError, match=r"b.csv, rows from 3 on: column 'x', row 1: expected a number, got 'ten'"):
            list(found.batches(preparation))


def test_a_stream_that_is_left_leaves_nothing_behind(frame, schema, tmp_path):
    before, threads = list(warnings.filters), threading.active_count()
    batches = stream(csv_file(frame, tmp_path), schema, batch_size=50).batches(prepare(frame, schema))
    next(batches)
    batches.close()
    assert (list(warnings.filters), threading.active_count()) == (before, threads)


def test_the_rows_of_one_file_are_mixed_as_far_as_the_pool_reaches(tmp_path):
    pd.DataFrame({"x": np.arange(4000.0)}).to_csv(tmp_path / "x.csv", index=False)
    schema = Schema((Column("x", "real"),))
    preparation = prepare(stream(tmp_path / "x.csv", schema))
    found = stream(tmp_path / "x.csv", schema, batch_size=100, seed=1).batches(preparation)
    order = np.concatenate([preparation.invert(batch.values)["x"] for batch in found])
    assert np.abs(order - np.arange(4000)).mean() > 200
    assert np.sort(order).tolist() == pytest.approx(np.arange(4000.0))


def test_text_that_looks_like_numbers_is_text_for_read_as_well(tmp_path):
    pd.DataFrame({"code": [1, 2, 1]}).to_csv(tmp_path / "x.csv", index=False)
    schema = Schema((Column("code", "categorical", ("1", "2")),))
    pd.testing.assert_frame_equal(read(tmp_path / "x.csv", schema), next(stream(tmp_path / "x.csv", schema).frames()))


def test_a_query_without_an_answer_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a query that gives rows, got ''"):
        list(stream(Query(lite(pd.DataFrame({"x": [1.0]}), tmp_path).database, "")).frames())


def test_a_column_that_is_constant_over_all_batches_is_refused(tmp_path):
    pd.DataFrame({"x": [2.5] * 10}).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(InputError, match=r"column 'x': is constant \(2.5\) in the training rows"):
        prepare(stream(tmp_path / "x.csv", Schema((Column("x", "real"),)), batch_size=3))


def test_a_column_that_is_missing_in_some_batches_is_learned_from_the_others(tmp_path):
    frame = pd.DataFrame({"x": [np.nan] * 4 + [1.0, 2.0, 4.0], "y": np.arange(7.0)})
    frame.to_csv(tmp_path / "x.csv", index=False)
    schema = Schema((Column("x", "real"), Column("y", "real")))
    found, whole = prepare(stream(tmp_path / "x.csv", schema, batch_size=2)), prepare(frame, schema)
    torch.testing.assert_close(found.loc, whole.loc)
    torch.testing.assert_close(found.scale, whole.scale)
