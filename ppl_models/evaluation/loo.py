"""Leave-one-out cross-validation from one fit: each row is predicted by draws reweighted as if it were not there.

With draws θ₁ … θ_S from p(θ given all rows), the posterior without row i has weights 1 / p(x_i given θ_s). Their
tail is heavy; Pareto smoothing replaces its largest weights by quantiles of the tail fitted to them, and
k-hat says for which rows even that is not to be trusted.

References:
    Vehtari, Gelman, Gabry (2017), https://arxiv.org/abs/1507.04544
    Vehtari, Simpson, Gelman, Yao, Gabry (2024), https://arxiv.org/abs/1507.02646
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import logsumexp

from ppl_models.errors import InputError
from ppl_models.evaluation.diagnostics import FEWEST_DRAWS, UNRELIABLE_KHAT, smooth_weights


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """The log density of each training row under the posterior of the other rows, estimated.

    Attributes:
        elpd_loo: log p(row given all other rows), in nats and in the raw units of the data; higher is better.
        khat: Pareto k-hat of each row's weights; above 0.7 its `elpd_loo` is not to be trusted.
        p_loo: effective number of parameters: the total, in nats, by which rows are more probable when they are
            themselves fitted to.
    """

    elpd_loo: Float[np.ndarray, " rows"]
    khat: Float[np.ndarray, " rows"]
    p_loo: float

    @property
    def elpd(self) -> float:
        """Expected log predictive density: the mean over rows, in nats per row; higher is better."""
        return float(np.mean(self.elpd_loo))

    @property
    def se(self) -> float:
        """Standard error of `elpd` over rows, in nats; NaN for a single row."""
        return float(pd.Series(self.elpd_loo).sem())

    @property
    def khat_high(self) -> float:
        """Share of rows with k-hat above 0.7."""
        return float(np.mean(self.khat > UNRELIABLE_KHAT))


def psis_loo(log_likelihood: Float[np.ndarray, "draws rows"]) -> LeaveOneOut:
    """Estimate each row's log density given all other rows, by Pareto-smoothed importance sampling.

    Draws are taken as independent and as the posterior's own. Those of a guide that is too narrow make `p_loo` too
    small, and k-hat does not show it: refine them first.

    Args:
        log_likelihood: log p(row given θ) of the rows that were fitted to, in nats and raw units, one line per draw of
            θ; the row's own latents are summed out.

    Raises:
        InputError: There are fewer than 25 draws or no row, or a value is not finite.

    >>> theta = np.random.default_rng(0).normal(0.0, 0.5**0.5, (4000, 1))
    >>> found = psis_loo(-0.5 * np.log(2 * np.pi) - 0.5 * (np.array([[0.5]]) - theta) ** 2)
    >>> print(found.elpd_loo.shape, found.khat_high)
    (1,) 0.0
    """
    values = _checked(log_likelihood)
    smoothed = smooth_weights(-values)
    elpd_loo = logsumexp(smoothed.log_weights + values, axis=1)
    fitted = logsumexp(values, axis=1) - np.log(values.shape[1])
    return LeaveOneOut(elpd_loo, smoothed.khat, p_loo=float((fitted - elpd_loo).sum()))


def _checked(log_likelihood: Float[np.ndarray, "draws rows"]) -> Float[np.ndarray, "rows draws"]:
    values = np.ascontiguousarray(np.asarray(log_likelihood, dtype=np.float64).T)
    rows, draws = values.shape
    if draws < FEWEST_DRAWS or rows == 0:
        raise InputError(
            f"log_likelihood: expected {FEWEST_DRAWS} or more draws of one or more rows, got {draws} of {rows}"
        )
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, draw = wrong[0]
        raise InputError(f"log_likelihood: expected finite values, got {values[row, draw]} at draw {draw}, row {row}")
    return values
