"""Draws of a pair, weighed site by site from replayed traces: no estimator of Pyro's has a hand in it.

    L  log p(x | z)      of the observed sites, scaled as their plates scale them
    P  log p(z)          of the latent ones
    Q  log q(z)          of the guide's latent sites
    R  log q(x)          of sites that the guide observes, as an amortised guide may predict what is later missing

The ELBO is the mean of L + P − Q; a guide that observes is trained on R besides. Sites that the model alone draws and
that ask to be enumerated are summed out by running the model once for each of their joint values; what is left of them
belongs to L.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from ppl_models.verify.findings import Skip
from ppl_models.verify.pairs import Pair, drawn, is_enumerated, latent, vectorised

MOST_ASSIGNMENTS = 1024
Site = Mapping[str, object]
Plates = frozenset[tuple[str, int]]
NONE: Plates = frozenset()


@dataclass(frozen=True)
class Terms:
    """What one draw says of the rows, sums in nats.

    Attributes:
        likelihood: L.
        prior: P.
        guide: Q.
        told: R.
        shared: the part of L + P − Q that stands in no plate.
        best: L + P − Q by the likeliest values of the enumerated sites, in place of the sum over them.
        cells: observed numbers.
        rows: L + P − Q of each independent row, counted once; a single number where rows share a latent.
        scale: how often each of them counts.
    """

    likelihood: float
    prior: float
    guide: float
    told: float
    shared: float
    best: float
    cells: int
    rows: Float[Tensor, " rows"]
    scale: float | Tensor

    @property
    def elbo(self) -> float:
        """L + P − Q."""
        return self.likelihood + self.prior - self.guide


def log_prob(site: Site) -> Tensor:
    """The log probability of a node's value, masked and without its scale."""
    found = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    return scale_and_mask(found, 1.0, site["mask"]).double()


def total(sites: Iterable[Site]) -> float:
    """The sum of some nodes' log probabilities, scaled."""
    return float(sum((log_prob(site) * site["scale"]).sum() for site in sites))


def weigh_traces(pair: Pair, model: poutine.Trace, guide: poutine.Trace) -> Terms:
    """A run of the guide and of the model on it, weighed."""
    asked = [site for site in drawn_sites(guide) if latent(site)]
    told = {site["name"] for site in asked}
    observed = total(site for site in drawn_sites(guide) if not latent(site))
    summed = [site for site in drawn_sites(model) if is_enumerated(site) and site["name"] not in told]
    if not summed:
        frames = common_plates([*drawn_sites(model), *asked])
        return replace(_terms([model], asked, told, frames=frames), told=observed)
    runs = [run_told(pair, guide, values) for values in assignments(summed)]
    return replace(_terms(runs, asked, told, frames=keys(summed[0])), told=observed)


def _terms(runs: list[poutine.Trace], asked: list[Site], told: set[str], *, frames: Plates) -> Terms:
    """The terms of runs of the model over all values of what is summed out within each element of some plates."""
    model = drawn_sites(runs[0])
    mine, others = split_by(asked, frames)
    each, beyond = summed_within(runs, frames)
    scale = scale_of([*split_by(model, frames)[0], *mine])
    outside = total(beyond) - total(others)
    known = sum_by(mine, frames)
    elbo, best = (float(((summed - known) * scale).sum()) + outside for summed in (each.logsumexp(0), each.amax(0)))
    prior = total(site for site in model if latent(site) and site["name"] in told)
    guide = total(asked)
    shared = total(site for site in model if not site["cond_indep_stack"])
    shared -= total(site for site in asked if not site["cond_indep_stack"])
    alone = bool(frames) and not beyond and not others and common_plates([*model, *asked]) == frames
    rows = (each.logsumexp(0) - known).flatten() if alone else torch.tensor([elbo], dtype=torch.float64)
    cells = sum(site["value"].numel() for site in model if site["is_observed"])
    return Terms(elbo - prior + guide, prior, guide, 0.0, shared, best, cells, rows, scale if alone else 1.0)


def summed_within(runs: list[poutine.Trace], frames: Plates, extra: Plates = NONE) -> tuple[Tensor, list[Site]]:
    """The log densities of runs over all values of what stands in some plates, and the sites outside of these.

    Args:
        runs: of the model, each on its own values.
        frames: plates.
        extra: plates that everything stands in, which are kept apart too.

    Returns:
        (runs, ...) sums over the sites within, by element of the plates, and the sites beyond, of the first run.

    Raises:
        Skip: a site beyond depends on the values.
    """
    parts = [split_by(drawn_sites(run), frames | extra) for run in runs]
    beyond = [sum_by(others, extra) for _, others in parts]
    if any(not torch.allclose(other, beyond[0], rtol=1e-6, atol=1e-6) for other in beyond):
        raise Skip("a site outside the plates of the enumerated ones depends on them")
    within = torch.broadcast_tensors(*(sum_by(inside, frames | extra) for inside, _ in parts))
    return torch.stack(within), parts[0][1]


def split_by(sites: list[Site], frames: Plates) -> tuple[list[Site], list[Site]]:
    """The sites that stand in all of some plates, and the others."""
    return [site for site in sites if frames <= keys(site)], [site for site in sites if not frames <= keys(site)]


def assignments(summed: list[Site]) -> Iterator[dict[str, Tensor]]:
    """Every joint value of sites that stand in the same plates."""
    if len({keys(site) for site in summed}) > 1:
        raise Skip("enumerated sites stand in different plates, and are not summed over here")
    supports = [site["fn"].enumerate_support(expand=False) for site in summed]
    count = math.prod(len(support) for support in supports)
    if count > MOST_ASSIGNMENTS:
        raise Skip(f"the enumerated sites have {count} joint values, more than {MOST_ASSIGNMENTS}")
    for choice in itertools.product(*supports):
        yield {site["name"]: value.expand(site["fn"].shape()) for site, value in zip(summed, choice, strict=True)}


def run_told(pair: Pair, guide: poutine.Trace, values: Mapping[str, Tensor]) -> poutine.Trace:
    """The model on what the guide drew, and on these values of what it did not."""
    both = guide.copy()
    for name, value in values.items():
        if name in both.nodes:
            both.remove_node(name)
        both.add_node(name, name=name, type="sample", value=value, is_observed=False, infer={})
    return poutine.trace(poutine.replay(pair.model, trace=both)).get_trace(*pair.args, **pair.kwargs)


def drawn_sites(trace: poutine.Trace) -> list[Site]:
    """A trace's random variables, observed or not."""
    return [site for site in trace.nodes.values() if drawn(site)]


def keys(site: Site) -> Plates:
    """A site's plates by name and dimension."""
    return frozenset((frame.name, frame.dim) for frame in vectorised(site))


def common_plates(sites: list[Site]) -> Plates:
    """The plates in which all sites stand."""
    return frozenset.intersection(*map(keys, sites))


def sum_by(sites: list[Site], frames: Plates) -> Tensor:
    """The sum of sites' log probabilities for each element of some plates, unscaled."""
    result = torch.zeros((), dtype=torch.float64)
    for site in sites:
        result = result + sum_beyond(log_prob(site), frames)
    return result


def sum_beyond(values: Tensor, frames: Plates) -> Tensor:
    """Values of all plates summed over those that are not among some."""
    kept = {dim for _, dim in frames}
    gone = [dim for dim in range(-values.dim(), 0) if dim not in kept]
    return values.sum(gone, keepdim=True) if gone else values


def scale_of(sites: list[Site]) -> float | Tensor:
    """How often the elements of a plate count, which must be the same for all of their sites."""
    first = torch.as_tensor(sites[0]["scale"], dtype=torch.float64)
    if any(not torch.equal(torch.as_tensor(site["scale"], dtype=torch.float64), first) for site in sites):
        raise Skip("sites of the same plate are scaled differently")
    return first if first.dim() else float(first)
