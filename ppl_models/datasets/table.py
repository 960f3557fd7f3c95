"""Tables as they arrive: read from a file, and checked cell by cell against a schema."""

import warnings
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from ppl_models.datasets.schema import Column, Schema
from ppl_models.errors import InputError


def read(path: str | Path, schema: Schema | None = None) -> pd.DataFrame:
    """Read a CSV or Parquet file; with a schema, keep its columns and check every cell.

    Args:
        path: a file whose name ends in .csv, .csv.gz, .csv.xz or .parquet.
        schema: the columns to keep, the label among them; None keeps the table as it is.

    Returns:
        The table, rows by columns, missing cells as NaN.

    Raises:
        InputError: the file is missing, empty, of another type or unreadable, or a cell does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a CSV or Parquet file, found {'a folder' if path.is_dir() else 'none'}")
    try:
        frame = _read(path)
    except InputError:
        raise
    except (ValueError, OSError, duckdb.Error) as problem:
        raise InputError(f"{path}: could not be read: {' '.join(str(problem).split())}") from problem
    if len(frame) == 0:
        raise InputError(f"{path}: expected rows, got an empty table")
    return frame if schema is None else conform(frame, schema, source=str(path))


def _read(path: Path) -> pd.DataFrame:
    """The file as a frame, with the header's repeated names refused, since pandas would rename them."""
    suffixes = "".join(path.suffixes[-2:]).lower()
    if suffixes.endswith((".parquet", ".pq")):
        with duckdb.connect() as connection:
            return connection.execute("select * from read_parquet(?)", [str(path)]).df()
    if not any(ending in suffixes for ending in (".csv", ".tsv", ".txt")):
        raise InputError(f"{path}: expected a name ending in .csv or .parquet, got {path.name!r}")
    separator = "\t" if ".tsv" in suffixes else ","
    try:
        header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0]
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: expected rows, got an empty file") from None
    repeated = header[header.duplicated() & header.notna()]
    if len(repeated):
        raise InputError(f"{path}: column {repeated.iloc[0]!r} occurs more than once")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:  # without index_col, pandas would take the first cells of longer rows for an index
            return pd.read_csv(path, sep=separator, index_col=False)
        except pd.errors.ParserWarning:
            raise InputError(f"{path}: expected {len(header)} cells a row as in the header, got more") from None


def conform(frame: pd.DataFrame, schema: Schema, *, source: str = "table") -> pd.DataFrame:
    """The schema's columns of a table as numbers and categories, every cell checked.

    Args:
        frame: a table that holds the schema's columns; the label may be absent.
        schema: what the columns must be.
        source: the table's name in error messages.

    Returns:
        A new frame in the schema's order: float64 columns (NaN where missing) and pandas categoricals.

    Raises:
        InputError: a column is missing or repeated, or a cell does not fit its kind.

    >>> schema = Schema((Column("visits", "count"),))
    >>> conform(pd.DataFrame({"visits": [3, 1]}), schema)["visits"].tolist()
    [3.0, 1.0]
    """
    if len(frame) == 0:
        raise InputError(f"{source}: expected rows, got an empty table")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise InputError(f"{source}: column {repeated[0]!r} occurs more than once")
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise InputError(f"{source}: no column {missing[0]!r}; the columns are {', '.join(map(str, frame.columns))}")
    wanted = [*schema.columns, *([schema.label] if schema.label and schema.label.name in frame else [])]
    return pd.DataFrame(
        {column.name: _cells(frame[column.name], column, source) for column in wanted}, index=frame.index
    )


def _cells(series: pd.Series, column: Column, source: str) -> pd.Series:
    """One column's cells, checked."""
    if column.kind == "categorical":
        return _categories(series, column, source)
    numbers = pd.to_numeric(series.astype(object), errors="coerce").astype(float)
    _refuse(numbers.isna() & series.notna(), series, f"{source}: column {column.name!r}", "a number")
    _refuse(np.isinf(numbers), series, f"{source}: column {column.name!r}", "a finite number")
    wrong, expected = {
        "real": (numbers != numbers, ""),
        "positive": (numbers <= 0, "a number above zero"),
        "count": ((numbers < 0) | (numbers != np.floor(numbers)), "a whole number from 0"),
        "binary": (~numbers.isin((0, 1)), "0 or 1"),
    }[column.kind]
    _refuse(wrong & numbers.notna(), series, f"{source}: column {column.name!r}", expected)
    return numbers


def _categories(series: pd.Series, column: Column, source: str) -> pd.Series:
    """A categorical column's cells in the schema's categories; another value is an error."""
    values = series.astype(object)
    unseen = values.notna() & ~values.isin(column.categories)
    _refuse(unseen, series, f"{source}: column {column.name!r}", f"one of {', '.join(map(str, column.categories))}")
    return pd.Series(pd.Categorical(values, categories=list(column.categories)), index=series.index)


def _refuse(wrong: pd.Series, series: pd.Series, where: str, expected: str) -> None:
    """Name the first wrong cell, by its row from 1."""
    rows = np.flatnonzero(wrong.to_numpy())
    if len(rows):
        cell = series.iloc[rows[0]]
        cell = cell.item() if isinstance(cell, np.generic) else cell
        raise InputError(f"{where}, row {rows[0] + 1}: expected {expected}, got {cell!r}")
