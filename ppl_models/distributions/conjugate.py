"""The contract of a column likelihood with its conjugate prior, all of them in one exponential family.

A cell's likelihood is ``log p(x | θ) = T(x)·t(θ) + h(x)`` and the prior on θ has the density
``exp(η·t(θ) − A(η))`` up to a factor free of η. So every answer is a sum of natural parameters η:

- posterior: ``η_prior + Σ_rows r T(x)``, one matrix product for all rows, classes and restarts;
- expected log likelihood under q(θ): ``T(x)·E_q[t(θ)] + h(x)``, with ``E_q[t] = ∇A(η)``;
- KL(q ‖ prior): ``(η − η_prior)·E_q[t] − A(η) + A(η_prior)``;
- predictive density of a new row: ``A(η + T(x)) − A(η) + h(x)``, in closed form.

What classes share (a tied covariance) is learned from the sum over the classes' natural parameters, of which each
holds an even part; so the classes are always the last dimension but one.

A point estimate of θ is the mode: ``encode`` gives t(θ), which then stands where E_q[t(θ)] stands.

A missing cell has T(x) = 0 and h(x) = 0: it is marginalised exactly. See Wainwright and Jordan (2008),
Graphical Models, Exponential Families, and Variational Inference, https://doi.org/10.1561/2200000001.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from ppl_models.datasets import Dataset
from ppl_models.distributions.hidden import Hidden
from ppl_models.distributions.positive_definite import VectorToPositiveDefinite

TINY = torch.finfo(torch.float64).tiny
_FREE = MappingProxyType(
    {
        constraints.real: lambda value: value,
        constraints.positive: lambda value: value.clamp(min=TINY).log(),
        constraints.simplex: lambda value: value.clamp(min=TINY).log(),
        constraints.unit_interval: lambda value: value.clamp(TINY, 1 - 1e-16).logit(),
        constraints.positive_definite: VectorToPositiveDefinite().inv,
    }
)
_CONFINED = MappingProxyType(
    {
        constraints.real: lambda free: free,
        constraints.positive: torch.exp,
        constraints.simplex: lambda free: free.softmax(-1),
        constraints.unit_interval: torch.sigmoid,
        constraints.positive_definite: VectorToPositiveDefinite(),
    }
)


class Conjugate(nn.Module, ABC):
    """Columns of one kind, independent given the class, with a conjugate prior on their parameters.

    A new likelihood gives the methods below for D columns with P natural parameters in all and is named once,
    in ``row.py``. Leading dimensions (restarts, draws) pass through every method untouched.

    Attributes:
        site: the name of the observed Pyro site; the parameters' sites are ``site.parameter``.
        columns: positions of the columns in a dataset's ``values``.
        prior: (P,) natural parameters of the prior.
        unit: (D,) what prepared values are multiplied by before this likelihood sees them: 1, unless it treats all
            columns alike and so needs them in a unit that they share.
        supports: where each parameter lies.
        given: what the columns' probability is conditional on; "" for nothing.
        of_probabilities: whether t(θ) are logarithms of probabilities, of which a point estimate may have some of 0.
        nonnegative: whether T(x) is never negative.
        together: whether columns vary together given the class, so that some may determine another.
        sums_missing: whether the likelihood sums out missing cells by itself, so that they are no site of the pair.
        footprint: numbers that the predictive density of a cell and class holds at once.
    """

    supports: Mapping[str, Constraint]
    given: str = ""
    of_probabilities: bool = False
    nonnegative: bool = False
    together: bool = False
    sums_missing: bool = False
    footprint: int = 1

    def __init__(self, site: str, columns: tuple[int, ...], prior: Float[Tensor, " natural"]) -> None:
        super().__init__()
        self.site = site
        self.columns = columns
        self.register_buffer("prior", prior)
        self.register_buffer("unit", torch.ones(len(columns), dtype=torch.float64))

    @abstractmethod
    def statistics(
        self, values: Float[Tensor, "rows columns"], observed: Bool[Tensor, "rows columns"]
    ) -> Float[Tensor, "rows natural"]:
        """T(x), zero where a cell is missing."""

    def class_sums(
        self,
        values: Float[Tensor, "rows columns"],
        observed: Bool[Tensor, "rows columns"],
        member: Int[Tensor, " rows"],
        weights: Float[Tensor, " rows"],
        classes: int,
    ) -> Float[Tensor, "classes natural"]:
        """Σ weight · T(x) over the rows of each class."""
        return weighted_members(member, weights, classes) @ self.statistics(values, observed)

    def base_measure(
        self, values: Float[Tensor, "rows columns"], observed: Bool[Tensor, "rows columns"]
    ) -> Float[Tensor, " rows"]:
        """h(x) summed over the observed columns, nats; 0 unless a likelihood has one."""
        return values.new_zeros(values.shape[0])

    @abstractmethod
    def expected(self, natural: Float[Tensor, "*batch classes natural"]) -> Float[Tensor, "*batch classes natural"]:
        """E_q[t(θ)]."""

    @abstractmethod
    def log_partition(self, natural: Float[Tensor, "*batch classes natural"]) -> Float[Tensor, "*batch classes"]:
        """A(η), nats; what the classes share is split evenly over them."""

    @abstractmethod
    def predictive(
        self,
        natural: Float[Tensor, "classes natural"],
        values: Float[Tensor, "rows columns"],
        observed: Bool[Tensor, "rows columns"],
    ) -> Float[Tensor, "rows classes"]:
        """Log predictive density of the observed cells with θ integrated out, nats in prepared units."""

    @abstractmethod
    def draw(
        self, natural: Float[Tensor, "classes natural"], member: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows columns"]:
        """One draw for each row from the predictive distribution of its class."""

    @abstractmethod
    def unconstrain(self, natural: Float[Tensor, "*batch classes natural"]) -> dict[str, Tensor]:
        """The guide's parameters, each free to take any real value."""

    @abstractmethod
    def natural(self, free: Mapping[str, Tensor]) -> Float[Tensor, "*batch classes natural"]:
        """The way back from ``unconstrain``."""

    @abstractmethod
    def sample(
        self, natural: Float[Tensor, "*batch classes natural"], classes: AbstractContextManager
    ) -> dict[str, Tensor]:
        """Sample the parameters' Pyro sites: those of each class inside the plate, those that are shared outside.

        What classes or columns share keeps a dimension of size one, so that all of them broadcast.
        """

    @abstractmethod
    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """The distribution of a row given the parameters and its class; independent columns are batch."""

    def complete(self, theta: Mapping[str, Tensor], member: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """The rows with a draw of their missing cells given θ and the class; columns on their own ask nothing else."""
        return torch.where(observed, values, self.likelihood(theta, member).sample().to(values))

    @abstractmethod
    def mode(self, natural: Float[Tensor, "*batch classes natural"], *, flat: bool) -> dict[str, Tensor]:
        """The parameters of highest density, by the names and in the shapes of ``sample``.

        Args:
            natural: natural parameters of the posterior; if flat, the data's sums alone.
            flat: whether to leave the prior out: the mode is the maximum of the likelihood then.
        """

    @abstractmethod
    def encode(self, theta: Mapping[str, Tensor]) -> Float[Tensor, "*batch classes natural"]:
        """t(θ)."""

    @abstractmethod
    def decode(self, encoded: Float[Tensor, "*batch classes natural"]) -> dict[str, Tensor]:
        """The way back from ``encode``."""

    @abstractmethod
    def count_parameters(self, classes: int) -> int:
        """How many free parameters these columns have, over all classes."""

    def update(
        self, natural: Float[Tensor, "*batch classes natural"], *, flat: bool, previous: Tensor | None
    ) -> dict[str, Tensor]:
        """The mode; where it is found by iteration, from the previous t(θ) on."""
        return self.mode(natural, flat=flat)

    def collapsed(self, theta: Mapping[str, Tensor]) -> Bool[Tensor, "..."]:
        """Whether a class's parameters are the end of a likelihood that grows without bound, (*batch, classes)."""
        return torch.zeros((), dtype=torch.bool)

    def release(self, theta: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """θ with each parameter free to take any real value."""
        return {name: _FREE[self.supports[name]](value) for name, value in theta.items()}

    def confine(self, free: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back from ``release``."""
        return {name: _CONFINED[self.supports[name]](value) for name, value in free.items()}

    def settle(
        self, natural: Float[Tensor, "*batch classes natural"], previous: Tensor | None = None
    ) -> Float[Tensor, "*batch classes natural"]:
        """The guide's natural parameters from the prior's plus the rows' sums: the same for a conjugate guide."""
        return natural

    def initial(self, classes: int) -> Float[Tensor, "classes natural"]:
        """The guide's natural parameters before it was fitted to any rows."""
        return self.prior.expand(classes, -1)

    def sample_prior(self, classes: pyro.plate) -> dict[str, Tensor]:
        """Sample the parameters' sites from the prior."""
        return self.sample(self.prior.expand(classes.size, -1), classes)

    def divergence(self, natural: Float[Tensor, "*batch classes natural"]) -> Float[Tensor, "*batch"]:
        """KL(q(θ) ‖ prior) over all classes, nats."""
        prior = self.prior.expand_as(natural)
        terms = ((natural - prior) * self.expected(natural)).sum(-1)
        return (terms - self.log_partition(natural) + self.log_partition(prior)).sum(-1)

    def draw_given(
        self,
        natural: Float[Tensor, "classes natural"],
        member: Int[Tensor, " rows"],
        values: Float[Tensor, "rows columns"],
        observed: Bool[Tensor, "rows columns"],
    ) -> Float[Tensor, "rows columns"]:
        """The rows with a draw of their missing cells given the observed ones; columns on their own do not ask them."""
        return torch.where(observed, values, self.draw(natural, member))

    def hidden(self, values: Float[Tensor, "rows columns"], observed: Bool[Tensor, "rows columns"]) -> Hidden | None:
        """The rows whose missing cells the statistics cannot leave out; None where they can."""
        return None

    def check(self, observed: Bool[Tensor, "rows columns"], *, before: int = 0) -> None:
        """Refuse rows with cells missing that this likelihood cannot do without; most need none.

        Args:
            observed: which cells were there.
            before: how many rows of the table come before these.
        """

    def check_unpriced(self, sums: Float[Tensor, " natural"], *, rows: int) -> None:
        """Refuse rows whose likelihood is sure to have no maximum; most likelihoods have one.

        Args:
            sums: Σ T(x) of the rows with no cell missing, of prepared values.
            rows: how many rows there are in all.
        """

    def learn(
        self, values: Float[Tensor, "rows columns"], weights: Float[Tensor, " rows"], scale: Float[Tensor, " every"]
    ) -> None:
        """Take from the training rows what the prior needs for its unit; only counts need it."""

    def cells(self, batch: Dataset) -> tuple[Float[Tensor, "rows columns"], Bool[Tensor, "rows columns"]]:
        """The values of these columns in the likelihood's units, and whether they were observed."""
        values, observed = self.pick(batch.values), self.pick(batch.observed)
        return (values * self.unit if self.in_other_units else values), observed

    @property
    def in_other_units(self) -> bool:
        """Whether this likelihood sees the columns in units of its own."""
        return bool((self.unit != 1).any())

    def log_slope(self, observed: Bool[Tensor, "rows columns"]) -> Float[Tensor, " rows"]:
        """log |d value / d prepared value| of the observed cells, nats."""
        if not self.in_other_units:
            return self.unit.new_zeros(len(observed))
        return observed.to(self.unit) @ self.unit.log()

    def pick(self, table: Tensor) -> Tensor:
        """These columns of a (rows, all columns) tensor, or of a vector over all columns."""
        first, last = self.columns[0], self.columns[-1] + 1
        together = self.columns == tuple(range(first, last))
        return table[..., first:last] if together else table[..., list(self.columns)]


def side_by_side(*parts: Shaped[Tensor, "rows _"]) -> Float[Tensor, "rows natural"]:
    """Statistics side by side, each along memory, as products over rows want them; the last tells the precision."""
    found, first = parts[-1].new_empty(sum(part.shape[-1] for part in parts), len(parts[-1])), 0
    for part in parts:
        found[first : (first := first + part.shape[-1])] = part.mT
    return found.mT


def weighted_members(
    member: Int[Tensor, " rows"], weights: Float[Tensor, " rows"], classes: int
) -> Float[Tensor, "classes rows"]:
    """Each row's weight in the line of its class, zeros elsewhere."""
    return weights.new_zeros(classes, len(member)).scatter_(0, member[None], weights[None])


def common_unit(scale: Float[Tensor, " columns"]) -> Float[Tensor, " columns"]:
    """What takes standardised columns back to raw units, up to one factor for all: the factors' product is 1."""
    return (scale.log() - scale.log().mean()).exp()
