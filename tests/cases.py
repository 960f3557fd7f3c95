"""One dict of families; every law runs on all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
import torch

from ppl_models.datasets import Column, Dataset, Schema, Table, load, prepare, sequence_table
from ppl_models.distributions import DecoderLikelihoods, LatentPrior, WeightsPrior
from ppl_models.families import (
    VAE,
    Autoencoder,
    ConditionalVAE,
    ContractiveAutoencoder,
    Family,
    GaussianMixture,
    HierarchicalVAE,
    MarkovChain,
    Mixture,
    NaiveBayes,
    SemiSupervisedVAE,
    SequenceVAE,
    StudentMixture,
)
from ppl_models.inference import Fit, Gradient, NaturalGradient, fit
from ppl_models.nn import Convolutional, Dense
from ppl_models.recurrent import Recurrent

QUICK = Gradient(steps=60, check_every=20, batch_size=64)
CONJUGATE = NaturalGradient(restarts=3, starts=9)
BASKETS, TUNES = "baskets", "tunes"
PRICED = {"test_pyros_own_svi_reaches_the_elbo_that_fit_reports": "its price is no part of the ELBO that Pyro climbs"}
ONE_BY_ONE = "Pyro draws its sites one after another"
APART = {
    "test_the_training_loss_is_pyros_loss_from_the_same_noise": ONE_BY_ONE,
    "test_pyros_own_svi_reaches_the_elbo_that_fit_reports": ONE_BY_ONE,
}
GREEDY = {"test_decoded_numbers_are_the_means_of_rows_drawn_there": "they are along the most probable tokens"}
CLIMBS = "test_pyros_own_svi_climbs_back_to_the_natural_gradients_elbo"


@dataclass(frozen=True)
class Case:
    """A family on a table, and how the laws fit it.

    Attributes:
        table: a bundled table, ``BASKETS`` or ``TUNES``.
        make: the family of a schema.
        method: how it is fitted.
        rows: how many of the table's rows.
        missing: share of the cells that are set missing.
        determined: whether the guide leaves nothing to chance, or is the posterior: the ELBO then has no variance.
        exempt: laws that do not hold for it, by name, and why.
    """

    table: str
    make: Callable[[Schema], Family]
    method: Gradient | NaturalGradient = CONJUGATE
    rows: int = 150
    missing: float = 0.0
    determined: bool = False
    exempt: Mapping[str, str] = field(default_factory=dict)


def gaussian(components: int = 2, **options) -> Callable[[Schema], Family]:
    return lambda schema: GaussianMixture(schema, components=components, **options)


def mixture(components: int = 3, **options) -> Callable[[Schema], Family]:
    return lambda schema: Mixture(schema, components=components, **options)


def student(components: int = 2, **options) -> Callable[[Schema], Family]:
    return lambda schema: StudentMixture(schema, components=components, **options)


def vae(latent: int = 2, family: type[Family] = VAE, **options) -> Callable[[Schema], Family]:
    options = {"network": Dense((16,)), "dtype": torch.float64, **options}
    return lambda schema: family(schema, latent=latent, **options)


def sequences(network: Recurrent, **options) -> Callable[[Schema], Family]:
    return vae(family=SequenceVAE, network=network, **options)


CASES = {
    "naive Bayes, some labels missing": Case("fast_food_customers", NaiveBayes, rows=300),
    "naive Bayes, all labels known": Case("wine", NaiveBayes, determined=True),
    "naive Bayes, one class": Case("wrodl", NaiveBayes, determined=True),
    "naive Bayes, quadratic": Case("iris", lambda schema: NaiveBayes(schema, covariance="VVV"), determined=True),
    "mixture of mixed columns": Case("fast_food_customers", mixture()),
    "mixture of mixed columns, mode": Case("fast_food_customers", mixture(estimate="map"), determined=True),
    "mixture of bits": Case("digits_binary", mixture(4), rows=300),
    "mixture, negative binomial": Case(
        "fast_food_customers",
        mixture(2, counts="negative-binomial"),
        exempt={CLIMBS: "the score function's gradient of a dispersion on a grid is too noisy for so few steps"},
    ),
    "mixture, multinomial": Case(BASKETS, mixture(2, counts="multinomial")),
    "mixture, Dirichlet process": Case("iris", mixture(5, weights=WeightsPrior("stick-breaking", 1.0))),
    "latent classes, maximum likelihood": Case("wrodl", mixture(2, estimate="maximum-likelihood"), determined=True),
    "Gaussian mixture, diagonal": Case("iris", gaussian()),
    "Gaussian mixture, full": Case("iris", gaussian(covariance="full")),
    "Gaussian mixture, full, cells missing": Case("iris", gaussian(covariance="full"), missing=0.2),
    "Gaussian mixture, tied, cells missing": Case("iris", gaussian(covariance="tied"), missing=0.2),
    "Gaussian mixture, EEV, mode": Case("iris", gaussian(covariance="EEV", estimate="map"), determined=True),
    "Student mixture, full, cells missing, mode": Case(
        "iris", student(covariance="full"), missing=0.2, determined=True
    ),
    "Student mixture, tied freedom, maximum likelihood": Case(
        "wine", student(tied_freedom=True, estimate="maximum-likelihood"), missing=0.1, determined=True
    ),
    "VAE of mixed columns": Case("fast_food_customers", vae(), QUICK),
    "VAE of bits": Case("digits_binary", vae(3), QUICK),
    "VAE, full covariance": Case("fast_food_customers", vae(guide="full"), QUICK),
    "VAE, autoregressive flow": Case("iris", vae(guide="autoregressive-flow"), QUICK),
    "VAE, spline flow": Case("iris", vae(guide="spline-flow"), QUICK),
    "VAE, mixture prior": Case("fast_food_customers", vae(prior=LatentPrior("mixture", 3)), QUICK),
    "VAE, VampPrior": Case("fast_food_customers", vae(prior=LatentPrior("vamp", 3)), QUICK),
    "VAE of grey levels": Case("digits", vae(likelihoods=DecoderLikelihoods(levels="discretised-logistic")), QUICK),
    "VAE, dequantised": Case(
        "digits", vae(likelihoods=DecoderLikelihoods(levels="dequantised-normal")), QUICK, exempt=APART
    ),
    "VAE, convolutional": Case("digits_binary", vae(network=Convolutional((4, 8), (16,))), QUICK),
    "VAE, max pooling": Case("digits_binary", vae(network=Convolutional((4,), downsampling="pool")), QUICK),
    "conditional VAE": Case("iris", vae(family=ConditionalVAE), QUICK),
    "conditional VAE, VampPrior": Case(
        "digits_binary", vae(family=ConditionalVAE, prior=LatentPrior("vamp", 3)), QUICK
    ),
    "semi-supervised": Case("fast_food_customers", vae(family=SemiSupervisedVAE, alpha=0.0), QUICK),
    "semi-supervised, full covariance, priced": Case(
        "fast_food_customers",
        vae(family=SemiSupervisedVAE, guide="full", prior=LatentPrior("mixture", 2), learned_shares=False),
        QUICK,
        exempt=PRICED,
    ),
    "hierarchical": Case(
        "fast_food_customers", vae(family=HierarchicalVAE, top=1, layer=Dense((8,))), QUICK, exempt=APART
    ),
    "hierarchical, full covariance": Case("iris", vae(family=HierarchicalVAE, guide="full"), QUICK, exempt=APART),
    "Markov chain": Case(TUNES, MarkovChain, determined=True),
    "sequences, flat": Case(TUNES, sequences(Recurrent(hidden=12, embedding=4)), QUICK, exempt=GREEDY),
    "sequences, hierarchical": Case(
        TUNES,
        sequences(Recurrent(hidden=8, embedding=4, bar=3), guide="full", prior=LatentPrior("mixture", 2)),
        QUICK,
        exempt=GREEDY,
    ),
    "autoencoder of mixed columns": Case("fast_food_customers", vae(family=Autoencoder), QUICK),
    "contractive autoencoder": Case("fast_food_customers", vae(family=ContractiveAutoencoder), QUICK, exempt=PRICED),
    "contractive autoencoder, deep": Case(
        "iris", vae(family=ContractiveAutoencoder, network=Dense((8, 8), activation="tanh")), QUICK, exempt=PRICED
    ),
}


def table_of(name: str) -> Table:
    """A bundled table, or a simulated one.

    Baskets of goods are of two groups that share out their totals in two ways; tunes go up or down, most by a step at a
    time, and some end early.
    """
    random = np.random.default_rng(0)
    if name == TUNES:
        moves = random.choice([0, 1, 2], p=[0.2, 0.6, 0.2], size=(200, 7)) * random.choice([-1, 1], size=(200, 1))
        notes = random.integers(0, 5, size=(200, 1)) + np.pad(moves.cumsum(1), ((0, 0), (1, 0)))
        tunes = [["do", "re", "mi", "fa", "so"][note % 5] for note in notes.flat]
        rows = [tunes[8 * row : 8 * row + (8 if row % 3 else 5)] for row in range(200)]
        return sequence_table(rows, pad=True, name=name, source="simulated here")
    if name != BASKETS:
        return load(name)
    shares = np.repeat([[0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]], 90, axis=0)
    goods = pd.DataFrame(random.multinomial(random.poisson(9, 180), shares), columns=["bread", "milk", "tea", "salt"])
    return Table(name, goods, Schema(tuple(Column(good, "count") for good in goods)), "simulated here")


def build(name: str) -> tuple[Family, Dataset]:
    """A new, untrained family of this case, and its rows."""
    case = CASES[name]
    return case.make(table_of(case.table).schema), rows_of(case.table, case.rows, case.missing)


@cache
def rows_of(table: str, rows: int, missing: float = 0.0) -> Dataset:
    """The first rows of a table, shuffled, some of their cells set missing, prepared by themselves."""
    found = table_of(table)
    frame = found.frame.sample(frac=1, random_state=3).head(rows)
    if missing:
        names = list(found.schema.names)
        gone = np.random.default_rng(4).random((len(frame), len(names))) < missing
        frame = frame.assign(**frame[names].mask(gone))
    return prepare(frame, found.schema)(frame)


@cache
def fitted(name: str) -> Fit:
    """This case's fit; shared by the tests that only read it."""
    family, rows = build(name)
    return fit(family, rows, seed=5, method=CASES[name].method)
