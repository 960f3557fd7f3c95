"""Paths between phrases: laws of the blendings and of the measures, counts by hand, and the report of a quick run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripts import analysis

from ppl_models import load
from ppl_models.datasets import read_midi, split_by_melody
from ppl_models.datasets.melodies import STEP_NAMES, STEPS
from ppl_models.datasets.notes import VOCABULARY
from ppl_models.errors import InputError


@pytest.fixture(scope="module", autouse=True)
def beside():
    """Scripts find the modules beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "analyses")
        yield


@pytest.fixture(scope="module")
def paths(beside):
    return analysis("melody_paths")


@pytest.fixture(scope="module")
def measures(beside):
    return analysis("melody_measures")


@pytest.fixture(scope="module")
def concepts(beside):
    return analysis("melody_concepts")


@pytest.fixture(scope="module")
def folder(beside, tmp_path_factory):
    place = tmp_path_factory.mktemp("melodies") / "report"
    analysis("melodies").main(seed=0, output_dir=place, quick=True)
    return place


def codes(*words: str) -> np.ndarray:
    """A phrase of tokens, each held for as long as the others are."""
    held = STEPS // len(words) - 1
    return np.array([[VOCABULARY.index(one) for word in words for one in (word, *["hold"] * held)]])


def names(tokens: np.ndarray) -> list[str]:
    return [name for name in np.array(VOCABULARY)[tokens] if name != "hold"]


def random_phrases(seed: int, rows: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(VOCABULARY), (rows, STEPS))


def test_the_ends_of_blended_paths_are_the_phrases(paths):
    first, last = random_phrases(0), random_phrases(1)
    for path in paths.blended(first, last, seed=0).values():
        assert path.shape == (40, paths.POINTS, STEPS)
        assert (path[:, 0] == first).all() and (path[:, -1] == last).all()


def test_a_path_of_equal_phrases_changes_nothing(paths, measures):
    phrases = random_phrases(2)
    for path in paths.blended(phrases, phrases, seed=0).values():
        table = measures.changes(path)
        assert (path == phrases[:, None]).all() and (table["changed tokens"] == 0).all()
        assert table.drop(columns="changed tokens").isna().all(axis=None)


def test_mixed_tokens_and_medleys_go_straight_and_each_token_is_one_of_the_two(paths, measures):
    first, last = random_phrases(3), random_phrases(4)
    found = paths.blended(first, last, seed=0)
    for name in (paths.MIXED, paths.MEDLEY):
        assert ((found[name] == first[:, None]) | (found[name] == last[:, None])).all()
        np.testing.assert_allclose(measures.changes(found[name])["length over chord"], 1)


def test_mixed_tokens_are_the_second_phrases_with_the_share_of_the_way(paths):
    first, last = np.zeros((4000, STEPS), dtype=int), np.ones((4000, STEPS), dtype=int)
    shares = paths.blended(first, last, seed=0)[paths.MIXED].mean((0, 2))
    np.testing.assert_allclose(shares, np.linspace(0, 1, paths.POINTS), atol=5 * 0.5 / (4000 * STEPS) ** 0.5)


def test_blended_pitches_have_the_rhythm_of_the_nearer_phrase_and_the_mean_pitch(paths):
    path = paths.blended(codes("C4", "E4", "rest", "C5"), codes("E4", "C5"), seed=0)[paths.AVERAGED][0]
    assert names(path[1]) == ["C#4", "E4", "rest", "C5"]  # an eighth of the way from C4 to E4: half a semitone, up
    assert names(path[3]) == ["D4", "E4", "rest", "C5"]
    assert names(path[6]) == ["D#4", "C5"]
    assert (path[6] == VOCABULARY.index("hold")).sum() == STEPS - 2


def test_medleys_change_at_one_beat(paths):
    path = paths.blended(codes("C4"), codes(*["D4"] * 8), seed=0)[paths.MEDLEY][0]
    assert [names(point) for point in path] == [["C4"] * (count < 8) + ["D4"] * count for count in range(9)]


def test_changed_tokens_are_counted_by_hand(measures):
    path = np.array([[[1, 1, 1, 1], [2, 1, 1, 1], [1, 2, 2, 1], [1, 2, 2, 2]]])
    found = measures.changes(path).iloc[0]
    np.testing.assert_allclose(found, [5 / 3, 5 / 3, 3 / (5 / 3)])  # 1, 3 and 1 tokens; 3 between the ends


def test_pairs_are_of_two_melodies_and_none_comes_twice(paths):
    titles = np.repeat(list("abcde"), 6)
    pairs = paths.pairs_of(titles, count=200, seed=0)
    assert len(pairs) == len({frozenset(pair) for pair in pairs.tolist()}) == 200
    assert (titles[pairs[:, 0]] != titles[pairs[:, 1]]).all()


def test_no_phrase_is_in_two_pairs_while_there_are_enough(paths):
    pairs = paths.pairs_of(np.arange(60), count=30, seed=1)
    assert sorted(pairs.ravel().tolist()) == list(range(60))


def test_leaving_out_melodies_of_one_row_gives_the_standard_error_exactly(measures):
    values = np.random.default_rng(0).normal(size=50)
    mean, error = measures.jackknife(values, np.arange(50)[:, None])
    assert (mean, error) == pytest.approx((values.mean(), values.std(ddof=1) / 50**0.5))


def test_leaving_out_either_melody_of_a_pair_is_wider_by_the_root_of_two(measures):
    values = np.random.default_rng(0).normal(size=400)
    _, error = measures.jackknife(values, np.arange(800).reshape(400, 2))
    assert error == pytest.approx(2**0.5 * values.std(ddof=1) / 20, rel=0.01)


def test_leaving_out_melodies_one_by_one_gives_the_same_for_any_pairs(measures):
    random = np.random.default_rng(3)
    values, melodies = random.normal(size=90), random.integers(0, 12, (90, 2))
    left = np.array([values[(melodies != one).all(1)].mean() for one in range(12)])
    assert measures.jackknife(values, melodies)[1] == pytest.approx((left.var() * 11) ** 0.5)


def test_the_error_of_what_every_row_shares_is_not_known(measures):
    assert np.isnan(measures.jackknife(np.ones(3), np.array([["a", "b"], ["a", "c"], ["d", "a"]]))[1])


def test_notes_that_begin_are_counted(concepts):
    both = np.concatenate([codes("C4", "rest", "C4", "D4"), codes("rest")])
    assert concepts.notes_begun(both).tolist() == [3, 0]


@pytest.mark.parametrize("error", [0.1, 0.3])
def test_the_answer_counts_the_blendings_that_are_more_than_four_errors_behind(paths, error):
    gaps = analysis("melody_gaps")
    blends = (paths.MIXED, paths.AVERAGED, paths.MEDLEY)
    errors, random = {paths.TYPICAL: error, paths.DRAWN: 10 * error}, np.random.default_rng(0)
    noise = random.normal(size=60)
    noise *= 60**0.5 / noise.std(ddof=1)  # of a mean whose standard error is 1
    noise -= noise.mean()
    values = {name: pd.DataFrame({"chain": 1 + size * noise}) for name, size in errors.items()}
    values |= {name: pd.DataFrame({"chain": np.zeros(60)}) for name in blends}
    melodies = np.stack([np.arange(60)] * 2, axis=1)
    table = gaps.gaps(values, {"chain": None}, melodies, melodies)
    np.testing.assert_allclose(table.loc[paths.TYPICAL, "chain / se"], 1 / error)
    behind = 3 * (error < 1 / gaps.CLEAR)
    told = gaps.answer(table, dict.fromkeys([*blends, *errors], 7.0), "chain")
    assert f"1.000 nats a step more (se {error:.3f}; {behind} of 3 ways" in told.split("; phrases drawn")[0]
    assert f"1.000 nats a step more (se {10 * error:.3f}; 0 of 3 ways" in told.split("; phrases drawn")[1]


def test_steps_that_name_what_they_hold_tell_the_same_phrases(beside):
    tokens = np.array(VOCABULARY)[random_phrases(0)]
    tokens[0, :4] = "hold", "hold", "C4", "hold"
    named = np.array(analysis("melody_phrases").sounding_tokens(pd.DataFrame(tokens, columns=STEP_NAMES)))
    assert named[0, :4].tolist() == ["hold", "hold", "C4", "C4, held"]
    held = np.char.endswith(named, ", held")
    assert (np.where(held, "hold", named) == tokens).all()
    sounds = np.char.replace(named, ", held", "")
    assert held[:, 1:].any() and (sounds[:, 1:] == sounds[:, :-1])[held[:, 1:]].all()


def test_paths_ask_for_new_phrases_of_two_melodies(beside):
    script, parts = analysis("melody_phrases"), split_by_melody(load("melodies").frame, seed=0)
    titles = parts.test.index.get_level_values("title")
    new = script.new_phrases(parts, "bundled")
    assert not new.duplicated().any() and set(map(tuple, new.values)) <= set(map(tuple, parts.test.values))
    for test, got in ((parts.test[titles == titles[0]], 1), (parts.train, 0)):
        with pytest.raises(
            InputError, match=f"^bundled: expected held-out phrases .* two melodies or more, got {got}$"
        ):
            script.new_phrases(replace(parts, test=test), "bundled")


def test_how_sure_is_said_over_melodies_too(folder):
    run = json.loads((folder / "run.json").read_text())
    steps = pd.read_csv(folder / "tables/steps.csv", index_col="model")["elpd"].nlargest(2)
    assert f"over “{steps.index[1]}” is {steps.iloc[0] - steps.iloc[1]:.3f} nats a step (se 0." in run["sure"]


def test_nats_a_step_are_nats_a_row_over_32_with_every_kind_beside(folder):
    rows, steps = (pd.read_csv(folder / f"tables/{name}.csv", index_col="model") for name in ("comparison", "steps"))
    assert set(steps.index) == set(rows.index) and len(steps) == 6
    np.testing.assert_allclose(steps["elpd"], rows.loc[steps.index, "elpd"] / STEPS)
    kinds = {"exact" if "VAE" not in name else "lower bound" for name in steps.index}
    assert kinds == set(steps["kind"]) and steps.at["Markov chain", "diff"] == 0


def test_every_kind_of_path_is_measured_and_set_against_every_blending(folder):
    table = pd.read_csv(folder / "tables/paths.csv", index_col="path")
    gaps = pd.read_csv(folder / "tables/gaps.csv", index_col=["path", "less"])
    assert len(table) == 6 and len(gaps) == 9
    for (path, less), line in gaps.iterrows():
        assert line["Markov chain"] == pytest.approx(table.at[path, "Markov chain"] - table.at[less, "Markov chain"])
    first = gaps.loc[("latent, linear", "blended, tokens")]
    more = f"{abs(first['Markov chain']):.3f} nats a step {'more' if first['Markov chain'] > 0 else 'less'}"
    told = f"points decoded between two phrases have, beside blended tokens, {more} (se "
    assert told in json.loads((folder / "run.json").read_text())["summary"]


def test_every_sample_and_every_point_of_a_path_is_a_midi_file(folder):
    for name, count in (("phrases", 6), ("path-1", 9), ("path-2", 9), ("samples-1", 3), ("concept", 9)):
        tunes = read_midi(folder / f"midi/{name}.mid")
        assert len(tunes) == count and all(len(tokens) == STEPS for tokens in tunes.values())
        assert (folder / f"midi/{name}-{count}.mid").is_file()
