"""Could a draw be a row? Realism: how hard it is to tell draws of a model from held-out rows.

A classifier learns to tell them apart. Its AUC is the chance that it puts a random held-out row above a random draw:
0.5 if nothing tells them apart, 1 if everything does. Two classifiers, because each is blind to something: logistic
regression finds shifts with few rows, but neither spread nor dependence; a forest finds those, and needs more rows.

**Why blocks are scored forward.** In K-fold cross-validation every row is learned from and scored, the errors of the
folds are dependent, and no unbiased estimate of the variance exists; the usual standard error is too small by 1.3 to
1.4 exactly where draws are good. So a block is scored only by what was learned from the blocks before it. Given the
past, each block's AUC is that of a fixed classifier on fresh rows. Errors are then martingale differences, variances
add, and the placement values of a block estimate its own without bias (DeLong et al.).

References:
    Lopez-Paz, Oquab (2017), https://arxiv.org/abs/1610.06545 (classifier two-sample tests)
    Bengio, Grandvalet (2004), https://www.jmlr.org/papers/v5/grandvalet04a.html (no unbiased variance for K folds)
    Dawid (1984), https://doi.org/10.2307/2981683 (the prequential approach: learn from the past, score the next)
    DeLong, DeLong, Clarke-Pearson (1988), https://doi.org/10.2307/2531595 (the standard error of an AUC)
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ppl_models.errors import InputError
from ppl_models.evaluation.rows import finite, same, standard_error

FOLDS = 5
TREES = 100
LEAF = 0.01  # the smallest share of rows in a leaf; smaller ones tell normal samples apart less well
ITERATIONS = 2000  # of the logistic regression's optimiser, which stops far earlier

Classifier = Literal["logistic", "forest"]
CLASSIFIERS: tuple[Classifier, ...] = ("logistic", "forest")


def realism(
    draws: Float[np.ndarray, "draws columns"],
    held_out: Float[np.ndarray, "rows columns"],
    *,
    seed: int,
    folds: int = FOLDS,
    classifiers: Sequence[Classifier] = CLASSIFIERS,
) -> pd.DataFrame:
    """Say how well classifiers tell draws from held-out rows; the closer to 0.5, the more real the draws are.

    Both are shuffled and cut into blocks. Each block but the first is scored by a classifier that learned from all
    blocks before it, and the AUCs of the blocks are averaged. A weak classifier is no proof of good draws: read the
    higher line. Rows have to be independent: copies in two blocks are recognised.

    Args:
        draws: rows drawn from the model.
        held_out: rows that the model has not seen, in the same columns and units, complete.
        seed: of the shuffle and the forest.
        folds: blocks.
        classifiers: which are asked.

    Returns:
        A line per classifier with the columns `auc` (0.5 is ideal, 1 is told apart; below 0.5 only by chance) and `se`,
        its standard error over rows; 0 where every block is told apart without an error.

    Raises:
        InputError: Columns differ, a number is not finite, there are fewer than two blocks, or fewer than two rows or
            draws for each.

    >>> far = realism(np.zeros((20, 1)), np.ones((20, 1)), seed=0, folds=2, classifiers=["logistic"])
    >>> far["auc"].tolist(), far["se"].tolist()
    ([1.0], [0.0])
    """
    drawn, rows = (
        finite(part, name, axes=("rows", "columns")) for part, name in ((draws, "draws"), (held_out, "held_out"))
    )
    same("number of columns", draws=drawn.shape[1], held_out=rows.shape[1])
    _refuse_small(folds, draws=drawn, held_out=rows)
    random = np.random.default_rng(seed)
    blocks = [np.array_split(random.permutation(part), folds) for part in (drawn, rows)]
    table = {name: _forward(blocks, name, seed) for name in classifiers}
    return pd.DataFrame.from_dict(table, orient="index", columns=["auc", "se"]).rename_axis("classifier")


def log_density_gap(draws: Float[np.ndarray, " draws"], held_out: Float[np.ndarray, " rows"]) -> pd.DataFrame:
    """Set the log density of draws beside that of held-out rows, both under one density that made neither.

    Real draws have the mean of held-out rows. Draws that are less probable stray where no row is; draws that are more
    probable keep to the commonest rows.

    Args:
        draws: log density of each draw, in nats and raw units.
        held_out: log density of each held-out row, under the same density.

    Returns:
        The lines "draws", "held out" and "difference" (draws less held out; ideal is 0) with the columns `mean`, in
        nats per row, and `se`, its standard error over independent rows.

    Raises:
        InputError: A value is not finite, or there are fewer than two draws or rows.

    >>> print(log_density_gap(np.array([-1.0, -3.0]), np.array([-1.0, -1.0])).loc["difference"].tolist())
    [-1.0, 1.0]
    """
    values = {
        "draws": finite(draws, "draws", axes=("draws",)),
        "held out": finite(held_out, "held_out", axes=("rows",)),
    }
    for name, one in values.items():
        if len(one) < 2:
            raise InputError(f"{name}: expected two log densities or more, got {len(one)}")
    means, errors = ({name: what(one) for name, one in values.items()} for what in (np.mean, standard_error))
    means["difference"] = means["draws"] - means["held out"]
    errors["difference"] = float(np.hypot(errors["draws"], errors["held out"]))
    return pd.DataFrame({"mean": means, "se": errors})


def _forward(blocks: list[list[np.ndarray]], name: Classifier, seed: int) -> tuple[float, float]:
    """The mean AUC of the blocks, each scored by what was learned before it, and its standard error."""
    found = []
    for at in range(1, len(blocks[0])):
        parts = [np.concatenate(part[:at]) for part in blocks]
        classifier = _classifier(name, seed).fit(
            np.concatenate(parts), np.repeat([0, 1], [len(part) for part in parts])
        )
        draws, rows = (classifier.predict_proba(part[at])[:, 1] for part in blocks)
        found.append(_placed(rows, draws))
    areas, variances = np.transpose(found)
    return float(areas.mean()), float(np.sqrt(variances.sum()) / len(areas))


def _placed(rows: Float[np.ndarray, " rows"], draws: Float[np.ndarray, " draws"]) -> tuple[float, float]:
    """The AUC of one block's scores and its variance, by the share of the other sample that each score is above."""
    ranks = stats.rankdata(np.concatenate([rows, draws]))
    above = (ranks[: len(rows)] - stats.rankdata(rows)) / len(draws)
    below = (ranks[len(rows) :] - stats.rankdata(draws)) / len(rows)
    return float(above.mean()), standard_error(above) ** 2 + standard_error(below) ** 2


def _classifier(name: Classifier, seed: int) -> Pipeline | RandomForestClassifier:
    if name == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    if name == "forest":
        return RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=seed)
    raise InputError(f"classifiers: expected some of {', '.join(CLASSIFIERS)}, got {name!r}")


def _refuse_small(folds: int, **parts: Float[np.ndarray, "..."]) -> None:
    if folds < 2:
        raise InputError(f"folds: expected two or more, got {folds}")
    for name, part in parts.items():
        if len(part) < 2 * folds:
            raise InputError(f"{name}: expected two or more for each of {folds} blocks, got {len(part)} rows")
