"""The rows and the models of ``mnist.py``: networks as published, and the ingredients that are added one at a time."""

from dataclasses import dataclass, replace
from pathlib import Path

import ppl_models as ppl
from ppl_models.datasets import Dataset, Schema, image_table, prepare_split, read_packed_bits
from ppl_models.inference import Fit, Gradient, NaturalGradient, Objective
from ppl_models.nn import Dense, Network

KINGMA, BURDA = Dense((400,), activation="relu"), Dense((200, 200), activation="tanh")
EXACT = {
    "naive Bayes, one class": lambda schema: ppl.NaiveBayes(schema, labelled=False),
    "mixture of 10": lambda schema: ppl.Mixture(schema, components=10),
    "mixture of 500": lambda schema: ppl.Mixture(schema, components=500),
}


@dataclass(frozen=True)
class Recipe:
    """How a VAE of binary pixels is trained, and by how many draws it is scored."""

    network: Network = KINGMA
    latent: int = 40
    passes: int = 80
    warm_up: int = 0  # in passes
    draws: int = 1
    hide: float = 0.0
    average: float = 0.0
    rate: float = 2e-3
    scored: tuple[int, ...] = (200, 1000)

    def fit(self, train: Dataset, validation: Dataset, *, seed: int, quick: bool) -> Fit:
        """Train it."""
        batches = max(len(train) // 100, 1)
        objective = Objective(warm_up=self.warm_up * batches, draws=self.draws, doubly_reparametrised=self.draws > 1)
        steps, every = (60, 30) if quick else (self.passes * batches, 5 * batches)
        settings = {"batch_size": 100, "learning_rate": self.rate, "check_every": every, "average": self.average}
        family = ppl.VAE(train.schema, latent=self.latent, network=replace(self.network, hide=self.hide))
        method = Gradient(steps=steps, objective=objective, **settings)
        return ppl.fit(family, train, validation, seed=seed, method=method)


VAES = {
    "VAE 400-40": Recipe(),
    "VAE 400-40, warm-up": Recipe(warm_up=20),
    "VAE 400-40, averaged": Recipe(average=0.999),
    "VAE 400-40, a tenth hidden": Recipe(hide=0.1),
    "VAE 400-40, 5 draws": Recipe(draws=5),
    "VAE 200-200-50": Recipe(BURDA, 50, passes=100, average=0.999, scored=(200, 1000, 5000)),
    "VAE 200-200-50, 10 draws": Recipe(BURDA, 50, passes=60, draws=10, average=0.999, scored=(200, 1000, 5000)),
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
    return ppl.fit(EXACT[name](rows[0].schema), rows[0], seed=seed, method=method)
