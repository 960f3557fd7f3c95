"""ArviZ reads a fitted family: every number in its groups against a computation that shares no code with them."""

import arviz as az
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from cases import build, fitted, rows_of
from scipy import stats
from scipy.special import logsumexp

import ppl_models
from ppl_models.datasets import infer_schema, load, prepare
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import psis_loo
from ppl_models.families import GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import encode, estimate_elbo, fit, log_density, log_evidence, parameter_draws, to_arviz
from ppl_models.inference.refined import guide_draws, log_joint_given

ONE = int(az.__version__.split(".")[0]) >= 1
FALSE_ALARM = 1e-5
FILED = ["naive Bayes, all labels known", "mixture, negative binomial", "mixture, multinomial"]
FILED += ["mixture, Dirichlet process", "Gaussian mixture, tied, cells missing"]
AMORTISED = ["VAE of mixed columns", "conditional VAE", "semi-supervised", "hierarchical"]


def bridged(name: str, draws: int = 200, **options):
    """A case's fit and rows, and what ArviZ gets of them."""
    found, rows = fitted(name), build(name)[1]
    return found.family, rows, to_arviz(found, rows, draws=draws, seed=1, **options)


def drawn(groups) -> xr.Dataset:
    """The posterior's only chain."""
    posterior = groups["posterior"]
    return (posterior.to_dataset() if ONE else posterior).squeeze("chain")


def raw(rows) -> pd.DataFrame:
    """Rows in raw units, NaN where missing, categories as codes."""
    frame = prepare_back(rows)
    return frame.mask(~pd.DataFrame(rows.observed.numpy(), columns=frame.columns))


def prepare_back(rows) -> pd.DataFrame:
    """Prepared cells undone by hand."""
    values = rows.values.numpy().copy()
    for index, column in enumerate(rows.schema.columns):
        if column.continuous:
            values[:, index] = values[:, index] * float(rows.scale[index]) + float(rows.loc[index])
        if column.kind == "positive":
            values[:, index] = np.exp(values[:, index])
    return pd.DataFrame(values, columns=list(rows.schema.names))


def by_scipy(one: xr.Dataset, rows) -> np.ndarray:
    """log p(x_i, class | θ_s) by scipy's densities at the draws in raw units, (draws, components, rows)."""
    frame = raw(rows)
    total = np.log(one["weights"].to_numpy())[..., None] + np.zeros(len(frame))
    for column in rows.schema.columns:
        x, name = frame[column.name].to_numpy(), column.name
        if column.kind in ("real", "positive"):
            if "correlation" in one:
                continue
            at = {"continuous_column": name}
            loc, scale = (one[part].sel(at).to_numpy()[..., None] for part in ("loc", "scale"))
            y = np.log(x) if column.kind == "positive" else x
            found = stats.norm.logpdf(y, loc, scale) - (np.log(x) if column.kind == "positive" else 0)
        elif column.kind == "count":
            found = stats.poisson.logpmf(x, one["rate"].sel(count_column=name).to_numpy()[..., None])
        else:
            shares = np.log(one[f"probability_{name}"].to_numpy())
            found = shares[..., np.nan_to_num(x).astype(int)]
        total += np.where(np.isnan(x), 0.0, found)
    return total + (_together(one, frame.to_numpy()) if "correlation" in one else 0)


def _together(one: xr.Dataset, x: np.ndarray) -> np.ndarray:
    """Columns that vary together, missing ones left out of the covariance, (draws, components, rows)."""
    loc, scale, correlation = (one[name].to_numpy() for name in ("loc", "scale", "correlation"))
    covariance = correlation * scale[..., :, None] * scale[..., None, :]
    found = np.zeros((*loc.shape[:2], len(x)))
    for s, k, i in np.ndindex(found.shape):
        seen = ~np.isnan(x[i])
        if seen.any():
            part = covariance[s, k][np.ix_(seen, seen)]
            found[s, k, i] = stats.multivariate_normal(loc[s, k][seen], part).logpdf(x[i][seen])
    return found


@pytest.mark.parametrize(
    ("name", "draws"),
    [
        ("mixture of mixed columns", 50),
        ("naive Bayes, some labels missing", 50),
        ("naive Bayes, one class", 50),
        ("mixture, Dirichlet process", 50),
        ("Gaussian mixture, full, cells missing", 5),
        ("Gaussian mixture, tied, cells missing", 5),
    ],
)
def test_log_likelihoods_are_scipys_densities_at_the_draws(name, draws):
    family, rows, found = bridged(name, draws)
    joint = by_scipy(drawn(found), rows)
    if family.labelled:
        told = rows.labels.numpy()[None, :] == np.arange(family.classes)[:, None]
        joint = np.where(told | (rows.labels.numpy() < 0), joint, -np.inf)
    (values,) = found["log_likelihood"].data_vars.values()
    np.testing.assert_allclose(values[0], logsumexp(joint, axis=1), atol=1e-8, rtol=1e-10)


@pytest.mark.parametrize(("counts", "law"), [("negative-binomial", "nbinom"), ("multinomial", "multinomial")])
def test_log_likelihoods_of_counts_are_scipys(counts, law):
    name = "mixture, multinomial" if law == "multinomial" else "mixture, negative binomial"
    rows = build(name)[1]
    if law == "nbinom":
        frame = raw(rows)[["visits_per_week"]].dropna()
        rows = prepare(frame, infer_schema(frame, kinds={"visits_per_week": "count"}))(frame)
    found = fit(Mixture(rows.schema, components=2, counts=counts), rows, seed=0)
    groups, x = to_arviz(found, rows, draws=30, seed=1), raw(rows).to_numpy()
    one = drawn(groups)
    weights = np.log(one["weights"].to_numpy())[..., None]
    if law == "nbinom":
        mean, dispersion = (one[part].to_numpy() for part in ("mean", "dispersion"))
        cells = stats.nbinom.logpmf(x[:, 0], dispersion, dispersion / (dispersion + mean))
    else:
        cells = stats.multinomial.logpmf(x, x.sum(1), one["share"].to_numpy()[:, :, None])
    np.testing.assert_allclose(
        groups["log_likelihood"]["x"][0], logsumexp(weights + cells, axis=1), atol=1e-8, rtol=1e-10
    )


def test_the_mean_over_draws_is_the_density_of_held_out_rows():
    """False alarms below 1e-4 over 60 rows: five standard errors, of the mean of 1,000 independent draws."""
    table = load("fast_food_customers")
    train, test = table.frame.head(300), table.frame.tail(60)
    preparation = prepare(train, table.schema)
    family = fit(Mixture(table.schema, components=2), preparation(train), seed=0).family
    rows = preparation(test)
    values = to_arviz(family, preparation(train), rows, draws=1000, seed=1)["log_likelihood_test"]["x"][0].to_numpy()
    exact = log_density(family, rows).values
    relative = np.exp(values - exact)
    assert (np.abs(relative.mean(0) - 1) < 5 * relative.std(0, ddof=1) / 1000**0.5).all()


def left_out(family, rows) -> np.ndarray:
    """log p(row | other rows) of a posterior of one class, by taking the row's statistics away: nats, raw units."""
    whole, features, found = family.guide.natural().detach().clone(), family.features(rows), []
    for i in range(len(rows)):
        family.guide.set_natural(whole - features.statistics[i])
        found.append(float((family.log_prob(rows[i : i + 1]) + rows.log_scale[i]).detach()))
    family.guide.set_natural(whole)
    return np.array(found)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_leave_one_out_by_arviz_is_the_exact_predictive_of_the_other_rows():
    """Five standard errors of a raw importance sample, which smoothing can only lower: 1e-4 over 60 rows."""
    table = load("fast_food_customers")
    rows = prepare(table.frame, table.schema)(table.frame.head(60))
    family = NaiveBayes(table.schema, labelled=False)
    family.take_preparation(rows)
    fit(family, rows, seed=0)
    groups = to_arviz(family, rows, draws=4000, seed=2)
    loo, exact = az.loo(groups, pointwise=True), left_out(family, rows)
    weights = np.exp(-groups["log_likelihood"]["x"][0].to_numpy())
    error = weights.std(0) / weights.mean(0) / 4000**0.5
    assert groups.attrs["kind"] == "exact"
    assert (np.abs((loo.elpd_i if ONE else loo.loo_i).to_numpy() - exact) < 5 * error).all()
    assert abs(float(loo.elpd if ONE else loo.elpd_loo) - exact.sum()) < 0.05 * float(loo.se)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_arvizs_leave_one_out_is_the_suites():
    groups = bridged("mixture of mixed columns", 500)[2]
    loo, own = az.loo(groups), psis_loo(groups["log_likelihood"]["x"][0].to_numpy())
    assert float(loo.elpd if ONE else loo.elpd_loo) == pytest.approx(own.elpd_loo.sum(), rel=1e-10)
    assert float(loo.p if ONE else loo.p_loo) == pytest.approx(own.p_loo, rel=1e-8)


@pytest.mark.parametrize("name", ["naive Bayes, all labels known", "naive Bayes, one class"])
def test_an_exact_guide_has_the_log_evidence_for_its_log_ratio(name):
    family, rows, groups = bridged(name)
    ratio = (groups["sample_stats"]["log_p"] - groups["sample_stats"]["log_q"]).to_numpy()
    np.testing.assert_allclose(ratio, len(rows) * log_evidence(family, rows), rtol=1e-9)
    assert (groups.attrs["kind"], groups.attrs["khat"]) == ("exact", -np.inf)


@pytest.mark.parametrize(
    "name", ["mixture of mixed columns", "mixture, multinomial", "Gaussian mixture, full", "mixture, Dirichlet process"]
)
def test_the_log_ratio_is_the_elbo_and_what_summing_the_component_out_gains(name):
    """At its optimum q(θ) makes log p(x, θ) − log q(θ) − Σ KL(q(z) ‖ p(z | x, θ)) the ELBO at every θ, not only on
    average: no Monte Carlo error is left."""
    family, rows, groups = bridged(name)
    with torch.no_grad(), seeded(1):
        joint = log_joint_given(family, rows, guide_draws(family, 200).sites)
        told = family.expected_log_joint(family.features(rows), family.guide.natural()).log_softmax(-1).mT
        gain = (told.exp() * (told - joint.log_softmax(1))).sum((1, 2)).numpy()
    ratio = (groups["sample_stats"]["log_p"] - groups["sample_stats"]["log_q"])[0].to_numpy()
    assert gain.min() > 0
    np.testing.assert_allclose((ratio - gain) / len(rows), fitted(name).elbo, atol=1e-6)


@pytest.mark.parametrize("name", ["mixture of mixed columns", "mixture, multinomial"])
def test_the_mean_log_ratio_is_at_least_pyros_elbo(name):
    """Pyro's estimate of the pair, five standard errors of both: 3e-7."""
    family, rows, groups = bridged(name)
    ratio = (groups["sample_stats"]["log_p"] - groups["sample_stats"]["log_q"])[0].to_numpy() / len(rows)
    elbo, error = estimate_elbo(family, rows, seed=3, particles=20), ratio.std(ddof=1) / len(ratio) ** 0.5
    assert ratio.mean() > elbo.mean - 5 * np.hypot(elbo.se, error)


@pytest.mark.skipif(not ONE, reason="ArviZ 0.23 has no loo_approximate_posterior")
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_the_correction_changes_nothing_where_the_guide_is_the_posterior():
    groups = bridged("naive Bayes, one class", 1000)[2]
    found = az.loo_approximate_posterior(groups, *(groups["sample_stats"][part] for part in ("log_p", "log_q")))
    own = psis_loo(groups["log_likelihood"]["x"][0].to_numpy())
    assert float(found.elpd) == pytest.approx(own.elpd_loo.sum(), rel=1e-9)


@pytest.fixture(scope="module")
def visits():
    """Two components of counts that overlap a little: the fit, the rows, and draws of the posterior itself."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"visits": np.concatenate([rng.poisson(2, 30), rng.poisson(13, 30)])})
    schema = infer_schema(frame, kinds={"visits": "count"})
    rows = prepare(frame, schema)(frame)
    found = fit(Mixture(schema, components=2), rows, seed=0)
    return found, rows, to_arviz(found, rows, draws=1000, seed=3, refine=True)


@pytest.mark.skipif(not ONE, reason="ArviZ 0.23 has no loo_approximate_posterior")
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_the_correction_brings_the_guides_draws_to_the_posteriors_leave_one_out(visits):
    """The guide is too narrow, so that rows seem to matter less; ten seeds leave 0.01 to 0.3 of the difference."""
    found, rows, posterior = visits
    guide = to_arviz(found, rows, draws=4000, seed=3)
    log_p, log_q = (guide["sample_stats"][part] for part in ("log_p", "log_q"))
    corrected = az.loo_approximate_posterior(guide, log_p, log_q)
    plain, truth = (psis_loo(each["log_likelihood"]["x"].to_numpy().reshape(-1, 60)) for each in (guide, posterior))
    assert abs(float(corrected.p) - truth.p_loo) < 0.5 * abs(plain.p_loo - truth.p_loo)


def test_refined_draws_have_chains_and_no_density_of_their_own(visits):
    groups = visits[2]
    assert list(groups["sample_stats"].data_vars) == ["log_p"]
    assert groups["log_likelihood"]["x"].shape == (200, 5, 60)
    assert groups.attrs["kind"] == "refined"
    assert groups.attrs["khat"] < 0.7


def test_draws_of_parameters_are_those_of_parameter_draws():
    family, _, groups = bridged("Gaussian mixture, full")
    plain = parameter_draws(family, 200, seed=1)
    for name in plain.data_vars:
        np.testing.assert_array_equal(groups["posterior"][name], plain[name])
    assert groups["posterior"]["component"].values.tolist() == [1, 2]
    assert groups["posterior"]["correlation"].dims[-2:] == ("correlation_row", "correlation_column")


def test_classes_go_by_their_labels():
    _, rows, groups = bridged("naive Bayes, some labels missing")
    assert groups["posterior"]["component"].values.tolist() == list(rows.schema.label.categories)
    assert list(groups["log_likelihood"].data_vars) == ["x_and_label"]
    seen = groups["observed_data"]["group"]
    assert seen.attrs["categories"] == list(rows.schema.label.categories)
    np.testing.assert_array_equal(seen, rows.labels[rows.labels >= 0])


@pytest.mark.parametrize("name", ["mixture of mixed columns", "Gaussian mixture, full, cells missing"])
def test_what_was_not_observed_is_in_no_group(name):
    _, rows, groups = bridged(name)
    frame = raw(rows)
    for column in frame:
        seen = frame[column].dropna()
        place = "row" if len(seen) == len(frame) else f"{column}_row"
        assert groups["observed_data"][column].dims == (place,)
        assert groups["posterior_predictive"][column].dims == ("chain", "draw", place)
        np.testing.assert_array_equal(groups["observed_data"][place], seen.index)
        np.testing.assert_allclose(groups["observed_data"][column], seen, rtol=1e-12)


def scores(groups, column: str, mean, variance) -> float:
    """Σ over draws of the squared z-score of the replicated column's mean."""
    table = groups["posterior_predictive"][column][0].to_numpy()
    return float(((table.mean(1) - mean) ** 2 / (variance / table.shape[1])).sum())


def within_chi2(score: float, draws: int) -> bool:
    low, high = stats.chi2(draws).ppf([FALSE_ALARM, 1 - FALSE_ALARM])
    return low < score < high


@pytest.mark.parametrize("covariance", ["EII", "VVI", "EEE", "VVV"])
def test_replicated_rows_follow_the_parameters_of_their_own_draw(covariance):
    """Means of 150 rows by draw: z-scores of variance 1, 200 of them a column."""
    rows = rows_of("iris", 150)
    found = fit(GaussianMixture(rows.schema, components=2, covariance=covariance), rows, seed=0)
    groups = to_arviz(found, rows, draws=200, seed=4)
    one = drawn(groups)
    weights = one["weights"].to_numpy()
    for column in rows.schema.names:
        loc, scale = (one[part].sel(continuous_column=column).to_numpy() for part in ("loc", "scale"))
        mean = (weights * loc).sum(1)
        variance = (weights * (scale**2 + loc**2)).sum(1) - mean**2
        assert within_chi2(scores(groups, column, mean, variance), 200)


def test_replicated_counts_and_categories_follow_the_parameters_of_their_own_draw():
    rows = rows_of("fast_food_customers", 300)
    found = fit(Mixture(rows.schema, components=3, counts="negative-binomial"), rows, seed=0)
    groups = to_arviz(found, rows, draws=200, seed=4)
    one = drawn(groups)
    weights = one["weights"].to_numpy()
    mean, dispersion = (one[part].to_numpy()[..., 0] for part in ("mean", "dispersion"))
    total = (weights * mean).sum(1)
    variance = (weights * (mean + mean**2 / dispersion + mean**2)).sum(1) - total**2
    assert within_chi2(scores(groups, "visits_per_week", total, variance), 200)
    app = (weights * one["probability_has_app"].to_numpy()[..., 1]).sum(1)
    assert within_chi2(scores(groups, "has_app", app, app * (1 - app)), 200)
    pizza = list(one["favourite_category"].values).index("pizza")
    share = (weights * one["probability_favourite"].to_numpy()[..., pizza]).sum(1)
    table = groups["posterior_predictive"]["favourite"][0].to_numpy() == pizza
    assert within_chi2(float(((table.mean(1) - share) ** 2 / (share * (1 - share) / table.shape[1])).sum()), 200)


def test_replicated_baskets_share_out_totals_that_were_seen():
    _, rows, groups = bridged("mixture, multinomial")
    baskets = np.stack([groups["posterior_predictive"][good] for good in rows.schema.names])
    assert set(baskets.sum(0).ravel()) <= set(rows.values.sum(1).tolist())


def test_replicated_classes_have_the_weights_of_their_draw():
    groups = bridged("naive Bayes, some labels missing")[2]
    share = groups["posterior"]["weights"].to_numpy()[0, :, 1]
    table = groups["posterior_predictive"]["group"][0].to_numpy() == 1
    assert within_chi2(float(((table.mean(1) - share) ** 2 / (share * (1 - share) / table.shape[1])).sum()), 200)


@pytest.mark.parametrize("name", FILED)
def test_the_groups_go_to_a_file_and_back(name, tmp_path):
    """The first has a column with "/" in its name, which no file takes."""
    _, rows, groups = bridged(name, 60)
    groups.to_netcdf(tmp_path / "groups.nc")
    again = az.from_netcdf(tmp_path / "groups.nc")
    for group in ("posterior", "log_likelihood", "sample_stats", "posterior_predictive", "observed_data"):
        assert list(again[group].data_vars) == list(groups[group].data_vars)
    assert again["posterior"].attrs["checksum"] == rows.checksum
    assert again["posterior"].attrs["seed"] == 1
    assert np.isfinite(again["sample_stats"]["log_p"]).all()
    assert again["log_likelihood"].sizes["row"] == len(rows)


@pytest.mark.parametrize("name", AMORTISED)
def test_a_variational_autoencoder_gives_the_posterior_of_each_rows_z(name):
    """Means over 4,000 draws within five standard errors of the guide's; of Gaussian guides, whose centre is known."""
    family, rows, groups = bridged(name, 4000 if name == AMORTISED[0] else 30)
    z = groups["posterior"]["z"][0].to_numpy()
    assert groups.attrs["kind"] == "latent guide"
    assert groups["posterior"]["latent"].values.tolist() == [f"z{i + 1}" for i in range(family.latent)]
    assert set(groups["observed_data"].data_vars) == set(groups["posterior_predictive"].data_vars)
    if name == AMORTISED[0]:
        error = np.abs(z.mean(0) - encode(family, rows).to_numpy()) / (z.std(0, ddof=1) / 4000**0.5)
        assert error.max() < 5.5  # of 300 numbers: 1e-5


def test_arviz_finds_no_leave_one_out_density_of_a_variational_autoencoder():
    groups = bridged("VAE of mixed columns", 30)[2]
    with pytest.raises((TypeError, ValueError, KeyError), match=r"log.likelihood"):
        az.loo(groups)


@pytest.mark.filterwarnings("ignore")  # ArviZ's own, of matplotlib, pandas and discrete columns
def test_tables_and_plots_of_arviz_run():
    groups = {name: bridged(name)[2] for name in ("mixture of mixed columns", "mixture, negative binomial")}
    one = groups["mixture of mixed columns"]
    table = az.compare(groups)
    assert list(table.index[table["rank"] == 0]) == [max(groups, key=lambda name: total(az.loo(groups[name])))]
    names = az.summary(one, var_names=["weights", "loc"]).index
    assert {"weights[1]", "loc[3, age]"} <= set(names)
    az.plot_khat(az.loo(one, pointwise=True))
    az.plot_forest(one, var_names=["weights"])
    if ONE:
        az.plot_dist(one, var_names=["loc"], backend="none")
        az.plot_ppc_dist(one, var_names=["age"], backend="none")
    else:
        az.plot_posterior(one, var_names=["loc"])
        az.plot_ppc(one, var_names=["age"], num_pp_samples=20)


def total(loo) -> float:
    return float(loo.elpd if ONE else loo.elpd_loo)


def test_a_seed_is_all_that_draws_depend_on():
    first, again = (bridged("mixture, multinomial")[2] for _ in range(2))
    found, rows = fitted("mixture, multinomial"), build("mixture, multinomial")[1]
    other = to_arviz(found, rows, draws=200, seed=2)
    for group in ("posterior", "posterior_predictive", "sample_stats"):
        assert first[group].equals(again[group])
        assert not first[group].equals(other[group])


def test_the_way_to_arviz_is_reached_from_the_package():
    assert ppl_models.to_arviz is to_arviz


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mixture of mixed columns, mode", "expected estimate 'bayes', got 'map', one value of each parameter"),
        ("autoencoder of mixed columns", "got Autoencoder, whose parameters and codes are single points"),
    ],
)
def test_single_points_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        bridged(name)


def test_rows_that_arviz_would_count_otherwise_are_refused():
    found, rows = fitted("mixture, multinomial"), build("mixture, multinomial")[1]
    weights = torch.ones(len(rows))
    weights[3] = 2.0
    with pytest.raises(InputError, match="expected rows of weight 1, since ArviZ counts each once, row 4 has 2"):
        to_arviz(found, rows.weighted(weights), draws=10, seed=0)


def test_more_than_memory_should_hold_is_refused():
    found, rows = fitted("mixture, multinomial"), build("mixture, multinomial")[1]
    with pytest.raises(InputError, match=r"expected at most 67108864 replicated .* 111848 draws are not too many"):
        to_arviz(found, rows, draws=10**6, seed=0)


def test_held_out_rows_of_a_variational_autoencoder_are_refused():
    found, rows = fitted("VAE of mixed columns"), build("VAE of mixed columns")[1]
    with pytest.raises(InputError, match="expected neither test rows nor refine for VAE"):
        to_arviz(found, rows, rows, draws=10, seed=0)


@pytest.mark.parametrize("names", [["row", "b"], ["a/b", "a_b"], ["b_row", "b"]])
def test_names_that_arviz_cannot_tell_apart_are_refused(names):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=names)
    rows = prepare(frame)(frame)
    with pytest.raises(InputError, match=f"column {names[0]!r}: expected a name other than chain, draw, row"):
        to_arviz(fit(NaiveBayes(rows.schema), rows, seed=0), rows, draws=10, seed=0)
