"""How much codes tell of their rows, and how far two distributions are apart, in nats or bits.

The mean KL(q(z|x) || p(z)) of an ELBO has two parts (Hoffman and Johnson): the information I(x; z) that codes carry of
their rows, and KL(q(z) || p(z)), by which all codes together miss the prior. A code is useful if the first is large,
and draws are good if the second is small.

References:
    Hoffman, Johnson (2016), http://approximateinference.org/accepted/HoffmanJohnson2016.pdf (ELBO surgery)
    Poole, Ozair, van den Oord, Alemi, Tucker (2019), https://arxiv.org/abs/1905.06922 (both bounds of the information)
    Kullback, Leibler (1951), https://doi.org/10.1214/aoms/1177729694
    Theis, van den Oord, Bethge (2016), https://arxiv.org/abs/1511.01844 (bits per dimension)
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import special

from ppl_models.errors import InputError
from ppl_models.evaluation.comparison import Density
from ppl_models.evaluation.rows import finite, same, standard_error

ROUNDING = 1e-5  # probabilities of single precision add to one within it


@dataclass(frozen=True)
class BitsPerDimension:
    """A held-out probability mass on the scale of compression.

    Attributes:
        bits: minus the mean log probability, in bits per column; lower is better.
        se: its standard error over held-out rows.
        kind: "exact", "upper bound" where the log probability is a lower bound, or "estimate" as it is.
        monte_carlo_se: Monte Carlo standard error of `bits`; 0 where nothing is drawn.
    """

    bits: float
    se: float
    kind: Literal["exact", "upper bound", "estimate"]
    monte_carlo_se: float


def aggregate_information(log_q: Float[np.ndarray, "rows rows"], log_p: Float[np.ndarray, " rows"]) -> pd.DataFrame:
    """Split the mean KL of an amortised posterior into information and the aggregate's distance from the prior.

    One code z_i is drawn for each row x_i. The aggregate q(z) is estimated by the mean of q(z | x_j) over the N rows.
    With j = i left in, the information is too small in expectation and never above log N; with it left out, it is too
    large, without limit for narrow posteriors. For KL(q(z) || p(z)) it is the reverse. So `low` and `high` bound the
    value for the population in expectation, up to their standard errors; where they are far apart, take more rows.
    With it left in, both are also unbiased for a population that is these N rows. Standard errors are over rows; that
    of KL(q(z) || p(z)) is up to a quarter too large where the bounds are far apart.

    Args:
        log_q: `log_q[i, j]` is log q(z_i | x_j), in nats; -inf is allowed but for i = j.
        log_p: log p(z_i) under the prior, in nats.

    Returns:
        The lines "E KL(q(z|x) || p(z))", "I(x; z)" and "KL(q(z) || p(z))", where the first is the sum of the others,
        with the columns `low`, `low_se`, `high` and `high_se`, in nats; a standard error is NaN where
        its bound is infinite.

    Raises:
        InputError: Shapes do not fit, there are fewer than two rows, or a log density is NaN, +inf or, of a code under
            its own row or the prior, -inf.

    >>> apart = np.where(np.eye(4) > 0, 0.0, -np.inf)
    >>> aggregate_information(apart, np.full(4, -3.0))["low"].round(3).tolist()
    [3.0, 1.386, -inf]
    """
    under_each, prior = _checked_log_densities(log_q, log_p), finite(log_p, "log_p", axes=("rows",))
    own = finite(np.diagonal(under_each), "log_q of a code under its own row", axes=("rows",))
    left_in = special.logsumexp(under_each, axis=1) - np.log(len(own))
    others = np.where(np.eye(len(own), dtype=bool), -np.inf, under_each)
    left_out = special.logsumexp(others, axis=1) - np.log(len(own) - 1)
    lines = {
        "E KL(q(z|x) || p(z))": (own - prior, own - prior),
        "I(x; z)": (own - left_in, own - left_out),
        "KL(q(z) || p(z))": (left_out - prior, left_in - prior),
    }
    table = {name: [*_mean(low), *_mean(high)] for name, (low, high) in lines.items()}
    columns = ["low", "low_se", "high", "high_se"]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns).rename_axis("measure")


def discrete_kl(p: Float[np.ndarray, " classes"], q: Float[np.ndarray, " classes"]) -> float:
    """Give KL(p || q) = Σ p log(p / q) of two discrete distributions, in nats.

    It is 0 where they are the same and above 0 elsewhere; 0 log 0 is 0, and it is infinite where q rules out what p
    does not. It is not symmetric.

    Args:
        p: probabilities that add to one.
        q: the same for the same classes.

    Raises:
        InputError: numbers of classes differ, or one of them is no distribution.

    >>> p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    >>> round(discrete_kl(p, q), 4), discrete_kl(q, p)
    (0.6931, inf)
    """
    first, second = (_distribution(part, name) for part, name in ((p, "p"), (q, "q")))
    same("number of classes", p=len(first), q=len(second))
    return float(special.rel_entr(first, second).sum())


def bits_per_dimension(density: Density) -> BitsPerDimension:
    """Put a held-out probability mass into bits per column: what an ideal code would spend; lower is better.

    It is minus the log probability over D log 2, for D columns, all of which are taken as observed in every row. A
    density of continuous columns has no such number: it changes with the units, and no code is finite.

    Args:
        density: held-out log probabilities in nats per row.

    Raises:
        InputError: a column is continuous, or a log probability is not finite.

    >>> fair = Density(np.log([0.25, 0.25]), "exact", "ab12", ("heads", "again"), (True, True))
    >>> bits_per_dimension(fair).bits
    1.0
    """
    continuous = [name for name, mass in zip(density.columns, density.discrete, strict=True) if not mass]
    if continuous:
        raise InputError(f"bits per dimension: expected discrete columns, got the continuous column {continuous[0]!r}")
    values = finite(density.values, "density", axes=("rows",))
    nats = len(density.columns) * np.log(2)
    kind = "upper bound" if density.kind == "lower bound" else density.kind
    return BitsPerDimension(
        bits=float(-values.mean() / nats),
        se=float(standard_error(values) / nats),
        kind=kind,
        monte_carlo_se=float(density.mean_se / nats),
    )


def _mean(terms: Float[np.ndarray, " rows"]) -> tuple[float, float]:
    return float(terms.mean()), standard_error(terms) if np.isfinite(terms).all() else float("nan")


def _checked_log_densities(
    log_q: Float[np.ndarray, "rows rows"], log_p: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, "rows rows"]:
    if log_q.ndim != 2 or log_q.shape != (len(log_p), len(log_p)) or len(log_p) < 2:
        raise InputError(
            f"expected log_q (rows, rows) and log_p (rows,) of two rows or more, got {log_q.shape} and {log_p.shape}"
        )
    wrong = np.argwhere(np.isnan(log_q) | (log_q == np.inf))
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise InputError(f"log_q: expected log densities below infinity, got {log_q[place]} at {place}")
    return np.asarray(log_q, dtype=np.float64)


def _distribution(values: Float[np.ndarray, " classes"], name: str) -> Float[np.ndarray, " classes"]:
    probabilities = finite(values, name, axes=("classes",))
    smallest, total = probabilities.min(initial=0.0), probabilities.sum()
    if smallest < 0 or abs(total - 1) > ROUNDING:
        raise InputError(
            f"{name}: expected probabilities that add to 1, got smallest {smallest:.6g} and sum {total:.6g}"
        )
    return probabilities / total
