"""How fits ended: the evidence of the stop rule, the spread of restarts, and the guide's k-hat, one line a fit."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import pandas as pd

from ppl_models.datasets import Dataset
from ppl_models.errors import InputError
from ppl_models.evaluation.doubts import NOTABLE
from ppl_models.families import ClassProduct
from ppl_models.inference.fitting import Fit
from ppl_models.inference.gradient import COMPLETED
from ppl_models.inference.guide_weights import guide_khat

CLOSE = 0.01  # nats per row between restarts that found the same
SHARE = 10  # the last one in so many evaluations
DRAWS, MOST_CELLS = 1000, 10**10  # of θ, and of all their rows


def fit_table(fits: Mapping[str, Fit], train: Dataset | None = None) -> pd.DataFrame:
    """How each fit ended.

    Args:
        fits: by model.
        train: the rows that all were fitted to, by which a conjugate guide's k-hat is found.

    Returns:
        Indexed by model. ``elbo``: of training rows, nats per row, raw units. ``steps``. ``last_rise``: of the ELBO
        that is watched, over the last tenth of its evaluations up to the state that was kept, nats per row; NaN for
        fewer than 20. ``restarts``, ``best_found`` (in how many of them, to 0.01 nats per row) and ``ahead`` (of the
        best over the next, nats per row; NaN for one); restarts that broke do not count for the last two.
        ``guide_khat``: of q(θ) with classes summed out; NaN for families without one, where the rows are of another
        preparation, and for more than 10¹⁰ cells to weigh. ``seconds``. ``converged``, and ``stop`` in words.
    """
    lines = {name: _line(found, train) for name, found in fits.items()}
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("model")


def fit_doubts(found: Fit) -> tuple[str, ...]:
    """What speaks against a fit: that it ended before its rule did, was still rising, or that its best stands alone.

    A cycle of the learning rate that is run to its end, and not ended by patience, tells by its last rise alone; a rate
    too small to get anywhere is not seen by that.

    Args:
        found: a fit.
    """
    doubts, rise, elbos = [], _last_rise(found.history), _elbos(found)
    if not found.converged:
        risen = f"; the ELBO rose by {rise:.3f} nats a row in its last tenth" if np.isfinite(rise) else ""
        doubts.append(f"the fit ended before its rule did: {found.stop}{risen}")
    elif rise > NOTABLE and found.stop.startswith(COMPLETED):
        doubts.append(f"the ELBO still rose by {rise:.2f} nats a row in the last tenth of the fit, {found.stop}")
    if len(found.restarts) > 1 and len(elbos) <= len(found.restarts) / 2:
        doubts.append(f"{len(found.restarts) - len(elbos)} of {len(found.restarts)} restarts broke")
    if len(elbos) > 1 and elbos[0] - elbos[1] > NOTABLE:
        doubts.append(
            f"the best of {len(found.restarts)} restarts stands alone, {elbos[0] - elbos[1]:.2f} nats a row ahead of "
            "the next: more restarts may find a better one"
        )
    return tuple(doubts)


def _line(found: Fit, train: Dataset | None) -> dict[str, object]:
    elbos = _elbos(found)
    weighed = train is not None and isinstance(found.family, ClassProduct) and found.family.bayesian
    weighed = weighed and len(train) * found.family.cells * DRAWS <= MOST_CELLS
    khat = np.nan
    if weighed:
        with suppress(InputError):  # rows of another preparation
            khat = guide_khat(found.family, train, seed=found.seed, draws=DRAWS)
    return {
        "elbo": found.elbo,
        "steps": int(found.history["step"].max()) if len(found.history) else 0,
        "last_rise": _last_rise(found.history),
        "restarts": len(found.restarts),
        "best_found": int((elbos > elbos[0] - CLOSE).sum()) if len(elbos) else 0,
        "ahead": round(float(elbos[0] - elbos[1]), 9) if len(elbos) > 1 else np.nan,
        "guide_khat": khat,
        "seconds": found.seconds,
        "converged": found.converged,
        "stop": found.stop,
    }


def _elbos(found: Fit) -> np.ndarray:
    """The ELBOs of restarts that did not break, the best first; of one left behind, that of the optimum it was in."""
    restarts = found.restarts.set_index("restart")
    elbos = restarts["elbo"][restarts["same_as"]].to_numpy()[~restarts["end"].str.startswith("not a number")]
    return np.sort(elbos[np.isfinite(elbos)])[::-1]


def _last_rise(history: pd.DataFrame) -> float:
    """The median of the last tenth of evaluations less that of the tenth before.

    Of the validation rows up to their best, which is the state that is kept, or of the training rows where there are
    none; of the objective that was climbed, where that is another.
    """
    climbed = "objective" if "validation_objective" in history else "elbo"
    validated = history[f"validation_{climbed}"].dropna().to_numpy()
    values = validated[: validated.argmax() + 1] if len(validated) else history[f"train_{climbed}"].to_numpy()
    part = len(values) // SHARE
    return float(np.median(values[-part:]) - np.median(values[-2 * part : -part])) if part > 1 else np.nan
