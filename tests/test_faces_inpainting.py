"""Faces and inpainting: moves of codes on people held out, hidden halves of digits, and the tables of both."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from scipy.stats import binom
from scripts import analysis

from ppl_models import Mixture, fit, load, prepare
from ppl_models.errors import InputError
from ppl_models.inference import NaturalGradient, log_density
from ppl_models.inference.answers import rows_like

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared/data"


@pytest.fixture(scope="module", autouse=True)
def neighbours() -> Iterator[None]:
    """A script finds the files beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "analyses")
        yield


@pytest.fixture(scope="module")
def tables_module(neighbours) -> ModuleType:
    return analysis("face_tables")


@pytest.fixture(scope="module")
def images_module(neighbours) -> ModuleType:
    return analysis("face_images")


@pytest.fixture(scope="module")
def faces(neighbours, tmp_path_factory) -> Path:
    module, folder = analysis("faces"), tmp_path_factory.mktemp("faces") / "report"
    if not module.FILE.is_file():
        pytest.skip(f"{module.FILE} is not there")
    module.main(seed=0, output_dir=folder, quick=True)
    return folder


@pytest.fixture(scope="module")
def digits(neighbours, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inpainting") / "report"
    analysis("inpainting").main(seed=0, output_dir=folder, quick=True)
    return folder


def test_most_held_out_neutral_faces_smile_once_a_smile_is_added(faces):
    table = pd.read_csv(faces / "tables/moved.csv", index_col=["strength", "move"])
    added = table.loc[("chosen", "added")]
    assert added["share"] > 0.8
    assert added["low"] < added["share"] <= added["high"] + 1e-12
    np.testing.assert_allclose(table["share"], table["moved"] / table["asked"])


def test_every_person_is_held_out_once_and_the_smile_is_longer_than_by_chance(faces):
    splits = pd.read_csv(faces / "tables/splits.csv")
    assert splits["people"].sum() == 102
    assert (splits["probe, originals"] > 0.7).all()
    assert (splits["length"] > 1.5 * splits["by chance"]).all()
    assert (splits["p_value"] < 0.01).all()
    assert (splits["rmse, held out"] > splits["rmse, training"]).all()


def test_a_smile_of_mean_strength_comes_nearer_to_the_persons_own(faces):
    table = pd.read_csv(faces / "tables/likeness.csv", header=[0, 1], index_col=0).astype(float)
    assert table.loc[1.0, ("nearer", "mean")] > 2 * table.loc[1.0, ("nearer", "sem")] > 0
    assert table.loc[0.0, ("own", "mean")] > 0.2  # one in 51 by chance


def test_the_picture_beside_the_readme_is_laid_out_as_the_reports(faces):
    made, shown = imread(faces / "figures/smile.png"), imread(ROOT / "analyses/pictures/smile.png")
    assert made.shape == shown.shape
    assert np.abs(made - shown).mean() < 0.2  # other people, in the same places


def test_without_faces_threes_become_eights_and_the_report_says_so(tmp_path):
    analysis("faces").main(seed=0, output_dir=tmp_path / "report", quick=True, data=tmp_path / "none")
    assert f"No {tmp_path / 'none'}: on binary digits instead" in (tmp_path / "report/index.html").read_text()
    table = pd.read_csv(tmp_path / "report/tables/moved.csv", index_col=["strength", "move"])
    assert table.loc[("chosen", "added"), "share"] > 0.8


def test_images_of_one_face_at_other_places_come_to_lie_over_one_another(images_module):
    smooth = np.pad(np.random.default_rng(0).random((12, 12)), 3).repeat(4, axis=0).repeat(4, axis=1)[4:68, 4:68]
    shifted = [
        np.roll(smooth, (down, right), axis=(0, 1)) for down, right in ((0, 0), (3, 0), (-2, 1), (4, -2), (0, 2))
    ]
    found = images_module.registered(np.stack(shifted))
    middle = found[:, 14:50, 14:50]
    np.testing.assert_array_equal(middle, np.broadcast_to(middle[0], middle.shape))


@pytest.mark.parametrize("keep", [np.save, np.savez, lambda file, images: file.write(b"no array")])
def test_a_file_without_pairs_of_faces_is_refused(images_module, tmp_path, keep):
    with (tmp_path / "faces.npz").open("wb") as file:
        keep(file, np.zeros((3, 64, 64)))
    with pytest.raises(InputError, match=r"faces\.npz: expected 64 by 64 images, neutral and smiling, in an npz, got"):
        images_module.pairs(tmp_path / "faces.npz")


def test_the_strength_chosen_is_the_least_that_is_enough_for_training_people(tables_module):
    strengths, people = (0.5, 1.0, 1.5, 2.0), 20
    lines = [
        {"move": "added", "fold": 0, "strength": each, "held_out": out, "moved": number < moved}
        for each, moved in zip(strengths, (5, 18, 19, 20), strict=True)
        for number in range(people)
        for out in (False, True)
    ]
    moves = pd.DataFrame(lines)
    moves.loc[moves["held_out"], "moved"] = True
    assert tables_module.chosen(moves).loc[("added", 0)] == 1.5
    never = moves.assign(moved=moves["held_out"])
    assert tables_module.chosen(never).loc[("added", 0)] == 2.0


def test_wilsons_interval_holds_the_shares_whose_normal_test_does_not_refuse_the_count(tables_module):
    moves = pd.DataFrame({"move": "added", "moved": [True] * 30 + [False] * 10})
    row = tables_module.shares(moves, ["move"]).loc["added"]
    for end in (row["low"], row["high"]):
        assert abs(0.75 - end) == pytest.approx(1.959964 * binom.std(40, end) / 40, rel=1e-5)
    assert row["se"] == pytest.approx(binom.std(40, 0.75) / 40)


def test_an_image_is_nearest_to_itself_and_nearer_than_before_where_it_moves_to_it(tables_module):
    originals = np.random.default_rng(0).random((5, 4, 4))
    start = np.roll(originals, 1, axis=0)
    table = tables_module.likeness(np.stack([start, (start + originals) / 2, originals]), originals, (0, 1, 2))
    assert table["own"].tolist()[0] == 0 and table["own"].tolist()[2] == 1
    np.testing.assert_allclose(table["nearer"] / table["rmse"][0], [0, 0.5, 1])


def test_all_models_answer_for_the_same_hidden_pixels(digits):
    table = pd.read_csv(digits / "tables/comparison.csv", index_col=["hidden", "model"])
    assert (
        table["kind"].groupby("hidden").value_counts().unstack()[["estimate", "exact"]].values.tolist() == [[1, 2]] * 2
    )
    bayes = table.xs("naive Bayes, ten digits", level="model")
    assert (bayes["diff"] < -4 * bayes["dse"]).all()  # a VAE of 300 steps is ahead already
    assert (table["elpd"] > 32 * np.log(0.5)).all()


def test_hidden_pixels_alone_are_drawn(neighbours):
    table = load("digits_binary")
    rows, hidden = prepare(table.frame, table.schema)(table.frame), np.arange(32, 64)
    few = NaturalGradient(starts=2, restarts=1, tolerance=1e-3)
    family = fit(Mixture(table.schema, components=10), rows, seed=0, method=few).family
    shown = analysis("hidden_pixels").gallery(family, rows[:6], hidden, seed=0)
    for name, block in shown.items():
        np.testing.assert_array_equal(block[:, :4], rows.values[:6].reshape(-1, 8, 8)[:, :4], err_msg=name)
    assert np.isnan(shown["seen"][:, 4:]).all()
    drawn = rows_like(rows[:6], rows.values.new_tensor(shown["draw 1"].reshape(6, 64)))
    assert np.isfinite(log_density(family, drawn).values).all()
    assert 0 < shown["mean of 200 draws"][:, 4:].mean() < 1


def test_static_mnist_is_taken_in_parts_that_its_files_set_apart(neighbours):
    folder = SHARED / "mnist_static"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    schema, frames = analysis("hidden_pixels").parts(folder, seed=0)
    assert schema.image_shape == (28, 28) and [len(frame) for frame in frames] == [5000, 500, 500]
    assert abs(frames[0].to_numpy().mean() - 5118041 / (50000 * 784)) < 0.005
