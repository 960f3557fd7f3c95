"""Real columns whose covariances have equal, variable or no volume, shape and orientation over the classes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ppl_models.distributions.conjugate import common_unit
from ppl_models.distributions.hidden import root_of
from ppl_models.distributions.multivariate_normal import NormalWishart
from ppl_models.distributions.structures import Structure, compose, count_parameters, decompose, estimate_covariances


class StructuredNormal(NormalWishart):
    """x | loc, covariance ~ MultivariateNormal, the covariance of one of mclust's structures (``structures.py``).

    There is no conjugate prior, so that only a point mass answers for the parameters: ``PointMass`` asks for the mode
    alone. The prior of the mode is the normal-Wishart's density on the structure, up to a constant.
    """

    def __init__(self, site: str, columns: tuple[int, ...], classes: int, structure: Structure) -> None:
        super().__init__(site, columns, classes)
        self.structure = structure

    def learn(self, values: Tensor, weights: Tensor, scale: Tensor) -> None:
        """Take raw units, up to a factor, where a shape or an orientation is shared: stretched columns share none."""
        if self.structure in ("EVE", "VVE", "EEV", "VEV"):
            self.unit = common_unit(self.pick(scale)).to(self.unit)
            scatter = self.classes ** (-2 / self.size) * self.unit.square().diag()
            self.prior = torch.cat([self.prior[: 1 + self.size], scatter.flatten()])

    def update(self, natural: Tensor, *, flat: bool, previous: Tensor | None) -> dict[str, Tensor]:
        """The mean, and the inverse of the best covariances of the structure."""
        loc, count, scatter = self._split(natural)
        number = count[..., 0] if flat else count[..., 0] - self.COUNT + 2
        before = None if previous is None else torch.linalg.inv(super().decode(previous)["precision"])
        covariance = estimate_covariances(self.structure, number, scatter, previous=before)
        return {"precision": torch.cholesky_inverse(root_of(covariance)), "loc": loc}

    def mode(self, natural: Tensor, *, flat: bool) -> dict[str, Tensor]:
        """The mode, from no start."""
        return self.update(natural, flat=flat, previous=None)

    def release(self, theta: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """loc, log volume, log shape and an orientation; the latter two are made a shape and a rotation again."""
        parts = decompose(torch.linalg.inv(theta["precision"]), self.structure)
        free = {"loc": theta["loc"], "log_volume": parts.volume.log()}
        free |= {"log_shape": parts.shape.log()} if self.structure[1] != "I" else {}
        return free | ({"orientation": parts.orientation} if self.structure[2] != "I" else {})

    def confine(self, free: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back from ``release``."""
        loc = free["loc"]
        log_shape = free.get("log_shape", torch.zeros_like(loc[..., :1, :]))
        shape = (log_shape - log_shape.mean(-1, keepdim=True)).exp()
        turned, sign = torch.linalg.qr(
            free.get("orientation", torch.eye(self.size).to(loc).expand(*loc.shape[:-2], 1, -1, -1))
        )
        orientation = turned * sign.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
        covariance = compose(free["log_volume"].exp(), shape, orientation)
        precision = torch.linalg.inv(covariance).expand(*loc.shape, -1)
        return {"precision": (precision + precision.mT) / 2, "loc": loc}

    def count_parameters(self, classes: int) -> int:
        """A location for each class and column, and the structure's."""
        return classes * self.size + count_parameters(self.structure, classes=classes, columns=self.size)
