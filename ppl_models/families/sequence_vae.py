"""The variational autoencoder of sequences: z, then token after token given z and the tokens before.

    z_i       ~ p(z)                                               standard normal, a mixture, or the VampPrior
    x_i | z_i ~ Π_t p(x_it | x_i1, ..., x_i,t−1, decoder(z_i))      categorical, one vocabulary for all steps

    q(z_i | x_i) = Normal(loc(x_i), diag scale(x_i)²)              or of full covariance, or a normalising flow

| symbol | site | shape |
|---|---|---|
| z | ``z`` | (N, L) |
| x | ``sequence`` | (N, steps) |

Encoder and decoder are those of ``recurrent.py``, flat or with a conductor over bars. The ELBO and the bound by K draws
are the VAE's, and so is what training may do against a z that is not asked: a warm-up of the KL, and free nats.

Missing steps: those at a row's end are summed out exactly, log p(x | z) has no term for them and the encoder does not
read them, so that a row of fewer steps has the same log density as one that is padded. A hole before a row's last token
is left out of the likelihood, and the step after it is told that it is not told: what comes out is a probability of the
seen tokens, which adds up to one over them, but not the sum over the hole under the model of whole rows. Cells drawn
for a hole know z and the tokens before it, and those after it through z alone.

A typical row, ``decode``, is greedy: at each step the most probable token given z and the tokens so chosen; it is not
the most probable row, nor a mean. The probabilities of ``decoded_numbers`` are those along it. Draws are ancestral.

Limits: those of the VAE. A decoder that is told all tokens before can do without z, and the KL then ends near 0. On a
GPU the steps' layers are cuDNN's, which has gradients in training alone: draws fitted to rows and annealed chains want
the CPU.
References: Bowman, Vilnis, Vinyals, Dai, Jozefowicz and Bengio (2016), Generating sentences from a continuous space,
https://arxiv.org/abs/1511.06349; Roberts, Engel, Raffel, Hawthorne and Eck (2018), A hierarchical latent vector model
for learning long-term structure in music, https://arxiv.org/abs/1803.05428.

Use it when rows are sequences with a shape over many steps, such as melodies, and what lies between two of them is the
question; not when rows are few beside the networks' weights, log p(x) must be exact, or columns are in no order.

>>> import numpy as np
>>> import ppl_models as ppl
>>> from ppl_models import inference
>>> from ppl_models.datasets import split_by_melody
>>> from ppl_models.families import SequenceVAE
>>> from ppl_models.recurrent import Recurrent
>>> from ppl_models.reports import image_grid
>>> table = ppl.load("melodies")
>>> parts = split_by_melody(table.frame, seed=0)
>>> prepare = ppl.prepare(parts.train, table.schema)
>>> train, validation, test = map(prepare, (parts.train, parts.validation, parts.test))
>>> family = SequenceVAE(table.schema, latent=8, network=Recurrent(hidden=32, dropout=0.3))
>>> method = inference.Gradient(steps=300, learning_rate=6e-3)
>>> found = ppl.fit(family, train, validation, seed=0, method=method)
>>> density = ppl.log_density(family, test, seed=0, draws=100)
>>> print(f"log p(x): {density.elpd / 32:.1f} nats per held-out step, {density.kind} by {density.draws} draws")
log p(x): -1.0 nats per held-out step, lower bound by 100 draws
>>> sides = {"held-out phrases": parts.test, "drawn": ppl.sample(family, 6, seed=0)}
>>> codes = {name: np.stack([side[step].cat.codes for step in side], 1)[:6] for name, side in sides.items()}
>>> tokens = np.eye(len(table.schema.vocabulary))
>>> rolls = {name: tokens[some].transpose(0, 2, 1)[:, ::-1] for name, some in codes.items()}
>>> figure = image_grid(rolls, columns=3)

Picture: phrases of two bars that were held out, and phrases drawn; time runs to the right, pitch upwards, and the two
lowest lines are rest and hold.
"""

from collections.abc import Iterator

import pyro.distributions as dist
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

import ppl_models.families.decoding as decoding
import ppl_models.families.vae as vae
from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import GuideKind, LatentPrior, make_answer, make_prior
from ppl_models.nn import Network
from ppl_models.recurrent import Recurrent, StepReader, StepWriter

SITE = "sequence"


class Steps(nn.Module):
    """Where the steps of a sequence stand, in place of a decoder's last layer: the writer gives their logits itself."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.site, self.columns = SITE, tuple(range(len(schema.columns)))


class Encoder(nn.Module):
    """A row's tokens as indicators, zeros where missing, and the network that reads them.

    Args:
        schema: of a sequence.
        network: the widths.
    """

    def __init__(self, schema: Schema, network: Recurrent) -> None:
        super().__init__()
        self.tokens = len(schema.vocabulary)
        self.network = StepReader(network, schema.length, self.tokens)
        self.entering = schema.length * self.tokens
        self.width = self.network.width

    def inputs(self, batch: Dataset, dtype: torch.dtype) -> Float[Tensor, "rows numbers"]:
        """What the network reads of each row."""
        indicators = nn.functional.one_hot(batch.values.long(), self.tokens).to(dtype)
        return (indicators if batch.complete else indicators * batch.observed[..., None]).flatten(1)

    def forward(
        self, batch: Dataset, dtype: torch.dtype, condition: Tensor | None = None
    ) -> Float[Tensor, "rows width"]:
        """The last hidden layer for each row."""
        return self.network(self.inputs(batch, dtype))


class Model(decoding.Model):
    """A prior of z, and the network that writes tokens given z."""

    def __init__(self, schema: Schema, latent: int, *, network: Recurrent, prior: nn.Module) -> None:
        nn.Module.__init__(self)
        self.prior = prior
        self.decoder = StepWriter(network, latent, schema.length, len(schema.vocabulary))
        self.heads, self.sizes, self.shifts = nn.ModuleList([Steps(schema)]), [0], 0
        self.register_buffer("_like", torch.empty(0), persistent=False)

    def likelihoods(
        self, z: Float[Tensor, "*batch latent"], shift: Tensor | None = None
    ) -> Iterator[tuple[nn.Module, dist.Distribution]]:
        """The steps' distributions along the row whose tokens are the most probable, one after another."""
        _, logits = self.decoder.write(z.reshape(-1, z.shape[-1]), lambda logits: logits.argmax(-1))
        yield self.heads[0], dist.Categorical(logits=logits.unflatten(0, z.shape[:-1]))

    def given(
        self, batch: Dataset, z: Float[Tensor, "*draws rows latent"], shift: Tensor | None = None
    ) -> Iterator[tuple[nn.Module, dist.Distribution]]:
        """The steps' distributions given z and the batch's own tokens before each."""
        seen = None if batch.complete else batch.observed
        yield self.heads[0], dist.Categorical(logits=self.decoder(z, batch.values.long(), seen))

    def sample_cells(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch columns"]:
        """Tokens drawn one after another given z."""
        codes, _ = self.decoder.write(z.reshape(-1, z.shape[-1]), _drawn)
        return codes.double().unflatten(0, z.shape[:-1])

    def fill(
        self, z: Float[Tensor, "points latent"], batch: Dataset, rows: Int[Tensor, " points"]
    ) -> Float[Tensor, "points columns"]:
        """Rows with their missing tokens drawn given z and the tokens before them, seen or drawn."""
        known = torch.where(batch.observed, batch.values.long(), -1)[rows]
        return self.decoder.write(z, _drawn, known)[0].double()


class Guide(vae.Guide):
    """q(z | x) from the tokens read in both directions."""

    def __init__(self, schema: Schema, latent: int, *, network: Recurrent, kind: GuideKind) -> None:
        nn.Module.__init__(self)
        self.encoder = Encoder(schema, network)
        self.answer = make_answer(kind, self.encoder.width, latent)
        self.shifts, self.latent = 0, latent
        self.register_buffer("_like", torch.empty(0), persistent=False)


class SequenceVAE(vae.VAE):
    """A variational autoencoder over sequences of tokens.

    Args:
        schema: of a sequence; a label is not used.
        latent: dimensions of z.
        network: widths of encoder and decoder; with a ``bar`` the decoder is hierarchical.
        guide: "diagonal" or "full" covariance, "autoregressive-flow" or "spline-flow" (these need zuko).
        prior: of z.
        dtype: of the networks' parameters.

    Raises:
        InputError: columns that are no sequence, or what ``VAE`` refuses.

    >>> from ppl_models.datasets import sequence_table
    >>> SequenceVAE(sequence_table([["C", "D"], ["C", "E"]]).schema, latent=2).latent
    2
    """

    model: Model
    guide: Guide

    def __init__(
        self,
        schema: Schema,
        *,
        latent: int,
        network: Recurrent = Recurrent(),  # noqa: B008  # frozen
        guide: GuideKind = "diagonal",
        prior: LatentPrior = LatentPrior(),  # noqa: B008  # frozen
        dtype: torch.dtype = torch.float32,
    ) -> None:
        schema.require_sequence(type(self).__name__)
        self.recurrent = network
        super().__init__(schema, latent=latent, guide=guide, prior=prior, dtype=dtype)

    def build(self, network: Network) -> None:
        """The guide first, since a VampPrior asks it; of the recurrent networks, whatever others there are."""
        self.guide = Guide(self.schema, self.latent, network=self.recurrent, kind=self.guide_kind)
        prior = make_prior(self.prior_kind, self.latent, self.guide.encoder.entering, self.guide.at)
        self.model = Model(self.schema, self.latent, network=self.recurrent, prior=prior)


def _drawn(logits: Float[Tensor, "rows tokens"]) -> Int[Tensor, " rows"]:
    """A token of each row by its probability."""
    return dist.Categorical(logits=logits).sample()
