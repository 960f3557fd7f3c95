"""The faces keep scikit-learn's contract to the letter, and say what the families say."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import ppl_models as ppl
from ppl_models import GaussianMixtureDensity, MixtureDensity, NaiveBayesClassifier, VAEDensity
from ppl_models.datasets import Column, Schema, conform, infer_schema, load, prepare
from ppl_models.errors import InputError
from ppl_models.estimators.fitted import seed_of
from ppl_models.estimators.tables import distinct_rows
from ppl_models.inference import class_probabilities, fit, log_density, reconstruct

X, Y = load_iris(return_X_y=True)
FACES = {
    "naive Bayes": NaiveBayesClassifier(),
    "mixture": MixtureDensity(n_init=4, random_state=0),
    "Gaussian mixture": GaussianMixtureDensity(n_init=4, random_state=0),
    "VAE": VAEDensity(max_iter=20, hidden=(8,), draws=20, random_state=0),
}
DENSITIES = {name: face for name, face in FACES.items() if name != "naive Bayes"}


def mixed(rows: int = 200) -> pd.DataFrame:
    """A frame of reals, counts, bits and text, some cells of each missing."""
    random = np.random.default_rng(0)
    group = random.integers(0, 2, rows)
    frame = pd.DataFrame(
        {
            "spent": random.normal(10 + 5 * group, 2.0),
            "visits": random.poisson(2 + 4 * group).astype(float),
            "member": random.integers(0, 2, rows).astype(float),
            "drink": np.array(["tea", "milk", "water"], dtype=object)[random.integers(0, 3, rows)],
        }
    )
    return frame.mask(random.random(frame.shape) < 0.1).assign(spent=frame["spent"])


def directly(face, frame: pd.DataFrame):
    """The family of a face fitted by the package's own journey to the same rows."""
    schema = infer_schema(frame)
    distinct, weights = distinct_rows(conform(frame, schema), np.ones(len(frame)))
    preparation = prepare(distinct, schema, weights=weights)
    rows = preparation(distinct, weights=weights)
    found = fit(face._family(schema), rows, seed=seed_of(face.random_state), method=face._method())
    return found.family, preparation(frame)


@parametrize_with_checks(list(FACES.values()))
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", DENSITIES)
def test_a_face_scores_rows_as_its_family_fitted_directly(name):
    frame = pd.DataFrame(X, columns=list("abcd")) if name == "Gaussian mixture" else mixed()
    face = clone(FACES[name]).fit(frame)
    family, rows = directly(face, frame)
    draws = {"seed": seed_of(0), "draws": 20} if name == "VAE" else {}
    np.testing.assert_allclose(face.score_samples(frame), log_density(family, rows, **draws).values, atol=1e-10)
    assert face.score(frame) == face.score_samples(frame).mean()


def test_a_naive_bayes_face_scores_and_classifies_as_the_family():
    frame = mixed().assign(late=np.random.default_rng(1).integers(0, 2, 200))
    schema = infer_schema(frame, label="late")
    rows = prepare(frame, schema)(frame)
    family = fit(ppl.NaiveBayes(schema), rows, seed=0).family
    face = NaiveBayesClassifier().fit(frame.drop(columns="late"), frame["late"])
    seen = frame.drop(columns="late")
    np.testing.assert_allclose(face.score_samples(seen), log_density(family, rows).values, atol=1e-10)
    np.testing.assert_allclose(face.predict_proba(seen), class_probabilities(family, rows), atol=1e-10)


def test_without_a_prior_it_is_gaussian_naive_bayes():
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    ours = NaiveBayesClassifier(estimate="maximum-likelihood").fit(X, Y, weights)
    theirs = GaussianNB(var_smoothing=0.0).fit(X, Y, weights)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-8)
    joint = theirs.predict_joint_log_proba(X)
    np.testing.assert_allclose(ours.score_samples(X), np.logaddexp.reduce(joint, axis=1), atol=1e-8)


def test_many_rows_leave_nothing_of_the_prior():
    ours, theirs = NaiveBayesClassifier().fit(X, Y, np.full(len(X), 1e6)), GaussianNB(var_smoothing=0.0).fit(X, Y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("name", FACES)
def test_weights_are_repeated_rows_and_order_is_nothing_bit_for_bit(name):
    frame, random = mixed(60), np.random.default_rng(2)
    frame, y = (X[::3], Y[::3]) if name == "Gaussian mixture" else (frame, random.integers(0, 2, 60))
    order, weights = random.permutation(len(y)), random.integers(0, 4, len(y))
    take = (lambda rows: frame[rows]) if name == "Gaussian mixture" else (lambda rows: frame.iloc[rows])
    weighted = clone(FACES[name]).fit(take(order), y[order], weights[order])
    rows = np.repeat(np.arange(len(y)), weights)
    repeated = clone(FACES[name]).fit(take(rows), y[rows])
    assert np.array_equal(weighted.score_samples(frame), repeated.score_samples(frame))


@pytest.mark.parametrize("name", ["mixture", "Gaussian mixture"])
def test_a_score_is_in_the_units_of_x(name):
    face, scaled = clone(FACES[name]).fit(X), clone(FACES[name]).fit(10 * X)
    assert face.score(X) - scaled.score(10 * X) == pytest.approx(4 * np.log(10), abs=1e-6)


def test_pipelines_and_cross_validation_take_them():
    classifier = make_pipeline(StandardScaler(), NaiveBayesClassifier(covariance="EEE"))
    assert cross_val_score(classifier, X, Y, cv=3).mean() > 0.95
    codes = make_pipeline(VAEDensity(max_iter=400, random_state=0), LogisticRegression())
    assert codes.fit(X, Y).score(X, Y) > 0.8


def test_a_grid_search_compares_held_out_nats_per_row():
    three = np.random.default_rng(0).normal(np.repeat([-8.0, 0.0, 8.0], 50), 1.0)[:, None]
    face = GaussianMixtureDensity(n_init=8, random_state=0)
    search = GridSearchCV(face, {"n_components": [1, 3]}, cv=3).fit(np.random.default_rng(1).permutation(three))
    truth = -np.log(3) - 0.5 * np.log(2 * np.pi) - 0.5
    assert search.best_params_ == {"n_components": 3} and search.best_score_ == pytest.approx(truth, abs=0.2)


def test_codes_come_as_frames_and_go_back_to_rows():
    frame = mixed()
    face = clone(FACES["VAE"]).set_output(transform="pandas").fit(frame)
    codes = face.transform(frame)
    assert list(codes) == ["vaedensity0", "vaedensity1"] and codes.index.equals(frame.index)
    back = face.inverse_transform(codes)
    pd.testing.assert_frame_equal(back, reconstruct(face.family_, face.family_.preparation(frame)))
    some = make_column_transformer((face, ["spent", "visits"]), remainder="passthrough")
    assert some.fit(frame).get_feature_names_out()[0] == "vaedensity__vaedensity0"


def test_a_bound_by_many_draws_is_above_the_elbo():
    face = clone(FACES["VAE"]).fit(X)
    assert face.set_params(draws=1000).score(X) > face.fitted_.elbo + 0.05


def test_a_frames_cells_speak_for_kinds_and_kinds_go_before_them():
    frame = mixed()
    seen = {"spent": "real", "visits": "count", "member": "binary", "drink": "categorical"}
    face = clone(FACES["mixture"])
    assert face.fit(frame).family_.schema.kinds == seen
    face.set_params(kinds={"spent": "positive", 1: "real"}).fit(frame.assign(spent=frame["spent"].abs()))
    assert face.family_.schema.kinds == seen | {"spent": "positive", "visits": "real"}
    levels = Column("drink", "categorical", ("tea", "milk", "water", "wine"))
    face.set_params(kinds={"drink": levels}).fit(frame)
    assert np.isfinite(face.score_samples(frame.head(1).assign(drink="wine"))).all()


def test_categories_that_a_fold_lacks_are_told_by_the_frame():
    rare = pd.DataFrame({"drink": pd.Categorical(["tea", "milk"] * 30 + ["wine"] * 3)})
    scores = cross_val_score(clone(FACES["mixture"]), rare, cv=3, error_score="raise")
    assert np.isfinite(scores).all()


def test_an_arrays_columns_are_real_unless_kinds_say_otherwise():
    codes = np.random.default_rng(0).integers(0, 3, (60, 2))
    assert set(MixtureDensity(n_init=2).fit(codes).family_.schema.kinds.values()) == {"real"}
    assert set(MixtureDensity(n_init=2, kinds="categorical").fit(codes).family_.schema.kinds.values()) == {
        "categorical"
    }
    one = MixtureDensity(n_init=2, kinds={1: "count"}).fit(codes)
    assert one.family_.schema.kinds == {"x0": "real", "x1": "count"}
    pixels = Schema(tuple(Column(f"x{index}", "real") for index in range(4)), image_shape=(2, 2))
    assert MixtureDensity(n_init=2, kinds=pixels).fit(X).family_.schema == pixels


def test_missing_cells_are_integrated_out():
    holes = X.copy()
    holes[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    holes[:, 0] = X[:, 0]
    for name, face in FACES.items():
        assert np.isfinite(clone(face).fit(holes, Y).score_samples(holes)).all(), name
    classifier = NaiveBayesClassifier().fit(holes, Y)
    nothing = np.full((1, 4), np.nan)
    assert classifier.score_samples(nothing) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(classifier.predict_proba(nothing), [[1 / 3, 1 / 3, 1 / 3]], atol=1e-12)


@pytest.mark.parametrize("name", FACES)
def test_a_face_survives_pickling_and_clones_are_not_fitted(name):
    face = clone(FACES[name]).fit(X, Y)
    again = pickle.loads(pickle.dumps(face))
    assert np.array_equal(face.score_samples(X), again.score_samples(X))
    assert not hasattr(clone(face), "family_") and clone(face).get_params() == face.get_params()


@pytest.mark.parametrize("name", DENSITIES)
def test_new_rows_come_in_the_form_of_x(name):
    face = clone(FACES[name])
    drawn = face.fit(X).sample(5, random_state=1)
    assert drawn.shape == (5, 4) and np.array_equal(drawn, face.sample(5, random_state=1))
    assert not np.array_equal(drawn, face.sample(5, random_state=2))
    frame = load("iris").frame[list(load("iris").schema.names)]
    assert list(face.fit(frame).sample(2)) == list(frame)


def test_clusters_are_the_most_probable_components():
    face = clone(FACES["mixture"]).set_params(n_components=3)
    labels = face.fit_predict(X)
    assert np.array_equal(labels, face.predict_proba(X).argmax(1)) and set(labels) == {0, 1, 2}


REFUSED = {
    "one class": (lambda: NaiveBayesClassifier().fit(X[:50], Y[:50]), "y: expected two or more classes, got only one"),
    "negative weight": (lambda: MixtureDensity().fit(X, None, -np.ones(150)), "expected 150 finite numbers from 0"),
    "too few weights": (lambda: MixtureDensity().fit(X, None, [1.0]), "expected 150 finite numbers from 0"),
    "kinds of nothing": (lambda: MixtureDensity(kinds=3).fit(X), "kinds: expected a kind, a schema, .* got int"),
    "no such position": (lambda: MixtureDensity(kinds={4: "real"}).fit(X), "positions from 0 to 3, got 4"),
    "no such column": (lambda: MixtureDensity(kinds={"z": "real"}).fit(X), "no column 'z'"),
    "discrete": (lambda: GaussianMixtureDensity(kinds="count").fit(X.round()), "expected real or positive columns"),
    "no component": (lambda: MixtureDensity(0).fit(X), "components: expected a whole number from 1, got 0"),
    "constant": (lambda: VAEDensity().fit(np.ones((9, 2))), r"column 'x0': is constant \(1.0\)"),
    "unseen category": (
        lambda: clone(FACES["mixture"]).fit(mixed()).score(mixed().assign(drink="wine")),
        "column 'drink', row 1: expected one of milk, tea, water, got 'wine'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_by_name(name):
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        make()


def test_the_faces_can_be_had_from_the_package():
    assert ppl.VAEDensity is VAEDensity and ppl.NaiveBayesClassifier is NaiveBayesClassifier
