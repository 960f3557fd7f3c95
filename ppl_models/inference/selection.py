"""How many components, and of what covariance: one table of everything that is asked for an answer.

| column | what it is | unit |
|---|---|---|
| elbo | of the training rows, with the conjugate guide | nats per row |
| elpd_kfold | log density of rows that were held out | nats per row |
| elpd_loo | the same for one row at a time, from one fit (``evaluation/loo.py``) | nats per row |
| log_likelihood | at its maximum | nats in total |
| bic, icl, aic | the log-likelihood less what the parameters cost (``criteria.py``) | twice nats in total |

All are in raw units, and higher is better. A sparse prior of the weights answers otherwise: one fit with more
components than needed, of which the rows occupy some.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from joblib import Parallel, cpu_count, delayed

from ppl_models.datasets import Dataset, Schema, chunks_of, prepare
from ppl_models.datasets.table import conform
from ppl_models.distributions import seeded
from ppl_models.errors import FitWarning, InputError, at_least_one
from ppl_models.evaluation import psis_loo
from ppl_models.evaluation.diagnostics import FEWEST_DRAWS, UNRELIABLE_KHAT
from ppl_models.families import ClassProduct
from ppl_models.inference.density import log_density
from ppl_models.inference.fitting import CollapseError, Fit, fit
from ppl_models.inference.refined import Theta, guide_draws, log_joint_given, refined_draws

CELLS_AT_ONCE = 2**21
MOST_REFINED = 60
WORTH_PROCESSES = 8
COLUMNS = (
    "covariance", "components", "n_parameters", "elbo",
    "elpd_kfold", "elpd_kfold_se", "elpd_kfold_diff", "elpd_kfold_dse",
    "elpd_loo", "elpd_loo_se", "khat_high",
    "log_likelihood", "bic_higher_is_better", "icl_higher_is_better", "aic_higher_is_better", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """How models are held against one another.

    Attributes:
        folds: parts of the table, each held out once.
        draws: of the parameters, for leave-one-out.
        jobs: processes of one thread each; None for one, or for as many as there are cores once there are eight cells.
            The numbers do not depend on it.

    Raises:
        InputError: fewer than two folds, 25 draws or one job.
    """

    folds: int = 5
    draws: int = 400
    jobs: int | None = None

    def __post_init__(self) -> None:
        at_least_one("Selection: ", jobs=self.jobs)
        for name, value, least in (("folds", self.folds, 2), ("draws", self.draws, FEWEST_DRAWS)):
            if value < least:
                raise InputError(f"Selection: {name}: expected {least} or more, got {value}")


THOROUGH = Selection()


@dataclass(frozen=True)
class _Cell:
    """A line of the table, as how to build its family."""

    make: Callable[..., ClassProduct]
    schema: Schema
    covariance: str
    components: int

    def family(self, **options: str) -> ClassProduct:
        """A new family."""
        return self.make(self.schema, components=self.components, covariance=self.covariance, **options)


@dataclass(frozen=True)
class _Answer:
    """What a piece of work came to: numbers by column, the log density of each held-out row, what there is to say."""

    numbers: dict[str, float] = field(default_factory=dict)
    scores: Float[np.ndarray, " rows"] | None = None
    note: str = ""


def select_components(
    frame: pd.DataFrame,
    schema: Schema,
    *,
    make: Callable[..., ClassProduct],
    components: Sequence[int],
    covariances: Sequence[str] = ("diagonal",),
    seed: int,
    method: Selection = THOROUGH,
) -> pd.DataFrame:
    """Fit every number of components with every covariance, and say what speaks for each.

    Held-out and leave-one-out densities are of the family's default estimate, the criteria of the maximum of the
    likelihood. Every cell is scored on the same folds, and each fold's preparation is learned from its training rows.
    Rows without any observed cell say nothing and are left out.

    Args:
        frame: the table.
        schema: what its columns are; categories that a fold lacks are known from it.
        make: the family, called as ``make(schema, components=…, covariance=…)`` and with an ``estimate``: ``Mixture``,
            ``GaussianMixture``, or a ``functools.partial`` of one.
        components: the numbers of components.
        covariances: names of covariances.
        seed: the seed of the folds, the fits and the draws.
        method: folds, draws and processes.

    Returns:
        A line a cell, the best ``elpd_kfold`` first, with the columns covariance, components, n_parameters; elbo,
        elpd_kfold, elpd_loo and their standard errors ``_se``, nats per row; ``elpd_kfold_diff`` from the best with its
        paired error ``_dse``; khat_high, the share of rows whose leave-one-out is not to be trusted; log_likelihood,
        bic, icl and aic, in total; and note. elbo and elpd_loo are NaN where the covariance has no conjugate posterior,
        the criteria where every start was degenerate. ``attrs["rows"]`` counts the rows.

    Raises:
        InputError: nothing to choose from, more components or folds than rows, a covariance that does not exist, or
            what the family and the preparation refuse.

    >>> from ppl_models import Mixture, load
    >>> table, quick = load("iris"), Selection(folds=2, draws=100)
    >>> found = select_components(table.frame, table.schema, make=Mixture, components=[1, 2], seed=0, method=quick)
    >>> found["components"].tolist()
    [2, 1]
    """
    covariances = (covariances,) if isinstance(covariances, str) else covariances
    cells = [_Cell(make, schema, covariance, number) for covariance in covariances for number in components]
    if not cells:
        raise InputError("select_components: expected one or more components and covariances, got none")
    table = conform(frame, schema)
    table = table[table[list(schema.names)].notna().any(axis=1)]
    rows = prepare(table, schema)(table)
    parts = list(_parts(table, schema, method.folds, seed))
    sizes = [_size(cell, [train for train, _ in parts]) for cell in cells]
    work = [each for cell in cells for each in _work(cell, parts, rows, draws=method.draws, seed=seed)]
    workers = Parallel(n_jobs=_processes(method.jobs, len(cells)), backend="loky")
    answers = workers(delayed(_alone)(*each) for each in work)
    answers = [answers[start : start + len(parts) + 2] for start in range(0, len(answers), len(parts) + 2)]
    lines = [_line(*each) for each in zip(cells, sizes, answers, strict=True)]
    scores = np.array([np.concatenate([one.scores for one in each[: len(parts)]]) for each in answers])
    found = pd.concat([pd.DataFrame(lines), _compared(scores)], axis=1).reindex(columns=COLUMNS)
    found = found.sort_values("elpd_kfold", ascending=False, kind="stable", ignore_index=True)
    found.attrs["rows"] = len(table)
    return found


def _parts(table: pd.DataFrame, schema: Schema, folds: int, seed: int) -> Iterator[tuple[Dataset, Dataset]]:
    """Training and held-out rows of each fold, prepared by the former."""
    if folds > len(table):
        raise InputError(f"folds: expected at most as many as there are rows, got {folds} for {len(table)} rows")
    for fold in np.array_split(np.random.default_rng(seed).permutation(len(table)), folds):
        inside = np.zeros(len(table), dtype=bool)
        inside[fold] = True
        preparation = prepare(table[~inside], schema)
        yield preparation(table[~inside]), preparation(table[inside])


def _size(cell: _Cell, trains: Sequence[Dataset]) -> int:
    """The number of parameters, once all the rows to be fitted are known to suit the family."""
    family = cell.family()
    for train in trains:
        family.check(train)
    return family.n_parameters


def _processes(jobs: int | None, cells: int) -> int:
    """How many processes to use."""
    if jobs is not None:
        return jobs
    return min(cpu_count(), cells) if cells >= WORTH_PROCESSES else 1


def _work(
    cell: _Cell, parts: Sequence[tuple[Dataset, Dataset]], rows: Dataset, *, draws: int, seed: int
) -> Iterator[tuple]:
    """The pieces of work for a cell: functions and what to call them with."""
    for number, (train, test) in enumerate(parts, 1):
        yield _held_out, cell, train, test, seed, f"fold {number}: "
    yield _posterior, cell, rows, seed, draws
    yield _likelihood, cell, rows, seed


def _alone(work: Callable[..., _Answer], *arguments: object) -> _Answer:
    """A piece of work on one thread, so that its sums are the same bits wherever it is done."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return work(*arguments)
    finally:
        torch.set_num_threads(before)


def _held_out(cell: _Cell, train: Dataset, test: Dataset, seed: int, where: str) -> _Answer:
    """The log density of each held-out row, nats in raw units; NaN where there is no fit."""
    found, note = _fitted(cell.family(), train, seed, where)
    scores = np.full(len(test), math.nan) if found is None else log_density(found.family, test).values
    return _Answer(scores=scores, note=note)


def _posterior(cell: _Cell, rows: Dataset, seed: int, draws: int) -> _Answer:
    """ELBO and leave-one-out of all rows, nats per row; nothing where there is no posterior."""
    if not (family := cell.family()).bayesian:
        return _Answer()
    found, note = _fitted(family, rows, seed, "")
    theta, warning = _draws(family, rows, draws, seed)
    chunks = chunks_of(rows, CELLS_AT_ONCE // (draws * family.classes))
    values = [log_joint_given(family, batch, theta.sites).logsumexp(1) + batch.log_scale for batch in chunks]
    loo = psis_loo(torch.cat(values, 1).numpy())
    numbers = {"elbo": found.elbo, "elpd_loo": loo.elpd, "elpd_loo_se": loo.se, "khat_high": loo.khat_high}
    return _Answer(numbers, note=_joined(note, warning))


def _draws(family: ClassProduct, rows: Dataset, draws: int, seed: int) -> tuple[Theta, str]:
    """Draws of the posterior with the component summed out; where that cannot be, of the guide; and what is amiss."""
    if family.n_parameters <= MOST_REFINED and family.classes > 1:
        with suppress(InputError, torch.linalg.LinAlgError):
            theta = refined_draws(family, rows, draws, seed=seed)
            doubtful = theta.khat > UNRELIABLE_KHAT
            return theta, f"elpd_loo from draws of k-hat {theta.khat:.1f}" if doubtful else ""
    with seeded(seed), torch.no_grad():
        note = "elpd_loo from draws of the guide, which is too narrow" if family.classes > 1 else ""
        return guide_draws(family, draws), note


def _likelihood(cell: _Cell, rows: Dataset, seed: int) -> _Answer:
    """Log-likelihood and criteria at its maximum; a note in their place where there is none."""
    where = "maximum likelihood: "
    try:
        found, note = _fitted(cell.family(estimate="maximum-likelihood"), rows, seed, where)
    except InputError as error:
        return _Answer(note=f"{where}{error}")
    if found is None:
        return _Answer(note=note)
    criteria = {f"{name}_higher_is_better": getattr(found, name) for name in ("bic", "icl", "aic")}
    return _Answer({"log_likelihood": found.log_likelihood} | criteria, note=note)


def _fitted(family: ClassProduct, train: Dataset, seed: int, where: str) -> tuple[Fit | None, str]:
    """A fit, if any start came to one, and a note if it did not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        try:
            found = fit(family, train, seed=seed)
        except CollapseError:
            return None, f"{where}every start came to a degenerate component"
    return found, "" if found.converged else f"{where}{found.stop}"


def _line(cell: _Cell, n_parameters: int, answers: Sequence[_Answer]) -> dict[str, object]:
    """A line of the table."""
    line = {"covariance": cell.covariance, "components": cell.components, "n_parameters": n_parameters}
    for answer in answers:
        line |= answer.numbers
    return line | {"note": _joined(*(answer.note for answer in answers))}


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


@np.errstate(invalid="ignore")
def _compared(scores: Float[np.ndarray, "cells rows"]) -> pd.DataFrame:
    """Means over rows with their standard errors, and the paired difference from the best."""
    means = scores.mean(1)
    gaps = scores - scores[np.nan_to_num(means, nan=-math.inf).argmax()]
    root = scores.shape[1] ** 0.5
    return pd.DataFrame(
        {
            "elpd_kfold": means,
            "elpd_kfold_se": scores.std(1, ddof=1) / root,
            "elpd_kfold_diff": gaps.mean(1),
            "elpd_kfold_dse": gaps.std(1, ddof=1) / root,
        }
    )
