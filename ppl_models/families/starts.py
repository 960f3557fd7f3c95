"""Where the class-given product starts from: known classes, or the nearest of k-means++ centres."""

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import kmeans_plusplus
from torch import Tensor, nn

from ppl_models.datasets import Dataset


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


def nearest_centres(table: np.ndarray, classes: int, seed: int) -> Float[Tensor, "rows classes"]:
    """Each row given to the nearest of k-means++ centres (Arthur and Vassilvitskii 2007)."""
    centres, _ = kmeans_plusplus(table, classes, random_state=seed)
    distances = torch.cdist(torch.tensor(table), torch.tensor(centres))
    return one_hot(distances.argmin(-1), classes)
