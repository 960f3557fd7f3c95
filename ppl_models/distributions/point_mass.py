"""A point mass on the parameters of a column likelihood: maximum a posteriori, or maximum likelihood.

The guide is Delta(θ̂). Its natural parameters are t(θ̂), which stand wherever E_q[t(θ)] stands; the step that is the
natural gradient's for a conjugate guide puts θ̂ at the mode, which is EM's (Neal and Hinton 1998,
https://doi.org/10.1007/978-94-011-5014-4_12). The mode is that of the sites' joint density, as Pyro's Delta guides have
it; without the prior it is the maximum of the likelihood.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions.conjugate import TINY, Conjugate
from ppl_models.distributions.hidden import Hidden

NEVER = math.log(TINY) + 1


class PointMass(Conjugate):
    """A column likelihood whose parameters are one value each.

    Args:
        block: the likelihood with its conjugate prior.
        flat: whether to leave the prior out: maximum likelihood.
    """

    def __init__(self, block: Conjugate, *, flat: bool) -> None:
        super().__init__(block.site, block.columns, torch.zeros_like(block.prior) if flat else block.prior)
        self.block, self.flat = block, flat
        self.given, self.nonnegative, self.footprint = block.given, block.nonnegative, block.footprint
        self.together, self.sums_missing = block.together, block.sums_missing

    def learn(self, values: Tensor, weights: Tensor, scale: Tensor) -> None:
        """Let the prior take its unit."""
        self.block.learn(values, weights, scale)
        self.unit = self.block.unit
        if not self.flat:
            self.prior = self.block.prior

    def check(self, observed: Tensor, *, before: int = 0) -> None:
        """What the likelihood refuses."""
        self.block.check(observed, before=before)

    def check_unpriced(self, sums: Tensor, *, rows: int) -> None:
        """What the likelihood refuses where there is no prior."""
        self.block.check_unpriced(sums, rows=rows)

    def cells(self, batch: Dataset) -> tuple[Tensor, Tensor]:
        """What the likelihood sees."""
        return self.block.cells(batch)

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """T(x)."""
        return self.block.statistics(values, observed)

    def class_sums(self, values: Tensor, observed: Tensor, member: Tensor, weights: Tensor, classes: int) -> Tensor:
        """Σ weight · T(x) over the rows of each class."""
        return self.block.class_sums(values, observed, member, weights, classes)

    def base_measure(self, values: Tensor, observed: Tensor) -> Tensor:
        """h(x)."""
        return self.block.base_measure(values, observed)

    def hidden(self, values: Tensor, observed: Tensor) -> Hidden | None:
        """Rows with cells missing that the statistics cannot leave out."""
        return self.block.hidden(values, observed)

    def initial(self, classes: int) -> Tensor:
        """What the prior would estimate, were it rows."""
        return self.block.encode(self.block.mode(self.block.prior.expand(classes, -1), flat=True))

    def settle(self, natural: Tensor, previous: Tensor | None = None) -> Tensor:
        """t(θ̂) at the mode; NaN for a class that has collapsed."""
        theta = self.block.update(natural, flat=self.flat, previous=previous)
        return torch.where(self.block.collapsed(theta)[..., None], torch.nan, self.block.encode(theta))

    def expected(self, natural: Tensor) -> Tensor:
        """t(θ̂) itself."""
        return natural

    def divergence(self, natural: Tensor) -> Tensor:
        """−log prior density of θ̂, summed over the classes; nothing where the prior is left out."""
        if self.flat or not natural.numel():  # torch knows no multivariate normal of an empty batch
            return natural.new_zeros(natural.shape[:-2])
        theta = {f"{self.site}.{name}": value for name, value in self.block.decode(natural).items()}
        wide = self.block.prior.expand_as(natural)
        trace = poutine.trace(poutine.condition(self.block.sample, data=theta)).get_trace(wide, nullcontext())
        logs = (trace.nodes[name]["fn"].log_prob(value) for name, value in theta.items())
        return -sum(log.flatten(natural.dim() - 2).sum(-1) for log in logs)

    def log_partition(self, natural: Tensor) -> Tensor:
        """A point mass has none."""
        return natural.new_zeros(natural.shape[:-1])

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """log p(x | θ̂), nats; −∞ where a category of probability 0 is seen."""
        statistics, base = self.statistics(values, observed), self.base_measure(values, observed)
        joint = statistics @ natural.mT + base[:, None]
        if (hidden := self.hidden(values, observed)) is not None:
            joint[hidden.rows] += hidden.conditional(natural).log_integral.mT
        if not self.block.of_probabilities:
            return joint
        never = (natural <= NEVER).to(natural)
        return torch.where(statistics.abs() @ never.mT > 0, -torch.inf, joint)

    def draw(self, natural: Tensor, member: Tensor) -> Tensor:
        """A row from the likelihood of each row's class."""
        return self.block.likelihood(self.block.decode(natural), member).sample().to(natural)

    def draw_given(self, natural: Tensor, member: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """The missing cells from the likelihood of each row's class, given the observed ones."""
        drawn = self.complete(self.decode(natural), member, values, observed)
        if not self.sums_missing and (hidden := self.hidden(values, observed)) is not None:
            ones = torch.ones_like(hidden.values[:, 0])
            drawn[hidden.rows] = hidden.draw(natural, member[hidden.rows], ones)
        return drawn

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """θ̂, each parameter free to take any real value."""
        return self.block.release(self.block.decode(natural))

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        return self.block.encode(self.block.confine(free))

    def sample(self, natural: Tensor, classes: AbstractContextManager) -> dict[str, Tensor]:
        """The sites of the likelihood, a point mass each."""
        sites, leading = {}, natural.dim() - 1
        for name, value in self.block.decode(natural).items():
            shared = value.shape[leading - 1] < natural.shape[-2]
            with nullcontext() if shared else classes:
                sites[name] = pyro.sample(f"{self.site}.{name}", dist.Delta(value, event_dim=value.dim() - leading))
        return sites

    def sample_prior(self, classes: pyro.plate) -> dict[str, Tensor]:
        """The likelihood's prior, which does not count for maximum likelihood."""
        with poutine.mask(mask=not self.flat):
            return self.block.sample_prior(classes)

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """The likelihood's own."""
        return self.block.likelihood(theta, member)

    def complete(self, theta: Mapping[str, Tensor], member: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """The rows with a draw of their missing cells."""
        return self.block.complete(theta, member, values, observed)

    def mode(self, natural: Tensor, *, flat: bool) -> dict[str, Tensor]:
        """The likelihood's own."""
        return self.block.mode(natural, flat=flat)

    def encode(self, theta: Mapping[str, Tensor]) -> Tensor:
        """The likelihood's own."""
        return self.block.encode(theta)

    def decode(self, encoded: Tensor) -> dict[str, Tensor]:
        """The likelihood's own."""
        return self.block.decode(encoded)

    def count_parameters(self, classes: int) -> int:
        """The likelihood's own."""
        return self.block.count_parameters(classes)
