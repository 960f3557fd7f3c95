"""Positive definite matrices as free numbers."""

import math

import torch
from torch import Tensor
from torch.distributions import Transform, constraints


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
