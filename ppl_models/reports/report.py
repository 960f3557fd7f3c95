"""A report: one folder with a page, its tables, figures and draws, and a record of how they were made."""

import json
import os
import re
import shlex
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import xarray as xr
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from ppl_models.errors import InputError
from ppl_models.evaluation.versions import version_of, versions_of
from ppl_models.reports.canvas import to_svg
from ppl_models.reports.examples import Example, Examples
from ppl_models.reports.folders import INDEX_MARK, MARK, PAGE, RECORD, read_record, replaced_folder, require_index_place
from ppl_models.reports.parts import Draws, Live, Picture, Table, Text
from ppl_models.reports.prose import Prose
from ppl_models.reports.rolls import Rolls
from ppl_models.reports.terms import Part, column_meanings, used_terms
from ppl_models.reports.tiles import Tile, Tiles

SCRIPTS = ("report.js", "player.js")
PACKAGES = ("torch", "pyro-ppl", "numpy", "pandas", "arviz")


@dataclass
class Report:
    """A page that is built part by part and written at once.

    Attributes:
        title: Title of the page.
        summary: The answer in a sentence or two; also shown where reports are listed.
        sure: How sure the answer is, in a sentence or two; ``conclusion`` words both for a comparison.
        seed: The seed that every number of the report follows from.
        checked: What was looked at for reasons not to trust a number.
        doubts: The reasons that were found, which the page opens with.
        pages: Reports that are written with this one, by the name of their folder in its folder.

    >>> report = Report("Faithful", summary="Two components are enough.", seed=0)
    >>> report.text("The data", "Eruptions of one geyser.")
    >>> [part.heading for part in report.parts]
    ['The data']
    """

    title: str
    summary: str = field(default="", kw_only=True)
    sure: str = field(default="", kw_only=True)
    seed: int = field(kw_only=True)
    parts: list[Part] = field(default_factory=list, init=False)
    pages: dict[str, "Report"] = field(default_factory=dict, init=False)
    sources: dict[str, dict[str, object]] = field(default_factory=dict, init=False)
    checked: list[str] = field(default_factory=list, init=False)
    doubts: list[str] = field(default_factory=list, init=False)

    def text(self, heading: str, body: str) -> None:
        """Add a heading and, under it, paragraphs that a blank line sets apart."""
        self.parts.append(Text(heading, body))

    def prose(self, heading: str, body: str) -> None:
        """Add a heading, or none, and Markdown under it."""
        self.parts.append(Prose(heading, body))

    def examples(self, *examples: Example) -> None:
        """Add code and what it printed, several side by side."""
        self.parts.append(Examples(examples))

    def tiles(self, tiles: Iterable[Tile]) -> None:
        """Add pictures that lead to other pages."""
        self.parts.append(Tiles(tuple(tiles)))

    def table(self, name: str, frame: pd.DataFrame, *, caption: str, digits: int = 3, lead: str = "") -> None:
        """Add a table: on the page to some digits, in tables/NAME.csv in full.

        Args:
            name: Name of its file.
            frame: The table.
            caption: What its columns are.
            digits: Decimals on the page.
            lead: What it says, in words above it; left out where the page opens with it.
        """
        self.parts.append(Table(self._new("table", name), frame.copy(), caption, digits, lead))

    def figure(self, name: str, figure: Figure, *, caption: str, alt: str, live: Live | None = None) -> None:
        """Add a figure as it is now: on the page, in figures/NAME.svg and in figures/NAME.png.

        Args:
            name: Name of its files.
            figure: The figure; its layout is fixed by this.
            caption: What is to be seen in it, and what that means.
            alt: What it shows, for those who do not see it.
            live: What the page's script draws in its place on a screen.
        """
        drawing = to_svg(figure, name=self._new("figure", name))
        pixels = BytesIO()
        figure.savefig(pixels, format="png", dpi=150, metadata={"Software": None})
        self.parts.append(Picture(name, drawing, pixels.getvalue(), caption, alt, live))

    def rolls(self, rolls: Rolls) -> None:
        """Add piano rolls: on the page, where a click plays them, and in midi/NAME.mid."""
        self._new("rolls", rolls.name)
        self.parts.append(rolls)

    def draws(self, name: str, dataset: xr.Dataset) -> None:
        """Add posterior draws as draws/NAME.nc, which `arviz.from_netcdf` opens."""
        self.parts.append(Draws(self._new("draws", name), dataset))

    def data(self, name: str, checksum: str, rows: int) -> None:
        """Record what data the numbers are about: the SHA-256 of its rows and how many there are."""
        self.sources[name] = {"checksum": checksum, "rows": rows}

    def check(self, what: str, doubts: Iterable[str] = (), *, of: str = "") -> None:
        """Say that something was looked at, and what speaks against trusting it.

        Args:
            what: What was looked at, such as "how fits ended".
            doubts: The reasons found, one plain sentence each without its full stop.
            of: Whose numbers they are about, such as a model.
        """
        if what not in self.checked:
            self.checked.append(what)
        self.doubts += [f"{of}: {doubt}." if of else f"{doubt[:1].upper()}{doubt[1:]}." for doubt in doubts]

    def write(self, folder: Path | str, *, seconds: float | None = None) -> Path:
        """Write the report and return its page, FOLDER/index.html.

        The folder is whole or not there: a failure leaves what was in its place untouched.

        Args:
            folder: New, empty, or a former report, which is replaced.
            seconds: Wall-clock time that the run took, for the record.

        Raises:
            InputError: The folder holds something else or cannot be written.
        """
        with replaced_folder(Path(folder)) as place:
            self._fill(place, seconds)
        return Path(folder) / PAGE

    def _fill(self, place: Path, seconds: float | None) -> None:
        """Write this report, and the pages that go with it, into a folder that is there."""
        for part in self.parts:
            part.save(place)
        record, terms = self._record(seconds), used_terms(self.parts, *self._opening)
        page = _render("report.html.j2", report=self, record=record, terms=terms)
        (place / PAGE).write_text(page, encoding="utf-8")
        (place / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for name, under in self.pages.items():
            (place / name).mkdir()
            under._fill(place / name, None)

    @property
    def picture(self) -> Picture | None:
        """The first picture of the page, if there is one."""
        return next((part for part in self.parts if isinstance(part, Picture)), None)

    @property
    def _opening(self) -> tuple[str, ...]:
        return (self.summary, self.sure, *self.doubts)

    def _new(self, kind: str, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
            raise InputError(f"expected a {kind} name of letters, digits, _ and -, got {name!r}")
        if any(part.kind == kind and part.name == name for part in self.parts):
            raise InputError(f"expected a new {kind} name, got {name!r} twice")
        return name

    def _record(self, seconds: float | None) -> dict[str, object]:
        return {
            MARK: version_of("ppl_models"),
            "title": self.title,
            "summary": self.summary,
            "sure": self.sure,
            "command": shlex.join(sys.argv),
            "seed": self.seed,
            "versions": versions_of(PACKAGES),
            "data": self.sources,
            "checked": self.checked,
            "doubts": self.doubts,
            "figures": [{"name": one.name, "alt": one.alt} for one in self.parts if isinstance(one, Picture)],
            "seconds": seconds,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def write_index(folder: Path, reports: Mapping[str, Path], *, title: str) -> Path:
    """Write FOLDER/index.html, a page that links some reports with their titles and summaries.

    Args:
        folder: Where the page goes; made if it is not there. A former index page there is replaced.
        reports: For each label the folder of a report, or its page.
        title: Title of the page.

    Raises:
        InputError: A folder holds no report, another index.html is in the place, or the page cannot be written.
    """
    require_index_place(folder)
    entries = []
    for label, path in reports.items():
        report = path.parent if path.name == PAGE else path
        link = quote(Path(os.path.relpath(report / PAGE, folder)).as_posix())
        entries.append({"label": label, "link": link, "record": read_record(report)})
    text = _render("index.html.j2", title=title, entries=entries, mark=Markup(INDEX_MARK))
    page, temporary = folder / PAGE, folder / f".{PAGE}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(page)
    except OSError as error:
        raise InputError(f"expected a folder that can be written, got {folder}: {error}") from error
    return page


def _render(template: str, **values: object) -> str:
    pages = Environment(
        loader=PackageLoader("ppl_models.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "\n".join(pages.loader.get_source(pages, name)[0] for name in SCRIPTS)
    allowed = f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"
    meanings = column_meanings()
    return pages.get_template(template).render(script=Markup(script), allowed=allowed, meanings=meanings, **values)
