"""The digits of ``inpainting.py``, and what a model draws under their hidden pixels."""

from pathlib import Path

import numpy as np
import pandas as pd

from ppl_models import Schema, load, split
from ppl_models.datasets import Dataset, image_table, read_packed_bits
from ppl_models.families import Family
from ppl_models.inference import impute

FILES = {"train": 5000, "valid": 500, "test": 500}  # images taken of static MNIST


def parts(folder: Path | None, *, seed: int) -> tuple[Schema, list[pd.DataFrame]]:
    """What the pixels are, and training, validation and test rows."""
    if folder is None:
        table = load("digits_binary")
        found = split(table.frame, seed=seed, stratify="digit")
        return table.schema, [found.train, found.validation, found.test]
    tables, random = [], np.random.default_rng(seed)
    for part, size in FILES.items():
        images = read_packed_bits(folder / f"binarized_mnist_{part}.packbits.xz", image_shape=(28, 28))
        some = images[random.permutation(len(images))[:size]]
        tables.append(image_table(some, pixels="binary", image_shape=(28, 28)))
    return tables[0].schema, [table.frame for table in tables]


def gallery(family: Family, rows: Dataset, hidden: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
    """Digits, what is seen of them, and what is drawn for the rest: three times, and the mean of all draws."""
    seen = rows.only(np.delete(rows.schema.names, hidden).tolist())
    drawn = impute(family, seen, seed=seed).draws.reshape(-1, len(rows), len(hidden))
    cells = {"held-out digits": rows.values[:, hidden], "seen": np.nan, "mean of 200 draws": drawn.mean(axis=0)}
    shown = {name: rows.values.numpy().copy() for name in [*cells, "draw 1", "draw 2", "draw 3"]}
    for name, values in (cells | {f"draw {each + 1}": drawn[each] for each in range(3)}).items():
        shown[name][:, hidden] = values
    return {name: each.reshape(-1, *rows.schema.image_shape) for name, each in shown.items()}
