"""Where rows come from when they do not fit into memory: files, folders of them, and queries, a block at a time."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd

from ppl_models.datasets.table import CSV, PARQUET, csv_blocks, readable
from ppl_models.errors import InputError

COMPRESSED = (".gz", ".bz2", ".xz")
QUOTE = '"'
VECTOR = 2048  # rows that DuckDB hands over at least
SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class Query:
    """Rows that a database is asked for.

    Attributes:
        database: a DuckDB or SQLite file, which is only read.
        sql: the query. Its rows should come in the same order each time: give it an ORDER BY where they may not.
    """

    database: str | Path
    sql: str


Source = str | Path | Sequence[str | Path] | Query


@dataclass(frozen=True)
class Block:
    """Raw rows.

    Attributes:
        frame: their cells.
        where: the file they come from.
        first: how many rows of it come before them.
    """

    frame: pd.DataFrame
    where: str
    first: int


def read_blocks(
    source: Source, names: Sequence[str] | None, text: Sequence[str], size: int, part: range | None = None
) -> Iterator[Block]:
    """The rows of a source in order, about so many at a time, as raw cells.

    Args:
        source: a CSV or Parquet file, a folder of files of one of these kinds, several files, or a query.
        names: the columns to read, None for all; those that a file lacks are left to ``conform``, which names them.
        text: those whose cells are text even where they look like numbers.
        size: rows in a block.
        part: which rows of the source; None for all. Of Parquet files no others are read.

    Raises:
        InputError: there is no such file, it is of another kind, or it cannot be read.
    """
    before = 0
    for path in [Path(source.database)] if isinstance(source, Query) else files_of(source):
        first = 0
        if part is not None and _countable(source, path):
            number = _parquet_rows(path)
            mine = range(number)[max(part.start - before, 0) : max(part.stop - before, 0)]
            frames, first, before = _read_parquet(path, names, size, mine), mine.start, before + number
        elif isinstance(source, Query):
            frames = _read_query(source, size)
        else:
            frames = _read_file(path, names, text, size)
        for frame in frames:
            rows, last = slice(None), len(frame)
            if part is not None and not _countable(source, path):
                rows, before = slice(max(part.start - before, 0), max(part.stop - before, 0)), before + last
            if len(frame.iloc[rows]):
                yield Block(frame.iloc[rows], str(path), first + range(last)[rows].start)
            first += last
            if part is not None and before >= part.stop:
                return


def count_rows(source: Source, size: int) -> int:
    """How many rows a source has; all but Parquet files are read for it.

    Args:
        source: as of ``read_blocks``.
        size: rows to read at a time.
    """
    if not isinstance(source, Query) and all(_countable(source, path) for path in files_of(source)):
        return sum(map(_parquet_rows, files_of(source)))
    return sum(len(block.frame) for block in read_blocks(source, None, (), size))


def _countable(source: Source, path: Path) -> bool:
    return not isinstance(source, Query) and _kind(path) == "Parquet"


def _parquet_rows(path: Path) -> int:
    """How many rows a Parquet file says that it has."""
    with readable(path), duckdb.connect() as connection:
        found = connection.execute("select sum(num_rows) from parquet_file_metadata(?)", [str(path)]).fetchall()
    return int(found[0][0])


def files_of(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of a source in the order they are read in.

    Raises:
        InputError: there is none, or they are of several kinds.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
    if not paths:
        raise InputError("source: expected one file or more, got none")
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: expected a CSV or Parquet file or a folder of them, found none")
        inside = sorted(filter(partial(_is_table, path), path.rglob("*"))) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: expected a folder of CSV or Parquet files, found none in it")
        found += inside
    kinds = {_kind(path) for path in found}
    if None in kinds:
        wrong = next(path for path in found if _kind(path) is None)
        raise InputError(f"{wrong}: expected a name ending in .csv or .parquet, got {wrong.name!r}")
    if len(kinds) > 1:
        raise InputError(f"{paths[0]}: expected files of one kind, found {' and '.join(sorted(map(str, kinds)))}")
    return found


def _is_table(folder: Path, path: Path) -> bool:
    """Whether a file in a folder is one of its tables; what begins with a dot or an underscore is another program's."""
    own = not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    return own and path.is_file() and path.suffix.lower() != ".txt" and _kind(path) is not None


def _kind(path: Path) -> str | None:
    """What a file's name says that it is."""
    endings = [ending.lower() for ending in path.suffixes if ending.lower() not in COMPRESSED]
    ending = endings[-1] if endings else ""
    if ending in PARQUET:
        return "Parquet"
    return "CSV" if ending in CSV else None


def _read_file(path: Path, names: Sequence[str] | None, text: Sequence[str], size: int) -> Iterator[pd.DataFrame]:
    """The rows of one file."""
    if _kind(path) == "Parquet":
        yield from _read_parquet(path, names, size)
        return
    with readable(path):
        yield from csv_blocks(path, names, text, size)


def _read_parquet(
    path: Path, names: Sequence[str] | None, size: int, part: range | None = None
) -> Iterator[pd.DataFrame]:
    """The rows of one Parquet file, or some of them."""
    with readable(path):
        with duckdb.connect() as connection:
            found = connection.execute("describe from read_parquet(?)", [str(path)]).fetchall()
        there = [name for name, *_ in found if names is None or name in names]
        wanted = ", ".join(f'"{name.replace(QUOTE, 2 * QUOTE)}"' for name in there) or "1 as nothing"
        some = "" if part is None else f" limit {len(part)} offset {part.start}"
        yield from _answer(":memory:", f"select {wanted} from read_parquet(?){some}", [str(path)], size)


def _read_query(query: Query, size: int) -> Iterator[pd.DataFrame]:
    """The rows of a query; the file itself tells whose it is."""
    path = Path(query.database)
    if not path.is_file():
        raise InputError(f"{path}: expected a DuckDB or SQLite file, found none")
    with readable(path):
        with path.open("rb") as file:
            sqlite = file.read(len(SQLITE)) == SQLITE
        if not sqlite:
            yield from _answer(str(path), query.sql, [], size)
            return
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            cursor = connection.execute(query.sql)
            if cursor.description is None:
                raise InputError(f"{path}: expected a query that gives rows, got {query.sql!r}")
            names = [name for name, *_ in cursor.description]
            while rows := cursor.fetchmany(size):
                yield pd.DataFrame(rows, columns=names)


def _answer(database: str, sql: str, values: Sequence[str], size: int) -> Iterator[pd.DataFrame]:
    """What DuckDB answers, in its own order."""
    with duckdb.connect(database, read_only=database != ":memory:") as connection:
        connection.execute("set threads = 1")
        answer = connection.execute(sql, values)
        while len(frame := answer.fetch_df_chunk(max(size // VECTOR, 1))):
            yield frame
