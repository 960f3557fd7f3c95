"""``ppl-models compare``: which family describes a table best? All that suit, their sizes chosen, and the report."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import typer

from ppl_models.commands.candidates import Contest, require_found, suitable
from ppl_models.commands.options import grid
from ppl_models.commands.runs import Request, claim, end_with, plain, require_folder, write_run
from ppl_models.commands.tables import schema_table, source_of, told_kinds, told_stream
from ppl_models.datasets import Schema, prepare_split
from ppl_models.errors import InputError
from ppl_models.inference import log_density
from ppl_models.reports import Report, comparison_section, conclusion, replicate_section

FITS, REPORT, FEW = "fits", "report", 50
TABLES, QUICK_TABLES = 200, 20
DRAWS = 1000
UNIT = "Held-out log density in nats per row, raw units, higher is better"
SAME = 10  # values of a measured column that are suspiciously few


@dataclass(frozen=True, kw_only=True)
class Asked(Request):
    """What a comparison is asked for.

    Attributes:
        families: to compare, with several values of settings to choose among; none for all that suit.
        jobs: processes; None for as many as there are cores.
        quick: few sizes and steps: a check, not an answer.
    """

    families: Sequence[str] = ()
    jobs: int | None = None
    quick: bool = False


def run(table: Path, **options: object) -> int:
    """Compare, and write the report; a run that is broken off can be resumed.

    Args:
        table: what is read.
        options: the rest of ``Asked``.

    Returns:
        The exit code: 0, or 3 if there are doubts and they are asked for.
    """
    started, asked = time.perf_counter(), Asked(table=table, **options)
    require_folder(asked.output, resume=asked.resume)
    frame, schema = _read(asked)
    if len(frame) < FEW:
        raise InputError(f"{asked.table}: expected {FEW} rows or more to compare families on, got {len(frame)}")
    candidates = {told: grid(told) for told in asked.families} or suitable(schema, len(frame), quick=asked.quick)
    typer.echo(f"{len(frame)} rows of {asked.table}\n{schema_table(schema).to_string(index=False)}", err=True)
    parts = prepare_split(frame, schema, seed=asked.seed, stratify=schema.label and schema.label.name)
    folder = asked.output / FITS
    folder.mkdir(parents=True, exist_ok=True)
    told = {"table": parts.train.checksum, "schema": str(schema), "seed": str(asked.seed), "quick": str(asked.quick)}
    claim(asked.output, told)
    contest = Contest(schema, parts.train, parts.validation, folder, asked.seed, asked.quick)
    chosen = contest.run(candidates, jobs=asked.jobs)
    require_found(chosen, candidates)
    fits = {_titled(name, told, candidates[name]): found for name, (told, found) in chosen.items()}
    densities = {
        name: log_density(found.family, parts.test, seed=asked.seed, draws=DRAWS) for name, found in fits.items()
    }
    report = Report(f"Which model describes {asked.table.stem} best?", seed=asked.seed)
    held_out = parts.frames.test[list(schema.names)]
    comparison = comparison_section(report, densities, fits, train=parts.train, held_out=held_out)
    report.summary, report.sure = conclusion(comparison)
    report.check("columns with few values", _doubts(frame, schema))
    tables = QUICK_TABLES if asked.quick else TABLES
    replicate_section(report, fits[comparison.index[0]].family, held_out, seed=asked.seed, tables=tables)
    page = report.write(asked.output / REPORT, seconds=time.perf_counter() - started)
    facts = _facts(asked, comparison, len(frame)) | {"doubts": report.doubts}
    facts |= {"answer": report.summary, "sure": report.sure}
    kept = [str(contest.path_of(told).relative_to(asked.output)) for told, _ in chosen.values()]
    places = {
        "fits": dict(zip(fits, kept, strict=True)),
        "best": comparison.index[0],
        "report": f"{REPORT}/{page.name}",
    }
    write_run(asked.output, facts | places)
    _tell(asked, facts | places, comparison, page)
    return end_with(report.doubts, strict=asked.strict)


def _read(asked: Asked) -> tuple[pd.DataFrame, Schema]:
    """The table, and its columns: measured ones of few values are categories, unless somebody says otherwise."""
    source, columns = source_of(asked.table, asked.query), asked.columns
    rows = told_stream(source, columns)
    frame = pd.concat(rows.frames(), ignore_index=True)
    few = [name for name in _few_values(frame, rows.schema) if name not in told_kinds(columns)]
    if not few or len(frame) < FEW:
        return frame, rows.schema
    for name in few:
        told = f"column {name!r} takes {frame[name].nunique()} different values only, and is described as categorical"
        typer.echo(f"{told}; --kind {name}=real describes it as measured", err=True)
    kinds = (*(f"{name}=categorical" for name in few), *columns.kinds)
    rows = told_stream(source, replace(columns, kinds=kinds))
    return pd.concat(rows.frames(), ignore_index=True), rows.schema


def _titled(name: str, told: str, tried: Sequence[str]) -> str:
    """A name with what was chosen of it, where there was a choice."""
    if len(tried) == 1:
        return name
    words = [dict(pair.split("=") for pair in one.partition(":")[2].split()) for one in tried]
    mine = dict(pair.split("=") for pair in told.partition(":")[2].split())
    varied = [f"{key} {value}" for key, value in mine.items() if len({one[key] for one in words}) > 1]
    plain_name = name.partition(":")[0]
    return f"{plain_name}, {', '.join(varied)}"


def _few_values(frame: pd.DataFrame, schema: Schema) -> list[str]:
    """Real and positive columns that repeat few values, at which a density may be as high as it likes."""
    return [column.name for column in schema.columns if column.continuous and frame[column.name].nunique() <= SAME]


def _doubts(frame: pd.DataFrame, schema: Schema) -> list[str]:
    """What is to be said of such columns where somebody asked for them."""
    return [
        f"column {name!r} is told as measured and takes {frame[name].nunique()} different values only, at which a "
        f"density can be very high; --kind {name}=categorical gives them probabilities"
        for name in _few_values(frame, schema)
    ]


def _facts(asked: Asked, comparison: pd.DataFrame, rows: int) -> dict[str, object]:
    """What tells a run from others, and what came of it."""
    table = json.loads(comparison.reset_index().to_json(orient="records"))
    return {"command": "compare", **plain(asked), "rows": rows, "comparison": table, "unit": UNIT}


def _tell(asked: Asked, facts: dict[str, object], comparison: pd.DataFrame, page: Path) -> None:
    """The answer on standard output."""
    if asked.as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        shown = comparison[["elpd", "se", "diff", "dse", "kind"]].round(4).to_string()
        typer.echo(f"{facts['answer']} {facts['sure']}\n\n{shown}\n\n{UNIT}; the report: {page}")
