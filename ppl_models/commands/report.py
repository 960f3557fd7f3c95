"""``ppl-models report``: one saved fit on rows that it has not seen, as a page."""

import time
from pathlib import Path

import pandas as pd
import typer

from ppl_models.commands.runs import end_with, open_fit
from ppl_models.commands.tables import source_of
from ppl_models.datasets import stream
from ppl_models.inference import log_density
from ppl_models.reports import Report, comparison_section, replicate_section
from ppl_models.reports.folders import require_place


def run(  # noqa: PLR0913  # an option each
    folder: Path, table: Path, *, query: str | None, fit: str | None, output: Path, draws: int, seed: int, strict: bool
) -> int:
    """Write the page.

    Args:
        folder: of the run.
        table: rows of the same columns, held out from the fit.
        query: of a database.
        fit: which of the run's; None for the best.
        output: a new folder, or a former report, which is replaced.
        draws: behind a bound.
        seed: of the draws.
        strict: whether doubts end in exit code 3.

    Returns:
        The exit code: 0, or 3 if there are doubts and they are asked for.
    """
    started = time.perf_counter()
    require_place(output)
    found = open_fit(folder, fit)
    family, name = found.family, type(found.family).__name__
    frame = pd.concat(stream(source_of(table, query), family.schema).frames(), ignore_index=True)
    rows = family.preparation(frame)
    density = log_density(family, rows, seed=seed, draws=draws)
    report = Report(f"{name} on {table.stem}", summary="", seed=seed)
    report.summary = (
        f"{name} gives the {len(rows)} rows of {table.stem} {density.elpd:.3f} nats per row (standard error "
        f"{density.se:.3f}; raw units, higher is better; {density.kind})."
    )
    comparison_section(report, {name: density}, {name: found})
    replicate_section(report, family, frame, seed=seed)
    typer.echo(report.write(output, seconds=time.perf_counter() - started))
    return end_with(report.doubts, strict=strict)
