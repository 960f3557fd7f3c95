"""What every figure shares: its size, its colours and its labels, with no global state of pyplot.

Figures are 6.4 inches wide, so that their type is readable at 640 pixels.
"""

import re
import textwrap
from collections.abc import Sequence
from io import StringIO

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 6.4  # inches
LINE = 0.2  # inches that one line of text takes
# Ten colours told apart with any colour vision: Petroff (2021), https://arxiv.org/abs/2107.02270
PALETTE = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
DATA_COLOUR = "#717581"
INK = "#222222"


def colour(position: int) -> str:
    """Give the colour of the model at a position; they come round again after ten."""
    return PALETTE[position % len(PALETTE)]


def plain(text: object, *, width: int = 28, lines: int = 3) -> str:
    """Give a label as it is to be read: folded and cut to some lines, with no sign taken for mathematics."""
    folded = textwrap.fill(str(text), width=width, max_lines=lines, placeholder=" …")
    return re.sub(r"^_", " _", folded.replace("$", r"\$"))  # a leading _ would hide it from a legend


def new_figure(*, height: float) -> Figure:
    """Give an empty figure of the common width and of a height in inches, laid out when drawn."""
    return Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")


def panels(count: int, *, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """Give a figure with `count` tidy axes, `columns` to a line, each of a height in inches."""
    columns = max(1, min(columns, count))
    rows = -(-max(1, count) // columns)
    figure = new_figure(height=rows * height)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for empty in axes[count:]:
        empty.remove()
    return figure, [tidy(one) for one in axes[:count]]


def tidy(axes: Axes) -> Axes:
    """Take the box off a pair of axes and put a light grid behind the marks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, color="#999999")
    return axes


def legend_below(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Put a legend under the axes and make the figure taller by as much."""
    if not handles:
        return
    folded = [plain(label, width=40) for label in labels]
    columns = _columns_that_fit(folded)
    figure.legend(handles, folded, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    lines = [sum(text.count("\n") + 1 for text in part) for part in np.array_split(folded, columns)]
    figure.set_figheight(figure.get_figheight() + LINE * max(lines))


def _columns_that_fit(labels: Sequence[str]) -> int:
    longest = max(len(line) for label in labels for line in label.split("\n"))
    return int(np.clip(84 // (longest + 6), 1, len(labels)))


def to_svg(figure: Figure, *, name: str = "figure") -> str:
    """Draw a figure as SVG text that starts at `<svg` and is the same to the byte every time.

    Letters are drawn as outlines, so that they look the same where a font is not installed. Every id
    begins with the name: figures of different names do not disturb each other in one page. The
    layout of the figure is fixed by this, as a second layout would differ from the first.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    text = StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata=metadata, dpi=200)
    svg = text.getvalue()
    return with_ids(svg[svg.index("<svg") :], name)


def with_ids(svg: str, name: str) -> str:
    """Put a name and a dash before every id of a drawing, and before what refers to one."""
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
