"""What a table's columns are: their names, their kinds, their categories, and which one is the label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ppl_models.errors import InputError

Kind = Literal["real", "positive", "count", "binary", "categorical"]
KINDS: tuple[str, ...] = get_args(Kind)
LARGEST_INFERRED_COUNT = 99


@dataclass(frozen=True)
class Column:
    """One column: its name, its kind and, where it is categorical, the categories in order.

    Attributes:
        name: the column's name in the table.
        kind: ``real`` (any number), ``positive`` (above zero, modelled on its logarithm), ``count``
            (0, 1, 2, ...), ``binary`` (0 or 1, or booleans) or ``categorical``.
        categories: the values a categorical column may take, those that nobody chose included.
    """

    name: str
    kind: Kind
    categories: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"column {self.name!r}: kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.kind == "categorical" and len(set(self.categories)) < 2:
            raise InputError(
                f"column {self.name!r}: a categorical column needs two or more categories, got {list(self.categories)}"
            )
        if len(set(self.categories)) != len(self.categories):
            raise InputError(f"column {self.name!r}: a category is listed twice in {list(self.categories)}")

    @property
    def continuous(self) -> bool:
        """Whether the column carries a density; the others carry a probability mass."""
        return self.kind in ("real", "positive")

    @property
    def cardinality(self) -> int:
        """How many values a binary or categorical column may take; 0 for the other kinds."""
        return 2 if self.kind == "binary" else len(self.categories)


@dataclass(frozen=True)
class Schema:
    """The columns that a model describes, in order, and the label if there is one.

    Attributes:
        columns: the modelled columns; the label is not among them.
        label: a categorical column, the class of a row, or None.
        image_shape: (height, width) if the columns are the pixels of an image, row by row.
    """

    columns: tuple[Column, ...]
    label: Column | None = None
    image_shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns] + ([self.label.name] if self.label else [])
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(f"schema: column {repeated[0]!r} is named twice")
        if not self.columns:
            raise InputError("schema: at least one column besides the label is needed, got none")
        if self.label and self.label.kind != "categorical":
            raise InputError(f"label {self.label.name!r}: must be categorical, not {self.label.kind}")
        if self.image_shape and int(np.prod(self.image_shape)) != len(self.columns):
            raise InputError(
                f"image_shape {self.image_shape} needs {int(np.prod(self.image_shape))} columns, "
                f"the schema has {len(self.columns)}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the modelled columns."""
        return tuple(column.name for column in self.columns)

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each modelled column, by name."""
        return {column.name: column.kind for column in self.columns}

    @property
    def discrete(self) -> tuple[bool, ...]:
        """Which columns carry a probability mass and not a density."""
        return tuple(not column.continuous for column in self.columns)

    @property
    def classes(self) -> int:
        """The number of classes of the label; 1 without a label."""
        return len(self.label.categories) if self.label else 1

    def of_kind(self, *kinds: str) -> tuple[int, ...]:
        """The positions of the columns of these kinds."""
        return tuple(index for index, column in enumerate(self.columns) if column.kind in kinds)

    def override(self, **kinds: Kind) -> "Schema":
        """The same schema with other kinds for some columns.

        >>> schema = Schema((Column("visits", "real"), Column("age", "real")))
        >>> schema.override(visits="count").kinds
        {'visits': 'count', 'age': 'real'}
        """
        unknown = sorted(set(kinds) - set(self.names))
        if unknown:
            raise InputError(f"schema: no column {unknown[0]!r}; the columns are {', '.join(self.names)}")
        return replace(
            self, columns=tuple(replace(column, kind=kinds.get(column.name, column.kind)) for column in self.columns)
        )


def infer_schema(
    frame: pd.DataFrame,
    *,
    label: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
    categories: Mapping[str, Sequence[object]] | None = None,
    image_shape: tuple[int, int] | None = None,
) -> Schema:
    """Read a schema off a table; what is given in ``kinds`` and ``categories`` goes before what is seen.

    Text, pandas categories and booleans speak for themselves; numbers that are only 0 and 1 are binary; whole
    numbers from 0 to 99 are counts; every other number is real. ``positive`` is never guessed.

    Args:
        frame: the table, rows by columns; missing cells are NaN, None or NA.
        label: the column that holds the class of a row; its missing cells are rows of unknown class.
        kinds: kinds by column name.
        categories: categories by column name, for those that the table does not show.
        image_shape: (height, width) if the columns are pixels.

    Raises:
        InputError: a name is unknown or repeated, or a column cannot be of the kind asked for.

    >>> table = pd.DataFrame({"dollars": [41.5, 52.25], "visits": [3, 7], "likes": ["tea", "coffee"]})
    >>> infer_schema(table).kinds
    {'dollars': 'real', 'visits': 'count', 'likes': 'categorical'}
    """
    kinds, categories = dict(kinds or {}), dict(categories or {})
    if len(frame) == 0:
        raise InputError("table: expected rows, got an empty table")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise InputError(f"table: column {repeated[0]!r} occurs more than once")
    unnamed = [name for name in frame.columns if not isinstance(name, str)]
    if unnamed:
        raise InputError(f"table: expected text as column names, got {unnamed[0]!r}")
    for name in [*kinds, *categories, *([label] if label is not None else [])]:
        if name not in frame.columns:
            raise InputError(f"table: no column {name!r}; the columns are {', '.join(map(str, frame.columns))}")
    columns = tuple(
        _column(frame[name], kinds.get(name), categories.get(name)) for name in frame.columns if name != label
    )
    return Schema(columns, None if label is None else _label(frame[label], categories.get(label)), image_shape)


def _column(series: pd.Series, kind: str | None, categories: Sequence[object] | None) -> Column:
    """The column that a series shows, with its kind and categories as given or as seen."""
    if kind is None:
        kind = "categorical" if categories is not None else _kind(series)
    if kind != "categorical":
        return Column(series.name, kind)
    return Column(series.name, kind, tuple(_levels(series) if categories is None else categories))


def _label(series: pd.Series, categories: Sequence[object] | None) -> Column:
    """The label, which needs two classes at least among the rows where it is known."""
    levels = _levels(series) if categories is None else list(categories)
    if not levels:
        raise InputError(f"label {series.name!r}: expected some known classes, every row is missing")
    if len(levels) == 1:
        raise InputError(f"label {series.name!r}: expected two or more classes, got only {levels[0]!r}")
    return Column(series.name, "categorical", tuple(levels))


def _kind(series: pd.Series) -> str:
    """The kind that the values speak for."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return "categorical"
    values = series.dropna()
    if len(values) == 0:
        raise InputError(f"column {series.name!r}: expected values, every cell is missing")
    if pd.api.types.is_bool_dtype(values.infer_objects().dtype):
        return "binary"
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return "categorical"
    numbers = values.to_numpy(dtype=float)
    if np.isin(numbers, (0.0, 1.0)).all():
        return "binary"
    whole = np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()
    return "count" if whole and numbers.min() >= 0 and numbers.max() <= LARGEST_INFERRED_COUNT else "real"


def _levels(series: pd.Series) -> list[object]:
    """The categories of a series: its own if it is a pandas categorical, else its sorted values."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series.cat.categories.tolist()
    values = series.dropna().unique().tolist()
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=str)
