"""``ppl-models fit``: one family, one table, one folder; in several processes where ``torchrun`` starts them."""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
import typer
from torch import distributed

from ppl_models.commands.candidates import validated
from ppl_models.commands.options import family_kind, grid, make_family, make_method
from ppl_models.commands.runs import Request, claim, end_with, plain, require_folder, write_run
from ppl_models.commands.tables import schema_table, source_of, told_stream
from ppl_models.datasets import Dataset, Preparation, prepared_share, stream
from ppl_models.datasets.shares import from_first, leave, rank_and_number
from ppl_models.errors import InputError
from ppl_models.families import Amortised, ClassProduct, Family, SemiSupervisedVAE
from ppl_models.inference import Checkpoint, Fit, Gradient, NaturalGradient, fit, fit_doubts, load_fit, save_fit
from ppl_models.inference.identity import identity_of

STATE, FIT, CANDIDATES = "state", "fit.safetensors", "candidates"
EVERY = 60.0  # seconds between two writings of the state
PATIENCE = timedelta(days=1)  # of processes that wait for the first one, which looks through the whole table


@dataclass(frozen=True, kw_only=True)
class Asked(Request):
    """What a fit is asked for.

    Attributes:
        family: its name and settings; of several values of a setting the best is kept.
        validation: rows to stop by, of the same columns.
        method: settings of the fit.
        device: cpu or cuda, which takes all rows into its memory; auto for cuda where there is one and the family is
            fitted by gradients.
    """

    family: str
    validation: Path | None = None
    method: str = ""
    device: str = "auto"


def run(table: Path, **options: object) -> int:
    """Fit, and write what came of it; a run that is broken off can be resumed.

    Args:
        table: what is read.
        options: the rest of ``Asked``.

    Returns:
        The exit code: 0, or 3 if there are doubts and they are asked for.
    """
    started, asked = time.perf_counter(), Asked(table=table, **options)
    told, conjugate = grid(asked.family), issubclass(family_kind(asked.family), ClassProduct)
    with _processes("cpu" if conjugate and asked.device == "auto" else asked.device) as device:
        alone = rank_and_number()[0] == 0  # in what is written
        if alone:
            require_folder(asked.output, resume=asked.resume)
        preparation, train = _rows(asked, device=device)
        candidates = [make_family(one, preparation.schema).to(device) for one in told]
        method = make_method(asked.method, NaturalGradient if conjugate else Gradient)
        validation = None if asked.validation is None else _rows(asked, preparation=preparation, device=device)[1]
        _require_choice(candidates, validation)
        if alone:
            typer.echo(schema_table(preparation.schema).to_string(index=False), err=True)
            asked.output.mkdir(parents=True, exist_ok=True)
        found, chosen = _best(asked, dict(zip(told, candidates, strict=True)), train, validation, method)
        doubts = fit_doubts(found)
        if alone:
            facts = _facts(asked, train, found) | {"chosen": chosen, "doubts": doubts, "device": device}
            facts = _write(asked.output, found, facts | {"wall_s": time.perf_counter() - started})
            typer.echo(json.dumps(facts, indent=2) if asked.as_json else _words(facts, asked.output))
    return end_with(doubts if alone else (), strict=asked.strict)


def _rows(asked: Asked, *, preparation: Preparation | None = None, device: str) -> tuple[Preparation, Dataset]:
    """This process's rows on its device, and how they were prepared; with a preparation those of validation."""
    if preparation is None:
        whole = told_stream(source_of(asked.table, asked.query), asked.columns)
    else:
        whole = stream(source_of(asked.validation), preparation.schema)
    preparation, rows = prepared_share(whole, preparation)
    return preparation, rows if device == "cpu" else replace(rows[:], share=rows.share).to(device)


def _require_choice(candidates: list[Family], validation: Dataset | None) -> None:
    """Refuse several families that nothing is there to choose between."""
    told_by_elbo = all(isinstance(one, ClassProduct) and one.bayesian for one in candidates)
    if len(candidates) > 1 and validation is None and not told_by_elbo:
        raise InputError(f"family: expected validation rows to choose one of {len(candidates)} by, got none")


def _best(
    asked: Asked, candidates: dict[str, Family], train: Dataset, validation: Dataset | None, method: object
) -> tuple[Fit, str]:
    """The fit that is best by the log density of validation rows, or by its ELBO without; and its settings."""
    if len(candidates) == 1:
        ((told, family),) = candidates.items()
        kept = Checkpoint(asked.output / STATE, resume=asked.resume, every=EVERY)
        return fit(family, train, validation, seed=asked.seed, method=method, checkpoint=kept), told
    folder, best, best_score, chosen = asked.output / CANDIDATES, None, -math.inf, ""
    identity = identity_of(next(iter(candidates.values())), train, validation, method=method, seed=asked.seed)
    if rank_and_number()[0] == 0:
        folder.mkdir(exist_ok=True)
        claim(folder, identity | {"settings": asked.family})
    for index, (told, family) in enumerate(candidates.items()):
        path = folder / f"{index:03d}.safetensors"
        if from_first(path.exists()):
            found = load_fit(path)
        else:
            state = path.with_suffix(f".{STATE}")
            kept = Checkpoint(state, resume=asked.resume, every=EVERY)
            found = fit(family, train, validation, seed=asked.seed, method=method, checkpoint=kept)
            if rank_and_number()[0] == 0:
                save_fit(found, path)
                state.unlink(missing_ok=True)
        score = validated(found, validation, seed=asked.seed)
        if score > best_score:
            best, best_score, chosen = found, score, told
    if best is None:
        raise InputError(f"family: expected a fit with a finite score, got none of {', '.join(candidates)}")
    return best, chosen


def _facts(asked: Asked, train: Dataset, found: Fit) -> dict[str, object]:
    """What tells a run from others, and what came of it."""
    return {
        "command": "fit",
        **plain(asked),
        "processes": rank_and_number()[1],
        "rows": train.all_rows,
        "checksum": train.checksum if train.share is None else None,
        "elbo": found.elbo,
        "unit": "nats per row, raw units, higher is better",
        "meaning": meaning(found.family),
        "stop": found.stop,
        "converged": found.converged,
    }


def meaning(family: Family) -> str:
    """What the ELBO of a family is, in words.

    Args:
        family: of this package.
    """
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
        leave()


def _write(output: Path, found: Fit, told: dict[str, object]) -> dict[str, object]:
    """What came of a run; the last file says that it is whole."""
    save_fit(found, output / FIT)
    for name in ("history", "restarts"):
        getattr(found, name).to_csv(output / f"{name}.csv", index=False)
    whole = write_run(output, told | {"fits": {told["chosen"]: FIT}, "best": told["chosen"]})
    (output / STATE).unlink(missing_ok=True)
    return whole


def _words(told: dict[str, object], output: Path) -> str:
    return (
        f"{told['chosen']}: ELBO {told['elbo']:.4f} nats per row of {told['rows']} training rows (raw units, higher is "
        f"better; {told['meaning']}), {told['stop']}; in {told['wall_s']:.1f} s, written to {output}"
    )
