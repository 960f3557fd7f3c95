"""Floor 5: a script as a person runs it."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from ppl_models.errors import InputError
from ppl_models.inference import FitWarning
from ppl_models.reports.folders import require_place

BAD_INPUT = 2

Seed = Annotated[int, typer.Option(help="Seed of the split, the fits and the draws.")]
OutputDir = Annotated[
    Path, typer.Option(help="Folder of the report; replaced if it holds a former one.", callback=require_place)
]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer steps and sizes: a check of the script, not an answer.")]


def script(main: Callable[..., object]) -> None:
    """Run a script's main function with the options of its signature.

    Bad input, a file that cannot be read or written, and an ELBO that is not a number end in one line on standard error
    and exit code 2; a fault of the program keeps its traceback. One thread serves, since small networks gain nothing
    from more and scripts are run side by side.

    Args:
        main: takes keyword arguments with defaults, which become ``--options``; its docstring is the help text.
    """
    torch.set_num_threads(1)
    warnings.filterwarnings("error", message=".*non-finite", category=FitWarning)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except (InputError, OSError, FitWarning) as problem:
        typer.echo(f"error: {problem}", err=True)
        sys.exit(BAD_INPUT)
