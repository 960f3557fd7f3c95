"""Floor 5: ``ppl-models``: what a command does stands in ``commands/``, and is imported when it is run."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from ppl_models.errors import FitWarning, InputError

BAD_INPUT = 2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def commands() -> None:
    """Explicit density estimation and amortised inference on one honest scale."""


@app.command()
def verify(
    target: Annotated[
        str, typer.Argument(help="package.module:pair, a Pair, a Scoring, or a function that makes one.")
    ],
    *,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    draws: Annotated[int, typer.Option(help="Independent draws behind an estimate.")] = 256,
    alarms: Annotated[float, typer.Option(help="How often a right pair is called wrong by chance.")] = 1e-3,
    law: Annotated[list[str] | None, typer.Option(help="A law to run; may be repeated. All by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    """Run the laws of the ELBO on a Pyro model and guide; exit code 1 if any is broken."""
    _run("verify", target, seed=seed, draws=draws, alarms=alarms, laws=law or None, as_json=as_json)


@app.command()
def fit(  # noqa: PLR0913  # an option each
    table: Annotated[Path, typer.Argument(help="CSV or Parquet file, or a folder of them.")],
    *,
    family: Annotated[str, typer.Option(help='Name and settings: "gaussian-mixture: components=3 covariance=full".')],
    output: Annotated[Path, typer.Option(help="A new folder for the run.")],
    label: Annotated[str | None, typer.Option(help="Column of the classes.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Rows to stop by, for families fitted by gradients.")] = None,
    method: Annotated[str, typer.Option(help='Settings of the fit: "steps=2000 batch-size=256".')] = "",
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was broken off.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as JSON.")] = False,
) -> None:
    """Fit a family to a table of any size; in several processes under ``torchrun -m ppl_models fit``."""
    told = {"family": family, "output": output, "label": label, "validation": validation, "method": method}
    _run("fit", table, **told, seed=seed, device=device, resume=resume, as_json=as_json)


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


def _run(command: str, *arguments: object, **options: object) -> None:
    """What the command does, and its exit code."""
    sys.exit(import_module(f"ppl_models.commands.{command}").run(*arguments, **options))
