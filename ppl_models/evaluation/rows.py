"""Rows of numbers at the door: finite, of the shape asked for, and averaged with a standard error."""

from collections.abc import Hashable

import numpy as np
from jaxtyping import Float

from ppl_models.errors import InputError


def finite(values: Float[np.ndarray, "..."], name: str, *, axes: tuple[str, ...]) -> Float[np.ndarray, "..."]:
    """Take an array in double precision, if it is one of finite numbers with the axes that are named.

    Args:
        values: the array.
        name: what the message begins with.
        axes: the names of its axes, from the first; `"..."` in front stands for any others.

    Raises:
        InputError: it has other axes, or an entry is not finite.

    >>> finite(np.ones((2, 3)), "codes", axes=("rows", "latent")).shape
    (2, 3)
    """
    array = np.asarray(values, dtype=np.float64)
    named = len(axes) - (axes[0] == "...")
    if array.ndim != named and (axes[0] != "..." or array.ndim < named):
        raise InputError(f"{name}: expected the axes ({', '.join(axes)}), got shape {array.shape}")
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise InputError(f"{name}: expected finite numbers, got {array[place]} at {place}")
    return array


def same(what: str, **answers: Hashable) -> None:
    """Refuse inputs that differ in what they have to share.

    Args:
        what: the thing shared, such as "number of columns".
        answers: what each of the inputs has, by the inputs' names.

    Raises:
        InputError: two of them differ.
    """
    if len(set(answers.values())) > 1:
        listed = ", ".join(f"{value} for {name}" for name, value in answers.items())
        raise InputError(f"expected the same {what}, got {listed}")


def standard_error(values: Float[np.ndarray, " rows"]) -> float:
    """Give the standard error of a mean over independent rows; NaN for fewer than two.

    >>> standard_error(np.array([1.0, 3.0]))
    1.0
    """
    rows = len(values)
    return float(np.std(values, ddof=1) / np.sqrt(rows)) if rows > 1 else float("nan")


def share_error(share: float, rows: int) -> float:
    """Give the binomial standard error of a share of independent rows; 0 where all or none count.

    >>> share_error(0.5, 100)
    0.05
    """
    return float(np.sqrt(share * (1 - share) / rows))
