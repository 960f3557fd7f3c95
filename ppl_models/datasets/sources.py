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


def read_blocks(source: Source, names: Sequence[str] | None, text: Sequence[str], size: int) -> Iterator[Block]:
    """The rows of a source in order, about so many at a time, as raw cells.

    Args:
        source: a CSV or Parquet file, a folder of files of one of these kinds, several files, or a query.
        names: the columns to read, None for all; those that a file lacks are left to ``conform``, which names them.
        text: those whose cells are text even where they look like numbers.
        size: rows in a block.

    Raises:
        InputError: there is no such file, it is of another kind, or it cannot be read.
    """
    files = [Path(source.database)] if isinstance(source, Query) else files_of(source)
    for path in files:
        frames = _read_query(source, size) if isinstance(source, Query) else _read_file(path, names, text, size)
        first = 0
        for frame in frames:
            yield Block(frame, str(path), first)
            first += len(frame)


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
    with readable(path):
        if _kind(path) == "CSV":
            yield from csv_blocks(path, names, text, size)
            return
        with duckdb.connect() as connection:
            found = connection.execute("describe from read_parquet(?)", [str(path)]).fetchall()
        there = [name for name, *_ in found if names is None or name in names]
        wanted = ", ".join(f'"{name.replace(QUOTE, 2 * QUOTE)}"' for name in there) or "1 as nothing"
        yield from _answer(":memory:", f"select {wanted} from read_parquet(?)", [str(path)], size)


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
