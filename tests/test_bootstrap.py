"""Bootstrap replicates spread as theory says, in the estimate's order, and batches of them are fits one by one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from cases import rows_of
from scipy import stats

from ppl_models.datasets import infer_schema, load, prepare
from ppl_models.errors import InputError
from ppl_models.families import Autoencoder, GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import bootstrap_draws, fit, parameter_draws
from ppl_models.inference.bootstrap import in_order, refit

ML = "maximum-likelihood"


def fitted_to(frame: pd.DataFrame, components: int, **options):
    """A mixture's maximum likelihood, and the prepared rows."""
    schema = infer_schema(frame)
    rows = prepare(frame, schema)(frame)
    return fit(Mixture(schema, components=components, estimate=ML, **options), rows, seed=0).family, rows


def resampled(rows, replicates: int) -> torch.Tensor:
    """Multinomial weights."""
    drawn = np.random.default_rng(3).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=replicates)
    return torch.tensor(drawn, dtype=torch.float64)


def test_the_mean_of_one_normal_spreads_by_its_standard_error():
    """The sd of 4,000 replicates has a relative error of 1/√8000; within 4.5 of them, false alarms 7e-6."""
    x = np.random.default_rng(0).normal(3.0, 2.0, 80)
    found = bootstrap_draws(*fitted_to(pd.DataFrame({"x": x}), 1), 4000, seed=1)
    ratio = float(found["loc"].std(ddof=1)) / (x.std(ddof=0) / 80**0.5)
    assert abs(ratio - 1) < 4.5 / 8000**0.5
    assert found.attrs == {"degenerate": 0, "unconverged": 0}


def test_weights_count_copies_of_a_row():
    """40 rows of weight 2 are 80 rows; the tolerance is the one above."""
    x = np.random.default_rng(0).normal(3.0, 2.0, 40)
    family, rows = fitted_to(pd.DataFrame({"x": x}), 1)
    found = bootstrap_draws(family, rows.weighted(2 * torch.ones(40)), 4000, seed=1)
    assert abs(float(found["loc"].std(ddof=1)) / (x.std(ddof=0) / 80**0.5) - 1) < 4.5 / 8000**0.5


def information_sds(x: np.ndarray, at: list[float]) -> np.ndarray:
    """Standard errors of (first weight, two means, two sds) by the inverse of the observed information."""
    cells = torch.tensor(x)[:, None]

    def log_likelihood(theta: torch.Tensor) -> torch.Tensor:
        weights = torch.stack([theta[0], 1 - theta[0]])
        return (weights.log() + torch.distributions.Normal(theta[1:3], theta[3:]).log_prob(cells)).logsumexp(1).sum()

    information = -torch.autograd.functional.hessian(log_likelihood, torch.tensor(at, dtype=torch.float64))
    return torch.linalg.inv(information).diagonal().sqrt().numpy()


def test_two_separate_components_spread_as_the_information_says():
    """Rows at the quantiles of their normals; 2,000 replicates have errors of 1.6 %, and 15 % is nine of them."""
    normal = stats.norm.ppf((np.arange(300) + 0.5) / 300)
    low, high = normal, np.tile(8 + 1.5 * normal, 2)
    family, rows = fitted_to(pd.DataFrame({"x": np.concatenate([low, high])}), 2)
    found = bootstrap_draws(family, rows, 2000, seed=0).squeeze(("chain", "continuous_column"))
    columns = [found["weights"][:, :1], found["loc"], found["scale"]]
    draws = np.concatenate([column.to_numpy() for column in columns], axis=1)
    estimate = [1 / 3, low.mean(), high.mean(), low.std(), high.std()]
    expected = information_sds(np.concatenate([low, high]), estimate)
    np.testing.assert_allclose(draws.std(0, ddof=1), expected, rtol=0.15)


def test_a_batch_of_replicates_is_the_fits_one_by_one():
    family, rows = fitted_to(rows_frame(), 2, covariance="VVV")
    features, start = family.features(rows), family.guide.natural().detach()[None]
    weights = resampled(rows, 3)
    together = refit(family, replace(features, weights=weights), start.expand(3, -1, -1))
    for one, natural in zip(weights, together.natural, strict=True):
        alone = refit(family, replace(features, weights=one), start).natural[0]
        torch.testing.assert_close(natural, alone, rtol=1e-5, atol=1e-6)


def rows_frame() -> pd.DataFrame:
    """Two clusters of two columns that vary together, some cells missing."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(0, 1, (80, 2)) @ [[1.0, 0.6], [0.0, 0.8]], columns=["x", "y"])
    frame.loc[:39, "x"] += 5
    frame.loc[::5, "y"] = np.nan
    return frame


def test_replicates_from_permuted_states_come_out_unpermuted():
    family, rows = fitted_to(rows_frame(), 2)
    features, start = family.features(rows), family.guide.natural().detach()[None].expand(4, -1, -1)
    own = replace(features, weights=resampled(rows, 4))
    straight, turned = (refit(family, own, start[:, order]).natural for order in ([0, 1], [1, 0]))
    assert not torch.allclose(straight, turned, rtol=1e-3)
    torch.testing.assert_close(in_order(family, features, turned), straight, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(in_order(family, features, straight), straight, rtol=0, atol=0)


def test_replicates_in_chunks_are_the_same(monkeypatch):
    family, rows = fitted_to(rows_frame(), 2)
    whole = bootstrap_draws(family, rows, 7, seed=2)
    monkeypatch.setattr("ppl_models.inference.bootstrap.CELLS_AT_ONCE", 3 * len(rows) * 2)
    parts = bootstrap_draws(family, rows, 7, seed=2)
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-7)  # products of other sizes round otherwise


def test_replicates_have_the_names_and_shapes_of_parameter_draws():
    table = load("fast_food_customers")
    rows = rows_of("fast_food_customers", 150)
    found = bootstrap_draws(
        fit(Mixture(table.schema, components=2, estimate="map"), rows, seed=0).family, rows, 5, seed=0
    )
    posterior = parameter_draws(fit(Mixture(table.schema, components=2), rows, seed=0).family, 5, seed=0)
    assert {name: value.dims for name, value in found.items()} == {name: v.dims for name, v in posterior.items()}
    assert found.sizes == posterior.sizes
    assert all((found[name] == posterior[name]).all() for name in found.coords)


@pytest.mark.parametrize("counts", ["negative-binomial", "multinomial"])
def test_other_counts_are_bootstrapped_too(counts):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.poisson([[2, 9], [9, 2]] * 30), columns=["a", "b"])
    family, rows = fitted_to(frame, 2, counts=counts)
    found = bootstrap_draws(family, rows, 20, seed=0)
    name = {"negative-binomial": "mean", "multinomial": "share"}[counts]
    centre = found[name].mean(("chain", "draw")).to_numpy()
    assert sorted(centre.argmax(1).tolist()) == [0, 1]
    assert (found[name].std("draw") > 0).all()


def test_told_classes_stay_where_they_are():
    rows = rows_of("wine", 178)
    family = fit(NaiveBayes(rows.schema, estimate=ML), rows, seed=0).family
    found = bootstrap_draws(family, rows, 200, seed=0)
    own = (rows.values * rows.scale + rows.loc).numpy()
    means = np.array([own[rows.labels.numpy() == k].mean(0) for k in range(3)])
    gap = np.abs(found["loc"].mean(("chain", "draw")).to_numpy() - means)
    assert (gap < 4.5 * found["loc"].std(("chain", "draw")).to_numpy() / 200**0.5).all()


def test_degenerate_replicates_are_dropped_and_counted():
    """Two rows make a component; a replicate without both has none."""
    x = np.append(np.random.default_rng(0).normal(0, 1, 20), [30.0, 31.0])
    found = bootstrap_draws(*fitted_to(pd.DataFrame({"x": x}), 2), 50, seed=0)
    assert 0 < found.attrs["degenerate"] < 50
    assert found.sizes["draw"] == 50 - found.attrs["degenerate"]
    assert all(np.isfinite(value).all() for value in found.values())


def test_what_has_no_point_estimate_is_refused():
    rows = rows_of("iris", 150)
    bayes = fit(GaussianMixture(rows.schema, components=1), rows, seed=0).family
    with pytest.raises(InputError, match="bootstrap: expected estimate 'maximum-likelihood' or 'map', got 'bayes'"):
        bootstrap_draws(bayes, rows, 10, seed=0)
    with pytest.raises(InputError, match="bootstrap: expected naive Bayes or a mixture, got Autoencoder"):
        bootstrap_draws(Autoencoder(rows.schema, latent=1), rows, 10, seed=0)
    point = fit(GaussianMixture(rows.schema, components=1, estimate=ML), rows, seed=0).family
    with pytest.raises(InputError, match="draws: expected one or more, got 0"):
        bootstrap_draws(point, rows, 0, seed=0)
