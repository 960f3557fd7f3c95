"""Floor 1: recurrent networks over sequences: one reads their tokens in both directions, one writes them one by one.

Given z a sequence is written token by token, each by its own probabilities given z and the tokens before it,

    log p(x | z) = Σ_t log p(x_t | x_1, ..., x_{t−1}, z)

which is exact, and one call of the recurrent layer for all steps where the tokens are known (Williams and Zipser 1989,
https://doi.org/10.1162/neco.1989.1.2.270). With bars, a conductor goes from bar to bar, and its state begins the bar's
tokens and stays beside each of them: what z says need not pass through all tokens before (Roberts, Engel, Raffel,
Hawthorne and Eck 2018, A hierarchical latent vector model, https://arxiv.org/abs/1803.05428). Other than there the
first token of a bar is told the last one of the bar before.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ppl_models.errors import InputError, at_least_one
from ppl_models.linear import Linear

Codes = Int[Tensor, "rows steps"]


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """What the recurrent encoder and decoder of sequences look like.

    Attributes:
        hidden: width of each gated recurrent layer: of the encoder in each direction, the decoder and the conductor.
        embedding: width of a token before the decoder.
        bar: steps of a bar, over which a conductor goes; None for a flat decoder, from z to the tokens at once.
        forget: in training, the share of the tokens before it that a step is not told, drawn afresh each time, so that
            it has to ask z (Bowman, Vilnis, Vinyals, Dai, Jozefowicz and Bengio 2016, https://arxiv.org/abs/1511.06349).
        dropout: in training, the share of the decoder's hidden units that are set to 0 before a token's probabilities,
            and of the encoder's before q(z | x).
    """

    hidden: int = 128
    embedding: int = 32
    bar: int | None = None
    forget: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        at_least_one("Recurrent: ", hidden=self.hidden, embedding=self.embedding, bar=self.bar)
        for name in ("forget", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"Recurrent: expected {name} from 0 to below 1, got {getattr(self, name)}")


class StepReader(nn.Module):
    """The last states of two recurrent layers, one over the steps, one over them from the last to the first.

    Steps after the last token that was seen are not read, so that they change nothing; a hole is read as zeros.

    Args:
        network: the widths.
        steps: of a sequence.
        tokens: of the vocabulary.
    """

    def __init__(self, network: Recurrent, steps: int, tokens: int) -> None:
        super().__init__()
        self.steps, self.tokens, self.width = steps, tokens, 2 * network.hidden
        self.forwards = nn.GRU(tokens, network.hidden, batch_first=True)
        self.backwards = nn.GRU(tokens, network.hidden, batch_first=True)
        self.dropout = nn.Dropout(network.dropout)

    def forward(self, x: Float[Tensor, "*batch numbers"]) -> Float[Tensor, "*batch width"]:
        """(..., steps · tokens) indicators, zeros for a step without a token, to (..., width)."""
        steps = x.reshape(-1, self.steps, self.tokens)
        length, turned = _turned(steps.detach().ne(0).any(-1))
        back = steps.gather(1, turned[..., None].expand_as(steps))
        ends = [_state_at(layer(way)[0], length) for layer, way in ((self.forwards, steps), (self.backwards, back))]
        return self.dropout(torch.cat(ends, -1)).reshape(*x.shape[:-1], self.width)


class StepWriter(nn.Module):
    """The tokens' logits given z and the tokens before.

    Args:
        network: the widths, and the bar.
        latent: dimensions of z.
        steps: of a sequence.
        tokens: of the vocabulary.

    Attributes:
        width: numbers of a row that its widest layer holds.
    """

    def __init__(self, network: Recurrent, latent: int, steps: int, tokens: int) -> None:
        super().__init__()
        self.steps, self.tokens, self.forget = steps, tokens, network.forget
        self.bar = network.bar or steps
        self.bars = -(-steps // self.bar)
        self.width = steps * max(network.hidden, tokens)
        self.conductor = None if network.bar is None else nn.GRU(latent, network.hidden, batch_first=True)
        self.conducted = None if network.bar is None else Linear(latent, network.hidden)
        context = latent if network.bar is None else network.hidden
        self.begin = Linear(context, network.hidden)
        self.beside = Linear(context, network.embedding)
        self.embedding = nn.Embedding(tokens + 2, network.embedding)  # with one for the start, one for not told
        self.layer = nn.GRU(network.embedding, network.hidden, batch_first=True)
        self.dropout = nn.Dropout(network.dropout)
        self.output = Linear(network.hidden, tokens)

    def forward(
        self, z: Float[Tensor, "*draws rows latent"], codes: Codes, seen: Bool[Tensor, "rows steps"] | None
    ) -> Float[Tensor, "*draws rows steps tokens"]:
        """The logits of every step given the tokens before it, of each of some draws of z.

        Args:
            z: what is decoded.
            codes: the tokens.
            seen: which of them were; None for all. A step is told nothing of one that was not.
        """
        begin, beside = self._bars(z.flatten(0, -2))
        told = self.embedding(self._before(codes, seen)).unflatten(1, (self.bars, self.bar))
        inputs = told.expand(*z.shape[:-1], -1, -1, -1).flatten(0, -4) + beside[:, :, None]
        states, _ = self.layer(inputs.flatten(0, 1), begin.flatten(0, 1)[None])
        logits = self.output(self.dropout(states)).unflatten(0, (-1, self.bars)).flatten(1, 2)[:, : self.steps]
        return logits.unflatten(0, z.shape[:-1])

    def write(
        self,
        z: Float[Tensor, "rows latent"],
        choose: Callable[[Float[Tensor, "rows tokens"]], Int[Tensor, " rows"]],
        known: Codes | None = None,
    ) -> tuple[Codes, Float[Tensor, "rows steps tokens"]]:
        """Tokens written one after another, all rows at once, and the logits that each was chosen by.

        Args:
            z: what is decoded.
            choose: a token by the logits.
            known: tokens that are not chosen but taken; −1 elsewhere.
        """
        begin, beside = self._bars(z)
        before, state, codes, logits = torch.full_like(z[:, 0], self.tokens, dtype=torch.long), begin[:, 0], [], []
        for step in range(self.steps):
            bar, first = divmod(step, self.bar)
            state = begin[:, bar] if first == 0 else state
            states, last = self.layer((self.embedding(before) + beside[:, bar])[:, None], state[None].contiguous())
            state = last[0]
            logits.append(self.output(states[:, 0]))
            before = choose(logits[-1])
            if known is not None:
                before = torch.where(known[:, step] < 0, before, known[:, step])
            codes.append(before)
        return torch.stack(codes, 1), torch.stack(logits, 1)

    def _bars(self, z: Float[Tensor, "rows latent"]) -> tuple[Tensor, Tensor]:
        """What each bar begins with, and what stands beside each of its tokens: (rows, bars, ...)."""
        context = z[:, None]
        if self.conductor is not None:
            start = self.conducted(z).tanh()[None]
            context, _ = self.conductor(z[:, None].expand(-1, self.bars, -1), start)
        return self.begin(context).tanh(), self.beside(context)

    def _before(self, codes: Codes, seen: Bool[Tensor, "rows steps"] | None) -> Int[Tensor, "rows padded"]:
        """What each step is told of the one before it; as many steps as all bars have."""
        told = codes if seen is None else torch.where(seen, codes, self.tokens + 1)
        if self.training and self.forget > 0:
            kept = torch.rand(told.shape, device=told.device) >= self.forget
            told = torch.where(kept, told, self.tokens + 1)
        start, rest = told.new_full((len(told), 1), self.tokens), self.bars * self.bar - self.steps
        return nn.functional.pad(torch.cat([start, told[:, :-1]], 1), (0, rest), value=self.tokens + 1)


def _turned(seen: Bool[Tensor, "rows steps"]) -> tuple[Int[Tensor, " rows"], Int[Tensor, "rows steps"]]:
    """How many steps each row has up to its last token, and its steps from there to the first; then the first again."""
    numbers = torch.arange(seen.shape[1], device=seen.device)
    length = ((numbers + 1) * seen).amax(1)
    return length, (length[:, None] - 1 - numbers).clamp(min=0)


def _state_at(states: Float[Tensor, "rows steps hidden"], length: Int[Tensor, " rows"]) -> Float[Tensor, "rows hidden"]:
    """The state after so many steps; zeros after none."""
    place = (length - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[-1])
    return states.gather(1, place)[:, 0] * (length > 0)[:, None]
