"""Laws of the parts: reconstruction and KL, apart and together."""

from collections.abc import Iterator

import torch
from pyro.distributions import Normal
from torch import Tensor
from torch.distributions.kl import kl_divergence

from ppl_models.distributions import seeded
from ppl_models.verify.bench import Bench
from ppl_models.verify.draws import Site
from ppl_models.verify.findings import Comparison, Skip, beside, mean_of, rounding
from ppl_models.verify.pairs import base_of, latent, whole_plates


def parts(bench: Bench) -> Iterator[Comparison]:
    """Reconstruction less KL is the ELBO, and each part is what the draws say it is."""
    if bench.pair.parts is None:
        raise Skip("no parts are claimed")
    found = []
    for draw in range(bench.draws):
        with seeded(bench.stream(14, draw)), torch.no_grad(), whole_plates():
            found.append([float(part) for part in bench.pair.parts()])
    reconstruction, kl = torch.tensor(found, dtype=torch.float64).T
    likelihood = torch.tensor([terms.likelihood for terms in bench.terms], dtype=torch.float64)
    own = likelihood - bench.elbos
    yield _compared("the reconstruction, nats", reconstruction, likelihood, ("a term of the likelihood is missing",))
    yield _compared("the KL, nats", kl, own, _kl_causes(bench, float(kl.mean())))
    yield _compared("reconstruction less KL, nats", reconstruction - kl, bench.elbos, ())


def _compared(what: str, claimed: Tensor, own: Tensor, causes: tuple[str, ...]) -> Comparison:
    one, other = mean_of(claimed), mean_of(own)
    known = beside(one, other)
    return Comparison(what, known, other.value, slack=rounding(other.value), causes=causes)


def _kl_causes(bench: Bench, claimed: float) -> tuple[str, ...]:
    """Which wrong closed form of Gaussians has the value that is claimed."""
    model, guide = bench.traces
    pairs = [(site, model.nodes[name]) for name, site in guide.nodes.items() if latent(site) and name in model.nodes]
    if not all(isinstance(base_of(site["fn"]), Normal) for pair in pairs for site in pair):
        return ()
    found = {
        "the KL's arguments are swapped: KL(p ‖ q) in place of KL(q ‖ p)": _total(pairs, swap=True),
        "a variance stands for a standard deviation in the KL": _total(pairs, power=2.0),
        "a standard deviation stands for a variance in the KL": _total(pairs, power=0.5),
        "the KL is halved": _total(pairs) / 2,
        "the KL is doubled": _total(pairs) * 2,
        "the KL has the wrong sign": -_total(pairs),
        "the KL is a mean over latent dimensions in place of their sum": _total(pairs, mean=True),
    }
    return tuple(name for name, value in found.items() if abs(value - claimed) <= 10 * rounding(value))


def _total(pairs: list[tuple[Site, Site]], *, swap: bool = False, power: float = 1.0, mean: bool = False) -> float:
    """The KL of Normal sites, done rightly or in a certain wrong way."""
    result = 0.0
    for guide, model in pairs:
        q, p = (base_of(site["fn"]) for site in (guide, model))
        q = Normal(q.loc, q.scale**power)
        each = (kl_divergence(p, q) if swap else kl_divergence(q, p)).double() * torch.as_tensor(guide["scale"])
        result += float(each.mean(-1).sum() if mean else each.sum())
    return result
