"""Arithmetic over word vectors: a is to b as c is to d.

If a relation is a direction, b − a is the step from a to b, and the same step from c should lead to d: king − man +
woman is near queen. Nearness is the cosine of the angle, all words have length one, and the three words of the
question cannot be the answer (3CosAdd); one of them nearly always is nearest, so that this helps.

References:
    Mikolov, Chen, Corrado, Dean (2013), https://arxiv.org/abs/1301.3781
    Levy, Goldberg (2014), https://aclanthology.org/W14-1618 (3CosAdd)
    Linzen (2016), https://aclanthology.org/W16-2503 (what leaving out the question's words does)
"""

from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from ppl_models.errors import InputError
from ppl_models.evaluation.rows import finite, share_error, standard_error

TERMS = ["a", "b", "c", "d"]
AT_ONCE = 256  # questions whose similarities to all words are held in memory


def analogies(
    vectors: pd.DataFrame, questions: pd.DataFrame, *, unknown: Literal["refuse", "drop"] = "refuse"
) -> pd.DataFrame:
    """Answer analogy questions by vector arithmetic.

    Args:
        vectors: a line per word, which is its index; a column per dimension.
        questions: a line per question, with the words in the columns `a`, `b`, `c` and the right answer in `d`; other
            columns are kept.
        unknown: what is done with a question that has a word without a vector.

    Returns:
        The questions, with `answer` (the nearest word), `similarity` (its cosine with b − a + c) and `rank` (of the
        right answer among all words but the question's three: 1 if it is the answer; words as near as it count as
        nearer). `attrs["dropped"]` counts the questions left out.

    Raises:
        InputError: A word of a question is unknown, or the right answer is among the three words given; a word has two
            vectors, or one that is zero or not finite; a column is missing; or no question is left.

    >>> vectors = pd.DataFrame([[1, 1], [1, -1], [3, 1], [3, -1], [1, 9]], index=["he", "she", "king", "queen", "far"])
    >>> asked = pd.DataFrame({"a": ["he"], "b": ["king"], "c": ["she"], "d": ["queen"]})
    >>> analogies(vectors, asked)[["answer", "rank"]].values.tolist()
    [['queen', 1]]
    """
    units = _units(vectors)
    asked, places = _places(vectors.index, questions, unknown)
    parts = [_answered(units, places[at : at + AT_ONCE]) for at in range(0, len(places), AT_ONCE)]
    answers, similarity, rank = (np.concatenate(part) for part in zip(*parts, strict=True))
    table = asked.assign(answer=vectors.index[answers].to_numpy(), similarity=similarity, rank=rank)
    table.attrs["dropped"] = len(questions) - len(asked)
    return table


def analogy_accuracy(answers: pd.DataFrame, *, by: str | None = None) -> pd.DataFrame:
    """Count the analogies that came out right.

    Args:
        answers: what `analogies` returns.
        by: the column of the questions' sort, for a line each; one line, "all", if None.

    Returns:
        Columns `questions`, `accuracy` (share whose right answer has rank 1; higher is better), `se` (its binomial
        standard error; too small where questions share words), `reciprocal_rank` (mean of 1 / rank; higher is better)
        and `reciprocal_rank_se`.

    Raises:
        InputError: there is no such column.

    >>> analogy_accuracy(pd.DataFrame({"rank": [1, 1, 4, 2]}))[["accuracy", "se"]].values.tolist()
    [[0.5, 0.25]]
    """
    if by is not None and by not in answers.columns:
        raise InputError(f"by: expected a column among {', '.join(map(str, answers.columns))}, got {by!r}")
    sorts = pd.Series("all", index=answers.index) if by is None else answers[by]
    lines = {
        sort: _counted(ranks.to_numpy(dtype=np.float64)) for sort, ranks in answers["rank"].groupby(sorts, dropna=False)
    }
    return pd.DataFrame.from_dict(lines, orient="index").astype({"questions": int}).rename_axis(by)


def _counted(ranks: Float[np.ndarray, " questions"]) -> dict[str, float | int]:
    accuracy, reciprocal = float(np.mean(ranks == 1)), 1 / ranks
    return {
        "questions": len(ranks),
        "accuracy": accuracy,
        "se": share_error(accuracy, len(ranks)),
        "reciprocal_rank": float(reciprocal.mean()),
        "reciprocal_rank_se": standard_error(reciprocal),
    }


def _units(vectors: pd.DataFrame) -> Float[np.ndarray, "words latent"]:
    """The words' directions."""
    repeated = vectors.index[vectors.index.duplicated()]
    if len(repeated):
        raise InputError(f"vectors: expected one for each word, got two for {repeated[0]!r}")
    values = finite(vectors.to_numpy(dtype=np.float64), "vectors", axes=("words", "latent"))
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    zero = np.flatnonzero(lengths == 0)
    if len(zero):
        raise InputError(f"vectors: expected a direction for each word, got only zeros for {vectors.index[zero[0]]!r}")
    return values / lengths


def _places(
    words: pd.Index, questions: pd.DataFrame, unknown: str
) -> tuple[pd.DataFrame, Int[np.ndarray, "questions 4"]]:
    """The questions that are asked, and where their words stand."""
    missing = [term for term in TERMS if term not in questions.columns]
    if missing:
        raise InputError(f"questions: expected the columns a, b, c and d, got no {missing[0]}")
    places = words.get_indexer(questions[TERMS].to_numpy().ravel()).reshape(-1, len(TERMS))
    known = (places >= 0).all(axis=1)
    if unknown == "refuse":
        _refuse_unknown(questions, places)
    if not known.any():
        raise InputError(f"questions: expected at least one whose words all have vectors, got none of {len(questions)}")
    given = (places[:, 3:] == places[:, :3]).any(axis=1) & known
    if given.any():
        question = questions[TERMS].iloc[np.flatnonzero(given)[0]].tolist()
        raise InputError(f"questions: expected an answer that is none of the three words given, got {question}")
    return questions[known], places[known]


def _refuse_unknown(questions: pd.DataFrame, places: Int[np.ndarray, "questions 4"]) -> None:
    unknown = np.argwhere(places < 0)
    if len(unknown):
        at, term = unknown[0]
        word = questions[TERMS[term]].iloc[at]
        raise InputError(f"questions: expected words that have vectors, got {word!r} as {TERMS[term]} of question {at}")


def _answered(
    units: Float[np.ndarray, "words latent"], places: Int[np.ndarray, "questions 4"]
) -> tuple[Int[np.ndarray, " questions"], Float[np.ndarray, " questions"], Int[np.ndarray, " questions"]]:
    """The nearest allowed word, its cosine, and the rank of the right one."""
    a, b, c = (units[places[:, term]] for term in range(3))
    sought = b - a + c
    lengths = np.linalg.norm(sought, axis=1, keepdims=True)
    similarity = np.divide(sought, lengths, out=np.zeros_like(sought), where=lengths > 0) @ units.T
    allowed = _allowed(places, len(units))
    similarity[~allowed] = -np.inf
    right = np.take_along_axis(similarity, places[:, 3:], axis=1)
    answers = similarity.argmax(axis=1)
    return answers, similarity.max(axis=1), (similarity >= right).sum(axis=1)


def _allowed(places: Int[np.ndarray, "questions 4"], words: int) -> Bool[np.ndarray, "questions words"]:
    allowed = np.ones((len(places), words), dtype=bool)
    np.put_along_axis(allowed, places[:, :3], False, axis=1)
    return allowed
