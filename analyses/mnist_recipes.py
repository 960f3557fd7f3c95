"""How the VAEs of ``mnist.py`` are trained and scored: networks as published, ingredients added one at a time."""

from dataclasses import dataclass, replace

import ppl_models as ppl
from ppl_models.datasets import Dataset, Schema
from ppl_models.inference import Fit, Gradient, Objective
from ppl_models.nn import Dense, Network

KINGMA, BURDA = Dense((400,), activation="relu"), Dense((200, 200), activation="tanh")


@dataclass(frozen=True)
class Score:
    """How held-out rows are scored: "exact", or bounded by so many draws of the guide's or "fitted" to each row."""

    method: str
    draws: int = 0

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.method}-{self.draws}" if self.draws else self.method

    @property
    def suffix(self) -> str:
        """Behind a model's name in tables."""
        return f" | {self.draws} {'fitted ' if self.method == 'fitted' else ''}draws" if self.draws else ""


SCORES = (Score("guide", 200), Score("guide", 1000))
MORE = (*SCORES, Score("guide", 5000), Score("fitted", 200), Score("fitted", 1000))


@dataclass(frozen=True)
class Recipe:
    """How a VAE of binary pixels is trained, and by how many draws it is scored."""

    network: Network = KINGMA
    latent: int = 40
    passes: int = 100
    warm_up: int = 0  # in passes
    draws: int = 1
    hide: float = 0.0
    average: float = 0.0
    rate: float = 2e-3
    scores: tuple[Score, ...] = SCORES

    def family(self, schema: Schema) -> ppl.VAE:
        """The VAE, not yet fitted."""
        return ppl.VAE(schema, latent=self.latent, network=replace(self.network, hide=self.hide))

    def fit(self, train: Dataset, validation: Dataset, *, seed: int, quick: bool) -> Fit:
        """Train it."""
        batches = max(len(train) // 100, 1)
        objective = Objective(warm_up=self.warm_up * batches, draws=self.draws, doubly_reparametrised=self.draws > 1)
        steps, every = (60, 30) if quick else (self.passes * batches, 5 * batches)
        settings = {"batch_size": 100, "learning_rate": self.rate, "check_every": every, "average": self.average}
        method = Gradient(steps=steps, objective=objective, **settings)
        return ppl.fit(self.family(train.schema), train, validation, seed=seed, method=method)


PLAIN = "VAE 400-40"
VAES = {
    PLAIN: Recipe(scores=MORE),
    f"{PLAIN}, warm-up": Recipe(warm_up=20),
    f"{PLAIN}, averaged": Recipe(average=0.999),
    f"{PLAIN}, a tenth hidden": Recipe(hide=0.1),
    f"{PLAIN}, averaged, 5 draws": Recipe(average=0.999, draws=5),
    f"{PLAIN}, averaged, 5 draws, a tenth hidden": Recipe(average=0.999, draws=5, hide=0.1, scores=MORE),
    "VAE 200-200-50": Recipe(BURDA, 50, passes=120, average=0.999, scores=MORE),
    "VAE 200-200-50, 10 draws": Recipe(BURDA, 50, draws=10, average=0.999, scores=MORE),
}
LONG = {  # as many passes as published: days of two cores, so run by name alone
    "VAE 200-200-50, at length": Recipe(BURDA, 50, passes=3280, rate=1e-3, average=0.999, scores=MORE),
    "VAE 200-200-50, 50 draws, at length": Recipe(BURDA, 50, passes=3280, draws=50, rate=1e-3, scores=MORE),
}
VAES |= LONG
