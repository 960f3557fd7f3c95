"""Holes in sequences under a Markov chain, summed out exactly by a forward pass and drawn by a backward one.

With coefficients e = (initial, transitions) of a row's statistics, the holes m before its last token have

    log Σ_m exp(T(x)·e) = T(x without the transitions into and out of holes)·e + evidence

and E[T(x)] is the slope of that sum in e. With e = log θ it is log p(x | θ), and the step that puts E[T(x)] for T(x) is
EM's: Baum, Petrie, Soules and Weiss (1970), https://doi.org/10.1214/aoms/1177697196.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ppl_models.distributions.hidden import Given, Hidden

UNSEEN = -1  # in the place of a token's code
Codes = Int[Tensor, "rows steps"]


@dataclass(frozen=True)
class HiddenSteps(Hidden):
    """The rows with holes, −1 in ``values`` for a step without a token.

    Attributes:
        tokens: of the vocabulary.
    """

    tokens: int

    def conditional(self, expected: Float[Tensor, "*batch classes natural"]) -> "Fillings":
        """The sum over the holes, given the tokens that were seen.

        Args:
            expected: what multiplies the statistics.
        """
        initial, transition = split(expected, self.tokens)
        codes = self.values.long()
        whole = list(_forward(initial[..., None, :], transition[..., None, :, :], codes))[-1].logsumexp(-1)
        return Fillings(whole - pairs_sum(initial, transition, codes), expected)

    def completion(
        self, given: "Fillings", weights: Float[Tensor, "*batch classes incomplete"]
    ) -> Float[Tensor, "*batch classes natural"]:
        """What E[T(x)] adds to the sums of T(x) without the holes: the slope of the evidence."""
        with torch.enable_grad():
            free = given.expected.detach().requires_grad_()
            weighed = (self.conditional(free).log_integral * weights).sum()
        return torch.autograd.grad(weighed, free)[0]


@dataclass(frozen=True)
class Fillings(Given):
    """The holes given the tokens that were seen.

    Attributes:
        expected: what multiplies the statistics.
    """

    expected: Float[Tensor, "*batch classes natural"]


def hidden_steps(codes: Codes, tokens: int) -> HiddenSteps | None:
    """The rows with holes; None if there is none.

    Args:
        codes: tokens, −1 where missing.
        tokens: of the vocabulary.
    """
    rows = has_hole(codes).nonzero()[:, 0]
    if not len(rows):
        return None
    patterns, pattern = torch.unique(codes[rows] < 0, dim=0, return_inverse=True)
    return HiddenSteps(rows, codes[rows].double(), patterns, pattern, tokens)


def has_hole(codes: Codes) -> Bool[Tensor, " rows"]:
    """Which rows have a missing step before their last token."""
    seen = codes >= 0
    return (before_last(seen) & ~seen).any(-1)


def before_last(seen: Bool[Tensor, "rows steps"]) -> Bool[Tensor, "rows steps"]:
    """Which steps are a row's last token or stand before it."""
    return seen.flip(-1).cumsum(-1).flip(-1) > 0


def split(
    natural: Float[Tensor, "*batch natural"], tokens: int
) -> tuple[Float[Tensor, "*batch tokens"], Float[Tensor, "*batch tokens tokens"]]:
    """The numbers of the first token, and those of each transition: from a token, to a token."""
    initial, transition = natural.split([tokens, tokens * tokens], -1)
    return initial, transition.unflatten(-1, (tokens, tokens))


def pairs_sum(
    initial: Float[Tensor, "*batch tokens"], transition: Float[Tensor, "*batch tokens tokens"], codes: Codes
) -> Float[Tensor, "*batch rows"]:
    """T(x)·e of the tokens that were seen: the first one's number, and those of transitions between two seen ones."""
    first, before, after = codes[:, 0].clamp(min=0), codes[:, :-1].clamp(min=0), codes[:, 1:].clamp(min=0)
    both = (codes[:, :-1] >= 0) & (codes[:, 1:] >= 0)
    sums = torch.where(both, transition[..., before, after], 0.0).sum(-1)
    return sums + torch.where(codes[:, 0] >= 0, initial[..., first], 0.0)


def _forward(
    initial: Float[Tensor, "*each tokens"], transition: Float[Tensor, "*each tokens tokens"], codes: Codes
) -> Iterator[Float[Tensor, "*batch rows tokens"]]:
    """After each step, the log of the sum over all tokens before, by the token there; as it was after the last one."""
    lasting, tokens = before_last(codes >= 0), initial.shape[-1]
    state = _seen(initial.expand(*initial.shape[:-2], len(codes), -1), codes[:, 0], tokens)
    yield state
    for step in range(1, codes.shape[1]):
        moved = _seen((state[..., None] + transition).logsumexp(-2), codes[:, step], tokens)
        state = torch.where(lasting[:, step, None], moved, state)
        yield state


def _seen(state: Tensor, code: Int[Tensor, " rows"], tokens: int) -> Tensor:
    """−∞ for every token but the one that was seen, if one was."""
    others = nn.functional.one_hot(code.clamp(min=0), tokens) == 0
    return state.masked_fill(others & (code >= 0)[:, None], -torch.inf)


def complete(
    initial: Float[Tensor, "classes tokens"],
    transition: Float[Tensor, "classes tokens tokens"],
    member: Int[Tensor, " rows"],
    codes: Codes,
) -> Codes:
    """Rows with their missing steps drawn given the others: holes from the last token back, then what follows it.

    Args:
        initial: log probability of a first token.
        transition: log probability of a token after a token.
        member: the class of each row.
        codes: tokens, −1 where missing.
    """
    initial, transition = initial[member], transition[member]
    states, steps = list(_forward(initial, transition, codes)), codes.shape[1]
    everyone, lasting = torch.arange(len(codes), device=codes.device), before_last(codes >= 0)
    drawn, after = codes.clone(), None
    for step in reversed(range(steps)):
        logits = states[step]
        if after is not None:
            into = transition[everyone, :, after] * lasting[:, min(step + 1, steps - 1), None]
            logits = logits + into
        after = torch.distributions.Categorical(logits=logits).sample()
        drawn[:, step] = torch.where(lasting[:, step], after, UNSEEN)
    for step in range(steps):
        logits = initial if step == 0 else transition[everyone, drawn[:, step - 1]]
        drawn[:, step] = torch.where(
            drawn[:, step] < 0, torch.distributions.Categorical(logits=logits).sample(), drawn[:, step]
        )
    return drawn
