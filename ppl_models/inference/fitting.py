"""``fit``: one call for every family, and what it returns."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyro
import torch
from tqdm import tqdm

from ppl_models.datasets import Dataset
from ppl_models.errors import InputError
from ppl_models.families import ClassProduct, Family
from ppl_models.inference.bounds import estimate_elbo, raw_units
from ppl_models.inference.gradient import Gradient, climb
from ppl_models.inference.natural import NaturalGradient, ascend

PROGRESS_AFTER = 2.0


class FitWarning(UserWarning):
    """A fit that ended before it was done."""


@dataclass(frozen=True)
class Fit:
    """A fitted family and how it came to be.

    Attributes:
        family: the fitted family, in its best state.
        elbo: the training ELBO, nats per row, raw units, higher is better.
        history: columns step, train_elbo, validation_elbo (NaN where not evaluated), nats per row, raw units.
        restarts: columns restart, elbo (nats per row, raw units), one row for each start.
        stop: why the fit ended, in words.
        converged: whether it ended by its rule and not by the limit on steps or a number that is none.
        seed: the seed it was given.
        seconds: wall time.
    """

    family: Family
    elbo: float
    history: pd.DataFrame
    restarts: pd.DataFrame
    stop: str
    converged: bool
    seed: int
    seconds: float


def fit(
    family: Family,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    seed: int,
    method: NaturalGradient | Gradient | None = None,
) -> Fit:
    """Fit a family, from scratch, to training rows.

    Conjugate families are fitted by natural gradients unless told otherwise: all restarts side by side, until no
    restart gains more than the tolerance in a pass. The others are fitted by gradients, until the validation ELBO has
    not risen for ``patience`` evaluations, and the best state is kept; without validation rows one cycle of the rate
    is run to its end. An ELBO that is not a number ends the fit at once with a FitWarning, in the last good state.

    Args:
        family: the family; its parameters are replaced.
        train: the training rows.
        validation: rows of the same preparation to stop by; conjugate families do not need them.
        seed: the seed of starts, batches and noise.
        method: settings; the family's own choice if None.

    Raises:
        InputError: rows that do not suit the family, or natural gradients for a family that is not conjugate.

    >>> from ppl_models import GaussianMixture, fit, load, prepare
    >>> table = load("fast_food_spending")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> round(fit(GaussianMixture(table.schema, components=2), rows, seed=0).elbo, 3)
    -3.683
    """
    started = time.perf_counter()
    if method is None:
        method = NaturalGradient() if isinstance(family, ClassProduct) else Gradient()
    _require_suited(family, train, validation, method)
    family.adopt(train)
    run = _natural if isinstance(method, NaturalGradient) else _gradient
    with tqdm(total=method.steps, desc=type(family).__name__, delay=PROGRESS_AFTER, leave=False, disable=None) as bar:
        outcome = run(family, train, validation, method=method, seed=seed, progress=bar.update)
    result = Fit(family, **outcome, seed=seed, seconds=time.perf_counter() - started)
    if not result.converged:
        warnings.warn(f"{type(family).__name__}: {result.stop}", FitWarning, stacklevel=2)
    return result


def _require_suited(
    family: Family, train: Dataset, validation: Dataset | None, method: NaturalGradient | Gradient
) -> None:
    """Refuse what cannot be fitted, before anything of the family is changed."""
    if isinstance(method, NaturalGradient) and not isinstance(family, ClassProduct):
        raise InputError(f"NaturalGradient: expected a conjugate family, got {type(family).__name__}; use Gradient")
    family.check(train)
    if validation is None:
        return
    family.check_schema(validation.schema)
    if not (torch.equal(validation.loc, train.loc) and torch.equal(validation.scale, train.scale)):
        raise InputError(
            f"{type(family).__name__}: expected validation rows prepared by the preparation of the training rows, "
            "got rows of another preparation"
        )


def _natural(
    family: Family,
    train: Dataset,
    validation: Dataset | None,
    *,
    method: NaturalGradient,
    seed: int,
    progress: Callable[[int], object],
) -> dict[str, object]:
    """A natural-gradient fit as the fields of a Fit; validation rows are not used."""
    with pyro.validation_enabled(False):
        ascent = ascend(family, train, method=method, seed=seed, progress=progress)
    family.guide.set_natural(ascent.natural)
    elbos = raw_units(ascent.elbo, train).cpu().numpy()
    reached = elbos[ascent.kept]
    history = {
        "step": np.arange(1, len(elbos) + 1),
        "train_elbo": elbos[:, reached.argmax()],
        "validation_elbo": math.nan,
    }
    stop = f"reached its limit of {method.steps} passes"
    if ascent.converged:
        stop = f"no restart gained {method.tolerance:g} nats per row in pass {len(elbos)}"
    elif ascent.fault is not None:
        stop = f"non-finite ELBO in pass {len(elbos)}, site {ascent.fault!r}"
    return {
        "elbo": float(reached.max()),
        "history": pd.DataFrame(history),
        "restarts": pd.DataFrame({"restart": np.arange(len(reached)), "elbo": reached}),
        "stop": stop,
        "converged": ascent.converged,
    }


def _gradient(
    family: Family,
    train: Dataset,
    validation: Dataset | None,
    *,
    method: Gradient,
    seed: int,
    progress: Callable[[int], object],
) -> dict[str, object]:
    """A gradient fit as the fields of a Fit."""
    family.initialise(train, seed=seed)
    descent = climb(family, train, validation, method=method, seed=seed, progress=progress)
    elbo = estimate_elbo(family, train, seed=seed).mean
    return {
        "elbo": elbo,
        "history": pd.DataFrame(descent.history, columns=["step", "train_elbo", "validation_elbo"]),
        "restarts": pd.DataFrame({"restart": [0], "elbo": [elbo]}),
        "stop": descent.stop,
        "converged": descent.converged,
    }
