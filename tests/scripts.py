"""Analyses as modules, so that a test can say where their data is; and a small table for those that find none."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import torch

from ppl_models.datasets import Table, infer_schema


def analysis(name: str) -> ModuleType:
    """A script as a module, on one thread as a person runs it."""
    torch.set_num_threads(1)
    place = Path(__file__).parents[1] / "analyses" / f"{name}.py"
    module = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location(name, place))
    spec.loader.exec_module(module)
    return module


def two_classes(name: str, *, label: str) -> Table:
    """Forty rows of four answers, which two classes give with probabilities 0.1 and 0.9."""
    random = np.random.default_rng(0)
    answers = (random.random((40, 4)) < np.repeat([[0.1], [0.9]], 20, axis=0)).astype(int)
    frame = pd.DataFrame(answers, columns=list("abcd"))
    frame[label] = np.repeat(["low", "high"], 20)
    return Table(name, frame, infer_schema(frame, label=label), "drawn")
