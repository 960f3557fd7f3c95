"""Floor 5: ``ppl-models``: what a command does stands in ``commands/``, and is imported when it is run.

Results go to standard output, all else to standard error. Exit codes: 0; 1 for a failure, or a broken law; 2 for bad
input; 3 for doubts under ``--strict``; 130 for a run that was interrupted.
"""

import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppl_models.errors import FitWarning, InputError

if TYPE_CHECKING:
    from ppl_models.commands.tables import Columns

BAD_INPUT, INTERRUPTED = 2, 130

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

Table = Annotated[Path, typer.Argument(help="CSV or Parquet file, a folder of them, or a DuckDB or SQLite file.")]
Folder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of fit or compare.")]
Query = Annotated[str | None, typer.Option(help="SQL, where the table is a database; its only table by default.")]
Label = Annotated[str | None, typer.Option(help="Column of the classes.")]
Kind = Annotated[
    list[str] | None, typer.Option(help="column=kind: real, positive, count, binary, categorical. May be repeated.")
]
Drop = Annotated[list[str] | None, typer.Option(help="Column to leave out. May be repeated.")]
SchemaFile = Annotated[
    Path | None, typer.Option("--schema", help="YAML: label, drop, columns (kind, categories), image_shape, sequence.")
]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
Draws = Annotated[int, typer.Option(min=1, help="Draws behind a bound, where there is no closed form.")]
Output = Annotated[Path, typer.Option(help="A new folder for the run.")]
File = Annotated[Path | None, typer.Option(help="CSV or Parquet file; standard output by default.")]
Which = Annotated[str | None, typer.Option("--fit", help="Which fit of the run; the best by default.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was broken off.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 if there is a reason not to trust a number.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON.")]


@app.callback()
def commands() -> None:
    """Explicit density estimation and amortised inference on one honest scale."""


@app.command()
def compare(  # noqa: PLR0913  # an option each
    table: Table,
    *,
    output: Output,
    family: Annotated[
        list[str] | None, typer.Option(help='"mixture: components=2..6 covariance=VVV,EEE". All that suit by default.')
    ] = None,
    query: Query = None,
    label: Label = None,
    kind: Kind = None,
    drop: Drop = None,
    schema: SchemaFile = None,
    seed: Seed = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; as many as cores by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few sizes and steps: a check, not an answer.")] = False,
    resume: Resume = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Say which family describes a table best, and write the report."""
    told = {"output": output, "families": tuple(family or ()), "query": query, "seed": seed, "jobs": jobs}
    told |= {"quick": quick, "resume": resume, "strict": strict, "as_json": as_json}
    _run("compare", table, columns=_columns(label, kind, drop, schema), **told)


@app.command()
def fit(  # noqa: PLR0913  # an option each
    table: Table,
    *,
    family: Annotated[str, typer.Option(help='Name and settings: "gaussian-mixture: components=2..6".')],
    output: Output,
    query: Query = None,
    label: Label = None,
    kind: Kind = None,
    drop: Drop = None,
    schema: SchemaFile = None,
    validation: Annotated[Path | None, typer.Option(help="Rows to stop and to choose settings by.")] = None,
    method: Annotated[str, typer.Option(help='Settings of the fit: "steps=2000 batch-size=256".')] = "",
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    resume: Resume = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Fit a family to a table of any size; in several processes under ``torchrun -m ppl_models fit``."""
    told = {"family": family, "output": output, "query": query, "validation": validation, "method": method}
    told |= {"seed": seed, "device": device, "resume": resume, "strict": strict, "as_json": as_json}
    _run("fit", table, columns=_columns(label, kind, drop, schema), **told)


@app.command()
def sample(
    run: Folder,
    *,
    rows: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    which: Which = None,
    output: File = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw rows from a fit, in the table's own columns and units."""
    _run("sample", run, rows=rows, fit=which, output=output, seed=seed, as_json=as_json)


@app.command()
def score(  # noqa: PLR0913  # an option each
    run: Folder,
    table: Table,
    *,
    query: Query = None,
    which: Which = None,
    output: File = None,
    draws: Draws = 1000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Give each row of a table its log density under a fit."""
    _run("score", run, table, query=query, fit=which, output=output, draws=draws, seed=seed, as_json=as_json)


@app.command()
def report(  # noqa: PLR0913  # an option each
    run: Folder,
    table: Table,
    *,
    output: Annotated[Path, typer.Option(help="Folder of the page; a former report there is replaced.")],
    query: Query = None,
    which: Which = None,
    draws: Draws = 1000,
    seed: Seed = 0,
    strict: Strict = False,
) -> None:
    """Write the page of a fit on rows that were held out."""
    _run("report", run, table, query=query, fit=which, output=output, draws=draws, seed=seed, strict=strict)


@app.command()
def explore(  # an option each
    run: Folder,
    table: Annotated[Path | None, typer.Argument(help="Rows of the same columns; those of the run by default.")] = None,
    *,
    query: Query = None,
    which: Which = None,
    output: Annotated[Path | None, typer.Option(help="The page; RUN/explorer.html by default.")] = None,
    concept: Annotated[
        list[str] | None, typer.Option(help="column=value: a direction with a slider. May be repeated.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Write a page on which sliders move through the latent space of a VAE or an autoencoder."""
    told = {"query": query, "fit": which, "output": output, "concepts": tuple(concept or ()), "seed": seed}
    _run("explore", run, table, **told)


@app.command()
def verify(
    target: Annotated[
        str, typer.Argument(help="package.module:pair, a Pair, a Scoring, or a function that makes one.")
    ],
    *,
    seed: Seed = 0,
    draws: Annotated[int, typer.Option(help="Independent draws behind an estimate.")] = 256,
    alarms: Annotated[float, typer.Option(help="How often a right pair is called wrong by chance.")] = 1e-3,
    law: Annotated[list[str] | None, typer.Option(help="A law to run; may be repeated. All by default.")] = None,
    as_json: Json = False,
) -> None:
    """Run the laws of the ELBO on a Pyro model and guide; exit code 1 if any is broken."""
    _run("verify", target, seed=seed, draws=draws, alarms=alarms, laws=law or None, as_json=as_json)


@app.command()
def datasets(  # noqa: PLR0913  # an option each
    name: Annotated[str | None, typer.Argument(help="A bundled table, or a file; the list by default.")] = None,
    *,
    query: Query = None,
    label: Label = None,
    kind: Kind = None,
    drop: Drop = None,
    schema: SchemaFile = None,
    output: Annotated[Path | None, typer.Option(help="CSV or Parquet file for the rows.")] = None,
    as_json: Json = False,
) -> None:
    """List the bundled tables, or show what the columns of a table are."""
    columns = _columns(label, kind, drop, schema)
    _run("datasets", name, query=query, columns=columns, output=output, as_json=as_json)


def main() -> None:
    """Run ``ppl-models``."""
    exit_on_bad_input(app)


def exit_on_bad_input(app: typer.Typer) -> None:
    """Run an app; bad input ends in one line on standard error and exit code 2.

    Args:
        app: the commands; other exceptions than of bad input are faults of the program and keep their traceback.
    """
    try:
        app()
    except (InputError, OSError, FitWarning) as problem:
        typer.echo(f"error: {problem}", err=True)
        sys.exit(BAD_INPUT)


def _columns(label: str | None, kind: list[str] | None, drop: list[str] | None, schema: Path | None) -> "Columns":
    """What is said of the columns."""
    tables = import_module("ppl_models.commands.tables")
    return tables.Columns(label, tuple(kind or ()), tuple(drop or ()), schema)


def _run(command: str, *arguments: object, **options: object) -> None:
    """What the command does, and its exit code."""
    warnings.formatwarning = lambda message, *place, **where: f"warning: {message}\n"
    try:
        code = import_module(f"ppl_models.commands.{command}").run(*arguments, **options)
    except KeyboardInterrupt:
        typer.echo("interrupted; --resume goes on with a run that keeps its state", err=True)
        code = INTERRUPTED
    sys.exit(code)
