"""Does a fit that is killed end where it would have ended, and is a checkpoint ever half-written?

Runs are killed by SIGKILL at random moments, again and again until one comes through, and its last state is compared
bit for bit with that of a run that nothing broke. A writer alone is killed in the same way, as often as asked.
"""

import hashlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from ppl_models import VAE, GaussianMixture, fit, load, prepare
from ppl_models.families import Family
from ppl_models.inference import Checkpoint, Gradient, NaturalGradient
from ppl_models.inference.checkpoints import read_checkpoint, write_checkpoint
from ppl_models.scripts import Quick, Seed, script

Runs = Annotated[int, typer.Option(min=1, help="Fits of each kind.")]
Tries = Annotated[int, typer.Option(min=1, help="Kills of the writer alone.")]
FITS = {
    "VAE": (lambda schema: VAE(schema, latent=4), Gradient(steps=1500, check_every=25, average=0.99)),
    "mixture": (
        lambda schema: GaussianMixture(schema, components=12, covariance="full"),
        NaturalGradient(restarts=96, starts=192, tolerance=1e-13),
    ),
}
NUMBERS = 200_000  # of the state that the writer writes


def fitted(kind: str, path: Path | None) -> Family:
    """A fit, kept at every evaluation."""
    table = load("wine" if kind == "mixture" else "digits")
    rows = prepare(table.frame, table.schema)(table.frame)
    make, method = FITS[kind]
    kept = None if path is None else Checkpoint(path, resume=True, every=0.0)
    return fit(make(table.schema), rows, seed=3, method=method, checkpoint=kept).family


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """The sha256 of all numbers of a state."""
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in state.values())).hexdigest()


def come_through(kind: str, path: Path, answer: Path) -> None:
    """Fit, and leave what it came to."""
    torch.set_num_threads(1)
    answer.write_text(digest(fitted(kind, path).state_dict()))


def write_for_ever(path: Path) -> None:
    """Write one state after another, each all of one number."""
    torch.set_num_threads(1)  # the parent's threads did not come along
    for number in range(10**9):
        write_checkpoint(path, {"all": torch.full((NUMBERS,), number), "number": number})


def killed(work: Callable[..., None], *arguments: object, after: float) -> bool:
    """Let it work for so long; whether it had to be killed."""
    worker = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    worker.start()
    worker.join(after)
    alive = worker.is_alive()
    if alive:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    return alive


def broken_fits(kind: str, folder: Path, runs: int, random: np.random.Generator) -> None:
    """Kill fits, and print how many ended as the unbroken one did."""
    started = time.perf_counter()
    come_through(kind, None, folder / "whole")
    seconds, same, kills = time.perf_counter() - started, 0, 0
    for run in range(runs):
        path, answer = folder / f"{kind} {run}", folder / f"{kind} {run} answer"
        while killed(come_through, kind, path, answer, after=random.uniform(0.02, 1.0) * seconds):
            kills += 1
        same += answer.read_text() == (folder / "whole").read_text()
    print(f"{kind}, {seconds:.1f} s a fit: {same} of {runs} ended bit for bit as the unbroken one, after {kills} kills")


def main(*, seed: Seed = 0, runs: Runs = 10, tries: Tries = 1000, quick: Quick = False) -> None:
    """Print what was left of what was killed."""
    random, runs, tries = np.random.default_rng(seed), 1 if quick else runs, 20 if quick else tries
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in FITS:
            broken_fits(kind, folder, runs, random)
        path, numbers, whole = folder / "state", set(), 0
        write_checkpoint(path, {"all": torch.zeros(NUMBERS), "number": 0})
        for _ in range(tries):
            killed(write_for_ever, path, after=random.uniform(0.0, 0.05))
            found = read_checkpoint(path)
            whole += bool((found["all"] == found["number"]).all())
            numbers.add(found["number"])
        print(f"{whole} of {tries} killed writers left a whole checkpoint; {len(numbers)} different ones were read")


if __name__ == "__main__":
    script(main)
