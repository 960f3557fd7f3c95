"""Where the class-given product starts from: known classes, or the nearest of k-means++ centres."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.cluster import kmeans_plusplus
from torch import Tensor, nn

from ppl_models.datasets import Dataset

SHARPNESS = 0.5
EACH_PAIR = "donot_use_mm_for_euclid_dist"  # so that company does not decide between centres as near
TINY = torch.finfo(torch.float64).tiny


def one_hot(labels: Int[Tensor, " rows"], classes: int) -> Float[Tensor, "rows classes"]:
    """One where a row's class is known, zeros where it is not."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).double()


def embed(train: Dataset) -> Float[np.ndarray, "rows numbers"]:
    """Rows as points whose distances treat the columns alike.

    Numbers are standardised, counts through their square root, categories are indicators; a missing cell stands at the
    column's mean.
    """
    parts = []
    for index, column in enumerate(train.schema.columns):
        cell, seen = train.values[:, index], train.observed[:, index]
        if column.continuous:
            parts.append(cell[:, None])
        elif column.kind == "count":
            root = 2 * (cell.sqrt() - train.scale[index].sqrt())
            parts.append(torch.where(seen, root, 0.0)[:, None])
        else:
            indicator = nn.functional.one_hot(cell.long(), column.cardinality).double()
            weights = train.weights * seen
            mean = weights @ indicator / weights.sum().clamp(min=TINY)
            parts.append(torch.where(seen[:, None], indicator - mean, 0.0))
    return torch.cat(parts, 1).cpu().numpy()


def partitions(train: Dataset, classes: int, *, restarts: int, seed: int) -> Float[Tensor, "restarts rows classes"]:
    """Each row given by half to the nearest of some centres and by half to all classes alike, anew for each restart.

    The centres are k-means++'s (Arthur and Vassilvitskii 2007), in every second restart with the columns stretched by
    random factors, since those in which the classes differ are not known. Rows given as a whole would begin with
    probabilities of 0, which a maximum of the likelihood never leaves again.

    Equal rows are one point of their joint weight, so that a row that occurs twice and one of weight 2 start alike;
    those of no weight are given to all classes alike, and change nothing.
    """
    counted = train.weights > 0 if bool(train.weights.any()) else torch.ones_like(train.weights).bool()
    points, place = _distinct(train[counted])
    table, weights, random = embed(points), points.weights.cpu().numpy(), np.random.RandomState(seed)
    starts = train.values.new_full((restarts, len(train), classes), 1 / classes, dtype=torch.float64)
    for restart in range(restarts):
        stretch = random.exponential(size=table.shape[1]) if restart % 2 else 1.0
        nearest = _nearest_centres(table * stretch, weights, classes, seed=random.randint(2**31 - 1))
        starts[restart, counted] = SHARPNESS * nearest.to(starts)[place] + (1 - SHARPNESS) / classes
    return starts


def _distinct(train: Dataset) -> tuple[Dataset, Int[Tensor, " rows"]]:
    """The first of equal rows, with the weights of all of them; and for each row, which of those it is."""
    hashes = pd.Series(train.hashes.cpu().numpy())
    first, place = (~hashes.duplicated()).to_numpy(), hashes.factorize()[0]
    first, place = (torch.from_numpy(each).to(train.labels.device) for each in (first.nonzero()[0], place))
    return train[first].weighted(train.weights.new_zeros(len(first)).index_add(0, place, train.weights)), place


def _nearest_centres(
    table: Float[np.ndarray, "points numbers"], weights: Float[np.ndarray, " points"], classes: int, *, seed: int
) -> Float[Tensor, "points classes"]:
    """Each point given to the nearest of k-means++ centres, of which there are no more than points."""
    weights = weights if weights.any() else None
    centres, _ = kmeans_plusplus(table, min(classes, len(table)), sample_weight=weights, random_state=seed)
    distances = torch.cdist(torch.tensor(table), torch.tensor(centres), compute_mode=EACH_PAIR)
    return one_hot(distances.argmin(-1), classes)
