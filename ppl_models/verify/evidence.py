"""The exact log evidence of a pair's model: given, or its latents summed and integrated over.

Continuous latents of up to three dimensions, in all or for each independent row, are integrated by the trapezoid rule
in unconstrained coordinates, along the axes of the posterior's covariance: of smooth densities that fall off on both
sides its error falls faster than any power of the step (Trefethen and Weideman 2014, The exponentially convergent
trapezoidal rule, https://doi.org/10.1137/130932132). The covariance is first what importance weights of the guide
say, then what the grid itself says, until two grids agree.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from pyro import poutine
from torch import Tensor

from ppl_models.distributions import seeded
from ppl_models.verify.draws import weigh_traces
from ppl_models.verify.findings import Skip
from ppl_models.verify.joint import Joint
from ppl_models.verify.pairs import Pair, whole_plates

NODES = {1: 97, 2: 41, 3: 29}  # of the grid, by dimension, on each axis
REACH, WIDER = 8.0, 1.5  # standard deviations to both sides; and how much farther the last grid goes
MOST_ERROR = 1e-3  # nats a row
GRIDS = 6
AGREE = 1e-5  # nats a row


@dataclass(frozen=True)
class Evidence:
    """An exact log evidence.

    Attributes:
        value: of all rows, nats.
        rows: of each independent row, counted once; None where it was given as one number.
        how: "given", "sum" or "quadrature".
        error: of quadrature, nats of all rows.
        mean: of each row's posterior, in unconstrained coordinates; None where nothing was integrated.
        deviation: its standard deviations.
    """

    value: float
    rows: Float[Tensor, " rows"] | None
    how: str
    error: float = 0.0
    mean: Float[Tensor, "rows dims"] | None = None
    deviation: Float[Tensor, "rows dims"] | None = None


@torch.no_grad()
def integrate(pair: Pair, *, seed: int, draws: int = 200) -> Evidence:
    """The log evidence by sums over discrete latents and quadrature over continuous ones.

    Raises:
        Skip: the latents are too many, no finite sum, or no two grids agree.
    """
    with whole_plates(), seeded(seed):
        runs = [pair.trace() for _ in range(draws)]
        joint = Joint.of(pair, *runs[0])
        if not joint.dims:
            rows = joint(torch.zeros(1, joint.rows, 0, dtype=torch.float64))[0]
            return Evidence(_total(joint, rows), rows, "sum")
        if joint.dims not in NODES:
            raise Skip(f"{joint.dims} continuous latent dimensions, more than {max(NODES)}, are not integrated over")
        points = torch.stack([joint.pack(guide) for _, guide in runs])
        weights = torch.stack([_joint_rows(pair, joint, *run) for run in runs])
        previous = None
        for _ in range(GRIDS):
            mean, root = _moments(points, weights)
            points, log_cell = _grid(mean, root)
            weights = joint(points)
            rows = weights.logsumexp(0) + log_cell
            if previous is not None and bool(((rows - previous).abs() < AGREE).all()):
                return _found(joint, rows, mean, root)
            previous = rows
    raise Skip("quadrature over the latents does not settle")


def _found(
    joint: Joint, rows: Float[Tensor, " rows"], mean: Float[Tensor, "rows dims"], root: Float[Tensor, "rows dims dims"]
) -> Evidence:
    """The evidence, its error told by a grid that goes farther: grids that cut the same tails agree.

    Raises:
        Skip: the tails are too long.
    """
    points, log_cell = _grid(mean, root, wider=WIDER)
    apart = joint(points).logsumexp(0) + log_cell - rows
    if float(apart.abs().max()) > MOST_ERROR:
        raise Skip("the posterior's tails are too long for quadrature")
    error = 3 * float((torch.as_tensor(joint.scale) * apart.abs()).sum())
    return Evidence(_total(joint, rows), rows, "quadrature", error, mean, root.square().sum(-1).sqrt())


def _total(joint: Joint, rows: Float[Tensor, " rows"]) -> float:
    return float((torch.as_tensor(joint.scale) * rows).sum())


def _joint_rows(pair: Pair, joint: Joint, model: poutine.Trace, guide: poutine.Trace) -> Float[Tensor, " rows"]:
    """The log weights of a run, row by row as the model has its rows; evenly where the guide has them otherwise."""
    rows = weigh_traces(pair, model, guide).rows
    return rows if len(rows) == joint.rows else torch.zeros(joint.rows, dtype=torch.float64)


def _moments(
    points: Float[Tensor, "nodes rows dims"], log_weights: Float[Tensor, "nodes rows"]
) -> tuple[Float[Tensor, "rows dims"], Float[Tensor, "rows dims dims"]]:
    """The weighted mean of each row's points, and a root of their covariance."""
    shares = log_weights.softmax(0)
    mean = torch.einsum("kr,kri->ri", shares, points)
    apart = points - mean
    covariance = torch.einsum("kr,kri,krj->rij", shares, apart, apart)
    plain = (points - points.mean(0)).square().mean(0)  # where one draw has all weight, the guide's own spread
    floor = torch.diag_embed(1e-4 * plain + 1e-12)
    return mean, torch.linalg.cholesky(covariance + floor)


def _grid(
    mean: Float[Tensor, "rows dims"], root: Float[Tensor, "rows dims dims"], *, wider: float = 1.0
) -> tuple[Float[Tensor, "nodes rows dims"], Float[Tensor, " rows"]]:
    """A grid along the axes of each row's Normal, and the log volume of its cells."""
    dims = mean.shape[-1]
    nodes = round((NODES[dims] - 1) * wider) + 1
    axis = torch.linspace(-REACH * wider, REACH * wider, nodes, dtype=torch.float64, device=mean.device)
    steps = torch.cartesian_prod(*[axis] * dims).reshape(-1, dims)
    points = mean + torch.einsum("rij,kj->kri", root, steps)
    return points, torch.linalg.slogdet(root)[1] + dims * float((axis[1] - axis[0]).log())
