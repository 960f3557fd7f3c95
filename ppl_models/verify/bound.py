"""Laws of the bound: what the loss claims against exact log evidence."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ppl_models.distributions import seeded
from ppl_models.verify.bench import Bench
from ppl_models.verify.diagnosis import wrong_draws
from ppl_models.verify.draws import weigh_traces
from ppl_models.verify.findings import Comparison, Fact, Skip, beside, mean_of, rounding
from ppl_models.verify.joint import Joint
from ppl_models.verify.pairs import whole_plates

RELIABLE = 0.5  # nats, standard deviation of log weights up to which a t-test of their mean holds what it says
LADDER = (1, 5, 25)


def bound(bench: Bench) -> Iterator[Comparison]:
    """The ELBO, and the bound by any number of draws, is at or below the log evidence."""
    evidence = bench.evidence
    slack = rounding(evidence.value) + evidence.error
    causes = ("the guide's density is not that of its draws, or a term of the loss is missing",)
    yield Comparison("the loss's bound, nats", mean_of(bench.claimed), evidence.value, True, slack, causes)
    for draws in LADDER:
        if len(bench.terms) >= 4 * draws:
            found = mean_of(bench.bounds(draws))
            yield Comparison(f"the bound by {draws} draws, nats", found, evidence.value, True, slack, causes)


def weights(bench: Bench) -> Iterator[Comparison]:
    """Importance weights average to the evidence, which they do where the guide's density is that of its draws."""
    evidence = bench.evidence
    if evidence.rows is None:
        ratios = (bench.elbos - evidence.value)[:, None]
        if len(bench.row_weights.T) > 1:
            raise Skip("the evidence is known as one number, and the rows are many")
    elif evidence.rows.shape != bench.row_weights.shape[1:]:
        raise Skip("rows that are independent in the model share a latent of the guide")
    else:
        ratios = bench.row_weights - evidence.rows
    chosen, rest = ratios.chunk(2)  # rows by one half of the draws, their mean by the other
    spread = chosen.std(0)
    reliable = spread < RELIABLE
    if not bool(reliable.any()):
        raise Skip(
            f"the log weights vary by {float(spread.min()):.2g} nats at the least: their mean has too long a tail"
        )
    means = rest[:, reliable].exp().mean(-1)
    slack = rounding(1.0) + evidence.error
    causes = (
        "the guide's density is not that of its draws: a Jacobian is missing or has the wrong sign",
        "a constant is missing from a density",
        "the guide's support is truncated",
    )
    yield Comparison("the mean of weight over evidence", mean_of(means), 1.0, slack=slack, causes=causes)


def evidence(bench: Bench) -> Iterator[Fact]:
    """The log evidence that is given is what quadrature or sums find."""
    if bench.pair.log_evidence is None:
        raise Skip("no log evidence is given")
    found, given = bench.integrated, bench.pair.log_evidence
    yield Fact(
        abs(found.value - given) <= rounding(given) + found.error,
        f"log evidence {given:.6g} is given, {found.how} finds {found.value:.6g}",
        (
            "the model's prior is counted twice, or dropped",
            "the posterior has a mode that the guide never draws, which quadrature then misses",
            "a standard deviation stands for a variance",
            "another table",
        ),
    )


def exact(bench: Bench) -> Iterator[Fact | Comparison]:
    """A guide that is the exact posterior has the log evidence for every draw's weight, with no variance."""
    if not bench.pair.exact:
        raise Skip("the guide is not claimed to be the exact posterior")
    elbos = bench.elbos
    spread = float(elbos.std())
    same = spread <= rounding(float(elbos.mean()))
    what = f"the log weights vary between draws, by a standard deviation of {spread:.3g} nats"
    yield Fact(same, what, () if same else _width_causes(bench))
    try:
        value, slack = bench.evidence.value, bench.evidence.error
    except Skip:
        return
    yield Comparison(
        "the ELBO, nats",
        mean_of(elbos),
        value,
        slack=slack + rounding(value),
        causes=("the guide is not the exact posterior",),
    )


def draws(bench: Bench) -> Iterator[Comparison]:
    """The bound by K draws that is claimed is that of replayed traces, for each K."""
    pair = bench.pair
    if pair.bound is None:
        raise Skip("no bound by draws is claimed")
    more = Bench(pair, seed=bench.seed, draws=4 * bench.draws)
    for count in (1, 4, 16):
        with whole_plates():
            claimed = mean_of(bench.repeated(12, max(64, more.draws // count), lambda draw, k=count: pair.bound(k)))
        own = mean_of(more.bounds(count))
        both = beside(claimed, own)
        yield Comparison(
            f"the bound by {count} draws, nats",
            both,
            own.value,
            slack=rounding(own.value),
            causes=wrong_draws(more, both, count),
        )


def _width_causes(bench: Bench) -> tuple[str, ...]:
    """How the guide's draws lie to the posterior, as the weights tell it."""
    try:
        place, scale, target = posterior_against_guide(bench)
    except Skip:
        return ("the guide is not the exact posterior: its scale, its mean or a correlation",)
    found = []
    ratio = scale / target
    if abs(float(ratio.log().mean())) > 0.05:
        found.append(f"the guide's scale is {float(ratio.log().mean().exp()):.2g} times the posterior's")
        if bool(((scale / target.square()).log().abs() < 0.15).all()):
            found.insert(0, "a variance stands for a standard deviation in the guide: exp(log variance) for its half")
        if bool(((scale / target.sqrt()).log().abs() < 0.15).all()):
            found.insert(0, "a standard deviation stands for a variance in the guide")
    if float(place.abs().max()) > 0.2:
        found.append(f"the guide's mean is off by up to {float(place.abs().max()):.2g} posterior standard deviations")
    return tuple(found) or ("a correlation of the posterior is missing from the guide",)


def posterior_against_guide(bench: Bench) -> tuple[Tensor, Tensor, Tensor]:
    """How far the guide's mean is from the posterior's, in its deviations; the guide's deviations; the posterior's.

    Raises:
        Skip: a discrete latent has no finite support.
    """
    pair = bench.pair
    with torch.no_grad(), whole_plates(), seeded(bench.stream(13)):
        runs = [pair.trace() for _ in range(4 * bench.draws)]
        joint = Joint.of(pair, *runs[0])
        if not joint.sites:
            raise Skip("the latents are discrete")
        points = torch.stack([joint.pack(guide) for _, guide in runs])
        weights = torch.stack([weigh_traces(pair, *run).rows for run in runs])
    try:
        mean, deviation = bench.integrated.mean, bench.integrated.deviation
    except Skip:
        shares = weights.softmax(0)[..., None]
        mean = (shares * points).sum(0)
        deviation = (shares * (points - mean).square()).sum(0).sqrt()
    return (points.mean(0) - mean) / deviation, points.std(0), deviation
