"""Wrong pairs and wrong estimators that compile and train, each with the law that it breaks and the name it is given.

As a script it runs the whole kit on each of them, and on right pairs, ours and others', with fresh seeds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import pyro
import pyro.distributions as dist
import torch
import typer
from outsiders import OUTSIDERS
from pyro import poutine
from pyro.infer import RenyiELBO, Trace_ELBO
from torch import nn

from ppl_models.verify import Pair, Scoring, verify

ROWS, PIXELS = 12, 3
WIDE = {"dtype": torch.float64}
DATA = 1.5 * torch.randn(ROWS, PIXELS, generator=torch.Generator().manual_seed(1), **WIDE)
NOISE = 0.8


@dataclass(frozen=True)
class Fault:
    """A planted fault.

    Attributes:
        make: what is wrong.
        law: the law that it breaks.
        named: what the kit calls it, in part.
    """

    make: Callable[[], Pair | Scoring]
    law: str
    named: str


def everyone(batch):
    return torch.arange(len(batch))


class Decoder(nn.Module):
    """z_i ~ Normal(0, 1), x_ij ~ Normal(weight_j z_i, NOISE)."""

    def __init__(self, plate: str = "right", prior: str = "right") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -0.5, 0.7], **WIDE))
        self.plate, self.prior = plate, prior

    def size(self, batch, rows):
        return len(batch) if self.plate == "missing" else rows

    def forward(self, batch, rows):
        with pyro.plate("rows", self.size(batch, rows), subsample=everyone(batch)):
            z = self.sample_z(batch)
            pyro.sample("x", dist.Normal(z[:, None] * self.weight, NOISE).to_event(1), obs=batch)

    def sample_z(self, batch):
        prior = dist.Normal(torch.zeros(len(batch), **WIDE), 1.0)
        if self.prior == "dropped":
            with poutine.mask(mask=False):
                return pyro.sample("z", prior)
        z = pyro.sample("z", prior)
        if self.prior == "twice":
            pyro.factor("again", prior.log_prob(z))
        return z


class Encoder(nn.Module):
    """q(z_i | x_i) = Normal(slope · x_i, scale)."""

    def __init__(self, fault: str = "right") -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([0.4, -0.2, 0.3], **WIDE))
        self.log_scale = nn.Parameter(torch.tensor(-0.4, **WIDE))
        self.fault = fault

    def answer(self, batch):
        slope = self.slope.detach() if self.fault == "detached" else self.slope
        return dist.Normal(batch @ slope, self.log_scale.exp())

    def size(self, batch, rows):
        return len(batch) if self.fault == "plate" else rows

    def forward(self, batch, rows):
        scaled = poutine.scale(scale=rows / len(batch)) if self.fault == "doubled" else poutine.scale(scale=1.0)
        with pyro.plate("rows", self.size(batch, rows), subsample=everyone(batch)), scaled:
            self.sample(batch)

    def sample(self, batch):
        q = self.answer(batch)
        if self.fault == "site":
            return
        if self.fault == "name":
            pyro.sample("Z", q)
        elif self.fault == "truncated":
            pyro.sample("z", dist.HalfNormal(torch.full((len(batch),), 1.0, **WIDE) * self.log_scale.exp()))
        elif self.fault == "same noise":
            pyro.sample("z", Shared(*torch.broadcast_tensors(q.loc, q.scale)))
        elif self.fault == "density":
            pyro.sample("z", Misstated(*torch.broadcast_tensors(q.loc, q.scale)))
        elif self.fault == "unreparametrised":
            pyro.sample("z", Still(*torch.broadcast_tensors(q.loc, q.scale)))
        elif self.fault == "jacobian":
            u = pyro.sample("u", dist.Normal(q.loc / 2, q.scale / 2), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta(2.0 * u, log_density=torch.zeros(len(batch), **WIDE)))
        elif self.fault == "masked":
            with poutine.mask(mask=False):
                pyro.sample("z", q)
        else:
            pyro.sample("z", q)


class Shared(dist.Normal):
    """One draw of noise for all rows."""

    def rsample(self, sample_shape=()):
        return self.loc + self.scale * torch.randn((), **WIDE)


class Misstated(dist.Normal):
    """The variance is the scale of the draws, and the standard deviation that of the density."""

    def rsample(self, sample_shape=()):
        return self.loc + self.scale**2 * torch.randn_like(self.loc)


class Still(dist.Normal):
    """Draws without a path to the parameters, called reparametrised."""

    def rsample(self, sample_shape=()):
        return super().rsample(torch.Size(sample_shape)).detach()


def pair(model=None, guide=None, **options) -> Pair:
    model, guide = model or Decoder(), guide or Encoder()
    batched = {"rows": ROWS, "batch": lambda rows: (DATA[rows], ROWS)}
    return Pair(model, guide, (DATA, ROWS), **{**batched, **options})


def parts_of(model, guide, batch, rows):
    """log p(x | z) by cell, log p(z) and log q(z) by row, at one draw, and the answer."""
    q = guide.answer(batch)
    z = q.rsample()
    cells = dist.Normal(z[:, None] * model.weight, NOISE).log_prob(batch)
    return cells, dist.Normal(torch.zeros_like(z), 1.0).log_prob(z), q.log_prob(z), q


def by_hand(formula: Callable, **options) -> Callable[[], Pair]:
    """A pair whose loss is written by hand, of all its rows' parts."""

    def loss(model, guide, batch, rows):
        return -formula(*parts_of(model, guide, batch, rows), rows / len(batch))

    return lambda: pair(loss=loss, **options)


def kl_of(q, *, power: float = 1.0, swap: bool = False):
    q = dist.Normal(q.loc, q.scale**power)
    p = dist.Normal(torch.zeros_like(q.loc), 1.0)
    return (torch.distributions.kl_divergence(p, q) if swap else torch.distributions.kl_divergence(q, p)).sum()


def claimed_parts(**wrong) -> Callable[[], Pair]:
    model, guide = Decoder(), Encoder()

    def parts():
        cells, _, _, q = parts_of(model, guide, DATA, ROWS)
        return cells.sum(), kl_of(q, **wrong)

    return lambda: pair(model, guide, parts=parts)


def bound_of(combine: Callable) -> Callable[[], Pair]:
    """A pair with a bound by K draws, combined from weights of (draws, rows), and a guide that is too wide."""
    model, guide = Decoder(), Encoder()
    guide.log_scale.data.fill_(0.4)

    def bound(draws):
        q = guide.answer(DATA)
        z = q.rsample((draws,))
        cells = dist.Normal(z[..., None] * model.weight, NOISE).log_prob(DATA).sum(-1)
        return combine(cells + dist.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z))

    return lambda: pair(model, guide, bound=bound)


# a shared mean, with its exact posterior: mean ~ Normal(0, 2), x_i ~ Normal(mean, 1)
TABLE = DATA[:, 0] + 1.0
POSTERIOR_VARIANCE = 1 / (1 / 4 + ROWS)
POSTERIOR_MEAN = float(TABLE.sum()) * POSTERIOR_VARIANCE
LOG_EVIDENCE = float(
    torch.distributions.MultivariateNormal(
        torch.zeros(ROWS, **WIDE), torch.eye(ROWS, **WIDE) + 4 * torch.ones(ROWS, ROWS, **WIDE)
    ).log_prob(TABLE)
)


def shared_mean(batch, rows=ROWS, *, prior: float = 1.0):
    mean = pyro.sample("mean", dist.Normal(torch.zeros((), **WIDE), 2.0))
    if prior == 2:
        pyro.factor("again", dist.Normal(0.0, 2.0).log_prob(mean))
    with pyro.plate("rows", rows, subsample=everyone(batch)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=batch)


def posterior(width: float = 1.0, off: float = 0.0, power: float = 1.0):
    scale = width * (POSTERIOR_VARIANCE**0.5) ** power

    def guide(batch, rows=ROWS):
        pyro.sample("mean", dist.Normal(torch.tensor(POSTERIOR_MEAN + off, **WIDE), scale))

    return guide


def conjugate(guide=None, model=shared_mean, **options) -> Pair:
    options = {"rows": ROWS, "batch": lambda rows: (TABLE[rows],), "exact": True, **options}
    return Pair(model, guide or posterior(), (TABLE,), **options)


# two classes, summed out
LOCS = torch.tensor([-1.0, 1.2], **WIDE)


def classes(batch, rows=ROWS):
    locs = pyro.sample("locs", dist.Normal(torch.zeros(2, **WIDE), 2.0).to_event(1))
    with pyro.plate("rows", rows, subsample=everyone(batch)):
        y = pyro.sample("y", dist.Categorical(torch.tensor([0.3, 0.7], **WIDE)), infer={"enumerate": "parallel"})
        chosen = (locs * nn.functional.one_hot(y, 2)).sum(-1)
        pyro.sample("x", dist.Normal(chosen, 1.0), obs=batch)


def class_guide(batch, rows=ROWS):
    pyro.sample("locs", dist.Normal(LOCS, 0.4).to_event(1))


def mode_loss(model, guide, batch, rows=ROWS):
    """The ELBO with the likeliest class in place of the sum over both."""
    q = dist.Normal(LOCS, 0.4).to_event(1)
    locs = q.rsample()
    joint = dist.Normal(locs, 1.0).log_prob(batch[:, None]) + torch.tensor([0.3, 0.7], **WIDE).log()
    kl = q.log_prob(locs) - dist.Normal(torch.zeros(2, **WIDE), 2.0).to_event(1).log_prob(locs)
    return kl - rows / len(batch) * joint.amax(-1).sum()


def enumerated(**options) -> Pair:
    return Pair(classes, class_guide, (TABLE,), **{"rows": ROWS, "batch": lambda rows: (TABLE[rows],), **options})


# log densities of held-out rows
SHARES = torch.tensor([0.3, 0.7], **WIDE)
CENTRES = torch.tensor([-1.0, 2.0], **WIDE)
HELD_OUT = torch.stack([TABLE, (TABLE > 0).double()], -1)  # a value, and a label that must not matter


def mixture(rows, *, reduce=torch.logsumexp, shares=SHARES, centres=CENTRES, unit=1.0, jacobian=1.0, loc=0.0):
    """log p of values whose unit and origin the mixture was fitted in."""
    values = (rows[:, 0] - loc) / unit
    joint = dist.Normal(centres, 1.0).log_prob(values[:, None]) + shares.log()
    return reduce(joint, -1) - jacobian * math.log(unit)


def scoring(log_density=mixture, **options) -> Scoring:
    grid = torch.linspace(-12, 12, 4001, **WIDE)
    rows = torch.stack([grid, torch.zeros_like(grid)], -1)
    return Scoring(log_density, HELD_OUT, **{"grid": (rows, float(grid[1] - grid[0])), **options})


def blind(rows):
    return torch.stack([rows[:, 0], 1 - rows[:, 1]], -1)


def sees_labels(rows):
    joint = dist.Normal(CENTRES, 1.0).log_prob(rows[:, :1])
    return joint.gather(-1, rows[:, 1:].long())[:, 0]


def sees_company(rows):
    return mixture(rows - torch.tensor([1.0, 0.0], **WIDE) * rows[:, :1].mean())


def in_units(**wrong):
    def rescaled(loc, scale):
        rows = torch.stack([loc + scale * HELD_OUT[:, 0], HELD_OUT[:, 1]], -1)
        return lambda those: mixture(those, unit=scale, loc=loc, **wrong), rows

    return rescaled


FAULTS = {
    "sign of the KL": Fault(by_hand(lambda x, p, q, _, s: s * (x.sum() - (p - q).sum())), "loss", "wrong sign"),
    "KL's arguments swapped": Fault(
        by_hand(lambda x, p, q, a, s: s * (x.sum() - kl_of(a, swap=True))), "loss", "arguments are swapped"
    ),
    "KL's arguments swapped, in its closed form": Fault(claimed_parts(swap=True), "parts", "arguments are swapped"),
    "plate's scale missing": Fault(
        lambda: pair(Decoder("missing"), Encoder("plate")), "minibatches", "scale is missing"
    ),
    "plate's scale missing in the guide": Fault(lambda: pair(guide=Encoder("plate")), "scales", "missing in the guide"),
    "plate's scale doubled": Fault(lambda: pair(loss=doubled), "minibatches", "scale is doubled"),
    "plate's scale inside the logsumexp": Fault(
        lambda: pair(loss=RenyiELBO(alpha=0, num_particles=8)), "minibatches", "inside the logsumexp"
    ),
    "prior counted twice": Fault(
        by_hand(lambda x, p, q, _, s: s * (x.sum() + (2 * p - q).sum())), "loss", "prior is counted twice"
    ),
    "prior counted twice in the model": Fault(
        lambda: conjugate(model=lambda batch, rows=ROWS: shared_mean(batch, rows, prior=2), log_evidence=LOG_EVIDENCE),
        "evidence",
        "prior is counted twice",
    ),
    "prior dropped": Fault(by_hand(lambda x, p, q, _, s: s * (x.sum() - q.sum())), "loss", "prior is dropped"),
    "prior masked": Fault(lambda: pair(Decoder(prior="dropped")), "scales", "prior is dropped"),
    "standard deviation for variance, in the KL": Fault(
        claimed_parts(power=0.5), "parts", "standard deviation stands for a variance"
    ),
    "exp(log variance) for the standard deviation, in the KL": Fault(
        claimed_parts(power=2.0), "parts", "variance stands for a standard deviation"
    ),
    "exp(log variance) for the standard deviation, in the guide": Fault(
        lambda: conjugate(posterior(power=2.0)), "exact", "variance stands for a standard deviation"
    ),
    "standard deviation for variance, in the guide's draws": Fault(
        lambda: pair(guide=Encoder("density")), "density", "variance for standard deviation"
    ),
    "Jacobian missing from the guide": Fault(lambda: pair(guide=Encoder("jacobian")), "weights", "Jacobian"),
    "Jacobian of the units missing": Fault(
        lambda: scoring(rescaled=in_units(jacobian=0.0)), "affine", "Jacobian of the preparation is missing"
    ),
    "Jacobian of the units with the wrong sign": Fault(
        lambda: scoring(rescaled=in_units(jacobian=-1.0)), "affine", "wrong sign"
    ),
    "a density that sees the labels": Fault(lambda: scoring(sees_labels, blind=blind), "blindness", "sees the labels"),
    "a density that sees the test rows": Fault(lambda: scoring(sees_company), "company", "sees the test rows"),
    "a site missing from the guide": Fault(lambda: pair(guide=Encoder("site")), "sites", "missing from the guide"),
    "a site of another name": Fault(lambda: pair(guide=Encoder("name")), "sites", "name differs"),
    "obs= missing": Fault(lambda: conjugate(model=unobserved), "sites", "obs= is missing"),
    "mean for sum over pixels": Fault(
        by_hand(lambda x, p, q, _, s: s * (x.mean(-1).sum() + (p - q).sum())), "loss", "mean over cells"
    ),
    "mean for sum over rows": Fault(
        by_hand(lambda x, p, q, _, s: x.sum(-1).mean() + (p - q).mean()), "loss", "mean over rows"
    ),
    "entropy dropped": Fault(by_hand(lambda x, p, q, _, s: s * (x.sum() + p.sum())), "loss", "entropy is dropped"),
    "entropy masked": Fault(lambda: pair(guide=Encoder("masked")), "scales", "entropy is dropped"),
    "a weighed KL": Fault(
        by_hand(lambda x, p, q, _, s: s * (x.sum() + 0.5 * (p - q).sum())), "loss", "weighed by about 0.5"
    ),
    "detached encoder": Fault(lambda: pair(guide=Encoder("detached")), "gradients", "detached"),
    "detached draws": Fault(lambda: pair(guide=Encoder("unreparametrised")), "gradient", "detached"),
    "the same noise for all rows": Fault(lambda: pair(guide=Encoder("same noise")), "independence", "same noise"),
    "the mode for the sum over classes": Fault(lambda: enumerated(loss=mode_loss), "loss", "mode stands in place"),
    "the likeliest class for all, in a density": Fault(
        lambda: scoring(lambda rows: mixture(rows, reduce=torch.amax), log_evidence=mixture(HELD_OUT)),
        "known",
        "classes are not summed out",
    ),
    "a joint density for a marginal one": Fault(
        lambda: scoring(lambda rows: mixture(rows, shares=torch.ones(2, **WIDE))), "normalisation", "joint density"
    ),
    "components out of step with their shares": Fault(
        lambda: scoring(relabelled=lambda rows: mixture(rows, centres=CENTRES.flip(0))), "relabelling", "out of step"
    ),
    "importance weights averaged in log space": Fault(
        bound_of(lambda weights: weights.mean(0).sum()), "draws", "averaged in log space"
    ),
    "log K not taken away": Fault(bound_of(lambda weights: weights.logsumexp(0).sum()), "draws", "log K"),
    "rows multiplied before draws are averaged": Fault(
        bound_of(lambda weights: weights.sum(-1).logsumexp(0) - math.log(len(weights))), "draws", "rows are multiplied"
    ),
    "a truncated support": Fault(lambda: pair(guide=Encoder("truncated")), "supports", "truncated"),
    "a posterior's scale halved": Fault(lambda: conjugate(posterior(width=0.5)), "exact", "scale is 0.5"),
    "a posterior's mean off": Fault(lambda: conjugate(posterior(off=0.2)), "exact", "mean is off"),
    "a guide of other shapes": Fault(lambda: Pair(classes, flat_guide, (TABLE,)), "shapes", "to_event"),
    "a plate missing from the guide": Fault(lambda: pair(guide=without_plate), "plates", "a plate is missing"),
    "particles added up": Fault(lambda: pair(loss=Added()), "particles", "particles"),
    "parameters by place in the batch": Fault(lambda: pair(guide=by_place), "order", "by place in the batch"),
    "a bound above the evidence": Fault(
        by_hand(lambda x, p, q, _, s: 20.0 + s * (x.sum() + (p - q).sum())), "bound", "a term of the loss is missing"
    ),
    "noise that is no site": Fault(lambda: pair(Noisy()), "repeatable", "dropout"),
}


class Added(Trace_ELBO):
    """The sum of the particles in place of their mean."""

    def loss(self, *args, **kwargs):
        return self.num_particles * super().loss(*args, **kwargs)


def flat_guide(batch, rows=ROWS):
    """A guide of as many batches as the model has events."""
    pyro.sample("locs", dist.Normal(LOCS, 0.4))


def by_place(batch, rows):
    """A guide whose answer for a row depends on where it stands."""
    with pyro.plate("rows", rows, subsample=everyone(batch)):
        pyro.sample("z", dist.Normal(0.05 * everyone(batch) * batch[:, 0], 0.7))


def without_plate(batch, rows):
    """A guide that draws the rows' latents outside of the plate that the model has for them."""
    pyro.sample("z", dist.Normal(0.4 * batch[:, 0], 0.7))


class Noisy(Decoder):
    """A decoder with dropout."""

    def forward(self, batch, rows):
        with pyro.plate("rows", rows, subsample=everyone(batch)):
            z = self.sample_z(batch)
            kept = nn.functional.dropout(z[:, None] * self.weight, 0.5)
            pyro.sample("x", dist.Normal(kept, NOISE).to_event(1), obs=batch)


def doubled(model, guide, batch, rows):
    """The plates' scale once more on top."""
    return rows / len(batch) * Trace_ELBO().differentiable_loss(model, guide, batch, rows)


def unobserved(batch, rows=ROWS):
    mean = pyro.sample("mean", dist.Normal(torch.zeros((), **WIDE), 2.0))
    with pyro.plate("rows", rows, subsample=everyone(batch)):
        pyro.sample("x", dist.Normal(mean, 1.0))
    pyro.sample("other", dist.Normal(mean, 1.0), obs=batch[0])


RIGHT = {
    "a pair of modules": pair,
    "a loss by hand": by_hand(lambda x, p, q, _, s: s * (x.sum() + (p - q).sum())),
    "claimed parts": claimed_parts(),
    "a bound by draws": bound_of(lambda weights: (weights.logsumexp(0) - math.log(len(weights))).sum()),
    "an exact posterior": lambda: conjugate(log_evidence=LOG_EVIDENCE),
    "enumerated classes": enumerated,
    "a log density": lambda: scoring(blind=blind, rescaled=in_units(), log_evidence=mixture(HELD_OUT)),
}


def main(runs: int = 200) -> None:
    """Print which faults are caught and named, and how often right pairs are called wrong."""
    caught = {}
    for name, fault in FAULTS.items():
        broken = {finding.law: finding.causes for finding in verify(fault.make()).broken}
        caught[name] = any(fault.named in cause for cause in broken.get(fault.law, ()))
        print(f"{name}: {'caught and named' if caught[name] else 'MISSED'}; broken: {', '.join(broken)}")
    print(f"{sum(caught.values())} of {len(caught)} planted faults caught and named")
    makes, slow, alarms = {**OUTSIDERS, **RIGHT}, 0.0, 0
    for run in range(runs):
        name = list(makes)[run % len(makes)]
        start = perf_counter()
        verdict = verify(makes[name](), seed=run + 1)
        pyro.clear_param_store()
        slow = max(slow, perf_counter() - start)
        alarms += not verdict
        if not verdict:
            print(f"seed {run + 1}, {name}:\n{verdict}")
    print(f"{alarms} false alarms in {runs} runs over {len(makes)} right pairs, {1e-3 * runs:g} expected at the most;")
    print(f"the slowest run took {slow:.0f} s")


if __name__ == "__main__":
    typer.run(main)
