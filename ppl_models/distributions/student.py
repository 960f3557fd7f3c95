"""Real columns with heavy tails: multivariate Student's t given the class, a normal of a width that is not seen.

    u | freedom           ~ Gamma(freedom / 2, freedom / 2)
    x | u, loc, precision ~ Normal(loc, (u · precision)⁻¹)

With u integrated out x is a t, and so are a row's observed cells: p of them at squared distance δ from the location
make u | x ~ Gamma((freedom + p) / 2, (freedom + δ) / 2). Were u seen, all would be one exponential family, up to what
is free of the parameters:

    log p(x, u) = u·T(x)·t(loc, precision) + (1 − u)·c(precision) + a(freedom) − (u − log u)·freedom / 2

with the normal block's T and t, its part c = ½ log|precision| − ½ D log 2π, and a(ν) = ν/2 log(ν/2) − log Γ(ν/2). A
row's statistics are (u·T, 1 − u, 1, u − log u). They are held at u = 1; what u adds to them given x is added as hidden
cells are (``hidden.py``), so that the step is EM's for t distributions (Liu and Rubin 1995, ML estimation of the t
distribution using EM and its extensions; Peel and McLachlan 2000, https://doi.org/10.1023/A:1008981510081).
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro import poutine
from torch import Tensor
from torch.nn.functional import pad

from ppl_models.distributions.conjugate import TINY, side_by_side, weighted_members
from ppl_models.distributions.hidden import Hidden, log_det_of, root_of
from ppl_models.distributions.multivariate_normal import NormalWishart
from ppl_models.distributions.multivariate_t import MultivariateT
from ppl_models.distributions.normal import LOG_2PI, NormalGamma
from ppl_models.distributions.point_mass import PointMass
from ppl_models.distributions.student_rows import StudentRows
from ppl_models.errors import InputError

Normal = NormalWishart | NormalGamma
LEAST, MOST, START = 0.5, 1000.0, 10.0  # degrees of freedom that the guide may say, and those that it begins with
SHAPE, RATE = 2.0, 0.1  # of their prior, a gamma (Juárez and Steel 2010, https://doi.org/10.1198/jbes.2009.07145)
NEWTON_STEPS = 8
INSIDE = 1e-9  # how near the ends of its range a free freedom comes


@dataclass(frozen=True)
class StudentTails:
    """How heavy the tails of the continuous columns are.

    Attributes:
        freedom: degrees of freedom if they are known; None where they are to be estimated.
        tied: whether the classes share them.

    Raises:
        InputError: known degrees of freedom that are not above 0.
    """

    freedom: float | None = None
    tied: bool = False

    def __post_init__(self) -> None:
        if self.freedom is not None and not 0 < self.freedom < math.inf:
            raise InputError(f"freedom: expected a number above 0, got {self.freedom}; GaussianMixture has no tails")


class StudentT(PointMass):
    """x | loc, precision, freedom ~ multivariate t, with a point mass on the parameters.

    Location and precision have the prior of the normal block that it is made of; freedom ~ Gamma(2, 0.1), and the guide
    says from 0.5, tails heavier than Cauchy's, to 1,000, normal for all that rows can tell. Natural parameters: the
    normal block's P, c, a(freedom), −freedom / 2.

    Args:
        block: the normal block of these columns, with precisions that no classes and columns share.
        flat: whether to leave the priors out: maximum likelihood.
        tails: the degrees of freedom.
    """

    def __init__(self, block: Normal, *, flat: bool, tails: StudentTails) -> None:
        super().__init__(block, flat=flat)
        self.tails, self.number = tails, block.prior.numel()
        self.whole = isinstance(block, NormalWishart)  # matrices, and their one count of each class
        self.counts = 1 if self.whole else len(block.columns)
        self.footprint = 4 * block.footprint
        self.prior = pad(self.prior, (0, self.counts + 2))

    def learn(self, values: Tensor, weights: Tensor, scale: Tensor) -> None:
        """Nothing; the family tells the unit of the prior (``take_unit``)."""

    def take_unit(self, unit: Float[Tensor, " columns"]) -> None:
        """Let the prior's scale matrix be K^(−2/D) · diag(unit²), as it is for unit 1 by default.

        Args:
            unit: a deviation of each column, in prepared units, that far rows do not stretch.
        """
        variance, prior = self.block.classes ** (-2 / len(self.columns)) * unit.square(), self.block.prior.clone()
        scatter = variance.diag().flatten() if self.whole else variance
        prior[-len(scatter) :] = scatter
        self.block.prior = prior
        if not self.flat:
            self.prior = pad(prior, (0, self.counts + 2))

    def check_unpriced(self, sums: Tensor, *, rows: int) -> None:
        """What the normal block refuses."""
        super().check_unpriced(sums[: self.number], rows=rows)

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """(T, 0, 1, 1): those of a row of width u = 1."""
        some = observed.any(-1, keepdim=True).to(values)
        nothing = values.new_zeros(len(values), self.counts)
        return side_by_side(self.block.statistics(values, observed), nothing, some, some)

    def class_sums(self, values: Tensor, observed: Tensor, member: Tensor, weights: Tensor, classes: int) -> Tensor:
        """Σ weight · T(x) over the rows of each class."""
        return weighted_members(member, weights, classes) @ self.statistics(values, observed)

    def hidden(self, values: Tensor, observed: Tensor) -> Hidden | None:
        """Every row with an observed cell, since its width is not seen."""
        rows = observed.any(-1).nonzero()[:, 0]
        if not len(rows):
            return None
        patterns, pattern = torch.unique(~observed[rows], dim=0, return_inverse=True)
        return StudentRows(rows, values[rows], patterns, pattern, self.block)

    def initial(self, classes: int) -> Tensor:
        """What the prior would estimate, were it rows."""
        return self._encoded(self.block.mode(self.block.prior.expand(classes, -1), flat=True), None)

    def settle(self, natural: Tensor, previous: Tensor | None = None) -> Tensor:
        """t(θ̂) where the expected log density of rows and widths is highest; NaN for a class that has collapsed.

        The first step leaves the degrees of freedom at 10: rows of width 1 tell nothing of them.
        """
        sums, spare, rows, spread = natural.split([self.number, self.counts, 1, 1], -1)
        count = sums[..., : self.counts] if self.flat else sums[..., : self.counts] - self.block.COUNT + 2
        theta = self.block.mode(sums, flat=self.flat)
        factor = (count + spare) / count
        theta["precision"] = theta["precision"] * (factor[..., None] if self.whole else factor)
        freedom = None if previous is None else self._likeliest(rows[..., 0], spread[..., 0])
        encoded = self._encoded(theta, freedom)
        return torch.where(self.block.collapsed(theta)[..., None], torch.nan, encoded)

    def _likeliest(self, rows: Tensor, spread: Tensor) -> Tensor:
        """The highest of rows·a(ν) − spread·ν/2 and the log prior.

        Its slope falls and is convex in ν, so that Newton's steps from the left never pass its root. They begin where
        log x − ψ(x) > 1 / 2x puts it at least.
        """
        if self.tails.tied:
            rows, spread = rows.sum(-1, keepdim=True), spread.sum(-1, keepdim=True)
        shape, rate = (0.0, 0.0) if self.flat else (SHAPE - 1, RATE)
        freedom = ((rows + 2 * shape) / (spread - rows + 2 * rate).clamp(min=TINY)).clamp(LEAST, MOST)
        for _ in range(NEWTON_STEPS):
            half = freedom / 2
            slope = (rows * (half.log() + 1 - half.digamma()) - spread) / 2 + shape / freedom - rate
            curve = rows * (1 / half - torch.polygamma(1, half)) / 4 - shape / freedom.square()
            freedom = (freedom - slope / curve).clamp(LEAST, MOST)
        return freedom

    def _encoded(self, theta: Mapping[str, Tensor], freedom: Tensor | None) -> Tensor:
        """t(θ) of location, precision and freedom; None for the freedom to begin with."""
        normal, precision = self.block.encode(theta), theta["precision"]
        if self.tails.freedom is not None or freedom is None:
            freedom = normal.new_full((1,), self.tails.freedom or START)
        freedom = freedom.expand(normal.shape[:-1])[..., None]
        if self.whole:
            log_volume = (log_det_of(root_of(precision))[..., None] - self.block.size * LOG_2PI) / 2
        else:
            log_volume = (precision.log() - LOG_2PI) / 2
        half = freedom / 2
        return torch.cat([normal, log_volume, half * half.log() - half.lgamma(), -half], -1)

    def encode(self, theta: Mapping[str, Tensor]) -> Tensor:
        """t(θ)."""
        return self._encoded(theta, theta.get("freedom"))

    def decode(self, encoded: Tensor) -> dict[str, Tensor]:
        """precision, loc and, where it is estimated, freedom."""
        theta = self.block.decode(encoded[..., : self.number])
        if self.tails.freedom is not None:
            return theta
        freedom = -2 * encoded[..., -1]
        return theta | {"freedom": freedom[..., :1] if self.tails.tied else freedom}

    def divergence(self, natural: Tensor) -> Tensor:
        """−log prior density of θ̂, summed over the classes; nothing where the priors are left out."""
        normal, freedom = super().divergence(natural[..., : self.number]), self.decode(natural).get("freedom")
        if self.flat or freedom is None:
            return normal
        return normal - self._prior_of_freedom().log_prob(freedom).sum(-1)

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """θ̂, each parameter free to take any real value; of freedom its place on the way from 0.5 to 1,000 in logs."""
        theta = self.decode(natural)
        freedom = theta.pop("freedom", None)
        free = self.block.release(theta)
        if freedom is None:
            return free
        place = (freedom / LEAST).log() / math.log(MOST / LEAST)
        return free | {"freedom": place.clamp(INSIDE, 1 - INSIDE).logit()}

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        theta = self.block.confine({name: value for name, value in free.items() if name != "freedom"})
        if "freedom" in free:
            theta["freedom"] = LEAST * (free["freedom"].sigmoid() * math.log(MOST / LEAST)).exp()
        return self.encode(theta)

    def sample(self, natural: Tensor, classes: AbstractContextManager) -> dict[str, Tensor]:
        """The sites ``precision``, ``loc`` and ``freedom``, a point mass each."""
        sites, freedom = super().sample(natural[..., : self.number], classes), self.decode(natural).get("freedom")
        return sites if freedom is None else sites | {"freedom": self._site(classes, dist.Delta(freedom))}

    def sample_prior(self, classes: pyro.plate) -> dict[str, Tensor]:
        """The priors, which do not count for maximum likelihood."""
        sites = super().sample_prior(classes)
        if self.tails.freedom is not None:
            return sites
        prior = self._prior_of_freedom().expand([1 if self.tails.tied else classes.size])
        with poutine.mask(mask=not self.flat):
            return sites | {"freedom": self._site(classes, prior)}

    def _prior_of_freedom(self) -> dist.Distribution:
        return dist.Gamma(*self.prior.new_tensor([SHAPE, RATE]))

    def _site(self, classes: AbstractContextManager, of: dist.Distribution) -> Tensor:
        """The degrees of freedom, of each class or of all."""
        with nullcontext() if self.tails.tied else classes:
            return pyro.sample(f"{self.site}.freedom", of)

    def likelihood(
        self, theta: Mapping[str, Tensor], member: Tensor, observed: Bool[Tensor, "rows columns"] | None = None
    ) -> dist.Distribution:
        """The t of each row's class, of its observed cells if they are told."""
        loc, precision = theta["loc"], theta["precision"]
        freedom = theta.get("freedom", loc.new_full((1,), self.tails.freedom or START)).expand(len(loc))
        seen = torch.ones_like(loc[:1], dtype=torch.bool) if observed is None else observed
        return MultivariateT(freedom[member], loc[member], precision[member], seen)

    def draw(self, natural: Tensor, member: Tensor) -> Tensor:
        """A row from the t of each row's class."""
        return self.likelihood(self.decode(natural), member).sample().to(natural)

    def complete(self, theta: Mapping[str, Tensor], member: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """The rows with a draw of their missing cells; ``StudentRows`` draws those of rows with any cell seen."""
        return torch.where(observed, values, self.likelihood(theta, member).sample().to(values))

    def count_parameters(self, classes: int) -> int:
        """The normal block's, and the degrees of freedom."""
        estimated = 0 if self.tails.freedom is not None else 1 if self.tails.tied else classes
        return super().count_parameters(classes) + estimated
