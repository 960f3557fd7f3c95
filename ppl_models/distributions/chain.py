"""The steps of a sequence: a first-order Markov chain, with Dirichlet priors on its start and on each transition row.

The parameters are integrated out of a whole row at once: its transitions are draws from Pólya's urns, one for each
token that may stand before,

    p(x) = Π_t (a + n_t) / Σ (a + n_t)

where a are the concentrations after the rows so far, and n_t counts how often this very row has made the transition
before its step t. That is not the product of the mean transitions, which would forget that one row's transitions share
their parameters.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import constraints

from ppl_models.datasets import Dataset
from ppl_models.distributions.categorical import log_of_probability
from ppl_models.distributions.conjugate import Conjugate
from ppl_models.distributions.hidden_steps import (
    UNSEEN,
    Codes,
    HiddenSteps,
    before_last,
    complete,
    has_hole,
    hidden_steps,
    pairs_sum,
    split,
)
from ppl_models.errors import InputError

MOST_FILLINGS = 20_000  # of a row's holes, each of which is looked at
CELLS_AT_ONCE = 2**24


class Chain(dist.TorchDistribution):
    """A row's steps given the chain of its class; −1 stands for a missing one, which ``log_prob`` sums out exactly."""

    arg_constraints = MappingProxyType({"initial": constraints.simplex, "transition": constraints.simplex})
    support = constraints.independent(constraints.integer_interval(UNSEEN, 2**31), 1)

    def __init__(
        self,
        initial: Float[Tensor, "classes tokens"],
        transition: Float[Tensor, "classes tokens tokens"],
        member: Int[Tensor, "*batch"],
        steps: int,
    ) -> None:
        self.initial, self.transition, self.member = initial, transition, member
        super().__init__(member.shape, (steps,))

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "Chain":
        """The same for a wider batch."""
        return Chain(self.initial, self.transition, self.member.expand(batch_shape), self.event_shape[0])

    def log_prob(self, value: Float[Tensor, "rows steps"]) -> Float[Tensor, "*batch"]:
        """Log probability of the tokens that were seen, of each row in its class."""
        codes, logs = value.long(), (log_of_probability(self.initial), log_of_probability(self.transition))
        found = pairs_sum(*logs, codes)
        if (hidden := hidden_steps(codes, self.initial.shape[-1])) is not None:
            everything = torch.cat([logs[0], logs[1].flatten(-2)], -1)
            found = found.index_add(-1, hidden.rows, hidden.conditional(everything).log_integral)
        return found[self.member, torch.arange(len(codes), device=codes.device)]

    def sample(self, sample_shape: Sequence[int] = ()) -> Float[Tensor, "*batch steps"]:
        """Tokens drawn one after another."""
        member = self.member.expand(*sample_shape, *self.member.shape)
        unseen = torch.full((member.numel(), self.event_shape[0]), UNSEEN, device=member.device)
        logs = log_of_probability(self.initial), log_of_probability(self.transition)
        return complete(*logs, member.flatten(), unseen).reshape(*member.shape, -1).to(self.initial)


class DirichletChain(Conjugate):
    """x_1 ~ Categorical(initial); x_t | x_{t−1} ~ Categorical(transition from there); all Dirichlet(smoothing, ...).

    All D columns are one draw. Natural parameters: the C concentrations of the first token, then the C · C of the
    transitions, line by line the token before. Steps after a row's last token are no part of it. Holes before it are
    summed out, with the parameters integrated out as far as all their fillings can be looked at.
    """

    supports = MappingProxyType({"initial": constraints.simplex, "transition": constraints.simplex})
    of_probabilities = nonnegative = sums_missing = True

    def __init__(self, site: str, columns: tuple[int, ...], tokens: int, *, smoothing: float = 1.0) -> None:
        self.tokens, self.footprint = tokens, len(columns)
        super().__init__(site, columns, torch.full((tokens * (tokens + 1),), smoothing, dtype=torch.float64))

    def cells(self, batch: Dataset) -> tuple[Tensor, Tensor]:
        """The codes, −1 where missing, and whether they were seen."""
        values, observed = super().cells(batch)
        return torch.where(observed, values, UNSEEN), observed

    def statistics(self, values: Tensor, observed: Tensor) -> Tensor:
        """Indicators of the first token, and counts of the transitions between two seen ones."""
        found = self.prior.new_zeros(len(values), len(self.prior))
        return found.scatter_add_(1, *self._places(values, observed))

    def class_sums(self, values: Tensor, observed: Tensor, member: Tensor, weights: Tensor, classes: int) -> Tensor:
        """The same sums as those of the statistics, counted."""
        places, counted = self._places(values, observed)
        at = places + len(self.prior) * member[:, None]
        total = torch.bincount(
            at.flatten(), (counted * weights[:, None]).flatten(), minlength=classes * len(self.prior)
        )
        return total.view(classes, -1)

    def _places(
        self, values: Tensor, observed: Tensor
    ) -> tuple[Int[Tensor, "rows steps"], Float[Tensor, "rows steps"]]:
        """Which statistic each step adds to, and whether it does."""
        codes = torch.where(observed, values, 0).long()
        into = self.tokens * (1 + codes[:, :-1]) + codes[:, 1:]
        both = torch.cat([observed[:, :1], observed[:, :-1] & observed[:, 1:]], 1)
        return torch.cat([codes[:, :1], into], 1), both.to(self.prior)

    def expected(self, natural: Tensor) -> Tensor:
        """E[log probability]."""
        return self._joined(*(part.digamma() - part.sum(-1, keepdim=True).digamma() for part in self._split(natural)))

    def log_partition(self, natural: Tensor) -> Tensor:
        """The log normalisers of all Dirichlets."""
        initial, transition = (part.lgamma().sum(-1) - part.sum(-1).lgamma() for part in self._split(natural))
        return initial + transition.sum(-1)

    def predictive(self, natural: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """By Pólya's urns, of each row as a whole; holes by the sum over all that may stand there."""
        codes = _codes(values, observed)
        found = self._urns(natural, codes)
        for row, alike in _alike(codes):
            found[alike] = self._by_filling(natural, self._filled(row)).logsumexp(0)
        return found

    def _by_filling(self, natural: Tensor, filled: Codes) -> Float[Tensor, "fillings classes"]:
        """Log predictive probability of a row with each filling of its holes, in pieces of bounded memory."""
        size = max(1, CELLS_AT_ONCE // (len(natural) * filled.shape[1] ** 2))
        return torch.cat([self._urns(natural, part) for part in filled.split(size)])

    def _urns(self, natural: Tensor, codes: Codes) -> Float[Tensor, "rows classes"]:
        """Log predictive probability of the tokens seen and of the transitions between two of them."""
        initial, transition = self._split(natural)
        before, after = codes[:, :-1].clamp(min=0), codes[:, 1:].clamp(min=0)
        both = (codes[:, :-1] >= 0) & (codes[:, 1:] >= 0)
        earlier = torch.ones(before.shape[1], before.shape[1], dtype=torch.bool, device=codes.device).tril(-1)
        left = (before[:, :, None] == before[:, None]) & both[:, None] & earlier
        made = left & (after[:, :, None] == after[:, None])
        share = (transition[:, before, after] + made.sum(-1)) / (transition.sum(-1)[:, before] + left.sum(-1))
        first = (initial / initial.sum(-1, keepdim=True))[:, codes[:, 0].clamp(min=0)]
        logs = torch.where(both, share, 1.0).log().sum(-1)
        return (logs + torch.where(codes[:, 0] >= 0, first, 1.0).log()).mT

    def require_few_holes(self, values: Tensor, observed: Tensor, *, before: int = 0) -> None:
        """Refuse rows with more holes than can be filled in every way.

        Args:
            values: codes.
            observed: which cells were there.
            before: how many rows of the table come before these.

        Raises:
            InputError: a row's holes have too many fillings.
        """
        number = (before_last(observed) & ~observed).sum(-1)
        if bool((self.tokens ** number.double() > MOST_FILLINGS).any()):
            row = int(number.argmax())
            raise InputError(
                f"row {before + row + 1}: expected holes of at most {MOST_FILLINGS:,} fillings to sum over with the "
                f"parameters integrated out, got {int(number[row])} of {self.tokens} tokens each before its last "
                "token; estimate='map' or 'maximum-likelihood' sums out any"
            )

    def _filled(self, codes: Int[Tensor, " steps"]) -> Codes:
        """A row with each filling of the holes before its last token; what follows it stays missing."""
        holes = (before_last(codes[None] >= 0)[0] & (codes < 0)).nonzero()[:, 0]
        fillings = torch.cartesian_prod(*[torch.arange(self.tokens, device=codes.device)] * len(holes))
        filled = codes.repeat(self.tokens ** len(holes), 1)
        filled[:, holes] = fillings.reshape(len(filled), -1)
        return filled

    def draw(self, natural: Tensor, member: Tensor) -> Tensor:
        """Tokens drawn one after another from the urns of each row's class."""
        unseen = torch.full((len(member), len(self.columns)), UNSEEN, device=member.device)
        return self._continued(natural, member, unseen).to(natural)

    def draw_given(self, natural: Tensor, member: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """Holes by the probabilities of their fillings, and what follows the last token from the urns."""
        codes = _codes(values, observed)
        for row, alike in _alike(codes):
            filled = self._filled(row)
            logits = self._by_filling(natural, filled).mT[member[alike]]
            codes[alike] = filled[dist.Categorical(logits=logits).sample()]
        return self._continued(natural, member, codes).to(natural)

    def _continued(self, natural: Tensor, member: Tensor, codes: Codes) -> Codes:
        """Rows without holes to their full length, each step given all before it."""
        initial, transition = self._split(natural)
        drawn, everyone = codes.clone(), torch.arange(len(codes), device=codes.device)
        for step in range(codes.shape[1]):
            weights = initial[member]
            if step:
                before = drawn[:, step - 1]
                left = (drawn[:, : step - 1] == before[:, None]).to(natural)
                weights = transition[member, before].scatter_add(1, drawn[:, 1:step], left)
            chosen = dist.Categorical(probs=weights).sample()
            drawn[everyone, step] = torch.where(codes[:, step] < 0, chosen, codes[:, step])
        return drawn

    def hidden(self, values: Tensor, observed: Tensor) -> HiddenSteps | None:
        """The rows with holes."""
        return hidden_steps(_codes(values, observed), self.tokens)

    def unconstrain(self, natural: Tensor) -> dict[str, Tensor]:
        """log concentrations, (..., C) and (..., C, C)."""
        initial, transition = self._split(natural)
        return {"log_initial": initial.log(), "log_transition": transition.log()}

    def natural(self, free: Mapping[str, Tensor]) -> Tensor:
        """The way back."""
        return self._joined(free["log_initial"].exp(), free["log_transition"].exp())

    def sample(self, natural: Tensor, classes: AbstractContextManager) -> dict[str, Tensor]:
        """The sites ``initial`` (classes, C) and ``transition`` (classes, C, C)."""
        initial, transition = self._split(natural)
        with classes:
            return {
                "initial": pyro.sample(f"{self.site}.initial", dist.Dirichlet(initial)),
                "transition": pyro.sample(f"{self.site}.transition", dist.Dirichlet(transition).to_event(1)),
            }

    def likelihood(self, theta: Mapping[str, Tensor], member: Tensor) -> dist.Distribution:
        """The chain of each row's class; the steps are its event."""
        return Chain(theta["initial"], theta["transition"], member, len(self.columns))

    def complete(self, theta: Mapping[str, Tensor], member: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """Missing steps given the parameters and the steps around them."""
        logs = (log_of_probability(theta[name]) for name in ("initial", "transition"))
        return complete(*logs, member, _codes(values, observed)).to(values)

    def mode(self, natural: Tensor, *, flat: bool) -> dict[str, Tensor]:
        """Shares of the counts; even ones after a token that was never left."""
        parts = self._split(natural if flat else (natural - 1).clamp(min=0))
        totals = (part.sum(-1, keepdim=True) for part in parts)
        shares = [
            torch.where(total > 0, part / total, 1 / self.tokens) for part, total in zip(parts, totals, strict=True)
        ]
        return dict(zip(("initial", "transition"), shares, strict=True))

    def encode(self, theta: Mapping[str, Tensor]) -> Tensor:
        """log probability, finite for none."""
        return self._joined(*(log_of_probability(theta[name]) for name in ("initial", "transition")))

    def decode(self, encoded: Tensor) -> dict[str, Tensor]:
        """initial and transition."""
        return dict(zip(("initial", "transition"), self._split(encoded.exp()), strict=True))

    def count_parameters(self, classes: int) -> int:
        """One less than there are tokens, for the start and after each token, in each class."""
        return classes * (self.tokens + 1) * (self.tokens - 1)

    def _split(self, natural: Tensor) -> tuple[Tensor, Tensor]:
        return split(natural, self.tokens)

    @staticmethod
    def _joined(initial: Tensor, transition: Tensor) -> Tensor:
        return torch.cat([initial, transition.flatten(-2)], -1)


def _codes(values: Tensor, observed: Tensor) -> Codes:
    """Tokens, −1 where missing."""
    return torch.where(observed, values, UNSEEN).long()


def _alike(codes: Codes) -> Iterator[tuple[Int[Tensor, " steps"], Int[Tensor, " alike"]]]:
    """The different rows with holes, and where each stands."""
    rows = has_hole(codes).nonzero()[:, 0]
    different, which = codes[rows].unique(dim=0, return_inverse=True)
    for number, row in enumerate(different):
        yield row, rows[which == number]
