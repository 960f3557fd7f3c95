"""A row's cells as numbers, and a network over them: what every amortised guide begins with."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema, chunks_of
from ppl_models.datasets.dataset import ROWS_AT_ONCE
from ppl_models.nn import Network


class Encoder(nn.Module):
    """A batch's cells as numbers, and a network over them.

    Real and positive columns enter standardised, counts as log(1 + x / mean), binary ones less their training share, so
    that a pixel that is always off moves no weight, categories as indicators, or, in an image, as a grey level from −1
    to 1 less its training mean; a missing cell enters as zeros.

    Args:
        schema: what the columns are.
        network: the architecture.
        conditions: numbers that stand behind a row's own.
    """

    def __init__(self, schema: Schema, network: Network, conditions: int = 0) -> None:
        super().__init__()
        self.schema = schema
        self.hide = network.hide
        self.groups = [(kind, list(schema.of_kind(kind))) for kind in ("real", "positive", "count", "binary")]
        self.categorical = [(index, schema.columns[index].cardinality) for index in schema.of_kind("categorical")]
        self.grey = schema.image_shape is not None
        indicators = len(self.categorical) if self.grey else sum(size for _, size in self.categorical)
        self.numbers = sum(len(columns) for _, columns in self.groups) + indicators
        self.network = network.encoder(self.numbers, conditions, schema.image_shape)
        self.entering = self.numbers + conditions  # numbers that the network takes
        self.width = self.network.width
        self.register_buffer("shares", torch.full((len(schema.of_kind("binary")),), 0.5))
        self.register_buffer("grey_means", torch.zeros(len(self.categorical) if self.grey else 0))

    def adopt(self, train: Dataset) -> None:
        """Take over what binary columns and grey levels are on average in the training rows."""
        parts = ((part, part.weights[:, None] * part.observed) for part in chunks_of(train, ROWS_AT_ONCE))
        sums = ((seen.sum(0), (part.values * seen).sum(0)) for part, seen in parts)
        seen, total = (train.summed(sum(each)) for each in zip(*sums, strict=True))
        means = total / torch.where(seen > 0, seen, 1.0)
        self.shares = means[list(self.schema.of_kind("binary"))].to(self.shares)
        if self.grey:
            columns = [index for index, _ in self.categorical]
            self.grey_means = (2 * means[columns] / self._highest(train) - 1).to(self.grey_means)

    def forward(
        self, batch: Dataset, dtype: torch.dtype, condition: Float[Tensor, "*draws rows conditions"] | None = None
    ) -> Float[Tensor, "*draws rows width"]:
        """The last hidden layer for each row."""
        numbers = self.inputs(batch, dtype)
        if condition is not None:
            numbers = torch.cat([numbers.expand(*condition.shape[:-1], -1), condition], -1)
        return self.network(numbers)

    def inputs(self, batch: Dataset, dtype: torch.dtype) -> Float[Tensor, "rows numbers"]:
        """What the network gets to see of each row; less than all of it in training, where the network hides cells."""
        observed = None if batch.complete else batch.observed
        if self.training and self.hide > 0:
            shown = torch.rand(batch.observed.shape, device=batch.observed.device) >= self.hide
            observed = batch.observed * shown / (1 - self.hide)
        parts = [self._numbers(kind, columns, batch, observed) for kind, columns in self.groups if columns]
        parts += [self._category(batch.values[:, index], size, _of(observed, [index])) for index, size in self._single]
        if self.grey and self.categorical:
            parts.append(self._levels(batch, observed))
        return parts[0].to(dtype) if len(parts) == 1 else torch.cat([part.to(dtype) for part in parts], -1)

    @property
    def _single(self) -> list[tuple[int, int]]:
        return [] if self.grey else self.categorical

    @staticmethod
    def _category(codes: Tensor, size: int, observed: Tensor | None) -> Tensor:
        return _kept(nn.functional.one_hot(codes.long(), size), observed)

    def _levels(self, batch: Dataset, observed: Tensor | None) -> Tensor:
        """Grey levels from −1 to 1."""
        columns = [index for index, _ in self.categorical]
        levels = 2 * batch.values[:, columns] / self._highest(batch) - 1
        return _kept(levels - self.grey_means.to(levels), _of(observed, columns))

    def _highest(self, batch: Dataset) -> Float[Tensor, " levels"]:
        return batch.values.new_tensor([size - 1 for _, size in self.categorical])

    def _numbers(self, kind: str, columns: list[int], batch: Dataset, observed: Tensor | None) -> Tensor:
        values, observed = _of(batch.values, columns), _of(observed, columns)
        if kind == "count":
            return _kept((values / batch.scale[columns]).log1p(), observed)
        return _kept(values - self.shares.to(values) if kind == "binary" else values, observed)


def _of(cells: Tensor | None, columns: list[int]) -> Tensor | None:
    """Some columns; all of them without a copy."""
    return cells if cells is None or len(columns) == cells.shape[-1] else cells[:, columns]


def _kept(numbers: Tensor, observed: Tensor | None) -> Tensor:
    """Zeros where nothing was observed; None says that all was."""
    return numbers if observed is None else numbers * observed
