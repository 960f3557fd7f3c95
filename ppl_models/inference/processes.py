"""Gradients of several processes: each has the loss of its part of a batch, and the mean of the gradients is taken."""

from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from ppl_models.datasets import Dataset
from ppl_models.families import Family

LossOf = Callable[[Dataset, int, int], Tensor]


class Loss(nn.Module):
    """The training loss as a module whose parameters are the family's."""

    def __init__(self, family: Family, loss_of: LossOf) -> None:
        super().__init__()
        self.family, self.loss_of = family, loss_of

    def forward(self, batch: Dataset, rows: int, step: int) -> Tensor:
        """The loss of a batch, nats per row in prepared units."""
        return self.loss_of(batch, rows, step)


def agree(family: Family) -> None:
    """Give all processes the first one's running means of batch norm, which each takes of its own rows."""
    for module in family.modules():
        for buffer in module.buffers(recurse=False) if isinstance(module, _BatchNorm) else ():
            distributed.broadcast(buffer, 0)


def together(family: Family, loss_of: LossOf) -> LossOf:
    """The same loss, whose gradient is the mean of all processes'; all begin where the first one is.

    Of more than two processes the order of that sum may be another after a resumption, and so its last digits.
    """
    device = next(family.parameters()).device
    places = None if device.type == "cpu" else [torch.cuda.current_device()]
    return DistributedDataParallel(
        Loss(family, loss_of),
        device_ids=places,
        static_graph=True,
        gradient_as_bucket_view=True,  # what is received is not copied back
    )
