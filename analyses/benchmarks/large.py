"""Does memory grow with rows, and does a row cost more where there are many? And beside scikit-learn, in memory?

Each table is a folder of Parquet files. A process of its own learns the preparation, prepares, fits a mixture by a
fixed number of passes and scores all rows, from the files; its peak memory is its own, what it imports included.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated

import duckdb
import pandas as pd
import torch
import typer
from contests import Timed, hard_table, timed
from judging import COMPONENTS, Judge, mixture_of
from sklearn.mixture import BayesianGaussianMixture

from ppl_models import fit, log_density, prepare
from ppl_models.datasets import stream
from ppl_models.errors import FitWarning
from ppl_models.inference import NaturalGradient
from ppl_models.scripts import Quick, Seed, script

COLUMNS, FILE = 10, 500_000  # rows in a file
PASSES = 10
Sizes = Annotated[str, typer.Option(help="Numbers of rows whose memory is compared.")]
Beside = Annotated[int, typer.Option(help="Rows for scikit-learn; 0 for none.")]
Long = Annotated[int, typer.Option(help="scikit-learn's passes.")]


def write_files(folder: Path, rows: int, *, seed: int) -> None:
    """The hard table as Parquet files."""
    folder.mkdir()
    for part, first in enumerate(range(0, rows, FILE)):
        some = duckdb.from_df(hard_table(min(FILE, rows - first), COLUMNS, COMPONENTS, seed=seed, part=part))
        some.write_parquet(str(folder / f"{part:04}.parquet"))


def journey(folder: Path, *, passes: int, seed: int) -> dict[str, float]:
    """From files to scores, alone in this process: CPU and wall seconds of each part, and the peak memory."""
    warnings.simplefilter("ignore", FitWarning)
    begun, table = perf_counter(), stream(folder)
    prepared = timed(lambda: prepare(table))
    stored = timed(lambda: prepared.found(table))
    family = mixture_of(stored.found, "diagonal")
    fitted = timed(lambda: fit(family, stored.found, seed=seed, method=NaturalGradient(steps=passes)))
    scored = timed(lambda: log_density(family, stored.found))
    told: dict[str, Timed] = {"prepare": prepared, "store": stored, "fit": fitted, "score": scored}
    return {
        **{f"{name}_cpu_s": one.cpu for name, one in told.items()},
        "wall_s": perf_counter() - begun,
        "peak_mib": peak_mib(),
        "elbo": fitted.found.elbo,
        "nats_per_row": scored.found.elpd,
    }


def peak_mib() -> float:
    """The most memory that this process has had, MiB; what it was forked from not counted where Linux tells it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    told = next((line.split()[1] for line in lines if line.startswith("VmHWM")), None)
    return int(told or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def alone(folder: Path, *, passes: int, seed: int) -> dict[str, float]:
    """The same in a new process with one thread."""
    code = f"import json, large; print(json.dumps(large.journey({str(folder)!r}, passes={passes}, seed={seed})))"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment, capture_output=True, check=True
    )
    return json.loads(told.stdout.splitlines()[-1])


def main(
    *,
    seed: Seed = 0,
    quick: Quick = False,
    sizes: Sizes = "200000,20000000",
    beside: Beside = 2_000_000,
    passes: Long = 300,
) -> None:
    """Print a table of sizes, and one of the fit from files beside scikit-learn's in memory."""
    if quick:
        sizes, beside, passes = "2000,20000", 4000, 5
    with tempfile.TemporaryDirectory() as name:
        told = {}
        for rows in map(int, sizes.split(",")):
            folder = Path(name, str(rows))
            write_files(folder, rows, seed=seed)
            told[rows] = alone(folder, passes=PASSES, seed=seed)
        table = pd.DataFrame.from_dict(told, orient="index").rename_axis("rows")
        table["rows_per_cpu_s"] = table.index / table.filter(like="cpu_s").sum(axis=1)
        print(table.round(3).T.to_string())
        first, last = table.iloc[0], table.iloc[-1]
        print(f"peak memory {last['peak_mib'] / first['peak_mib']:.3f} of that of the first")
        print(f"rows a second {last['rows_per_cpu_s'] / first['rows_per_cpu_s']:.3f} of the first's", flush=True)
        if beside:
            compare_with_scikit_learn(Path(name), beside, passes, seed=seed)


def compare_with_scikit_learn(folder: Path, rows: int, passes: int, *, seed: int) -> None:
    """Our whole way from files to a fit beside scikit-learn's fit of an array, once each, and what each comes to."""
    write_files(folder / "beside", rows, seed=seed)
    ours = alone(folder / "beside", passes=PASSES, seed=seed)
    seconds = sum(ours[f"{name}_cpu_s"] for name in ("prepare", "store", "fit"))
    frame = pd.concat(list(stream(folder / "beside").frames()))
    table = prepare(frame)(frame)
    array = table.values.numpy()
    model = BayesianGaussianMixture(
        n_components=COMPONENTS, covariance_type="diag", max_iter=passes, tol=0.0, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = timed(partial(model.fit, array))
    quality = Judge(table, "diagonal")(torch.tensor(theirs.found.predict_proba(array)))
    print(f"{rows} rows: ours from Parquet {seconds:.1f} CPU s to an ELBO of {ours['elbo']:.4f} nats a row;")
    print(f"scikit-learn's {passes} passes in memory {theirs.cpu:.1f} CPU s to {quality:.4f}", end="; ")
    print(f"ratio {seconds / theirs.cpu:.4f}")


if __name__ == "__main__":
    script(main)
