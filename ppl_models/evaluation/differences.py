"""A 95 % interval for a mean difference of log densities, and whether its rows can carry one.

The differences of two models' log densities, row by row, are skewed: a model that misses the tails loses much on few
rows. Student's interval then covers too seldom. Hall's does better, which takes the skewness g of the rows out of
t = √n (mean − μ) / s by the monotone cubic

    t + g t² / (3 √n) + g² t³ / (27 n) + g / (6 √n)

before it is compared with Student's quantiles (Hall 1992, On the removal of skewness by transformation,
https://doi.org/10.1111/j.2517-6161.1992.tb01876.x); but it is short where tails are long on both sides. The interval
here holds both. Limit: where the differences' own tail is so long that their variance is in doubt, which the k-hat of
their distances from the median tells (above 0.5), the rows that would decide may not be among those seen, and no
interval from the seen ones covers as often as it says (Sivula, Magnusson, Matamoros and Vehtari 2020, Uncertainty in
Bayesian leave-one-out cross-validation based model comparison, https://arxiv.org/abs/2008.10296).
"""

import numpy as np
from jaxtyping import Float
from scipy import stats

from ppl_models.evaluation.diagnostics import pareto_k

COVERAGE = 0.95
UNRELIABLE_DIFFERENCE = 0.5  # a k-hat above which the variance of differences is in doubt


def mean_interval(
    values: Float[np.ndarray, "tables rows"],
) -> tuple[Float[np.ndarray, " tables"], Float[np.ndarray, " tables"]]:
    """The lower and the upper end of a 95 % interval for the mean that rows are drawn from.

    Args:
        values: tables of one number a row; NaN ends for a single row.

    >>> low, high = mean_interval(np.array([[0.0, 0.0, 0.0, 4.0]]))
    >>> print(low.round(2), high.round(2))
    [-2.18] [13.81]
    """
    rows = values.shape[-1]
    mean = values.mean(-1)
    if rows < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    deviation = values.std(-1, ddof=1)
    spread = np.where(deviation > 0, deviation, 1.0)
    skewness = ((values - mean[..., None]) ** 3).mean(-1) / spread**3
    return interval_by_moments(rows, mean, deviation, skewness)


def interval_by_moments(
    rows: int,
    mean: Float[np.ndarray, " tables"],
    deviation: Float[np.ndarray, " tables"],
    skewness: Float[np.ndarray, " tables"],
) -> tuple[Float[np.ndarray, " tables"], Float[np.ndarray, " tables"]]:
    """The interval of ``mean_interval`` by what it asks of the rows.

    Args:
        rows: how many; 2 at least.
        mean: of the rows.
        deviation: their standard deviation, with rows − 1.
        skewness: their third central moment over the cube of that.
    """
    quantiles = stats.t(rows - 1).ppf([(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]) / rows**0.5
    plain = [mean - deviation * quantile for quantile in quantiles[::-1]]
    unskewed = [mean - deviation * _unskewed(quantile, skewness, rows) for quantile in quantiles[::-1]]
    return np.minimum(plain[0], unskewed[0]), np.maximum(plain[1], unskewed[1])


def tail_khat(values: Float[np.ndarray, "tables rows"]) -> Float[np.ndarray, " tables"]:
    """Pareto k-hat of the distances from the median: above 0.5 the variance of the rows is in doubt.

    Args:
        values: tables of one number a row.

    Returns:
        k-hat of each table; −∞ where all rows, or the largest distances, are alike: a tail that ends; NaN for fewer
        than 25.
    """
    distances = np.abs(values - np.median(values, axis=-1, keepdims=True))
    with np.errstate(divide="ignore"):
        found = pareto_k(np.log(distances))
    return np.where(found == np.inf, -np.inf, found)


def _unskewed(quantile: float, skewness: Float[np.ndarray, " tables"], rows: int) -> Float[np.ndarray, " tables"]:
    """What (mean − μ) / s is where Hall's cubic of it, over √n, is at a quantile."""
    flat = np.abs(skewness) < 1e-6
    skewness = np.where(flat, 1.0, skewness)
    bent = 3 / skewness * (np.cbrt(1 + skewness * (quantile - skewness / (6 * rows))) - 1)
    return np.where(flat, quantile, bent)
