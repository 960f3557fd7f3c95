"""What gradient steps climb: the ELBO by other means, its parts, the bound by K draws, and how a fit judges by them."""

import math

import numpy as np
import pytest
import torch
from cases import rows_of
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import LatentPrior, seeded
from ppl_models.errors import InputError
from ppl_models.families import VAE, Autoencoder, GaussianMixture, Weighed
from ppl_models.inference import Gradient, elbo_parts, estimate_elbo, fit, log_density, remarks
from ppl_models.inference.gradient import climb
from ppl_models.inference.objectives import Objective, objective_value, training_loss
from ppl_models.nn import Dense
from ppl_models.reports import Report, comparison_section

TABLE = "fast_food_customers"


def rows(number: int = 60) -> Dataset:
    return rows_of(TABLE, 150)[:number]


def vae(data: Dataset, dtype: torch.dtype = torch.float64, **options) -> VAE:
    family = VAE(data.schema, latent=2, network=Dense((6,), activation="tanh"), dtype=dtype, **options)
    family.adopt(data)
    family.initialise(data, seed=1)
    return family


def loss_and_gradient(family, objective: Objective, data: Dataset, *, seed: int, step: int = 0) -> list[Tensor]:
    """The loss and its gradient by every parameter, 0 where none reaches."""
    parameters = list(family.parameters())
    with seeded(seed):
        loss = training_loss(family, objective)(data, len(data), step)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    found = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
    return [loss.detach(), *found]


def flat(gradients: list[Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in gradients])


def parts_of(family, data: Dataset, *, seed: int) -> Weighed:
    """What the objective sees under this seed."""
    with seeded(seed), torch.no_grad():
        return family.weigh(data, torch.randn(1, len(data), family.noise))


@pytest.fixture
def in_double():
    """Draw noise in float64, so that Pyro and the objectives draw the very same."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("options", [{}, {"guide": "full"}, {"prior": LatentPrior("mixture", 3)}], ids=str)
def test_the_objectives_own_elbo_is_pyros_under_the_same_noise(in_double, options):
    """Value and gradient: a warm-up of one step takes the objective's way, the default takes Pyro's."""
    data = rows().weighted(torch.arange(60) % 3 + 0.5)
    family = vae(data, **options)
    own = loss_and_gradient(family, Objective(warm_up=1), data, seed=3)
    pyros = loss_and_gradient(family, Objective(), data, seed=3)
    torch.testing.assert_close(own, pyros, rtol=1e-9, atol=1e-12)


def test_an_autoencoders_objective_is_pyros():
    family = Autoencoder(rows().schema, latent=2, network=Dense((6,)), dtype=torch.float64)
    family.adopt(rows())
    found = [loss_and_gradient(family, Objective(warm_up=warm_up), rows(), seed=3) for warm_up in (0, 1)]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("reconstruction", "kl"), [(1.0, 4.0), (1.0, 0.0), (0.0, 1.0), (0.3, 0.7)])
def test_weights_weigh_the_two_parts(reconstruction, kl):
    family, objective = vae(rows()), Objective(reconstruction=reconstruction, kl=kl)
    parts = parts_of(family, rows(), seed=2)
    expected = kl * parts.kl.sum(-1).mean() - reconstruction * parts.log_likelihood.mean()
    torch.testing.assert_close(loss_and_gradient(family, objective, rows(), seed=2)[0], expected)
    with seeded(2):
        value = objective_value(family, objective, rows())
    torch.testing.assert_close(value.detach(), -60 * expected)


def test_without_the_kl_the_prior_learns_nothing_and_without_the_reconstruction_the_decoder():
    family = vae(rows(), prior=LatentPrior("mixture", 3))
    for objective, idle in (
        (Objective(kl=0.0), family.model.prior),
        (Objective(reconstruction=0.0), family.model.decoder),
    ):
        gradients = loss_and_gradient(family, objective, rows(), seed=0)[1:]
        told = zip(family.parameters(), gradients, strict=True)
        moved = {id(parameter) for parameter, gradient in told if bool((gradient != 0).any())}
        assert not moved & {id(parameter) for parameter in idle.parameters()}
        assert moved & {id(parameter) for parameter in family.guide.parameters()}


def test_the_warm_up_raises_the_kls_weight_in_equal_steps():
    objective, family = Objective(kl=2.0, warm_up=4), vae(rows())
    parts = parts_of(family, rows(), seed=2)
    for step, weight in enumerate((0.5, 1.0, 1.5, 2.0, 2.0)):
        assert objective.kl_weight(step) == weight
        expected = weight * parts.kl.sum(-1).mean() - parts.log_likelihood.mean()
        torch.testing.assert_close(loss_and_gradient(family, objective, rows(), seed=2, step=step)[0], expected)


def test_free_nats_are_not_charged_unit_by_unit():
    data = rows().weighted(torch.arange(60) % 2 + 1.0)
    family = vae(data)
    with torch.no_grad():
        family.guide.answer.loc.bias[0] = 3.0
    parts = parts_of(family, data, seed=2)
    units = data.weights @ parts.kl / 90
    assert float(units[1]) < 1.0 < float(units[0])
    expected = 90 * (units[0] + 1.0) - data.weights @ parts.log_likelihood[0]
    found = loss_and_gradient(family, Objective(free_nats=1.0), data, seed=2)[0]
    torch.testing.assert_close(found, expected / 60)
    gradient = torch.autograd.grad(
        training_loss(family, Objective(reconstruction=0.0, free_nats=1.0))(data, 60, 0), family.guide.answer.loc.bias
    )[0]
    assert float(gradient[0]) != 0 and float(gradient[1]) == 0


def test_free_nats_are_those_of_all_rows_where_rows_are_read_in_parts(monkeypatch):
    family = vae(rows())
    objective = Objective(reconstruction=0.0, free_nats=float(parts_of(family, rows(), seed=0).kl.mean()))
    with torch.no_grad():
        whole = objective_value(family, objective, rows())
        monkeypatch.setattr("ppl_models.inference.objectives.CELLS_IN_MEMORY", 7 * family.cells)
        torch.testing.assert_close(objective_value(family, objective, rows()), whole)
    assert float(whole) < -60 * objective.free_nats


@pytest.mark.parametrize("guide", ["diagonal", "full"])
def test_the_expected_bound_by_draws_is_that_of_log_density(guide):
    """Over 60 seeds each, to within 4.6 standard errors of the difference: false alarms 4e-6."""
    data = rows(20)
    family, objective = vae(data, guide=guide), Objective(draws=3)
    with torch.no_grad():
        losses = [-float(loss_and_gradient_free(family, objective, data, seed=seed)) for seed in range(60)]
        others = [log_density(family, data, seed=seed, draws=3).values for seed in range(60)]
    others = np.array(others).mean(-1) - float(data.log_scale.mean())
    gap, se = np.mean(losses) - others.mean(), (np.var(losses) / 60 + others.var() / 60) ** 0.5
    assert abs(gap) < 4.6 * se


def loss_and_gradient_free(family, objective: Objective, data: Dataset, *, seed: int) -> Tensor:
    with seeded(seed):
        return training_loss(family, objective)(data, len(data), 0)


def test_the_bound_by_draws_is_the_log_of_the_mean_weight_of_each_row():
    data = rows(20).weighted(torch.arange(20) % 3.0 + 0.5)
    family, objective = vae(data), Objective(draws=5)
    with seeded(4), torch.no_grad():
        weights = family.weigh(data, torch.randn(5, 20, 2)).log_weights
    expected = data.weights @ weights.exp().mean(0).log()
    torch.testing.assert_close(loss_and_gradient(family, objective, data, seed=4)[0], -expected / 20)
    with seeded(4):
        torch.testing.assert_close(objective_value(family, objective, data).detach(), expected)


def many_gradients(family, objective: Objective, data: Dataset, seeds: int) -> tuple[Tensor, Tensor]:
    """The gradients by the guide's parameters and by the model's, one row a seed."""
    split = len(list(family.model.parameters()))
    names = [name.startswith("guide") for name, _ in family.named_parameters()]
    assert split == names.count(False)
    found = [loss_and_gradient(family, objective, data, seed=seed)[1:] for seed in range(seeds)]
    guide = [flat([g for g, inside in zip(each, names, strict=True) if inside]) for each in found]
    model = [flat([g for g, inside in zip(each, names, strict=True) if not inside]) for each in found]
    return torch.stack(guide), torch.stack(model)


@pytest.mark.parametrize("options", [{}, {"guide": "full"}, {"prior": LatentPrior("vamp", 2)}], ids=str)
def test_the_doubly_reparametrised_gradient_has_the_expectation_of_the_plain_one(options):
    """Over 60 seeds each, no parameter's means are 6 standard errors apart: false alarms 3e-6 for 150 parameters."""
    data = rows(8)[torch.arange(8).repeat(30)]
    family, seeds = vae(data, **options), 60
    plain = many_gradients(family, Objective(draws=4), data, seeds)
    doubly = many_gradients(family, Objective(draws=4, doubly_reparametrised=True), data, seeds)
    for one, other in zip(plain, doubly, strict=True):
        se = ((one.var(0) + other.var(0)) / seeds).sqrt()
        told = se > 0
        assert (((one.mean(0) - other.mean(0))[told] / se[told]).abs() < 6).all()
        torch.testing.assert_close(one.mean(0)[~told], other.mean(0)[~told], rtol=1e-6, atol=1e-10)
        assert float((one.mean(0)[told] / se[told]).abs().max()) > 10


def test_near_the_optimum_the_doubly_reparametrised_gradient_of_the_guide_has_the_smaller_variance():
    """At K = 50, where the plain one's signal drowns; by more than half."""
    data = rows_of("iris", 150)[:20]
    family = vae(data)
    climb(
        family,
        data,
        None,
        method=Gradient(steps=300, batch_size=None, learning_rate=0.03, check_every=300),
        seed=0,
        progress=lambda steps: None,
    )
    plain, _ = many_gradients(family, Objective(draws=50), data, 25)
    doubly, _ = many_gradients(family, Objective(draws=50, doubly_reparametrised=True), data, 25)
    assert doubly.var(0).sum() < plain.var(0).sum() / 2


def test_the_doubly_reparametrised_gradient_of_a_model_does_not_need_a_guide_that_learns():
    data = rows(8)
    family, objective = vae(data), Objective(draws=4, doubly_reparametrised=True)
    expected = many_gradients(family, Objective(draws=4), data, 1)[1]
    family.guide.requires_grad_(False)
    with seeded(0):
        training_loss(family, objective)(data, 8, 0).backward()
    found = flat([parameter.grad for parameter in family.model.parameters()])
    torch.testing.assert_close(found, expected[0])


QUICK = {"batch_size": 20, "check_every": 5}


def halves() -> tuple[Dataset, Dataset]:
    return rows(150)[:100], rows(150)[100:]


def test_the_history_tells_the_objective_beside_the_elbo():
    train, validation = halves()
    objective = Objective(kl=3.0)
    found = fit(vae(train), train, validation, seed=0, method=Gradient(steps=10, objective=objective, **QUICK))
    names = ["step", *(f"{part}_{name}" for name in ("elbo", "objective") for part in ("train", "validation"))]
    assert list(found.history) == names
    assert (found.history["train_objective"] < found.history["train_elbo"]).all()


@pytest.mark.parametrize("objective", [Objective(draws=3), Objective(kl=0.5)], ids=str)
def test_without_validation_rows_the_history_says_that_there_are_none(objective):
    found = fit(vae(rows()), rows(), seed=0, method=Gradient(steps=5, objective=objective, **QUICK))
    assert found.history[["validation_elbo", "validation_objective"]].isna().all(axis=None)
    assert found.history[["train_elbo", "train_objective"]].notna().all(axis=None)


@pytest.mark.parametrize("objective", [Objective(reconstruction=0.0), Objective(kl=0.0)], ids=str)
def test_a_fit_ends_in_the_state_of_the_best_validated_objective_and_not_elbo(objective):
    """The two parts alone, of which either is best where the ELBO is not."""
    train, validation = halves()
    method = Gradient(steps=60, learning_rate=0.03, objective=objective, **QUICK)
    found = fit(vae(train), train, validation, seed=0, method=method)
    best = found.history.loc[found.history["validation_objective"].idxmax()]
    with seeded(0), torch.no_grad():
        value = float(objective_value(found.family, objective, validation))
    assert (value + float(validation.log_scale.sum())) / 50 == pytest.approx(best["validation_objective"], abs=1e-9)
    assert best["step"] != found.history.loc[found.history["validation_elbo"].idxmax(), "step"]


def test_an_objective_that_does_not_rise_stops_the_fit_by_its_name():
    train, validation = halves()
    method = Gradient(steps=500, learning_rate=1e-30, patience=2, objective=Objective(kl=2.0), **QUICK)
    with seeded(0):
        found = fit(vae(train), train, validation, seed=0, method=method)
    assert found.stop.startswith("no better validation objective in 2 evaluations")


def test_patience_waits_for_the_end_of_the_warm_up():
    train, validation = halves()
    stops = []
    for warm_up in (0, 30):
        method = Gradient(steps=60, learning_rate=1e-30, patience=2, objective=Objective(warm_up=warm_up), **QUICK)
        stops.append(fit(vae(train), train, validation, seed=0, method=method).history["step"].iloc[-1])
    assert stops[0] < 30 <= stops[1] < 60


def path_of(family: VAE, data: Dataset, method: Gradient) -> list[dict[str, Tensor]]:
    """The parameters after each step of fit's own cycle, with torch's parts put together anew."""
    family.adopt(data)
    family.initialise(data, seed=5)
    optimiser = torch.optim.Adam(family.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, method.learning_rate, total_steps=method.steps)
    loss_of, path = training_loss(family, method.objective), []
    with seeded(5):
        for step in range(method.steps):
            optimiser.zero_grad()
            loss_of(data, len(data), step).backward()
            optimiser.step()
            schedule.step()
            path.append({name: value.detach().clone() for name, value in family.named_parameters()})
    return path


def test_the_average_of_the_path_takes_the_place_of_its_end():
    method = Gradient(steps=6, batch_size=None, check_every=6, learning_rate=0.05, average=0.7)
    path = path_of(vae(rows()), rows(), method)
    expected = path[0]
    for state in path[1:]:
        expected = {name: 0.7 * expected[name] + 0.3 * state[name] for name in state}
    found = dict(fit(vae(rows()), rows(), seed=5, method=method).family.named_parameters())
    for name, value in expected.items():
        torch.testing.assert_close(found[name].detach(), value, rtol=1e-9, atol=1e-12)
    assert any(not torch.allclose(found[name], value) for name, value in path[-1].items())


@pytest.mark.parametrize(
    "objective",
    [Objective(warm_up=4), Objective(draws=3, doubly_reparametrised=True), Objective(free_nats=0.1)],
    ids=str,
)
def test_same_seed_gives_the_same_bits_with_every_option_on(objective):
    train, validation = halves()
    method, states = Gradient(steps=8, average=0.9, objective=objective, **QUICK), []
    for _ in range(2):
        family = VAE(train.schema, latent=2, network=Dense((6,), hide=0.3), prior=LatentPrior("vamp", 3))
        torch.manual_seed(len(states))  # a state of the process that fits leave out of account
        states.append(fit(family, train, validation, seed=2, method=method).family.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_guide_from_which_cells_were_hidden_is_judged_with_all_of_them():
    data = rows()
    family = VAE(data.schema, latent=2, network=Dense((6,), hide=0.5), dtype=torch.float64)
    found = fit(family, data, seed=0, method=Gradient(steps=5, **QUICK))
    open_eyed = VAE(data.schema, latent=2, network=Dense((6,)), dtype=torch.float64)
    open_eyed.load_state_dict(family.state_dict())
    assert found.elbo == estimate_elbo(open_eyed, data, seed=0).mean
    both = [log_density(each, data, draws=3).values for each in (family, open_eyed)]
    np.testing.assert_array_equal(*both)


REFUSED = {
    "a weight below 0": (lambda: Objective(kl=-1.0), "Objective: expected kl of 0 or more, got -1.0"),
    "no number": (lambda: Objective(reconstruction=math.nan), "expected reconstruction of 0 or more, got nan"),
    "negative nats": (lambda: Objective(free_nats=-0.5), "Objective: expected free_nats of 0 or more, got -0.5"),
    "a negative warm-up": (lambda: Objective(warm_up=-3), "Objective: expected warm_up of 0 or more, got -3"),
    "no draw": (lambda: Objective(draws=0), "Objective: draws: expected one or more, got 0"),
    "parts of a bound by draws": (
        lambda: Objective(draws=5, kl=2.0),
        "a bound by several draws has no parts to weigh; expected .* with draws=5, got 1.0, 2.0 and 0.0",
    ),
    "one draw, doubly": (
        lambda: Objective(doubly_reparametrised=True),
        "the doubly reparametrised gradient is of a bound by several draws, got draws=1",
    ),
    "an average of nothing": (lambda: Gradient(average=1.0), "Gradient: expected average from 0 to below 1, got 1.0"),
    "draws from a point mass": (
        lambda: fit(Autoencoder(rows().schema, latent=1), rows(), seed=0, method=climbing(draws=5)),
        "a bound by 5 draws needs a guide that is a density, got Autoencoder, whose guide is not",
    ),
    "no latent point": (
        lambda: fit(GaussianMixture(REAL.schema, components=2), REAL, seed=0, method=climbing(kl=2.0)),
        "Objective: expected a family with a latent point a row, got GaussianMixture",
    ),
    "parts of no latent point": (
        lambda: elbo_parts(GaussianMixture(REAL.schema, components=2), REAL, seed=0),
        "ELBO parts: expected a family with a latent point a row, got GaussianMixture",
    ),
    "no particle": (
        lambda: elbo_parts(vae(rows()), rows(), seed=0, particles=0),
        "particles: expected one or more, got 0",
    ),
    "parts of an unfitted family": (
        lambda: elbo_parts(VAE(REAL.schema, latent=1), REAL, seed=0),
        "VAE: expected a fitted family, got one that was never fitted",
    ),
}
REAL = rows_of("iris", 150)


def climbing(**options) -> Gradient:
    return Gradient(steps=1, objective=Objective(**options))


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_objectives_that_cannot_be_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


PAIRS = {
    "mixed columns": lambda: (vae(rows()), rows()),
    "cells missing": lambda: (vae(rows_of(TABLE, 150, 0.2)), rows_of(TABLE, 150, 0.2)),
    "full covariance": lambda: (vae(rows(), guide="full"), rows()),
    "flow": lambda: (vae(rows(), guide="spline-flow"), rows()),
    "mixture prior": lambda: (vae(rows(), prior=LatentPrior("mixture", 3)), rows()),
    "float32": lambda: (vae(rows(), torch.float32), rows()),
    "by weight": lambda: (vae(rows()), rows().weighted(torch.arange(60) % 3 + 0.5)),
}


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_the_parts_add_up_to_pyros_elbo(make):
    """To within 4.7 standard errors of 60 particles each: false alarms 2e-5 a case, by t(59)."""
    family, data = make()
    parts, pyros = elbo_parts(family, data, seed=1, particles=60), estimate_elbo(family, data, seed=2, particles=60)
    assert abs(parts.elbo.mean - pyros.mean) < 4.7 * math.hypot(parts.elbo.se, pyros.se)
    assert parts.elbo.se == pytest.approx(pyros.se, rel=0.8)
    assert sum(unit.mean for unit in parts.units) == pytest.approx(parts.kl.mean)
    assert parts.closed_form == (parts.kl.se < 1e-12)


def test_the_parts_read_rows_in_parts_of_bounded_memory(monkeypatch):
    family = vae(rows())
    whole = elbo_parts(family, rows(), seed=0)
    monkeypatch.setattr("ppl_models.inference.parts.CELLS_IN_MEMORY", 7 * family.cells)
    parts = elbo_parts(family, rows(), seed=0)
    assert parts.kl.mean == pytest.approx(whole.kl.mean, rel=1e-12)
    assert abs(parts.elbo.mean - whole.elbo.mean) < 5 * math.hypot(parts.elbo.se, whole.elbo.se)


def test_what_is_charged_for_an_autoencoders_point_is_minus_its_log_prior():
    family = Autoencoder(rows().schema, latent=2, network=Dense((6,)), dtype=torch.float64)
    family.adopt(rows())
    parts = elbo_parts(family, rows(), seed=0, particles=2)
    prior = (family.encode(rows()).square().sum(-1) / 2 + math.log(2 * math.pi)).mean()
    reconstruction = (family.reconstruction_log_likelihood(rows()) + rows().log_scale).mean()
    assert parts.closed_form and parts.kl.mean == pytest.approx(float(prior))
    assert parts.reconstruction.mean == pytest.approx(float(reconstruction))


def test_a_collapsed_posterior_is_remarked_on():
    family = vae(rows())
    assert remarks(family, rows()) == ()
    with torch.no_grad():
        family.guide.answer.loc.weight.zero_()
    told = "Posterior collapse: 0 of 2 latent dimensions vary with the row (variance of their centres above 0.01)"
    assert remarks(family, rows())[0].startswith(told)


def test_scales_at_their_bounds_are_remarked_on_by_name():
    family = VAE(REAL.schema, latent=2, network=Dense((6,)), guide="full")
    family.adopt(REAL)
    family.initialise(REAL, seed=0)
    head = family.model.heads[0]
    with torch.no_grad():
        family.guide.answer.log_scale.bias.copy_(torch.tensor([-30.0, 0.0]))
        head.scale.weight.zero_()
        head.scale.bias.copy_(torch.tensor([0.0, -20.0, 0.0, 0.0]))
    found = " ".join(remarks(family, REAL))
    assert "The guide's scale of z is at its lower bound, exp(-10), in 150 of 150 rows." in found
    name = REAL.schema.names[1]
    assert f"scale of column {name!r} is at its floor of 0.01 training standard deviations in 150 of 150 rows" in found
    assert found.count("The decoder's") == 1


def test_remarks_of_a_fit_are_no_warnings_and_come_into_the_report():
    """The suite turns warnings into errors; a KL that is charged a hundredfold makes the posterior collapse."""
    train, validation = halves()
    method = Gradient(steps=40, learning_rate=0.03, objective=Objective(kl=100.0), **QUICK)
    found = fit(vae(train), train, validation, seed=0, method=method)
    assert found.remarks == remarks(found.family, train) and "Posterior collapse" in found.remarks[0]
    report = Report("t", summary="s", seed=0)
    comparison_section(report, {"VAE": log_density(found.family, validation, draws=5)}, {"VAE": found})
    assert found.remarks[0] in str(vars(report))


def test_remarks_draw_nothing_and_read_at_most_a_thousand_rows(monkeypatch):
    family, seen = vae(rows()), []
    encode = VAE.encode
    monkeypatch.setattr(VAE, "encode", lambda self, batch: seen.append(len(batch)) or encode(self, batch))
    before = torch.get_rng_state()
    remarks(family, rows()[torch.arange(2501) % 60])
    assert torch.equal(torch.get_rng_state(), before)
    assert 0 < max(seen) <= 1000
    assert remarks(family, rows()[:1]) == ()
