"""``ppl-models datasets``: the tables that come with the package, and what the columns of any table are."""

import json
from pathlib import Path

import pandas as pd
import typer

from ppl_models.commands.tables import Columns, schema_table, source_of, told_stream
from ppl_models.commands.written import require_output, write_table
from ppl_models.datasets import load
from ppl_models.datasets.bundled import TABLES
from ppl_models.inference.saving import pack_schema


def run(name: str | None, *, query: str | None, columns: Columns, output: Path | None, as_json: bool) -> int:
    """List the bundled tables, or show what the columns of one, or of a file, are.

    Args:
        name: of a bundled table, or a file; None for the list.
        query: of a database.
        columns: what is said of a file's columns.
        output: a CSV or Parquet file for a bundled table's rows.
        as_json: whether to print JSON.

    Returns:
        The exit code, 0.
    """
    require_output(output)
    if name is None:
        tables = [load(each) for each in TABLES]
        lines = [(one.name, len(one.frame), len(one.schema.columns), _label(one), one.source) for one in tables]
        listed = pd.DataFrame(lines, columns=["name", "rows", "columns", "label", "source"])
        typer.echo(listed.to_json(orient="records", indent=2) if as_json else listed.to_string(index=False))
        return 0
    bundled = load(name) if name in TABLES else None
    schema = bundled.schema if bundled else told_stream(source_of(Path(name), query), columns).schema
    typer.echo(json.dumps(pack_schema(schema), indent=2) if as_json else schema_table(schema).to_string(index=False))
    if output is not None:
        rows = bundled.frame if bundled else pd.concat(told_stream(source_of(Path(name), query), columns).frames())
        write_table(rows, output)
    return 0


def _label(table: object) -> str:
    return table.schema.label.name if table.schema.label is not None else ""
