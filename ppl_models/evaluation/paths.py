"""Paths through a latent space: between two codes, and how even the data are along them.

Codes of a normal prior in many dimensions lie near a sphere, and the straight line between two of them leaves it:
halfway it is shorter by a factor of about the square root of two. The spherical path keeps to it.

References:
    Shoemake (1985), https://doi.org/10.1145/325165.325242 (spherical interpolation)
    White (2016), https://arxiv.org/abs/1609.04468 (in latent spaces)
    Kahan (2006), https://people.eecs.berkeley.edu/~wkahan/Mindless.pdf (the angle of two vectors, without cancellation)
"""

from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from ppl_models.errors import InputError
from ppl_models.evaluation.rows import finite, same, standard_error

OPPOSITE = 1e-6  # radians from half a turn, where the great circle is no longer determined
ROUNDING = 10  # units in the last place of the largest coordinate, below which a distance is none


def interpolate(
    start: Float[np.ndarray, "*batch latent"],
    end: Float[np.ndarray, "*batch latent"],
    *,
    steps: int,
    kind: Literal["linear", "spherical"],
) -> Float[np.ndarray, "*batch steps latent"]:
    """Walk from codes to codes in even steps, both ends included.

    A linear path is straight. A spherical one turns from the one direction to the other at an even rate, along the
    great circle, and its distance from the origin goes evenly from the one length to the other. Where both codes have
    the same direction, both paths are the same.

    Args:
        start: the codes at the first step.
        end: the codes at the last.
        steps: points on a path, two or more.
        kind: of the path.

    Raises:
        InputError: Shapes differ, a code is not finite, there are fewer than two steps, or a spherical path has an end
            at the origin, which has no direction, or two opposite ends, which no one great circle joins.

    >>> start, end = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    >>> interpolate(start, end, steps=3, kind="spherical").round(3).tolist()
    [[2.0, 0.0], [1.414, 1.414], [0.0, 2.0]]
    """
    first, last = (finite(part, name, axes=("...", "latent")) for part, name in ((start, "start"), (end, "end")))
    same("shape", start=first.shape, end=last.shape)
    if steps < 2:
        raise InputError(f"steps: expected two or more, got {steps}")
    at = np.linspace(0.0, 1.0, steps)[:, None]
    if kind == "linear":
        return (1 - at) * first[..., None, :] + at * last[..., None, :]
    if kind == "spherical":
        return _turned(first[..., None, :], last[..., None, :], at)
    raise InputError(f"kind: expected linear or spherical, got {kind!r}")


def smoothness(paths: Float[np.ndarray, "paths steps features"]) -> pd.DataFrame:
    """Say how straight and how even the data are along paths that were even in the latent space.

    "length over chord" is the length of the decoded path over the distance of its ends: 1 if it goes straight, more if
    it makes detours. "largest step over mean" is the largest of a path's steps over their mean: 1 if data change at an
    even rate, up to the number of steps if all the change is in one jump. A jump is straight and a detour may be even,
    so that it takes both. Distances are Euclidean in the features as given.

    Args:
        paths: decoded means along each path, in order; three points or more on each.

    Returns:
        A line per measure with the columns `mean` (over paths; 1 is ideal, lower is better), `se` (its standard error
        over paths) and `paths`. A path that ends where it began has no first measure, and one that never moves no
        second: they are left out, `paths` counts the others, and where there is none, `mean` is NaN. So is `se` for
        fewer than two.

    Raises:
        InputError: There is no path, fewer than three points on each, or a number that is not finite.

    >>> even, jump = np.array([[[0.0], [1.0], [2.0], [3.0]], [[0.0], [0.0], [3.0], [3.0]]])
    >>> smoothness(np.stack([even, jump]))["mean"].tolist()
    [1.0, 2.0]
    """
    points = finite(paths, "paths", axes=("paths", "steps", "features"))
    if len(points) == 0 or points.shape[1] < 3:
        raise InputError(f"paths: expected at least one, with three points or more, got shape {points.shape}")
    smallest = ROUNDING * np.finfo(np.result_type(paths, np.float16)).eps * np.abs(points).max(axis=(1, 2))
    steps = np.linalg.norm(np.diff(points, axis=1), axis=2)
    chord = np.linalg.norm(points[:, -1] - points[:, 0], axis=1)
    ratios = {
        "length over chord": _ratio(steps.sum(axis=1), chord, chord > smallest),
        "largest step over mean": _ratio(steps.max(axis=1), steps.mean(axis=1), steps.max(axis=1) > smallest),
    }
    return (
        pd.DataFrame({name: _mean(ratio) for name, ratio in ratios.items()})
        .T.rename_axis("measure")
        .astype({"paths": int})
    )


def _turned(
    first: Float[np.ndarray, "*batch 1 latent"],
    last: Float[np.ndarray, "*batch 1 latent"],
    at: Float[np.ndarray, "steps 1"],
) -> Float[np.ndarray, "*batch steps latent"]:
    """Points on the great circles, scaled to the lengths between those of the ends."""
    lengths = [_lengths(part, name) for part, name in ((first, "start"), (last, "end"))]
    units = first / lengths[0], last / lengths[1]
    apart, together = (
        np.linalg.norm(part, axis=-1, keepdims=True) for part in (units[0] - units[1], units[0] + units[1])
    )
    angle = 2 * np.arctan2(apart, together)
    _refuse_places(
        angle > np.pi - OPPOSITE, "start and end: expected directions that are not opposite, got opposite ones"
    )
    # sin(t a) / sin(a) as a ratio of sinc, which has its limit t at the angle 0
    shares = [share * np.sinc(share * angle / np.pi) / np.sinc(angle / np.pi) for share in (1 - at, at)]
    return ((1 - at) * lengths[0] + at * lengths[1]) * (shares[0] * units[0] + shares[1] * units[1])


def _lengths(codes: Float[np.ndarray, "*batch 1 latent"], name: str) -> Float[np.ndarray, "*batch 1 1"]:
    lengths = np.linalg.norm(codes, axis=-1, keepdims=True)
    _refuse_places(lengths == 0, f"{name}: expected codes with a direction, got the origin")
    return lengths


def _refuse_places(wrong: np.ndarray, message: str) -> None:
    places = np.argwhere(wrong[..., 0, 0])
    if len(places):
        at = f" at {tuple(places[0].tolist())}" if places.shape[1] else ""
        raise InputError(f"{message}{at}")


def _ratio(
    above: Float[np.ndarray, " paths"], below: Float[np.ndarray, " paths"], counted: np.ndarray
) -> Float[np.ndarray, " counted"]:
    return above[counted] / below[counted]


def _mean(values: Float[np.ndarray, " paths"]) -> dict[str, float | int]:
    mean = float(values.mean()) if len(values) else float("nan")
    return {"mean": mean, "se": standard_error(values), "paths": len(values)}
