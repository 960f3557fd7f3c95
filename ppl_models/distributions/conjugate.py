"""The contract of a column likelihood with its conjugate prior, all of them in one exponential family.

A cell's likelihood is ``log p(x | θ) = T(x)·t(θ) + h(x)`` and the prior on θ has the density
``exp(η·t(θ) − A(η))`` up to a factor free of η. So every answer is a sum of natural parameters η:

- posterior: ``η_prior + Σ_rows r T(x)``, one matrix product for all rows, classes and restarts;
- expected log likelihood under q(θ): ``T(x)·E_q[t(θ)] + h(x)``, with ``E_q[t] = ∇A(η)``;
- KL(q ‖ prior): ``(η − η_prior)·E_q[t] − A(η) + A(η_prior)``;
- predictive density of a new row: ``A(η + T(x)) − A(η) + h(x)``, in closed form.

A missing cell has T(x) = 0 and h(x) = 0: it is marginalised exactly. See Wainwright and Jordan (2008),
Graphical Models, Exponential Families, and Variational Inference, https://doi.org/10.1561/2200000001.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import pyro.distributions as dist
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Conjugate(nn.Module, ABC):
    """Columns of one kind, independent given the class, with a conjugate prior on their parameters.

    A new likelihood gives the methods below for D columns with P natural parameters in all and is named once,
    in ``row.py``. Leading dimensions (restarts, classes) pass through every method untouched.

    Attributes:
        site: the name of the observed Pyro site; the parameters' sites are ``site.parameter``.
        columns: positions of the columns in a dataset's ``values``.
        prior: (P,) natural parameters of the prior.
    """

    def __init__(self, site: str, columns: tuple[int, ...], prior: Float[Tensor, " natural"]) -> None:
        super().__init__()
        self.site = site
        self.columns = columns
        self.register_buffer("prior", prior)

    @abstractmethod
    def statistics(
        self, values: Float[Tensor, "rows columns"], observed: Bool[Tensor, "rows columns"]
    ) -> Float[Tensor, "rows natural"]:
        """T(x), zero where a cell is missing."""

    def base_measure(
        self, values: Float[Tensor, "rows columns"], observed: Bool[Tensor, "rows columns"]
    ) -> Float[Tensor, " rows"]:
        """h(x) summed over the observed columns, nats; 0 unless a likelihood has one."""
        return values.new_zeros(values.shape[0])

    @abstractmethod
    def expected(self, natural: Float[Tensor, "*batch natural"]) -> Float[Tensor, "*batch natural"]:
        """E_q[t(θ)]."""

    @abstractmethod
    def log_partition(self, natural: Float[Tensor, "*batch natural"]) -> Float[Tensor, "*batch"]:
        """A(η), nats."""

    @abstractmethod
    def predictive(
        self,
        natural: Float[Tensor, "classes natural"],
        values: Float[Tensor, "rows columns"],
        observed: Bool[Tensor, "rows columns"],
    ) -> Float[Tensor, "rows classes"]:
        """Log predictive density of the observed cells with θ integrated out, nats in prepared units."""

    @abstractmethod
    def draw(self, natural: Float[Tensor, "rows natural"]) -> Float[Tensor, "rows columns"]:
        """One draw from each row's predictive distribution."""

    @abstractmethod
    def unconstrain(self, natural: Float[Tensor, "*batch natural"]) -> dict[str, Tensor]:
        """The guide's parameters, each free to take any real value."""

    @abstractmethod
    def natural(self, free: Mapping[str, Tensor]) -> Float[Tensor, "*batch natural"]:
        """The way back from ``unconstrain``."""

    @abstractmethod
    def sample(self, natural: Float[Tensor, "*batch classes natural"]) -> dict[str, Tensor]:
        """Sample the parameters' Pyro sites, for each class; call it inside the plate of classes."""

    @abstractmethod
    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """The distribution of a row given the parameters and its class; independent columns are batch."""

    def check(self, observed: Bool[Tensor, "rows columns"]) -> None:
        """Refuse rows with cells missing that this likelihood cannot do without; most need none."""

    def set_unit(self, scale: Float[Tensor, " columns"]) -> None:
        """Let the prior take its unit from the preparation; only counts need it."""

    def pick(self, table: Tensor) -> Tensor:
        """These columns of a (rows, all columns) tensor."""
        return table[..., list(self.columns)]
