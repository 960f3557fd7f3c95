"""A table and its columns as a command line names them: a file, a folder or a query; a schema that is seen or told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd
import yaml

from ppl_models.datasets import Query, Schema, Stream, infer_schema, sequence_schema, stream
from ppl_models.datasets.schema import KINDS
from ppl_models.datasets.sources import Source, read_blocks
from ppl_models.datasets.streams import BATCH, first_rows
from ppl_models.datasets.table import readable
from ppl_models.errors import InputError

DATABASES = (".duckdb", ".ddb", ".db", ".sqlite", ".sqlite3")
TOLD = {"label": str, "drop": list, "columns": dict, "image_shape": list, "sequence": bool, "vocabulary": list}
SHOWN = 8  # categories


@dataclass(frozen=True)
class Columns:
    """What a person says of a table's columns; the rest is seen.

    Attributes:
        label: the column of the classes.
        kinds: ``column=kind`` each.
        drop: columns to leave out.
        file: a YAML file that says the same, and categories: label, drop, columns, image_shape, or sequence and its
            vocabulary. What the others say goes before it.
    """

    label: str | None = None
    kinds: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    file: Path | None = None


def source_of(path: Path, query: str | None = None) -> Source:
    """What a table is read from.

    Args:
        path: a CSV or Parquet file, a folder of them, or a DuckDB or SQLite file.
        query: of a database; None for the only table there.

    Raises:
        InputError: there is no such file, a query of what is no database, or a database of several tables without one.
    """
    database = path.suffix.lower() in DATABASES
    if query is not None and not database:
        raise InputError(f"{path}: expected a file ending in one of {', '.join(DATABASES)} for a query")
    if not database:
        return path
    if not path.is_file():
        raise InputError(f"{path}: expected a DuckDB or SQLite file, found none")
    if query is None:
        names = _tables(path)
        if len(names) != 1:
            found = f"{len(names)}: {', '.join(names)}" if names else "none"
            raise InputError(f"{path}: expected one table or a query, such as 'select * from …'; found {found}")
        query = f'select * from "{names[0]}"'
    return Query(path, query)


def _tables(path: Path) -> list[str]:
    """The names of a database's tables."""
    with readable(path), duckdb.connect() as connection:
        with path.open("rb") as file:
            kind = "sqlite" if file.read(6) == b"SQLite" else "duckdb"
        if kind == "sqlite":
            query = Query(path, "select name from sqlite_master where type = 'table' order by name")
            return [name for block in read_blocks(query, None, (), BATCH) for name in block.frame["name"]]
        connection.execute(f"attach '{str(path).replace(chr(39), 2 * chr(39))}' as it (read_only)")
        found = connection.execute("select table_name from duckdb_tables() where database_name = 'it' order by 1")
        return [name for (name,) in found.fetchall()]


def told_stream(source: Source, columns: Columns, *, batch_size: int = BATCH) -> Stream:
    """A table with the schema that its first rows show and a person says.

    Args:
        source: of ``source_of``.
        columns: what a person says.
        batch_size: rows a batch, and rows that the schema is seen at.

    Raises:
        InputError: the table cannot be read or is empty, or what is said does not fit it.
    """
    first = first_rows(source, batch_size)
    return stream(source, told_schema(first, columns), batch_size=batch_size)


def told_schema(frame: pd.DataFrame, columns: Columns) -> Schema:
    """The schema that rows show and a person says.

    Args:
        frame: rows of the table.
        columns: what a person says.

    Raises:
        InputError: a column that is not there, or cannot be what is said of it.
    """
    told = {} if columns.file is None else _told(columns.file)
    kinds, categories = told_kinds(columns), _kinds(told.get("columns", {}))[1]
    drop = [*told.get("drop", ()), *columns.drop]
    unknown = next((name for name in drop if name not in frame.columns), None)
    if unknown is not None:
        raise InputError(f"drop: no column {unknown!r}; the columns are {', '.join(map(str, frame.columns))}")
    shape, label = told.get("image_shape"), columns.label or told.get("label")
    rest = frame.drop(columns=drop)
    if told.get("sequence"):
        if kinds or categories or shape:
            raise InputError("sequence: expected columns that are all steps, got kinds, categories or an image_shape")
        return sequence_schema(rest, vocabulary=told.get("vocabulary"), label=label)
    return infer_schema(rest, label=label, kinds=kinds, categories=categories, image_shape=shape and tuple(shape))


def told_kinds(columns: Columns) -> dict[str, str]:
    """The kinds that a person says, by column.

    Args:
        columns: what is said.

    Raises:
        InputError: there is no such kind, or none is said.
    """
    told = {} if columns.file is None else _told(columns.file)
    kinds, categories = _kinds(told.get("columns", {}))
    kinds = dict.fromkeys(categories, "categorical") | kinds
    for pair in columns.kinds:
        name, equals, kind = pair.rpartition("=")
        if not (equals and name and kind):
            raise InputError(f"kind: expected column=kind, got {pair!r}")
        kinds[name] = kind
    strange = next((name for name, kind in kinds.items() if kind not in KINDS), None)
    if strange is not None:
        raise InputError(f"column {strange!r}: expected {', '.join(KINDS)}, got {kinds[strange]!r}")
    return kinds


def _told(path: Path) -> Mapping[str, object]:
    """What a YAML file says of columns."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise InputError(f"{path}: expected a YAML file: {' '.join(str(problem).split())}") from problem
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected {', '.join(TOLD)}, got {type(found).__name__}")
    for name, value in found.items():
        if name not in TOLD:
            raise InputError(f"{path}: expected {', '.join(TOLD)}, got {name!r}")
        if not isinstance(value, TOLD[name]):
            raise InputError(f"{path}: {name}: expected a {TOLD[name].__name__}, got {value!r}")
    return found


def _kinds(columns: Mapping[str, object]) -> tuple[dict[str, str], dict[str, Sequence[object]]]:
    """Kinds and categories by column."""
    kinds, categories = {}, {}
    for name, told in columns.items():
        parts = told if isinstance(told, dict) else {"kind": told}
        strange = next((part for part in parts if part not in ("kind", "categories")), None)
        if strange is not None or not parts:
            raise InputError(f"column {name!r}: expected kind and categories, got {strange or 'nothing'!r}")
        if "kind" in parts:
            kinds[name] = parts["kind"]
        if "categories" in parts:
            categories[name] = parts["categories"]
    return kinds, categories


def schema_table(schema: Schema) -> pd.DataFrame:
    """A schema as a table: a line a column, with its kind and categories.

    Args:
        schema: what the columns are.
    """
    lines = []
    for column in schema.described:
        shown = ", ".join(map(str, column.categories[:SHOWN])) + ", …" * (len(column.categories) > SHOWN)
        kind = "label" if schema.label is not None and column.name == schema.label.name else column.kind
        lines.append((column.name, kind, shown))
    return pd.DataFrame(lines, columns=["column", "kind", "categories"])
