"""A row of weight 2 is a row that occurs twice, one of weight 0 is not there, wherever something is learned of rows."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from cases import BASKETS, table_of

from ppl_models.datasets import Column, Dataset, Schema, prepare
from ppl_models.errors import InputError
from ppl_models.families import VAE, Mixture, NaiveBayes
from ppl_models.inference import fit

TABLES = {"iris": {}, "fast_food_customers": {}, "wrodl": {"smoothing": 0.5}, BASKETS: {"counts": "multinomial"}}


def weighed(name: str) -> tuple[Schema, pd.DataFrame, np.ndarray, pd.DataFrame]:
    """A schema, some rows and their weights from 0 to 3, and the rows as often as their weights say."""
    table = table_of(name)
    frame = table.frame.head(120)
    weights = np.random.default_rng(0).integers(0, 4, len(frame))
    return table.schema, frame, weights, frame.iloc[np.repeat(np.arange(len(frame)), weights)]


def both(name: str) -> tuple[Dataset, Dataset]:
    """The same rows by weights and repeated."""
    schema, frame, weights, repeated = weighed(name)
    preparation = prepare(frame, schema, weights=weights)
    return preparation(frame, weights=weights), preparation(repeated)


@pytest.mark.parametrize("name", TABLES)
def test_weights_and_repeated_rows_are_prepared_alike(name):
    schema, frame, weights, repeated = weighed(name)
    weighted, plain = prepare(frame, schema, weights=weights), prepare(repeated, schema)
    torch.testing.assert_close(weighted.loc, plain.loc, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(weighted.scale, plain.scale, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", TABLES)
def test_weights_and_repeated_rows_start_and_end_alike(name):
    weighted, repeated = both(name)
    make = partial(Mixture, weighted.schema, components=3, **TABLES[name])
    starts = [make().start(rows, restarts=4, seed=0) for rows in (weighted, repeated)]
    place = torch.arange(len(weighted)).repeat_interleave(weighted.weights.long())
    assert torch.equal(starts[0][:, place], starts[1])
    found = [fit(make(), rows, seed=0) for rows in (weighted, repeated)]
    assert found[0].elbo == pytest.approx(found[1].elbo, rel=1e-10)
    natural = [each.family.guide.natural() for each in found]
    torch.testing.assert_close(natural[0], natural[1], rtol=1e-5, atol=1e-5)


def test_new_baskets_are_as_full_as_the_weights_say():
    weighted, repeated = both(BASKETS)
    totals = [fit(NaiveBayes(rows.schema, counts="multinomial"), rows, seed=0).family for rows in (weighted, repeated)]
    (one,), (other,) = ([block.totals for block in family.row] for family in totals)
    assert torch.equal(one, other) and len(one.unique()) > 5


def test_an_encoder_centres_bits_by_their_weights():
    frame, schema = pd.DataFrame({"x": [0, 0, 1, 1]}), Schema((Column("x", "binary"),))
    family = VAE(schema, latent=1)
    family.adopt(prepare(frame, schema)(frame, weights=np.array([1, 0, 2, 1])))
    assert family.guide.encoder.shares.tolist() == [0.75]


def test_components_are_not_more_than_the_rows_that_count():
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0]})
    weights = np.array([1.0, 2.0, 0.0])
    rows = prepare(frame, weights=weights)(frame, weights=weights)
    with pytest.raises(InputError, match="as many different rows as components, got 2"):
        fit(Mixture(rows.schema, components=3), rows, seed=0)


def test_one_row_that_stands_for_many_is_enough_for_bits_and_for_no_density():
    bits, reals = pd.DataFrame({"x": [1, 0]}), pd.DataFrame({"x": [1.5, 2.5]})
    weights = np.array([3.0, 0.0])
    assert prepare(bits, Schema((Column("x", "binary"),)), weights=weights).scale.tolist() == [1.0]
    with pytest.raises(InputError, match=r"is constant \(1.5\)"):
        prepare(reals, weights=weights)
    with pytest.raises(InputError, match="expected two or more training rows, got 1"):
        prepare(bits, Schema((Column("x", "binary"),)), weights=weights / 3)
