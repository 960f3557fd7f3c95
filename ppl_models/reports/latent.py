"""Figures of latent spaces, side by side for models that differ: places of rows, decoded planes, and measures by seed.

The plane as a picture of what a model learned is from Kingma and Welling (2014), Auto-encoding variational Bayes,
https://arxiv.org/abs/1312.6114, figure 4.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ppl_models.reports.canvas import INK, WIDTH, colour, new_figure, panels, plain
from ppl_models.reports.galleries import GREYS
from ppl_models.reports.planes import CIRCLE, RADIUS

MARGIN = 1.08  # times the farthest code


def code_planes(
    codes: Mapping[str, Float[np.ndarray, "rows 2"]], classes: Int[np.ndarray, " rows"], *, names: Sequence[object]
) -> Figure:
    """Scatter rows where each model encodes them, coloured by class, each panel to its own scale.

    The circle holds 90 % of a standard normal prior.

    Args:
        codes: for each model the two latent coordinates of the same rows.
        classes: codes of the rows' classes; no model has to know them.
        names: of the classes.
    """
    figure, axes = panels(len(codes), columns=3, height=3.1)
    shades = np.array([colour(position) for position in range(len(names))])
    for one, (name, places) in zip(axes, codes.items(), strict=True):
        reach = MARGIN * max(float(np.abs(places).max()), RADIUS)
        one.scatter(*places.T, s=7, c=shades[classes], linewidths=0, alpha=0.8, rasterized=True)
        one.plot(RADIUS * np.cos(CIRCLE), RADIUS * np.sin(CIRCLE), color=INK, linewidth=1.2)
        one.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        one.locator_params(nbins=5)
        one.set_title(plain(name, width=24), fontsize=10)
        one.set_xlabel("first latent", fontsize=9)
    axes[0].set_ylabel("second latent", fontsize=9)
    dots = [Line2D([], [], color=shade, marker="o", linestyle="") for shade in shades]
    spaced = {"ncols": min(len(names), 10), "columnspacing": 0.9, "handletextpad": 0.1}
    figure.legend(
        dots, [plain(name) for name in names], loc="outside lower center", frameon=False, fontsize=9, **spaced
    )
    return figure


def decoded_planes(images: Mapping[str, Float[np.ndarray, "down across height width"]]) -> Figure:
    """Lay out side by side what each model decodes from one grid over the plane.

    Args:
        images: for each model ``images[i, j]``, decoded at the i-th value of the second latent coordinate and the j-th
            of the first; row 0 is drawn at the bottom.
    """
    figure = new_figure(height=WIDTH / len(images) + 0.25)
    for axes, (name, grid) in zip(np.atleast_1d(figure.subplots(1, len(images))), images.items(), strict=True):
        framed = np.pad(grid[::-1], ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan).swapaxes(1, 2)
        mosaic = framed.reshape(framed.shape[0] * framed.shape[1], -1)
        axes.imshow(mosaic, cmap=GREYS, vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(plain(name, width=60 // len(images)), fontsize=10)
        axes.set_axis_off()
    return figure


def paired_dots(table: pd.DataFrame, measures: Mapping[str, str]) -> Figure:
    """Draw what several fits of each model come to, one panel a measure; a line joins the fits of one seed.

    Args:
        table: a column for each measure, a row a fit; the index names the model, and last the seed.
        measures: what each measure's panel is called, with its unit.
    """
    figure, axes = panels(len(measures), columns=2, height=2.3)
    for one, (measure, title) in zip(axes, measures.items(), strict=True):
        values = table[measure].unstack(sort=False)
        one.plot(np.arange(len(values)), values, marker="o", markersize=4, linewidth=0.7, color=colour(0), alpha=0.7)
        names = [", ".join(map(str, np.atleast_1d(name))) for name in values.index]
        one.set_xticks(range(len(values)), [plain(name, width=12) for name in names], fontsize=8)
        one.margins(x=0.12)
        one.set_ylim(0, None)
        one.set_title(plain(title, width=40), fontsize=9)
    return figure
