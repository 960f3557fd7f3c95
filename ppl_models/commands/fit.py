"""``ppl-models fit``: one family, one table, one folder; in several processes where ``torchrun`` starts them."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import torch
import typer
from torch import distributed

from ppl_models.commands.options import family_kind, make_family, make_method
from ppl_models.datasets import Dataset, Preparation, prepared_share, stream
from ppl_models.datasets.shares import rank_and_number
from ppl_models.errors import InputError
from ppl_models.evaluation.storage import whole_file
from ppl_models.families import Amortised, ClassProduct, Family, SemiSupervisedVAE
from ppl_models.inference import Checkpoint, Fit, Gradient, NaturalGradient, fit
from ppl_models.inference.checkpoints import write_checkpoint

STATE, WEIGHTS, RUN = "state", "weights.safetensors", "run.json"
EVERY = 60.0  # seconds between two writings of the state
PATIENCE = timedelta(days=1)  # of processes that wait for the first one, which looks through the whole table
VERSIONS = ("ppl-models", "torch", "pyro-ppl")


@dataclass(frozen=True)
class Asked:
    """What a run is asked for.

    Attributes:
        table: a CSV or Parquet file, or a folder of them.
        family: its name and settings.
        output: a new folder, or that of the run to resume.
        label: the column of the classes.
        validation: rows to stop by, of the same columns.
        method: settings of the fit.
        seed: of everything.
        device: cpu or cuda, which takes all rows into its memory; auto for cuda where there is one and the family is
            fitted by gradients.
        resume: whether to go on from what the folder holds.
        as_json: whether to print JSON.
    """

    table: Path
    family: str
    output: Path
    label: str | None = None
    validation: Path | None = None
    method: str = ""
    seed: int = 0
    device: str = "auto"
    resume: bool = False
    as_json: bool = False


def run(table: Path, **options: object) -> int:
    """Fit, and write what came of it; a run that is broken off can be resumed.

    Args:
        table: a CSV or Parquet file, or a folder of them.
        options: the rest of ``Asked``.

    Returns:
        The exit code, 0.
    """
    started, asked = time.perf_counter(), Asked(table, **options)
    conjugate = issubclass(family_kind(asked.family), ClassProduct)
    with _processes("cpu" if conjugate and asked.device == "auto" else asked.device) as device:
        alone = rank_and_number()[0] == 0  # in what is written
        if alone:
            _require_folder(asked.output, resume=asked.resume)
        preparation, train = _rows(asked.table, label=asked.label, device=device)
        chosen = make_family(asked.family, preparation.schema).to(device)
        told = {"seed": asked.seed, "method": make_method(asked.method, NaturalGradient if conjugate else Gradient)}
        if asked.validation is not None:
            told["validation"] = _rows(asked.validation, preparation=preparation, device=device)[1]
        if alone:
            asked.output.mkdir(parents=True, exist_ok=True)
        found = fit(
            chosen, train, **told, checkpoint=Checkpoint(asked.output / STATE, resume=asked.resume, every=EVERY)
        )
        if alone:
            facts = _facts(asked, train, found) | {"device": device, "wall_s": time.perf_counter() - started}
            _write(asked.output, found, facts)
            typer.echo(json.dumps(facts, indent=2) if asked.as_json else _words(facts, asked.output))
    return 0


def _rows(
    table: Path, *, label: str | None = None, preparation: Preparation | None = None, device: str
) -> tuple[Preparation, Dataset]:
    """This process's rows of a table on its device, and how they were prepared."""
    whole = stream(table, None if preparation is None else preparation.schema, label=label)
    preparation, rows = prepared_share(whole, preparation)
    return preparation, rows if device == "cpu" else replace(rows[:], share=rows.share).to(device)


def _facts(asked: Asked, train: Dataset, found: Fit) -> dict[str, object]:
    """What tells a run from others, and what came of it."""
    return {
        "command": "fit",
        **{name: str(value) if isinstance(value, Path) else value for name, value in vars(asked).items()},
        "versions": {name: version(name) for name in VERSIONS},
        "processes": rank_and_number()[1],
        "rows": train.all_rows,
        "columns": {
            column.name: column.kind if not column.categories else {column.kind: [*map(str, column.categories)]}
            for column in train.schema.described
        },
        "elbo": found.elbo,
        "unit": "nats per row, raw units, higher is better",
        "meaning": _meaning(found.family),
        "stop": found.stop,
        "converged": found.converged,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _meaning(family: Family) -> str:
    """What the ELBO of a family is."""
    if isinstance(family, ClassProduct):
        found = {
            "bayes": "a lower bound on the log evidence",
            "map": "the log likelihood and the log prior density at the mode",
            "maximum-likelihood": "the log likelihood at its maximum, exact",
        }[family.likelihoods.estimate]
    elif isinstance(family, Amortised):
        found = "a lower bound on the log likelihood"
    else:
        found = "log p(x, z) at the guide's point, a bound on nothing"
    labelled = isinstance(family, SemiSupervisedVAE) or (isinstance(family, ClassProduct) and family.labelled)
    joint = f", of the rows with their {family.schema.label.name!r} where it is known" if labelled else ""
    return f"{found}{joint}" + (f", given {family.given}" if family.given else "")


@contextmanager
def _processes(device: str) -> Iterator[str]:
    """Join the other processes, if there are any; the device that this one computes on."""
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device: expected auto, cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: expected cpu, since there is no CUDA device here, got 'cuda'")
    cuda = device != "cpu" and torch.cuda.is_available()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield "cuda" if cuda else "cpu"
        return
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield f"cuda:{torch.cuda.current_device()}" if cuda else "cpu"
    finally:
        distributed.destroy_process_group()


def _require_folder(output: Path, *, resume: bool) -> None:
    """Refuse a place where something is in the way."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: expected a folder for the run, got a file")
    if not resume and output.is_dir() and any(output.iterdir()):
        raise InputError(f"{output}: expected a new or an empty folder; resume the run in it, or name another")
    if resume and (output / RUN).exists():
        raise InputError(f"{output}: expected a run that was broken off, got one that came to its end")


def _write(output: Path, found: Fit, told: dict[str, object]) -> None:
    """What came of a run; the last file says that it is whole."""
    write_checkpoint(output / WEIGHTS, {"family": type(found.family).__name__, "state": found.family.state_dict()})
    for name in ("history", "restarts"):
        getattr(found, name).to_csv(output / f"{name}.csv", index=False)
    with whole_file(output / RUN) as file:
        file.write(json.dumps(told, indent=2).encode())
    (output / STATE).unlink(missing_ok=True)


def _words(told: dict[str, object], output: Path) -> str:
    return (
        f"ELBO {told['elbo']:.4f} nats per row of {told['rows']} training rows (raw units, higher is better; "
        f"{told['meaning']}), {told['stop']}; in {told['wall_s']:.1f} s, written to {output}"
    )
