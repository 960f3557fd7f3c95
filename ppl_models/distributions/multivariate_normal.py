"""Real columns that vary together: multivariate normal, with a normal-Wishart prior."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppl_models.distributions.conjugate import Conjugate, side_by_side
from ppl_models.distributions.hidden import Hidden, hidden_cells, log_det_of, root_of, whiten
from ppl_models.distributions.normal import LOG_2PI, TIGHTEST
from ppl_models.errors import InputError

DEPENDENT = 1e-12  # a variance in some direction, as a share of the largest, that is rounding


class Wishart(dist.Wishart):
    """The Wishart distribution, drawn once.

    torch 2.13 takes every sound draw for a singular one, warns and draws again (``rsample`` negates its check).
    """

    def rsample(self, sample_shape: tuple[int, ...] = (), max_try_correction: int | None = None) -> Tensor:
        """A draw by Bartlett's decomposition."""
        return self._bartlett_sampling(torch.Size(sample_shape))


class NormalWishart(Conjugate):
    """x | loc, precision ~ MultivariateNormal; precision ~ Wishart(ν, S⁻¹); loc | precision ~ Normal(m, ·/count).

    A precision matrix is a class's (VVV) or all classes' (tied, EEE). The prior is Fraley and Raftery's (2007): count
    0.01, ν = D + 2, S = K^(−2/D)·I in standardised units. Natural parameters: count, count·m, S + count·m mᵀ
    (flattened); ν is count + D + 1.99 throughout, with counts summed where the matrix is shared. A row's missing cells
    are ``hidden.py``'s.
    """

    COUNT = 0.01
    together = True
    supports = MappingProxyType({"precision": constraints.positive_definite, "loc": constraints.real})

    def __init__(self, site: str, columns: tuple[int, ...], classes: int, *, tied: bool = False) -> None:
        self.size, self.classes, self.tied = len(columns), classes, tied
        self.members, self.footprint = classes if tied else 1, self.size
        scatter = classes ** (-2 / self.size) / self.members * torch.eye(self.size, dtype=torch.float64)
        prior = torch.cat([scatter.new_tensor([self.COUNT]), scatter.new_zeros(self.size), scatter.flatten()])
        super().__init__(site, columns, prior)

    def check_unpriced(self, sums: Tensor, *, rows: int) -> None:
        """Refuse fewer rows than columns and one, and columns that determine one another."""
        if rows < self.size + 1:
            raise InputError(
                f"covariance of {self.size} columns: expected {self.size + 1} rows or more for maximum likelihood, got "
                f"{rows}; estimate 'bayes' or 'map' does with fewer"
            )
        complete, mean = float(sums[0]), sums[1 : self.size + 1] / sums[0]
        if complete <= self.size:
            return
        squares = sums[self.size + 1 :].view(self.size, self.size)
        spread, axes = torch.linalg.eigh(squares / complete - mean[:, None] * mean)
        if float(spread[0]) < DEPENDENT * float(spread[-1]):
            tied = [self.columns[index] + 1 for index in (axes[:, 0].abs() > 0.01).nonzero()[:, 0].tolist()]
            raise InputError(
                f"covariance: expected columns that do not determine one another, columns {', '.join(map(str, tied))} "
                "of the schema do; drop one of them"
            )

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """(1, x, x xᵀ) with 0 for x where missing; zeros for a row of which nothing is observed."""
        columns = values.mT.contiguous()
        outer = (columns[:, None] * columns).flatten(0, 1)
        return side_by_side(observed.any(-1, keepdim=True), columns.mT, outer.mT)

    def hidden(self, values: Tensor, observed: Tensor) -> Hidden | None:
        """The rows with some cells missing."""
        return hidden_cells(values, observed)

    def _pool(self, table: Tensor, dim: int) -> Tensor:
        """The sum over the classes, along this dimension, if they share the matrix."""
        return table.sum(dim, keepdim=True) if self.tied else table

    def _split(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Location, count (with a last dimension of one) and scatter about the location."""
        count, first, second = natural.split([1, self.size, self.size**2], -1)
        loc = first / count
        scatter = second.unflatten(-1, (self.size, self.size)) - first[..., None] * loc[..., None, :]
        return loc, count, self._pool((scatter + scatter.mT) / 2, -3)

    def _moments(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Location, count, degrees of freedom and the Cholesky factor of S."""
        loc, count, scatter = self._split(natural)
        degrees = self._pool(count[..., 0] - self.COUNT, -1) + self.size + 2
        return loc, count[..., 0], degrees, root_of(scatter)

    def expected(self, natural: Tensor) -> Tensor:
        """E[½ log|precision| − ½ locᵀ precision loc − ½ D log 2π], E[precision loc], E[−½ precision]."""
        loc, count, degrees, root = self._moments(natural)
        precision = degrees[..., None, None] * torch.cholesky_inverse(root)
        half = torch.arange(self.size).to(root) / 2
        log_det = (degrees[..., None] / 2 - half).digamma().sum(-1) + self.size * math.log(2) - log_det_of(root)
        return self._terms(loc, precision, log_det - self.size / count)

    def _terms(self, loc: Tensor, precision: Tensor, log_det: Tensor) -> Tensor:
        """t(θ), or its expectation, from a location, a precision and a log determinant."""
        pull = (precision @ loc[..., None])[..., 0]
        constant = (log_det - (pull * loc).sum(-1) - self.size * LOG_2PI) / 2
        spread = (-precision / 2).flatten(-2).expand(*loc.shape[:-1], -1)
        return torch.cat([constant[..., None], pull, spread], -1)

    def log_partition(self, natural: Tensor) -> Tensor:
        """The normal-Wishart's log normaliser."""
        _, count, degrees, root = self._moments(natural)
        wishart = degrees * (self.size * math.log(2) - log_det_of(root)) / 2 + torch.mvlgamma(degrees / 2, self.size)
        return wishart / self.members - self.size * (count.log() + (count - 1) * LOG_2PI) / 2

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """Multivariate t with ν − D + 1 degrees of freedom, of the observed columns of each row."""
        loc, count, degrees, root = self._moments(natural)
        seen, wider = observed.sum(-1)[:, None].to(values), 1 + 1 / count
        whitened, log_det = whiten(root, values[:, None] - loc, observed)
        half = (degrees - self.size + 1) / 2
        after = half + seen / 2
        constant = after.lgamma() - half.lgamma() - log_det / 2 - seen / 2 * (math.pi * wider).log()
        return constant - after * (whitened.square().sum(-1) / wider).log1p()

    def draw(self, natural: Tensor, member: Tensor) -> Tensor:
        """A multivariate t draw for each row."""
        loc, count, degrees, root = self._moments(natural)
        chi = dist.Chi2((degrees - self.size + 1).expand(self.classes)[member]).sample()
        noise = torch.randn_like(loc[member])
        noise = (root.expand(self.classes, -1, -1)[member] @ noise[..., None])[..., 0]
        return loc[member] + noise * ((1 + 1 / count[member]) / chi).sqrt()[..., None]

    def draw_given(self, natural: Tensor, member: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """The missing cells of a multivariate t given the observed ones: again a multivariate t."""
        drawn = torch.where(observed, values, self.draw(natural, member))
        if (hidden := self.hidden(values, observed)) is None:
            return drawn
        loc, count, degrees, root = self._moments(natural)
        free, wider, rows = degrees - self.size + 1, 1 + 1 / count, hidden.rows
        precision = (free / wider)[..., None, None] * torch.cholesky_inverse(root)
        whitened, _ = whiten(root, values[rows, None] - loc, observed[rows])
        distance = (whitened.square().sum(-1) / wider)[torch.arange(len(rows)), member[rows]]
        free = free.expand(self.classes)[member[rows]]
        after = free + observed[rows].sum(-1)
        widening = free * (1 + distance) / dist.Chi2(after).sample()
        drawn[rows] = hidden.draw(self._terms(loc, precision, torch.zeros_like(count)), member[rows], widening.sqrt())
        return drawn

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """loc, log count, and the Cholesky factor of S with the logarithm of its diagonal."""
        loc, count, _, root = self._moments(natural)
        diagonal = root.diagonal(dim1=-2, dim2=-1).log()
        return {"loc": loc, "log_count": count.log(), "scatter_root": root.tril(-1) + diagonal.diag_embed()}

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        loc, count = free["loc"], free["log_count"].exp()
        raw = free["scatter_root"]
        root = raw.tril(-1) + raw.diagonal(dim1=-2, dim2=-1).exp().diag_embed()
        outer = count[..., None, None] * loc[..., :, None] * loc[..., None, :]
        scatter = (root @ root.mT / self.members + outer).flatten(-2)
        return torch.cat([count[..., None], count[..., None] * loc, scatter], -1)

    def sample(self, natural: Tensor, classes: AbstractContextManager) -> dict[str, Tensor]:
        """The sites ``precision`` (classes or 1, D, D) and ``loc`` (classes, D)."""
        loc, count, degrees, root = self._moments(natural)
        inverse = torch.linalg.cholesky(torch.cholesky_inverse(root))
        with nullcontext() if self.tied else classes:
            precision = pyro.sample(f"{self.site}.precision", Wishart(df=degrees, scale_tril=inverse))
        with classes:
            tight = dist.MultivariateNormal(loc, precision_matrix=count[..., None, None] * precision)
            return {"precision": precision, "loc": pyro.sample(f"{self.site}.loc", tight)}

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """MultivariateNormal(loc, precision) of each row's class; the columns are its event."""
        root = torch.linalg.cholesky(torch.linalg.inv(theta["precision"])).expand(len(theta["loc"]), -1, -1)
        return dist.MultivariateNormal(theta["loc"][member], scale_tril=root[member])

    def mode(self, natural: Tensor, *, flat: bool) -> dict[str, Tensor]:
        """The mean, and the inverse of the pooled covariance."""
        loc, count, scatter = self._split(natural)
        number = self._pool(count[..., 0], -1)
        if not flat:
            number = number - self.members * self.COUNT + 1 + self.members
        return {"precision": number[..., None, None] * torch.cholesky_inverse(root_of(scatter)), "loc": loc}

    def encode(self, theta: Mapping[str, Tensor]) -> Tensor:
        """½ log|precision| − ½ locᵀ precision loc − ½ D log 2π, precision loc, −½ precision."""
        precision = theta["precision"].expand(*theta["loc"].shape, -1)
        return self._terms(theta["loc"], precision, log_det_of(root_of(precision)))

    def decode(self, encoded: Tensor) -> dict[str, Tensor]:
        """precision and loc."""
        precision = -2 * encoded[..., 1 + self.size :].unflatten(-1, (self.size, self.size))
        loc = torch.linalg.solve(precision, encoded[..., 1 : 1 + self.size])
        return {"precision": precision[..., :1, :, :] if self.tied else precision, "loc": loc}

    def collapsed(self, theta: Mapping[str, Tensor]) -> Tensor:
        """Whether some direction's standard deviation is below 1e-4 of the columns'."""
        tightest = theta["precision"].diagonal(dim1=-2, dim2=-1).amax(-1)
        return ~(tightest < TIGHTEST).expand(theta["loc"].shape[:-1])

    def count_parameters(self, classes: int) -> int:
        """A location for each class and column, and the matrices."""
        matrices = 1 if self.tied else classes
        return classes * self.size + matrices * self.size * (self.size + 1) // 2
