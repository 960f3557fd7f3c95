"""Rows of Student's t: what their observed cells tell of the width of each, and of their missing cells."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.distributions import Gamma
from torch.nn.functional import one_hot, pad

from ppl_models.distributions.hidden import Conditional, Given, Hidden
from ppl_models.distributions.multivariate_normal import NormalWishart
from ppl_models.distributions.normal import NormalGamma


@dataclass(frozen=True)
class Widths(Given):
    """Each row's width given its observed cells and its class, u ~ Gamma(shape, shape / mean).

    Attributes:
        shape: (freedom + observed cells) / 2; of one row where that is the same for all.
        mean: E[u].
        log_mean: log E[u].
        missing: the missing cells given u = 1 of rows that have some, where columns vary together.
    """

    shape: Float[Tensor, "*batch classes _"]
    mean: Float[Tensor, "*batch classes incomplete"]
    log_mean: Float[Tensor, "*batch classes incomplete"]
    missing: Conditional | None


@dataclass(frozen=True)
class StudentRows(Hidden):
    """Rows with an observed cell, whose statistics are held at width u = 1 (``student.py``).

    Attributes:
        normal: the block of the columns given u.
    """

    normal: NormalWishart | NormalGamma

    @cached_property
    def observed(self) -> Bool[Tensor, "incomplete columns"]:
        """Which cells are there."""
        return ~self.patterns[self.pattern]

    @cached_property
    def statistics(self) -> Float[Tensor, "incomplete natural"]:
        """The normal block's."""
        return self.normal.statistics(self.values, self.observed)

    @cached_property
    def holes(self) -> Hidden | None:
        """The rows with cells missing among columns that vary together."""
        return self.normal.hidden(self.values, self.observed)

    def _parts(self, expected: Float[Tensor, "*batch classes natural"]) -> tuple[Tensor, ...]:
        """Coefficients of u·T, of 1 − u, of 1 and of u − log u."""
        size = self.normal.prior.numel()
        return expected.split([size, expected.shape[-1] - size - 2, 1, 1], -1)

    def conditional(self, expected: Float[Tensor, "*batch classes natural"]) -> Widths:
        """What the observed cells tell, by the coefficients of the statistics."""
        coefficients, volume, constant, half = self._parts(expected)
        half, missing = -half, None
        normal = (coefficients.flatten(0, -2) @ self.statistics.mT).unflatten(0, coefficients.shape[:-1])
        log_volume = volume if self.normal.together else volume @ self.observed.to(volume).mT
        integral = log_volume - normal - constant + half
        if self.holes is not None:
            missing = self.holes.conditional(coefficients)
            normal = normal.index_add(-1, self.holes.rows, missing.log_integral)
            log_volume = log_volume.expand_as(normal).index_add(-1, self.holes.rows, missing.log_volume)
            integral = integral.index_add(-1, self.holes.rows, missing.log_volume)
        cells = (~self.patterns).sum(-1).to(half) / 2
        cells = cells if len(cells) == 1 else cells[self.pattern]
        shape, stretch = half + cells, ((log_volume - normal).clamp(min=0) / half).log1p()
        integral = integral + (shape.lgamma() - half.lgamma() - cells * half.log()) - shape * stretch
        log_mean = (shape / half).log() - stretch
        return Widths(integral, shape, log_mean.exp(), log_mean, missing)

    def completion(
        self, given: Widths, weights: Float[Tensor, "*batch classes incomplete"]
    ) -> Float[Tensor, "*batch classes natural"]:
        """What E[T(x, u)] adds to the sums of the statistics at u = 1, each row counted by its weight."""
        counted = weights * given.mean
        spare = weights - counted
        normal = -spare @ self.statistics
        if self.holes is not None:
            rows, patterns = self.holes.rows, one_hot(self.holes.pattern, len(self.holes.patterns)).to(spare)
            normal = normal + self.holes.completion(given.missing, counted[..., rows])
            wider = torch.einsum("...kp,...kpij->...kij", spare[..., rows] @ patterns, given.missing.covariance)
            normal = normal + pad(wider.flatten(-2), (normal.shape[-1] - self.values.shape[-1] ** 2, 0))
        number = spare.sum(-1, keepdim=True)
        counts = number if self.normal.together else spare @ self.observed.to(spare)
        log_width = given.log_mean + (given.shape.digamma() - given.shape.log())
        spread = -number - (weights * log_width).sum(-1, keepdim=True)
        return torch.cat([normal, counts, torch.zeros_like(number), spread], -1)

    def draw(
        self,
        expected: Float[Tensor, "classes natural"],
        member: Int[Tensor, " incomplete"],
        widening: Float[Tensor, " incomplete"],
    ) -> Float[Tensor, "incomplete columns"]:
        """The rows with their missing cells drawn given the observed ones and the class, each of a drawn width."""
        found, coefficients = self.conditional(expected), self._parts(expected)[0]
        every = torch.arange(len(member), device=member.device)
        shape, mean = (each.expand_as(found.mean)[member, every] for each in (found.shape, found.mean))
        narrow = widening * Gamma(shape, shape / mean).sample().rsqrt()
        if not self.normal.together:
            theta = self.normal.decode(coefficients)
            noise = torch.randn_like(self.values) * theta["precision"][member].rsqrt()
            return torch.where(self.observed, self.values, theta["loc"][member] + narrow[:, None] * noise)
        if self.holes is None:
            return self.values
        rows = self.holes.rows
        return self.values.index_copy(0, rows, self.holes.draw(coefficients, member[rows], narrow[rows]))
