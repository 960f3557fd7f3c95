"""Models, fits and questions that cannot be are refused in one line that says what was expected and what came."""

import jaxtyping
import pytest
import torch
from cases import rows_of
from test_bad_input import FRAME, REAL, SCHEMA, refuse, rows

from ppl_models.datasets import Column, Schema, infer_schema, load, prepare
from ppl_models.distributions import DecoderLikelihoods, WeightsPrior
from ppl_models.evaluation import compare
from ppl_models.families import VAE, GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import (
    Gradient,
    NaturalGradient,
    density_curve,
    estimate_elbo,
    fit,
    log_density,
    log_evidence,
    parameter_draws,
    refined_draws,
    sample,
)
from ppl_models.nn import Dense

LABELLED = Schema((Column("x", "real"),), label=Column("y", "categorical", ("u", "v")))
PAIRS = Schema((Column("x", "real"), Column("z", "real")))


def fitted(make=NaiveBayes, schema: Schema = SCHEMA):
    family = make(schema)
    return fit(family, rows(schema), seed=0, method=Gradient(steps=2) if make is vae else None).family


def one_component(schema: Schema, z: list):
    """A full covariance fitted to rows with this second column, and the rows."""
    found = rows(schema, FRAME.assign(z=z))
    return fit(GaussianMixture(schema, components=1, covariance="full"), found, seed=0).family, found


def vae(schema: Schema) -> VAE:
    return VAE(schema, latent=1, network=Dense(()))


def mode(schema: Schema) -> NaiveBayes:
    return NaiveBayes(schema, estimate="map")


def overdispersed(schema: Schema) -> NaiveBayes:
    return NaiveBayes(schema, counts="negative-binomial")


IRIS = load("iris").schema
HALVES = {"a": slice(2), "b": slice(2, 4)}
OTHER = prepare(FRAME.head(3), SCHEMA)(FRAME)
MODELS = {
    "no component": (lambda: Mixture(SCHEMA, components=0), "components: expected a whole number from 1, got 0"),
    "discrete columns": (
        lambda: GaussianMixture(SCHEMA, components=2),
        "GaussianMixture: expected real or positive columns, column 'n' is count",
    ),
    "no latent": (lambda: VAE(SCHEMA, latent=0), r"VAE: expected one or more latent .* got latent=0"),
    "no unit": (lambda: Dense((4, 0)), r"Dense: expected hidden of 1 or more, got \(4, 0\)"),
    "no label": (lambda: NaiveBayes(REAL, labelled=True), "NaiveBayes: labelled=True needs a schema with a label"),
    "too few rows": (
        lambda: fit(Mixture(SCHEMA, components=5), rows(), seed=0),
        "Mixture: expected at least as many different rows as components, got 4 among 4 rows for 5 components",
    ),
    "no known class": (
        lambda: fit(NaiveBayes(SCHEMA), rows(y=None), seed=0),
        "label 'y': expected some known classes, all 4 training rows miss it",
    ),
    "unknown covariance": (
        lambda: GaussianMixture(IRIS, components=2, covariance="banded"),
        "covariance structure: expected one of EII, VII, EEI, VEI, EVI, VVI, EEE, VEE, EVE, VVE, EEV, VEV, EVV, VVV, "
        "full, tied, diagonal, diag, spherical, E, V; got 'banded'",
    ),
    "evidence of a point estimate": (
        lambda: log_evidence(fitted(mode), rows()),
        "log evidence: expected a conjugate posterior .*, got estimate 'map'",
    ),
    "evidence without the classes": (
        lambda: log_evidence(fitted(lambda schema: Mixture(schema, components=2)), rows()),
        "log evidence: expected rows of known class, got some without",
    ),
    "evidence of hidden cells": (
        lambda: log_evidence(*one_component(PAIRS, [1.0, 2.5, None, 4.0])),
        "log evidence: expected .* columns without hidden cells, got cells missing among them",
    ),
    "refined draws of a grid": (
        lambda: refined_draws(fitted(overdispersed), rows(), 3, seed=0),
        "posterior draws: expected smooth parameters, a negative binomial's dispersion is on a grid",
    ),
    "no start": (lambda: NaturalGradient(starts=0), "NaturalGradient: starts: expected one or more, got 0"),
    "natural gradients of a VAE": (
        lambda: fit(vae(SCHEMA), rows(), seed=0, method=NaturalGradient()),
        "NaturalGradient: expected a conjugate family, got VAE; use Gradient",
    ),
    "training rows of another schema": (
        lambda: fit(NaiveBayes(SCHEMA), rows(REAL), seed=0),
        "NaiveBayes: expected the columns x, n, b, got x",
    ),
    "validation rows of another preparation": (
        lambda: fit(NaiveBayes(SCHEMA), rows(), OTHER, seed=0),
        "expected .*rows prepared by the preparation of .* training rows, got rows of another",
    ),
    "rows of another preparation": (
        lambda: log_density(fitted(), OTHER),
        "expected rows prepared by the preparation of its training rows, got rows of another",
    ),
    "rows of another schema": (lambda: log_density(fitted(), rows(REAL)), "expected the columns x, n, b, got x"),
    "rows of other kinds": (
        lambda: log_density(fitted(), rows(SCHEMA.override(n="real"))),
        "expected column 'n' to be count, got real",
    ),
    "rows of another label": (
        lambda: log_density(fitted(NaiveBayes, REAL), rows(LABELLED)),
        "expected the label none, got 'y' of 'u' 'v'",
    ),
    "unfitted": (lambda: log_density(NaiveBayes(SCHEMA), rows()), "NaiveBayes: .* never fitted"),
    "unfitted, no continuous column": (
        lambda: log_density(NaiveBayes(load("wrodl").schema), rows_of("wrodl", 50)),
        "NaiveBayes: expected a fitted family, got one that was never fitted",
    ),
    "samples of an unfitted family": (lambda: sample(vae(SCHEMA), 3, seed=0), "VAE: .* never fitted"),
    "draws of an unfitted family": (
        lambda: parameter_draws(NaiveBayes(REAL), 3, seed=0),
        "NaiveBayes: .* never fitted",
    ),
    "no draw": (lambda: log_density(fitted(vae), rows(), draws=0), "draws: expected one or more, got 0"),
    "no particle": (lambda: estimate_elbo(fitted(), rows(), seed=0, particles=0), "particles: .* one or more, got 0"),
    "other rows": (
        lambda: compare({name: log_density(fitted(), rows()[at]) for name, at in HALVES.items()}),
        r"expected the same test rows \(checksum\) in every density",
    ),
    "no row to sample": (lambda: sample(fitted(), 0, seed=0), "rows: expected one or more, got 0"),
    "no parameter draw": (lambda: parameter_draws(fitted(), 0, seed=0), "draws: expected one or more, got 0"),
    "no draw for a band": (
        lambda: density_curve(fitted(), rows(), seed=0, draws=0),
        "draws: expected one or more, got 0",
    ),
    "no parameters in conjugate form": (
        lambda: parameter_draws(fitted(vae), 3, seed=0),
        "parameter draws: expected a conjugate family, got VAE",
    ),
    "no step": (lambda: Gradient(steps=0), "Gradient: steps: expected one or more, got 0"),
    "no restart": (lambda: NaturalGradient(restarts=0), "NaturalGradient: restarts: expected one or more, got 0"),
    "no batch": (lambda: Gradient(batch_size=0), "Gradient: batch_size: expected one or more, got 0"),
}

WRONG_TYPES = {
    "unknown kind": (
        lambda: infer_schema(FRAME, kinds={"x": "complex"}),
        "column 'x': kind must be one of .*'complex'",
    ),
    "half a component": (
        lambda: Mixture(SCHEMA, components=2.5),
        "components: expected a whole number from 1, got 2.5",
    ),
    "unknown counts": (
        lambda: Mixture(SCHEMA, components=2, counts="geometric"),
        "counts: expected one of poisson, negative-binomial, multinomial, got 'geometric'",
    ),
    "unknown estimate": (
        lambda: NaiveBayes(SCHEMA, estimate="mean"),
        "estimate: expected one of bayes, map, maximum-likelihood, got 'mean'",
    ),
    "unknown process": (
        lambda: WeightsPrior("Pitman-Yor"),
        "process: expected one of dirichlet, stick-breaking, got 'Pitman-Yor'",
    ),
    "unknown scale": (lambda: DecoderLikelihoods(scale="cell"), "scale: expected one of row, column, got 'cell'"),
}


@pytest.mark.parametrize(("call", "message"), MODELS.values(), ids=MODELS)
def test_models_that_cannot_be_are_refused_by_option(call, message):
    refuse(call, message)


@pytest.mark.parametrize(("call", "message"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_options_of_another_type_are_refused(call, message):
    """As users meet them: the type checks of the test run are off."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        refuse(call, message)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_a_family_that_was_refused_rows_can_still_be_fitted():
    family = Mixture(SCHEMA, components=2)
    refuse(lambda: fit(family, rows(REAL), seed=0), "expected the columns")
    assert torch.isfinite(torch.tensor(fit(family, rows(), seed=0).elbo))
