"""Anomaly scores on a scale that means something: how often would the model itself draw a row this improbable?

A log density has no zero and no unit that says what is low: in many columns all rows of a good model have a low one.
Its rank among rows drawn from the same model has both. The tail probability is one minus the content of the highest
density region that the row is on the edge of.

References:
    Hyndman (1996), https://doi.org/10.1080/00031305.1996.10474359 (highest density regions by simulation)
    Phipson, Smyth (2010), https://arxiv.org/abs/1603.05766 (why a simulated tail probability is never zero)
"""

import numpy as np
import pandas as pd
from jaxtyping import Float

from ppl_models.errors import InputError


def tail_probability(values: Float[np.ndarray, " rows"], simulated: Float[np.ndarray, " draws"]) -> pd.DataFrame:
    """Give each row the share of rows drawn from the model that are no more probable than it.

    Under the model it is uniform, so that a share α of ordinary rows falls below α; low is anomalous. Both densities
    have to be of the same columns, in the same units, with the same cells missing and by the same estimate: a row of
    fewer observed cells is no anomaly for its higher density. Which rows are improbable depends on the units: the
    log of a column ranks them otherwise.

    Args:
        values: log density of each row, in nats; -inf for a row that the model cannot draw.
        simulated: log density of rows drawn from the same model, in nats.

    Returns:
        A line per row with the columns `probability`, (1 + #{simulated ≤ value}) / (1 + draws) and so never 0, and
        `se`, its binomial standard error over draws.

    Raises:
        InputError: There is no draw, or a log density is NaN or +inf.

    >>> table = tail_probability(np.array([-9.0, -2.0, 0.0]), np.array([-4.0, -2.0, -1.0]))
    >>> print(table["probability"].tolist(), table["se"].round(3).tolist())
    [0.25, 0.75, 1.0] [0.188, 0.188, 0.0]
    """
    observed, ordered = _checked(values, "values"), np.sort(_checked(simulated, "simulated"))
    draws = len(ordered)
    if draws == 0:
        raise InputError("simulated: expected the log density of at least one drawn row, got none")
    tail = (1 + np.searchsorted(ordered, observed, side="right")) / (1 + draws)
    return pd.DataFrame({"probability": tail, "se": np.sqrt(draws * tail * (1 - tail)) / (1 + draws)})


def _checked(values: Float[np.ndarray, " rows"], name: str) -> Float[np.ndarray, " rows"]:
    wrong = np.flatnonzero(np.isnan(values) | (values == np.inf))
    if len(wrong):
        raise InputError(f"{name}: expected log densities below infinity, got {values[wrong[0]]} at row {wrong[0]}")
    return values
