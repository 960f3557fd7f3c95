"""``ppl-models verify``: the laws of the ELBO on a pair that a module holds."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch
import typer

from ppl_models.errors import InputError
from ppl_models.verify import Pair, Scoring, verify

BROKEN = 1


def run(target: str, *, seed: int, draws: int, alarms: float, laws: Sequence[str] | None, as_json: bool) -> int:
    """Run the laws and print what they find.

    Args:
        target: ``package.module:name``.
        seed: the seed of all random numbers.
        draws: independent draws behind an estimate.
        alarms: how often a right pair is called wrong by chance.
        laws: those to run; None for all.
        as_json: whether to print JSON.

    Returns:
        The exit code: 0, or 1 if a law is broken.
    """
    torch.set_num_threads(1)
    found = verify(load_subject(target), seed=seed, draws=draws, alarms=alarms, laws=laws)
    typer.echo(found.table().to_json(orient="records", indent=2) if as_json else str(found))
    return 0 if found else BROKEN


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
