"""Rows a part at a time, so that memory stays bounded."""

from collections.abc import Iterator

from ppl_models.datasets import Dataset


def chunks_of(data: Dataset, size: int) -> Iterator[Dataset]:
    """The rows in order, so many at a time."""
    for start in range(0, len(data), max(size, 1)):
        yield data[start : start + max(size, 1)]
