"""What a table's cells say of its columns: the schema that is read off them where the caller gives none."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ppl_models.datasets.schema import Column, Kind, Schema
from ppl_models.datasets.table import refuse_cells, refuse_nested
from ppl_models.errors import InputError

LARGEST_INFERRED_COUNT = 99
LARGEST_UNCHECKED_TEXT = 20
UNMODELLED = {
    "datetime64",
    "datetime",
    "date",
    "time",
    "timedelta64",
    "timedelta",
    "period",
    "interval",
    "complex",
}  # as pandas.api.types.infer_dtype names them


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
    numbers from 0 to 99 are counts; every other number is real. ``positive`` is never guessed. Columns that speak for
    no kind are refused unless one is given: text among numbers, text that differs in most rows, dates, durations and
    complex numbers, and a whole number other than 0 and 1 that never varies.

    Args:
        frame: the table, rows by columns; missing cells are NaN, None or NA.
        label: the column that holds the class of a row; its missing cells are rows of unknown class.
        kinds: kinds by column name.
        categories: categories by column name, for those that the table does not show.
        image_shape: (height, width) if the columns are pixels.

    Raises:
        InputError: a name is unknown or repeated, a column cannot be of the kind asked for, or speaks for none.

    >>> table = pd.DataFrame({"dollars": [41.5, 52.25], "visits": [3, 7], "likes": ["tea", "coffee"]})
    >>> infer_schema(table).kinds
    {'dollars': 'real', 'visits': 'count', 'likes': 'categorical'}
    """
    kinds, categories = dict(kinds or {}), dict(categories or {})
    _refuse_names(frame, [*kinds, *categories, *([label] if label is not None else [])])
    columns = tuple(
        _column(frame[name], kinds.get(name), categories.get(name)) for name in frame.columns if name != label
    )
    return Schema(columns, None if label is None else _label(frame[label], categories.get(label)), image_shape)


def _refuse_names(frame: pd.DataFrame, asked: Sequence[str]) -> None:
    """Refuse a table without rows, names that are no text or are repeated, and names asked for that it lacks."""
    if len(frame) == 0:
        raise InputError("table: expected rows, got an empty table")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise InputError(f"table: column {repeated[0]!r} occurs more than once")
    unnamed = [name for name in frame.columns if not isinstance(name, str)]
    if unnamed:
        raise InputError(f"table: expected text as column names, got {unnamed[0]!r}")
    for name in asked:
        if name not in frame.columns:
            raise InputError(f"table: no column {name!r}; the columns are {', '.join(map(str, frame.columns))}")


def _column(series: pd.Series, kind: str | None, categories: Sequence[object] | None) -> Column:
    """The column that a series shows, with its kind and categories as given or as seen."""
    if kind is None:
        kind = "categorical" if categories is not None else _kind(series)
    if categories is None:
        if kind == "categorical":
            _refuse_measurements(series)
        categories = _levels(series) if kind == "categorical" else ()
    return Column(series.name, kind, tuple(categories), ordered=_ordered(series, kind), boolean=_boolean(series, kind))


def _ordered(series: pd.Series, kind: str) -> bool:
    """Whether a series' categories are ordered ones."""
    return kind == "categorical" and isinstance(series.dtype, pd.CategoricalDtype) and bool(series.dtype.ordered)


def _boolean(series: pd.Series, kind: str) -> bool:
    """Whether a series holds booleans, as far as it is not missing."""
    return kind == "binary" and pd.api.types.is_bool_dtype(series.dropna().infer_objects().dtype)


def _refuse_measurements(series: pd.Series) -> None:
    """Refuse numbers with fractions, most of them different, as categories."""
    if not pd.api.types.is_float_dtype(series.dtype):
        return
    levels = series.dropna().unique()
    fractions = levels[levels != np.floor(levels)]
    if len(fractions) and len(levels) > LARGEST_UNCHECKED_TEXT:
        raise InputError(
            f"column {series.name!r}: expected categories, got {len(levels)} different numbers such as "
            f"{fractions[0]:g}; leave it a number, or round it"
        )


def _label(series: pd.Series, categories: Sequence[object] | None) -> Column:
    """The label, which needs two classes at least among the rows where it is known."""
    levels = _levels(series) if categories is None else list(categories)
    if not levels:
        raise InputError(f"label {series.name!r}: expected some known classes, every row is missing")
    if len(levels) == 1:
        raise InputError(f"label {series.name!r}: expected two or more classes, got only {levels[0]!r}")
    return Column(series.name, "categorical", tuple(levels), ordered=_ordered(series, "categorical"))


def _kind(series: pd.Series) -> str:
    """The kind that the values speak for."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return "categorical"
    values = series.dropna().infer_objects()
    if len(values) == 0:
        raise InputError(f"column {series.name!r}: expected values, every cell is missing")
    if pd.api.types.is_bool_dtype(values.dtype):
        return "binary"
    seen = pd.api.types.infer_dtype(values)
    if seen in UNMODELLED:
        raise InputError(
            f"column {series.name!r}: expected numbers, text or booleans, got {seen} cells; "
            f"turn them into numbers, drop it or {_give(series, 'categorical')}"
        )
    return _number_kind(values) if pd.api.types.is_numeric_dtype(values.dtype) else _text_kind(series)


def _number_kind(values: pd.Series) -> str:
    """Binary, count or real; a count that never varies is a code or a mistake, and no model learns from it."""
    numbers = values.to_numpy(dtype=float)
    if np.isin(numbers, (0.0, 1.0)).all():
        return "binary"
    whole = np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()
    if not whole or numbers.min() < 0 or numbers.max() > LARGEST_INFERRED_COUNT:
        return "real"
    if numbers.min() == numbers.max():
        raise InputError(f"column {values.name!r}: is constant ({numbers[0]:g}); drop it or {_give(values, 'count')}")
    return "count"


def _text_kind(series: pd.Series) -> str:
    """Categorical, unless the text is a slip among numbers or names each row."""
    where = f"column {series.name!r}"
    refuse_nested(series, where)
    distinct = pd.Series(series.dropna().unique(), dtype=object)
    words = distinct[pd.to_numeric(distinct, errors="coerce").isna()]
    if 0 < len(words) < len(distinct) / 2:
        hint = f"; where it is no slip, {_give(series, 'categorical')}"
        refuse_cells(series.isin(words), series, where, "a number", hint=hint)
    observed = int(series.notna().sum())
    if observed > LARGEST_UNCHECKED_TEXT and len(distinct) > observed / 2:
        raise InputError(
            f"{where}: looks like an identifier, with {len(distinct)} different values in {observed} rows: "
            f"drop it or {_give(series, 'categorical')}"
        )
    return "categorical"


def _give(series: pd.Series, kind: str) -> str:
    """How a caller overrides what is seen."""
    return f"give kinds={{{series.name!r}: {kind!r}}}"


def _levels(series: pd.Series) -> list[object]:
    """The categories of a series: its own if it is a pandas categorical, else its sorted values."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series.cat.categories.tolist()
    refuse_nested(series, f"column {series.name!r}")
    values = series.dropna().unique().tolist()
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=str)
