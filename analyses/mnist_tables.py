"""What the models of ``mnist.py`` are worth, in tables: each ingredient by what the plain VAE gains from it."""

from collections.abc import Mapping

import pandas as pd
from mnist_recipes import MORE, PLAIN

from ppl_models import compare
from ppl_models.evaluation import Density


def gains(densities: Mapping[str, Density]) -> pd.DataFrame:
    """Each other VAE of the plain one's network less the plain one, nats per row, by the same kind of draws.

    Returns:
        Columns ingredient, draws, gain and its paired standard error over rows; no line without the plain VAE.
    """
    found = [pd.DataFrame(columns=["ingredient", "draws", "gain", "dse"])]
    for score in MORE:
        same = {
            name.removesuffix(score.suffix).removeprefix(f"{PLAIN}, "): density
            for name, density in densities.items()
            if name.startswith(PLAIN) and name.endswith(score.suffix)
        }
        if PLAIN in same and len(same) > 1:
            table = compare(same, reference=PLAIN).drop(PLAIN).rename_axis("ingredient").reset_index()
            found.append(table.assign(draws=score.suffix.removeprefix(" | "), gain=table["diff"])[[*found[0]]])
    return pd.concat([each for each in found if len(each)] or found, ignore_index=True)
