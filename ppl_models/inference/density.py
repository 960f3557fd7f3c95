"""``log_density``: what a fitted family says of rows it has not seen, with the kind of number said beside it."""

from collections.abc import Callable, Sequence

import numpy as np
import pyro
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import Density, ImportanceSummary, pareto_k, summarise_weights
from ppl_models.families import Amortised, Exact, Family
from ppl_models.inference.annealing import anneal
from ppl_models.inference.proposals import base_noise, propose, rows_to_propose_for
from ppl_models.inference.weights import log_weights_of, noise_of, rows_at_once

CELLS_AT_ONCE = 2**19
METHODS = ("guide", "fitted", "ais")
DRAWS = {"guide": 500, "fitted": 500, "ais": 16}
Weigh = Callable[[Dataset], Tensor]


@torch.no_grad()
def log_density(
    family: Family, data: Dataset, *, seed: int = 0, draws: int | None = None, method: str = "guide"
) -> Density:
    """The log density of each row, in nats and raw units, higher is better.

    Exact families integrate every latent and parameter out in closed form under their guide. Amortised ones give a
    lower bound by K = ``draws`` importance draws, log mean_k p(x, z_k) / q(z_k | x), which rises with K on average; the
    same noise serves every row, so the order and company of rows change nothing. The draws are the guide's, or are
    fitted to each row first (``proposals.py``): where k-hat is high for many rows, the latter's bound is closer to the
    truth by far. The fit costs about as much as 70 draws for each dimension of z, and memory grows with the draws.
    Closest, and slowest, are chains of annealed importance sampling (``annealing.py``), of which few are enough.

    Args:
        family: a fitted family.
        data: rows of its preparation; labels and weights are not used.
        seed: the seed of the importance draws; exact families draw nothing.
        draws: importance draws a row, or chains; None for 500, or 16 chains.
        method: "guide" for the guide's own draws, "fitted" for draws fitted to each row, "ais" for annealed chains;
            exact families need none.

    Raises:
        InputError: a family that is no density, rows of another preparation, fewer than one draw, or another method.

    >>> from ppl_models import NaiveBayes, fit, load, prepare
    >>> table = load("wrodl")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> log_density(fit(NaiveBayes(table.schema), rows, seed=0).family, rows).kind
    'exact'
    """
    _require_method(method)
    family.require(data)
    if isinstance(family, Exact):
        batches = chunks_of(data, CELLS_AT_ONCE // family.cells)
        values = data.gathered(family.log_prob(batch) + batch.log_scale for batch in batches)
        return Density(values, "exact", **facts_of(family, data))
    if not isinstance(family, Amortised):
        raise InputError(
            f"{type(family).__name__}: is not a density, since a point mass has no log p(x); its "
            "reconstruction log-likelihood is family.reconstruction_log_likelihood(data)"
        )
    number = DRAWS[method] if draws is None else draws
    return bounds_by_draws(family, data, seed=seed, draws=(number,), method=method)[number]


@torch.no_grad()
def bounds_by_draws(
    family: Amortised, data: Dataset, *, seed: int = 0, draws: Sequence[int], method: str = "guide"
) -> dict[int, Density]:
    """The bounds of each row by several numbers of draws at the cost of the largest: each takes the first draws.

    Memory is bounded whatever the numbers of rows and, for the guide's draws, of draws. Fitted draws of different
    largest numbers are different ones.

    Args:
        family: a fitted amortised family.
        data: rows of its preparation.
        seed: the seed of the draws.
        draws: numbers of draws K.
        method: "guide" for the guide's own draws, "fitted" for draws fitted to each row, "ais" for annealed chains.

    Raises:
        InputError: rows of another preparation, no number, one below 1, or another method.
    """
    family.require(data)
    if not draws:
        raise InputError("draws: expected one or more numbers of draws, got none")
    at_least_one(draws=min(draws))
    _require_method(method)
    size, weigh = WEIGHERS[method](family, data, seed=seed, draws=max(draws))
    bounds = {number: RowBounds(number) for number in draws}
    with pyro.validation_enabled(False):
        for batch in chunks_of(data, size):
            weights = weigh(batch).cpu().numpy()
            for bound in bounds.values():
                bound.add(weights)
    return {number: bound.close(data, facts_of(family, data)) for number, bound in bounds.items()}


def _require_method(method: str) -> None:
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")


def _by_guide(family: Amortised, data: Dataset, *, seed: int, draws: int) -> tuple[int, Weigh]:
    """Rows at once, and what weighs the guide's own draws for them."""
    noise = noise_of(family, data, seed=seed, draws=draws)
    return rows_at_once(family, draws), lambda batch: log_weights_of(family, batch, noise)


def _by_row(family: Amortised, data: Dataset, *, seed: int, draws: int) -> tuple[int, Weigh]:
    """Rows at once, and what weighs draws fitted to them."""
    with seeded(seed):
        noise = base_noise(family, draws)
    return rows_to_propose_for(family, draws), lambda batch: propose(family, batch, noise).log_weights.logsumexp(1)


def _by_chains(family: Amortised, data: Dataset, *, seed: int, draws: int) -> tuple[int, Weigh]:
    """Rows at once, and what weighs annealed chains for them."""
    del data

    def weigh(batch: Dataset) -> Tensor:
        return anneal(family, batch, seed=seed).forwards(draws, seed=seed + 2)

    return rows_to_propose_for(family, draws), weigh


WEIGHERS = {"guide": _by_guide, "fitted": _by_row, "ais": _by_chains}


class RowBounds:
    """What the first draws of each row say of its log density, chunk by chunk of rows."""

    def __init__(self, draws: int) -> None:
        self.draws = draws
        self.summaries: list[ImportanceSummary] = []
        self.khat: list[np.ndarray] = []

    def add(self, weights: Float[np.ndarray, "draws rows"]) -> None:
        """Take some rows in."""
        weights = weights[: self.draws]
        self.summaries.append(summarise_weights(weights))
        self.khat.append(pareto_k(weights.T))

    def close(self, data: Dataset, facts: dict[str, object]) -> Density:
        """The density of all rows."""
        influence = sum(part.influence for part in self.summaries)
        spread = float(influence.std(ddof=1)) / self.draws**0.5 if self.draws > 1 else float("nan")
        return Density(
            np.concatenate([part.values for part in self.summaries]) + data.log_scale.cpu().numpy(),
            "lower bound",
            **facts,
            draws=self.draws,
            monte_carlo_se=np.concatenate([part.monte_carlo_se for part in self.summaries]),
            khat=np.concatenate(self.khat),
            effective=np.concatenate([part.effective for part in self.summaries]),
            rise=float(np.concatenate([part.rise for part in self.summaries]).mean()),
            mean_se=spread / len(data),
        )


def facts_of(family: Family, data: Dataset) -> dict[str, object]:
    """What makes a density comparable: the rows, the columns, and what it is conditional on."""
    return {
        "checksum": data.checksum,
        "columns": data.schema.names,
        "discrete": data.schema.discrete,
        "given": family.given,
    }
