"""One dict of families; every law runs on all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from ppl_models.datasets import Dataset, Schema, load, prepare
from ppl_models.families import VAE, Autoencoder, Family, GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import Fit, Gradient, NaturalGradient, fit

QUICK = Gradient(steps=200, check_every=50, batch_size=64)
CONJUGATE = NaturalGradient(restarts=3)


@dataclass(frozen=True)
class Case:
    """A family on a table, and how the laws fit it."""

    table: str
    make: Callable[[Schema], Family]
    method: Gradient | NaturalGradient = CONJUGATE
    rows: int = 150


CASES = {
    "naive Bayes, some labels missing": Case("fast_food_customers", NaiveBayes, rows=300),
    "naive Bayes, all labels known": Case("wine", NaiveBayes),
    "naive Bayes, one class": Case("wrodl", NaiveBayes),
    "mixture of mixed columns": Case("fast_food_customers", lambda schema: Mixture(schema, components=3)),
    "mixture of bits": Case("digits_binary", lambda schema: Mixture(schema, components=4)),
    "Gaussian mixture, diagonal": Case("iris", lambda schema: GaussianMixture(schema, components=2)),
    "Gaussian mixture, full": Case("iris", lambda schema: GaussianMixture(schema, components=2, covariance="full")),
    "VAE of mixed columns": Case(
        "fast_food_customers", lambda schema: VAE(schema, latent=2, hidden=(16,), dtype=torch.float64), QUICK
    ),
    "VAE of bits": Case(
        "digits_binary", lambda schema: VAE(schema, latent=3, hidden=(16,), dtype=torch.float64), QUICK
    ),
    "autoencoder of mixed columns": Case(
        "fast_food_customers", lambda schema: Autoencoder(schema, latent=2, hidden=(16,), dtype=torch.float64), QUICK
    ),
}


def build(name: str) -> tuple[Family, Dataset]:
    """A new, untrained family of this case, and its rows."""
    case = CASES[name]
    return case.make(load(case.table).schema), rows_of(case.table, case.rows)


@cache
def rows_of(table: str, rows: int) -> Dataset:
    """The first rows of a bundled table, shuffled, prepared by themselves."""
    bundled = load(table)
    frame = bundled.frame.sample(frac=1, random_state=3).head(rows)
    return prepare(frame, bundled.schema)(frame)


@cache
def fitted(name: str) -> Fit:
    """This case's fit; shared by the tests that only read it."""
    family, rows = build(name)
    return fit(family, rows, seed=5, method=CASES[name].method)
