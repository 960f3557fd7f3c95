"""Real columns that vary together: multivariate normal, with a normal-Wishart prior."""

import math
from collections.abc import Mapping

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Transform, constraints

from ppl_models.distributions.conjugate import Conjugate
from ppl_models.distributions.normal import LOG_2PI
from ppl_models.errors import InputError


class Wishart(dist.Wishart):
    """The Wishart distribution, drawn once.

    torch 2.13 takes every sound draw for a singular one, warns and draws again (``rsample`` negates its check).
    """

    def rsample(self, sample_shape: tuple[int, ...] = (), max_try_correction: int | None = None) -> Tensor:
        """A draw by Bartlett's decomposition."""
        return self._bartlett_sampling(torch.Size(sample_shape))


class NormalWishart(Conjugate):
    """x | loc, precision ~ MultivariateNormal; precision ~ Wishart(ν, S⁻¹); loc | precision ~ Normal(m, ·/count).

    The prior is Fraley and Raftery's (2007): count 0.01, ν = D + 2, S = K^(−2/D)·I in standardised units. Natural
    parameters: count, count·m, S + count·m mᵀ (flattened); ν is count + D + 1.99 throughout. Needs complete rows.
    """

    COUNT = 0.01

    def __init__(self, site: str, columns: tuple[int, ...], classes: int) -> None:
        self.size = len(columns)
        scatter = classes ** (-2 / self.size) * torch.eye(self.size, dtype=torch.float64)
        prior = torch.cat([scatter.new_tensor([self.COUNT]), scatter.new_zeros(self.size), scatter.flatten()])
        super().__init__(site, columns, prior)

    def check(self, observed: Tensor) -> None:
        """Refuse rows with missing cells."""
        if not bool(observed.all()):
            row = int((~observed).any(-1).nonzero()[0, 0]) + 1
            raise InputError(
                f"covariance 'full': expected rows without missing cells, row {row} of those given has one; "
                "use covariance 'diagonal', or leave such rows out"
            )

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """(1, x, x xᵀ)."""
        self.check(observed)
        outer = values[:, :, None] * values[:, None, :]
        return torch.cat([torch.ones_like(values[:, :1]), values, outer.flatten(1)], -1)

    def _moments(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Location, count, degrees of freedom and the Cholesky factor of S."""
        count, first, second = natural.split([1, self.size, self.size**2], -1)
        loc = first / count
        scatter = second.unflatten(-1, (self.size, self.size)) - first[..., None] * loc[..., None, :]
        scatter = (scatter + scatter.mT) / 2
        return loc, count[..., 0], self._degrees(count[..., 0]), _root(scatter)

    def _degrees(self, count: Tensor) -> Tensor:
        return count - self.COUNT + self.size + 2

    def expected(self, natural: Tensor) -> Tensor:
        """E[½ log|precision| − ½ locᵀ precision loc − ½ D log 2π], E[precision loc], E[−½ precision]."""
        loc, count, degrees, root = self._moments(natural)
        precision = degrees[..., None, None] * torch.cholesky_inverse(root)
        pull = (precision @ loc[..., None])[..., 0]
        half = torch.arange(self.size).to(root) / 2
        log_det = (degrees[..., None] / 2 - half).digamma().sum(-1) + self.size * math.log(2) - _log_det(root)
        constant = (log_det - (pull * loc).sum(-1) - self.size / count - self.size * LOG_2PI) / 2
        return torch.cat([constant[..., None], pull, -precision.flatten(-2) / 2], -1)

    def log_partition(self, natural: Tensor) -> Tensor:
        """The normal-Wishart's log normaliser."""
        _, count, degrees, root = self._moments(natural)
        wishart = degrees * (self.size * math.log(2) - _log_det(root)) / 2 + torch.mvlgamma(degrees / 2, self.size)
        return wishart - self.size * (count.log() + (count - 1) * LOG_2PI) / 2

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """Multivariate t with ν − D + 1 degrees of freedom."""
        self.check(observed)
        loc, count, degrees, root = self._moments(natural)
        whitened = torch.linalg.solve_triangular(root, (values[:, None] - loc).permute(1, 2, 0), upper=False)
        distance = whitened.square().sum(1).T * count / (count + 1)
        half = (degrees + 1) / 2
        constant = half.lgamma() - (half - self.size / 2).lgamma() - _log_det(root) / 2
        return constant - self.size / 2 * (math.pi * (1 + 1 / count)).log() - half * distance.log1p()

    def draw(self, natural: Tensor) -> Tensor:
        """A multivariate t draw for each row."""
        loc, count, degrees, root = self._moments(natural)
        free = degrees - self.size + 1
        chi = dist.Chi2(free).sample()
        noise = (root @ torch.randn_like(loc)[..., None])[..., 0]
        return loc + noise * ((1 + 1 / count) / chi).sqrt()[..., None]

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
        scatter = (root @ root.mT + outer).flatten(-2)
        return torch.cat([count[..., None], count[..., None] * loc, scatter], -1)

    def sample(self, natural: Tensor) -> dict[str, Tensor]:
        """The sites ``precision`` (classes, D, D) and ``loc`` (classes, D)."""
        loc, count, degrees, root = self._moments(natural)
        inverse = torch.cholesky_inverse(root)
        precision = pyro.sample(
            f"{self.site}.precision", Wishart(df=degrees, scale_tril=torch.linalg.cholesky(inverse))
        )
        tight = dist.MultivariateNormal(loc, precision_matrix=count[..., None, None] * precision)
        return {"precision": precision, "loc": pyro.sample(f"{self.site}.loc", tight)}

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """MultivariateNormal(loc, precision) of each row's class; the columns are its event."""
        root = torch.linalg.cholesky(torch.linalg.inv(theta["precision"]))
        return dist.MultivariateNormal(theta["loc"][member], scale_tril=root[member])


class VectorToPositiveDefinite(Transform):
    """D(D+1)/2 free numbers to a positive definite matrix: its Cholesky factor row by row, the diagonal in logs."""

    domain = constraints.independent(constraints.real, 1)
    codomain = constraints.positive_definite
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        root = _triangle(x)
        return root @ root.mT

    def _inverse(self, y: Tensor) -> Tensor:
        root = torch.linalg.cholesky(y)
        raw = root.tril(-1) + root.diagonal(dim1=-2, dim2=-1).log().diag_embed()
        rows, columns = torch.tril_indices(*y.shape[-2:])
        return raw[..., rows, columns]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |d lower triangle of y / d x| (Muirhead 1982, theorem 2.1.9)."""
        diagonal = _triangle(x).diagonal(dim1=-2, dim2=-1).log()
        size = diagonal.shape[-1]
        powers = torch.arange(size + 1, 1, -1).to(x)
        return size * math.log(2) + (powers * diagonal).sum(-1)


def _triangle(x: Tensor) -> Tensor:
    """The Cholesky factor of ``VectorToPositiveDefinite``."""
    size = math.isqrt(2 * x.shape[-1])
    rows, columns = torch.tril_indices(size, size)
    raw = x.new_zeros(*x.shape[:-1], size, size)
    raw[..., rows, columns] = x
    return raw.tril(-1) + raw.diagonal(dim1=-2, dim2=-1).exp().diag_embed()


def _root(matrix: Tensor) -> Tensor:
    """The Cholesky factor, NaN where there is none: a fit then ends by its own rule."""
    root, failed = torch.linalg.cholesky_ex(matrix)
    return torch.where(failed[..., None, None] > 0, torch.nan, root)


def _log_det(root: Tensor) -> Tensor:
    """The log determinant of a matrix from its Cholesky factor."""
    return 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
