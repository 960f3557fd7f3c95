"""A decoder's last layers for the columns of a table: from its last hidden layer to a distribution over the columns.

Every head has ``site`` and ``columns``, and is called with the hidden layer, (..., width), for a distribution over
(..., D) prepared cells. One that needs the preparation takes it over in ``adopt(loc, scale)``.
"""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.distributions.amortised import bounded_exp
from ppl_models.distributions.normal import SCALE_FLOOR
from ppl_models.nn import Output


class NormalHead(nn.Module):
    """Normal columns, with one learned scale a column; a linear decoder then is factor analysis."""

    def __init__(self, site: str, columns: tuple[int, ...], output: Output) -> None:
        super().__init__()
        self.site, self.columns = site, columns
        self.loc = output(len(columns))
        self.log_scale = nn.Parameter(torch.zeros(len(columns)))

    def reset_parameters(self) -> None:
        """Set the scales to one training standard deviation again."""
        nn.init.zeros_(self.log_scale)

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D)."""
        return dist.Normal(self.loc(hidden), SCALE_FLOOR + bounded_exp(self.log_scale))


class HeteroscedasticHead(nn.Module):
    """Normal columns, location and scale both from the network."""

    def __init__(self, site: str, columns: tuple[int, ...], output: Output) -> None:
        super().__init__()
        self.site, self.columns = site, columns
        self.loc = output(len(columns))
        self.scale = output(len(columns))

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D)."""
        return dist.Normal(self.loc(hidden), SCALE_FLOOR + nn.functional.softplus(self.scale(hidden)))


class PoissonHead(nn.Module):
    """Count columns: the log of the rate, in units of the column's training mean."""

    def __init__(self, site: str, columns: tuple[int, ...], output: Output) -> None:
        super().__init__()
        self.site, self.columns = site, columns
        self.log_rate = output(len(columns))
        self.register_buffer("unit", torch.ones(len(columns)))

    def adopt(self, loc: Tensor, scale: Tensor) -> None:
        """Take the columns' training means as the unit."""
        self.unit = scale[list(self.columns)].to(self.unit)

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D)."""
        return dist.Poisson(self.unit * bounded_exp(self.log_rate(hidden)))


class NegativeBinomialHead(nn.Module):
    """Count columns with more spread than Poisson's: the mean as ``PoissonHead`` has it, one dispersion a column.

    The variance is mean + mean² / dispersion.
    """

    def __init__(self, site: str, columns: tuple[int, ...], output: Output) -> None:
        super().__init__()
        self.site, self.columns = site, columns
        self.log_mean = output(len(columns))
        self.log_dispersion = nn.Parameter(torch.zeros(len(columns)))
        self.register_buffer("unit", torch.ones(len(columns)))

    def reset_parameters(self) -> None:
        """Set the dispersions to 1 again."""
        nn.init.zeros_(self.log_dispersion)

    def adopt(self, loc: Tensor, scale: Tensor) -> None:
        """Take the columns' training means as the unit."""
        self.unit = scale[list(self.columns)].to(self.unit)

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D)."""
        dispersion = bounded_exp(self.log_dispersion)
        log_mean = self.unit.log() + self.log_mean(hidden)
        return dist.NegativeBinomial(dispersion, logits=log_mean - dispersion.log())


class LogitBernoulli(dist.Bernoulli):
    """Bernoulli by logits, whose log density is negated in place: the same numbers, two passes over all cells less."""

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of zeros and ones, nats."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = torch.broadcast_tensors(self.logits, value)
        negative = logits.new_full((), -1.0)
        return nn.functional.binary_cross_entropy_with_logits(logits, value, weight=negative, reduction="none")


class BernoulliHead(nn.Module):
    """Binary columns: one logit each."""

    def __init__(self, site: str, columns: tuple[int, ...], output: Output) -> None:
        super().__init__()
        self.site, self.columns = site, columns
        self.logits = output(len(columns))

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D)."""
        return LogitBernoulli(logits=self.logits(hidden))


class CategoricalHead(nn.Module):
    """Categorical columns of C categories each: D·C logits."""

    def __init__(self, site: str, columns: tuple[int, ...], output: Output, categories: int) -> None:
        super().__init__()
        self.site, self.columns, self.categories = site, columns, categories
        self.logits = output(len(columns) * categories)

    def forward(self, hidden: Tensor) -> dist.Distribution:
        """(..., width) to a distribution over (..., D)."""
        return dist.Categorical(logits=self.logits(hidden).unflatten(-1, (len(self.columns), self.categories)))
