"""The tables of ``faces.py``: the strength chosen, how many are moved, and how like originals they are then."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest

ENOUGH = 0.95  # of the training people: the least strength that moves so many is chosen


def chosen(moves: pd.DataFrame) -> pd.Series:
    """The least strength of each fold and move that is enough for the training people, else the largest."""
    share = moves[~moves["held_out"]].groupby(["move", "fold", "strength"])["moved"].mean().unstack()
    return share.ge(ENOUGH).assign(none=True).idxmax(axis=1).replace("none", moves["strength"].max()).rename("chosen")


def shares(moves: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """How many of those asked were moved, with the binomial standard error and Wilson's 95 % interval."""
    table = moves.groupby(by, sort=False)["moved"].agg(asked="size", moved="sum")
    table["share"] = table["moved"] / table["asked"]
    table["se"] = (table["share"] * (1 - table["share"]) / table["asked"]) ** 0.5
    ends = [binomtest(*each).proportion_ci(method="wilson") for each in table[["moved", "asked"]].values.tolist()]
    return table.join(pd.DataFrame(ends, index=table.index))


def likeness(shown: np.ndarray, originals: np.ndarray, strengths: Sequence[float]) -> pd.DataFrame:
    """How far pictures (strengths, people, height, width) are from originals with the concept, and whose is nearest."""
    apart = ((shown[:, :, None] - originals) ** 2).mean(axis=(-1, -2)) ** 0.5
    own = (apart.argmin(axis=2) == np.arange(len(originals))).mean(axis=1)
    mine = np.einsum("spp->s", apart) / len(originals)
    return pd.DataFrame({"strength": strengths, "rmse": mine, "nearer": mine[0] - mine, "own": own})
