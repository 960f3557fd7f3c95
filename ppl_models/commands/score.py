"""``ppl-models score``: the log density of each row of a table under a fit, nats, raw units."""

import json
from dataclasses import fields
from pathlib import Path

import pandas as pd
import typer

from ppl_models.commands.runs import end_with, open_fit
from ppl_models.commands.tables import source_of
from ppl_models.commands.written import write_table
from ppl_models.datasets import stream
from ppl_models.evaluation import density_doubts
from ppl_models.inference import log_density

BY_ROW = ("values", "khat", "effective")


def run(  # noqa: PLR0913  # an option each
    folder: Path,
    table: Path,
    *,
    query: str | None,
    fit: str | None,
    output: Path | None,
    draws: int,
    seed: int,
    as_json: bool,
) -> int:
    """Score rows and write their log densities.

    Args:
        folder: of the run.
        table: rows of the same columns.
        query: of a database.
        fit: which of the run's; None for the best.
        output: a CSV or Parquet file of a line a row; None for standard output.
        draws: behind a bound, where the density has no closed form.
        seed: of the draws.
        as_json: whether standard output takes JSON.

    Returns:
        The exit code, 0.
    """
    family = open_fit(folder, fit).family
    rows = family.preparation(stream(source_of(table, query), family.schema))
    found = log_density(family, rows, seed=seed, draws=draws)
    told = {one.name: getattr(found, one.name) for one in fields(found)}
    lines = {"log_density" if name == "values" else name: told[name] for name in BY_ROW if told[name] is not None}
    write_table(pd.DataFrame(lines).rename_axis("row").reset_index(), output, as_json=as_json)
    facts = {"elpd": found.elpd, "se": found.se, "rows": len(rows), "kind": found.kind, "draws": found.draws}
    unit = "nats per row, raw units, higher is better"
    if as_json and output is not None:
        typer.echo(json.dumps(facts | {"unit": unit, "mean_se": found.mean_se}, indent=2))
    else:
        typer.echo(
            f"{found.elpd:.4f} (standard error {found.se:.4f} over {len(rows)} rows; {unit}; {found.kind})", err=True
        )
    return end_with(density_doubts(found) if found.draws else (), strict=False)
