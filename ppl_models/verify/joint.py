"""The joint log density of a pair's model as a function of its continuous latents, many points at once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyro
import torch
from jaxtyping import Float
from pyro import poutine
from torch import Tensor

from ppl_models.verify.draws import (
    Plates,
    Site,
    assignments,
    common_plates,
    drawn_sites,
    keys,
    run_told,
    scale_of,
    sum_beyond,
    sum_by,
    summed_within,
)
from ppl_models.verify.findings import Skip
from ppl_models.verify.pairs import Pair, latent, to_real, vectorised

PLATE = "_verify_points"
CELLS_AT_ONCE = 2**20
MOST_CELLS = 2**28
MOST_RUNS = 5_000  # of a model that takes one point at a time


@dataclass(frozen=True)
class Joint:
    """log p(x, z) of each independent row, discrete latents summed out, in unconstrained coordinates.

    Attributes:
        pair: the pair.
        guide: a run of its guide, for what no point tells.
        sites: the continuous latents.
        summed: the discrete ones.
        plates: those whose elements are independent rows, by name and dimension.
        sizes: their sizes by dimension.
        scale: how often each row counts.
        depth: of all plates.
        cells: numbers that a run of the model holds.
        at_once: whether the model takes many points at once.
    """

    pair: Pair
    guide: poutine.Trace
    sites: tuple[Site, ...]
    summed: tuple[Site, ...]
    plates: Plates
    sizes: Mapping[int, int]
    scale: float | Tensor
    depth: int
    cells: int
    at_once: bool = True

    @classmethod
    def of(cls, pair: Pair, model: poutine.Trace, guide: poutine.Trace) -> "Joint":
        """The joint density of a pair's model.

        Raises:
            Skip: a discrete latent has no finite support.
        """
        everything = drawn_sites(model)
        hidden = [site for site in everything if latent(site)]
        discrete = tuple(site for site in hidden if site["fn"].support.is_discrete)
        if any(not site["fn"].has_enumerate_support for site in discrete):
            raise Skip("a discrete latent has no finite support to sum over")
        plates = common_plates(everything)
        frames = [frame for site in everything for frame in vectorised(site)]
        sizes = {frame.dim: frame.size for frame in frames if (frame.name, frame.dim) in plates}
        scale = scale_of(everything) if plates else 1.0
        if not plates and any(torch.as_tensor(site["scale"]).ne(1).any() for site in everything):
            raise Skip("sites that share a latent are scaled")
        continuous = tuple(site for site in hidden if site not in discrete)
        depth = max((-frame.dim for frame in frames), default=0)
        cells = sum(site["value"].numel() for site in everything)
        found = cls(pair, guide, continuous, discrete, plates, sizes, scale, depth, cells)
        return found if found._takes_many() else replace(found, at_once=False)

    @property
    def rows(self) -> int:
        """Independent rows."""
        return math.prod(self.sizes.values())

    @property
    def dims(self) -> int:
        """Continuous latent dimensions of a row."""
        return sum(self._moved(site).numel() for site in self.sites) // self.rows

    def pack(self, guide: poutine.Trace) -> Float[Tensor, "rows dims"]:
        """The continuous latents that a run of the guide drew."""
        values = [self._moved(site, guide.nodes[site["name"]]["value"]) for site in self.sites]
        return torch.cat([value.reshape(self.rows, -1) for value in values], -1).double()

    def __call__(self, points: Float[Tensor, "points rows dims"]) -> Float[Tensor, "points rows"]:
        """log p(x, z) of each row at its points, with the Jacobian of the coordinates.

        Raises:
            Skip: the model takes one point at a time, and they are too many; or all of them are too much work.
        """
        if not self.at_once:
            if len(points) > MOST_RUNS:
                raise Skip(f"the model takes one point at a time, and {len(points)} are too many")
            return torch.cat([self._one(point) for point in points])
        if len(points) * self.cells > MOST_CELLS:
            raise Skip(f"quadrature would take {len(points)} times {self.cells} numbers")
        return torch.cat([self._many(part) for part in points.split(max(1, CELLS_AT_ONCE // self.cells))])

    def _takes_many(self) -> bool:
        """Whether many points at once give what each gives alone."""
        if not self.sites:
            return False
        here = self.pack(self.guide)
        points = torch.stack([here, here + 0.1, here - 0.1])
        alone = torch.cat([self._one(point) for point in points])
        try:
            return torch.allclose(self._many(points), alone, rtol=1e-4, atol=1e-4)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
            return False

    def _many(self, points: Float[Tensor, "points rows dims"]) -> Float[Tensor, "points rows"]:
        place = (PLATE, -self.depth - 1)
        with pyro.plate(PLATE, len(points), dim=place[1]):
            return self._summed(points, lead=(len(points),), places=frozenset({place}))

    def _one(self, point: Float[Tensor, "rows dims"]) -> Float[Tensor, "1 rows"]:
        return self._summed(point[None], lead=(), places=frozenset())

    def _summed(
        self, points: Float[Tensor, "points rows dims"], *, lead: tuple[int, ...], places: Plates
    ) -> Float[Tensor, "points rows"]:
        """log p(x, z) summed over all values of the discrete latents."""
        reals = self._unpack(points, lead=lead)
        kept = self.plates | places
        told, jacobian = {}, torch.zeros((), dtype=torch.float64)
        for site in self.sites:
            change, real = to_real(site), reals[site["name"]]
            told[site["name"]] = change(real)
            jacobian = jacobian + sum_beyond(change.log_abs_det_jacobian(real, told[site["name"]]).double(), kept)
        choices = list(assignments(list(self.summed))) if self.summed else [{}]
        runs = [run_told(self.pair, self.guide, told | choice) for choice in choices]
        inner = keys(self.summed[0]) if self.summed else self.plates
        within, beyond = summed_within(runs, inner, places)
        whole = sum_beyond(within.logsumexp(0), kept) + sum_by(beyond, kept) + jacobian
        shape = [*lead, *(self.sizes.get(dim, 1) for dim in range(-self.depth, 0))]
        return whole.expand(shape).reshape(len(points), self.rows)

    def _moved(self, site: Site, value: Tensor | None = None) -> Tensor:
        """A latent's unconstrained value, the independent rows in front of everything else."""
        real = to_real(site).inv(site["value"] if value is None else value)
        event = real.dim() - len(site["fn"].batch_shape)
        kept = [dim - event for dim in sorted(self.sizes)]
        return real.movedim(kept, list(range(len(kept))))

    def _unpack(self, points: Float[Tensor, "points rows dims"], *, lead: tuple[int, ...]) -> dict[str, Tensor]:
        """Unconstrained values of the sites, the points in front of all plates."""
        found, start = {}, 0
        for site in self.sites:
            moved = self._moved(site)
            real = to_real(site).inv(site["value"])
            batch = len(site["fn"].batch_shape)
            kept = [dim - (real.dim() - batch) for dim in sorted(self.sizes)]
            width = moved.numel() // self.rows
            part = points[..., start : start + width].reshape(len(points), *moved.shape).to(real.dtype)
            part = part.movedim(list(range(1, len(kept) + 1)), kept)
            between = (1,) * (self.depth - batch) if lead else ()
            found[site["name"]] = part.reshape((*lead, *between, *real.shape))
            start += width
        return found
