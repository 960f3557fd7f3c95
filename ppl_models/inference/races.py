"""Which starts are worth passes over all rows: short runs of all of them, then races of the best on samples.

A few passes tell starts apart well enough to choose some (Biernacki, Celeux and Govaert 2003,
https://doi.org/10.1016/S0167-9473(02)00163-9). Of those, a large table's are run on a sample until they hardly gain any
more; one that has come to the same optimum as a better one, or is behind the best by more than the sample leaves in
doubt, is left behind there, and the others race on in a sample four times as large. Samples are passed over in single
precision, since nothing but the choice, and where the passes over all rows begin, hangs on them.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ppl_models.datasets import Dataset, some_of
from ppl_models.families import ClassProduct
from ppl_models.inference.convergence import Ascent, Left, Way, converge
from ppl_models.inference.passes import divergence
from ppl_models.inference.sweeps import HELD, Rows

SHORT_PASSES, SHORT_ROWS = 20, 2000
RACE_ROWS, GROWTH, LAST_ROWS = 4000, 4, 64_000  # rows of the first race, growth of the next, and rows of the last
WORTH = 4  # samples that all rows must be for a race to pay
PASSES, QUIET = 100, 1e-6  # a race's passes at most; gain in a cycle of two that ends it, nats a row
DOUBT = 3.0  # standard errors of a paired difference
SAME_ELBO, SAME_PARTITION = 1e-3, 0.99  # nats a row, and share of rows, between runs in one optimum


def ranked_starts(
    rows: Rows, train: Dataset, *, restarts: int, starts: int, seed: int
) -> Sequence[Float[Tensor, "restarts classes natural"]]:
    """Where the starts are after a few passes, over some of the rows if there are many: the best restarts first.

    Those after them are for a likelihood without bound, of which the best starts may all be victims.

    Args:
        rows: the training rows.
        train: the same.
        restarts: how many go on together.
        starts: how many there are at least.
        seed: the seed of the starts and of the sample.
    """
    family = rows.family
    if not family.exchangeable(train):
        return [family.settle(rows.told()[None], None)]
    few = some_of(train, max(SHORT_ROWS, 10 * family.classes), seed=seed)
    features = family.features(few)
    subset = Rows.of(family, few).single() if len(few) < train.all_rows else rows
    groups = family.start(few, restarts=max(starts, restarts), seed=seed).split(restarts)
    runs = [_short(subset, family.posterior(features, part)) for part in groups]
    naturals, elbos = torch.cat([run[0] for run in runs]), torch.cat([run[1] for run in runs])
    ranked = naturals[elbos.nan_to_num(-torch.inf).argsort(descending=True, stable=True)]
    return ranked.split(restarts)


def _short(rows: Rows, natural: Tensor) -> tuple[Tensor, Tensor]:
    """A few passes."""
    for _ in range(SHORT_PASSES):
        natural = rows.family.settle(rows.sweep(natural)[1], natural)
    return natural, rows.sweep(natural)[0] - divergence(rows.family, natural)


def race(
    family: ClassProduct, train: Dataset, natural: Float[Tensor, "restarts classes natural"], *, seed: int
) -> tuple[Float[Tensor, "restarts classes natural"], dict[int, Left]]:
    """Let runs race on samples, as long as there is more than one of them and all rows are many more than the sample.

    Args:
        family: a conjugate family that has adopted the training rows.
        train: the training rows.
        natural: where the runs are.
        seed: the seed of the samples.

    Returns:
        Where each run ends, as if the sample were all rows; and by run why it was left behind, if it was.
    """
    left: dict[int, Left] = {}
    size, last = min(max(RACE_ROWS, 100 * family.classes), LAST_ROWS), min(LAST_ROWS, HELD // family.width)
    while len(left) + 1 < len(natural) and WORTH * size <= train.all_rows and size <= last:
        going = torch.tensor([run for run in range(len(natural)) if run not in left], device=natural.device)
        sample = Rows.of(family, some_of(train, size, seed=seed)).single()
        if float(sample.weight) < SHORT_ROWS:
            break  # since rows of no weight tell nothing
        ascent = converge(sample, Way.begin(sample, natural[going]), steps=PASSES, tolerance=QUIET)
        if len(ascent.faults) == len(going):
            break  # which is for all rows to tell
        share, prior = train.total_weight / float(sample.weight), family.model.prior()
        total = prior + share * (sample.sweep(ascent.natural)[1] - prior)
        natural = natural.index_copy(0, going, family.settle(total, ascent.natural))
        left |= _behind(sample, ascent, going.tolist())
        size *= GROWTH
    return natural, left


def _behind(rows: Rows, ascent: Ascent, going: Sequence[int]) -> dict[int, Left]:
    """The runs that need not go on, and why."""
    local, partition = _by_row(rows, ascent.natural)
    elbo, share, size = ascent.elbo / rows.weight, rows.open.weights / rows.weight, len(rows.open)
    elbo[list(ascent.faults)] = -torch.inf
    best, *others = elbo.argsort(descending=True, stable=True).tolist()
    kept, found = [best], {}
    for run in others:
        near = (other for other in kept if elbo[other] - elbo[run] < SAME_ELBO)
        same = next((other for other in near if _agreement(partition[other], partition[run]) >= SAME_PARTITION), None)
        difference = local[best] - local[run]
        behind = float(share @ difference)
        error = float((share.square() @ (difference - behind).square()).sqrt())
        if run in ascent.faults:
            found[going[run]] = Left(f"not a number on a sample of {size} rows")
        elif same is not None:
            why = f"in the optimum of restart {going[same]}"
            found[going[run]] = Left(f"left behind on a sample of {size} rows: {why}", going[same])
        elif behind > DOUBT * error:
            why = f"{behind:.2g} nats per row behind the best (standard error {error:.1g})"
            found[going[run]] = Left(f"left behind on a sample of {size} rows: {why}")
        else:
            kept.append(run)
    return found


def _by_row(
    rows: Rows, natural: Float[Tensor, "runs classes natural"]
) -> tuple[Float[Tensor, "runs rows"], Int[Tensor, "runs rows"]]:
    """log Σ_k exp E_q[log p(x, z = k)] of each row, nats, and its most probable class."""
    found = [rows.family.expected_log_joint(block, natural) for block in rows.blocks(natural[..., 0].numel())]
    local, partition = zip(*((joint.logsumexp(-1), joint.argmax(-1)) for joint in found), strict=True)
    return torch.cat(local, -1), torch.cat(partition, -1)


def _agreement(first: Int[Tensor, " rows"], second: Int[Tensor, " rows"]) -> float:
    """The share of rows that two partitions have in common, each class with its closest."""
    classes = int(torch.maximum(first.max(), second.max())) + 1
    table = (first * classes + second).bincount(minlength=classes**2).view(classes, classes)
    return float(torch.minimum(table.amax(0).sum(), table.amax(1).sum())) / len(first)
