"""A row of mixed columns: the blocks of columns that share a likelihood, side by side."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions.categorical import DirichletCategorical
from ppl_models.distributions.chain import DirichletChain
from ppl_models.distributions.conjugate import Conjugate, side_by_side
from ppl_models.distributions.counts import GammaPoisson
from ppl_models.distributions.hidden import Hidden
from ppl_models.distributions.multinomial import DirichletMultinomial
from ppl_models.distributions.multivariate_normal import NormalWishart
from ppl_models.distributions.negative_binomial import NegativeBinomial
from ppl_models.distributions.normal import NormalGamma
from ppl_models.distributions.point_mass import PointMass
from ppl_models.distributions.structured_normal import StructuredNormal
from ppl_models.distributions.structures import resolve
from ppl_models.distributions.student import StudentT, StudentTails
from ppl_models.errors import InputError

CountModel = Literal["poisson", "negative-binomial", "multinomial"]
Estimate = Literal["bayes", "map", "maximum-likelihood"]
Steps = Literal["independent", "chain"]
DIAGONAL = {"EII": (True, True), "VII": (False, True), "EEI": (True, False), "VVI": (False, False)}
FULL = {"EEE": True, "VVV": False}
COUNTS = {"poisson": GammaPoisson, "negative-binomial": NegativeBinomial, "multinomial": DirichletMultinomial}


@dataclass(frozen=True)
class Likelihoods:
    """Which likelihood the columns of a kind have, and how its parameters are estimated.

    Attributes:
        covariance: the structure of the continuous columns' covariances, by one of mclust's names or its synonym.
        counts: the likelihood of the count columns.
        smoothing: the concentration of a category's prior, which is added to its count.
        estimate: the whole posterior, its mode, or the maximum of the likelihood; None for the whole posterior where
            the covariance has a conjugate prior, and for the mode elsewhere.
        tails: of the continuous columns where they are Student's t; None where they are normal.
        steps: whether the steps of a sequence are columns like any others, or one Markov chain.

    Raises:
        InputError: a name that does not exist, or a posterior asked for where there is no conjugate one.
    """

    covariance: str = "VVI"
    counts: CountModel = "poisson"
    smoothing: float = 1.0
    estimate: Estimate | None = None
    tails: StudentTails | None = None
    steps: Steps = "independent"

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariance", resolve(self.covariance))
        conjugate = self.covariance in {**DIAGONAL, **FULL} and self.tails is None
        if self.estimate is None:
            object.__setattr__(self, "estimate", "bayes" if conjugate else "map")
        for name, value, known in (("counts", self.counts, CountModel), ("estimate", self.estimate, Estimate)):
            if value not in get_args(known):
                raise InputError(f"{name}: expected one of {', '.join(get_args(known))}, got {value!r}")
        if self.tails is not None and (self.covariance not in ("VVI", "VVV") or self.estimate == "bayes"):
            raise InputError(
                "Student's t: expected covariance 'full' or 'diagonal' and estimate 'map' or 'maximum-likelihood', "
                f"got {self.covariance!r} and {self.estimate!r}"
            )
        if self.estimate == "bayes" and not conjugate:
            raise InputError(
                f"covariance {self.covariance!r}: has no conjugate prior, so expected estimate 'map' or "
                f"'maximum-likelihood', got 'bayes'; it goes with {', '.join([*DIAGONAL, *FULL])}"
            )
        if not 0 < self.smoothing < math.inf:
            raise InputError(
                f"smoothing: expected a number above 0, got {self.smoothing}; estimate='maximum-likelihood' has none"
            )


class ConjugateRow(nn.Module):
    """The product of column likelihoods given a class, as one exponential family.

    Natural parameters of the blocks stand side by side, so one matrix product serves the whole row. See
    ``conjugate.py`` for the algebra; shapes here are (..., classes, natural).
    """

    def __init__(self, schema: Schema, classes: int, likelihoods: Likelihoods) -> None:
        super().__init__()
        blocks = _blocks(schema, classes, likelihoods)
        if likelihoods.estimate != "bayes":
            blocks = [_at_a_point(block, likelihoods) for block in blocks]
        self.blocks = nn.ModuleList(blocks)
        self.sizes = [block.prior.numel() for block in self.blocks]

    def __iter__(self) -> Iterator[Conjugate]:
        return iter(self.blocks)

    @property
    def prior(self) -> Float[Tensor, " natural"]:
        """Natural parameters of the prior, the same for each class."""
        return torch.cat([block.prior for block in self.blocks])

    @property
    def nonnegative(self) -> Bool[Tensor, " natural"]:
        """Which of the sums cannot be negative."""
        return torch.cat([torch.full((size,), block.nonnegative) for block, size in zip(self, self.sizes, strict=True)])

    def parts(self, natural: Float[Tensor, "*batch natural"]) -> Iterator[tuple[Conjugate, Tensor]]:
        """Each block with its natural parameters."""
        return zip(self.blocks, natural.split(self.sizes, -1), strict=True)

    def statistics(self, batch: Dataset) -> Float[Tensor, "rows natural"]:
        """T(x) of each row, and 1 for the row itself."""
        one = batch.values.new_ones(1, 1).expand(len(batch), -1)
        return side_by_side(*(block.statistics(*block.cells(batch)) for block in self.blocks), one)

    def class_sums(
        self, batch: Dataset, member: Int[Tensor, " rows"], classes: int
    ) -> Float[Tensor, "classes natural"]:
        """Σ weight · T(x) over the rows of each class."""
        found = [block.class_sums(*block.cells(batch), member, batch.weights, classes) for block in self.blocks]
        return torch.cat(found, -1)

    def base_measure(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """h(x) of each row, nats."""
        return sum(
            block.base_measure(*block.cells(batch)) + block.log_slope(block.pick(batch.observed))
            for block in self.blocks
        )

    def expected(self, natural: Float[Tensor, "*batch natural"]) -> Float[Tensor, "*batch natural"]:
        """E_q[t(θ)]."""
        return torch.cat([block.expected(part) for block, part in self.parts(natural)], -1)

    def initial(self, classes: int) -> Float[Tensor, "classes natural"]:
        """The guide's natural parameters before it was fitted to any rows."""
        return torch.cat([block.initial(classes) for block in self.blocks], -1)

    def settle(
        self, natural: Float[Tensor, "*batch classes natural"], previous: Tensor | None
    ) -> Float[Tensor, "*batch classes natural"]:
        """The guide's natural parameters from the prior's plus the rows' sums, and what they were before."""
        before = [None] * len(self.blocks) if previous is None else previous.split(self.sizes, -1)
        parts = zip(self.parts(natural), before, strict=True)
        return torch.cat([block.settle(part, earlier) for (block, part), earlier in parts], -1)

    def divergence(self, natural: Float[Tensor, "*batch classes natural"]) -> Float[Tensor, "*batch"]:
        """KL(q(θ) ‖ prior), nats."""
        return sum(block.divergence(part) for block, part in self.parts(natural))

    def log_partition(self, natural: Float[Tensor, "*batch natural"]) -> Float[Tensor, "*batch"]:
        """A(η), nats."""
        return sum(block.log_partition(part) for block, part in self.parts(natural))

    def hidden(self, batch: Dataset) -> dict[int, Hidden]:
        """By block, the rows whose missing cells its statistics cannot leave out."""
        found = {index: block.hidden(*block.cells(batch)) for index, block in enumerate(self.blocks)}
        return {index: hidden for index, hidden in found.items() if hidden is not None}

    def predictive(self, natural: Float[Tensor, "classes natural"], batch: Dataset) -> Float[Tensor, "rows classes"]:
        """Log predictive density of each row under each class, nats in prepared units."""
        return sum(
            block.predictive(part, *block.cells(batch)) + block.log_slope(block.pick(batch.observed))[:, None]
            for block, part in self.parts(natural)
        )

    def draw(
        self, natural: Float[Tensor, "classes natural"], member: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows columns"]:
        """One draw for each row from the predictive distribution of its class, columns in the schema's order."""
        return assemble({block.columns: block.draw(part, member) / block.unit for block, part in self.parts(natural)})

    def draw_given(
        self, natural: Float[Tensor, "classes natural"], member: Int[Tensor, " rows"], batch: Dataset
    ) -> Float[Tensor, "rows columns"]:
        """The rows with a draw of their missing cells given the observed ones and their class."""
        return assemble(
            {
                block.columns: block.draw_given(part, member, *block.cells(batch)) / block.unit
                for block, part in self.parts(natural)
            }
        )

    def unconstrain(self, natural: Float[Tensor, "*batch natural"]) -> dict[str, Tensor]:
        """The guide's free parameters, named ``site__parameter``."""
        return {
            f"{block.site}__{name}": value
            for block, part in self.parts(natural)
            for name, value in block.unconstrain(part).items()
        }

    def natural(self, free: Mapping[str, Tensor]) -> Float[Tensor, "*batch natural"]:
        """The way back from ``unconstrain``."""
        return torch.cat(
            [
                block.natural(
                    {
                        name.removeprefix(f"{block.site}__"): value
                        for name, value in free.items()
                        if name.startswith(f"{block.site}__")
                    }
                )
                for block in self.blocks
            ],
            -1,
        )


def assemble(parts: Mapping[tuple[int, ...], Tensor]) -> Tensor:
    """Columns drawn block by block, in the schema's order."""
    order = torch.tensor([column for columns in parts for column in columns]).argsort()
    return torch.cat(list(parts.values()), -1)[..., order]


def _blocks(schema: Schema, classes: int, likelihoods: Likelihoods) -> list[Conjugate]:
    """One block for the continuous columns, one for the counts, one for each number of categories."""
    if likelihoods.steps == "chain":
        everything = tuple(range(schema.length))
        return [DirichletChain("sequence", everything, len(schema.vocabulary), smoothing=likelihoods.smoothing)]
    blocks: list[Conjugate] = []
    if continuous := schema.of_kind("real", "positive"):
        blocks.append(_normal(continuous, classes, likelihoods.covariance))
    if counts := schema.of_kind("count"):
        blocks.append(COUNTS[likelihoods.counts]("count", counts))
    blocks += [
        DirichletCategorical(f"categorical_{size}", columns, size, smoothing=likelihoods.smoothing)
        for size, columns in by_cardinality(schema, "binary", "categorical").items()
    ]
    return blocks


def _at_a_point(block: Conjugate, likelihoods: Likelihoods) -> PointMass:
    """A block with a point mass on its parameters, of Student's t where the continuous columns are."""
    flat = likelihoods.estimate == "maximum-likelihood"
    if likelihoods.tails is not None and isinstance(block, NormalGamma | NormalWishart):
        return StudentT(block, flat=flat, tails=likelihoods.tails)
    return PointMass(block, flat=flat)


def _normal(columns: tuple[int, ...], classes: int, covariance: str) -> Conjugate:
    """The block of the continuous columns."""
    if covariance in DIAGONAL:
        tied, spherical = DIAGONAL[covariance]
        return NormalGamma("real", columns, classes, tied=tied, spherical=spherical)
    if covariance in FULL:
        return NormalWishart("real", columns, classes, tied=FULL[covariance])
    return StructuredNormal("real", columns, classes, covariance)


def by_cardinality(schema: Schema, *kinds: str) -> dict[int, tuple[int, ...]]:
    """Columns of these kinds, grouped by how many values they take."""
    columns = schema.of_kind(*kinds)
    sizes = {schema.columns[column].cardinality for column in columns}
    return {
        size: tuple(column for column in columns if schema.columns[column].cardinality == size)
        for size in sorted(sizes)
    }
