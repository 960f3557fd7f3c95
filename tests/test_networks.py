"""Networks fit the columns and the images they are built for, keep leading dimensions, and refuse what cannot be."""

import jaxtyping
import numpy as np
import pandas as pd
import pytest
import torch
from cases import rows_of

from ppl_models.datasets import Column, Dataset, Schema, prepare
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.families import VAE, Autoencoder
from ppl_models.families.encoder import Encoder
from ppl_models.inference import Gradient, fit, log_density
from ppl_models.nn import Convolutional, Dense, PixelOutput

SHAPES = [(28, 28), (7, 5), (8, 3), (1, 1), (2, 1), (1, 9), (3, 3)]


def images_of(shape: tuple[int, int], rows: int = 6, kind: str = "real") -> Dataset:
    """Random images of this shape."""
    random, pixels = np.random.default_rng(0), shape[0] * shape[1]
    values = random.normal(size=(rows, pixels)) if kind == "real" else random.integers(0, 2, (rows, pixels))
    frame = pd.DataFrame(values, columns=[f"pixel {number}" for number in range(pixels)])
    schema = Schema(tuple(Column(name, kind) for name in frame), image_shape=shape)
    return prepare(frame, schema)(frame)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("downsampling", ["stride", "pool"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_convolutions_fit_images_of_any_shape(shape, downsampling, batch_norm):
    network = Convolutional((3, 4), (5,), downsampling=downsampling, batch_norm=batch_norm)
    pixels = shape[0] * shape[1]
    encoder, decoder = network.encoder(pixels, 0, shape).eval(), network.decoder(2, shape).eval()
    assert encoder(torch.randn(6, pixels)).shape == (6, encoder.width) == (6, 5)
    hidden = decoder(torch.randn(6, 2))
    assert hidden.shape == (6, decoder.width) == (6, 3 * pixels)
    assert decoder.output(pixels)(hidden).shape == (6, pixels)
    assert decoder.output(4 * pixels)(hidden).shape == (6, 4 * pixels)


@pytest.mark.parametrize("channels", [(2,), (2, 3, 4), (1, 1, 1, 1)])
def test_an_image_is_halved_once_for_each_convolution(channels):
    network = Convolutional(channels, ())
    sizes = [13, 7, 4, 2, 1]
    encoder = network.encoder(13 * 9, 0, (13, 9))
    assert encoder.width == channels[-1] * sizes[len(channels)] * [9, 5, 3, 2, 1][len(channels)]
    assert network.decoder(2, (13, 9))(torch.randn(1, 2)).shape == (1, channels[0] * 13 * 9)


@pytest.mark.parametrize(
    "network", [Dense((6, 5)), Dense(()), Convolutional((3,), (5,))], ids=["deep", "flat", "image"]
)
def test_networks_keep_leading_dimensions(network):
    encoder, decoder = network.encoder(12, 2, (4, 3)), network.decoder(2, (4, 3))
    x, z = torch.randn(7, 5, 14), torch.randn(7, 5, 2)
    for layers, inputs in ((encoder, x), (decoder, z)):
        found = layers(inputs)
        assert found.shape == (7, 5, layers.width)
        torch.testing.assert_close(found[3], layers(inputs[3]))


@pytest.mark.parametrize("network", [Dense((6,)), Convolutional((3,), (6,))], ids=["dense", "image"])
def test_a_condition_stands_behind_the_rows_own_numbers(network):
    encoder = network.encoder(12, 2, (4, 3))
    x = torch.randn(5, 14)
    changed = x.clone()
    changed[:, 12:] += 1
    assert (encoder(x) - encoder(changed)).abs().amax(-1).min() > 0
    assert network.encoder(12, 0, (4, 3))(x[:, :12]).shape == (5, 6)


def test_dense_layers_are_mirrored():
    widths = [layer.out_features for layer in Dense((6, 5)).encoder(3, 0, None).layers[::2]]
    assert widths == [6, 5]
    assert [layer.out_features for layer in Dense((6, 5)).decoder(2, None).layers[::2]] == [5, 6]


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "silu": lambda x: x / (1 + np.exp(-x)),
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "softplus": lambda x: np.log1p(np.exp(x)),
    }.items(),
)
def test_a_hidden_layer_is_its_activation_of_a_linear_one(name, expected):
    network = Dense((6,), activation=name).encoder(3, 0, None).double()
    x, layer = torch.randn(5, 3).double(), network.layers[0]
    before = x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(network(x).detach(), expected(before), rtol=1e-10)


def test_an_output_has_the_numbers_of_a_pixel_side_by_side():
    """Each from the pixel's own features, by weights that all pixels share and a bias of its own."""
    output = PixelOutput(3, 4, 2)
    output.bias.data = torch.randn(4, 2)
    hidden = torch.randn(5, 3, 4)  # features by pixels, as convolutions leave them
    found = output(hidden.flatten(1)).unflatten(-1, (4, 2))
    for pixel in range(4):
        expected = hidden[:, :, pixel] @ output.weight.weight.T + output.bias[pixel]
        torch.testing.assert_close(found[:, pixel], expected)


def test_a_change_of_one_pixels_features_moves_that_pixels_column_alone():
    decoder = Convolutional((3,), ()).decoder(2, (4, 3))
    hidden = torch.randn(1, decoder.width)
    moved = hidden.clone()
    moved.view(1, 3, 12)[0, :, 7] += 1
    output = decoder.output(12)
    assert ((output(moved) - output(hidden)) != 0)[0].nonzero()[:, 0].tolist() == [7]


def test_an_encoder_sees_neighbouring_pixels_together():
    """One convolution of stride 2: a change of one corner reaches only the features whose window holds it."""
    encoder = Convolutional((2,), ()).encoder(64, 0, (8, 8))
    image = torch.zeros(1, 64)
    corner = image.clone()
    corner[0, 0] = 1
    changed = (encoder(corner) != encoder(image)).view(2, 4, 4).any(0)
    assert changed.nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize("shape", [(5, 4), (1, 1)], ids=str)
@pytest.mark.parametrize("make", [VAE, Autoencoder])
def test_convolutional_families_are_fitted_to_images_of_any_shape(make, shape):
    rows = images_of(shape, rows=40)
    network = Convolutional((2, 3), (4,), batch_norm=True, downsampling="pool")
    found = fit(make(rows.schema, latent=1, network=network), rows, seed=0, method=Gradient(steps=3, batch_size=20))
    assert np.isfinite(found.elbo)


def test_batch_norm_judges_each_row_by_itself_once_it_is_trained():
    rows = images_of((5, 4), rows=40, kind="binary")
    family = VAE(rows.schema, latent=1, network=Convolutional((2,), (4,), batch_norm=True))
    fit(family, rows, seed=0, method=Gradient(steps=5, batch_size=20))
    whole = log_density(family, rows, draws=5).values
    np.testing.assert_allclose(log_density(family, rows[3:4], draws=5).values, whole[3:4], rtol=1e-6)
    assert not family.training


def test_families_hide_nothing_and_standardise_over_no_batch_until_a_step_trains_them():
    rows = images_of((5, 4))
    network = Convolutional((2,), (4,), batch_norm=True, hide=0.5)
    for make in (VAE, Autoencoder):
        family = make(rows.schema, latent=1, network=network)
        family.adopt(rows)
        torch.testing.assert_close(family.encode(rows)[:2], family.encode(rows[:2]))


def test_about_the_share_that_is_said_is_hidden_in_training_and_the_rest_made_up_for_it():
    """Of 150 · 4 cells, five times: within 4.5 standard errors, false alarms 7e-6; afresh each time."""
    rows, encoder = rows_of("iris", 150), Encoder(rows_of("iris", 150).schema, Dense((4,), hide=0.3))
    with seeded(1):
        seen = torch.stack([encoder.train().inputs(rows, torch.float64) for _ in range(5)])
    share = float((seen == 0).double().mean())
    assert abs(share - 0.3) < 4.5 * (0.3 * 0.7 / seen.numel()) ** 0.5
    torch.testing.assert_close(seen, (rows.values / 0.7).expand_as(seen).where(seen != 0, 0.0), rtol=1e-6, atol=0)
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(encoder.eval().inputs(rows, torch.float64), rows.values)


def test_all_indicators_of_a_category_are_hidden_together():
    rows = rows_of("wrodl", 100)
    encoder = Encoder(rows.schema, Dense((4,), hide=0.5)).train()
    with seeded(1):
        numbers = encoder.inputs(rows, torch.float64)
    sizes = [column.cardinality for column in rows.schema.columns if column.kind == "categorical"]
    for indicators in numbers[:, -sum(sizes) :].split(sizes, -1):
        assert set(indicators.sum(-1).tolist()) == {0.0, 2.0}


def test_what_is_hidden_from_the_guide_is_not_hidden_from_the_likelihood():
    rows = rows_of("iris", 150)
    family = VAE(rows.schema, latent=1, network=Dense((4,), hide=0.9), dtype=torch.float64)
    family.adopt(rows)
    noise = torch.zeros(1, 1, dtype=torch.float64)
    with torch.no_grad():
        centre = family.guide.answer.loc.bias
        family.guide.answer.loc.weight.zero_()
        expected = family.model.log_likelihood(rows, centre.expand(1, 150, 1))
        family.guide.answer.log_scale.weight.zero_()
        found = family.train().weigh(rows, noise).log_likelihood
    torch.testing.assert_close(found, expected)


REFUSED = {
    "activation": (
        lambda: Dense((4,), activation="gelu"),
        "activation: expected one of silu, relu, tanh, softplus, got 'gelu'",
    ),
    "downsampling": (
        lambda: Convolutional(downsampling="mean"),
        r"expected one or more channels and downsampling 'stride' or 'pool', got \(16, 32\) and 'mean'",
    ),
    "no channel": (lambda: Convolutional(()), r"expected one or more channels .*, got \(\) and 'stride'"),
    "empty channels": (lambda: Convolutional((4, 0)), r"Convolutional: expected channels of 1 or more, got \(4, 0\)"),
    "empty layer": (lambda: Dense((4, 0)), r"Dense: expected hidden of 1 or more, got \(4, 0\)"),
    "empty dense layer": (lambda: Convolutional((4,), (0,)), r"expected hidden of 1 or more, got \(0,\)"),
    "everything hidden": (lambda: Dense(hide=1.0), "hide: expected a share from 0 to below 1, got 1.0"),
    "less than nothing hidden": (lambda: Dense(hide=-0.1), "hide: expected a share from 0 to below 1, got -0.1"),
    "a table for an image": (
        lambda: VAE(rows_of("iris", 150).schema, latent=2, network=Convolutional((4,))),
        "Convolutional: expected a schema with an image_shape, got a table without one; use Dense",
    ),
    "no dimension of z": (
        lambda: Autoencoder(rows_of("iris", 150).schema, latent=0),
        "Autoencoder: expected one or more latent dimensions, got latent=0",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_networks_that_cannot_be_are_refused(call, message):
    """As users meet them: the type checks of the test run are off."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(InputError, match=message):
            call()
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(("rows", "batch_size"), [(6, 1), (1, 128), (1, None)])
def test_batches_of_one_row_are_refused_for_batch_norm(rows, batch_size):
    data = images_of((5, 4), rows=6)[:rows]
    family = VAE(data.schema, latent=1, network=Convolutional((2,), batch_norm=True))
    with pytest.raises(InputError, match="VAE: batch norm needs two or more rows a batch, got 1"):
        fit(family, data, seed=0, method=Gradient(steps=1, batch_size=batch_size))


def test_lists_will_do_for_widths():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        assert Dense([4, 3]) == Dense((4, 3))
        assert Convolutional([4], [3]) == Convolutional((4,), (3,))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("name", ["digits_binary", "digits"])
def test_the_encoder_sees_pixels_less_their_training_mean_and_nothing_of_missing_ones(name):
    rows = rows_of(name, 150, 0.2)
    family = VAE(rows.schema, latent=1)
    family.adopt(rows)
    seen = family.guide.encoder.inputs(rows, torch.float64)
    highest = torch.tensor([column.cardinality - 1 for column in rows.schema.columns])
    level = rows.values / highest if name == "digits_binary" else 2 * rows.values / highest - 1
    means = torch.where(rows.observed, level, torch.nan).nanmean(0)
    expected = torch.where(rows.observed, level - means, 0.0)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-6)
