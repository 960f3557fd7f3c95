"""Which fault makes a wrong number: each has a value of its own, and the one that fits is named.

The values are made of the same draws as the right one (``draws.py``): L, the log likelihood, P, the log prior, and Q,
the guide's log density, whose L + P − Q is the ELBO.
"""

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from pyro import poutine
from torch import Tensor

from ppl_models.distributions import seeded
from ppl_models.verify.bench import Bench
from ppl_models.verify.draws import Terms, drawn_sites, total
from ppl_models.verify.findings import Mean, mean_of, rounding
from ppl_models.verify.pairs import latent, whole_plates

ALIKE = 1e-3  # how often a fault that is there is not named

WRONG_PARTS: Mapping[str, Callable[[Terms], float]] = {
    "the KL has the wrong sign: it is added to the reconstruction": lambda t: t.likelihood - t.prior + t.guide,
    "the prior is dropped": lambda t: t.likelihood - t.guide,
    "the prior is counted twice": lambda t: t.likelihood + 2 * t.prior - t.guide,
    "the entropy is dropped: the guide's log density is missing": lambda t: t.likelihood + t.prior,
    "the guide's log density is counted twice": lambda t: t.likelihood + t.prior - 2 * t.guide,
    "the KL is dropped: this is the reconstruction alone": lambda t: t.likelihood,
    "the likelihood is dropped: this is the KL alone": lambda t: t.prior - t.guide,
    "the likelihood is counted twice": lambda t: 2 * t.likelihood + t.prior - t.guide,
    "the loss has the wrong sign: it is to be the negative ELBO": lambda t: -t.elbo,
    "the mean over cells stands in place of their sum": lambda t: (
        t.likelihood / max(t.cells / len(t.rows), 1) + t.prior - t.guide
    ),
    "the mean over all cells and rows stands in place of their sum": lambda t: (
        t.likelihood / max(t.cells, 1) + t.prior - t.guide
    ),
    "the mean over rows stands in place of their sum": lambda t: t.elbo / len(t.rows),
    "the guide's observed sites are taken for draws of it": lambda t: t.elbo - 2 * t.told,
    "the mode stands in place of the sum over the enumerated sites": lambda t: t.best,
}


def wrong_parts(bench: Bench) -> tuple[str, ...]:
    """Faults of the parts of an ELBO that give the value that the loss has."""
    return tuple(
        name
        for name, value in WRONG_PARTS.items()
        if _fits(bench, torch.tensor([value(terms) for terms in bench.terms], dtype=torch.float64))
    ) or (_swapped(bench) or _weighed(bench))


def wrong_draws(bench: Bench, claimed: Mean, draws: int) -> tuple[str, ...]:
    """Faults of a bound by several draws that give the value that is claimed."""
    rows = bench.row_weights[: len(bench.row_weights) // draws * draws].unflatten(0, (-1, draws))
    scale = torch.as_tensor(bench.terms[0].scale)
    values = {
        "the weights are averaged in log space: this is the ELBO": (rows.mean(1) * scale).sum(-1),
        "the mean over draws is a sum: log K is not taken away": (rows.logsumexp(1) * scale).sum(-1),
        "rows are multiplied before draws are averaged": (rows * scale).sum(-1).logsumexp(1) - math.log(draws),
        "the largest weight stands in place of the mean": (rows.amax(1) * scale).sum(-1),
    }
    right = float(bench.bounds(draws).mean())
    fitting = {name: mean_of(value) for name, value in values.items()}
    return tuple(name for name, value in fitting.items() if _alike(claimed, value) and not _alike(value, right))


def _alike(one: Mean, other: Mean | float) -> bool:
    """Whether two numbers are the same, as far as their errors tell."""
    value, se = (other.value, other.se) if isinstance(other, Mean) else (other, 0.0)
    return abs(one.value - value) <= rounding(value) + 4 * math.hypot(one.se, se)


def _fits(bench: Bench, value: Float[Tensor, " draws"]) -> bool:
    """Whether the loss has this value, and the right number does not."""
    slack = rounding(float(bench.claimed.mean()), float(value.mean()))
    if not bool(torch.isfinite(value).all()) or abs(float((value - bench.elbos).mean())) <= slack:
        return False
    return not mean_of(bench.claimed - value).apart(0.0, ALIKE, slack=slack)


def _swapped(bench: Bench) -> tuple[str, ...]:
    """Whether KL(p ‖ q) stands in place of KL(q ‖ p)."""
    pair, found = bench.pair, []
    with torch.no_grad(), whole_plates():
        for draw in range(bench.draws):
            with seeded(bench.stream(6, draw)):
                model = poutine.trace(pair.model).get_trace(*pair.args, **pair.kwargs)
                guide = poutine.trace(poutine.replay(pair.guide, trace=model)).get_trace(*pair.args, **pair.kwargs)
            prior = total(site for site in drawn_sites(model) if latent(site) and site["name"] in guide.nodes)
            found.append(prior - total(drawn_sites(guide)))
    other = torch.tensor(found, dtype=torch.float64)
    reconstruction = torch.tensor([terms.likelihood for terms in bench.terms], dtype=torch.float64)
    if not bool(torch.isfinite(other).all()):
        return ()
    one = mean_of(bench.claimed - reconstruction)
    apart = one.value + float(other.mean())
    error = math.hypot(one.se, mean_of(other).se)
    right = mean_of(bench.elbos - reconstruction)
    if abs(apart) <= rounding(one.value) + 4 * error and abs(one.value - right.value) > 6 * error:
        return ("the KL's arguments are swapped: KL(p ‖ q) in place of KL(q ‖ p)",)
    return ()


def _weighed(bench: Bench) -> tuple[str, ...]:
    """The weight of the KL that would give the value that the loss has."""
    likelihood = torch.tensor([terms.likelihood for terms in bench.terms], dtype=torch.float64)
    kl = float((likelihood - bench.elbos).mean())
    weight = float((likelihood - bench.claimed).mean()) / kl if abs(kl) > 1e-9 else math.nan
    left = bench.claimed - likelihood + weight * (likelihood - bench.elbos)
    if not 0 < weight < 100 or mean_of(left).se > 0.2 * mean_of(bench.claimed - bench.elbos).se:
        return ()
    return (f"the KL is weighed by about {weight:.3g}, as in a β-VAE or its warm-up; that is no ELBO",)
