"""What one or several processes do in ``test_processes.py``: python several.py FOLDER, or the same under torchrun."""

import os
import sys
from pathlib import Path

import torch
from cases import build
from torch import distributed

from ppl_models import VAE, fit, log_density
from ppl_models.datasets import share_of
from ppl_models.datasets.shares import rank_and_number
from ppl_models.inference import Checkpoint, Gradient, NaturalGradient, checkpoints, evaluations, gradient

CONJUGATE = (
    "naive Bayes, some labels missing",
    "naive Bayes, one class",
    "mixture of mixed columns",
    "latent classes, maximum likelihood",
    "Gaussian mixture, full, cells missing",
)
STEPS = 20


class BrokenOffError(Exception):
    """Stands for whatever ends a process."""


def conjugate() -> dict[str, object]:
    """Fits whose sums are taken over all processes."""
    found = {}
    for name in CONJUGATE:
        family, rows = build(name)
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
    if rank_and_number()[0] == 0:
        torch.save(found, folder / "found")
    if "RANK" in os.environ:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
