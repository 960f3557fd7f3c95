"""What ``trust.py`` ranks and bounds: posteriors of parameters, and of z."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from linear_vae import LINEAR

from ppl_models import VAE, GaussianMixture, Mixture, NaiveBayes, Schema, fit, load
from ppl_models.datasets import Column, Dataset, prepare_split
from ppl_models.families import Amortised, ClassProduct, ConditionalVAE, HierarchicalVAE, SemiSupervisedVAE
from ppl_models.inference import Gradient, calibration_ranks

LABEL = Column("group", "categorical", ("few", "many"))
MIXED = (Column("dollars", "real"), Column("visits", "count"), Column("way", "categorical", ("bus", "car", "foot")))
MEASURES = (Column("length", "real"), Column("width", "real"))
ANSWERS = tuple(Column(name, "categorical", ("no", "yes")) for name in ("a", "b", "c", "d", "e"))
ROWS = 60  # of a simulated table

CONJUGATE: dict[str, Callable[[], ClassProduct]] = {
    "naive Bayes": lambda: NaiveBayes(Schema(MIXED, label=LABEL)),
    "Gaussian mixture": lambda: GaussianMixture(Schema(MEASURES), components=2),
    "Gaussian mixture, full": lambda: GaussianMixture(Schema(MEASURES), components=2, covariance="full"),
    "latent classes": lambda: Mixture(Schema(ANSWERS), components=2),
}
LINEAR_VAE = "linear VAE"
VAES: dict[str, tuple[str, Callable[[Schema], Amortised]]] = {
    LINEAR_VAE: ("iris", lambda schema: VAE(schema, latent=2, guide="full", **LINEAR)),
    "VAE of measures": ("wine", lambda schema: VAE(schema, latent=2)),
    "VAE of digits": ("digits_binary", lambda schema: VAE(schema, latent=8)),
    "VAE of measures given the class": ("iris", lambda schema: ConditionalVAE(schema, latent=2)),
    "VAE of measures, class hidden": ("iris", lambda schema: SemiSupervisedVAE(schema, latent=2)),
    "hierarchical VAE of measures": ("wine", lambda schema: HierarchicalVAE(schema, latent=2, top=2)),
}


def fitted(name: str, *, seed: int, steps: int) -> tuple[Amortised, Dataset]:
    """A VAE fitted to its table, and the rows held out."""
    table = load(VAES[name][0])
    parts, family = prepare_split(table.frame, table.schema, seed=seed), VAES[name][1](table.schema)
    fit(family, parts.train, parts.validation, seed=seed, method=Gradient(steps=steps))
    return family, parts.test


def parameter_ranks(kept: Path | None, **settings: int) -> dict[str, pd.DataFrame]:
    """Of each conjugate family's parameters by the guide and, where a component is hidden, by the richer guide."""
    ranks = {}
    for name, make in CONJUGATE.items():
        for way, refine in {"guide": False, "richer guide": True}.items():
            called, settings["refine"] = f"{name}, {way}", refine
            if not (refine and make().labelled):
                ranks[called] = calibration_ranks(make, rows=ROWS, kept=kept and kept / f"{called}.csv", **settings)
    return ranks
