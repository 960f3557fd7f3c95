"""Fits climb, stop by their rule and say so; bounds and their errors are what they claim."""

import sys
import warnings

import numpy as np
import pyro
import pytest
import torch
from cases import CASES, build, fitted, rows_of
from pyro import poutine
from scipy import stats

from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.families import VAE, GaussianMixture
from ppl_models.inference import FitWarning, Gradient, NaturalGradient, estimate_elbo, fit, log_density
from ppl_models.inference.convergence import Way, converge
from ppl_models.inference.natural import ascend
from ppl_models.inference.passes import begin, bound
from ppl_models.inference.races import SHORT_PASSES
from ppl_models.inference.sweeps import Rows
from ppl_models.nn import Dense

CONJUGATE = [name for name, case in CASES.items() if isinstance(case.method, NaturalGradient)]
MIXTURES = [name for name in CONJUGATE if "ixture" in name]
VAES = [name for name in CASES if "VAE" in name]
NAN = pytest.mark.filterwarnings("ignore:Encountered NaN:UserWarning")  # Pyro's own, beside ours
SE = 4.5  # standard errors: false alarms 7e-6 a number


def small_vae(rows) -> VAE:
    return VAE(rows.schema, latent=2, network=Dense((8,)), dtype=torch.float64)


def begun(name: str, *, restarts: int, seed: int):
    """A family that has adopted its rows, their features, and natural parameters of starts."""
    family, rows = build(name)
    family.adopt(rows)
    features = family.features(rows)
    return family, features, family.posterior(features, family.start(rows, restarts=restarts, seed=seed)).detach()


def climbed(family, features, natural, *, steps: int = 10_000) -> torch.Tensor:
    """The ELBO after each cycle of runs from here, (cycles, restarts)."""
    with pyro.validation_enabled(False):
        rows = Rows.among(family, features)
        return torch.stack(converge(rows, Way.begin(rows, natural), steps=steps, tolerance=1e-11).history)


@pytest.mark.parametrize("name", CONJUGATE)
def test_natural_gradients_of_all_rows_never_lower_the_elbo(name):
    family, features, natural = begun(name, restarts=4, seed=1)
    history = climbed(family, features, natural) / len(features.base)
    assert len(history) > 2
    assert history.diff(dim=0).min() > -1e-9


@pytest.mark.parametrize("name", MIXTURES)
def test_restarts_side_by_side_are_the_fits_one_by_one(name):
    family, features, natural = begun(name, restarts=3, seed=7)
    together, *alone = (climbed(family, features, start, steps=30) for start in (natural, *natural.split(1)))
    for restart, one in enumerate(alone):
        torch.testing.assert_close(together[: len(one), restart], one[: len(together), 0], rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", MIXTURES)
def test_restarts_start_from_different_places(name):
    family, features, natural = begun(name, restarts=3, seed=7)
    assert len(set(bound(family, features, natural)[0].tolist())) > 1


@pytest.mark.parametrize("name", MIXTURES)
def test_the_best_of_the_short_runs_are_the_ones_that_go_on(name):
    family, features, natural = begun(name, restarts=6, seed=7)
    with pyro.validation_enabled(False):
        for _ in range(SHORT_PASSES):
            natural = family.posterior(features, bound(family, features, natural)[1], previous=natural)
        best = bound(family, features, natural)[0].argsort(descending=True)[:2]
        expected = begin(Rows.among(family, features), natural[best]).elbo
        method = NaturalGradient(restarts=2, starts=6, steps=1)
        found = ascend(family, build(name)[1], method=method, seed=7).elbo
    torch.testing.assert_close(found.sort().values, expected.sort().values, rtol=1e-9, atol=0)


@pytest.mark.parametrize("method", [NaturalGradient(restarts=3), NaturalGradient(restarts=3, steps=2)])
def test_the_reported_elbo_is_that_of_the_best_restart_and_of_the_family(method):
    family, rows = build("Gaussian mixture, full")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        found = fit(family, rows, seed=1, method=method)
    natural = family.guide.natural().detach()[None]
    elbo = (bound(family, family.features(rows), natural)[0] + rows.log_scale.sum()) / len(rows)
    assert found.elbo == pytest.approx(found.restarts["elbo"].max())
    assert found.elbo == pytest.approx(float(elbo), rel=1e-12)


def test_a_fit_cut_short_warns_and_says_so():
    family, rows = build("Gaussian mixture, full")
    with pytest.warns(FitWarning, match="GaussianMixture: reached its limit of 2 passes"):
        found = fit(family, rows, seed=1, method=NaturalGradient(steps=2))
    assert (found.converged, found.stop) == (False, "reached its limit of 2 passes")
    assert 1 <= found.history["step"].max() <= 2


@pytest.mark.parametrize("name", CASES)
def test_a_fit_that_ends_by_its_rule_says_so(name):
    assert fitted(name).converged


@pytest.fixture(scope="module")
def stopped_early():
    """A VAE with few training rows, stopped by its validation rows, and those rows."""
    rows = rows_of("iris", 150)
    method = Gradient(steps=1500, batch_size=None, learning_rate=0.05, check_every=20, patience=5)
    return fit(small_vae(rows), rows[:30], rows[30:90], seed=3, method=method), rows[30:90]


def test_patience_ends_a_fit(stopped_early):
    history = stopped_early[0].history
    assert stopped_early[0].stop.startswith("no better validation ELBO in 5 evaluations")
    assert history["validation_elbo"].argmax() == len(history) - 6
    assert history["step"].iloc[-1] < 1500


def test_the_kept_state_is_that_of_the_best_validation_elbo(stopped_early):
    found, validation = stopped_early
    again = estimate_elbo(found.family, validation, seed=3, particles=1).mean
    assert again == pytest.approx(found.history["validation_elbo"].max(), rel=1e-12)


def break_after(calls: int):
    """A hook that puts NaN into a VAE's location, once."""
    left = iter(range(calls))

    def spoil(module, *args):
        if next(left, None) == calls - 1:
            torch.nn.init.constant_(module.loc.weight, torch.nan)

    return spoil


@NAN
@pytest.mark.parametrize("validation", [slice(100, 150), None])
def test_weights_that_are_no_numbers_end_a_fit_in_its_last_good_state(validation):
    rows = rows_of("iris", 150)
    family = small_vae(rows)
    family.model.heads[0].register_forward_pre_hook(break_after(33))
    held_out = None if validation is None else rows[validation]
    with pytest.warns(FitWarning, match="VAE: non-finite ELBO at step [0-9]+, site 'real'"):
        found = fit(family, rows[:100], held_out, seed=1, method=Gradient(steps=100, check_every=10))
    assert found.history["step"].iloc[-1] < 40
    assert not found.converged
    assert np.isfinite([found.elbo, *log_density(family, rows, draws=10).values]).all()


@NAN
@pytest.mark.parametrize("name", ["Gaussian mixture, diagonal", "Gaussian mixture, full"])
def test_an_absurd_learning_rate_ends_in_finite_parameters(name):
    family, rows = build(name)
    method = Gradient(steps=300, check_every=10, learning_rate=1e6)
    with pytest.warns(FitWarning, match=r"non-finite ELBO at step \d+, site '"):
        found = fit(family, rows, seed=1, method=method)
    assert all(bool(value.isfinite().all()) for value in family.state_dict().values())
    assert np.isfinite([found.elbo, *log_density(family, rows, draws=10).values]).all()


def test_a_vaes_scales_are_bounded_and_the_fit_remarks_on_it():
    family, rows = build("VAE of mixed columns")
    found = fit(family, rows, seed=1, method=Gradient(steps=300, check_every=10, learning_rate=1e6))
    assert all(bool(value.isfinite().all()) for value in family.state_dict().values())
    assert np.isfinite([found.elbo, *log_density(family, rows, draws=10).values]).all()
    assert any("bound" in remark for remark in found.remarks)


class Breaking(GaussianMixture):
    """A mixture whose natural parameters are no numbers from the given settling on."""

    broken_from = 0

    def settle(self, total, previous):
        self.broken_from -= 1
        natural = super().settle(total, previous)
        return natural if self.broken_from >= 0 else natural * torch.nan


@pytest.mark.parametrize("settlings", [0, 10, 21, 22, 24, 40])
def test_natural_parameters_that_are_no_numbers_end_a_fit_in_its_last_good_state(settlings):
    """The short runs settle 21 times, the long ones once and then two or three times a cycle."""
    rows = rows_of("iris", 150)
    family = Breaking(rows.schema, components=3)
    family.broken_from = settlings
    with pytest.warns(FitWarning, match="Breaking: ELBO not a number at site 'real', component 1"):
        found = fit(family, rows, seed=1, method=NaturalGradient(restarts=2, starts=2))
    assert np.isfinite(log_density(family, rows).values).all()
    estimate = estimate_elbo(family, rows, seed=2, particles=50)
    assert settlings < 22 or abs(found.elbo - estimate.mean) < SE * estimate.se


def test_an_autoencoder_has_no_log_density():
    name = "autoencoder of mixed columns"
    with pytest.raises(InputError, match=r"Autoencoder: is not a density.*reconstruction_log_likelihood\(data\)"):
        log_density(fitted(name).family, build(name)[1])


def test_bounds_rise_with_the_number_of_draws():
    """Under a guide that is too wide, over 200 seeds; each rise is above 4.5 of its standard errors."""
    family, rows = build("VAE of bits")
    family.adopt(rows)
    family.initialise(rows, seed=1)
    torch.nn.init.constant_(family.guide.answer.log_scale.bias, 1.0)
    elpds = [
        [log_density(family, rows[:10], seed=seed, draws=draws).elpd for draws in (1, 10, 100)] for seed in range(200)
    ]
    rises = np.diff(elpds, axis=1)
    assert (rises.mean(0) > SE * rises.std(0, ddof=1) / 200**0.5).all()


@pytest.mark.parametrize("name", VAES)
def test_log_weights_are_those_of_pyros_traces(name):
    family, rows = fitted(name).family, build(name)[1]
    with seeded(1):
        noise = torch.randn(3, family.noise, dtype=torch.float64)
    found = family.weigh(rows, noise)
    shifts = torch.special.ndtr(noise[:, family.latent :])[:, None].expand(-1, len(rows), -1)
    for z, shift, log_weights in zip(found.latents[0], shifts, found.log_weights, strict=True):
        logs = []
        for side in (family.model, family.guide):
            trace = poutine.trace(poutine.condition(side, data={"z": z, "shift": shift})).get_trace(rows, len(rows))
            trace.compute_log_prob()
            sites = (site for name, site in trace.nodes.items() if site["type"] == "sample" and name != "rows")
            logs.append(sum(site["log_prob"] for site in sites))
        torch.testing.assert_close(log_weights, logs[0] - logs[1], rtol=1e-9, atol=1e-9)


def test_the_monte_carlo_error_of_the_mean_is_the_spread_over_seeds():
    """30 seeds; the ratio of variances lies within chi-square's quantiles at a false-alarm rate of 1e-4."""
    family, rows = fitted("VAE of mixed columns").family, build("VAE of mixed columns")[1]
    found = [log_density(family, rows, seed=seed, draws=200) for seed in range(30)]
    ratio = np.var([one.elpd for one in found], ddof=1) / np.mean([one.mean_se**2 for one in found])
    low, high = stats.chi2(29).ppf([5e-5, 1 - 5e-5]) / 29
    assert low < ratio < high


@pytest.mark.parametrize("name", [*CONJUGATE, *VAES])
def test_scoring_in_chunks_changes_nothing(name, monkeypatch):
    family, rows = fitted(name).family, build(name)[1]
    whole = log_density(family, rows, draws=30)
    monkeypatch.setattr("ppl_models.inference.density.CELLS_AT_ONCE", 7 if name in CONJUGATE else 210)
    parts = log_density(family, rows, draws=30)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-12)
    assert parts.mean_se == pytest.approx(whole.mean_se, rel=1e-9)


@pytest.mark.parametrize("name", CONJUGATE)
def test_exact_families_draw_nothing(name):
    family, rows = fitted(name).family, build(name)[1]
    first, second = (log_density(family, rows, seed=seed, draws=seed) for seed in (1, 2))
    np.testing.assert_array_equal(first.values, second.values)
    assert (first.kind, first.draws, first.mean_se, first.khat) == ("exact", 0, 0.0, None)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_goes_to_a_terminals_stderr_alone(terminal, capsys, monkeypatch):
    monkeypatch.setattr("ppl_models.inference.fitting.PROGRESS_AFTER", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    family, rows = build("VAE of mixed columns")
    fit(family, rows, seed=1, method=Gradient(steps=20, check_every=5))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("VAE" in shown.err) == terminal
