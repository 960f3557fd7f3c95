"""X as scikit-learn has it, an array or a frame, as the table with a schema that the families are fitted to."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from ppl_models.datasets import Column, Schema, infer_schema
from ppl_models.datasets.preparation import weights_of
from ppl_models.datasets.schema import Kind
from ppl_models.errors import InputError

Kinds = Kind | Schema | Mapping[str | int, Kind | Column]


def as_frame(estimator: BaseEstimator, X: object, *, reset: bool) -> pd.DataFrame:
    """X as a frame whose columns have the names that the estimator knows them by.

    A pandas frame whose columns have names of text keeps its cells, so that categories are possible. Anything else is
    numbers, NaN where a cell is missing, in columns x0, x1, ...

    Args:
        estimator: whose X it is; it is told the number and the names of the columns.
        X: rows by columns.
        reset: whether the estimator is being fitted, and takes the names from X; else they are compared.

    Raises:
        ValueError: X is not what scikit-learn takes for a table of this estimator.
    """
    if isinstance(X, pd.DataFrame) and all(isinstance(name, str) for name in X.columns):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return X.set_axis(names_of(estimator), axis=1)
    checks = {"dtype": np.float64, "ensure_all_finite": "allow-nan", "ensure_min_samples": 2 if reset else 1}
    return pd.DataFrame(validate_data(estimator, X, reset=reset, **checks), columns=names_of(estimator))


def names_of(estimator: BaseEstimator) -> list[str]:
    """The names of an estimator's columns, once it has seen X."""
    return list(getattr(estimator, "feature_names_in_", [f"x{index}" for index in range(estimator.n_features_in_)]))


def schema_of(frame: pd.DataFrame, kinds: object, *, seen: bool) -> Schema:
    """What the columns are.

    Args:
        frame: the rows that are fitted to.
        kinds: ``Kinds``, or None: one kind for all columns, kinds or ``Column``s by name or position, or a schema.
        seen: whether the cells speak for columns of no given kind; else those are real.

    Raises:
        InputError: a column does not exist, or cannot be of its kind.

    >>> table = pd.DataFrame({"visits": [1, 3, 2], "paid": [True, False, True]})
    >>> schema_of(table, {0: "real"}, seen=True).kinds
    {'visits': 'real', 'paid': 'binary'}
    """
    if isinstance(kinds, Schema):
        return replace(kinds, label=None)
    names = list(frame.columns)
    told = dict.fromkeys(names, kinds) if isinstance(kinds, str) else _by_name(kinds or {}, names)
    given = {} if seen else dict.fromkeys(names, "real")
    given |= {name: kind.kind if isinstance(kind, Column) else kind for name, kind in told.items()}
    levels = {name: kind.categories for name, kind in told.items() if isinstance(kind, Column) and kind.categories}
    return infer_schema(frame, kinds=given, categories=levels)


def _by_name(kinds: object, names: list[str]) -> dict[str, Kind | Column]:
    """Kinds by name, where some are told by position."""
    if not isinstance(kinds, Mapping):
        raise InputError(f"kinds: expected a kind, a schema, or kinds by column, got {type(kinds).__name__}")
    wrong = [key for key in kinds if not isinstance(key, str) and key not in range(len(names))]
    if wrong:
        raise InputError(f"kinds: expected names or positions from 0 to {len(names) - 1}, got {wrong[0]!r}")
    return {key if isinstance(key, str) else names[key]: kind for key, kind in kinds.items()}


def row_weights(sample_weight: object, rows: int) -> Float[np.ndarray, " rows"]:
    """How many rows each row stands for, out of what scikit-learn takes for ``sample_weight``.

    Args:
        sample_weight: an array, a series or a list; None for 1 each.
        rows: how many there are.

    Raises:
        InputError: another number of weights, one that is negative or not finite, or none above 0.
    """
    weights = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return weights_of(weights, rows).numpy()


def distinct_rows(
    frame: pd.DataFrame, weights: Float[np.ndarray, " rows"]
) -> tuple[pd.DataFrame, Float[np.ndarray, " distinct"]]:
    """Equal rows once, in an order of their own, with the weights of all that are equal.

    What is fitted to them depends neither on the order of the rows nor on whether a row occurs twice or has weight 2.

    Args:
        frame: rows, checked.
        weights: how many rows each stands for.

    >>> rows, weights = distinct_rows(pd.DataFrame({"x": [1.0, 2.0, 1.0]}), np.array([1.0, 1.0, 3.0]))
    >>> sorted(zip(rows["x"].tolist(), weights.tolist()))
    [(1.0, 4.0), (2.0, 1.0)]
    """
    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    return frame.iloc[first], np.bincount(place, weights)


def as_given(estimator: BaseEstimator, frame: pd.DataFrame) -> pd.DataFrame | np.ndarray:
    """Rows of a family in the form and the order of the X that the estimator was fitted to.

    Args:
        estimator: whose rows they are.
        frame: the schema's columns in raw units.
    """
    found = frame[[name for name in names_of(estimator) if name in frame]]
    return found if hasattr(estimator, "feature_names_in_") else found.to_numpy(dtype=np.float64)
