"""Arrays of images as tables: a row an image, a column a pixel."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Shaped

from ppl_models.datasets.bundled import Table
from ppl_models.datasets.kinds import infer_schema
from ppl_models.datasets.schema import Column, Schema
from ppl_models.errors import InputError

Pixels = Literal["binary", "levels", "real"]
LABEL = "label"
GREY_LEVELS = range(256)
OTHERWISE = {
    "binary": "; grey levels take pixels='levels', and grey values between 0 and 1 take pixels='real' with the "
    "continuous Bernoulli as their likelihood",
    "levels": "; give the levels there are as levels=, or for values between 0 and 1 pixels='real'",
    "real": "; grey levels take pixels='levels', or are divided by the highest one first",
}


def image_table(
    images: Shaped[np.ndarray, "..."],
    *,
    pixels: Pixels,
    levels: Sequence[int | float] | np.ndarray | None = None,
    labels: Sequence[object] | np.ndarray | pd.Series | pd.Categorical | None = None,
    image_shape: tuple[int, int] | None = None,
    name: str = "images",
    source: str = "an array",
) -> Table:
    """Lay images out as a table with a column ``pixel_row_column`` for each pixel, rows and columns from 0.

    Args:
        images: (images, height, width), or (images, height · width) with ``image_shape``; bytes stay bytes.
        pixels: "binary" for 0 and 1, "levels" for grey levels as ordered categories, "real" for numbers from 0 to 1.
        levels: all grey levels there can be; 0 to 255 by default.
        labels: the class of each image, which becomes the column ``label``; a pandas Categorical brings the classes
            that no image here has.
        image_shape: (height, width) where an image is one row of the array.
        name: the table's name, and what messages begin with.
        source: where the images come from.

    Raises:
        InputError: the array has another shape, a pixel is not finite or not of this kind, or the labels are not as
            many as the images or of one class.

    >>> table = image_table(np.eye(2, dtype=int)[None], pixels="binary")
    >>> table.frame.columns.tolist(), table.schema.image_shape
    (['pixel_0_0', 'pixel_0_1', 'pixel_1_0', 'pixel_1_1'], (2, 2))
    """
    if pixels not in get_args(Pixels):
        raise InputError(f"pixels: expected one of {', '.join(get_args(Pixels))}, got {pixels!r}")
    if levels is not None and pixels != "levels":
        raise InputError(f"levels: expected with pixels='levels' alone, got pixels={pixels!r}")
    flat, shape = _flattened(np.asarray(images), image_shape, name)
    columns = _columns(shape, pixels, GREY_LEVELS if levels is None else levels)
    _refuse_pixels(flat, columns, pixels=pixels, name=name)
    narrow = flat.astype(np.uint8 if pixels == "binary" or flat.dtype == bool else flat.dtype)
    frame = pd.DataFrame(narrow, columns=[column.name for column in columns], copy=False)
    if labels is None:
        return Table(name, frame, Schema(columns, None, shape), source)
    frame[LABEL] = _classes(labels, len(frame), name)
    label = infer_schema(frame[[columns[0].name, LABEL]], label=LABEL, kinds={columns[0].name: "real"}).label
    return Table(name, frame, Schema(columns, label, shape), source)


def _flattened(
    images: Shaped[np.ndarray, "..."], image_shape: tuple[int, int] | None, name: str
) -> tuple[Shaped[np.ndarray, "images pixels"], tuple[int, int]]:
    """The images as rows, and the height and width of one."""
    if images.dtype.kind not in "biuf":
        raise InputError(f"{name}: expected an array of numbers, got {images.dtype} cells")
    shape = images.shape[1:] if images.ndim == 3 else image_shape
    if images.size == 0 or shape is None or images.shape[1:] not in (tuple(shape), (shape[0] * shape[1],)):
        raise InputError(
            f"{name}: expected one or more images as (images, height, width), or as (images, height * width) with "
            f"image_shape, got shape {images.shape} with image_shape {image_shape}"
        )
    if image_shape is not None and tuple(shape) != tuple(image_shape):
        raise InputError(f"{name}: expected images of image_shape {image_shape}, got shape {images.shape}")
    return images.reshape(len(images), -1), (int(shape[0]), int(shape[1]))


def _columns(shape: tuple[int, int], pixels: Pixels, levels: Sequence[int | float] | np.ndarray) -> tuple[Column, ...]:
    """A column for each pixel, row by row."""
    numbers = np.asarray(levels)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
        raise InputError(f"levels: expected a list of finite numbers, got {list(levels)}")
    names = [f"pixel_{row}_{column}" for row in range(shape[0]) for column in range(shape[1])]
    if pixels != "levels":
        return tuple(Column(name, pixels) for name in names)
    categories = tuple(numbers.tolist())
    return tuple(Column(name, "categorical", categories) for name in names)


def _refuse_pixels(
    flat: Shaped[np.ndarray, "images pixels"], columns: tuple[Column, ...], *, pixels: Pixels, name: str
) -> None:
    """Refuse the first pixel that is not finite, else the first that is not of its kind."""
    finite = flat.dtype.kind != "f" or np.isfinite(flat).all()
    wrong, expected = _wrong(flat, columns[0], pixels) if finite else (~np.isfinite(flat), "a finite number")
    if wrong.any():
        image, pixel = divmod(int(wrong.argmax()), len(columns))
        raise InputError(
            f"{name}: column {columns[pixel].name!r}, row {image + 1}: expected {expected}, "
            f"got {flat[image, pixel].item()}{OTHERWISE[pixels] if finite else ''}"
        )


def _wrong(
    flat: Shaped[np.ndarray, "images pixels"], column: Column, pixels: Pixels
) -> tuple[Bool[np.ndarray, "images pixels"], str]:
    """Which pixels are not as the first column, and so every column, wants them, and what is wanted."""
    if pixels == "binary":
        return (flat != 0) & (flat != 1), "0 or 1"
    if pixels == "real":
        return (flat < 0) | (flat > 1), "a number from 0 to 1"
    levels, seen = np.asarray(column.categories), pd.unique(flat.reshape(-1))
    strange = np.isin(flat, seen[~np.isin(seen, levels)])
    return strange, f"one of {len(levels)} levels from {levels.min()} to {levels.max()}"


def _classes(
    labels: Sequence[object] | np.ndarray | pd.Series | pd.Categorical, images: int, name: str
) -> pd.api.extensions.ExtensionArray | np.ndarray:
    """The labels in the order of the images, whatever their index."""
    if np.ndim(labels) != 1 or len(labels) != images:
        raise InputError(f"{name}: expected {images} labels, one an image, got shape {np.shape(labels)}")
    return pd.Series(labels).array
