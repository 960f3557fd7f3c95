"""How far an importance-sampled log density can be trusted: its Monte Carlo error and Pareto k-hat.

With draws z₁ … z_K from the guide and weights w_k = p(x, z_k) / q(z_k given x), the log of their mean
bounds log p(x) from below in expectation, and closes in on it with more draws. The error of a log of a
mean follows from the delta method; whether that error means anything is what k-hat answers.

References:
    Burda, Grosse, Salakhutdinov (2016), https://arxiv.org/abs/1509.00519
    Vehtari, Simpson, Gelman, Yao, Gabry (2024), https://arxiv.org/abs/1507.02646
"""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logsumexp

from ppl_models.errors import InputError
from ppl_models.evaluation.versions import arviz_is_modular

UNRELIABLE_KHAT = 0.7  # above it no practical number of draws is enough (Vehtari and others)
FEWEST_DRAWS = 25  # the tail is a fifth of the draws, and the fit needs five points


@dataclass(frozen=True, eq=False)
class ImportanceSummary:
    """What the importance weights of some rows say about their log densities.

    Attributes:
        values: Log of the mean weight of each row, in nats; -inf where every weight is zero.
        monte_carlo_se: Monte Carlo standard error of each value, in nats; NaN for a single draw.
        effective: Effective sample size of each row's weights, (sum w)² / sum w²: from 1 to the number of draws, or 0
            where every weight is zero.
        rise: How much each value is above the mean of those by the first and by the second half of the draws, in nats;
            NaN for a single draw. Where weights have a variance, the values fall short of the truth by c / draws, so
            that the rise is about what is missing still.
        influence: For each draw, the sum over rows of w / mean(w) - 1. Chunks of rows that share
            their draws add their influences: sd(influence) / sqrt(draws) is the Monte Carlo standard
            error of the total over all of them.
    """

    values: Float[np.ndarray, " rows"]
    monte_carlo_se: Float[np.ndarray, " rows"]
    effective: Float[np.ndarray, " rows"]
    rise: Float[np.ndarray, " rows"]
    influence: Float[np.ndarray, " draws"]


@dataclass(frozen=True, eq=False)
class SmoothedWeights:
    """Pareto-smoothed importance weights.

    Attributes:
        log_weights: Log weights of each row, normalised to add to one; -inf where none has any weight.
        khat: Shape of each row's Pareto tail.
    """

    log_weights: Float[np.ndarray, "rows draws"]
    khat: Float[np.ndarray, " rows"]


def summarise_weights(log_weights: Float[np.ndarray, "draws rows"]) -> ImportanceSummary:
    """Estimate each row's log density from its importance weights, with the Monte Carlo error.

    Args:
        log_weights: log p(x, z) - log q(z given x), in nats, one line per draw.

    Raises:
        InputError: There is no draw, or a log weight is NaN or +inf.

    >>> summary = summarise_weights(np.log([[1.0, 2.0], [3.0, 2.0]]))
    >>> print(np.exp(summary.values), summary.monte_carlo_se, summary.influence)
    [2. 2.] [0.5 0. ] [-0.5  0.5]
    """
    weights = _checked(log_weights, draws_axis=0)
    draws = len(weights)
    values = logsumexp(weights, axis=0) - np.log(draws)
    with np.errstate(invalid="ignore"):
        relative = np.exp(weights - values)
    spread = relative.std(axis=0, ddof=1) if draws > 1 else np.full(weights.shape[1], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.nan_to_num(relative.sum(0) ** 2 / np.square(relative).sum(0))
    return ImportanceSummary(values, spread / np.sqrt(draws), effective, _rise(weights), (relative - 1).sum(axis=1))


def _rise(weights: Float[np.ndarray, "draws rows"]) -> Float[np.ndarray, " rows"]:
    """Each row's log mean weight less the mean of that of two halves of its draws, an odd one left out."""
    half = len(weights) // 2
    if half == 0:
        return np.full(weights.shape[1], np.nan)
    halves = logsumexp(weights[: 2 * half].reshape(2, half, -1), axis=1)
    with np.errstate(invalid="ignore"):
        return logsumexp(halves, axis=0) - np.log(2) - halves.mean(0)


def pareto_k(log_weights: Float[np.ndarray, "rows draws"]) -> Float[np.ndarray, " rows"]:
    """Fit a generalised Pareto tail to each row's importance weights and return its shape, k-hat.

    Below 0.5 the weights have a finite variance; above 0.7 no practical number of draws is enough,
    and the log density of that row is not to be trusted.

    Args:
        log_weights: log p(x, z) - log q(z given x), in nats, one line per row. Discrete latents are
            to be summed out: drawn ones make k-hat a measure of their noise.

    Returns:
        k-hat of each row: -inf where the weights are constant to rounding (the guide is the
        posterior), +inf where no draw has any weight or too few differ to fit a tail, NaN
        everywhere for fewer than 25 draws.

    Raises:
        InputError: There is no draw, or a log weight is NaN or +inf.
    """
    return smooth_weights(log_weights).khat


def smooth_weights(log_weights: Float[np.ndarray, "rows draws"]) -> SmoothedWeights:
    """Replace the largest importance weights of each row by quantiles of the Pareto tail fitted to them.

    Args:
        log_weights: log of the importance weights, in nats, one line per row.

    Returns:
        The weights, and k-hat as `pareto_k` has it. Where k-hat is not finite, no tail is smoothed.

    Raises:
        InputError: There is no draw, or a log weight is NaN or +inf.

    >>> smoothed = smooth_weights(np.log([np.random.default_rng(0).pareto(2.0, 1000)]))
    >>> print(np.exp(smoothed.log_weights).sum().round(6), (smoothed.khat < 0.7).all())
    1.0 True
    """
    weights = _checked(log_weights, draws_axis=1)
    fitted, khat = _fittable(weights)
    smoothed = weights.copy()
    if fitted.any():
        smoothed[fitted], khat[fitted] = _fit_tails(weights[fitted])
    total = logsumexp(smoothed, axis=1, keepdims=True)
    return SmoothedWeights(smoothed - np.where(np.isfinite(total), total, 0.0), khat)


def _fittable(weights: Float[np.ndarray, "rows draws"]) -> tuple[Bool[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Which rows a tail can be fitted to, and k-hat of all others."""
    rows, draws = weights.shape
    if draws < FEWEST_DRAWS:
        return np.full(rows, False), np.full(rows, np.nan)
    largest = weights.max(axis=1)
    possible = np.isfinite(largest)
    floor = np.where(possible, largest - 1e-6 * (1 + np.abs(largest)), np.inf)
    constant = weights.min(axis=1) > floor
    tail = int(min(draws / 5, 3 * draws**0.5))
    varied = np.partition(weights, -tail, axis=1)[:, -tail] < largest  # a tail of one value makes ArviZ 1 raise
    return possible & ~constant & varied, np.where(constant, -np.inf, np.inf)


def _fit_tails(
    log_weights: Float[np.ndarray, "rows draws"],
) -> tuple[Float[np.ndarray, "rows draws"], Float[np.ndarray, " rows"]]:
    with warnings.catch_warnings(), np.errstate(over="ignore"):  # what overflows is cut at the largest weight
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        # Both faces of ArviZ: 2 s to import, and needed by importance-sampled densities alone.
        if arviz_is_modular():
            from arviz_stats.base import array_stats  # noqa: PLC0415

            smoothed, khat = array_stats.psislw(-log_weights, axis=-1)  # it negates its input
        else:
            import arviz  # noqa: PLC0415

            smoothed, khat = arviz.psislw(log_weights.copy())  # it shifts its input in place
    return np.asarray(smoothed, dtype=np.float64), np.asarray(khat, dtype=np.float64).reshape(len(log_weights))


def _checked(log_weights: Float[np.ndarray, "_ _"], *, draws_axis: int) -> Float[np.ndarray, "_ _"]:
    weights = np.asarray(log_weights, dtype=np.float64)
    if weights.shape[draws_axis] == 0:
        raise InputError("expected at least one importance draw, got none")
    wrong = np.argwhere(np.isnan(weights) | (weights == np.inf))
    if len(wrong):
        value, row = weights[tuple(wrong[0])], wrong[0][1 - draws_axis]
        raise InputError(f"expected log weights below infinity, got {value} at row {row}")
    return weights
