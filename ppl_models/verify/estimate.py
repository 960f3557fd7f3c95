"""Laws of the estimate: the loss against an evaluation that shares no code with Pyro's estimators."""

import math
from collections.abc import Iterator

import torch

from ppl_models.verify.bench import Bench
from ppl_models.verify.diagnosis import wrong_draws, wrong_parts
from ppl_models.verify.findings import Comparison, Mean, Skip, beside, mean_of, rounding
from ppl_models.verify.pairs import whole_plates


def loss(bench: Bench) -> Iterator[Comparison]:
    """The loss estimates the bound that it claims to: the ELBO of replayed traces, or their bound by K draws."""
    draws = bench.pair.draws_claimed
    claimed = bench.claimed
    if draws == 1:
        apart = mean_of(claimed - bench.elbos)
        known = Mean(float(claimed.mean()), apart.se, len(claimed))
        expected = float(bench.elbos.mean())
        slack = rounding(expected)
        causes = wrong_parts(bench) if abs(known.value - expected) > slack else ()
        yield Comparison("the ELBO by the loss, nats", known, expected, slack=slack, causes=causes)
        return
    own = bench.bounds(draws)
    known = Mean(float(claimed.mean()), math.hypot(mean_of(claimed).se, mean_of(own).se), min(len(own), len(claimed)))
    expected = float(own.mean())
    yield Comparison(
        f"the bound by {draws} draws by the loss, nats",
        known,
        expected,
        slack=rounding(expected),
        causes=wrong_draws(bench, known, draws),
    )


def minibatches(bench: Bench) -> Iterator[Comparison]:
    """The mean over parts of the rows is what all rows give."""
    pair = bench.pair
    if pair.batch is None and not bench.subsampled:
        raise Skip("the pair takes all rows at once")

    def over_parts(draw: int) -> float:
        """The mean over the parts of one division of the rows; over three choices of plates that subsample."""
        parts = [pair.args] * 3 if pair.batch is None else [pair.batch(rows) for rows in bench.batches(draw)]
        return sum(pair.elbo(part) for part in parts) / len(parts)

    known, whole = mean_of(bench.repeated(7, bench.draws // 4, over_parts)), mean_of(bench.objective)
    both = beside(known, whole)
    yield Comparison(
        "the mean over parts of the rows, nats",
        both,
        whole.value,
        slack=rounding(whole.value),
        causes=_scale_causes(bench, both),
    )


def _scale_causes(bench: Bench, found: Mean) -> tuple[str, ...]:
    """Which scale of the plate of rows gives this mean."""
    pair = bench.pair
    shared = sum(terms.shared for terms in bench.terms) / len(bench.terms)
    local = float(bench.elbos.mean()) - shared
    share = len(bench.batches(0)[0]) / pair.rows if pair.rows else 0.0
    limit = rounding(found.value) + 4 * math.hypot(found.se, mean_of(bench.elbos).se)
    values = {
        "the plate's scale is missing: rows outside the batch are not counted for": shared + share * local,
        "the plate's scale is doubled": shared + local / max(share, 1e-9),
        "the batch's latents and rows are scaled together: the shared ones count too often": bench.elbos.mean()
        / max(share, 1e-9),
    }
    named = tuple(name for name, value in values.items() if share and abs(float(value) - found.value) < limit)
    if named or pair.draws_claimed == 1:
        return named
    return ("the plate's scale stands inside the logsumexp over draws: it is a power of each weight",)


def order(bench: Bench) -> Iterator[Comparison]:
    """The order of the rows changes no ELBO."""
    pair = bench.pair
    if pair.batch is None:
        raise Skip("the pair takes its rows as they are")

    def shuffled(draw: int) -> float:
        """The ELBO of all rows in a random order."""
        return pair.elbo(
            pair.batch(torch.randperm(pair.rows, generator=torch.Generator().manual_seed(bench.stream(15, draw))))
        )

    known, plain = mean_of(bench.repeated(15, bench.draws, shuffled)), mean_of(bench.objective)
    both = beside(known, plain)
    causes = ("parameters or noise are kept by place in the batch, and not by row",)
    yield Comparison(
        "the ELBO of the rows in another order", both, plain.value, slack=rounding(plain.value), causes=causes
    )


def particles(bench: Bench) -> Iterator[Comparison]:
    """With several particles, the ELBO's estimate has the same expectation as with one."""
    estimator = bench.pair.estimator
    if bench.pair.draws_claimed > 1 or not hasattr(estimator, "num_particles"):
        raise Skip("the loss has no particles to average over")
    before = estimator.num_particles
    try:
        estimator.num_particles = 4
        with whole_plates():
            known = mean_of(bench.repeated(8, bench.draws // 4, lambda draw: bench.pair.elbo()))
    finally:
        estimator.num_particles = before
    one = mean_of(bench.objective)
    both = beside(known, one)
    causes = ("particles are added up, or averaged in another scale than the logarithm's",)
    yield Comparison("the ELBO by 4 particles, nats", both, one.value, slack=rounding(one.value), causes=causes)
