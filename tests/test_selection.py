"""Criteria are those of other software, and the table of a selection holds what its cells come to one by one."""

from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
import torch
from cases import rows_of
from scipy import stats

from ppl_models.datasets import Column, Schema, infer_schema, load, prepare
from ppl_models.distributions import WeightsPrior
from ppl_models.errors import InputError
from ppl_models.families import Autoencoder, GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import (
    CollapseError,
    Fit,
    Gradient,
    NaturalGradient,
    Selection,
    criteria,
    fit,
    log_density,
    occupied_components,
    select_components,
)

ML = "maximum-likelihood"
FAST = NaturalGradient(restarts=2, starts=4)
SKLEARN = {"spherical": "VII", "diag": "VVI", "tied": "EEE", "full": "VVV"}
COVARIANCE_PARAMETERS = {  # mclust's nVarParams of K classes and d columns, with r = d(d − 1)/2 angles of a rotation
    "EII": lambda k, d, r: 1,
    "VII": lambda k, d, r: k,
    "EEI": lambda k, d, r: d,
    "VEI": lambda k, d, r: k + d - 1,
    "EVI": lambda k, d, r: 1 + k * (d - 1),
    "VVI": lambda k, d, r: k * d,
    "EEE": lambda k, d, r: d + r,
    "VEE": lambda k, d, r: k + d - 1 + r,
    "EVE": lambda k, d, r: 1 + k * (d - 1) + r,
    "VVE": lambda k, d, r: k * d + r,
    "EEV": lambda k, d, r: d + k * r,
    "VEV": lambda k, d, r: k + d - 1 + k * r,
    "EVV": lambda k, d, r: 1 + k * (d - 1) + k * r,
    "VVV": lambda k, d, r: k * (d + r),
}


@cache
def iris_fit(covariance: str) -> Fit:
    rows = rows_of("iris", 150)
    return fit(GaussianMixture(rows.schema, components=2, covariance=covariance, estimate=ML), rows, seed=0)


@pytest.mark.parametrize("theirs", SKLEARN)
def test_bic_and_aic_are_those_of_scikit_learn(theirs):
    """Its signs are opposite; both EMs are carried to their ends from the same start."""
    found, rows = iris_fit(SKLEARN[theirs]), rows_of("iris", 150)
    raw = (rows.values * rows.scale + rows.loc).numpy()
    first = found.family.log_joint(rows).argmax(1).numpy()
    means = np.array([raw[first == k].mean(0) for k in (0, 1)])
    settings = {"tol": 1e-12, "max_iter": 5000, "reg_covar": 0.0, "means_init": means, "random_state": 0}
    model = sklearn.mixture.GaussianMixture(2, covariance_type=theirs, **settings).fit(raw)
    assert found.bic == pytest.approx(-model.bic(raw), abs=1e-4)
    assert found.aic == pytest.approx(-model.aic(raw), abs=1e-4)


def test_criteria_of_iris_are_those_that_mclust_publishes():
    """Scrucca, Fop, Murphy and Raftery (2016), and mclust's manual: VEV with two components."""
    found = iris_fit("VEV")
    assert found.log_likelihood == pytest.approx(-215.726, abs=5e-4)
    assert (found.n_parameters, found.criteria.rows) == (26, 150)
    assert found.bic == pytest.approx(-561.7285, abs=2e-4)
    assert found.icl == pytest.approx(-561.7289, abs=2e-4)


@pytest.mark.parametrize("components", [1, 2, 5])
@pytest.mark.parametrize("covariance", COVARIANCE_PARAMETERS)
def test_gaussian_parameters_are_counted_as_mclust_counts_them(covariance, components):
    schema, d = load("iris").schema, 4
    expected = components - 1 + components * d + COVARIANCE_PARAMETERS[covariance](components, d, d * (d - 1) // 2)
    assert GaussianMixture(schema, components=components, covariance=covariance).n_parameters == expected


def test_parameters_of_mixed_columns_are_counted():
    """Of three components: 2 weights, 3·2 means, 3·3 covariances, 3 rates, 3 probabilities, 3·2 and 3·2 shares."""
    dishes = tuple(Column(name, "categorical", ("a", "b", "c")) for name in ("dish", "side"))
    numbers = (Column("age", "real"), Column("dollars", "positive"), Column("visits", "count"))
    schema = Schema((*numbers, Column("car", "binary"), *dishes))
    assert Mixture(schema, components=3, covariance="VVV").n_parameters == 2 + 6 + 9 + 3 + 3 + 6 + 6
    latent_classes = Schema(dishes)
    assert Mixture(latent_classes, components=4).n_parameters == 3 + 4 * 2 * 2


def test_the_log_likelihood_is_in_raw_units():
    frame = pd.DataFrame({"dollars": [3.0, 9.5, 4.0, 12.0, 30.0, 2.5]})
    rows = prepare(frame, schema := infer_schema(frame, kinds={"dollars": "positive"}))(frame)
    logs = np.log(frame["dollars"])
    expected = stats.lognorm(logs.std(ddof=0), scale=np.exp(logs.mean())).logpdf(frame["dollars"]).sum()
    found = fit(Mixture(schema, components=1, estimate=ML), rows, seed=0)
    assert found.log_likelihood == pytest.approx(expected, rel=1e-10)
    assert found.icl == pytest.approx(2 * expected - 2 * np.log(6), rel=1e-10)


def test_a_row_of_weight_two_counts_as_two_rows():
    rows = rows_of("iris", 150)
    found = iris_fit("EEE").family
    twice = criteria(found, rows.weighted(rows.weights * 2))
    assert twice.log_likelihood == pytest.approx(2 * criteria(found, rows).log_likelihood)
    assert twice.bic == pytest.approx(2 * twice.log_likelihood - 19 * np.log(300))


def test_a_labelled_family_is_scored_with_the_class_summed_out():
    rows = rows_of("wine", 178)
    found = fit(NaiveBayes(rows.schema, estimate=ML), rows, seed=0)
    assert found.log_likelihood == pytest.approx(log_density(found.family, rows).values.sum())


@pytest.mark.parametrize("name", ["log_likelihood", "n_parameters", "bic", "aic", "icl"])
def test_a_posterior_has_no_criteria(name):
    rows = rows_of("iris", 150)
    found = fit(GaussianMixture(rows.schema, components=1), rows, seed=0)
    with pytest.raises(InputError, match=r"GaussianMixture: has no log-likelihood.*estimate='maximum-likelihood'"):
        getattr(found, name)
    with pytest.raises(InputError, match=r"got estimate 'bayes'.*estimate='maximum-likelihood'"):
        criteria(found.family, rows)
    with pytest.raises(InputError, match="criteria: expected naive Bayes or a mixture, got Autoencoder"):
        criteria(Autoencoder(rows.schema, latent=1), rows)


def test_a_point_estimate_by_gradients_has_criteria_too():
    rows = rows_of("wrodl", 50)
    family = NaiveBayes(rows.schema, labelled=False, estimate=ML)
    found = fit(family, rows, seed=0, method=Gradient(steps=5, batch_size=None))
    assert found.log_likelihood == pytest.approx(log_density(found.family, rows).values.sum())
    assert found.states is None


def clusters(rows: int = 60, *, seed: int = 0) -> tuple[pd.DataFrame, Schema]:
    """Two clusters in two columns, a third of the cells of the second missing, and a row without any cell."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(0, 1, (rows, 2)), columns=["x", "y"])
    frame.loc[: rows // 2 - 1, "x"] += 6
    frame.loc[::3, "y"] = np.nan
    frame.loc[5] = np.nan
    return frame, infer_schema(frame)


@pytest.fixture(scope="module")
def selected() -> pd.DataFrame:
    frame, schema = clusters()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppl_models.inference.selection.fit", partial(fit, method=FAST))
        grid = {"components": [1, 2, 3], "covariances": ["VVI", "VEV"]}
        method = Selection(folds=4, draws=200)
        return select_components(frame, schema, make=GaussianMixture, **grid, seed=0, method=method)


def test_the_table_finds_two_clusters(selected):
    assert selected["components"].iloc[0] == 2
    assert selected.attrs["rows"] == 59
    assert selected["elpd_kfold"].is_monotonic_decreasing
    conjugate = selected[selected["covariance"] == "VVI"].set_index("components")
    for name in ("elbo", "elpd_loo", "bic_higher_is_better", "icl_higher_is_better", "aic_higher_is_better"):
        assert conjugate[name].idxmax() == 2


def test_what_needs_a_posterior_is_missing_where_there_is_none(selected):
    missing = selected.set_index("covariance")[["elbo", "elpd_loo", "elpd_loo_se", "khat_high"]].isna()
    assert missing.loc["VEV"].all(axis=None)
    assert not missing.loc["VVI"].any(axis=None)
    assert selected[["log_likelihood", "elpd_kfold", "elpd_kfold_dse"]].notna().all(axis=None)


def test_held_out_densities_are_those_of_folds_fitted_by_hand(selected):
    frame, schema = clusters()
    rows, scores = frame.dropna(how="all"), []
    for fold in np.array_split(np.random.default_rng(0).permutation(59), 4):
        train, test = rows.drop(rows.index[fold]), rows.iloc[np.sort(fold)]
        preparation = prepare(train, schema)
        family = fit(GaussianMixture(schema, components=2), preparation(train), seed=0, method=FAST).family
        scores.append(log_density(family, preparation(test)).values)
    cell = selected[(selected["covariance"] == "VVI") & (selected["components"] == 2)].iloc[0]
    assert cell["elpd_kfold"] == pytest.approx(np.concatenate(scores).mean(), rel=1e-12)
    assert cell["elpd_kfold_se"] == pytest.approx(stats.sem(np.concatenate(scores)), rel=1e-12)


def test_differences_are_from_the_best_and_leave_one_out_agrees_with_folds(selected):
    best = selected.iloc[0]
    assert (best["elpd_kfold_diff"], best["elpd_kfold_dse"]) == (0, 0)
    np.testing.assert_allclose(selected["elpd_kfold_diff"], selected["elpd_kfold"] - best["elpd_kfold"], atol=1e-12)
    enough = selected[(selected["covariance"] == "VVI") & (selected["components"] < 3)]
    assert (enough["elpd_loo"] - enough["elpd_kfold"]).abs().max() < 0.05


def test_processes_change_no_bit():
    frame, schema = clusters(30)
    one, two = (
        select_components(
            frame, schema, make=Mixture, components=[1, 2], seed=1, method=Selection(folds=2, draws=50, jobs=jobs)
        )
        for jobs in (1, 2)
    )
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_a_likelihood_without_a_maximum_is_noted():
    frame = pd.DataFrame({"x": np.repeat([0.0, 2.0, 3.0, 5.0, 7.0, 9.0], 6)})
    schema = infer_schema(frame, kinds={"x": "real"})
    found = select_components(
        frame, schema, make=Mixture, components=[5], seed=0, method=Selection(folds=2, draws=25)
    ).iloc[0]
    assert "maximum likelihood: every start came to a degenerate component" in found["note"]
    assert np.isnan([found["log_likelihood"], found["bic_higher_is_better"]]).all()
    assert np.isfinite([found["elbo"], found["elpd_kfold"], found["elpd_loo"]]).all()
    with pytest.raises(CollapseError, match="every start came to a degenerate component"):
        fit(Mixture(schema, components=5, estimate=ML), prepare(frame, schema)(frame), seed=0)


def test_fits_cut_short_and_priors_without_a_likelihood_are_noted(monkeypatch):
    monkeypatch.setattr("ppl_models.inference.selection.fit", partial(fit, method=NaturalGradient(steps=2)))
    frame, schema = clusters(30)
    sticks = partial(Mixture, weights=WeightsPrior("stick-breaking"))
    found = select_components(
        frame, schema, make=sticks, components=[3], seed=0, method=Selection(folds=2, draws=25)
    ).iloc[0]
    assert found["note"].startswith("fold 1: reached its limit of 2 passes; fold 2: reached its limit of 2 passes")
    assert "maximum likelihood: process 'stick-breaking': expected estimate 'bayes'" in found["note"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": []}, "expected one or more components and covariances, got none"),
        ({"covariances": ()}, "expected one or more components and covariances, got none"),
        ({"components": [2, 25]}, "as many different rows as components, got 23 among 23 rows for 25 components"),
        ({"components": [0]}, "components: expected a whole number from 1, got 0"),
        ({"covariances": ["VVX"]}, "expected one of EII, VII, .*; got 'VVX'"),
        ({"method": Selection(folds=30)}, "folds: expected at most as many as there are rows, got 30 for 29 rows"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(options, message):
    frame, schema = clusters(30)
    with pytest.raises(InputError, match=message):
        select_components(frame, schema, make=Mixture, seed=0, **{"components": [1], **options})


@pytest.mark.parametrize(("name", "value", "least"), [("folds", 1, 2), ("draws", 24, 25)])
def test_too_little_to_select_by_is_refused(name, value, least):
    with pytest.raises(InputError, match=f"Selection: {name}: expected {least} or more, got {value}"):
        Selection(**{name: value})


@pytest.mark.parametrize("prior", [WeightsPrior(concentration=0.01), WeightsPrior("stick-breaking", 1.0)])
def test_a_sparse_prior_occupies_as_many_components_as_there_are_clusters(prior, monkeypatch):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal([[0.0], [20.0], [40.0]], 1, (3, 50)).ravel()})
    rows = prepare(frame, schema := infer_schema(frame))(frame)
    family = fit(Mixture(schema, components=10, weights=prior), rows, seed=0).family
    found = occupied_components(family, rows, draws=200, seed=0)
    assert found["probability"].sum() == pytest.approx(1)
    assert found.set_index("components")["probability"][3] >= 0.95
    assert found.attrs["mean"] == pytest.approx(3, abs=0.1)


def test_occupied_components_have_the_mean_of_the_responsibilities(monkeypatch):
    """Σ_k 1 − Π_rows (1 − responsibility), within 4.5 standard errors; draws are made in chunks; false alarms 7e-6."""
    monkeypatch.setattr("ppl_models.inference.occupancy.CELLS_AT_ONCE", 1000)
    rows = rows_of("iris", 150)
    family = fit(Mixture(rows.schema, components=6), rows, seed=0, method=FAST).family
    shares = family.expected_log_joint(family.features(rows), family.guide.natural()).detach().softmax(-1)
    doubtful = shares.amax(-1).argsort()[:4]
    few = rows.weighted(torch.zeros_like(rows.weights).index_fill(0, doubtful, 1.0))
    found = occupied_components(family, few, draws=4000, seed=1)
    expected = float((1 - (1 - shares[doubtful]).prod(0)).sum())
    variance = float(found["probability"] @ (found["components"] - found.attrs["mean"]) ** 2)
    assert abs(found.attrs["mean"] - expected) < 4.5 * (variance / 4000) ** 0.5
