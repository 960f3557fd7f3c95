"""What one or several processes do in ``test_processes.py``: python several.py FOLDER, or the same under torchrun."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cases import build
from torch import distributed

from ppl_models import VAE, GaussianMixture, NaiveBayes, fit, load, log_density, prepare
from ppl_models.datasets import Dataset, share_of
from ppl_models.datasets.shares import gathered_by_first, leave, rank_and_number
from ppl_models.families import Family
from ppl_models.inference import (
    Checkpoint,
    Gradient,
    NaturalGradient,
    checkpoints,
    estimate_elbo,
    evaluations,
    gradient,
)
from ppl_models.nn import Convolutional

CONJUGATE = (
    "naive Bayes, some labels missing",
    "naive Bayes, one class",
    "mixture of mixed columns",
    "latent classes, maximum likelihood",
    "Gaussian mixture, full, cells missing",
    "naive Bayes, sorted by class, maximum likelihood",
    "Gaussian mixture in a race",
)
STEPS = 20


class BrokenOffError(Exception):
    """Stands for whatever ends a process."""


def sorted_by_class() -> tuple[Family, Dataset]:
    """No process has rows of every class."""
    table = load("iris")
    frame = table.frame.sort_values("label")
    return NaiveBayes(table.schema, estimate="maximum-likelihood"), prepare(frame, table.schema)(frame)


def in_a_race() -> tuple[Family, Dataset]:
    """So many rows that runs race on a sample, which is of all processes' rows."""
    random = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [2.0, 1.0], [6.0, -3.0]])
    frame = pd.DataFrame(random.normal(centres[np.arange(17_000) // 6000]), columns=["a", "b"])
    rows = prepare(frame)(frame)
    return GaussianMixture(rows.schema, components=3), rows


OWN = {"naive Bayes, sorted by class, maximum likelihood": sorted_by_class, "Gaussian mixture in a race": in_a_race}


def conjugate() -> dict[str, object]:
    """Fits whose sums are taken over all processes."""
    found = {}
    for name in CONJUGATE:
        family, rows = OWN[name]() if name in OWN else build(name)
        told = fit(family, share_of(rows), seed=0, method=NaturalGradient(restarts=3, starts=6))
        criteria = () if told.criteria is None else tuple(vars(told.criteria).values())
        found[name] = (told.elbo, criteria, family.guide.natural().detach(), log_density(family, rows).elpd)
    return found


def vae() -> dict[str, object]:
    """The loss of each step, all rows a step, under noise that is the same whoever draws it."""
    _, rows = build("VAE of mixed columns")
    mine, losses, shapes = share_of(rows), [], iter(range(10**9))
    first = 0 if mine.share is None else mine.share.first
    drawn, judged = torch.randn, gradient.or_nan

    def of_all_rows(*shape: int, **options: object) -> torch.Tensor:
        """This process's rows of the noise of all rows."""
        generator = torch.Generator().manual_seed(next(shapes))
        return drawn(shape[0], len(rows), *shape[2:], generator=generator, **options)[:, first : first + shape[1]]

    def noted(*arguments: object) -> torch.Tensor:
        loss = judged(*arguments)
        losses.append(mine.summed(loss.detach().double() * len(mine)) / len(rows))
        return loss

    family = VAE(rows.schema, latent=2)
    gradient.or_nan, torch.randn = noted, of_all_rows
    fit(family, mine, seed=0, method=Gradient(steps=STEPS, batch_size=None, check_every=10**6))
    gradient.or_nan, torch.randn = judged, drawn
    return {"losses": torch.stack(losses), "parameters": list(family.parameters())}


def by_gradients() -> dict[str, object]:
    """A conjugate pair by gradients: what its parameters cost counts once, however many processes there are."""
    family, rows = build("naive Bayes, one class")
    mine = share_of(rows)
    fit(family, mine, seed=0, method=NaturalGradient())
    exact = fit(family, mine, seed=0).elbo
    found = estimate_elbo(family, mine, seed=0, particles=200)
    climbed = fit(family, mine, seed=0, method=Gradient(steps=3, batch_size=None, check_every=1))
    return {"exact": exact, "estimate": (found.mean, found.se), "history": climbed.history["train_elbo"].tolist()}


def normed() -> dict[str, object]:
    """A network with batch norm, whose running means each process takes of its own rows."""
    table = load("digits_binary")
    rows = prepare(table.frame, table.schema)(table.frame.iloc[:200])
    network = Convolutional((4,), hidden=(16,), batch_norm=True)
    family = VAE(table.schema, latent=2, network=network)
    fit(family, share_of(rows), seed=0, method=Gradient(steps=6, batch_size=50, check_every=2))
    everyone = gathered_by_first([buffer.clone() for buffer in family.buffers()])
    return {"buffers": everyone}


def resumed(folder: Path) -> dict[str, object]:
    """A VAE that is broken off and resumed, beside one that is not."""
    _, rows = build("VAE of mixed columns")
    mine, method = share_of(rows), Gradient(steps=60, batch_size=20, check_every=10)
    whole = fit(VAE(rows.schema, latent=1), mine, seed=0, method=method)
    check, path, left = evaluations.Record.check, folder / "state", iter(range(100))

    def broken(*arguments: object) -> str | None:
        if next(left) >= 3:
            raise BrokenOffError
        return check(*arguments)

    evaluations.Record.check = broken
    try:
        fit(VAE(rows.schema, latent=1), mine, seed=0, method=method, checkpoint=Checkpoint(path, every=0.0))
    except BrokenOffError:
        evaluations.Record.check = check
    kept = checkpoints.read_checkpoint(path)["states"]
    again = fit(VAE(rows.schema, latent=1), mine, seed=0, method=method, checkpoint=Checkpoint(path, resume=True))
    return {"states": len(kept), "elbos": (whole.elbo, again.elbo), "history": whole.history.equals(again.history)}


def main(folder: Path) -> None:
    """Do all of it, and leave what the first process found."""
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
    (folder / "kept").mkdir(exist_ok=True)
    found = {"conjugate": conjugate(), "vae": vae(), "resumed": resumed(folder / "kept")}
    found |= {"by gradients": by_gradients(), "normed": normed()}
    if rank_and_number()[0] == 0:
        torch.save(found, folder / "found")
    if "RANK" in os.environ:
        distributed.barrier()
        leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
