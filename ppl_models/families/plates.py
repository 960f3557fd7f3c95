"""The plate that the rows of every family stand in."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pyro
import torch
from pyro import poutine

from ppl_models.datasets import Dataset


@contextmanager
def weighted_rows(batch: Dataset, rows: int) -> Iterator[None]:
    """The plate of rows, each counted by its weight.

    The batch is a subsample of ``rows`` rows, so that its log densities count rows / batch times. Equal weights of one
    leave the scale a number, as Pyro's enumeration in the model alone needs it.
    """
    everyone = torch.arange(len(batch), device=batch.values.device)
    counted = poutine.scale(scale=batch.weights) if bool((batch.weights != 1).any()) else nullcontext()
    with pyro.plate("rows", rows, subsample=everyone, dim=-1), counted:
        yield
