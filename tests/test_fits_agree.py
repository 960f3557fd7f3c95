"""Fits by other ways end in the same place: other gradients, batches, weights, and counting by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from cases import rows_of

from ppl_models.datasets import load, prepare
from ppl_models.families import GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import Gradient, NaturalGradient, estimate_elbo, fit, log_density


@pytest.mark.parametrize(
    "make",
    [
        NaiveBayes,
        lambda schema: GaussianMixture(schema, components=2),
        lambda schema: GaussianMixture(schema, components=2, covariance="full"),
    ],
)
def test_natural_and_ordinary_gradients_reach_the_same_elbo(make):
    rows = rows_of("iris", 150)
    natural = fit(make(rows.schema), rows, seed=0, method=NaturalGradient(restarts=1))
    ordinary = fit(make(rows.schema), rows, seed=0, method=Gradient(steps=450, batch_size=None, learning_rate=0.1))
    estimate = estimate_elbo(ordinary.family, rows, seed=3, particles=60)
    assert estimate.mean == pytest.approx(natural.elbo, abs=0.01)


def test_minibatches_end_where_all_rows_end():
    bundled = load("fast_food_spending")
    rows = prepare(bundled.frame, bundled.schema)(bundled.frame)
    methods = NaturalGradient(), NaturalGradient(batch_size=100)
    whole, parts = (fit(GaussianMixture(rows.schema, components=2), rows, seed=0, method=one) for one in methods)
    assert parts.elbo == pytest.approx(whole.elbo, abs=1e-5)


def test_row_weights_count_rows():
    """A row of weight 2 is a row that occurs twice."""
    bundled = load("iris")
    frame = bundled.frame.head(90)
    doubled = pd.concat([frame, frame.head(30)])
    preparation = prepare(frame, bundled.schema)
    weighted = fit(
        NaiveBayes(bundled.schema, labelled=False), preparation(frame, weights=np.repeat([2.0, 1.0], [30, 60])), seed=0
    )
    repeated = fit(NaiveBayes(bundled.schema, labelled=False), preparation(doubled), seed=0)
    assert weighted.elbo == pytest.approx(repeated.elbo, rel=1e-12)
    torch.testing.assert_close(weighted.family.guide.natural(), repeated.family.guide.natural(), rtol=1e-10, atol=1e-10)


def test_weighted_rows_count_alike_in_both_fits_and_in_pyro():
    """Natural gradients' ELBO of weighted rows is Pyro's of the pair, whose plate counts each row by its weight."""
    rows = rows_of("fast_food_customers", 300)
    weighted = rows.weighted(torch.linspace(0, 3, 300, dtype=torch.float64))
    found = fit(Mixture(rows.schema, components=3), weighted, seed=0)
    estimate = estimate_elbo(found.family, weighted, seed=1)
    assert estimate.mean == pytest.approx(found.elbo, rel=1e-8)


def test_wrodl_outfits_have_the_probabilities_of_one_added_to_every_count():
    table = load("wrodl")
    preparation = prepare(table.frame, table.schema)
    family = fit(NaiveBayes(table.schema), preparation(table.frame), seed=0).family
    outfits = pd.DataFrame(
        {
            "top": ["ShortHairShortFlat", "LongHairBun"],
            "hair_colour": "Black",
            "accessories": "Sunglasses",
            "clothing": "Overall",
            "clothing_colour": "White",
        }
    )
    found = np.exp(log_density(family, preparation(outfits)).values)
    assert found[0] == pytest.approx(12 / 57 * 8 / 56 * 18 / 53 * 19 / 54 * 7 / 58, rel=1e-8)
    assert found[1] == pytest.approx(1 / 57 * 8 / 56 * 18 / 53 * 19 / 54 * 7 / 58, rel=1e-8)
