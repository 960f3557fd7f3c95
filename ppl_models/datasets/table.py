"""Tables as they arrive: read from a file, and checked cell by cell against a schema."""

import bz2
import csv
import gzip
import lzma
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from itertools import islice
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from ppl_models.datasets.schema import Column, Schema
from ppl_models.errors import InputError

MISSING = ["", "NA", "NaN", "nan"]
EXACT = {"float_precision": "round_trip"} if pd.__version__ < "3" else {}  # later ones read all numbers as written
CSV, PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")
OPENERS = {".csv": open, ".tsv": open, ".txt": open, ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
UNREADABLE = (ValueError, OSError, EOFError, csv.Error, lzma.LZMAError, duckdb.Error, sqlite3.Error)
OUTSIDE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "positive": (lambda numbers: numbers <= 0, "a number above zero"),
    "count": (lambda numbers: (numbers < 0) | (numbers != np.floor(numbers)), "a whole number from 0"),
    "binary": (lambda numbers: (numbers != 0) & (numbers != 1), "0 or 1"),
}
GREY_HINT = (
    "; grey values between 0 and 1 are real columns with the continuous Bernoulli, "
    "or categories, one a level, with the discretised logistic"
)


def read(path: str | Path, schema: Schema | None = None) -> pd.DataFrame:
    """Read a CSV or Parquet file; with a schema, keep its columns and check every cell.

    In a CSV file, the spellings of a missing cell are the empty one, NA, NaN and nan; every other text, None, null and
    N/A among it, is kept as it stands.

    Args:
        path: a file whose name ends in .csv, .csv.gz, .csv.xz (.tsv with tabs for commas) or .parquet.
        schema: the columns to keep, the label among them; None keeps the table as it is.

    Returns:
        The table, rows by columns, missing cells as NaN.

    Raises:
        InputError: the file is missing, empty, of another type or unreadable, a row has more or fewer
            cells than the header, or a cell does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a CSV or Parquet file, found {'a folder' if path.is_dir() else 'none'}")
    with readable(path):
        frame = _read(path, () if schema is None else text_columns(schema))
    if len(frame) == 0:
        raise InputError(f"{path}: expected rows, got an empty table")
    return frame if schema is None else conform(frame, schema, source=str(path))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say of what goes wrong inside the block that the file could not be read.

    Args:
        path: the file.

    Raises:
        InputError: for any of the errors that readers raise.
    """
    try:
        yield
    except InputError:
        raise
    except UNREADABLE as problem:
        raise InputError(f"{path}: could not be read: {' '.join(str(problem).split())}") from problem


def _read(path: Path, text: Sequence[str]) -> pd.DataFrame:
    """The file as a frame."""
    suffixes = "".join(path.suffixes[-2:]).lower()
    if suffixes.endswith(PARQUET):
        with duckdb.connect() as connection:
            return connection.execute("select * from read_parquet(?)", [str(path)]).df()
    if not any(ending in suffixes for ending in CSV):
        raise InputError(f"{path}: expected a name ending in .csv or .parquet, got {path.name!r}")
    (frame,) = csv_blocks(path, text=text)
    return frame


def csv_blocks(
    path: Path, names: Sequence[str] | None = None, text: Sequence[str] = (), size: int | None = None
) -> Iterator[pd.DataFrame]:
    """The rows of a CSV file, so many at a time.

    Args:
        path: the file, compressed or not.
        names: the columns to keep, as far as they are there; None for all.
        text: those whose cells are text even where they look like numbers.
        size: rows in a block; None for all rows at once.

    Raises:
        InputError: the file is empty or unreadable, or a row has more or fewer cells than the header.
    """
    separator = "\t" if ".tsv" in "".join(path.suffixes[-2:]).lower() else ","
    width, checked = _refuse_header(path, separator), path.suffix.lower() not in OPENERS
    if not checked:
        _refuse_longer(path, separator, width)
    table = {"sep": separator, "low_memory": False, "keep_default_na": False, "na_values": MISSING, **EXACT}
    blocks = pd.read_csv(path, **table, dtype=dict.fromkeys(text, str), chunksize=size)
    with nullcontext([blocks]) if size is None else blocks as each:
        for block in each:
            if not checked and block.iloc[:, -1].isna().any():  # pandas fills shorter rows up
                _refuse_shorter(path, separator, width)
                checked = True
            yield block if names is None else block[[name for name in names if name in block]]


def _refuse_header(path: Path, separator: str) -> int:
    """How many names the header has; repeated ones are refused, since pandas would rename them."""
    try:
        header = pd.read_csv(
            path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False, na_values=[""]
        ).iloc[0]
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: expected rows, got an empty file") from None
    repeated = header[header.duplicated() & header.notna()]
    if len(repeated):
        raise InputError(f"{path}: column {repeated.iloc[0]!r} occurs more than once")
    if len(header) == 1 and any(other in str(header.iloc[0]) for other in ";\t"):
        wanted = "tab" if separator == "\t" else "comma"
        raise InputError(f"{path}: expected a {wanted}-separated file, got the one column {header.iloc[0]!r}")
    return len(header)


def _refuse_longer(path: Path, separator: str, width: int) -> None:
    """Refuse a first row longer than the header, of which pandas would take the first cells for an index."""
    with closing(_filled(path, separator)) as rows:
        if any(len(cells) > width for cells in islice(rows, 1, 2)):
            raise InputError(f"{path}: expected {width} cells a row as in the header, got more")


def _refuse_shorter(path: Path, separator: str, width: int) -> None:
    """Name the first row with fewer cells than the header, by its row from 1."""
    with closing(_filled(path, separator)) as rows:
        for row, cells in enumerate(rows):
            if len(cells) < width:
                raise InputError(f"{path}: row {row}: expected {width} cells as in the header, got {len(cells)}")


def _filled(path: Path, separator: str) -> Iterator[list[str]]:
    """The cells of each row, the header's first; blank lines are no rows."""
    with OPENERS[path.suffix.lower()](path, "rt", encoding="utf-8-sig", newline="") as lines:
        for cells in csv.reader(lines, delimiter=separator):
            if len(cells) > 1 or "".join(cells).strip():
                yield cells


def text_columns(schema: Schema) -> list[str]:
    """The columns whose categories are all text, so that their cells are text even where they look like numbers."""
    text = [
        column
        for column in schema.described
        if column.categories and all(isinstance(category, str) for category in column.categories)
    ]
    return [column.name for column in text]


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
    wanted = [column for column in schema.described if column.name in frame]  # all but the label are there
    return pd.DataFrame({column.name: _cells(frame[column.name], column, source) for column in wanted}, frame.index)


def _cells(series: pd.Series, column: Column, source: str) -> np.ndarray | pd.Categorical:
    """One column's cells, checked: float64 with NaN where missing, or categories."""
    where = f"{source}: column {column.name!r}"
    refuse_nested(series, where)
    if column.kind == "categorical":
        return _categories(series, column, where)
    numbers = _numbers(series, where)
    refuse_cells(np.isinf(numbers), series, where, "a finite number")
    if column.kind in OUTSIDE:
        outside, expected = OUTSIDE[column.kind]
        hint = GREY_HINT if column.kind == "binary" and ((numbers > 0) & (numbers < 1)).any() else ""
        refuse_cells(outside(numbers) & ~np.isnan(numbers), series, where, expected, hint=hint)
    return numbers


def _numbers(series: pd.Series, where: str) -> np.ndarray:
    """A column's cells as float64; machine numbers at once, other cells one by one."""
    if _holds(series.dtype, "biuf"):
        return series.to_numpy().astype(float)
    numbers = pd.to_numeric(series.astype(object), errors="coerce")
    refuse_cells(series.notna() & (numbers.isna() | np.iscomplexobj(numbers)), series, where, "a number")
    return numbers.astype(float).to_numpy()


def _categories(series: pd.Series, column: Column, where: str) -> pd.Categorical:
    """A categorical column's cells in the schema's categories; another value is an error."""
    levels = pd.Index(list(column.categories))
    if isinstance(series.dtype, pd.CategoricalDtype) and series.dtype.categories.identical(levels):
        return series.array.set_ordered(column.ordered)
    if _holds(series.dtype, "iuf") and _holds(levels.dtype, "iuf"):
        codes = levels.get_indexer(series.to_numpy())
        _refuse_unseen((codes < 0) & series.notna(), series, column, where)
        return column.from_codes(codes)
    values = series.astype(object)
    _refuse_unseen(values.notna() & ~values.isin(column.categories), series, column, where)
    return pd.Categorical(values, categories=levels, ordered=column.ordered)


def _holds(dtype: object, kinds: str) -> bool:
    """Whether cells of this type are machine numbers of these kinds that pandas can index."""
    return isinstance(dtype, np.dtype) and dtype.kind in kinds and dtype.itemsize <= 8 and dtype != np.float16


def _refuse_unseen(unseen: pd.Series, series: pd.Series, column: Column, where: str) -> None:
    """Refuse values that are no category; the list of categories is spelt out only where it is needed."""
    if unseen.any():
        refuse_cells(unseen, series, where, f"one of {', '.join(map(str, column.categories))}")


def refuse_nested(series: pd.Series, where: str) -> None:
    """Refuse cells that hold many values.

    Args:
        series: one column's cells.
        where: what the message begins with.

    Raises:
        InputError: a cell is a list, a dict or an array, as Parquet files may hold.
    """
    if series.dtype != object:
        return
    nested = np.flatnonzero(~series.map(pd.api.types.is_hashable).to_numpy(dtype=bool))
    if len(nested):
        kind = type(series.iloc[nested[0]]).__name__
        raise InputError(f"{where}, row {nested[0] + 1}: expected a single value, got a cell of type {kind}")


def refuse_cells(
    wrong: pd.Series | np.ndarray, series: pd.Series, where: str, expected: str, *, hint: str = ""
) -> None:
    """Refuse a column for its first wrong cell.

    Args:
        wrong: whether a cell is wrong.
        series: the column's cells.
        where: what the message begins with.
        expected: what the cell should be.
        hint: what the message ends with.

    Raises:
        InputError: a cell is wrong; it is named by its row from 1.
    """
    rows = np.flatnonzero(np.asarray(wrong))
    if len(rows):
        cell = series.iloc[rows[0]]
        cell = cell.item() if isinstance(cell, np.generic) else cell
        raise InputError(f"{where}, row {rows[0] + 1}: expected {expected}, got {cell!r}{hint}")
