"""Where the class-given product starts from: known classes, or the nearest of k-means++ centres."""

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import kmeans_plusplus
from torch import Tensor, nn

from ppl_models.datasets import Dataset

SHARPNESS = 0.5


def one_hot(labels: Int[Tensor, " rows"], classes: int) -> Float[Tensor, "rows classes"]:
    """One where a row's class is known, zeros where it is not."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).double()


def embed(train: Dataset) -> np.ndarray:
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
            parts.append(torch.where(seen[:, None], indicator - indicator[seen].mean(0), 0.0))
    return torch.cat(parts, 1).cpu().numpy()


def partitions(
    table: Float[np.ndarray, "rows numbers"], classes: int, *, restarts: int, seed: int
) -> Float[Tensor, "restarts rows classes"]:
    """Each row given by half to the nearest of some centres and by half to all classes alike, anew for each restart.

    The centres are k-means++'s (Arthur and Vassilvitskii 2007), in every second restart with the columns stretched by
    random factors, since those in which the classes differ are not known. Rows given as a whole would begin with
    probabilities of 0, which a maximum of the likelihood never leaves again.
    """
    random = np.random.RandomState(seed)
    found = []
    for restart in range(restarts):
        stretch = random.exponential(size=table.shape[1]) if restart % 2 else 1.0
        found.append(_nearest_centres(table * stretch, classes, random.randint(2**31 - 1)))
    return SHARPNESS * torch.stack(found) + (1 - SHARPNESS) / classes


def _nearest_centres(table: np.ndarray, classes: int, seed: int) -> Float[Tensor, "rows classes"]:
    """Each row given to the nearest of k-means++ centres."""
    centres, _ = kmeans_plusplus(table, classes, random_state=seed)
    distances = torch.cdist(torch.tensor(table), torch.tensor(centres))
    return one_hot(distances.argmin(-1), classes)
