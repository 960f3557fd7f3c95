"""The classes' weights: a Dirichlet, or a Dirichlet process broken off after K sticks.

Natural parameters are one number a class, in both its expected number of rows plus what the prior begins with; so they
are one more column of the statistics, of ones.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ppl_models.distributions.categorical import log_of_probability
from ppl_models.errors import InputError

Process = Literal["dirichlet", "stick-breaking"]


class Weights(nn.Module, ABC):
    """The prior of the weights, with the guide in its family.

    Attributes:
        prior: (classes,) natural parameters of the prior.
        exchangeable: whether the order of the classes means nothing.
    """

    exchangeable = True

    def __init__(self, prior: Float[Tensor, " classes"]) -> None:
        super().__init__()
        self.register_buffer("prior", prior)

    def settle(self, natural: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
        """The guide's natural parameters from the prior's plus the rows' sums."""
        return natural

    def initial(self) -> Float[Tensor, " classes"]:
        """The guide's natural parameters before it was fitted to any rows."""
        return self.prior

    @abstractmethod
    def expected(self, natural: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
        """E_q[log weight]."""

    @abstractmethod
    def divergence(self, natural: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch"]:
        """KL(q ‖ prior), nats."""

    @abstractmethod
    def log_mean(self, natural: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
        """log E_q[weight]."""

    @abstractmethod
    def sample(self, natural: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
        """Sample the weights' Pyro site."""

    @abstractmethod
    def from_sites(self, sites: dict[str, Tensor]) -> Float[Tensor, "*batch classes"]:
        """The weights from the values of Pyro's sites."""

    def sample_prior(self) -> Float[Tensor, " classes"]:
        """Sample the site from the prior."""
        return self.sample(self.prior)

    def log_evidence(self, natural: Float[Tensor, " classes"]) -> Float[Tensor, ""]:
        """log p(classes of the rows) where all are known, from the posterior's natural parameters, nats."""
        return (natural - self.prior) @ self.expected(natural) - self.divergence(natural)

    def unconstrain(self, natural: Float[Tensor, "*batch classes"]) -> Tensor:
        """The guide's free parameters."""
        return log_of_probability(natural)

    def natural(self, free: Tensor) -> Float[Tensor, "*batch classes"]:
        """The way back."""
        return free.exp()


class DirichletWeights(Weights):
    """weights ~ Dirichlet(concentration, ...): even for 1, sparse well below it.

    A sparse one empties components that the rows do not need (Rousseau and Mengersen 2011,
    https://doi.org/10.1111/j.1467-9868.2011.00781.x).
    """

    def __init__(self, classes: int, concentration: float) -> None:
        super().__init__(torch.full((classes,), concentration, dtype=torch.float64))

    def expected(self, natural: Tensor) -> Tensor:
        """ψ(concentration) − ψ(their sum)."""
        return natural.digamma() - natural.sum(-1, keepdim=True).digamma()

    def divergence(self, natural: Tensor) -> Tensor:
        """KL of two Dirichlets."""
        return kl_divergence(dist.Dirichlet(natural), dist.Dirichlet(self.prior))

    def log_mean(self, natural: Tensor) -> Tensor:
        """log of each share of the concentration."""
        return (natural / natural.sum(-1, keepdim=True)).log()

    def sample(self, natural: Tensor) -> Tensor:
        """The site ``weights``."""
        return pyro.sample("weights", dist.Dirichlet(natural))

    def from_sites(self, sites: dict[str, Tensor]) -> Tensor:
        """The site itself."""
        return sites["weights"]


class StickBreakingWeights(Weights):
    """A truncated Dirichlet process: stick_k ~ Beta(1, concentration), weight_k = stick_k Π_{j<k} (1 − stick_j).

    The last of the K weights is what is left. The guide is Beta(1 + n_k, concentration + Σ_{j>k} n_j) for each stick,
    with n the natural parameters (Blei and Jordan 2006, https://doi.org/10.1214/06-BA104).
    """

    exchangeable = False

    def __init__(self, classes: int, concentration: float) -> None:
        super().__init__(torch.zeros(classes, dtype=torch.float64))
        self.concentration = concentration

    def _sticks(self, natural: Tensor) -> dist.Distribution:
        after = natural.flip(-1).cumsum(-1).flip(-1)[..., 1:]
        return dist.Beta(1 + natural[..., :-1], self.concentration + after)

    def _join(self, log_stick: Tensor, log_rest: Tensor) -> Tensor:
        """log stick_k + Σ_{j<k} log rest_j, the last stick being 1."""
        before = nn.functional.pad(log_rest.cumsum(-1), (1, 0))
        return before + nn.functional.pad(log_stick, (0, 1))

    def expected(self, natural: Tensor) -> Tensor:
        """E[log stick_k] + Σ_{j<k} E[log(1 − stick_j)]."""
        sticks = self._sticks(natural)
        inside, outside = sticks.concentration1, sticks.concentration0
        total = (inside + outside).digamma()
        return self._join(inside.digamma() - total, outside.digamma() - total)

    def divergence(self, natural: Tensor) -> Tensor:
        """KL of the sticks' betas."""
        sticks = self._sticks(natural)
        return kl_divergence(sticks, self._sticks(torch.zeros_like(natural))).sum(-1)

    def log_mean(self, natural: Tensor) -> Tensor:
        """The sticks are independent under q, so that the mean of a product is that of means."""
        mean = self._sticks(natural).mean
        return self._join(mean.log(), (-mean).log1p())

    def sample(self, natural: Tensor) -> Tensor:
        """The site ``sticks``, as weights."""
        return self.from_sites({"sticks": pyro.sample("sticks", self._sticks(natural).to_event(1))})

    def from_sites(self, sites: dict[str, Tensor]) -> Tensor:
        """The weights that the sticks make."""
        sticks = sites["sticks"]
        return self._join(log_of_probability(sticks), log_of_probability(1 - sticks)).exp()


class PointWeights(Weights):
    """A point mass on the weights; natural parameters are their logarithms once settled.

    Args:
        prior: the Dirichlet prior.
        flat: whether to leave the prior out: maximum likelihood.
    """

    def __init__(self, prior: DirichletWeights, *, flat: bool) -> None:
        super().__init__(torch.zeros_like(prior.prior) if flat else prior.prior)
        self.dirichlet, self.flat = prior, flat

    def settle(self, natural: Tensor) -> Tensor:
        """The logarithms of the mode."""
        counts = natural if self.flat else (natural - 1).clamp(min=0)
        return log_of_probability(counts / counts.sum(-1, keepdim=True))

    def initial(self) -> Tensor:
        """Even weights."""
        return (torch.ones_like(self.prior) / len(self.prior)).log()

    def expected(self, natural: Tensor) -> Tensor:
        """The logarithms themselves."""
        return natural

    def divergence(self, natural: Tensor) -> Tensor:
        """−log prior density, nothing where it is left out."""
        log_prior = dist.Dirichlet(self.dirichlet.prior, validate_args=False).log_prob(natural.exp())
        return torch.zeros_like(log_prior) if self.flat else -log_prior

    def log_mean(self, natural: Tensor) -> Tensor:
        """The logarithms themselves."""
        return natural

    def sample(self, natural: Tensor) -> Tensor:
        """The site ``weights``, a point mass."""
        return pyro.sample("weights", dist.Delta(natural.exp()).to_event(1))

    def sample_prior(self) -> Tensor:
        """The Dirichlet, which does not count for maximum likelihood."""
        with pyro.poutine.mask(mask=not self.flat):
            return self.dirichlet.sample(self.dirichlet.prior)

    def from_sites(self, sites: dict[str, Tensor]) -> Tensor:
        """The site itself."""
        return sites["weights"]

    def unconstrain(self, natural: Tensor) -> Tensor:
        """The logarithms."""
        return natural

    def natural(self, free: Tensor) -> Tensor:
        """The logarithms of weights that sum to one."""
        return free.log_softmax(-1)


@dataclass(frozen=True)
class WeightsPrior:
    """The prior of a mixture's weights.

    Attributes:
        process: "dirichlet", or "stick-breaking" for a Dirichlet process truncated at the number of components.
        concentration: of each component's weight, or of the process; the smaller, the fewer components are used.

    Raises:
        InputError: a process that does not exist, or a concentration that is not above 0.
    """

    process: Process = "dirichlet"
    concentration: float = 1.0

    def __post_init__(self) -> None:
        if self.process not in get_args(Process):
            raise InputError(f"process: expected one of {', '.join(get_args(Process))}, got {self.process!r}")
        if not 0 < self.concentration < math.inf:
            raise InputError(f"concentration: expected a number above 0, got {self.concentration}")

    def over(self, classes: int, estimate: str) -> Weights:
        """The weights of so many classes, estimated so."""
        if self.process == "stick-breaking":
            if estimate != "bayes":
                raise InputError(f"process 'stick-breaking': expected estimate 'bayes', got {estimate!r}")
            return StickBreakingWeights(classes, self.concentration)
        weights = DirichletWeights(classes, self.concentration)
        return weights if estimate == "bayes" else PointWeights(weights, flat=estimate == "maximum-likelihood")
