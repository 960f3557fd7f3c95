"""What the codes of a latent space know: the labels that can be read off them, and the dimensions that are in use.

An ideal latent space has three virtues. This file holds the first, **representation**: rows that are alike lie
together, so that a label that no one showed to the model can be read off its codes. The second, **realism**, is in
`realism.py`: what is drawn in the space decodes to what could be a row. The third, **smoothness**, is in `paths.py`:
small steps in the space are small steps in the data.

References:
    Alain, Bengio (2017), https://arxiv.org/abs/1610.01644 (linear probes)
    Burda, Grosse, Salakhutdinov (2016), https://arxiv.org/abs/1509.00519 (active units)
"""

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation.rows import finite, same, share_error

NEIGHBOURS = 15
ITERATIONS = 2000  # of the probe's optimiser, which stops far earlier
UNKNOWN = -1  # the code of a class that is not known
ACTIVE = 0.01  # variance of the posterior mean above which a unit counts as active


def representation(
    train_codes: Float[np.ndarray, "train latent"],
    train_labels: Shaped[np.ndarray, " train"],
    *,
    test_codes: Float[np.ndarray, "test latent"],
    test_labels: Shaped[np.ndarray, " test"],
    neighbours: int = NEIGHBOURS,
) -> pd.DataFrame:
    """Say how well labels can be read off codes that were learned without them.

    The linear probe is a logistic regression on standardised codes, with scikit-learn's penalty of C = 1: can a plane
    tell the classes apart? The vote of the nearest neighbours, by Euclidean distance in the codes as they are, asks
    the same of any shape. A vote that ends level goes to the class that comes first. Nothing is drawn.

    Args:
        train_codes: posterior means, or draws, of the rows that the probes learn from.
        train_labels: their classes.
        test_codes: the codes of held-out rows.
        test_labels: their classes; one that no training row has is never found.
        neighbours: how many nearest training rows have a vote.

    Returns:
        A line for "linear probe" and one for "nearest neighbours" with the columns `accuracy` (share of held-out rows;
        higher is better), `se` (its binomial standard error over held-out rows) and `chance` (the share of held-out
        rows in the training rows' largest class, which is what codes that know nothing reach).

    Raises:
        InputError: A label is missing, a code is not finite, shapes do not fit, there is a single class to learn, no
            held-out row, or there are fewer training rows than neighbours.

    >>> codes, labels = np.array([[0.0], [0.2], [1.0], [1.2]]), np.array(["ash", "ash", "birch", "birch"])
    >>> representation(codes, labels, test_codes=codes, test_labels=labels, neighbours=1)["accuracy"].tolist()
    [1.0, 1.0]
    """
    train, test = (
        _labelled(*part) for part in (("train", train_codes, train_labels), ("test", test_codes, test_labels))
    )
    same("number of latent dimensions", train_codes=train[0].shape[1], test_codes=test[0].shape[1])
    _refuse_unlearnable(train[1], neighbours)
    probes = {
        "linear probe": make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS)),
        "nearest neighbours": KNeighborsClassifier(neighbours),
    }
    accuracies = pd.Series({name: float(probe.fit(*train).score(*test)) for name, probe in probes.items()})
    chance = float(np.mean(test[1] == pd.Series(train[1]).mode()[0]))
    table = pd.DataFrame({"accuracy": accuracies, "se": [share_error(share, len(test[1])) for share in accuracies]})
    return table.assign(chance=chance).rename_axis("probe")


def active_units(locs: Float[np.ndarray, "rows latent"], *, threshold: float = ACTIVE) -> pd.DataFrame:
    """Say which latent dimensions change with the row: those whose posterior mean varies over rows.

    A dimension that the guide leaves at the prior has the same mean for every row and carries nothing.

    Args:
        locs: the posterior mean of each row.
        threshold: the variance above which a dimension counts as active; 0.01 in the source, for a prior of variance 1.

    Returns:
        A line per dimension with the columns `variance` (over rows), `se` (its standard error, from the fourth moment)
        and `active`.

    Raises:
        InputError: There are fewer than two rows, or a mean is not finite.

    >>> active_units(np.array([[0.0, 1.0], [0.1, -1.0], [0.0, 0.5]]))["active"].tolist()
    [False, True]
    """
    values = finite(locs, "locs", axes=("rows", "latent"))
    rows = len(values)
    if rows < 2:
        raise InputError(f"locs: expected two rows or more, got {rows}")
    variance = values.var(axis=0, ddof=1)
    fourth = ((values - values.mean(axis=0)) ** 4).mean(axis=0)
    se = np.sqrt(np.maximum(fourth - variance**2 * (rows - 3) / (rows - 1), 0.0) / rows)
    index = pd.RangeIndex(values.shape[1], name="dimension")
    return pd.DataFrame({"variance": variance, "se": se, "active": variance > threshold}, index=index)


def _labelled(
    name: str, codes: Float[np.ndarray, "rows latent"], labels: Shaped[np.ndarray, " rows"]
) -> tuple[Float[np.ndarray, "rows latent"], Shaped[np.ndarray, " rows"]]:
    """Codes with their classes, checked."""
    values, classes = finite(codes, f"{name}_codes", axes=("rows", "latent")), np.asarray(labels)
    if classes.shape != values.shape[:1] or len(classes) == 0:
        raise InputError(f"{name}_labels: expected one per code and at least one, got shape {classes.shape}")
    missing = np.flatnonzero(pd.isna(classes) | pd.Series(classes).isin([UNKNOWN]).to_numpy())
    if len(missing):
        raise InputError(
            f"{name}_labels: expected a known class in every row, got {classes[missing[0]]} at {missing[0]}"
        )
    return values, classes


def _refuse_unlearnable(labels: Shaped[np.ndarray, " rows"], neighbours: int) -> None:
    at_least_one(neighbours=neighbours)
    if len(pd.unique(labels)) < 2:
        raise InputError(f"train_labels: expected two classes or more, got only {labels[0]}")
    if len(labels) < neighbours:
        raise InputError(f"neighbours: expected at most the {len(labels)} training rows, got {neighbours}")
