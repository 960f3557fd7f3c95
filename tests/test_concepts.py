"""Concept vectors and analogies find the direction that was put in, and say what chance would have found."""

from itertools import combinations, product
from pathlib import Path

import jaxtyping
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ppl_models.errors import InputError
from ppl_models.evaluation import analogies, analogy_accuracy, concept_vector, transfer

WORDS = Path(__file__).parents[1] / "../shared/data/word_vectors/word2vec_300d_1000words.npz"


@pytest.fixture
def unchecked():
    """Arrays of the wrong shape arrive as they do at a user, without the type checks of the test run."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def rows(having, lacking, latent, *, seed, concept=0.0):
    """Standard normal codes, those that have the concept moved along the first dimension."""
    has = np.arange(having + lacking) < having
    codes = np.random.default_rng(seed).normal(size=(len(has), latent))
    codes[:, 0] += concept * has
    return codes, has


def people(pairs, latent, *, seed, concept=0.0, spread=5.0):
    """Two codes of each person, without the concept and with it, around a place of the person's own."""
    random = np.random.default_rng(seed)
    codes = spread * random.normal(size=(pairs, 1, latent)) + random.normal(size=(pairs, 2, latent))
    codes[:, 1, 0] += concept
    groups = np.repeat([f"person {at}" for at in range(pairs)], 2)
    return codes.reshape(-1, latent), np.tile([False, True], pairs), groups


def test_the_vector_is_the_difference_of_the_means():
    codes, has = rows(30, 50, 4, seed=0, concept=2.0)
    np.testing.assert_allclose(concept_vector(codes, has, seed=0).vector, codes[:30].mean(0) - codes[30:].mean(0))


def test_the_error_of_single_rows_is_that_of_two_independent_means():
    codes, has = rows(40, 60, 5, seed=1, concept=2.0)
    found = concept_vector(codes, has, seed=0, resamples=4000)
    # the bootstrap's limit; 4000 resamples have a relative error of 1.1 %, so that 5 % is never by chance
    np.testing.assert_allclose(found.se, np.sqrt(codes[:40].var(0) / 40 + codes[40:].var(0) / 60), rtol=0.05)


def test_the_error_of_pairs_is_that_of_their_mean_difference():
    codes, has, groups = people(50, 5, seed=2, concept=1.0)
    found = concept_vector(codes, has, groups=groups, seed=0, resamples=4000)
    np.testing.assert_allclose(found.se, (codes[1::2] - codes[::2]).std(0) / np.sqrt(50), rtol=0.05)


def test_copies_of_a_row_in_one_group_add_no_evidence():
    codes, has = rows(40, 40, 3, seed=3, concept=0.5)
    once = concept_vector(codes, has, seed=0, resamples=4000)
    copied = (np.repeat(part, 4, axis=0) for part in (codes, has))
    fourfold = concept_vector(*copied, groups=np.repeat(np.arange(80), 4), seed=1, resamples=4000)
    np.testing.assert_allclose(fourfold.vector, once.vector)
    np.testing.assert_allclose(fourfold.se, once.se, rtol=0.07)
    assert fourfold.permuted.mean() == pytest.approx(once.permuted.mean(), rel=0.05)


def test_the_error_is_the_spread_over_repeated_samples_of_people_of_all_three_sorts():
    def found(seed):
        paired = people(20, 1, seed=seed, concept=1.0, spread=1.0)
        codes, has = rows(30, 15, 1, seed=seed + 10_000, concept=1.0)
        parts = (codes * np.sqrt(2), has, np.arange(45).astype(str))
        codes, has, groups = (np.concatenate(pair) for pair in zip(paired, parts, strict=True))
        return concept_vector(codes, has, groups=groups, seed=seed, resamples=200)

    repeats = [found(seed) for seed in range(300)]
    spread = np.std([one.vector[0] for one in repeats], ddof=1)
    # 4 % for the sd of 300 repeats, five times over; the bootstrap itself is low by half a group in n, 2 %
    assert np.sqrt(np.mean([one.se[0] ** 2 for one in repeats])) == pytest.approx(spread, rel=0.2)


def as_long_by_chance(codes, ways):
    """The share of all ways to deal the concept out that give a vector as long as the first."""
    lengths = [np.linalg.norm(codes[has].mean(0) - codes[~has].mean(0)) for has in map(np.array, ways)]
    return np.mean(np.array(lengths) >= lengths[0] * (1 - 1e-9))


def share_of(found):
    """The resamples, and how many of them were as long."""
    resamples = len(found.permuted)
    return resamples, round(found.p_value * (1 + resamples)) - 1


def test_chance_for_single_rows_is_that_of_all_ways_to_choose_them():
    codes, has = rows(3, 5, 2, seed=4, concept=1.0)
    ways = [np.isin(np.arange(8), chosen) for chosen in combinations(range(8), 3)]
    resamples, as_long = share_of(concept_vector(codes, has, seed=0, resamples=4000))
    assert stats.binomtest(as_long, resamples, as_long_by_chance(codes, ways)).pvalue > 1e-5


def test_chance_for_pairs_is_that_of_all_flips_of_their_signs():
    codes, has, groups = people(6, 2, seed=5, concept=1.0)
    flips = list(product([False, True], repeat=6))
    ways = [np.stack([flip, np.logical_not(flip)], axis=1).ravel() for flip in flips]
    resamples, as_long = share_of(concept_vector(codes, has, groups=groups, seed=0, resamples=4000))
    assert stats.binomtest(as_long, resamples, as_long_by_chance(codes, ways)).pvalue > 1e-5


def test_the_p_value_of_no_concept_is_uniform():
    found = [concept_vector(*rows(12, 18, 3, seed=seed), seed=seed, resamples=19) for seed in range(1000)]
    counts = np.bincount([round(20 * one.p_value) for one in found], minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-4  # the false alarm rate, at a fixed seed
    assert np.mean([one.ratio for one in found]) == pytest.approx(1.0, abs=0.05)


def test_a_person_compared_with_themselves_shows_what_strangers_hide():
    codes, has, groups = people(40, 10, seed=6, concept=1.5)
    paired, single = (concept_vector(codes, has, groups=which, seed=0) for which in (groups, None))
    np.testing.assert_array_equal(paired.vector, single.vector)
    assert paired.p_value == 1 / 1001
    assert single.p_value > 0.05
    assert paired.ratio > 2 > single.ratio
    assert (paired.se < single.se / 3).all()


def test_to_apply_and_to_reverse_are_opposites_and_strength_multiplies():
    codes, has = rows(10, 10, 3, seed=7, concept=3.0)
    found = concept_vector(codes, has, seed=0)
    np.testing.assert_allclose(found.reverse().apply(found.apply(codes)), codes)
    np.testing.assert_allclose(found.apply(codes[0], strength=2.5), codes[0] + 2.5 * found.vector)
    assert found.reverse().p_value == found.p_value


def test_a_difference_transferred_to_its_own_example_gives_the_example():
    codes, before, after = np.random.default_rng(8).normal(size=(3, 6, 4))
    np.testing.assert_allclose(transfer(before, without=before, having=after), after)
    one_for_all = transfer(codes, without=before[0], having=after[0], strength=0.5)
    np.testing.assert_allclose(one_for_all - codes, np.tile((after[0] - before[0]) / 2, (6, 1)))


def test_codes_that_do_not_differ_have_a_vector_of_no_length_and_no_ratio():
    found = concept_vector(np.ones((6, 2)), np.arange(6) < 3, seed=0, resamples=9)
    assert (found.length, found.p_value) == (0.0, 1.0)
    assert np.isnan(found.ratio)


def test_concepts_that_no_difference_can_be_taken_of_are_refused(unchecked):
    codes, has = np.zeros((4, 2)), np.array([True, True, False, False])
    with pytest.raises(InputError, match=r"has: expected True for some rows and False for others, got \[True\]"):
        concept_vector(codes, np.full(4, True), seed=0)
    with pytest.raises(InputError, match="same number of rows, got 4 for codes, 3 for has"):
        concept_vector(codes, has[:3], seed=0)
    with pytest.raises(InputError, match="expected two groups or more in which all rows have the concept, got one"):
        concept_vector(codes, has, groups=np.array(["a", "a", "b", "c"]), seed=0)
    with pytest.raises(InputError, match="groups: expected one for every row, got none at row 2"):
        concept_vector(codes, has, groups=np.array(["a", "b", None, "c"]), seed=0)
    with pytest.raises(InputError, match="resamples: expected two or more, got 1"):
        concept_vector(codes, has, seed=0, resamples=1)
    with pytest.raises(InputError, match="same number of latent dimensions, got 3 for codes, 2 for vector"):
        concept_vector(codes, has, seed=0, resamples=2).apply(np.zeros(3))
    with pytest.raises(InputError, match="same number of latent dimensions, got 2 for codes, 3 for without"):
        transfer(codes, without=np.zeros(3), having=np.zeros(2))


def vocabulary(words, latent, *, seed):
    values = np.random.default_rng(seed).normal(size=(words, latent))
    return pd.DataFrame(values, index=[f"w{at}" for at in range(words)])


def asked(*questions, **columns):
    return pd.DataFrame(list(questions), columns=list("abcd")).assign(**columns)


def by_hand(vectors, question):
    """The nearest word and the rank of the right one, by a loop over the words."""
    units = {word: row / np.linalg.norm(row) for word, row in zip(vectors.index, vectors.to_numpy(), strict=True)}
    a, b, c, d = question
    sought = units[b] - units[a] + units[c]
    cosines = {word: row @ sought / np.linalg.norm(sought) for word, row in units.items() if word not in (a, b, c)}
    nearest = max(cosines, key=cosines.get)
    return nearest, cosines[nearest], sum(value >= cosines[d] for value in cosines.values())


def test_answers_and_ranks_are_those_of_a_plain_loop():
    vectors, random = vocabulary(25, 4, seed=9), np.random.default_rng(10)
    questions = [tuple(random.choice(vectors.index, 4, replace=False)) for _ in range(300)]
    table = analogies(vectors, asked(*questions))
    nearest, cosines, ranks = zip(*(by_hand(vectors, question) for question in questions), strict=True)
    assert tuple(table["answer"]) == nearest
    assert tuple(table["rank"]) == ranks
    np.testing.assert_allclose(table["similarity"], cosines)


def test_a_relation_that_is_a_direction_is_found_and_noise_is_not():
    random = np.random.default_rng(11)
    stems, step, noise = random.normal(size=(20, 60)), random.normal(size=60), random.normal(size=(20, 60))
    names = [f"{at}{end}" for end in ("", "s") for at in range(20)]
    questions = asked(*((f"{at}", f"{at}s", f"{at + 1}", f"{at + 1}s") for at in range(19)))
    real, none = (pd.DataFrame(np.concatenate([stems, ends]), index=names) for ends in (stems + step, noise))
    assert analogy_accuracy(analogies(real, questions)).loc["all", "accuracy"] == 1.0
    assert analogy_accuracy(analogies(none, questions)).loc["all", "accuracy"] < 0.3


def test_a_word_as_near_as_the_right_one_counts_as_nearer():
    vectors = pd.DataFrame([[1, 0], [0, 1], [1, 1], [-1, 4], [-1, 4]], index=list("abcde"))
    assert analogies(vectors, asked(tuple("abcd"), tuple("abce")))["rank"].tolist() == [2, 2]


def test_accuracy_and_its_error_are_given_for_each_sort_of_question():
    answers = pd.DataFrame({"rank": [1, 2, 1, 1, 5], "sort": ["x", "x", "y", "y", "y"]})
    table = analogy_accuracy(answers, by="sort")
    assert table["questions"].tolist() == [2, 3]
    np.testing.assert_allclose(table["accuracy"], [1 / 2, 2 / 3])
    np.testing.assert_allclose(table["se"], [stats.binom(2, 1 / 2).std() / 2, stats.binom(3, 2 / 3).std() / 3])
    np.testing.assert_allclose(table["reciprocal_rank"], [3 / 4, 11 / 15])
    with pytest.raises(InputError, match="by: expected a column among rank, sort, got 'kind'"):
        analogy_accuracy(answers, by="kind")


def test_questions_with_unknown_words_are_refused_by_name_or_dropped_and_counted():
    vectors = vocabulary(6, 3, seed=13)
    questions = asked(("w0", "w1", "w2", "w3"), ("w0", "w1", "queen", "w3"), sort=["x", "y"])
    with pytest.raises(InputError, match="expected words that have vectors, got 'queen' as c of question 1"):
        analogies(vectors, questions)
    table = analogies(vectors, questions, unknown="drop")
    assert (table["sort"].tolist(), table.attrs["dropped"]) == (["x"], 1)
    with pytest.raises(InputError, match="at least one whose words all have vectors, got none of 1"):
        analogies(vectors, questions[1:], unknown="drop")


def test_questions_and_vectors_that_have_no_answer_are_refused():
    vectors, question = vocabulary(6, 3, seed=14), asked(("w0", "w1", "w2", "w3"))
    with pytest.raises(
        InputError, match=r"an answer that is none of the three words given, got \['w0', 'w1', 'w2', 'w1'"
    ):
        analogies(vectors, asked(("w0", "w1", "w2", "w1")))
    with pytest.raises(InputError, match="questions: expected the columns a, b, c and d, got no d"):
        analogies(vectors, question.drop(columns="d"))
    with pytest.raises(InputError, match="vectors: expected one for each word, got two for 'w0'"):
        analogies(pd.concat([vectors, vectors]), question)
    with pytest.raises(InputError, match="expected a direction for each word, got only zeros for 'w4'"):
        analogies(vectors.mul(vectors.index != "w4", axis=0), question)


@pytest.mark.skipif(not WORDS.exists(), reason="the word vectors are not in ../shared/data")
def test_man_is_to_king_as_woman_is_to_queen():
    stored = np.load(WORDS)
    vectors = pd.DataFrame(stored["vectors"], index=stored["words"].tolist())
    table = analogies(vectors, asked(("man", "king", "woman", "queen"), ("good", "better", "bad", "worse")))
    assert table["answer"].tolist() == ["queen", "worse"]
