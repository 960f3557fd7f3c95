"""Tables and settings that the discrete half cannot use are refused in one line, by name."""

import numpy as np
import pandas as pd
import pytest

from ppl_models.datasets import infer_schema, load, prepare
from ppl_models.distributions import WeightsPrior
from ppl_models.errors import InputError
from ppl_models.families import GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import fit, impute, parameter_draws, partial_fit

RANDOM = np.random.default_rng(0)
REAL = pd.DataFrame(RANDOM.normal(size=(30, 3)), columns=["a", "b", "c"])
COUNTS = pd.DataFrame(RANDOM.poisson(3, (30, 2)), columns=["m", "n"])
MIXED = REAL.assign(kind=RANDOM.choice(["x", "y"], 30))
ML = "maximum-likelihood"


def fitted(frame: pd.DataFrame, make=GaussianMixture, label=None, **settings):
    """A family fitted to the whole table."""
    schema = infer_schema(frame, label=label)
    return fit(make(schema, **settings), prepare(frame, schema)(frame), seed=0)


def labelled_as(classes: tuple[str, ...], **settings):
    """Naive Bayes over two classes of which these rows show one."""
    schema = infer_schema(MIXED, label="kind", categories={"kind": classes})
    return fit(NaiveBayes(schema, **settings), prepare(MIXED, schema)(MIXED), seed=0)


REFUSED = {
    "dependent columns": (
        lambda: fitted(REAL.assign(c=REAL["a"] - 2 * REAL["b"]), components=1, covariance="full", estimate=ML),
        "columns 1, 2, 3 of the schema do; drop one",
    ),
    "fewer rows than columns and one": (
        lambda: fitted(REAL[:3], components=1, covariance="VVV", estimate=ML),
        "covariance of 3 columns: expected 4 rows or more for maximum likelihood, got 3",
    ),
    "a component on each point": (
        lambda: fitted(REAL[:6], components=4, covariance="VVV", estimate=ML),
        "every start came to a degenerate component, the best at site 'real', component [1-4]",
    ),
    "a row of which nothing is known": (
        lambda: fitted(REAL.drop(index=6).reindex(range(30)), components=2),
        "expected an observed cell in every training row, every cell of row 7 is missing",
    ),
    "a column of which nothing is known": (
        lambda: prepare(REAL.assign(b=np.nan), infer_schema(REAL)),
        "column 'b': expected values, every training cell is missing",
    ),
    "negative counts": (
        lambda: prepare(COUNTS.assign(n=-1), infer_schema(COUNTS)),
        "column 'n', row 1: expected a whole number from 0, got -1",
    ),
    "a class without rows": (
        lambda: labelled_as(("x", "y", "z"), estimate=ML),
        "label 'kind': expected rows of every class, got none of 'z'",
    ),
    "a label never seen": (lambda: labelled_as(("x", "z")), "column 'kind', row [0-9]+: expected one of x, z, got 'y'"),
    "more components than different rows": (
        lambda: fitted(pd.concat([REAL[:3]] * 9), components=5),
        "expected at least as many different rows as components, got 3 among 27 rows for 5",
    ),
    "measurements as categories": (
        lambda: infer_schema(REAL, kinds={"a": "categorical"}),
        "column 'a': expected categories, got 30 different numbers such as",
    ),
    "no such covariance": (
        lambda: GaussianMixture(infer_schema(REAL), components=2, covariance="VVX"),
        "EII.*VVV.*'VVX'",
    ),
    "a posterior where none is conjugate": (
        lambda: GaussianMixture(infer_schema(REAL), components=2, covariance="VEV", estimate="bayes"),
        "covariance 'VEV': has no conjugate prior",
    ),
    "no smoothing": (lambda: NaiveBayes(infer_schema(MIXED), smoothing=0.0), "smoothing: expected a number above 0"),
    "no concentration": (lambda: WeightsPrior(concentration=0.0), "concentration: expected a number above 0, got 0.0"),
    "a point mass on sticks": (
        lambda: Mixture(infer_schema(REAL), components=2, estimate=ML, weights=WeightsPrior("stick-breaking")),
        "process 'stick-breaking': expected estimate 'bayes'",
    ),
    "some of a multinomial's cells": (
        lambda: fitted(
            COUNTS.astype(float).assign(n=[np.nan, 1.0, *28 * [2.0]]), Mixture, components=1, counts="multinomial"
        ),
        "expected all or none of the multinomial's cells",
    ),
    "draws of a point": (
        lambda: parameter_draws(fitted(REAL, components=1, estimate="map").family, 10, seed=0),
        "parameter draws: expected estimate 'bayes', got 'map'",
    ),
    "a point without counts": (
        lambda: partial_fit(
            GaussianMixture(infer_schema(REAL), components=1, estimate=ML), prepare(REAL, infer_schema(REAL))(REAL)
        ),
        "partial_fit: expected estimate 'bayes', got 'maximum-likelihood'",
    ),
    "a first batch without classes": (
        lambda: partial_fit(GaussianMixture(infer_schema(REAL), components=2), prepare(REAL, infer_schema(REAL))(REAL)),
        "partial_fit: expected a family fitted to some rows",
    ),
    "no draw to impute by": (
        lambda: impute(fitted(REAL, components=1).family, prepare(REAL, infer_schema(REAL))(REAL), seed=0, draws=0),
        "draws: expected one or more, got 0",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_discrete_half_cannot_use_is_refused_by_name(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_prior_stands_in_for_rows_that_maximum_likelihood_lacks():
    dependent = REAL.assign(c=REAL["a"] - 2 * REAL["b"])
    for frame in (dependent, REAL[:3]):
        assert np.isfinite(fitted(frame, components=1, covariance="full").elbo)
    assert np.isfinite(labelled_as(("x", "y", "z")).elbo)
    assert load("wrodl").schema.columns[0].categories[1] == "LongHairBun"  # never seen, and never refused
