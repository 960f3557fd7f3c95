"""Floor 5: a script as a person runs it: options, one line and exit code 2 for bad input, 3 for doubts if asked."""

import sys
import warnings
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated

import torch
import typer

from ppl_models.cli import exit_on_bad_input
from ppl_models.errors import DOUBTFUL, FitWarning
from ppl_models.reports.folders import read_record, require_place

Seed = Annotated[int, typer.Option(help="Seed of the split, the fits and the draws.")]
OutputDir = Annotated[
    Path, typer.Option(help="Folder of the report; replaced if it holds a former one.", callback=require_place)
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 if the report says what cannot be trusted.")]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer steps and sizes: a check of the script, not an answer.")]


def script(main: Callable[..., object]) -> None:
    """Run a script's main function with the options of its signature.

    Bad input, a file that cannot be read or written, and an ELBO that is not a number end in one line on standard error
    and exit code 2; a fault of the program keeps its traceback. One thread serves, since small networks gain nothing
    from more and scripts are run side by side. A script that writes a report takes ``--strict`` as well, by which it
    ends, the report written, with the report's doubts on standard error and exit code 3, if there are any.

    Args:
        main: takes keyword arguments with defaults, which become ``--options``; its docstring is the help text.
    """
    torch.set_num_threads(1)
    warnings.filterwarnings("error", message=".*non-finite", category=FitWarning)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main if "output_dir" not in signature(main).parameters else _strict(main))
    exit_on_bad_input(app)


def _strict(main: Callable[..., object]) -> Callable[..., object]:
    """The same function with an option more, unless it has that itself."""
    given = signature(main)
    if "strict" in given.parameters:
        return main

    @wraps(main)
    def run(*, strict: bool, **options: object) -> None:
        main(**options)
        doubts = read_record(options["output_dir"])["doubts"] if strict else []
        if doubts:
            typer.echo("\n".join([f"{options['output_dir']}: cannot be trusted:", *doubts]), err=True)
            sys.exit(DOUBTFUL)

    option = Parameter("strict", Parameter.KEYWORD_ONLY, default=False, annotation=Strict)
    run.__signature__ = given.replace(parameters=[*given.parameters.values(), option])
    run.__annotations__ = {**main.__annotations__, "strict": Strict}
    return run
