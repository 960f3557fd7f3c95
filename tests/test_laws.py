"""Laws that hold for every family: those of the ELBO, of fitting, of scoring and of sampling."""

import copy

import pandas as pd
import pyro
import pytest
import torch
from cases import CASES, CONJUGATE, build, fitted, table_of
from pyro import poutine
from scipy import stats

from ppl_models.datasets import conform
from ppl_models.distributions import seeded
from ppl_models.families import Family
from ppl_models.inference import Gradient, estimate_elbo, fit, log_density, sample
from ppl_models.inference.bounds import make_elbo
from ppl_models.inference.objectives import Objective, training_loss

REPEATS = 30
LIMIT = stats.t(REPEATS - 1).isf(3e-5)  # in standard errors, two-sided: false alarms 6e-5 a test


def every(*names: str):
    """Run a law on cases by name, but for those that the case exempts from it."""

    def run(law):
        cases = {name: CASES[name].exempt.get(law.__name__) for name in names}
        marked = [pytest.param(name, marks=[pytest.mark.skip(why)] if why else []) for name, why in cases.items()]
        return pytest.mark.parametrize("name", marked)(law)

    return run


every_family = every(*CASES)
every_conjugate_family = every(*(name for name, case in CASES.items() if case.method is CONJUGATE))
every_other_family = every(*(name for name, case in CASES.items() if case.method is not CONJUGATE))


def elbo_of(family: Family, batch, rows: int, seed: int) -> float:
    with seeded(seed):
        return -make_elbo(family).loss(family.model, family.guide, batch, rows)


def score(family: Family, data) -> torch.Tensor:
    if hasattr(family, "reconstruction_log_likelihood"):
        return family.reconstruction_log_likelihood(data)
    return torch.tensor(log_density(family, data, draws=20).values)


def registered(family: Family):
    """The pair as Pyro's store wants it: each side registers its modules."""

    def model(batch, rows):
        pyro.module("model", family.model)
        return family.model(batch, rows)

    def guide(batch, rows):
        pyro.module("guide", family.guide)
        return family.guide(batch, rows)

    return model, guide


def same_state(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@every_family
def test_guide_and_model_share_latent_sites_in_order(name):
    family, rows = build(name)
    family.adopt(rows)
    guide = poutine.trace(family.guide).get_trace(rows, len(rows))
    model = poutine.trace(poutine.replay(family.model, trace=guide)).get_trace(rows, len(rows))
    latent = [site for site in model.stochastic_nodes if site not in ("rows", "classes")]
    assert latent == [site for site in guide.stochastic_nodes if site not in ("rows", "classes")]


@every_family
def test_every_parameter_gets_a_finite_gradient(name):
    family, rows = build(name)
    family.adopt(rows)
    family.initialise(rows, seed=0)
    with seeded(0):
        make_elbo(family)(family.model, family.guide)(rows, len(rows)).backward()
    for parameter, value in family.named_parameters():
        assert value.grad is not None and torch.isfinite(value.grad).all(), parameter
        assert value.grad.abs().sum() > 0, parameter


@every_family
def test_minibatch_elbo_is_unbiased(name):
    """The mean over batches of a shuffled table against the ELBO of all rows, 30 times; false alarms 6e-5."""
    family, rows = fitted(name).family, build(name)[1]
    gaps = []
    for repeat in range(REPEATS):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(repeat))
        parts = order[: len(rows) // 3 * 3].split(len(rows) // 3)
        batches = [elbo_of(family, rows[part], len(rows), seed=repeat) for part in parts]
        gaps.append(sum(batches) / len(batches) - elbo_of(family, rows, len(rows), seed=1000 + repeat))
    gaps = torch.tensor(gaps, dtype=torch.float64)
    assert abs(gaps.mean()) < LIMIT * gaps.std() / len(gaps) ** 0.5 + 1e-9 * abs(fitted(name).elbo) * len(rows)


@every_conjugate_family
def test_the_elbo_that_fit_reports_is_pyros(name):
    """Within 4.6 standard errors of 60 particles, and rounding; false alarms 2e-5 a case."""
    found, rows = fitted(name), build(name)[1]
    estimate = estimate_elbo(found.family, rows, seed=1, particles=60)
    assert abs(found.elbo - estimate.mean) < 4.6 * estimate.se + 1e-9 * abs(found.elbo)
    if CASES[name].determined:
        assert estimate.se < 1e-9 * abs(found.elbo)


@every_other_family
def test_the_training_loss_is_pyros_loss_from_the_same_noise(name):
    family, rows = build(name)
    family.adopt(rows)
    family.initialise(rows, seed=0)
    loss = training_loss(family, Objective())
    with seeded(3):
        ours = loss(rows, len(rows), 0)
    price = 0.0 if (charged := family.price(rows)) is None else charged.mean().item()
    pyros = -elbo_of(family, rows, len(rows), seed=3) / len(rows)
    assert ours.item() - price == pytest.approx(pyros, rel=1e-9)


@every_family
def test_same_seed_gives_the_same_fit_bit_for_bit(name):
    family, rows = build(name)
    fit(family, rows, seed=5, method=CASES[name].method)
    assert same_state(family.state_dict(), fitted(name).family.state_dict())


@every_family
def test_two_fits_in_one_process_do_not_touch_each_other(name):
    first, rows = fitted(name).family, build(name)[1]
    before = copy.deepcopy(first.state_dict())
    second = build(name)[0]
    fit(second, rows[torch.arange(len(rows) // 2)], seed=9, method=CASES[name].method)
    assert same_state(before, first.state_dict())
    assert not same_state(before, second.state_dict())


@every_family
def test_fitting_leaves_the_global_random_stream_alone(name):
    family, rows = build(name)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    fit(family, rows, seed=5, method=CASES[name].method)
    sample(family, 3, seed=1)
    assert torch.equal(torch.rand(3), expected)


@every_family
def test_state_dict_round_trip_keeps_the_density(name):
    trained, rows = fitted(name).family, build(name)[1]
    restored = build(name)[0]
    restored.load_state_dict(trained.state_dict())
    assert torch.equal(score(restored, rows), score(trained, rows))


@every_family
def test_samples_carry_the_schema(name):
    family, table = fitted(name).family, table_of(CASES[name].table)
    drawn = sample(family, 40, seed=1)
    assert list(conform(drawn, table.schema).columns)[: len(table.schema.names)] == list(table.schema.names)
    told = getattr(family, "labelled", False)
    assert (table.schema.label is not None and table.schema.label.name in drawn) == told
    pd.testing.assert_frame_equal(drawn, sample(family, 40, seed=1))


@every_family
def test_rows_shuffled_or_scored_one_by_one_change_nothing(name):
    family, rows = fitted(name).family, build(name)[1]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    whole = score(family, rows)
    torch.testing.assert_close(score(family, rows[order]), whole[order], rtol=1e-10, atol=1e-10)
    single = torch.cat([score(family, rows[row : row + 1]) for row in range(10)])
    torch.testing.assert_close(single, whole[:10], rtol=1e-10, atol=1e-10)


@every_other_family
def test_pyros_own_svi_reaches_the_elbo_that_fit_reports(name):
    """The pair, driven by pyro.infer.SVI over fit's own cycle, to within 0.01 nats per row of fit's ELBO."""
    family, rows = build(name)
    method = Gradient(steps=200, batch_size=None)
    expected = fit(build(name)[0], rows, seed=5, method=method).elbo
    family.adopt(rows)
    family.initialise(rows, seed=5)
    before = estimate_elbo(family, rows, seed=5).mean
    cycle = {"optimizer": torch.optim.Adam, "optim_args": {}, "max_lr": method.learning_rate}
    optimiser = pyro.optim.OneCycleLR(cycle | {"total_steps": method.steps})
    svi = pyro.infer.SVI(*registered(family), optimiser, make_elbo(family))
    with seeded(5):
        for _ in range(method.steps):
            svi.step(rows, len(rows))
            optimiser.step()
    pyro.clear_param_store()
    assert before < expected - 0.1
    assert estimate_elbo(family, rows, seed=5).mean == pytest.approx(expected, abs=0.01)


@every_conjugate_family
def test_pyros_own_svi_climbs_back_to_the_natural_gradients_elbo(name):
    """From a guide that was pushed off its optimum, to within 0.01 nats per row of it."""
    family, rows = copy.deepcopy(fitted(name).family), build(name)[1]
    with seeded(3), torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    before = estimate_elbo(family, rows, seed=1).mean
    schedule = {"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.05}, "gamma": 0.975}
    optimiser = pyro.optim.ExponentialLR(schedule)
    svi = pyro.infer.SVI(*registered(family), optimiser, make_elbo(family))
    with seeded(7):
        for _ in range(180):
            svi.step(rows, len(rows))
            optimiser.step()
    pyro.clear_param_store()
    after = estimate_elbo(family, rows, seed=1, particles=50).mean
    assert before < fitted(name).elbo - 0.01
    assert after == pytest.approx(fitted(name).elbo, abs=0.01)
