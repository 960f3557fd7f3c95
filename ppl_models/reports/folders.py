"""Folders that are whole or not there: written beside their place and put into it at the end."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ppl_models.errors import InputError

RECORD = "run.json"
MARK = "ppl_models"  # the key by which a record is known to be ours


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder that takes the place of `folder` when the block ends well.

    If the block fails, the temporary folder goes and `folder` stays as it was.

    Raises:
        InputError: Something that is not a former report is in the place, or nothing can be written
            there.
    """
    place = folder.resolve()
    _refuse_foreign(place)
    temporary = _new_sibling(place)
    try:
        yield temporary
        _take_place(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_place(folder: Path) -> Path:
    """Refuses, before any work is done, a place that a report could not take.

    Raises:
        InputError: Something that is not a former report is in the place, or nothing can be written there.
    """
    place = folder.resolve()
    _refuse_foreign(place)
    temporary = _new_sibling(place)
    temporary.rmdir()
    return folder


def read_record(folder: Path) -> dict[str, object]:
    """Reads the record of a report.

    Raises:
        InputError: The folder holds no report.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"expected a report with a {RECORD}, got none in {folder}") from error
    if not isinstance(record, dict) or MARK not in record:
        raise InputError(f"expected a {RECORD} written by ppl_models, got another in {folder}")
    return record


def _refuse_foreign(place: Path) -> None:
    if place.is_file():
        raise InputError(f"expected a folder for the report, got the file {place}")
    if place.exists() and any(place.iterdir()):
        try:
            read_record(place)
        except InputError as error:
            raise InputError(f"expected an empty folder or a former report, got {place}: {error}") from error


def _new_sibling(place: Path) -> Path:
    sibling = place.with_name(f".{place.name}.{uuid4().hex}")
    try:
        sibling.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"expected a folder that can be written, got {place.parent}: {error}") from error
    return sibling


def _take_place(temporary: Path, place: Path) -> None:
    if not place.exists():
        temporary.rename(place)
        return
    former = place.with_name(f"{temporary.name}.former")
    place.rename(former)
    try:
        temporary.rename(place)
    except OSError:
        former.rename(place)
        raise
    shutil.rmtree(former, ignore_errors=True)
