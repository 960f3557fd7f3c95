"""Laws of the guide's draws: they follow the density that the guide gives them, each row's own."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ppl_models.distributions import seeded
from ppl_models.verify.bench import Bench
from ppl_models.verify.draws import Site
from ppl_models.verify.findings import Comparison, Mean, Skip, mean_of, rounding
from ppl_models.verify.pairs import latent, masked, to_real, vectorised

MOST_DIMS = 5
TAME = 1.5  # nats, standard deviation of log ratios up to which their mean is tested
NARROWER = 0.7  # the scale of the density that the guide's is held against, of the draws'


def density(bench: Bench) -> Iterator[Comparison]:
    """The guide's density of a latent site is that of its draws, so that any density over it has a mean of 1."""
    found = False
    for name, site, draws in _drawn_again(bench):
        real = _real(site, draws)
        if real is None or not 0 < real.shape[-1] <= MOST_DIMS or not bool((real.std(0) > 0).all()):
            continue
        fit = real[: len(real) // 2]
        apart = fit - fit.mean(0)
        covariance = torch.einsum("kei,kej->eij", apart, apart) / len(fit)
        root, failed = torch.linalg.cholesky_ex(NARROWER**2 * covariance)
        held = torch.distributions.MultivariateNormal(fit.mean(0), scale_tril=root)
        ratios = held.log_prob(real) - _log_density(site, draws)
        # by draws that are not averaged: where the other density has the longer tails, the mean has no variance
        tame = (ratios[: len(fit)].std(0) < TAME) & (failed == 0)
        if not bool(tame.any()):
            continue
        found = True
        ratio = ratios[len(fit) :, tame].exp().mean(-1)
        yield Comparison(
            f"site {name!r}: the mean of another density over the guide's",
            mean_of(ratio),
            1.0,
            slack=rounding(1.0),
            causes=(
                "the guide's draws have another scale than its density: variance for standard deviation",
                "a Jacobian is missing from the guide's density, or has the wrong sign",
                "a constant is missing from the guide's density",
            ),
        )
    if not found:
        raise Skip("no continuous latent site of few dimensions, and a density near to normal, is drawn by itself")


def independence(bench: Bench) -> Iterator[Comparison]:
    """Rows that stand in a plate are drawn independently of each other."""
    found = False
    for name, site, draws in _drawn_again(bench):
        rows = draws.double().reshape(len(draws), *site["value"].shape)
        dims = [frame.dim - len(site["fn"].event_shape) for frame in vectorised(site) if frame.size > 1]
        if not dims or site["fn"].support.is_discrete:
            continue
        apart = rows.movedim(dims[0], 1).reshape(len(draws), rows.shape[dims[0]], -1).mean(-1)
        spread = apart.std(0)
        apart = ((apart - apart.mean(0)) / spread)[:, spread > 1e-9 * apart.abs().mean()]
        if apart.shape[1] < 2:
            continue
        found = True
        one, other = apart[:, ::2].sum(-1), apart[:, 1::2].sum(-1)
        together = float(torch.corrcoef(torch.stack([one, other]))[0, 1].clamp(-1 + 1e-9, 1 - 1e-9))
        yield Comparison(
            f"site {name!r}: the correlation of half of its rows with the other half (Fisher's z)",
            Mean(math.atanh(together), 1 / (len(draws) - 3) ** 0.5, len(draws)),
            0.0,
            causes=("the same noise serves all rows, though the plate says that they are independent",),
        )
    if not found:
        raise Skip("the guide draws no continuous site in a plate")


def _drawn_again(bench: Bench) -> Iterator[tuple[str, Site, Tensor]]:
    """Each latent site of the guide with independent draws of it, given what the guide drew before it."""
    for number, (name, site) in enumerate(bench.traces[1].nodes.items()):
        if latent(site):
            with torch.no_grad(), seeded(bench.stream(16, number)):
                yield (
                    name,
                    site,
                    torch.stack([site["fn"](*site["args"], **site["kwargs"]) for _ in range(2 * bench.draws)]),
                )


def _real(site: Site, draws: Tensor) -> Tensor | None:
    """Continuous draws in unconstrained coordinates, (draws, elements, dimensions), where there are any."""
    if site["fn"].support.is_discrete or masked(site):
        return None
    try:
        real = to_real(site).inv(draws)
    except Skip:
        return None
    batch = len(site["fn"].batch_shape)
    return real.double().reshape(len(draws), math.prod(site["fn"].batch_shape) if batch else 1, -1)


def _log_density(site: Site, draws: Tensor) -> Tensor:
    """The guide's log density of its draws in unconstrained coordinates, (draws, elements)."""
    change = to_real(site)
    jacobian = change.log_abs_det_jacobian(change.inv(draws), draws)
    return (site["fn"].log_prob(draws).double() + jacobian.double()).reshape(len(draws), -1)
