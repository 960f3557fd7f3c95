"""Floor 5: ``ppl-models``, and a script as a person runs it."""

import sys
import warnings
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated

import torch
import typer

from ppl_models.errors import InputError
from ppl_models.inference import FitWarning
from ppl_models.reports.folders import read_record, require_place
from ppl_models.verify import Pair, Scoring
from ppl_models.verify import verify as verify_subject
from ppl_models.verify.examination import LEAST_DRAWS

FAILED, BAD_INPUT, DOUBTFUL = 1, 2, 3

Seed = Annotated[int, typer.Option(help="Seed of the split, the fits and the draws.")]
OutputDir = Annotated[
    Path, typer.Option(help="Folder of the report; replaced if it holds a former one.", callback=require_place)
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 if the report says what cannot be trusted.")]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer steps and sizes: a check of the script, not an answer.")]


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
    draws: Annotated[int, typer.Option(min=LEAST_DRAWS, help="Independent draws behind an estimate.")] = 256,
    alarms: Annotated[float, typer.Option(help="How often a right pair is called wrong by chance.")] = 1e-3,
    law: Annotated[list[str] | None, typer.Option(help="A law to run; may be repeated. All by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    """Run the laws of the ELBO on a Pyro model and guide; exit code 1 if any is broken."""
    found = verify_subject(load_subject(target), seed=seed, draws=draws, alarms=alarms, laws=law or None)
    typer.echo(found.table().to_json(orient="records", indent=2) if as_json else str(found))
    if not found:
        sys.exit(FAILED)


def load_subject(target: str) -> Pair | Scoring:
    """What ``package.module:name`` is, or makes if it is a function; the folder one is in is looked in first.

    Raises:
        InputError: there is no such module or name, or it is neither.
    """
    module, colon, name = target.partition(":")
    if not (module and colon and name):
        raise InputError(f"target: expected package.module:pair, got {target!r}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as missing:
        raise InputError(f"target: expected a module that can be imported, got {module!r}: {missing}") from missing
    finally:
        sys.path.pop(0)
    if found is None:
        raise InputError(f"target: expected a name in {module}, got {name!r}")
    found = found() if callable(found) else found
    if not isinstance(found, Pair | Scoring):
        raise InputError(
            f"target: expected a Pair or a Scoring, or a function that makes one, got {type(found).__name__}"
        )
    return found


def main() -> None:
    """Run ``ppl-models``."""
    _exit_on_bad_input(app)


def _exit_on_bad_input(app: typer.Typer) -> None:
    """Run an app; bad input ends in one line and exit code 2."""
    torch.set_num_threads(1)
    try:
        app()
    except (InputError, OSError, FitWarning) as problem:
        typer.echo(f"error: {problem}", err=True)
        sys.exit(BAD_INPUT)


def script(main: Callable[..., object]) -> None:
    """Run a script's main function with the options of its signature.

    Bad input, a file that cannot be read or written, and an ELBO that is not a number end in one line on standard error
    and exit code 2; a fault of the program keeps its traceback. One thread serves, since small networks gain nothing
    from more and scripts are run side by side. A script that writes a report takes ``--strict`` as well, by which it
    ends, the report written, with the report's doubts on standard error and exit code 3, if there are any.

    Args:
        main: takes keyword arguments with defaults, which become ``--options``; its docstring is the help text.
    """
    warnings.filterwarnings("error", message=".*non-finite", category=FitWarning)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main if "output_dir" not in signature(main).parameters else _strict(main))
    _exit_on_bad_input(app)


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
