"""Figures of what a model draws beside the data: pairs of columns, categories, images."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ppl_models.errors import InputError
from ppl_models.reports.canvas import DATA_COLOUR, WIDTH, colour, legend_below, new_figure, plain, tidy

MOST_PAIRED_COLUMNS = 5
MOST_POINTS = 2000
MOST_CATEGORIES = 12
SIDES = ("held-out rows", "drawn from the model")
SIDE_COLOURS = (DATA_COLOUR, colour(6))
GREYS = colormaps["gray"].with_extremes(bad="#d9e4f0")


def sample_pairs(
    data: pd.DataFrame, samples: pd.DataFrame, *, columns: Sequence[str], sides: tuple[str, str] = SIDES
) -> Figure:
    """Scatter each pair of numeric columns, samples of the model over the data.

    The diagonal holds a histogram of each column on common bins. At most the first 2,000 rows of
    either table are scattered.

    Args:
        data: Rows that the samples are compared with, raw units.
        samples: Rows drawn from the model, raw units.
        columns: The columns to pair.
        sides: What the legend calls the data and the samples.

    Raises:
        InputError: No column, more than five, or one that a table has not.
    """
    _refuse_unknown(data, samples, columns, sides=sides)
    if not 1 <= len(columns) <= MOST_PAIRED_COLUMNS:
        raise InputError(f"expected 1 to {MOST_PAIRED_COLUMNS} columns to pair, got {len(columns)}")
    figure = new_figure(height=max(3.0, 0.95 * WIDTH * min(1.0, len(columns) / 3)))
    grid = figure.subplots(len(columns), len(columns), squeeze=False, sharex="col")
    for row, down in enumerate(columns):
        for column, across in enumerate(columns):
            _pair(grid[row, column], data, samples, names=(across, down) if row >= column else ())
        grid[row, 0].set_ylabel(plain(down, width=60 // len(columns)) if row else "density", fontsize=9)
    for axes in grid[:, 1:].flat:
        axes.tick_params(labelleft=False)
    for axes, name in zip(grid[-1], columns, strict=True):
        axes.set_xlabel(plain(name, width=60 // len(columns)), fontsize=9)
    figure.align_labels()
    handles = [Line2D([], [], marker="o", linestyle="", color=colour) for colour in SIDE_COLOURS]
    legend_below(figure, handles, sides)
    return figure


def category_shares(
    data: pd.DataFrame, samples: pd.DataFrame, *, columns: Sequence[str], sides: tuple[str, str] = SIDES
) -> Figure:
    """Draw the share of each category in the data and in samples of the model.

    Of more than 12 categories the largest 11 are kept and the rest put together.

    Args:
        data: Rows that the samples are compared with.
        samples: Rows drawn from the model.
        columns: The columns of categories.
        sides: What the legend calls the data and the samples.

    Raises:
        InputError: No column, or one that a table has not.
    """
    _refuse_unknown(data, samples, columns, sides=sides)
    tables = [_shares(data[name], samples[name]) for name in columns]
    heights = [0.7 + 0.34 * len(table) for table in tables]
    figure = new_figure(height=sum(heights) + 0.3)
    grid = figure.subplots(len(columns), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, name, table in zip(grid, columns, tables, strict=True):
        places = np.arange(len(table))
        for offset, side, shade in zip((-0.2, 0.2), table, SIDE_COLOURS, strict=True):
            tidy(axes).barh(places + offset, 100 * table[side], height=0.38, color=shade)
        axes.set_yticks(places, [plain(category, width=24) for category in table.index])
        axes.set_ylim(len(table) - 0.4, -0.6)
        axes.set_title(plain(name, width=60), fontsize=10, loc="left")
    grid[-1].set_xlabel("share of the rows where it is known, %")
    legend_below(figure, [Patch(color=shade) for shade in SIDE_COLOURS], sides)
    return figure


def image_grid(images: Mapping[str, Float[np.ndarray, "_ _ _"]], *, columns: int = 10) -> Figure:
    """Lay out images in labelled blocks, in grey from 0 (black) to 1 (white); NaN is light blue.

    Args:
        images: For each label an array of shape (images, height, width).
        columns: Images to a line.
    """
    mosaics = {name: _mosaic(_in_lines(block, columns)) for name, block in images.items()}
    heights = [WIDTH * mosaic.shape[0] / mosaic.shape[1] for mosaic in mosaics.values()]
    figure = new_figure(height=sum(heights) + 0.45 * len(heights))
    grid = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, mosaic) in zip(grid, mosaics.items(), strict=True):
        _show(axes, mosaic)
        axes.set_title(plain(name, width=70), fontsize=10, loc="left")
        axes.set_axis_off()
    return figure


def latent_grid(
    images: Float[np.ndarray, "down across height width"], *, quantiles: tuple[float, float] = (0.05, 0.95)
) -> Figure:
    """Lay out the images decoded from a grid over a two-dimensional latent space.

    Args:
        images: `images[i, j]` is decoded at the i-th value of the second latent coordinate and the
            j-th of the first. Row 0 is drawn at the bottom.
        quantiles: Prior probabilities of the first and last value; those between are evenly spaced.
    """
    down, across, height, width = images.shape
    mosaic = _mosaic(images[::-1])
    figure = new_figure(height=max(3.4, WIDTH * mosaic.shape[0] / mosaic.shape[1]))
    axes = figure.subplots()
    _show(axes, mosaic)
    for axis, count, step in ((axes.xaxis, across, width + 1), (axes.yaxis, down, height + 1)):
        labels = [f"{100 * share:.3g}" for share in np.linspace(*quantiles, count)]
        centres = (np.arange(count) + 0.5) * step if axis is axes.xaxis else (count - 0.5 - np.arange(count)) * step
        kept = slice(None, None, -(-count // 12))
        axis.set_ticks(centres[kept], labels[kept], fontsize=9)
    axes.set_xlabel("first latent, % quantile of its prior")
    axes.set_ylabel("second latent, % quantile of its prior")
    axes.spines[:].set_visible(False)
    return figure


def _pair(axes: Axes, data: pd.DataFrame, samples: pd.DataFrame, *, names: tuple[str, ...]) -> None:
    if not names:
        axes.set_axis_off()
        return
    across, down = names
    tidy(axes).xaxis.set_major_locator(MaxNLocator(2))
    axes.xaxis.set_major_formatter("{x:g}")  # a common factor would be printed over the label
    if across == down:
        _histograms(axes, [_known(frame[across]) for frame in (data, samples)])
        return
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter("{x:g}")
    for frame, shade in zip((data, samples), SIDE_COLOURS, strict=True):
        rows = frame.head(MOST_POINTS)
        axes.scatter(rows[across], rows[down], s=7, color=shade, alpha=0.45, linewidths=0, rasterized=True)


def _histograms(axes: Axes, sides: Sequence[Float[np.ndarray, " _"]]) -> None:
    together = np.concatenate(sides)
    if len(together) == 0:
        return
    bins = np.histogram_bin_edges(together, int(np.clip(np.sqrt(len(together)), 5, 30)))
    for values, shade in zip(sides, SIDE_COLOURS, strict=True):
        if len(values):
            axes.hist(values, bins, density=True, histtype="stepfilled", color=shade, alpha=0.45)
    axes.set_yticks([])


def _known(cells: pd.Series) -> Float[np.ndarray, " rows"]:
    values = pd.to_numeric(cells).to_numpy(dtype=np.float64, na_value=np.nan)
    return values[np.isfinite(values)]


def _shares(data: pd.Series, samples: pd.Series) -> pd.DataFrame:
    sides = [cells.dropna().astype(object).value_counts(normalize=True) for cells in (data, samples)]
    table = pd.concat(sides, axis=1, keys=["data", "samples"]).fillna(0.0)
    table = table.sort_values(["data", "samples"], ascending=False, kind="stable")
    if len(table) > MOST_CATEGORIES:
        rest = table.iloc[MOST_CATEGORIES - 1 :]
        table = table.iloc[: MOST_CATEGORIES - 1]
        table.loc[f"{len(rest)} others"] = rest.sum()
    return table


def _in_lines(block: Float[np.ndarray, "_ _ _"], columns: int) -> Float[np.ndarray, "_ _ _ _"]:
    count, height, width = block.shape
    lines = -(-count // columns)
    padded = np.full((lines * columns, height, width), np.nan)
    padded[:count] = block
    return padded.reshape(lines, columns, height, width)


def _mosaic(tiles: Float[np.ndarray, "_ _ _ _"]) -> Float[np.ndarray, "_ _"]:
    down, across, height, width = tiles.shape
    framed = np.full((down, across, height + 1, width + 1), np.nan)
    framed[:, :, :height, :width] = tiles
    return framed.transpose(0, 2, 1, 3).reshape(down * (height + 1), across * (width + 1))


def _show(axes: Axes, mosaic: Float[np.ndarray, "_ _"]) -> None:
    height, width = mosaic.shape
    axes.imshow(mosaic, cmap=GREYS, vmin=0, vmax=1, interpolation="nearest", extent=(0, width, height, 0))


def _refuse_unknown(
    data: pd.DataFrame, samples: pd.DataFrame, columns: Sequence[str], *, sides: tuple[str, str]
) -> None:
    if not columns:
        raise InputError("expected at least one column to draw, got none")
    for where, frame in zip(sides, (data, samples), strict=True):
        missing = [name for name in columns if name not in frame]
        if missing:
            raise InputError(f"expected the columns {missing} in {where!r}, got {list(frame.columns)}")
