"""What each part of a VAE's loss does, what strides and pooling keep, and the figures that show it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripts import analysis

from ppl_models.reports.canvas import to_svg
from ppl_models.reports.latent import code_planes, decoded_planes, paired_dots

PIXELS = 64


def report(name: str, folder: Path) -> Path:
    """The folder of an analysis's report."""
    analysis(name).main(seed=0, output_dir=folder / name, quick=True)
    return folder / name


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = report("losses", tmp_path_factory.mktemp("losses")) / "tables"
    tables = [pd.read_csv(folder / f"{name}.csv", index_col="climbed") for name in ("parts", "planes")]
    return tables[0].join(tables[1])


@pytest.fixture(scope="module")
def strides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report("strides", tmp_path_factory.mktemp("strides"))


def test_the_elbo_is_the_reconstruction_less_the_kl(losses):
    assert np.allclose(losses["elbo"], losses["reconstruction"] - losses["kl"])


def test_kl_alone_leaves_the_codes_at_the_prior(losses):
    alone = losses.loc["KL alone"]
    assert 0 <= alone["kl"] < 0.05
    assert (alone["active units"], alone["codes in the circle"]) == (0, 1)
    assert alone["told"] < alone["chance"] + 4 * alone["told_se"]


def test_kl_alone_rebuilds_no_better_than_fair_coins(losses):
    alone = losses.loc["KL alone"]
    assert alone["reconstruction"] < -PIXELS * np.log(2) + 1


def test_reconstruction_alone_rebuilds_best_and_leaves_the_prior(losses):
    alone, both = losses.loc["reconstruction alone"], losses.loc["both"]
    assert alone["kl"] > 2 * both["kl"] > 1
    assert alone["codes in the circle"] < both["codes in the circle"]
    assert alone["elbo"] < both["elbo"] > losses.loc["KL alone", "elbo"]


def test_places_are_read_off_codes_in_pixels_better_than_by_chance(strides):
    table = pd.read_csv(strides / "tables" / "errors.csv", index_col=["depth", "way"])
    assert len(table) == 4
    assert (table["neighbours"] < table["chance"] / 2).all()


def test_the_chance_error_of_a_uniform_place_is_its_mean_absolute_deviation(strides):
    table = pd.read_csv(strides / "tables" / "errors.csv", index_col=["depth", "way"])
    assert table["chance"].to_numpy() == pytest.approx(20 / 9, abs=0.2)  # of 0 to 8 about 4


def test_gains_are_the_paired_differences_of_the_errors(strides):
    errors = pd.read_csv(strides / "tables" / "errors.csv", index_col=["depth", "way"])
    gains = pd.read_csv(strides / "tables" / "gains.csv", index_col=["depth", "measure"])["gain"]
    stride, pool = (errors.xs(way, level="way") for way in ("stride", "pool"))
    for depth in stride.index:
        assert gains[depth, "ridge"] == pytest.approx(pool.loc[depth, "ridge"] - stride.loc[depth, "ridge"])
        assert gains[depth, "shape"] == pytest.approx(stride.loc[depth, "shape"] - pool.loc[depth, "shape"])


def test_strides_and_pooling_have_as_many_parameters():
    module = analysis("strides")
    for channels in module.DEPTHS.values():
        pair = [module.Convolutional(channels=channels, downsampling=way).encoder(144, 0, (12, 12)) for way in WAYS]
        assert len({sum(values.numel() for values in one.parameters()) for one in pair}) == 1


WAYS = ("stride", "pool")


@pytest.mark.parametrize("figure", ["codes", "planes", "dots"])
def test_a_figure_of_a_latent_space_is_drawn_the_same_twice(figure):
    random = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([["2", "4"], WAYS, [0, 1]], names=["depth", "way", "seed"])
    draw = {
        "codes": lambda: code_planes({"a_b$": codes}, np.arange(30) % 3, names=["$x", "_y", "z"]),
        "planes": lambda: decoded_planes({"one": np.zeros((3, 4, 5, 6)), "two": np.ones((3, 4, 5, 6))}),
        "dots": lambda: paired_dots(pd.DataFrame({"x": np.arange(8.0)}, index=index), {"x": "error, pixels"}),
    }[figure]
    codes = random.normal(size=(30, 2))
    assert to_svg(draw()) == to_svg(draw())


def test_the_first_row_of_a_plane_is_drawn_at_the_bottom():
    grid = np.zeros((2, 1, 1, 1))
    grid[0] = 1.0
    shown = decoded_planes({"one": grid}).axes[0].images[0].get_array()
    assert shown[0, 0] == 0 and shown[2, 0] == 1
