"""Pictures with a title and a sentence, each a way into a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from markupsafe import Markup

from ppl_models.reports.canvas import with_ids
from ppl_models.reports.folders import PAGE, read_record


@dataclass(frozen=True)
class Tile:
    """A way into a page.

    Attributes:
        title: of the page.
        link: where it is, seen from the page that shows the tile.
        text: what the page says, in a sentence.
        drawing: its picture as SVG text; "" for none.
        alt: what the picture shows.
        also: further links, by their text.
    """

    title: str
    link: str
    text: str
    drawing: str = ""
    alt: str = ""
    also: tuple[tuple[str, str], ...] = ()

    @property
    def inline(self) -> Markup:
        """The drawing, safe to stand in a page as it is."""
        return Markup(self.drawing)  # drawn by matplotlib, which escapes its texts


@dataclass(frozen=True)
class Tiles:
    """Tiles side by side."""

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[Tile]

    def save(self, folder: Path) -> None:
        """Leave no file: a tile is on the page only."""


def report_tile(folder: Path, link: str) -> Tile:
    """The tile of a report that was written: its title, its answer and its first picture.

    Args:
        folder: of the report.
        link: to that folder, seen from the page that shows the tile.

    Raises:
        InputError: the folder holds no report.
    """
    record = read_record(folder)
    picture = next(iter(record["figures"]), None)
    drawn = {}
    if picture:
        svg = (folder / "figures" / f"{picture['name']}.svg").read_text(encoding="utf-8")
        drawn = {"drawing": with_ids(svg, folder.name), "alt": picture["alt"]}
    return Tile(record["title"], f"{link}/{PAGE}", record["summary"], **drawn)
