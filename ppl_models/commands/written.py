"""What commands write: a table to a file, whole or not at all, or to standard output."""

import tempfile
from pathlib import Path

import duckdb
import pandas as pd
import typer

from ppl_models.datasets.table import PARQUET
from ppl_models.errors import InputError
from ppl_models.evaluation.storage import whole_file

ENDINGS = (".csv", *PARQUET)


def write_table(frame: pd.DataFrame, output: Path | None, *, as_json: bool = False) -> None:
    """Write a table.

    Args:
        frame: the table; its index is left out.
        output: a CSV or Parquet file, replaced if it exists; None for standard output.
        as_json: whether standard output takes JSON, a list of rows, and not CSV.

    Raises:
        InputError: a file of another kind.
    """
    if output is None:
        text = frame.to_json(orient="records", indent=2) + "\n" if as_json else frame.to_csv(index=False)
        typer.echo(text, nl=False)
        return
    require_output(output)
    with whole_file(output) as file:
        if output.suffix.lower() == ".csv":
            file.write(frame.to_csv(index=False).encode())
            return
        with tempfile.TemporaryDirectory() as folder:
            duckdb.from_df(frame).write_parquet(f"{folder}/rows.parquet")
            file.write(Path(folder, "rows.parquet").read_bytes())


def require_output(output: Path | None) -> None:
    """Refuse a file that no table can be written to, before the work.

    Args:
        output: the file; None for standard output.

    Raises:
        InputError: its name ends otherwise, or its folder is not there.
    """
    if output is None:
        return
    if output.suffix.lower() not in ENDINGS:
        raise InputError(f"{output}: expected a name ending in {' or '.join(ENDINGS)}, got {output.name!r}")
    if not output.parent.is_dir() or output.is_dir():
        raise InputError(f"{output}: expected a file in a folder that is there")
