"""Latent spaces and words: the measures on spaces whose answer is known, and the tables of both analyses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripts import analysis

from ppl_models.datasets import infer_schema, prepare
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
    return folder


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


def test_the_measures_find_what_the_law_of_a_made_space_says(simulated):
    table = simulated.query("measure in ['probe', 'auc', 'gap']")
    assert len(table) == 9
    assert ((table["found"] - table["law"]).abs() < 4.5 * table["se"]).all()  # false alarm below 1e-5 each


def test_neighbours_are_no_better_than_the_law_allows(simulated):
    table = simulated.query("measure == 'neighbours'")
    assert (table["found"] < table["law"] + 4.5 * table["se"]).all()


def test_smoothness_of_made_paths_is_exact(simulated):
    table = simulated.query("measure in ['length', 'step']")
    np.testing.assert_allclose(table["found"], table["law"], rtol=1e-9)
    assert table["law"].max() == latent_spaces.POINTS - 1


@pytest.mark.parametrize(("measure", "rises"), [("probe", False), ("neighbours", False), ("auc", True), ("gap", False)])
def test_good_spaces_come_before_middling_and_poor_ones(simulated, measure, rises):
    found = simulated.xs(measure, level="measure")["found"][["good", "middling", "poor"]]
    assert found.is_monotonic_increasing if rises else found.is_monotonic_decreasing


def test_every_space_has_every_measure_within_its_range(spaces):
    table = pd.read_csv(spaces / "tables/virtues.csv", index_col="model")
    assert set(table.index) == set(latent_spaces.MODELS) and table.notna().all(axis=None)
    assert (table["length"] >= 1).all() and table["step"].between(1, latent_spaces.POINTS - 1).all()
    assert (table[["probe", "neighbours"]] > 0.2).all(axis=None)  # of ten digits


def test_differences_over_two_seeds_have_the_sign_of_the_means_and_turn_with_the_pair(spaces):
    means = pd.read_csv(spaces / "tables/virtues.csv", index_col="model")[list(latent_spaces.IDEAL)]
    apart = pd.read_csv(spaces / "tables/pairs.csv", index_col=["model", "less"])[list(latent_spaces.IDEAL)]
    one, other = (apart.index.get_level_values(level) for level in ("model", "less"))
    assert len(apart) == 12
    assert (np.sign(apart.to_numpy()) == np.sign(means.loc[one].to_numpy() - means.loc[other].to_numpy())).all()
    np.testing.assert_allclose(apart, -apart.reindex(list(zip(other, one, strict=True))).to_numpy(), rtol=1e-9)


def test_the_summary_names_the_space_nearest_to_the_ideal(spaces):
    means = pd.read_csv(spaces / "tables/virtues.csv", index_col="model")
    summary = json.loads((spaces / "run.json").read_text())["summary"]
    for name, ideal in latent_spaces.IDEAL.items():
        best = (means[name] - ideal).abs().idxmin()
        assert f" {name} {means.at[best, name]:.3g}, {best}" in summary


def test_no_word_is_in_two_pairs():
    listed = words.PAIRS[["a", "b"]].to_numpy().ravel().tolist()
    assert len(listed) == len(set(listed)) == 114


def test_questions_are_the_ordered_pairs_of_pairs_whose_words_are_there():
    found = words.asked(pd.Index(["man", "woman", "king", "queen", "boy", "girl", "take", "took", "make", "made"]))
    assert len(found) == 6 and set(found["family"]) == {"female"}
    assert found.iloc[0][["a", "b", "c", "d"]].tolist() == ["man", "woman", "king", "queen"]


def test_leaving_out_pairs_gives_the_standard_error_of_a_mean_of_sums_exactly(made):
    """A question's value is u(one pair) + u(other pair): its mean is twice the mean of u, within each family."""
    questions = words.asked(made.index)
    u = pd.Series(np.random.default_rng(0).normal(size=len(words.PAIRS)), words.PAIRS["a"])
    values = pd.DataFrame({"sum": questions["a"].map(u) + questions["c"].map(u)})
    errors = u.groupby(words.PAIRS.set_index("a")["family"]).sem()
    weights = questions["family"].value_counts(normalize=True)
    expected = (weights * 2 * errors).pow(2).sum() ** 0.5
    assert words.jackknife(values, questions)["sum"] == pytest.approx(expected, rel=1e-9)


def test_leaving_out_pairs_one_by_one_gives_the_same_for_any_values(made):
    questions = words.asked(made.index).query("family == 'past'")
    values = pd.DataFrame({"any": np.random.default_rng(1).normal(size=len(questions))}, questions.index)
    pairs = questions["a"].unique()
    left = [values[(questions["a"] != pair) & (questions["c"] != pair)].mean() for pair in pairs]
    expected = (pd.DataFrame(left).var(ddof=0) * (len(pairs) - 1)) ** 0.5
    assert words.jackknife(values, questions)["any"] == pytest.approx(expected["any"], rel=1e-9)


def test_planted_analogies_are_found(made):
    found = analogies(made, words.asked(made.index))
    assert (found["rank"] == 1).mean() > 0.98


def test_no_word_asked_about_is_learned_from(tmp_path, monkeypatch):
    seen, fitted = [], words.ppl.fit
    monkeypatch.setattr(words, "FILE", tmp_path / "none.npz")
    monkeypatch.setattr(words.ppl, "fit", lambda *parts, **options: (seen.extend(parts[1:]), fitted(*parts, **options)))
    words.main(seed=0, output_dir=tmp_path / "report", quick=True)
    vectors = words.planted(0)
    rows = prepare(vectors, infer_schema(vectors, kinds=dict.fromkeys(vectors.columns, "real")))(vectors)
    learned = set(np.concatenate([part.hashes.numpy() for part in seen]))
    used = vectors.index.isin(words.PAIRS[["a", "b"]].to_numpy().ravel())
    assert learned == set(rows.hashes.numpy()[~used]) and used.sum() == 114
    assert f"No {tmp_path / 'none.npz'}" in (tmp_path / "report/index.html").read_text()
    assert pd.read_csv(tmp_path / "report/tables/analogies.csv").at[0, "accuracy"] > 0.98


def test_king_less_man_plus_woman_is_queen(word_tables):
    first = pd.read_csv(word_tables / "first.csv", index_col="space").loc["vectors"]
    assert first[["a", "b", "c", "answer", "rank"]].tolist() == ["man", "woman", "king", "queen", 1]


def test_twenty_numbers_a_word_answer_fewer_analogies_than_the_vectors(word_tables):
    table = pd.read_csv(word_tables / "analogies.csv", index_col="space")
    assert table.at["vectors", "accuracy"] > 0.7
    rest = table.drop(index="vectors")
    assert (rest["behind"] > 3 * rest["behind_se"]).all() and (rest["accuracy"] > 0.1).all()
    np.testing.assert_allclose(rest["behind"], table.at["vectors", "accuracy"] - rest["accuracy"])


def test_word_vectors_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected word vectors, found none at"):
        words.main(data=tmp_path / "none.npz", seed=0, output_dir=tmp_path / "report", quick=True)


def test_word_vectors_without_pairs_to_ask_about_are_refused(tmp_path):
    file = tmp_path / "few.txt"
    file.write_text("".join(f"word{number} {number}.5 {number % 7}\n" for number in range(60)))
    with pytest.raises(InputError, match="expected at least one whose words all have vectors, got none of 0"):
        words.main(data=file, seed=0, output_dir=tmp_path / "report", quick=True)
