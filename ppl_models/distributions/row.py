"""A row of mixed columns: the blocks of columns that share a likelihood, side by side."""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions.categorical import BernoulliHead, CategoricalHead, DirichletCategorical
from ppl_models.distributions.conjugate import Conjugate
from ppl_models.distributions.counts import GammaPoisson, PoissonHead
from ppl_models.distributions.multivariate_normal import NormalWishart
from ppl_models.distributions.normal import HeteroscedasticHead, NormalGamma, NormalHead

Covariance = Literal["diagonal", "full"]
Scale = Literal["row", "column"]


class ConjugateRow(nn.Module):
    """The product of column likelihoods given a class, as one exponential family.

    Natural parameters of the blocks stand side by side, so one matrix product serves the whole row. See
    ``conjugate.py`` for the algebra; shapes here are (..., classes, natural).
    """

    def __init__(self, schema: Schema, classes: int, covariance: Covariance) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_blocks(schema, classes, covariance))
        self.sizes = [block.prior.numel() for block in self.blocks]

    def __iter__(self) -> Iterator[Conjugate]:
        return iter(self.blocks)

    @property
    def prior(self) -> Float[Tensor, " natural"]:
        """Natural parameters of the prior, the same for each class."""
        return torch.cat([block.prior for block in self.blocks])

    def parts(self, natural: Float[Tensor, "*batch natural"]) -> Iterator[tuple[Conjugate, Tensor]]:
        """Each block with its natural parameters."""
        return zip(self.blocks, natural.split(self.sizes, -1), strict=True)

    def statistics(self, batch: Dataset) -> Float[Tensor, "rows natural"]:
        """T(x) of each row."""
        return torch.cat(
            [block.statistics(block.pick(batch.values), block.pick(batch.observed)) for block in self.blocks], -1
        )

    def base_measure(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """h(x) of each row, nats."""
        return sum(block.base_measure(block.pick(batch.values), block.pick(batch.observed)) for block in self.blocks)

    def expected(self, natural: Float[Tensor, "*batch natural"]) -> Float[Tensor, "*batch natural"]:
        """E_q[t(θ)]."""
        return torch.cat([block.expected(part) for block, part in self.parts(natural)], -1)

    def log_partition(self, natural: Float[Tensor, "*batch natural"]) -> Float[Tensor, "*batch"]:
        """A(η), nats."""
        return sum(block.log_partition(part) for block, part in self.parts(natural))

    def predictive(self, natural: Float[Tensor, "classes natural"], batch: Dataset) -> Float[Tensor, "rows classes"]:
        """Log predictive density of each row under each class, nats in prepared units."""
        return sum(
            block.predictive(part, block.pick(batch.values), block.pick(batch.observed))
            for block, part in self.parts(natural)
        )

    def draw(self, natural: Float[Tensor, "rows natural"]) -> Float[Tensor, "rows columns"]:
        """One draw from each row's predictive distribution, columns in the schema's order."""
        return assemble({block.columns: block.draw(part) for block, part in self.parts(natural)})

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


def heads(schema: Schema, width: int, scale: Scale) -> nn.ModuleList:
    """A decoder's last layers, one for each kind of column: (..., width) to a distribution over its columns."""
    normal = {"row": HeteroscedasticHead, "column": NormalHead}[scale]
    kinds: list[nn.Module] = []
    for site, head, columns in (
        ("real", normal, schema.of_kind("real", "positive")),
        ("count", PoissonHead, schema.of_kind("count")),
        ("binary", BernoulliHead, schema.of_kind("binary")),
    ):
        kinds += [head(site, columns, width)] if columns else []
    kinds += [
        CategoricalHead(f"categorical_{size}", columns, width, size)
        for size, columns in _by_cardinality(schema, "categorical").items()
    ]
    return nn.ModuleList(kinds)


def assemble(parts: Mapping[tuple[int, ...], Tensor]) -> Tensor:
    """Columns drawn block by block, in the schema's order."""
    order = torch.tensor([column for columns in parts for column in columns]).argsort()
    return torch.cat(list(parts.values()), -1)[..., order]


def _blocks(schema: Schema, classes: int, covariance: Covariance) -> list[Conjugate]:
    """One block for the continuous columns, one for the counts, one for each number of categories."""
    blocks: list[Conjugate] = []
    if continuous := schema.of_kind("real", "positive"):
        normal = {"diagonal": NormalGamma, "full": NormalWishart}[covariance]
        blocks.append(normal("real", continuous, classes))
    if counts := schema.of_kind("count"):
        blocks.append(GammaPoisson("count", counts))
    blocks += [
        DirichletCategorical(f"categorical_{size}", columns, size)
        for size, columns in _by_cardinality(schema, "binary", "categorical").items()
    ]
    return blocks


def _by_cardinality(schema: Schema, *kinds: str) -> dict[int, tuple[int, ...]]:
    """Columns of these kinds, grouped by how many values they take."""
    columns = schema.of_kind(*kinds)
    sizes = {schema.columns[column].cardinality for column in columns}
    return {
        size: tuple(column for column in columns if schema.columns[column].cardinality == size)
        for size in sorted(sizes)
    }
