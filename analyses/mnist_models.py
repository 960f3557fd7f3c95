"""The rows and the models of ``mnist.py``, by name."""

from pathlib import Path

from mnist_recipes import VAES, Score

import ppl_models as ppl
from ppl_models.datasets import Dataset, Schema, image_table, prepare_split, read_packed_bits
from ppl_models.families import Family
from ppl_models.inference import Fit, NaturalGradient

EXACT = {
    "naive Bayes, one class": lambda schema: ppl.NaiveBayes(schema, labelled=False),
    "mixture of 10": lambda schema: ppl.Mixture(schema, components=10),
    "mixture of 500": lambda schema: ppl.Mixture(schema, components=500),
}


def tables(folder: Path, *, seed: int) -> tuple[str, list[Dataset]]:
    """What the rows are, and the training, validation and test rows."""
    if not folder.is_dir():
        table = ppl.load("digits_binary")
        parts = prepare_split(table.frame, Schema(table.schema.columns, None, table.schema.image_shape), seed=seed)
        return "8 by 8 binary digits", [parts.train, parts.validation, parts.test]
    files = [folder / f"binarized_mnist_{part}.packbits.xz" for part in ("train", "valid", "test")]
    images = [read_packed_bits(file, image_shape=(28, 28)) for file in files]
    found = [image_table(each, pixels="binary", image_shape=(28, 28)) for each in images]
    preparation = ppl.prepare(found[0].frame, found[0].schema)
    return "static MNIST (Larochelle and Murray 2011)", [preparation(each.frame) for each in found]


def fit(name: str, rows: list[Dataset], *, seed: int, quick: bool) -> Fit:
    """A model fitted to the training rows, judged by the validation rows where that is needed."""
    if name in VAES:
        return VAES[name].fit(*rows[:2], seed=seed, quick=quick)
    batches = {"batch_size": 1000, "epochs": 10} if name == "mixture of 500" and not quick else {}
    steps = 20 if quick or batches else 400
    method = NaturalGradient(starts=2, restarts=1, steps=steps, tolerance=1e-4, **batches)
    return ppl.fit(family_of(name, rows[0].schema), rows[0], seed=seed, method=method)


def family_of(name: str, schema: Schema) -> Family:
    """A model, not yet fitted."""
    return VAES[name].family(schema) if name in VAES else EXACT[name](schema)


def scores_of(name: str, *, quick: bool) -> tuple[Score, ...]:
    """How a model is scored; one of each method where time is short."""
    scores = VAES[name].scores if name in VAES else (Score("exact"),)
    return tuple({score.method: score for score in scores[::-1]}.values()) if quick else scores
