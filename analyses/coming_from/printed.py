"""What do the peers that are not run for the pages print today? Their code, run where R's mclust or PyMC is installed.

python analyses/coming_from/printed.py            # says of each whether it prints what the page shows
python analyses/coming_from/printed.py --write    # puts what it prints, and by which version, on the page
"""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ppl_models.reports.written_pages import Cell, cells_of

HERE = Path(__file__).parent
VERSIONS = {
    "r": 'cat("mclust ", as.character(packageVersion("mclust")), ", R ", as.character(getRversion()), "\\n", sep = "")',
    "python": 'import arviz, pymc; print(f"PyMC {pymc.__version__}, ArviZ {arviz.__version__}")',
}


def installed(language: str) -> list[str] | None:
    """The command that runs a peer's code from standard input, or None where the peer is not installed."""
    if language == "python":
        return [sys.executable, "-W", "ignore", "-"] if find_spec("pymc") else None
    if shutil.which("Rscript") is None:
        return None
    asked = subprocess.run(["Rscript", "-e", "library(mclust)"], capture_output=True, check=False)
    return None if asked.returncode else ["Rscript", "-"]


def elsewhere(path: Path) -> list[Cell]:
    """The cells of a page that are not run for it."""
    return [cell for cell in cells_of(path)[2] if cell.printed is not None]


def prints(cells: list[Cell], command: list[str]) -> list[str]:
    """What each of a page's cells prints, one after another in one process, and last the versions."""
    language, mark = cells[0].language, "-- next --"
    between = f'cat("{mark}\\n")\n' if language == "r" else f'print("{mark}")\n'
    code = between.join([cell.body for cell in cells] + [VERSIONS[language]])
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=True, cwd=HERE.parents[1])
    return [part.strip() for part in done.stdout.split(f"{mark}\n")]


def main(*, write: Annotated[bool, typer.Option("--write", help="Put it on the pages.")] = False) -> None:
    """Run each peer's code where it can be run."""
    other = 0
    for path in sorted(HERE.glob("*.md")):
        cells = elsewhere(path)
        command = installed(cells[0].language) if cells else None
        if command is None:
            print(f"{path.name}: {'not installed' if cells else 'all of it runs with the pages'}")
            continue
        *printed, by = prints(cells, command)
        text = path.read_text(encoding="utf-8")
        for cell, now in zip(cells, printed, strict=True):
            other += now != cell.printed
            print(f"{path.name}, by {by}: {'as on the page' if now == cell.printed else f'another, {now!r}'}")
            text = text.replace(f"```text {cell.by}\n{cell.printed}\n```", f"```text {by}\n{now}\n```", 1)
        if write:
            path.write_text(text, encoding="utf-8")
    sys.exit(bool(other) and not write)


if __name__ == "__main__":
    typer.run(main)
