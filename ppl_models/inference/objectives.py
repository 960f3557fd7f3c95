"""What gradient steps climb: the ELBO by Pyro's estimator, or a variation of it by a family's own weights.

    reconstruction · E_q[log p(x | z)] − kl · KL(q(z | x) ‖ p(z))       its two parts, weighted and warmed up
    log 1/K Σ_k p(x, z_k) / q(z_k | x)                                  the bound by K draws of each row

Both are of single rows: a batch's is the mean over its rows, never a bound on all rows at once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import Amortised, Family, Latent, Weighed
from ppl_models.inference.bounds import CELLS_IN_MEMORY, make_elbo


@dataclass(frozen=True)
class Objective:
    """A training objective; the default is the ELBO.

    Attributes:
        reconstruction: weight of E_q[log p(x | z)]; 0 trains on the KL alone.
        kl: weight of the KL, the β of Higgins and others (2017, β-VAE, https://openreview.net/forum?id=Sy2fzU9gl);
            0 trains on the reconstruction alone.
        warm_up: steps over which the KL's weight rises from 0 (Bowman and others 2016,
            https://arxiv.org/abs/1511.06349); the values that are reported have the full weight.
        free_nats: of the mean KL over rows in each dimension of z that are not charged, or of the mean of the whole
            KL where it has no parts by dimension; the mean is a batch's in training, and all rows' in the values that
            are reported (Kingma and others 2016, section C.8, https://arxiv.org/abs/1606.04934).
        draws: K of the bound by K draws (Burda, Grosse and Salakhutdinov 2016, https://arxiv.org/abs/1509.00519); 1
            for the ELBO.
        doubly_reparametrised: whether the guide's gradient of the K-draw bound is the one whose signal does not drown
            as K grows (Tucker, Lawson, Gu and Maddison 2019, https://arxiv.org/abs/1810.04152).

    Raises:
        InputError: a weight below 0, or parts that do not go together.
    """

    reconstruction: float = 1.0
    kl: float = 1.0
    warm_up: int = 0
    free_nats: float = 0.0
    draws: int = 1
    doubly_reparametrised: bool = False

    def __post_init__(self) -> None:
        at_least_one("Objective: ", draws=self.draws)
        for name in ("reconstruction", "kl", "warm_up", "free_nats"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"Objective: expected {name} of 0 or more, got {getattr(self, name)}")
        if self.draws > 1 and (self.reconstruction, self.kl, self.free_nats) != (1, 1, 0):
            raise InputError(
                "Objective: a bound by several draws has no parts to weigh; expected reconstruction=1, kl=1 and "
                f"free_nats=0 with draws={self.draws}, got {self.reconstruction}, {self.kl} and {self.free_nats}"
            )
        if self.draws == 1 and self.doubly_reparametrised:
            raise InputError(
                "Objective: the doubly reparametrised gradient is of a bound by several draws, got draws=1"
            )

    @property
    def is_elbo(self) -> bool:
        """Whether its value, warm-up aside, is the ELBO."""
        return (self.reconstruction, self.kl, self.free_nats, self.draws) == (1, 1, 0, 1)

    def kl_weight(self, step: int) -> float:
        """The KL's weight at a step, from 0."""
        return self.kl * min(1.0, (step + 1) / self.warm_up) if self.warm_up else self.kl


def require_suited(objective: Objective, family: Family) -> None:
    """Refuse an objective whose parts a family has not.

    Raises:
        InputError: parts of a family without latents of its rows; several draws for one that is no density; the
            doubly reparametrised gradient of one whose latents share their noise.
    """
    plain = objective.is_elbo and not objective.warm_up
    if not plain and not isinstance(family, Latent):
        raise InputError(f"Objective: expected a family with a latent point a row, got {type(family).__name__}")
    if objective.draws > 1 and not isinstance(family, Amortised):
        raise InputError(
            f"Objective: a bound by {objective.draws} draws needs a guide that is a density, "
            f"got {type(family).__name__}, whose guide is not"
        )
    if objective.doubly_reparametrised and family.shares_noise:
        raise InputError(
            "Objective: the doubly reparametrised gradient needs noise of its own for each latent, "
            f"got {type(family).__name__}, whose classes share theirs"
        )


def training_loss(family: Family, objective: Objective) -> Callable[[Dataset, int, int], Tensor]:
    """The loss of a batch at a step, ``(batch, rows, step)``: nats per row in prepared units, lower is better.

    What a family charges its rows besides is added to it.
    """
    plain = _plain_loss(family, objective)
    if type(family).price is Family.price:
        return plain
    return lambda batch, rows, step: plain(batch, rows, step) + (batch.weights * family.price(batch)).mean()


def _plain_loss(family: Family, objective: Objective) -> Callable[[Dataset, int, int], Tensor]:
    """The loss without the family's own price.

    Pyro's estimator of the pair, or, for the ELBO of a family with a point a row, its own sum of the same numbers from
    the same noise, without the cost of tracing the pair in each step.
    """
    if objective.is_elbo and not objective.warm_up:
        if isinstance(family, Latent) and issubclass(family.elbo, TraceMeanField_ELBO):
            return lambda batch, rows, step: _elbo_loss(family, batch)
        elbo = make_elbo(family)(family.model, family.guide)
        return lambda batch, rows, step: elbo(batch, rows) / rows
    return lambda batch, rows, step: _loss(family, objective, batch, objective.kl_weight(step))


def _elbo_loss(family: Latent, batch: Dataset) -> Tensor:
    """Minus the ELBO, by one draw for each row."""
    noise = torch.randn(1, len(batch), family.noise, dtype=batch.values.dtype, device=batch.values.device)
    return -(batch.weights.to(noise) @ family.elbo_rows(batch, noise)) / len(batch)


def _loss(family: Latent, objective: Objective, batch: Dataset, kl: float) -> Tensor:
    """The mean of the rows' losses."""
    noise = torch.randn(objective.draws, len(batch), family.noise, device=batch.values.device)
    found = family.weigh(batch, noise, frozen=objective.doubly_reparametrised)
    if objective.draws > 1:
        return -(batch.weights * _many_draws(found, objective, kl)).mean()
    value = _weighed_parts(objective, _sums(found, batch), total=batch.weights.sum(), kl=kl)
    return -value / len(batch)


def _many_draws(found: Weighed, objective: Objective, kl: float) -> Float[Tensor, " rows"]:
    """The bound of each row by its draws, or what has its gradient."""
    weights = found.tempered(kl)
    if not objective.doubly_reparametrised:
        return weights.logsumexp(0) - math.log(len(weights))
    shares = weights.detach().softmax(0)
    for z in found.latents:
        if z.requires_grad:
            z.register_hook(lambda gradient: gradient * shares[..., None])
    return (shares * weights).sum(0)


def objective_value(family: Latent, objective: Objective, data: Dataset) -> Tensor:
    """The sum over rows of what is climbed, its KL at full weight: nats in prepared units, higher is better.

    Rows of other processes are included.
    """
    found = []
    for part in chunks_of(data, CELLS_IN_MEMORY // (family.cells * objective.draws)):
        noise = torch.randn(objective.draws, len(part), family.noise, device=part.values.device)
        weighed = family.weigh(part, noise)
        found.append(_sums(weighed, part) if objective.draws == 1 else (_bounds(weighed, part),))
    sums = [data.summed(sum(each)) for each in zip(*found, strict=True)]
    if objective.draws > 1:
        return sums[0]
    return _weighed_parts(objective, sums, total=data.total_weight, kl=objective.kl)


def _bounds(found: Weighed, batch: Dataset) -> Tensor:
    """The sum over rows, by weight, of the bounds by their draws."""
    return batch.weights.double() @ (found.log_weights.double().logsumexp(0) - math.log(len(found.log_ratio)))


def _sums(found: Weighed, batch: Dataset) -> tuple[Tensor, Float[Tensor, " units"]]:
    """The sums over rows, by weight, of the reconstruction and of each unit's KL."""
    weights = batch.weights.double()
    return weights @ found.log_likelihood.mean(0).double(), weights @ found.kl.double()


def _weighed_parts(objective: Objective, sums: Sequence[Tensor], *, total: Tensor | float, kl: float) -> Tensor:
    """The objective's value from its parts, sums over rows of this total weight, at this weight of the KL."""
    reconstruction, units = sums
    charged = units.clamp(min=objective.free_nats * total) if objective.free_nats else units
    return objective.reconstruction * reconstruction - kl * charged.sum()
