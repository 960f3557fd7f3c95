"""Naive Bayes against scikit-learn's, priors and smoothing matched, on three tables each; the multinomial is a pmf."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, GaussianNB

from ppl_models.datasets import Column, Schema, load, prepare
from ppl_models.families import Mixture, NaiveBayes
from ppl_models.inference import class_probabilities, fit, log_density


def halved(name: str) -> tuple[pd.DataFrame, Schema]:
    """A table of measurements as bits: above the median or not."""
    table = load(name)
    columns = list(table.schema.names)
    bits = (table.frame[columns] > table.frame[columns].median()).astype(int)
    schema = Schema(tuple(Column(column, "binary") for column in columns), table.schema.label)
    return bits.assign(**{table.schema.label.name: table.frame[table.schema.label.name]}), schema


def thirds(name: str) -> tuple[pd.DataFrame, Schema]:
    """A table of measurements as three categories each, by quantiles."""
    table = load(name)
    cut = table.frame[list(table.schema.names)].apply(
        lambda column: pd.qcut(column, 3, labels=False, duplicates="drop")
    )
    schema = Schema(tuple(Column(column, "categorical", (0, 1, 2)) for column in cut), table.schema.label)
    return cut.assign(**{table.schema.label.name: table.frame[table.schema.label.name]}), schema


def bundled(name: str) -> tuple[pd.DataFrame, Schema]:
    table = load(name)
    return table.frame, table.schema


def ours_and_rows(
    frame: pd.DataFrame, schema: Schema, **settings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Our class probabilities of the training rows; x, y and the class prior as scikit-learn takes them."""
    rows = prepare(frame, schema)(frame)
    family = fit(NaiveBayes(schema, **settings), rows, seed=0).family
    prior = family.weights.log_mean(family.guide.natural()[:, -1]).exp().detach().numpy()
    raw = family.preparation.invert(rows.values)
    codes = raw.apply(lambda column: column.cat.codes if hasattr(column, "cat") else column)
    return class_probabilities(family, rows).to_numpy(), codes.to_numpy(dtype=float), rows.labels.numpy(), prior


@pytest.mark.parametrize("make", [lambda: bundled("digits"), lambda: thirds("iris"), lambda: thirds("wine")])
def test_probabilities_are_categorical_naive_bayes(make):
    frame, schema = make()
    ours, x, y, prior = ours_and_rows(frame, schema)
    levels = [column.cardinality for column in schema.columns]
    theirs = CategoricalNB(alpha=1.0, class_prior=prior, min_categories=levels).fit(x.astype(int), y)
    np.testing.assert_allclose(ours, theirs.predict_proba(x.astype(int)), atol=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: bundled("digits_binary"), lambda: halved("wine"), lambda: halved("breast_cancer")]
)
def test_probabilities_are_bernoulli_naive_bayes(make):
    ours, x, y, prior = ours_and_rows(*make(), smoothing=0.5)
    theirs = BernoulliNB(alpha=0.5, class_prior=prior).fit(x, y)
    np.testing.assert_allclose(ours, theirs.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_maximum_likelihood_is_gaussian_naive_bayes(name):
    ours, x, y, _ = ours_and_rows(*bundled(name), estimate="maximum-likelihood")
    theirs = GaussianNB(var_smoothing=0.0).fit(x, y)
    np.testing.assert_allclose(ours, theirs.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("estimate", ["bayes", "maximum-likelihood"])
def test_a_multinomial_rows_mass_is_one_given_its_total(estimate):
    """Every row of four counts that sum to 7, by a mixture of two."""
    schema = Schema(tuple(Column(name, "count") for name in "abcd"))
    baskets = pd.DataFrame(np.random.default_rng(1).multinomial(12, (0.1, 0.2, 0.3, 0.4), 60), columns=list("abcd"))
    preparation = prepare(baskets, schema)
    family = Mixture(schema, components=2, counts="multinomial", estimate=estimate)
    fit(family, preparation(baskets), seed=0)
    every = pd.DataFrame([row for row in product(range(8), repeat=4) if sum(row) == 7], columns=list("abcd"))
    density = log_density(family, preparation(every))
    assert density.given == "row total"
    assert float(torch.tensor(density.values).logsumexp(0)) == pytest.approx(0.0, abs=1e-10)
