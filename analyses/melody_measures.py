"""How probable and how even paths between phrases are, and means over pairs of phrases with honest errors."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Shaped
from melody_paths import notes_begun

from ppl_models import log_density
from ppl_models.datasets.melodies import STEPS
from ppl_models.families import Family

ERRORS = "Standard errors (se) leave out a melody at a time."
CHANGED, DETOUR, JUMP = "changed tokens", "length over chord", "largest step over mean"
Paths = Int[np.ndarray, "paths points steps"]
Melodies = Shaped[np.ndarray, "rows of"]


def step_density(
    family: Family, tokens: Int[np.ndarray, "*batch steps"], *, draws: int, seed: int
) -> Float[np.ndarray, "*batch"]:
    """Log density of phrases, or its bound by some draws, nats a step."""
    preparation = family.preparation
    rows = preparation(preparation.invert(torch.tensor(tokens.reshape(-1, STEPS)).double()))
    return log_density(family, rows, seed=seed, draws=draws).values.reshape(tokens.shape[:-1]) / STEPS


def changes(paths: Paths) -> pd.DataFrame:
    """How many tokens change from point to point, and how evenly, as ``evaluation.smoothness`` has it.

    A distance is the number of tokens that differ. NaN where a path ends as it began, or never moves.
    """
    steps, chord = (paths[:, 1:] != paths[:, :-1]).sum(-1), (paths[:, -1] != paths[:, 0]).sum(-1)
    table = pd.DataFrame({CHANGED: steps.mean(1), DETOUR: steps.sum(1), JUMP: steps.max(1)}).astype(float)
    return table.assign(**{DETOUR: table[DETOUR] / np.where(chord, chord, np.nan), JUMP: table[JUMP] / table[CHANGED]})


def measured(
    paths: Mapping[str, Paths], judges: Mapping[str, Family], *, draws: int, seed: int
) -> dict[str, pd.DataFrame]:
    """Every measure of every path: tokens that change, and between its ends notes begun and nats a step."""
    draw = {"draws": draws, "seed": seed}
    return {
        name: changes(path).assign(
            notes=notes_begun(path[:, 1:-1]).mean(1),
            **{judge: step_density(family, path[:, 1:-1], **draw).mean(1) for judge, family in judges.items()},
        )
        for name, path in paths.items()
    }


def means(values: Mapping[str, pd.DataFrame], melodies: Melodies) -> pd.DataFrame:
    """Means over paths of each column, its standard error over melodies beside it; NaN cells are left out."""

    def line(frame: pd.DataFrame) -> dict[str, float]:
        seen = {name: column.notna().to_numpy() for name, column in frame.items()}
        pairs = {name: jackknife(frame[name].to_numpy()[kept], melodies[kept]) for name, kept in seen.items()}
        return {f"{name}{end}": pair[bool(end)] for name, pair in pairs.items() for end in ("", " se")}

    return pd.DataFrame({name: line(frame) for name, frame in values.items()}).T


def jackknife(values: Float[np.ndarray, " rows"], melodies: Melodies) -> tuple[float, float]:
    """A mean over rows that are of some melodies each, and its standard error: each melody is left out in turn.

    Where each row is of one melody it is the usual one of a mean of clusters. Where each is of two melodies of its own
    it is √2 of that, since leaving out either says the same; where rows share melodies it is less too large. NaN where
    one melody is in every row.
    """
    names, codes = np.unique(melodies, return_inverse=True)
    kept = (codes.reshape(melodies.shape)[..., None] != np.arange(len(names))).all(1).astype(float)
    if len(names) < 2 or not kept.any(0).all():
        return float(values.mean()) if len(values) else float("nan"), float("nan")
    left = values @ kept / kept.sum(0)
    return float(values.mean()), float(((left - left.mean()) ** 2).sum() * (1 - 1 / len(names))) ** 0.5
