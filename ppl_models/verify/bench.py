"""A pair under examination: draws of it that several laws look at, made once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from pyro import poutine
from torch import Tensor

from ppl_models.distributions import seeded
from ppl_models.verify.draws import Terms, weigh_traces
from ppl_models.verify.evidence import Evidence, integrate
from ppl_models.verify.findings import Skip
from ppl_models.verify.pairs import Pair, is_point, latent, whole_plates


@dataclass(frozen=True, eq=False)
class Bench:
    """A pair and the random numbers of its examination.

    Attributes:
        pair: what is examined.
        seed: the seed that every draw follows from.
        draws: independent draws behind an estimate.
    """

    pair: Pair
    seed: int
    draws: int

    def stream(self, purpose: int, draw: int = 0) -> int:
        """The seed of a draw for a purpose; different ones share none."""
        return (self.seed * 64 + purpose) * 100_003 + draw

    @torch.no_grad()
    def repeated(self, purpose: int, draws: int, estimate: Callable[[int], float | Tensor]) -> Float[Tensor, " draws"]:
        """Independent estimates for a purpose, each of its own seed, by their numbers."""
        found = []
        for draw in range(draws):
            with seeded(self.stream(purpose, draw)):
                found.append(float(estimate(draw)))
        return torch.tensor(found, dtype=torch.float64)

    @cached_property
    def traces(self) -> tuple[poutine.Trace, poutine.Trace]:
        """One run of model and guide."""
        with seeded(self.stream(0)), torch.no_grad(), whole_plates():
            return self.pair.trace()

    @cached_property
    def has_points(self) -> bool:
        """Whether some latent site of the guide is a point mass."""
        with seeded(self.stream(0, 1)), torch.no_grad(), whole_plates():
            again = self.pair.trace()[1].nodes
        return any(is_point(site, again[name]) for name, site in self.traces[1].nodes.items() if latent(site))

    @cached_property
    def terms(self) -> list[Terms]:
        """Draws of all rows, weighed."""
        with torch.no_grad(), whole_plates():
            return [self._one(draw) for draw in range(self.draws)]

    def _one(self, draw: int) -> Terms:
        with seeded(self.stream(1, draw)):
            return weigh_traces(self.pair, *self.pair.trace())

    @cached_property
    def objective(self) -> Float[Tensor, " draws"]:
        """What training climbs, of all rows, from the seeds of ``terms``."""
        with whole_plates():
            return self.repeated(1, self.draws, lambda draw: self.pair.elbo())

    @cached_property
    def claimed(self) -> Float[Tensor, " draws"]:
        """The bound that the loss claims, without what a guide that observes is trained on besides."""
        return self.objective - torch.tensor([terms.told for terms in self.terms], dtype=torch.float64)

    @cached_property
    def elbos(self) -> Float[Tensor, " draws"]:
        """L + P − Q of ``terms``."""
        return torch.tensor([terms.elbo for terms in self.terms], dtype=torch.float64)

    @cached_property
    def row_weights(self) -> Float[Tensor, "draws rows"]:
        """The log weights of each independent row."""
        return torch.stack([terms.rows for terms in self.terms])

    def bounds(self, draws: int) -> Float[Tensor, " blocks"]:
        """Independent estimates of the bound by K draws of each independent row, summed over all rows."""
        blocks = self.row_weights[: len(self.terms) // draws * draws].unflatten(0, (-1, draws))
        each = blocks.logsumexp(1) - torch.tensor(float(draws)).log()
        return (each * torch.as_tensor(self.terms[0].scale)).sum(-1)

    @cached_property
    def integrated(self) -> Evidence:
        """The exact log evidence by sums and quadrature.

        Raises:
            Skip: the latents are too many.
        """
        return integrate(self.pair, seed=self.stream(5))

    @property
    def evidence(self) -> Evidence:
        """The exact log evidence: the one given, or the integrated one.

        Raises:
            Skip: none is given, and the latents are too many; or the guide is a point mass.
        """
        if self.has_points:
            raise Skip("the guide has a point mass, whose ELBO bounds no evidence")
        if self.pair.log_evidence is not None:
            return Evidence(float(self.pair.log_evidence), None, "given")
        return self.integrated

    @cached_property
    def subsampled(self) -> bool:
        """Whether plates of the model take a part of their rows by themselves."""
        with seeded(self.stream(0)), torch.no_grad():
            model = self.pair.trace()[0]
        frames = [frame for site in model.nodes.values() if site["type"] == "sample" for frame in _plates(site)]
        return any(frame.size < frame.full_size for frame in frames)

    def batches(self, draw: int) -> list[Int[Tensor, " rows"]]:
        """The rows in a random order, in three parts of the same size."""
        if self.pair.rows is None:
            raise Skip("the pair takes all rows at once")
        order = torch.randperm(self.pair.rows, generator=torch.Generator().manual_seed(self.stream(2, draw)))
        size = max(1, len(order) // 3)
        return list(order[: len(order) // size * size].split(size))


def _plates(site: dict) -> list:
    return [frame for frame in site["cond_indep_stack"] if frame.full_size is not None and frame.full_size > 0]
