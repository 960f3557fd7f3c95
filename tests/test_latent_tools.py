"""The latent space's tools against linear decoders, whose codes, densities and information are closed forms."""

from dataclasses import replace
from sys import modules

import numpy as np
import pandas as pd
import pytest
import torch
from cases import CASES, build, rows_of
from scipy import stats

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import DecoderLikelihoods, seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import representation, smoothness
from ppl_models.families import VAE, Family, Latent, NaiveBayes
from ppl_models.inference import (
    as_numbers,
    decode,
    decode_images,
    decoded_numbers,
    decoded_paths,
    drawn_numbers,
    encode,
    fit,
    images_of,
    label_readout,
    latent_grid,
    latent_information,
    latent_path,
    log_density,
    reconstruct,
)
from ppl_models.inference.answers import rows_like
from ppl_models.inference.decoded import draw_rows, told_points
from ppl_models.nn import Dense

NOISE = 0.4  # the variance of a cell given z
LOADING = np.array([[1.0, 0.3], [1.0, -0.3], [1.0, 0.3], [1.0, -0.3]]) * 0.6  # orthogonal columns
LOC = np.array([0.1, -0.2, 0.0, 0.3])
COVARIANCE = np.linalg.inv(LOADING.T @ LOADING / NOISE + np.eye(2))  # of z given x: diagonal
GREEDY = "test_decoded_numbers_are_the_means_of_rows_drawn_there"
LATENTS = [name for name, case in CASES.items() if isinstance(build(name)[0], Latent)]
SIX = 6.0  # standard errors: a normal is outside once in 5e8, so that some thousand comparisons are safe


def started(name: str) -> tuple[Family, Dataset]:
    """A family of this case with weights drawn at random, and its rows."""
    family, rows = build(name)
    family.adopt(rows)
    family.initialise(rows, seed=0)
    return family, rows


def factors(schema: Schema) -> VAE:
    """A linear VAE of four real columns: factor analysis."""
    likelihoods = DecoderLikelihoods(scale="column")
    return VAE(schema, latent=2, network=Dense(()), likelihoods=likelihoods, dtype=torch.float64)


def linear(rows: Dataset) -> VAE:
    """Factor analysis with the loading and noise above, and the exact posterior for a guide."""
    family = factors(rows.schema)
    family.adopt(rows)
    head, answer = family.model.heads[0], family.guide.answer
    slope = COVARIANCE @ LOADING.T / NOISE
    values = {
        head.loc.weight: LOADING,
        head.loc.bias: LOC,
        head.log_scale: np.full(4, np.log(NOISE**0.5 - 0.01)),
        answer.loc.weight: slope,
        answer.loc.bias: -slope @ LOC,
        answer.log_scale.weight: np.zeros((2, 4)),
        answer.log_scale.bias: np.log(np.diag(COVARIANCE)) / 2,
    }
    with torch.no_grad():
        for parameter, value in values.items():
            parameter.copy_(torch.tensor(value))
    return family


def iris() -> tuple[VAE, Dataset]:
    rows = rows_of("iris", 150)
    return linear(rows), rows


def own_rows(count: int) -> tuple[VAE, Dataset]:
    """A linear VAE, and rows drawn from it."""
    family, rows = iris()
    with seeded(1):
        return family, rows_like(rows, family.draw(count).values)


def normals(features: int = 4, latent: int = 2) -> VAE:
    """A VAE of standard normal prior, started on some rows."""
    rows = rows_of("iris", 150)
    family = VAE(rows.schema, latent=latent, network=Dense((8,)), dtype=torch.float64)
    family.adopt(rows)
    return family


def test_the_codes_of_a_linear_vae_are_the_posteriors_means():
    family, rows = iris()
    expected = (rows.values.numpy() - LOC) @ (COVARIANCE @ LOADING.T / NOISE).T
    found = encode(family, rows)
    assert list(found) == ["z1", "z2"]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_linear_decoder_gives_its_means_in_raw_units():
    family, rows = iris()
    codes = encode(family, rows)
    expected = (codes.to_numpy() @ LOADING.T + LOC) * rows.scale.numpy() + rows.loc.numpy()
    np.testing.assert_allclose(decode(family, codes), expected, rtol=1e-12)
    np.testing.assert_allclose(reconstruct(family, rows), expected, rtol=1e-12)


@pytest.mark.parametrize("name", LATENTS)
def test_what_is_decoded_could_be_a_row_of_the_table(name):
    family, rows = started(name)
    found = reconstruct(family, rows[:20])
    again = family.preparation(found)
    before = family.preparation.invert(rows.values[:20])
    assert list(found.dtypes) == list(before.dtypes)
    assert again.complete


@pytest.mark.parametrize("name", [name for name in LATENTS if GREEDY not in CASES[name].exempt])
def test_decoded_numbers_are_the_means_of_rows_drawn_there(name):
    """4,000 draws at each of two codes; a column that is never drawn but at one value has no error to go by."""
    family, rows = started(name)
    z = np.random.default_rng(0).normal(size=(2, family.latent))
    with seeded(3), torch.no_grad():
        codes = torch.tensor(z).repeat(4000, 1)
        drawn = as_numbers(rows_like(rows[:1], draw_rows(family, told_points(family, codes, None))))
    each = drawn.reshape(4000, 2, -1)
    error = each.std(0, ddof=1) / 4000**0.5
    off = np.abs(each.mean(0) - decoded_numbers(family, z))
    assert (off < SIX * error + 2e-3).all()


def test_numbers_of_drawn_rows_stand_in_the_columns_of_held_out_ones():
    family, rows = started("VAE of mixed columns")
    drawn, held_out = drawn_numbers(family, 7, seed=0), as_numbers(rows)
    assert drawn.shape[1] == held_out.shape[1] == decoded_numbers(family, np.zeros((1, 2))).shape[1]
    categories = sum(len(column.categories) for column in rows.schema.columns)
    kinds = len(rows.schema.columns) - len(rows.schema.of_kind("categorical"))
    assert drawn.shape[1] == categories + kinds


def test_a_count_in_numbers_has_mean_one_and_a_missing_cell_is_nan():
    rows = rows_of("fast_food_customers", 150)
    count = rows.schema.of_kind("count")[0]
    numbers = as_numbers(rows.only([rows.schema.names[count]]))
    place = as_numbers(rows).shape[1] - np.isnan(numbers).all(0).sum()
    assert place == 1
    assert np.nanmean(numbers) == pytest.approx(1)


def test_pictures_of_bits_are_their_probabilities():
    family, rows = started("VAE of bits")
    codes = encode(family, rows[:5]).to_numpy()
    with torch.no_grad():
        (_, cells), *_ = family.model.likelihoods(torch.tensor(codes))
    np.testing.assert_allclose(decode_images(family, codes).reshape(5, -1), cells.probs, atol=1e-12)


@pytest.mark.parametrize("name", ["VAE of grey levels", "VAE, dequantised", "VAE of bits"])
def test_pictures_of_any_shape_of_codes_are_from_0_to_1(name):
    family, rows = started(name)
    found = decode_images(family, np.random.default_rng(0).normal(size=(2, 3, family.latent)))
    assert found.shape == (2, 3, 8, 8)
    assert found.min() >= 0
    assert found.max() <= 1
    assert images_of(rows).max() <= 1


def test_pictures_of_rows_are_the_rows():
    rows = rows_of("digits_binary", 20)
    hidden = rows.only(rows.schema.names[:32])
    np.testing.assert_array_equal(images_of(rows).reshape(20, 64), rows.values)
    np.testing.assert_array_equal(images_of(hidden)[:, :4], images_of(rows)[:, :4])
    assert np.isnan(images_of(hidden)[:, 4:]).all()


def test_a_class_told_to_the_decoder_changes_what_it_decodes():
    family, rows = started("conditional VAE")
    codes = encode(family, rows[:4])
    each = np.stack([decoded_numbers(family, codes.to_numpy(), labels=label) for label in range(3)])
    shares = family.log_shares.exp().numpy()
    assert not np.allclose(each[0], each[1])
    np.testing.assert_allclose(np.einsum("cpn,c->pn", each, shares), decoded_numbers(family, codes), atol=1e-12)
    own = rows[:4].labels.numpy()
    told = decoded_numbers(family, codes, labels=own)
    np.testing.assert_allclose(told, each[own, np.arange(4)], atol=1e-12)
    np.testing.assert_allclose(reconstruct(family, rows[:4]), decode(family, codes, labels=own), rtol=1e-12)


def test_a_grid_is_at_the_quantiles_of_a_standard_normal_prior():
    grid = latent_grid(normals(), size=5, quantiles=(0.1, 0.9))
    expected = stats.norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(grid[2, :, 0], expected, atol=1e-12)
    np.testing.assert_allclose(grid[:, 3, 1], expected, atol=1e-12)


@pytest.mark.parametrize("name", ["VAE, mixture prior", "VAE, VampPrior"])
def test_a_grid_is_at_the_marginal_quantiles_of_a_mixture_prior(name):
    """The share of 200,000 draws below each, by binomial standard errors."""
    family, _ = started(name)
    grid = latent_grid(family, size=4, quantiles=(0.2, 0.8))
    with seeded(2), torch.no_grad():
        drawn = family.prior().sample((200_000,)).numpy()
    for axis, values in enumerate((grid[0, :, 0], grid[:, 0, 1])):
        shares = (drawn[:, axis, None] < values).mean(0)
        np.testing.assert_allclose(shares, [0.2, 0.4, 0.6, 0.8], atol=SIX * 0.5 / 200_000**0.5)


def test_a_path_of_a_linear_decoder_has_the_closed_forms_densities():
    family, rows = iris()
    found = latent_path(family, rows[::149], steps=5, seed=0, draws=2000)
    codes = found.codes.to_numpy()
    np.testing.assert_allclose(codes[[0, -1]], encode(family, rows[::149]), atol=1e-12)
    means = codes @ LOADING.T + LOC
    covariance = LOADING @ LOADING.T + NOISE * np.eye(4)
    slope = -np.log(rows.scale.numpy()).sum()
    typical = stats.multivariate_normal(LOC, covariance).logpdf(means) + slope
    drawn = typical - NOISE * np.trace(np.linalg.inv(covariance)) / 2
    np.testing.assert_allclose(found.densities["prior"], stats.norm.logpdf(codes).sum(1), atol=1e-9)
    np.testing.assert_allclose(found.densities["typical"], typical, atol=1e-6)
    assert (np.abs(found.densities["drawn"] - drawn) < SIX * found.densities["drawn_se"]).all()
    np.testing.assert_allclose(found.rows, decode(family, codes), rtol=1e-12)


def test_the_typical_rows_of_a_path_have_the_bound_that_log_density_gives_them():
    family, rows = started("VAE of mixed columns")
    found = latent_path(family, rows[:2], steps=3, kind="spherical", seed=0, draws=4000)
    other = log_density(family, family.preparation(found.rows), seed=9, draws=4000)
    error = 2**0.5 * other.monte_carlo_se
    assert (np.abs(other.values - found.densities["typical"]) < SIX * error).all()


def test_a_path_under_a_density_given_a_class_is_of_that_class():
    family, rows = started("conditional VAE")
    with pytest.raises(InputError, match="expected a label for a density given the label label, got none"):
        latent_path(family, rows[:2], seed=0)
    found = latent_path(family, rows[:2], steps=3, seed=0, draws=2000, label=1)
    told = family.preparation(found.rows)
    density = log_density(family, replace(told, labels=torch.ones(3, dtype=torch.long)), seed=1, draws=2000)
    assert (np.abs(density.values - found.densities["typical"]) < SIX * 2**0.5 * density.monte_carlo_se).all()


def test_an_autoencoder_has_a_path_but_no_density_along_it():
    family, rows = started("autoencoder of mixed columns")
    found = latent_path(family, rows[:2], steps=3, seed=0)
    assert found.densities[["typical", "drawn"]].isna().all(axis=None)
    assert found.densities["prior"].notna().all()


@pytest.mark.parametrize("ends", ["rows", "prior"])
def test_paths_of_a_linear_decoder_are_perfectly_smooth(ends):
    family, rows = iris()
    paths = decoded_paths(family, rows if ends == "rows" else None, pairs=30, steps=6, seed=0)
    assert paths.shape == (30, 6, 4)
    np.testing.assert_allclose(smoothness(paths)["mean"], 1, atol=1e-9)


def test_the_pairs_of_random_paths_are_two_different_rows():
    family, rows = iris()
    paths = decoded_paths(family, rows[:2], pairs=40, steps=3, seed=0)
    assert (np.abs(paths[:, 0] - paths[:, -1]).sum(-1) > 0).all()
    assert len(np.unique(paths[:, 0].round(9), axis=0)) == 2


def test_information_of_a_linear_vae_lies_between_the_bounds():
    """Rows drawn from the model: I(x; z) = ½ log |I + WᵀW / noise|, and q(z) is the prior."""
    family, rows = own_rows(1200)
    found = latent_information(family, rows, seed=2)
    information = np.linalg.slogdet(COVARIANCE)[1] / -2
    truth = pd.Series([information, information, 0.0], found.information.index)
    table = found.information
    assert (table["low"] - SIX * table["low_se"] < truth).all()
    assert (truth < table["high"] + SIX * table["high_se"]).all()
    assert (table["high"] - table["low"]).max() < 0.1
    assert found.rows == 1200


def test_units_of_a_linear_vae_have_the_variance_and_kl_of_the_closed_form():
    family, rows = own_rows(1200)
    units = latent_information(family, rows, seed=2).units
    variance = 1 - np.diag(COVARIANCE)
    assert (np.abs(units["variance"] - variance) < SIX * units["se"]).all()
    kl = -np.log(np.diag(COVARIANCE)) / 2
    error = variance / 2 * (2 / 1200) ** 0.5
    assert (np.abs(units["kl"] - kl) < SIX * error).all()


def test_a_unit_that_the_guide_leaves_at_the_prior_is_not_active():
    family, rows = iris()
    with torch.no_grad():
        family.guide.answer.loc.weight[1] = 0.0
        family.guide.answer.log_scale.bias[1] = 0.0
        family.guide.answer.loc.bias[1] = 0.0
    found = latent_information(family, rows, seed=0)
    assert found.units["active"].tolist() == [True, False]
    assert found.active == 1
    assert found.units["kl"].iloc[1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in LATENTS if name.startswith(("VAE", "hier", "conditional"))])
def test_the_mean_kl_of_the_surgery_is_that_of_the_elbo(name):
    """For every guide, flows and layers included: one draw a row against the mean of 200."""
    family, rows = started(name)
    line = latent_information(family, rows[:100], seed=0).information.loc["E KL(q(z|x) || p(z))"]
    noise = torch.randn(200, family.noise, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = -family.weigh(rows[:100], noise).log_ratio.double()
    error = np.hypot(line["low_se"], float(expected.mean(-1).std()) / 200**0.5)
    assert abs(line["low"] - float(expected.mean())) < SIX * error


def test_rows_beyond_the_most_are_left_out_at_random():
    family, rows = iris()
    first, second = (latent_information(family, rows, seed=seed, most=40) for seed in (0, 1))
    assert first.rows == 40
    assert first.units["variance"].tolist() != second.units["variance"].tolist()


def test_blocks_do_not_change_what_is_found(monkeypatch):
    family, rows = iris()
    whole = latent_information(family, rows, seed=0), encode(family, rows), decode(family, encode(family, rows))
    monkeypatch.setitem(vars(modules["ppl_models.inference.latent"]), "CELLS_IN_MEMORY", 64)
    monkeypatch.setitem(vars(modules["ppl_models.inference.latent_information"]), "CELLS_IN_MEMORY", 2**17)
    parts = latent_information(family, rows, seed=0), encode(family, rows), decode(family, encode(family, rows))
    np.testing.assert_allclose(parts[0].information, whole[0].information, rtol=1e-9)
    pd.testing.assert_frame_equal(parts[1], whole[1])
    pd.testing.assert_frame_equal(parts[2], whole[2])


def test_labels_are_read_off_the_codes_of_rows_of_known_class():
    rows = rows_of("iris", 150)
    family = linear(rows)
    codes, labels = encode(family, rows).to_numpy(), rows.labels.numpy()
    expected = representation(codes[:100], labels[:100], test_codes=codes[100:], test_labels=labels[100:])
    unknown = replace(rows[:10], labels=torch.full((10,), -1))
    train = replace(rows[:100], labels=rows.labels[:100])
    pd.testing.assert_frame_equal(label_readout(family, train, test=rows[100:]), expected)
    with pytest.raises(InputError, match="test_labels: expected one per code and at least one"):
        label_readout(family, train, test=unknown)


def never(call):
    return call, "expected a fitted family, got one that was never fitted"


IRIS = rows_of("iris", 150)
REFUSED = {
    "no latent space": (
        lambda: encode(fit(NaiveBayes(IRIS.schema), IRIS, seed=0).family, IRIS),
        "codes: expected a family with a latent space, got NaiveBayes",
    ),
    "never fitted, encode": never(lambda: encode(factors(IRIS.schema), IRIS)),
    "never fitted, decode": never(lambda: decode(factors(IRIS.schema), np.zeros((1, 2)))),
    "never fitted, grid": never(lambda: latent_grid(factors(IRIS.schema), size=3)),
    "never fitted, drawn": never(lambda: drawn_numbers(factors(IRIS.schema), 3, seed=0)),
    "codes too wide": (
        lambda: decode(linear(IRIS), np.zeros((4, 3))),
        r"expected \(..., 2\) for z, got shape \(4, 3\)",
    ),
    "codes too deep": (lambda: decode(linear(IRIS), np.zeros((4, 3, 2))), r"expected the axes \(rows, latent\), got"),
    "codes not finite": (
        lambda: decode(linear(IRIS), np.full((1, 2), np.nan)),
        "codes: expected finite numbers, got nan",
    ),
    "no image": (lambda: decode_images(linear(IRIS), np.zeros((1, 2))), "got a schema without image_shape"),
    "a class too many": (
        lambda: decode(started("conditional VAE")[0], np.zeros((1, 2)), labels=3),
        "labels: expected classes from 0 to 2, got 3 to 3",
    ),
    "a class told to no one": (
        lambda: decode(linear(IRIS), np.zeros((1, 2)), labels=0),
        "labels: expected a decoder that is told a class, got VAE",
    ),
    "grid of three": (lambda: latent_grid(normals(latent=3), size=3), "expected two latent dimensions, got 3"),
    "grid of one": (lambda: latent_grid(linear(IRIS), size=1), r"size of 2 or more, got \(0.03, 0.97\), 1"),
    "grid turned round": (lambda: latent_grid(linear(IRIS), size=3, quantiles=(0.9, 0.1)), "0 < low < high < 1"),
    "three ends": (
        lambda: latent_path(linear(IRIS), IRIS[:3], seed=0),
        r"latent path: expected two ends, got shape \(3, 2\)",
    ),
    "one row to walk between": (lambda: decoded_paths(linear(IRIS), IRIS[:1], pairs=2, steps=3, seed=0), "got 1"),
    "no pair": (lambda: decoded_paths(linear(IRIS), pairs=0, steps=3, seed=0), "pairs: expected one or more, got 0"),
    "no posterior": (
        lambda: latent_information(started("autoencoder of mixed columns")[0], IRIS, seed=0),
        r"latent information: expected a family with q\(z \| x\), got Autoencoder",
    ),
    "one row of information": (lambda: latent_information(linear(IRIS), IRIS[:1], seed=0), "two rows or more, got 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        call()
