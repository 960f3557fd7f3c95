"""What is there, and what for? A picture a family and a report, a page a family, and the way from elsewhere."""

import re
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pyro

from ppl_models import Report
from ppl_models.commands.options import FAMILIES
from ppl_models.reports import Tile, family_page, report_tile, story_of, written_page
from ppl_models.reports.folders import PAGE, RECORD
from ppl_models.reports.parts import Picture
from ppl_models.scripts import OutputDir, Quick, Seed, script

HERE, HOME = Path(__file__).parent, {"The gallery": f"../{PAGE}"}
WRITTEN = sorted((HERE / "coming_from").glob("*.md"))


def reports_beside(folder: Path) -> dict[str, Path]:
    """The reports of other analyses that lie beside this one's folder."""
    places = {path.stem: folder.resolve().parent / path.stem for path in sorted(HERE.glob("*.py"))}
    return {name: place for name, place in places.items() if (place / RECORD).is_file() and place != folder.resolve()}


def families_in(name: str) -> list[str]:
    """The families that an analysis names."""
    text = (HERE / f"{name}.py").read_text(encoding="utf-8")
    return [dashed for dashed, family in FAMILIES.items() if re.search(rf"\b{family.__name__}\b", text)]


def add_families(report: Report, titles: dict[str, str], *, quick: bool) -> None:
    """Add a page and a tile a family, which link the reports that it is in."""
    tiles = []
    for dashed, family in FAMILIES.items():
        places = {titles[name]: f"../../{name}/{PAGE}" for name in titles if dashed in families_in(name)}
        page = report.pages[dashed] = family_page(family, seed=report.seed, quick=quick, links=HOME | places)
        report.check("how the fits of the families' examples ended", page.doubts)
        drawn = next(part for part in page.parts if isinstance(part, Picture))
        text = f"Use it {story_of(family).use}."
        tiles.append(Tile(family.__name__, f"{dashed}/{PAGE}", text, drawn.drawing, drawn.alt))
    report.prose("The families", "Each page has the story, its symbols, when not to use it, and an example.")
    report.tiles(tiles)


def add_ways(report: Report, written: list[Path]) -> None:
    """Add the pages for those who come from elsewhere."""
    tiles = []
    for path in written:
        page = report.pages[path.stem] = written_page(path, seed=report.seed, links=HOME)
        pyro.clear_param_store()  # which Pyro's side of a page fills
        report.check("whether both sides of the same fit agree", page.doubts)
        tiles.append(Tile(page.title, f"{path.stem}/{PAGE}", page.summary))
    report.prose(
        "Coming from elsewhere",
        "The same fit on both sides, the numbers held against each other, and a table of words.",
    )
    report.tiles(tiles)


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/gallery"), quick: Quick = False) -> None:
    """Write the gallery, its pages, and pictures of the reports that lie beside it."""
    started, beside = perf_counter(), reports_beside(output_dir)
    shown = {name: report_tile(place, f"../{name}") for name, place in beside.items()}
    report = Report("Gallery", seed=seed)
    report.summary = (
        f"{len(FAMILIES)} families, {len(WRITTEN)} ways from elsewhere, {len(shown)} reports: what each is "
    )
    report.summary += (
        "for, in a picture and a sentence. Every picture is drawn, and every example run, by the code here."
    )
    add_families(report, {name: tile.title for name, tile in shown.items()}, quick=quick)
    add_ways(report, WRITTEN[: 1 if quick else None])
    if shown:
        report.prose("The reports", "Each by its first picture and its answer, with the families in it.")
        named = {name: [(FAMILIES[one].__name__, f"{one}/{PAGE}") for one in families_in(name)] for name in shown}
        report.tiles(replace(tile, also=tuple(named[name])) for name, tile in shown.items())
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
