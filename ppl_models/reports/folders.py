"""Folders that are whole or not there: written beside their place and put into it at the end."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ppl_models.errors import InputError

PAGE = "index.html"
RECORD = "run.json"
MARK = "ppl_models"  # the key by which a record is known to be ours
INDEX_MARK = f'<meta name="generator" content="{MARK}">'  # by which an index page is known to be ours


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the place of `folder` when the block ends well.

    If the block fails, the temporary folder and the parents made for it go, and `folder` stays as it was.

    Raises:
        InputError: Something that is not a former report is in the place, or nothing can be written
            there.
    """
    place = folder.resolve()
    _refuse_foreign(place)
    made = [parent for parent in place.parents if not parent.exists()]
    temporary = place.with_name(f".{place.name}.{uuid4().hex}")
    try:
        with _said_as_bad_input(place.parent):
            temporary.mkdir(parents=True)
        yield temporary
        _take_place(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(made)


def require_place(folder: Path) -> Path:
    """Refuse, before any work is done, a place that a report could not take; leave no trace there.

    Raises:
        InputError: Something that is not a former report is in the place, or nothing can be written there.
    """
    place = folder.resolve()
    _refuse_foreign(place)
    _refuse_unwritable(place.parent)
    return folder


def require_index_place(folder: Path) -> Path:
    """Refuse, before any work is done, a folder that an index page could not go to; leave no trace there.

    Raises:
        InputError: A file is in the place of the folder, an index.html that is not a former index page is in it, or
            nothing can be written there.
    """
    place = folder.resolve()
    page = place / PAGE
    if place.is_file():
        raise InputError(f"expected a folder for the index page, got the file {place}")
    if page.is_dir() or (page.exists() and INDEX_MARK.encode() not in page.read_bytes()):
        raise InputError(f"expected no {PAGE} or a former index page of {MARK}, got another in {place}")
    _refuse_unwritable(place)
    return folder


def read_record(folder: Path) -> dict[str, object]:
    """Read the record of a report; one of a version without checks or pictures has none.

    Raises:
        InputError: The folder holds no report.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"expected a report with a {RECORD}, got none in {folder}") from error
    if not isinstance(record, dict) or MARK not in record:
        raise InputError(f"expected a {RECORD} written by ppl_models, got another in {folder}")
    return {"sure": "", "checked": [], "doubts": [], "figures": []} | record


def _refuse_foreign(place: Path) -> None:
    if place.is_file():
        raise InputError(f"expected a folder for the report, got the file {place}")
    if place.exists() and any(place.iterdir()):
        try:
            read_record(place)
        except InputError as error:
            raise InputError(f"expected an empty folder or a former report, got {place}: {error}") from error


def _refuse_unwritable(folder: Path) -> None:
    # Tried in the nearest folder that is there: parents made and removed would race with scripts run side by side.
    there = next(one for one in (folder, *folder.parents) if one.exists())
    with _said_as_bad_input(folder):
        trial = there / f".{uuid4().hex}"
        trial.mkdir()
        trial.rmdir()


@contextmanager
def _said_as_bad_input(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"expected a folder that can be written, got {folder}: {error}") from error


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it holds something or is gone
            folder.rmdir()


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
