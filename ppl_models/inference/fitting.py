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
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ppl_models.datasets import Dataset
from ppl_models.errors import FitWarning, InputError
from ppl_models.families import ClassProduct, Family
from ppl_models.inference.bounds import estimate_elbo, raw_units
from ppl_models.inference.checkpoints import Checkpoint, Keeper
from ppl_models.inference.convergence import Fault
from ppl_models.inference.criteria import Criteria, criteria
from ppl_models.inference.gradient import Gradient, climb, require_trainable
from ppl_models.inference.identity import identity_of
from ppl_models.inference.natural import NaturalGradient, ascend
from ppl_models.inference.remarks import remarks

PROGRESS_AFTER = 2.0


class CollapseError(InputError):
    """A likelihood that every start climbed without bound, into a component of no width or no rows."""


@dataclass(frozen=True)
class Fit:
    """A fitted family and how it came to be.

    Attributes:
        family: the fitted family, in its best state.
        elbo: the training ELBO, nats per row, raw units, higher is better.
        history: columns step, train_elbo, validation_elbo (NaN where not evaluated), nats per row, raw units; where
            another objective was climbed, train_objective and validation_objective beside them. Of more than 10,000
            training rows a fit by gradients evaluates as many on its way, chosen at random once.
        restarts: columns restart, elbo (nats per row, raw units; −∞ where it never was a number), end (how it ended)
            and same_as (the restart in whose optimum it was left behind on a sample, else itself), one row for each of
            the runs that were chosen to go on after the short ones.
        stop: why the fit ended, in words.
        converged: whether it ended by its rule and not by the limit on steps or a number that is none.
        seed: the seed it was given.
        seconds: wall time.
        criteria: log-likelihood and information criteria of a point estimate on the training rows; None for other fits.
        states: (restarts, classes, natural) where each run of natural gradients ended, the last sound state of a
            broken one, each with its components in its own order; None for gradient fits.
        remarks: what the end shows that its numbers do not say, such as posterior collapse, one sentence each.
    """

    family: Family
    elbo: float
    history: pd.DataFrame
    restarts: pd.DataFrame
    stop: str
    converged: bool
    seed: int
    seconds: float
    criteria: Criteria | None = None
    states: Float[Tensor, "restarts classes natural"] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def log_likelihood(self) -> float:
        """Σ weight · log p(x | θ̂) of the training rows, total nats in raw units, higher is better.

        Raises:
            InputError: the fit holds no point estimate; so for the four below.
        """
        return self._criteria.log_likelihood

    @property
    def n_parameters(self) -> int:
        """How many free parameters the point estimate has."""
        return self._criteria.n_parameters

    @property
    def bic(self) -> float:
        """2 log_likelihood − n_parameters · log rows, higher is better."""
        return self._criteria.bic

    @property
    def aic(self) -> float:
        """2 log_likelihood − 2 n_parameters, higher is better."""
        return self._criteria.aic

    @property
    def icl(self) -> float:
        """bic + 2 Σ weight · log of the largest responsibility, higher is better."""
        return self._criteria.icl

    @property
    def _criteria(self) -> Criteria:
        if self.criteria is None:
            raise InputError(
                f"{type(self.family).__name__}: has no log-likelihood, since it was not fitted by one value of each "
                "parameter; naive Bayes and mixtures with estimate='maximum-likelihood' are"
            )
        return self.criteria


def fit(
    family: Family,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    seed: int,
    method: NaturalGradient | Gradient | None = None,
    checkpoint: Checkpoint | None = None,
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
        checkpoint: where the state is kept, and gone on from if it was broken off; a fit that was ends bit for bit
            where it would have ended, on the same device.

    Raises:
        InputError: rows that do not suit the family, natural gradients for a family that is not conjugate, or the
            checkpoint of another fit.
        CollapseError: an InputError, where every start of a point estimate came to a degenerate component.

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
    keeper = None
    if checkpoint is not None:
        identity = identity_of(family, train, validation, method=method, seed=seed)
        keeper = Keeper(checkpoint, identity, together=train.share is not None)
    run = _natural if isinstance(method, NaturalGradient) else _gradient
    with tqdm(total=method.steps, desc=type(family).__name__, delay=PROGRESS_AFTER, leave=False, disable=None) as bar:
        outcome = run(family, train, validation, method=method, seed=seed, progress=bar.update, keeper=keeper)
    point = isinstance(family, ClassProduct) and not family.bayesian
    outcome |= {"criteria": criteria(family, train) if point else None, "remarks": remarks(family, train)}
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
    if isinstance(method, Gradient):
        require_trainable(family, train, method)
    if validation is None:
        return
    family.check_rows(validation)
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
    keeper: Keeper | None,
) -> dict[str, object]:
    """A natural-gradient fit as the fields of a Fit; validation rows are not used."""
    with pyro.validation_enabled(False):
        ascent = ascend(family, train, method=method, seed=seed, progress=progress, keeper=keeper)
    best = ascent.best
    if ascent.faults and not family.bayesian and best in ascent.faults:
        raise CollapseError(_collapse(family, ascent.faults[best]))
    natural = ascent.natural[best] if bool(torch.isfinite(ascent.elbo[best])) else family.guide.initial()
    family.guide.set_natural(natural[family.arrange(natural)])
    ends = ["converged" if done else "limit" for done in ascent.converged.tolist()]
    same = np.arange(len(ends))
    for restart, left in reversed(ascent.left.items()):  # those that the earlier ones came to may be left behind later
        ends[restart] = left.why
        same[restart] = restart if left.same is None else same[left.same]
    for restart, fault in ascent.faults.items():
        ends[restart] = f"not a number at {_named(family, fault)}"
    elbos = raw_units(ascent.elbo, train).cpu().numpy()
    history = raw_units(torch.stack([elbo[best] for elbo in ascent.history]), train).cpu().numpy()
    stop = f"no more than {method.tolerance:g} nats per row left to gain in pass {len(history)}"
    if not ascent.converged[best]:
        stop = f"reached its limit of {method.steps} passes" if ends[best] == "limit" else f"ELBO {ends[best]}"
    return {
        "elbo": float(elbos[best]),
        "history": pd.DataFrame(
            {"step": np.arange(1, len(history) + 1), "train_elbo": history, "validation_elbo": math.nan}
        ),
        "restarts": pd.DataFrame({"restart": np.arange(len(elbos)), "elbo": elbos, "end": ends, "same_as": same}),
        "stop": stop,
        "converged": bool(ascent.converged[best]),
        "states": ascent.natural,
    }


def _named(family: ClassProduct, fault: Fault) -> str:
    """A fault's site and component in words."""
    return f"site {fault.site!r}" + ("" if fault.component is None else f", component {fault.component + 1}")


def _collapse(family: ClassProduct, fault: Fault) -> str:
    """What to say where every run's likelihood grew without bound or lost a component."""
    return (
        f"{type(family).__name__}: every start came to a degenerate component, the best at {_named(family, fault)}: it "
        "has no rows left, or a standard deviation below 1e-4 of a column's; use estimate='map' or 'bayes', fewer "
        "components, or a covariance with fewer parameters"
    )


def _gradient(
    family: Family,
    train: Dataset,
    validation: Dataset | None,
    *,
    method: Gradient,
    seed: int,
    progress: Callable[[int], object],
    keeper: Keeper | None,
) -> dict[str, object]:
    """A gradient fit as the fields of a Fit."""
    family.initialise(train, seed=seed)
    descent = climb(family, train, validation, method=method, seed=seed, progress=progress, keeper=keeper)
    elbo = estimate_elbo(family, train, seed=seed).mean
    return {
        "elbo": elbo,
        "history": pd.DataFrame(descent.history),
        "restarts": pd.DataFrame({"restart": [0], "elbo": [elbo], "end": [descent.stop], "same_as": [0]}),
        "stop": descent.stop,
        "converged": descent.converged,
    }
