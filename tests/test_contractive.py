"""The contractive price is the squared slope of the code, whatever the encoder, and no part of the ELBO."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from cases import rows_of
from torch import Tensor

from ppl_models.datasets import Column, Dataset, Schema, prepare
from ppl_models.errors import InputError
from ppl_models.families import Autoencoder, ContractiveAutoencoder
from ppl_models.inference import Gradient, estimate_elbo, fit
from ppl_models.inference.objectives import Objective, training_loss
from ppl_models.nn import Convolutional, Dense, Network

STEP = 1e-5
ACTIVATIONS = ("silu", "relu", "tanh", "softplus")
ENCODERS = {
    "linear": Dense(()),
    **{f"{name}, one layer": Dense((6,), activation=name) for name in ACTIVATIONS},
    **{f"{name}, two layers": Dense((6, 5), activation=name) for name in ACTIVATIONS},
}


@cache
def images() -> Dataset:
    """Random grey images of 5 by 4 real pixels: no two are the same, so that no maximum is shared."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(4, 20)), columns=[f"p{pixel}" for pixel in range(20)])
    schema = Schema(tuple(Column(name, "real") for name in frame), image_shape=(5, 4))
    return prepare(frame, schema)(frame)


def contractive(rows: Dataset, network: Network, contraction: float = 0.5) -> ContractiveAutoencoder:
    options = {"network": network, "dtype": torch.float64, "contraction": contraction}
    family = ContractiveAutoencoder(rows.schema, latent=2, **options)
    family.adopt(rows)
    family.initialise(rows, seed=1)
    return family


@torch.no_grad()
def slope_by_differences(family: ContractiveAutoencoder, rows: Dataset) -> Tensor:
    """‖∂h / ∂x‖² of each row by central differences, number by number of what the encoder sees."""
    numbers, guide = family.guide.encoder.inputs(rows, torch.float64), family.guide
    slopes = []
    for step in STEP * torch.eye(numbers.shape[-1], dtype=torch.float64):
        ends = [guide.loc(guide.encoder.network(numbers + sign * step)) for sign in (1, -1)]
        slopes.append((ends[0] - ends[1]) / (2 * STEP))
    return torch.stack(slopes).square().sum((0, -1))


def far_from_kinks(family: ContractiveAutoencoder, rows: Dataset) -> bool:
    """Whether no unit's input is within 1,000 steps of 0, where relu has no derivative."""
    hidden, distances = family.guide.encoder.inputs(rows, torch.float64), []
    for layer in family.guide.encoder.network.layers:
        hidden = layer(hidden)
        if isinstance(layer, torch.nn.Linear):
            distances.append(float(hidden.detach().abs().min()))
    return min(distances, default=1.0) > 1000 * STEP


def clear_of_kinks(family: ContractiveAutoencoder, rows: Dataset) -> Dataset:
    kept = [row for row in range(len(rows)) if far_from_kinks(family, rows[row : row + 1])]
    return rows[torch.tensor(kept)]


@pytest.mark.parametrize("network", ENCODERS.values(), ids=ENCODERS)
def test_the_squared_slope_is_that_of_finite_differences(network):
    rows = rows_of("iris", 150)[:20]
    family = contractive(rows, network)
    rows = clear_of_kinks(family, rows)
    assert len(rows) >= 5
    expected = slope_by_differences(family, rows)
    torch.testing.assert_close(family.squared_slope(rows).detach(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(family.price(rows).detach(), 0.5 * expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("downsampling", ["stride", "pool"])
def test_the_slope_of_a_convolutional_encoder_is_that_of_finite_differences(downsampling):
    rows = images()
    network = Convolutional((3,), (4,), downsampling=downsampling, activation="tanh")
    family = contractive(rows, network)
    found = family.squared_slope(rows).detach()
    torch.testing.assert_close(found, slope_by_differences(family, rows), rtol=1e-5, atol=0)


def test_mixed_columns_are_charged_as_the_encoder_sees_them():
    rows = rows_of("fast_food_customers", 150)[:10]
    family = contractive(rows, Dense((5,), activation="tanh"))
    found = family.squared_slope(rows).detach()
    torch.testing.assert_close(found, slope_by_differences(family, rows), rtol=1e-6, atol=0)


@pytest.mark.parametrize("depth", [1, 2])
def test_the_prices_gradient_is_that_of_finite_differences(depth):
    """With respect to a weight of each of the encoder's layers; the decoder has none."""
    rows = rows_of("iris", 150)[:5]
    family = contractive(rows, Dense((4,) * depth, activation="tanh"))
    family.price(rows).sum().backward()
    for layer in (*family.guide.encoder.network.layers[::2], family.guide.loc):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                layer.weight[0, 0] += sign * STEP
                values.append(float(family.price(rows).detach().sum()))
                layer.weight[0, 0] -= sign * STEP
        expected = (values[0] - values[1]) / (2 * STEP)
        assert float(layer.weight.grad[0, 0]) == pytest.approx(expected, rel=1e-5)
    assert all(parameter.grad is None for parameter in family.model.parameters())


def test_the_price_belongs_to_the_loss_and_not_to_the_elbo():
    rows = rows_of("iris", 150)
    charged = contractive(rows, Dense((4,)), contraction=0.7)
    free = Autoencoder(rows.schema, latent=2, network=Dense((4,)), dtype=torch.float64)
    free.load_state_dict(charged.state_dict())
    losses = [training_loss(family, Objective())(rows, len(rows), 0) for family in (charged, free)]
    torch.testing.assert_close(losses[0] - losses[1], 0.7 * charged.squared_slope(rows).mean())
    assert estimate_elbo(charged, rows, seed=0) == estimate_elbo(free, rows, seed=0)


def test_rows_are_charged_by_weight():
    rows = rows_of("iris", 150)[:6].weighted(torch.arange(1.0, 7.0))
    family = contractive(rows, Dense((4,)))
    for objective in (Objective(), Objective(warm_up=1)):
        with_price = training_loss(family, objective)(rows, 6, 0)
        family.contraction = 0.0
        without = training_loss(family, objective)(rows, 6, 0)
        family.contraction = 0.5
        torch.testing.assert_close(with_price - without, (rows.weights * family.price(rows)).mean())


def test_a_higher_price_makes_a_flatter_code():
    rows, method = rows_of("iris", 150), Gradient(steps=60, batch_size=None, learning_rate=0.03, check_every=60)
    slopes = []
    for contraction in (0.0, 5.0):
        family = contractive(rows, Dense((4,)), contraction)
        fit(family, rows, seed=0, method=method)
        slopes.append(float(family.squared_slope(rows).detach().mean()))
    assert slopes[1] < slopes[0] / 2


@pytest.mark.parametrize("contraction", [-0.1, float("inf"), float("nan")])
def test_a_contraction_that_is_no_price_is_refused(contraction):
    with pytest.raises(InputError, match="ContractiveAutoencoder: expected contraction of 0 or more, got"):
        ContractiveAutoencoder(rows_of("iris", 150).schema, latent=2, contraction=contraction)


def test_batch_norm_under_which_a_slope_has_no_meaning_is_refused():
    network = Convolutional((3,), batch_norm=True)
    with pytest.raises(InputError, match="ContractiveAutoencoder: expected a network without batch norm"):
        ContractiveAutoencoder(images().schema, latent=2, network=network)
