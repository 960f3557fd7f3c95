"""The parts of a report: each knows what the page shows of it and which files it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import xarray as xr
from markupsafe import Markup


@dataclass(frozen=True)
class Text:
    """A heading and the paragraphs under it."""

    kind: ClassVar[str] = "text"
    heading: str
    body: str

    @property
    def paragraphs(self) -> list[str]:
        """The body, cut where a line is blank."""
        return [part.strip() for part in self.body.split("\n\n") if part.strip()]

    @property
    def inner(self) -> Markup:
        """The paragraphs as HTML."""
        return Markup("\n").join(Markup("<p>{}</p>").format(paragraph) for paragraph in self.paragraphs)

    def save(self, folder: Path) -> None:
        """Leave no file: a text is on the page only."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table, shown to some digits and saved in full; what it says stands above it."""

    kind: ClassVar[str] = "table"
    name: str
    frame: pd.DataFrame
    caption: str
    digits: int
    lead: str = ""

    @property
    def indexed(self) -> bool:
        """Whether the index says something, and is not a mere count of the lines."""
        return self.frame.index.name is not None or not isinstance(self.frame.index, pd.RangeIndex)

    @property
    def header(self) -> list[tuple[str, bool]]:
        """The name of each column shown and whether it holds numbers."""
        return [(_told(name), _numeric(column)) for name, column in self._shown.items()]

    @property
    def lines(self) -> list[list[tuple[str, bool]]]:
        """The text of each cell and whether it is a number, line by line."""
        columns = [[(self.cell(value), _numeric(column)) for value in column] for _, column in self._shown.items()]
        return [list(line) for line in zip(*columns, strict=True)]

    @property
    def _shown(self) -> pd.DataFrame:
        return self.frame.reset_index(allow_duplicates=True) if self.indexed else self.frame

    def cell(self, value: object) -> str:
        """Give a value as the page shows it; a dash where there is none."""
        if value is None or value is pd.NA or value != value:
            return "–"
        if isinstance(value, (bool, np.bool_)):
            return "yes" if value else "no"
        if not isinstance(value, (float, np.floating)):
            return str(value)
        small = 0 < abs(value) < 10.0**-self.digits
        return f"{value:.{max(1, self.digits)}g}" if small or abs(value) >= 1e9 else f"{value:,.{self.digits}f}"

    def save(self, folder: Path) -> None:
        """Write tables/NAME.csv with every digit."""
        self.frame.to_csv(in_folder(folder, "tables") / f"{self.name}.csv", index=self.indexed)


@dataclass(frozen=True)
class Live:
    """What the page's script draws in the place of a figure; without the script, and in print, the figure stands.

    Attributes:
        view: which drawing: a strip of rows for each model, or two columns against each other.
        data: its numbers, as JSON can hold them; None where one is missing.
    """

    view: Literal["rows", "pairs"]
    data: Mapping[str, object]


@dataclass(frozen=True)
class Picture:
    """A figure as it was when it was added, drawn as lines and as pixels."""

    kind: ClassVar[str] = "figure"
    name: str
    drawing: str
    pixels: bytes
    caption: str
    alt: str
    live: Live | None = None

    @property
    def inline(self) -> Markup:
        """The drawing, safe to stand in a page as it is."""
        return Markup(self.drawing)  # drawn by matplotlib, which escapes its texts

    def save(self, folder: Path) -> None:
        """Write figures/NAME.svg and figures/NAME.png."""
        (in_folder(folder, "figures") / f"{self.name}.svg").write_text(self.drawing, encoding="utf-8")
        (in_folder(folder, "figures") / f"{self.name}.png").write_bytes(self.pixels)


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of the posterior, in a file that ArviZ opens."""

    kind: ClassVar[str] = "draws"
    name: str
    dataset: xr.Dataset

    @property
    def sizes(self) -> str:
        """The name and size of each dimension."""
        return ", ".join(f"{name} {size}" for name, size in self.dataset.sizes.items())

    def save(self, folder: Path) -> None:
        """Write draws/NAME.nc with the group posterior and a chain dimension, as ArviZ wants it."""
        chained = self.dataset if "chain" in self.dataset.dims else self.dataset.expand_dims("chain")
        chained.to_netcdf(in_folder(folder, "draws") / f"{self.name}.nc", group="posterior", engine="h5netcdf")


def _told(name: object) -> str:
    """A column's name; the parts of a name of several levels, one after another."""
    return " ".join(str(part) for part in name if part != "") if isinstance(name, tuple) else str(name)


def _numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def in_folder(folder: Path, name: str) -> Path:
    """A folder within a folder, made if it is not there."""
    inner = folder / name
    inner.mkdir(exist_ok=True)
    return inner
