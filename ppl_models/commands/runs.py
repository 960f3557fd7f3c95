"""A run's folder: what was asked and what came of it in ``run.json``, fits beside it; written whole, or to be resumed.

``run.json`` is written last: a folder without one is a run that was broken off.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import typer

from ppl_models.commands.tables import Columns
from ppl_models.errors import DOUBTFUL, InputError
from ppl_models.evaluation.storage import whole_file
from ppl_models.inference import Fit, load_fit

RUN, CLAIM, FORMAT, WRITER = "run.json", "claim.json", 1, "ppl_models run"
VERSIONS = ("ppl-models", "torch", "pyro-ppl")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every run is asked for.

    Attributes:
        table: a CSV or Parquet file, a folder of them, or a DuckDB or SQLite file.
        output: a new folder, or that of the run to resume.
        query: of a database.
        columns: what is said of the columns.
        seed: of everything.
        resume: whether to go on from what the folder holds.
        strict: whether doubts end in exit code 3.
        as_json: whether to print JSON.
    """

    table: Path
    output: Path
    query: str | None = None
    columns: Columns = field(default_factory=Columns)
    seed: int = 0
    resume: bool = False
    strict: bool = False
    as_json: bool = False


def require_folder(output: Path, *, resume: bool) -> None:
    """Refuse a place where something is in the way.

    Args:
        output: the folder of the run.
        resume: whether to go on with a run there.

    Raises:
        InputError: a file, a folder that is not empty, or a run that came to its end.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: expected a folder for the run, got a file")
    if not resume and output.is_dir() and any(output.iterdir()):
        raise InputError(f"{output}: expected a new or an empty folder; resume the run in it, or name another")
    if resume and (output / RUN).exists():
        raise InputError(f"{output}: expected a run that was broken off, got one that came to its end")


def write_run(output: Path, told: Mapping[str, object]) -> dict[str, object]:
    """Write ``run.json``, which says that a run came to its end.

    Args:
        output: the folder of the run.
        told: plain values by name, the command and its options among them; "fits" are its fits' files by name, and
            "best" is the name of one of them.

    Returns:
        All that was written.
    """
    whole = {"writer": WRITER, "format": FORMAT, **told}
    whole |= {"versions": {name: version(name) for name in VERSIONS}}
    whole |= {"ended": datetime.now(UTC).isoformat(timespec="seconds")}
    with whole_file(output / RUN) as file:
        file.write(json.dumps(whole, indent=2).encode())
    return whole


def read_run(folder: Path) -> dict[str, object]:
    """What ``write_run`` wrote.

    Args:
        folder: of the run.

    Raises:
        InputError: no run, one that was broken off, or one of a later format.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected the folder of a run, found {'a file' if folder.exists() else 'none'}")
    if not (folder / RUN).is_file():
        raise InputError(f"{folder}: expected a run that came to its end, found no {RUN} in it")
    try:
        found = json.loads((folder / RUN).read_text(encoding="utf-8"))
        if found["writer"] != WRITER:
            raise ValueError(found["writer"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{folder / RUN}: expected what a run wrote, got something else") from problem
    if found["format"] > FORMAT:
        raise InputError(
            f"{folder / RUN}: expected format {FORMAT} or older, got {found['format']}; a newer version reads it"
        )
    return found


def open_fit(folder: Path, name: str | None = None) -> Fit:
    """A fit of a run.

    Args:
        folder: of the run.
        name: of the fit; None for the best, or the only one.

    Raises:
        InputError: what ``read_run`` and ``load_fit`` refuse, or there is no such fit.
    """
    told = read_run(folder)
    chosen = told["best"] if name is None else name
    if chosen not in told["fits"]:
        raise InputError(f"{folder}: expected one of the fits {', '.join(told['fits'])}, got {chosen!r}")
    return load_fit(folder / told["fits"][chosen])


def claim(output: Path, told: Mapping[str, str]) -> None:
    """Say whose a folder is before the work; one that is resumed must be of the same.

    Args:
        output: the folder of the run.
        told: what the run's results depend on.

    Raises:
        InputError: the folder is that of a run of something else.
    """
    path = output / CLAIM
    if path.exists():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        different = next((name for name in told if theirs.get(name) != told[name]), None)
        if different is not None:
            raise InputError(f"{output}: expected the run that was broken off, got one with another {different}")
    with whole_file(path) as file:
        file.write(json.dumps(dict(told)).encode())


def plain(asked: object) -> dict[str, object]:
    """What a run was asked for as plain values by name, for ``write_run``.

    Args:
        asked: a dataclass.
    """
    found: dict[str, object] = {}
    for name, value in vars(asked).items():
        if is_dataclass(value):
            found[name] = plain(value)
        else:
            found[name] = str(value) if isinstance(value, Path) else value
    return found


def end_with(doubts: Iterable[str], *, strict: bool) -> int:
    """Say on standard error what cannot be trusted.

    Args:
        doubts: one sentence each.
        strict: whether they are asked for.

    Returns:
        The exit code: 3 if there are doubts and they are asked for, else 0.
    """
    told = list(doubts)
    for doubt in told:
        typer.echo(f"doubt: {doubt}", err=True)
    return DOUBTFUL if strict and told else 0
