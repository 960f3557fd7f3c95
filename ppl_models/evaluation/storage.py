"""Densities on disk: arrays and plain facts in one file, without pickle, so that long runs are resumed and compared."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ppl_models.errors import InputError
from ppl_models.evaluation.comparison import Density


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes its place once it is written and on the disk, and not if anything went wrong.

    Args:
        path: the place; a file there is replaced.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except Exception:
        unfinished.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save_density(density: Density, path: str | Path) -> None:
    """Write a density to an npz file, whole or not at all.

    Args:
        density: what ``log_density`` returned.
        path: the file, replaced if it exists.
    """
    path = Path(path)
    whole = {field.name: getattr(density, field.name) for field in fields(density)}
    arrays = {name: value for name, value in whole.items() if isinstance(value, np.ndarray)}
    facts = {name: value for name, value in whole.items() if name not in arrays}
    with whole_file(path) as file:
        np.savez(file, facts=json.dumps(facts), **arrays)


def load_density(path: str | Path) -> Density:
    """Read a density that ``save_density`` wrote.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            facts = json.loads(str(found["facts"]))
            arrays = {name: found[name] for name in found.files if name != "facts"}
        facts |= {name: tuple(facts[name]) for name in ("columns", "discrete")}
        return Density(**(facts | arrays))
    except FileNotFoundError:
        raise InputError(f"{path}: expected a saved density, found no file") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected a density that save_density wrote, got another file") from error
