"""The best Normal for each row's posterior, found by Newton steps from the guide's answer.

Seen from the noise ε that the guide answers to, a row's posterior is π(ε) ∝ w(ε) Normal(ε; 0, I), where w are the
importance weights: Normal(0, I) itself where the guide is right. Its mode is climbed to by the best of several shares
of Newton's step, each direction by the size of its curvature; then loc and S are brought to the Normal of least
KL(Normal ‖ π), where

    S⁻¹ = E[−∇² log π],     E[∇ log π] = 0

under the Normal itself (the theorems of Bonnet and Price; Opper and Archambeau 2009, The variational Gaussian
approximation revisited, https://doi.org/10.1162/neco.2008.08-07-592), in rounds of a few draws: S⁻¹ is the average of
all rounds, the t-th counted t times, and loc makes half of its Newton step, √L standard deviations at the most. All
rows take each step together. Limit: of several separate modes one is met.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS, PAIRS = 6, 2  # of averages, as callers draw them
CLIMBS = 6
STEPS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3, 0.0)  # shares of a Newton step, of which the best is taken
LEAST_CURVATURE = 0.02  # no direction is wider than seven of the guide's standard deviations

LogTarget = Callable[[Float[Tensor, "draws rows latent"]], Float[Tensor, "draws rows"]]


@dataclass(frozen=True)
class RowNormals:
    """A Normal for each row.

    Attributes:
        loc: its mean.
        root: a root of its covariance, S = root rootᵀ.
    """

    loc: Float[Tensor, "rows latent"]
    root: Float[Tensor, "rows latent latent"]

    def at(self, offset: Float[Tensor, "draws latent"]) -> Float[Tensor, "draws rows latent"]:
        """Every row's point at these standard coordinates."""
        return self.loc + torch.einsum("rij,kj->kri", self.root, offset)

    def offset(self, points: Float[Tensor, "draws rows latent"]) -> Float[Tensor, "draws rows latent"]:
        """The standard coordinates of these points."""
        return torch.linalg.solve(self.root, (points - self.loc).permute(1, 2, 0)).permute(2, 0, 1)


def fit_normals(
    log_target: LogTarget, start: Float[Tensor, "rows latent"], pairs: Float[Tensor, "rounds pairs latent"]
) -> RowNormals:
    """Fit a Normal to each row's density.

    Args:
        log_target: log π of points, each row's its own function, twice differentiable; nats, up to a constant.
        start: where the climb to the mode begins.
        pairs: standard normals of each round of averages, taken with both signs.
    """
    loc = start.double()
    for _ in range(CLIMBS):
        slope, curvature = _derivatives(log_target, loc[None])
        root = _root(curvature)
        loc = _best(log_target, loc, root @ (root.mT @ slope[..., None]))
    precision = _derivatives(log_target, loc[None])[1]
    normals = RowNormals(loc, _root(precision))
    for turn, offsets in enumerate(pairs):
        slope, curvature = _derivatives(log_target, normals.at(torch.cat([offsets, -offsets])))
        precision = torch.lerp(precision, curvature, 2 / (turn + 2))
        root = _root(precision)
        step = root.mT @ slope[..., None] / 2
        far = step.norm(dim=1, keepdim=True) / loc.shape[-1] ** 0.5
        normals = RowNormals(normals.loc + (root @ (step / far.clamp(min=1)))[..., 0], root)
    return normals


def _best(
    log_target: LogTarget, loc: Float[Tensor, "rows latent"], step: Float[Tensor, "rows latent 1"]
) -> Float[Tensor, "rows latent"]:
    """The best of each row's points along its step."""
    shares = torch.tensor(STEPS, dtype=loc.dtype, device=loc.device)
    points = loc + shares[:, None, None] * step[..., 0]
    best = log_target(points).nan_to_num(nan=-torch.inf).argmax(0)
    return points[best, torch.arange(len(loc), device=loc.device)]


def _derivatives(
    log_target: LogTarget, points: Float[Tensor, "draws rows latent"]
) -> tuple[Float[Tensor, "rows latent"], Float[Tensor, "rows latent latent"]]:
    """The average gradient and minus the average Hessian of log π over a row's points; 0 and I where not finite."""
    eye = torch.eye(points.shape[-1], dtype=points.dtype, device=points.device)
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(log_target(points).sum(), points, create_graph=True)
        basis = eye[:, None, None].expand(-1, *points.shape)
        (hessians,) = torch.autograd.grad(slopes, points, basis, is_grads_batched=True)
    slope, hessian = slopes.detach().mean(0), hessians.mean(1).transpose(0, 1)
    sound = torch.isfinite(slope).all(-1) & torch.isfinite(hessian).all(-1).all(-1)
    curvature = -(hessian + hessian.mT) / 2
    return torch.where(sound[:, None], slope, 0.0), torch.where(sound[:, None, None], curvature, eye)


def _root(curvature: Float[Tensor, "rows latent latent"]) -> Float[Tensor, "rows latent latent"]:
    """A root of the inverse, each direction by its curvature's size."""
    sizes, directions = torch.linalg.eigh(curvature)
    return directions / sizes.abs().clamp(min=LEAST_CURVATURE).sqrt()[:, None]
