"""Predictive checks: does data drawn from the fitted model look like the held-out data?

A statistic of the held-out rows is set beside the same statistic of replicated data sets of the same
size, with the same cells missing. A model that is right puts the observed value anywhere in the spread
of the replicates; a tail probability near zero says which feature of the data the model misses.

Reference:
    Gelman, Meng, Stern (1996), https://www3.stat.sinica.edu.tw/statistica/oldpdf/A6n41.pdf
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from ppl_models.errors import InputError

MEASURED = ("real", "positive", "count")
NAMED = ("binary", "categorical")
MOST_CORRELATED_COLUMNS = 20
FEWEST_CELLS = 2


@dataclass(frozen=True, eq=False)
class _Sets:
    """One column in every data set: the held-out one first, then the replicates; NaN where missing."""

    name: str
    kind: str
    values: Float[np.ndarray, "sets rows"]
    categories: tuple[object, ...] = ()

    @property
    def observed(self) -> Bool[np.ndarray, " rows"]:
        return ~np.isnan(self.values[0])


def predictive_checks(replicates: pd.DataFrame, held_out: pd.DataFrame, *, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Compare statistics of the held-out rows with those of data sets drawn from the fitted model.

    Real, positive and count columns give their mean, standard deviation and 5, 50 and 95 % quantiles;
    binary and categorical columns the share of each category; every pair of columns but categorical
    ones its correlation, unless there are more than 20 of them. A column with fewer than two observed
    cells and a statistic that is not defined in the held-out rows (the correlation with a constant)
    are left out; replicates in which a statistic is not defined do not count for it.

    Args:
        replicates: R stacked data sets of n rows each, n the number of held-out rows. Cells missing
            in the held-out data are masked in every one.
        held_out: The n held-out rows in the raw units.
        kinds: 'real', 'positive', 'count', 'binary' or 'categorical' for each column to be checked.

    Returns:
        A table with the columns `column`, `statistic`, `observed`, `predicted` (mean over replicates),
        `low` and `high` (5 and 95 % quantiles over replicates) and `tail_probability`, two-sided and
        at least 2 / (R + 1).

    Raises:
        InputError: The replicates are not whole data sets, a column is missing or not numeric, a
            kind is unknown, or a replicate has a cell missing or infinite that was observed.

    >>> held_out = pd.DataFrame({"x": [1.0, 3.0]})
    >>> replicates = pd.DataFrame({"x": [0.0, 2.0, 2.0, 4.0, 4.0, 6.0]})
    >>> table = predictive_checks(replicates, held_out, kinds={"x": "real"})
    >>> print(table.loc[0, ["statistic", "observed", "predicted", "tail_probability"]].to_json())
    {"statistic":"mean","observed":2.0,"predicted":3.0,"tail_probability":1.0}
    """
    _refuse_bad_frames(replicates, held_out, kinds)
    columns = [_stacked(replicates[name], held_out[name], kinds[name]) for name in kinds]
    columns = [column for column in columns if column.observed.sum() >= FEWEST_CELLS]
    numeric = [column for column in columns if column.kind != "categorical"]
    found = [line for column in columns for line in _marginals(column)]
    if len(numeric) <= MOST_CORRELATED_COLUMNS:
        found += [_correlation(first, second) for first, second in combinations(numeric, 2)]
    defined = [line for line in found if np.isfinite(line[2][0]) and np.isfinite(line[2][1:]).any()]
    return _summarised(defined)


def _marginals(column: _Sets) -> Iterator[tuple[str, str, Float[np.ndarray, " sets"]]]:
    values = column.values[:, column.observed]
    if column.kind in MEASURED:
        yield column.name, "mean", values.mean(axis=1)
        yield column.name, "sd", values.std(axis=1, ddof=1)
        for percent in (5, 50, 95):
            yield column.name, f"{percent} % quantile", np.quantile(values, percent / 100, axis=1)
    for code, category in enumerate(column.categories):
        yield column.name, f"share of {category}", (values == code).mean(axis=1)


def _correlation(first: _Sets, second: _Sets) -> tuple[str, str, Float[np.ndarray, " sets"]]:
    both = first.observed & second.observed
    x, y = first.values[:, both], second.values[:, both]
    result = np.full(len(x), np.nan)
    if both.sum() >= FEWEST_CELLS:
        varied = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
        x, y = (part - part.mean(axis=1, keepdims=True) for part in (x[varied], y[varied]))
        result[varied] = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return first.name, f"correlation with {second.name}", result


def _summarised(found: list[tuple[str, str, Float[np.ndarray, " sets"]]]) -> pd.DataFrame:
    columns = ["column", "statistic", "observed", "predicted", "low", "high", "tail_probability"]
    if not found:
        return pd.DataFrame(columns=columns)
    names, statistics, values = zip(*found, strict=True)
    observed, replicated = np.stack(values)[:, :1], np.stack(values)[:, 1:]
    low, high = np.nanquantile(replicated, (0.05, 0.95), axis=1)
    predicted = np.nanmean(replicated, axis=1)
    tail = _tail_probability(observed, replicated)
    rows = [names, statistics, observed[:, 0], predicted, low, high, tail]
    return pd.DataFrame(dict(zip(columns, rows, strict=True)))


def _tail_probability(
    observed: Float[np.ndarray, "statistics 1"], replicated: Float[np.ndarray, "statistics replicates"]
) -> Float[np.ndarray, " statistics"]:
    # The observed data set counts as one of the replicates, so that no probability is zero.
    sets = 1 + (~np.isnan(replicated)).sum(axis=1)
    above = 1 + (replicated >= observed).sum(axis=1)
    below = 1 + (replicated <= observed).sum(axis=1)
    return np.minimum(1.0, 2 * np.minimum(above, below) / sets)


def _stacked(replicates: pd.Series, held_out: pd.Series, kind: str) -> _Sets:
    name, rows = str(held_out.name), len(held_out)
    both = pd.concat([held_out.astype(object), replicates.astype(object)], ignore_index=True)
    if kind in NAMED:
        codes, found = pd.factorize(both)
        order = sorted(range(len(found)), key=lambda code: (isinstance(found[code], str), found[code]))
        ranks = np.append(np.argsort(order), np.nan)  # a missing cell has the code -1
        values, categories = ranks[codes], tuple(_plain(found[code]) for code in order)
    else:
        values, categories = _numbers(both, name), ()
    values = values.reshape(-1, rows)
    missing = np.isnan(values[0])
    values = np.where(missing, np.nan, values)
    if not np.isfinite(values[:, ~missing]).all():
        raise InputError(f"expected finite cells where column {name!r} is observed, got one that is not")
    return _Sets(name, kind, values, categories)


def _numbers(cells: pd.Series, name: str) -> Float[np.ndarray, " cells"]:
    try:
        return pd.to_numeric(cells).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected numbers in column {name!r}, got {error}") from error


def _plain(category: object) -> object:
    return int(category) if isinstance(category, float) and category.is_integer() else category


def _refuse_bad_frames(replicates: pd.DataFrame, held_out: pd.DataFrame, kinds: Mapping[str, str]) -> None:
    rows, drawn = len(held_out), len(replicates)
    if rows == 0 or drawn == 0 or drawn % rows:
        raise InputError(f"expected whole replicates of the {rows} held-out rows, got {drawn} rows")
    for name, kind in kinds.items():
        if kind not in MEASURED + NAMED:
            raise InputError(f"expected a kind among {MEASURED + NAMED}, got {kind!r} for column {name!r}")
        for where, frame in (("replicates", replicates), ("held-out rows", held_out)):
            if name not in frame:
                raise InputError(f"expected a column {name!r} in the {where}, got {list(frame.columns)}")
