"""What every test shares."""

from collections.abc import Iterator

import pyro
import pytest
import torch

pytest_plugins = ["ppl_models.pytest_plugin", "pytester"]  # the first by name, once types are watched over


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    """Pyro's global store is empty after every test: no family keeps anything there."""
    torch.set_num_threads(1)
    yield
    left = list(pyro.get_param_store().keys())
    pyro.clear_param_store()
    assert left == []
