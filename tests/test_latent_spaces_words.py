"""Latent spaces and words: the measures on spaces whose answer is known, and the tables of both analyses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scripts import analysis

from ppl_models.errors import InputError
from ppl_models.evaluation import analogies

VECTORS = Path(__file__).parents[2] / "shared/data/word_vectors/word2vec_300d_1000words.npz"
latent_spaces, words = analysis("latent_spaces"), analysis("words")


@pytest.fixture(scope="module")
def simulated() -> pd.DataFrame:
    return latent_spaces.simulated(1)


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spaces") / "report"
    latent_spaces.main(seed=0, output_dir=folder, quick=True)
    return folder / "tables"


@pytest.fixture(scope="module")
def word_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not VECTORS.is_file():
        pytest.skip(f"{VECTORS} is not there")
    folder = tmp_path_factory.mktemp("words") / "report"
    words.main(data=VECTORS, seed=0, output_dir=folder, quick=True)
    return folder / "tables"


@pytest.fixture(scope="module")
def made() -> pd.DataFrame:
    return words.planted(0)


@pytest.mark.parametrize("measure", ["linear probe", "auc, plane", "gap"])
def test_a_measure_finds_what_the_law_of_a_made_space_says(simulated, measure):
    table = simulated.loc[measure]
    assert ((table["found"] - table["law"]).abs() < 4.5 * table["se"]).all()  # false alarm below 1e-5 each


@pytest.mark.parametrize("measure", ["nearest neighbours", "auc, forest"])
def test_no_reader_is_better_than_the_law_allows(simulated, measure):
    table = simulated.loc[measure]
    assert (table["found"] < table["law"] + 4.5 * table["se"]).all()


@pytest.mark.parametrize("measure", ["length over chord", "largest step over mean"])
def test_smoothness_of_made_paths_is_exact(simulated, measure):
    np.testing.assert_allclose(simulated.loc[measure, "found"], simulated.loc[measure, "law"], rtol=1e-9)


@pytest.mark.parametrize("measure", ["linear probe", "nearest neighbours", "auc, plane", "auc, forest", "gap"])
def test_made_spaces_come_in_the_order_of_their_laws(simulated, measure):
    table = simulated.loc[measure].sort_values("law")
    assert len(table) == 3 and table["found"].is_monotonic_increasing


def test_rows_are_as_far_apart_as_a_paired_t_test_says():
    random = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([["VAE", "beta-VAE"], range(5)], names=["model", "seed"])
    found = pd.DataFrame(random.normal(size=(10, 2)), index, ["auc", "gap"])
    expected = stats.ttest_rel(found.loc["VAE"], found.loc["beta-VAE"]).statistic
    np.testing.assert_allclose(latent_spaces.apart(found, "VAE", "beta-VAE"), expected)


def test_the_nearest_row_is_named_with_those_not_told_from_it_alone():
    values = {"autoencoder": [0.9, 0.91], "contractive autoencoder": [0.6, 0.8], "VAE": [0.58, 0.7]}
    values["beta-VAE"] = [0.9, 0.92]
    found = pd.DataFrame({"auc": pd.DataFrame(values).unstack()}).rename_axis(["model", "seed"])
    assert latent_spaces.nearest(found, "auc") == "VAE, level with contractive autoencoder (auc 0.64)"


def test_every_space_has_every_measure_within_its_range(spaces):
    table = pd.read_csv(spaces / "virtues.csv", index_col="model")
    assert tuple(table.index) == latent_spaces.MODELS and table.notna().all(axis=None)
    assert (table["length"] >= 1).all() and table["step"].between(1, latent_spaces.STEPS - 1).all()
    assert (table[["probe", "neighbours"]] > 0.2).all(axis=None)  # of ten digits


def test_each_two_spaces_are_compared_by_each_measure(spaces):
    table = pd.read_csv(spaces / "pairs.csv", index_col="rows")
    assert table.shape == (6, len(latent_spaces.IDEAL) + 1) and "VAE less beta-VAE" in table.index


def test_no_word_is_in_two_pairs():
    listed = " ".join(words.PAIRS.values()).replace(":", " ").split()
    assert len(listed) == len(set(listed))


def test_questions_are_the_ordered_pairs_of_pairs_whose_words_are_there():
    found = words.asked(pd.Index(["man", "woman", "king", "queen", "boy", "girl", "take", "took", "make", "made"]))
    assert len(found) == 6 and set(found["family"]) == {"she"}
    assert found.iloc[0][words.TERMS].tolist() == ["man", "woman", "king", "queen"]


def test_leaving_out_pairs_gives_the_standard_error_of_a_mean_of_sums_exactly(made):
    """A question's value is u(one pair) + u(other pair): its mean is twice the mean of u, within each family."""
    questions = words.asked(made.index)
    pairs = questions.assign(one=questions["a"], other=questions["c"])
    random = np.random.default_rng(0)
    u = pd.Series(random.normal(size=pairs["one"].nunique()), pairs["one"].unique())
    values = pd.DataFrame({"sum": pairs["one"].map(u) + pairs["other"].map(u)})
    families = pairs.drop_duplicates("one").assign(u=lambda part: part["one"].map(u)).groupby("family")["u"]
    weights = questions["family"].value_counts(normalize=True)
    expected = (weights * 2 * families.sem()).pow(2).sum() ** 0.5
    assert words.jackknife(values, questions)["sum"] == pytest.approx(expected, rel=1e-9)


def test_planted_analogies_are_found(made):
    found = analogies(made, words.asked(made.index))
    assert (found["rank"] == 1).mean() > 0.99


def test_the_nearest_word_is_the_answer(made):
    questions = words.asked(made.index)[::40]
    answers = analogies(made, questions)["answer"]
    firsts = [words.nearest(made, dict(question))[0].split()[0] for _, question in questions.iterrows()]
    assert firsts == answers.tolist()


def test_words_asked_about_have_no_part_in_what_is_learned(made):
    used = made.index.isin(words.asked(made.index)[words.TERMS].to_numpy().ravel())
    other = made + used[:, None]
    one, two = (words.coded(vectors, used, steps=20, seed=0) for vectors in (made, other))
    for name in ("components", "VAE", "VAE, rebuilt"):
        np.testing.assert_allclose(one[name][~used], two[name][~used], atol=1e-4)
        assert np.abs(one[name][used] - two[name][used]).to_numpy().max() > 0.1


def test_king_less_man_plus_woman_is_queen(word_tables):
    assert pd.read_csv(word_tables / "nearest.csv").loc[0, "vectors"].startswith("queen ")


def test_twenty_numbers_a_word_answer_fewer_analogies_than_the_vectors(word_tables):
    table = pd.read_csv(word_tables / "analogies.csv", index_col="space")
    assert table.at["vectors", "accuracy"] > 0.7
    rest = table.drop(index="vectors")
    assert (rest["behind"] > 3 * rest["behind_se"]).all() and (rest["accuracy"] > 0.1).all()


def test_families_have_the_share_of_all_questions(word_tables):
    families = pd.read_csv(word_tables / "families.csv", index_col="family")
    total = pd.read_csv(word_tables / "analogies.csv", index_col="space")["accuracy"]
    shares = families.drop(columns="questions").mul(families["questions"], axis=0).sum() / families["questions"].sum()
    np.testing.assert_allclose(shares, total[shares.index])


def test_without_word_vectors_the_analysis_says_so_and_plants_analogies(tmp_path, monkeypatch):
    monkeypatch.setattr(words, "FILE", tmp_path / "none.npz")
    words.main(seed=0, output_dir=tmp_path / "report", quick=True)
    assert f"No {tmp_path / 'none.npz'}" in (tmp_path / "report" / "index.html").read_text()
    table = pd.read_csv(tmp_path / "report" / "tables" / "analogies.csv", index_col="space")
    assert table.at["vectors", "accuracy"] > 0.99


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected word vectors, found none at"):
        words.main(data=tmp_path / "none.npz", seed=0, output_dir=tmp_path / "report", quick=True)


def test_vectors_that_are_no_longer_than_the_codes_are_refused(tmp_path):
    file = tmp_path / "short.txt"
    file.write_text("man 1 2\nwoman 2 1\n")
    with pytest.raises(InputError, match="expected 21 dimensions and pairs to ask about, got 2"):
        words.main(data=file, seed=0, output_dir=tmp_path / "report", quick=True)
