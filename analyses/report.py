"""All analyses, side by side on the machine's cores, and one index page that links their reports."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from ppl_models.errors import DOUBTFUL
from ppl_models.reports import write_index
from ppl_models.reports.folders import require_index_place, require_place
from ppl_models.scripts import Quick, Seed, Strict, script

ANALYSES = (
    "trust",
    "melodies",
    "census",
    "comparisons",
    "covariances",
    "densities",
    "digits",
    "elbo",
    "faces",
    "fast_food",
    "few_labels",
    "inpainting",
    "latent_classes",
    "latent_spaces",
    "losses",
    "missing_cells",
    "missing_votes",
    "penguins",
    "posterior",
    "restarts",
    "spending",
    "strides",
    "votes",
    "words",
    "wrodl",
    "gallery",
)  # the longest first, so that no core waits; the last when the others are done, whose pictures it shows

IndexDir = Annotated[
    Path, typer.Option(help="Folder of the index page and of a folder a report.", callback=require_index_place)
]


def main(
    *, seed: Seed = 0, output_dir: IndexDir = Path("results"), quick: Quick = False, strict: Strict = False
) -> None:
    """Run every analysis and write the index page."""
    for name in ANALYSES:
        require_place(output_dir / name)
    options = ["--seed", str(seed), *["--quick"] * quick, *["--strict"] * strict]

    def run(name: str) -> int:
        """The exit code of one analysis, run as a person runs it."""
        command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *options]
        return subprocess.run([*command, "--output-dir", str(output_dir / name)], check=False).returncode

    *first, last = ANALYSES
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        codes = dict(zip(first, pool.map(run, first), strict=True))
    codes[last] = run(last)
    failed = {name: code for name, code in codes.items() if code not in (0, DOUBTFUL)}
    if failed:
        print(f"error: {', '.join(failed)} did not finish", file=sys.stderr)
        sys.exit(max(failed.values()))
    folders = {name: output_dir / name for name in (last, *sorted(first))}
    print(write_index(output_dir, folders, title="Density comparison reports"))
    if strict and DOUBTFUL in codes.values():
        sys.exit(DOUBTFUL)


if __name__ == "__main__":
    script(main)
