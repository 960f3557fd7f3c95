"""Replicated tables: the rows that each draw of the parameters would have made, for predictive checks."""

from collections.abc import Mapping

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Categorical

from ppl_models.distributions import Conjugate, assemble
from ppl_models.families import Amortised, ClassProduct, Draws
from ppl_models.inference.posterior import as_table
from ppl_models.inference.refined import parameters_of

CELLS_AT_ONCE = 2**22


@torch.no_grad()
def replicated_rows(family: ClassProduct, sites: Mapping[str, Tensor], rows: int) -> pd.DataFrame:
    """Tables of so many rows, one from each draw of θ, under torch's current random state.

    Args:
        family: a fitted conjugate family.
        sites: (draws, ...) values by Pyro site.
        rows: of each table.

    Returns:
        The tables one after another in the raw columns, kinds and units, the label before them if the family was told
        classes.
    """
    wide = sum(len(block.columns) ** (2 if block.together else 1) for block in family.row)
    size = max(CELLS_AT_ONCE // (rows * wide), 1)
    parts = zip(*(value.split(size) for value in sites.values()), strict=True)
    drawn = [_drawn(family, dict(zip(sites, part, strict=True)), rows) for part in parts]
    labels = torch.cat([part.labels for part in drawn]) if family.labelled else None
    return as_table(family, Draws(torch.cat([part.values for part in drawn]), labels))


@torch.no_grad()
def rows_again(family: Amortised, tables: int, rows: int) -> pd.DataFrame:
    """So many tables of so many rows from a family whose parameters are one value each, laid out as the above."""
    size = max(CELLS_AT_ONCE // family.cells, 1)
    drawn = [family.draw(min(size, tables * rows - done)) for done in range(0, tables * rows, size)]
    labels = None if drawn[0].labels is None else torch.cat([part.labels for part in drawn])
    return as_table(family, Draws(torch.cat([part.values for part in drawn]), labels))


def _drawn(family: ClassProduct, sites: Mapping[str, Tensor], rows: int) -> Draws:
    """The rows of a few tables, prepared units, and their classes.

    The classes of all draws of θ stand in one line, of which each row has one.
    """
    weights = family.weights.from_sites(dict(sites))
    member = Categorical(weights).sample((rows,)).mT
    first = torch.arange(len(weights), device=weights.device)[:, None] * family.classes
    place = (first + member).flatten()
    values = {block.columns: _cells(block, sites, place, family.classes) / block.unit for block in family.row}
    return Draws(assemble(values), member.flatten())


def _cells(
    block: Conjugate, sites: Mapping[str, Tensor], place: Int[Tensor, " rows"], classes: int
) -> Float[Tensor, "rows columns"]:
    """A draw of a block's cells, each row's from one of the classes of all draws of θ."""
    theta = {
        name: value.expand(-1, classes, *value.shape[2:]).flatten(0, 1)
        for name, value in parameters_of(block, sites).items()
    }
    return block.likelihood(theta, place).sample().to(block.unit)
