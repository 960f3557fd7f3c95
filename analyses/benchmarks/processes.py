"""Do two processes with a thread each do nearly twice the work of one? A mixture's passes, and a VAE's steps.

Each is a run of its own under ``torchrun``; what is timed is the fit alone, from when all processes are ready, by the
clock, since processes that wait for one another take no time of a processor. What the machine itself gives, which may
be less than two where others use it, is told by two runs of one process side by side that know nothing of each other.
"""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from time import perf_counter
from typing import Annotated

import pandas as pd
import torch
import typer
from contests import REPEATS, hard_table
from judging import COMPONENTS, mixture_of
from torch import distributed

from ppl_models import VAE, fit, prepare
from ppl_models.datasets import share_of
from ppl_models.datasets.shares import leave
from ppl_models.errors import FitWarning
from ppl_models.inference import Gradient, NaturalGradient
from ppl_models.nn import Dense
from ppl_models.scripts import Quick, Seed, script

Work = Annotated[str, typer.Option("--work", hidden=True, help="What this process is to do.")]
SIZES = {False: (800_000, 150), True: (4000, 20)}  # rows of the mixture, steps of the VAE


def work(kind: str, *, quick: bool, seed: int) -> None:
    """Fit in as many processes as there are, and let the first one print the seconds and what came of it."""
    warnings.simplefilter("ignore", FitWarning)
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rows, steps = SIZES[quick]
    frame = hard_table(rows if kind == "mixture" else rows // 40, 10, COMPONENTS, seed=seed)
    train = share_of(prepare(frame)(frame))
    if kind == "mixture":
        family, method = mixture_of(train, "diagonal"), NaturalGradient(steps=40, restarts=2, starts=2)
    else:
        family = VAE(train.schema, latent=8, network=Dense((512, 512)))
        method = Gradient(steps=steps, batch_size=1024 if not quick else 64, check_every=steps)
    fit(family, train, seed=seed, method=replace(method, steps=1))  # what is imported at the first fit is not timed
    distributed.barrier()
    begun = perf_counter()
    elbo = fit(family, train, seed=seed, method=method).elbo
    if distributed.get_rank() == 0:
        print(json.dumps({"seconds": perf_counter() - begun, "elbo": elbo}))
    leave()


def run(kind: str, processes: int, *, quick: bool, seed: int, copies: int = 1) -> dict[str, float]:
    """The same in so many new processes; the slowest of so many copies that run at once."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [__file__, "--work", kind, "--seed", str(seed), *(["--quick"] if quick else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    runs = [subprocess.Popen(command, env=environment, **pipe) for _ in range(copies)]
    told = [json.loads(one.communicate()[0].splitlines()[-1]) for one in runs]
    return max(told, key=lambda one: one["seconds"])


def main(*, seed: Seed = 0, quick: Quick = False, work_: Work = "") -> None:
    """Print seconds of one process and of two, and how many times the work two do."""
    if work_:
        work(work_, quick=quick, seed=seed)
        return
    for kind in ("mixture", "VAE"):
        rounds = []
        for _ in range(1 if quick else REPEATS):
            one, two = (run(kind, number, quick=quick, seed=seed) for number in (1, 2))
            apart = run(kind, 1, quick=quick, seed=seed, copies=2)
            rounds.append((one["seconds"], two["seconds"], apart["seconds"]))
        seconds = pd.DataFrame(rounds, columns=["one_s", "two_s", "apart_s"])
        ratio, machine = seconds["one_s"] / seconds["two_s"], 2 * seconds["one_s"] / seconds["apart_s"]
        line = seconds.median().to_dict() | {"times": ratio.median(), "least": ratio.min(), "most": ratio.max()}
        line |= {"machine_gives": machine.median(), "elbo_one": one["elbo"], "elbo_two": two["elbo"]}
        print(pd.DataFrame([line], index=[kind]).round(4).to_string(), flush=True)


if __name__ == "__main__":
    script(main)
