"""What is there, and what for? A picture a family and a report, a page a family, and the way from elsewhere."""

import re
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pyro

from ppl_models import Report
from ppl_models.commands.options import FAMILIES
from ppl_models.reports import Tile, family_page, report_tile, story_of, written_page
from ppl_models.reports.family_pages import KINDS, density_kind
from ppl_models.reports.folders import PAGE, RECORD
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
    tiles = {kind: [] for kind in KINDS}
    for dashed, family in FAMILIES.items():
        places = {titles[name]: f"../../{name}/{PAGE}" for name in titles if dashed in families_in(name)}
        page = report.pages[dashed] = family_page(family, seed=report.seed, quick=quick, links=HOME | places)
        report.check("how the fits of the families' examples ended", page.doubts)
        shown = f"Use it {story_of(family).use}.", page.picture.drawing, page.picture.alt
        tiles[density_kind(family)].append(Tile(family.__name__, f"{dashed}/{PAGE}", *shown))
    for kind, some in tiles.items():
        report.prose(f"Families with {KINDS[kind][0]}", "")
        report.tiles(some)


def add_ways(report: Report, written: list[Path]) -> None:
    """Add the pages for those who come from elsewhere."""
    tiles = []
    for path in written:
        page = report.pages[path.stem] = written_page(path, seed=report.seed, links=HOME)
        pyro.clear_param_store()  # which Pyro's side of a page fills
        report.check("whether both sides of the same fit agree", page.doubts)
        tiles.append(Tile(page.title, f"{path.stem}/{PAGE}", page.summary))
    report.prose("Coming from elsewhere", "The same fit on both sides, its numbers compared, and a table of words.")
    report.tiles(tiles)


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/gallery"), quick: Quick = False) -> None:
    """Write the gallery, its pages, and pictures of the reports that lie beside it."""
    started, beside = perf_counter(), reports_beside(output_dir)
    shown = {name: report_tile(place, f"../{name}") for name, place in beside.items()}
    report, written = Report("Gallery", seed=seed), WRITTEN[: 1 if quick else None]
    report.summary = (
        f"{len(FAMILIES)} families, the same fits in {len(written)} other libraries, {len(shown)} reports: "
    )
    report.summary += "what each is for, in a picture and a sentence, all drawn and run by the code here."
    add_families(report, {name: tile.title for name, tile in shown.items()}, quick=quick)
    add_ways(report, written)
    if shown:
        report.prose("The reports", "Each by its first picture and its answer, with the families in it.")
        named = {name: [(FAMILIES[one].__name__, f"{one}/{PAGE}") for one in families_in(name)] for name in shown}
        report.tiles(replace(tile, also=tuple(named[name])) for name, tile in shown.items())
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
