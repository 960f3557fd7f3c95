"""Cells missing among columns that vary together, marginalised exactly pattern by pattern.

With the row's statistics (1, x, x xᵀ) and their coefficients e = (constant, linear, −½ precision), the missing cells m
of a row are normal given the observed ones o, with precision Λ_mm and pull b = linear_m − Λ_mo x_o; and

    log ∫ exp(T(x)·e) dx_m = T(x with 0 for x_m)·e + ½ bᵀ Λ_mm⁻¹ b − ½ log|Λ_mm| + ½ |m| log 2π.

With e = t(θ) that is the log likelihood of the observed cells, and the step that puts E[T(x)] for T(x) is EM's
(Dempster, Laird and Rubin 1977, https://doi.org/10.1111/j.2517-6161.1977.tb01600.x); with e = E_q[t(θ)] it is the bound
whose guide holds q(x_m | x_o, z) as well, and the step is coordinate ascent's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Hidden:
    """The rows of which some cells are missing, and some not.

    Attributes:
        rows: positions among all rows.
        values: their cells, 0 where missing.
        patterns: which cells are missing, for each pattern that occurs.
        pattern: the pattern of each row.
    """

    rows: Int[Tensor, " incomplete"]
    values: Float[Tensor, "incomplete columns"]
    patterns: Bool[Tensor, "patterns columns"]
    pattern: Int[Tensor, " incomplete"]

    def conditional(self, expected: Float[Tensor, "*batch classes natural"]) -> "Conditional":
        """The missing cells given the observed ones and the class, by the coefficients of the statistics."""
        size = self.values.shape[-1]
        linear, precision = expected[..., 1 : 1 + size], -2 * expected[..., 1 + size :].unflatten(-1, (size, size))
        both = self.patterns[:, :, None] & self.patterns[:, None, :]
        root = root_of(torch.where(both, precision[..., None, :, :], torch.eye(size).to(precision)))
        covariance = torch.cholesky_inverse(root) * both
        pull = (linear[..., None, :] - self.values @ precision) * self.patterns[self.pattern]
        mean = (covariance[..., self.pattern, :, :] @ pull[..., None])[..., 0]
        log_volume = (self.patterns.sum(-1).to(self.values) * LOG_2PI - log_det_of(root))[..., self.pattern] / 2
        return Conditional((pull * mean).sum(-1) / 2 + log_volume, mean, covariance, log_volume)

    def completion(
        self, given: "Conditional", weights: Float[Tensor, "*batch classes incomplete"]
    ) -> Float[Tensor, "*batch classes natural"]:
        """What E[T(x)] adds to the sums of T(x) with 0 for the missing cells, each row counted by its weight."""
        first = (weights[..., None, :] @ given.mean)[..., 0, :]
        full = self.values + given.mean
        outer = (weights[..., None] * full).mT @ full - (weights[..., None] * self.values).mT @ self.values
        occurs = torch.nn.functional.one_hot(self.pattern, len(self.patterns)).to(weights)
        outer = outer + torch.einsum("...kp,...kpij->...kij", weights @ occurs, given.covariance)
        return torch.cat([torch.zeros_like(first[..., :1]), first, outer.flatten(-2)], -1)

    def draw(
        self,
        expected: Float[Tensor, "classes natural"],
        member: Int[Tensor, " incomplete"],
        widening: Float[Tensor, " incomplete"],
    ) -> Float[Tensor, "incomplete columns"]:
        """The rows with their missing cells drawn given the observed ones and the class.

        Args:
            expected: coefficients of the statistics.
            member: the class of each row.
            widening: what each row's deviations from the mean are multiplied by.
        """
        given, seen = self.conditional(expected), (~self.patterns).to(self.values).diag_embed()
        root = torch.linalg.cholesky(given.covariance + seen)[member, self.pattern]
        noise = (root @ torch.randn_like(self.values)[..., None])[..., 0] * self.patterns[self.pattern]
        return self.values + given.mean[member, torch.arange(len(member))] + widening[:, None] * noise

    def among(self, rows: Int[Tensor, " batch"], total: int) -> "Hidden":
        """Those of a batch: ``rows`` of all ``total`` rows, in the batch's order."""
        place = torch.full((total,), -1, device=rows.device)
        place[self.rows] = torch.arange(len(self.rows), device=rows.device)
        kept = (place[rows] >= 0).nonzero()[:, 0]
        mine = place[rows][kept]
        return replace(self, rows=kept, values=self.values[mine], pattern=self.pattern[mine])

    def everyone(self, expected: Float[Tensor, "classes natural"], total: int) -> tuple[Tensor, Tensor]:
        """Location (classes, total, D) and covariance (classes, total, D, D) of the missing cells of all rows.

        Observed cells are standard normal there.
        """
        given, classes, size = self.conditional(expected), len(expected), self.values.shape[-1]
        free = (~self.patterns).to(self.values).diag_embed()
        loc = given.mean.new_zeros(classes, total, size).index_copy(1, self.rows, given.mean)
        covariance = torch.eye(size).to(loc).expand(classes, total, size, size)
        return loc, covariance.index_copy(1, self.rows, (given.covariance + free)[:, self.pattern])


@dataclass(frozen=True)
class Given:
    """What is not seen of some rows, given what is.

    Attributes:
        log_integral: log ∫ exp(T(x)·e) over what is not seen less T(x)·e with the values held for it, nats.
    """

    log_integral: Float[Tensor, "*batch classes incomplete"]


@dataclass(frozen=True)
class Conditional(Given):
    """Missing cells given the observed ones and the class: normal, with zeros where a cell is observed.

    Attributes:
        mean: of each class and row.
        covariance: of each class and pattern.
        log_volume: ½ log|2π covariance| of each class and row, nats.
    """

    mean: Float[Tensor, "*batch classes incomplete columns"]
    covariance: Float[Tensor, "*batch classes patterns columns columns"]
    log_volume: Float[Tensor, "*batch classes incomplete"]


def hidden_cells(values: Float[Tensor, "rows columns"], observed: Bool[Tensor, "rows columns"]) -> Hidden | None:
    """The incomplete rows; None if there is none. A row without any observed cell tells nothing and is none of them."""
    rows = (observed.any(-1) & ~observed.all(-1)).nonzero()[:, 0]
    if not len(rows):
        return None
    patterns, pattern = torch.unique(~observed[rows], dim=0, return_inverse=True)
    return Hidden(rows, values[rows], patterns, pattern)


def joined(parts: Sequence[tuple[Hidden, int]]) -> Hidden:
    """The hidden cells of several tables one after another, each with the position of its first row."""
    before = accumulate((len(part.patterns) for part, _ in parts[:-1]), initial=0)
    pattern = torch.cat([part.pattern + first for (part, _), first in zip(parts, before, strict=True)])
    patterns, place = torch.cat([part.patterns for part, _ in parts]).unique(dim=0, return_inverse=True)
    rows = torch.cat([part.rows + first for part, first in parts])
    values = torch.cat([part.values for part, _ in parts])
    return replace(parts[0][0], rows=rows, values=values, patterns=patterns, pattern=place[pattern])


def whiten(
    root: Float[Tensor, "matrices columns columns"],
    centred: Float[Tensor, "rows classes columns"],
    observed: Bool[Tensor, "rows columns"],
) -> tuple[Float[Tensor, "rows classes columns"], Float[Tensor, "rows matrices"]]:
    """L⁻¹(x − loc) for the factor L of the observed columns' part of a matrix, and that part's log determinant.

    Args:
        root: Cholesky factors of the matrices over all columns, for each class or one for all.
        centred: x − loc.
        observed: which cells count.
    """
    seen, pattern = torch.unique(observed, dim=0, return_inverse=True)
    both = (seen[:, :, None] & seen[:, None, :])[:, None]
    part = root_of(torch.where(both, root @ root.mT, torch.eye(root.shape[-1]).to(root)))
    if len(seen) == 1:
        solved = torch.linalg.solve_triangular(part[0], (centred * seen).permute(1, 2, 0), upper=False)
        return solved.permute(2, 0, 1), log_det_of(part).expand(len(centred), -1)
    cells = (centred * observed[:, None])[..., None]
    return torch.linalg.solve_triangular(part[pattern], cells, upper=False)[..., 0], log_det_of(part)[pattern]


def root_of(matrix: Float[Tensor, "*batch columns columns"]) -> Float[Tensor, "*batch columns columns"]:
    """The Cholesky factor, NaN where there is none: a fit then ends by its own rule."""
    root, failed = torch.linalg.cholesky_ex(matrix)
    return torch.where(failed[..., None, None] > 0, torch.nan, root)


def log_det_of(root: Float[Tensor, "*batch columns columns"]) -> Float[Tensor, "*batch"]:
    """The log determinant of a matrix from its Cholesky factor."""
    return 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
