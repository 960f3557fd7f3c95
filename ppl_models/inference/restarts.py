"""Which optima the restarts of a fit found."""

import pandas as pd
import torch

from ppl_models.datasets import Dataset
from ppl_models.errors import InputError
from ppl_models.evaluation import alignment
from ppl_models.inference.fitting import Fit
from ppl_models.inference.passes import bound

SOUND = ("converged", "limit")


@torch.no_grad()
def restart_report(found: Fit, train: Dataset) -> pd.DataFrame:
    """Sort the restarts of a fit by natural gradients into the distinct optima that they ended in, best first.

    Args:
        found: the fit.
        train: the rows that it was fitted to.

    Returns:
        A line per optimum with the columns optimum, restarts (how many ended there), elbo (nats per row, raw units,
        higher is better), nats_below (the best optimum, in total), adjusted_rand (of its partition of the rows with
        the best optimum's) and components_used. ``attrs["failed"]`` counts the restarts that came to no number, and
        ``attrs["left_behind"]`` those that a large table's fit left behind on a sample.

    Raises:
        InputError: a fit by gradients, which has no restarts; rows of another preparation; or no restart came to an
            end.

    >>> from ppl_models import GaussianMixture, fit, load, prepare
    >>> table = load("iris")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> found = fit(GaussianMixture(table.schema, components=2, covariance="full"), rows, seed=0)
    >>> restart_report(found, rows)[["optimum", "restarts", "components_used"]].values.tolist()
    [[1, 8, 2]]
    """
    family = found.family
    if found.states is None:
        raise InputError(f"restart report: expected a fit by natural gradients, got one of {type(family).__name__}")
    family.require(train)
    train.require_whole("restart report")
    _, responsibilities = bound(family, family.features(train), found.states)
    elbos = found.restarts["elbo"].where(found.restarts["end"].isin(SOUND))
    told = alignment.restart_report(elbos.to_numpy(), responsibilities.cpu().numpy(), rows_weight=train.total_weight)
    left = int(found.restarts["end"].str.startswith("left behind").sum())
    told.attrs |= {"failed": told.attrs["failed"] - left, "left_behind": left}
    return told
