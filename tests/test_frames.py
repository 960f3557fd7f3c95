"""Tables come back as they went in: rows by their names, categories, booleans and whole numbers as such, no warning."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from cases import fitted, rows_of

from ppl_models import VAE, Mixture, NaiveBayes, fit, infer_schema, log_density, prepare, read, sample, split
from ppl_models.datasets import Column
from ppl_models.errors import InputError
from ppl_models.inference import (
    Gradient,
    class_probabilities,
    decode,
    encode,
    impute,
    reconstruct,
    tail_probabilities,
    to_arviz,
)

ROWS = 60
INDICES = {
    "text": pd.Index([f"customer {i}" for i in range(ROWS)], name="who"),
    "dates": pd.date_range("2026-01-01", periods=ROWS, freq="D"),
    "shuffled": pd.Index(np.random.default_rng(0).permutation(ROWS)),
    "repeated": pd.Index([0, 1] * (ROWS // 2)),
    "two levels": pd.MultiIndex.from_product([["a", "b"], range(ROWS // 2)], names=["shop", "visit"]),
    "named range": pd.RangeIndex(ROWS, name="row"),
}
RANDOM = np.random.default_rng(1)
SIZES = ["small", "medium", "large"]
CUTS = pd.cut(RANDOM.normal(size=ROWS), [-9, -0.5, 0.5, 9])
WORDS = RANDOM.choice(["tea", "coffee", "milk"], ROWS)
CELLS = {
    "real": RANDOM.normal(size=ROWS),
    "single precision": RANDOM.normal(size=ROWS).astype(np.float32),
    "nullable real": pd.array(RANDOM.normal(size=ROWS), dtype="Float64"),
    "count": RANDOM.poisson(4, ROWS),
    "small count": RANDOM.poisson(4, ROWS).astype(np.uint8),
    "nullable count": pd.array(RANDOM.poisson(4, ROWS), dtype="Int64"),
    "bit": RANDOM.integers(0, 2, ROWS),
    "boolean": RANDOM.integers(0, 2, ROWS).astype(bool),
    "nullable boolean": pd.array(RANDOM.integers(0, 2, ROWS).astype(bool), dtype="boolean"),
    "objects": pd.Series(WORDS, dtype=object),
    "text": pd.Series(WORDS, dtype="str"),
    "string": pd.array(WORDS, dtype="string"),
    "categories": pd.Categorical(WORDS),
    "numbered categories": pd.Categorical(RANDOM.choice([10, 20, 30], ROWS)),
    "ordered": pd.Categorical(RANDOM.choice(SIZES, ROWS), categories=SIZES, ordered=True),
    "intervals": CUTS,
    "dated categories": pd.Categorical(pd.to_datetime(RANDOM.choice(["2026-01-01", "2026-02-01"], ROWS))),
}
BACK = {
    "real": "float64",
    "single precision": "float64",
    "nullable real": "float64",
    "count": "int64",
    "small count": "int64",
    "nullable count": "int64",
    "bit": "int64",
    "boolean": "bool",
    "nullable boolean": "bool",
}  # of the others categories
KINDS = {"count": "count", "small count": "count", "nullable count": "count"}
HOLES = [
    "nullable real",
    "nullable count",
    "nullable boolean",
    "objects",
    "text",
    "string",
    "ordered",
    "intervals",
    "real",
]


def frame_of(*names: str) -> pd.DataFrame:
    return pd.DataFrame({name: CELLS[name] for name in names})


def mixture_of(frame: pd.DataFrame):
    """A mixture fitted to a table, and the table prepared."""
    schema = infer_schema(frame, kinds={name: KINDS[name] for name in frame if name in KINDS})
    rows = prepare(frame, schema)(frame)
    return fit(Mixture(schema, components=2), rows, seed=0).family, rows


def holed(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with some of its cells missing, by each type's own mark."""
    gone = np.random.default_rng(2).random(frame.shape) < 0.2
    return frame.assign(**{name: frame[name].mask(gone[:, place]) for place, name in enumerate(frame)})


@pytest.mark.parametrize("name", INDICES)
def test_rows_keep_their_names_whatever_is_asked_of_them(name):
    frame = frame_of("real", "count", "ordered").set_axis(INDICES[name])
    family, rows = mixture_of(frame)
    found = [
        class_probabilities(family, rows),
        tail_probabilities(family, rows, seed=0, draws=50),
        impute(family, prepare(frame, rows.schema)(holed(frame)), seed=0, draws=9).frame,
        class_probabilities(family, rows[:7]),
    ]
    for table in found[:3]:
        pd.testing.assert_index_equal(table.index, frame.index)
    pd.testing.assert_index_equal(found[3].index, frame.index[:7])
    pd.testing.assert_frame_equal(found[3], found[0].iloc[:7])


@pytest.mark.parametrize("name", ["text", "two levels"])
def test_codes_and_what_they_are_decoded_to_keep_the_names_of_their_rows(name):
    frame = frame_of("real", "count", "ordered").set_axis(INDICES[name])
    rows = prepare(frame, infer_schema(frame, kinds={"count": "count"}))(frame)
    family = fit(VAE(rows.schema, latent=2), rows, seed=0, method=Gradient(steps=5)).family
    for table in (encode(family, rows), reconstruct(family, rows), decode(family, encode(family, rows))):
        pd.testing.assert_index_equal(table.index, frame.index)
    pd.testing.assert_frame_equal(
        decode(family, encode(family, rows).to_numpy()), reconstruct(family, rows).reset_index(drop=True)
    )


def test_parts_of_a_table_keep_the_names_that_they_had_in_it():
    frame = frame_of("real", "categories").set_axis(INDICES["text"])
    parts = split(frame, seed=0)
    preparation = prepare(parts.train)
    family = fit(NaiveBayes(preparation.schema), preparation(parts.train), seed=0).family
    found = tail_probabilities(family, preparation(parts.test), seed=0, draws=50)
    assert parts.test.join(found).notna().all(axis=None)


def test_a_choice_of_rows_by_a_tensor_is_numbered_from_0():
    family, rows = mixture_of(frame_of("real", "count").set_axis(INDICES["text"]))
    found = class_probabilities(family, rows[torch.tensor([3, 1])])
    assert found.index.equals(pd.RangeIndex(2))


def test_rows_without_names_of_their_own_are_numbered_from_0():
    family, rows = mixture_of(frame_of("real", "count"))
    assert rows.index is None
    assert class_probabilities(family, rows).index.equals(pd.RangeIndex(ROWS))


def test_names_change_no_number():
    named, plain = frame_of("real", "count", "ordered").set_axis(INDICES["text"]), frame_of("real", "count", "ordered")
    (one, rows), (other, again) = mixture_of(named), mixture_of(plain)
    assert rows.checksum == again.checksum
    np.testing.assert_array_equal(log_density(one, rows).values, log_density(other, again).values)


@pytest.mark.parametrize("name", CELLS)
def test_draws_come_back_in_the_kind_of_their_cells(name):
    frame = frame_of(name, "real" if name != "real" else "bit")
    family, rows = mixture_of(frame)
    drawn = sample(family, 30, seed=0)
    wanted = BACK.get(name)
    if wanted is None:
        assert isinstance(drawn[name].dtype, pd.CategoricalDtype)
        given = pd.Series(CELLS[name]).astype("category")
        assert drawn[name].cat.categories.tolist() == given.cat.categories.tolist()
        assert drawn[name].cat.ordered == given.cat.ordered
        assert drawn[name].isin(given.tolist()).all()
    else:
        assert drawn[name].dtype == wanted
    assert list(drawn) == list(frame)
    assert prepare(frame, rows.schema)(drawn).complete


@pytest.mark.parametrize("name", HOLES)
def test_what_is_missing_is_filled_in_and_what_is_not_comes_back(name):
    whole = frame_of(name, "real" if name != "real" else "bit")
    frame = whole.assign(**{name: holed(whole)[name]})
    family, rows = mixture_of(frame)
    filled = impute(family, rows, seed=0, draws=20).frame
    seen = frame[name].notna().to_numpy()
    assert not seen.all()
    assert filled.notna().all(axis=None)
    given = frame[name][seen].astype(object)
    if BACK.get(name) == "float64":
        np.testing.assert_allclose(filled[name][seen], given.astype(float), rtol=1e-6)
    else:
        assert filled[name][seen].tolist() == given.tolist()
    assert filled[name].dtype == BACK.get(name, filled[name].dtype)


def test_categories_join_those_that_were_there_as_one_column():
    """Of one type: joined, they are a column of categories still, and in their order."""
    frame = frame_of("ordered", "boolean", "count", "real")
    both = pd.concat([frame, sample(mixture_of(frame)[0], 10, seed=0)], ignore_index=True)
    assert both.dtypes.to_dict() == frame.dtypes.to_dict()
    assert both["ordered"].max() == "large"


@pytest.mark.parametrize("label", ["ordered", "text", "boolean", "numbered categories"])
def test_labels_come_back_as_categories_in_their_order(label):
    frame = frame_of("real", label)
    schema = infer_schema(frame, label=label)
    family = fit(NaiveBayes(schema), prepare(frame, schema)(frame), seed=0).family
    drawn = sample(family, 20, seed=0)
    assert drawn[label].cat.ordered == (label == "ordered")
    assert (
        class_probabilities(family, prepare(frame, schema)(frame)).columns.tolist()
        == drawn[label].cat.categories.tolist()
    )
    assert set(drawn[label]) <= set(frame[label])


def test_arviz_gets_booleans_and_categories_as_whole_numbers():
    frame = frame_of("boolean", "ordered", "real")
    family, rows = mixture_of(frame)
    groups = to_arviz(family, rows, draws=30, seed=0)
    for group in ("observed_data", "posterior_predictive"):
        assert [groups[group][name].dtype for name in ("boolean", "ordered")] == [np.int64] * 2
    assert groups["observed_data"]["ordered"].attrs["categories"] == SIZES
    np.testing.assert_array_equal(groups["observed_data"]["ordered"], frame["ordered"].cat.codes)


def test_a_table_goes_to_a_file_and_back_to_the_last_bit(tmp_path):
    frame = frame_of("real", "count", "text", "boolean")
    schema = infer_schema(frame, kinds={"count": "count"})
    frame.to_csv(tmp_path / "x.csv", index=False)
    again = read(tmp_path / "x.csv")
    assert infer_schema(again, kinds={"count": "count"}) == schema
    assert prepare(frame, schema)(frame).checksum == prepare(frame, schema)(again).checksum


@pytest.mark.parametrize("name", INDICES)
def test_rows_are_pickled_with_their_names(name):
    frame = frame_of("real", "ordered").set_axis(INDICES[name])
    again = pickle.loads(pickle.dumps(prepare(frame)(frame)))
    pd.testing.assert_index_equal(again.names, frame.index)


def test_the_callers_table_is_left_as_it_was():
    frame = holed(frame_of(*CELLS)).set_axis(INDICES["text"])
    before = frame.copy(deep=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        family, rows = mixture_of(frame)
        impute(family, rows, seed=0, draws=5)
        class_probabilities(family, rows)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("kind", "option", "message"),
    [
        ("count", "ordered", "only a categorical column is ordered"),
        ("real", "boolean", "only a binary column is boolean"),
    ],
)
def test_what_has_no_order_and_no_booleans_is_refused(kind, option, message):
    with pytest.raises(InputError, match=f"column 'x': {message}, got a {kind} one"):
        Column("x", kind, **{option: True})


def test_a_mixture_of_a_bundled_table_keeps_the_order_of_shuffled_rows():
    rows = rows_of("fast_food_customers", 150)
    found = class_probabilities(fitted("mixture of mixed columns").family, rows)
    assert sorted(found.index) != found.index.tolist()
    pd.testing.assert_index_equal(found.index, rows.index)
