"""The autoencoder: the variational autoencoder's model, with a point mass for a guide.

    z_i       ~ Normal(0, I_L)
    x_i | z_i ~ Π_d p(x_id | decoder(z_i)_d)      normal, log-normal, Poisson, Bernoulli or categorical by kind

| symbol | site | shape |
|---|---|---|
| z | ``z`` | (N, L) |
| x | ``real``, ``count``, ``binary``, ``categorical_C`` | (N, D) |

The guide puts all its mass on z = encoder(x), so training maximises log p(x, z) at that point. Limit: a point mass
has no entropy, so this objective is no bound on log p(x) and the autoencoder is not a density; ``log_density``
refuses it, and its reconstruction log-likelihood log p(x | z) goes by that name. References: Hinton and Salakhutdinov
(2006), Reducing the dimensionality of data with neural networks, https://doi.org/10.1126/science.1127647.
"""

from collections.abc import Iterator, Sequence

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import Scale, assemble, heads, seeded
from ppl_models.errors import InputError
from ppl_models.families.family import Draws, Family, weighted_rows
from ppl_models.nn import MLP


class Model(nn.Module):
    """A standard normal z, a decoder, and a likelihood for each kind of column."""

    def __init__(self, schema: Schema, latent: int, hidden: Sequence[int], scale: Scale) -> None:
        super().__init__()
        self.latent = latent
        self.decoder = MLP(latent, hidden[::-1])
        self.heads = heads(schema, self.decoder.width, scale)

    def likelihoods(self, z: Float[Tensor, "*batch latent"]) -> Iterator[tuple[nn.Module, dist.Distribution]]:
        """Each kind's head with the distribution of its columns, (..., D)."""
        hidden = self.decoder(z)
        return ((head, head(hidden)) for head in self.heads)

    def prior(self, like: Tensor) -> dist.Distribution:
        """The distribution of a row's z."""
        return dist.Normal(like.new_zeros(self.latent), like.new_ones(self.latent)).to_event(1)

    def log_likelihood(self, batch: Dataset, z: Float[Tensor, "*draws rows latent"]) -> Float[Tensor, "*draws rows"]:
        """log p(x | z) of the observed cells, nats in prepared units."""
        return sum(
            (cells.log_prob(_cells(batch, head, z)) * batch.observed[:, list(head.columns)]).sum(-1)
            for head, cells in self.likelihoods(z)
        )

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the story with the batch's cells observed."""
        like = next(self.decoder.parameters(), next(self.heads.parameters()))
        with weighted_rows(batch, rows):
            z = pyro.sample("z", self.prior(like).expand([len(batch)]))
            for head, cells in self.likelihoods(z):
                seen = batch.observed[:, list(head.columns)]
                pyro.sample(head.site, cells.mask(seen).to_event(1), obs=_cells(batch, head, z))


class Encoder(nn.Module):
    """A batch's cells as numbers, and a network over them.

    Real and positive columns enter standardised, counts as log(1 + x / mean), binary ones as −1 and 1, categories as
    indicators; a missing cell enters as zeros.
    """

    def __init__(self, schema: Schema, hidden: Sequence[int]) -> None:
        super().__init__()
        self.schema = schema
        inputs = sum(column.cardinality if column.kind == "categorical" else 1 for column in schema.columns)
        self.network = MLP(inputs, hidden)
        self.width = self.network.width
        self.groups = [(kind, list(schema.of_kind(kind))) for kind in ("real", "positive", "count", "binary")]
        self.categorical = [(index, schema.columns[index].cardinality) for index in schema.of_kind("categorical")]

    def forward(self, batch: Dataset, dtype: torch.dtype) -> Float[Tensor, "rows width"]:
        """The last hidden layer for each row."""
        parts = [self._numbers(kind, columns, batch) for kind, columns in self.groups if columns]
        parts += [
            nn.functional.one_hot(batch.values[:, index].long(), size) * batch.observed[:, [index]]
            for index, size in self.categorical
        ]
        return self.network(torch.cat([part.to(dtype) for part in parts], -1))

    def _numbers(self, kind: str, columns: list[int], batch: Dataset) -> Tensor:
        values, observed = batch.values[:, columns], batch.observed[:, columns]
        if kind == "count":
            return (values / batch.scale[columns]).log1p() * observed
        return (2 * values - 1) * observed if kind == "binary" else values


class Guide(nn.Module):
    """All mass on z = encoder(x)."""

    def __init__(self, schema: Schema, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.encoder = Encoder(schema, hidden)
        self.loc = nn.Linear(self.encoder.width, latent)

    def encode(self, batch: Dataset) -> Float[Tensor, "rows latent"]:
        """The guide's z of each row."""
        return self.loc(self.encoder(batch, self.loc.weight.dtype))

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample z from the point mass."""
        with weighted_rows(batch, rows):
            pyro.sample("z", dist.Delta(self.encode(batch), event_dim=1))


class Decoding(Family):
    """What the autoencoder and the variational autoencoder share: the model, its start and its draws.

    Args:
        schema: what the columns are; a label is not used.
        latent: dimensions of z.
        hidden: widths of the encoder's hidden layers; the decoder's are the same in reverse. Empty for linear ones.
        scale: whether the scale of real columns comes from the decoder, "row", or is learned once a "column".
        dtype: of the networks' parameters.
    """

    elbo = TraceMeanField_ELBO

    def __init__(
        self,
        schema: Schema,
        *,
        latent: int,
        hidden: Sequence[int] = (64, 64),
        scale: Scale = "row",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(schema)
        if latent < 1 or any(width < 1 for width in hidden):
            raise InputError(
                f"{type(self).__name__}: expected one or more latent dimensions and hidden units, "
                f"got latent={latent}, hidden={tuple(hidden)}"
            )
        if scale not in ("row", "column"):
            raise InputError(f"{type(self).__name__}: scale must be 'row' or 'column', not {scale!r}")
        self.latent = latent
        with seeded(0):
            self.model = Model(schema, latent, hidden, scale).to(dtype)
            self.guide = self.make_guide(schema, hidden).to(dtype)

    def make_guide(self, schema: Schema, hidden: Sequence[int]) -> nn.Module:
        """The guide of this family."""
        return Guide(schema, self.latent, hidden)

    def adopt(self, train: Dataset) -> None:
        """Take over the preparation; counts take their unit from it."""
        super().adopt(train)
        for head in self.model.heads:
            if hasattr(head, "set_unit"):
                head.set_unit(train.scale)

    def initialise(self, train: Dataset, *, seed: int) -> None:
        """Draw all weights afresh."""
        with seeded(seed):
            for module in self.modules():
                if module is not self and hasattr(module, "reset_parameters"):
                    module.reset_parameters()

    @torch.no_grad()
    def encode(self, batch: Dataset) -> Float[Tensor, "rows latent"]:
        """The guide's mean of z for each row."""
        return self.guide.encode(batch)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch columns"]:
        """The means of the columns given z, prepared units; for a categorical column its most probable code."""
        return assemble({head.columns: _typical(cells) for head, cells in self.model.likelihoods(z)})

    def draw(self, rows: int) -> Draws:
        """Rows from the prior through the decoder."""
        z = self.model.prior(self.guide.loc.weight).sample((rows,))
        cells = {head.columns: cells.sample().double() for head, cells in self.model.likelihoods(z)}
        return Draws(assemble(cells))


class Autoencoder(Decoding):
    """An autoencoder over mixed columns; it takes the arguments of ``Decoding``."""

    @torch.no_grad()
    def reconstruction_log_likelihood(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """log p(x | z = encoder(x)) of each row, nats in prepared units: not a density of x."""
        return self.model.log_likelihood(batch, self.encode(batch)).double()


def _cells(batch: Dataset, head: nn.Module, z: Tensor) -> Tensor:
    """The cells of a head's columns, in the networks' precision."""
    return batch.values[:, list(head.columns)].to(z.dtype)


def _typical(cells: dist.Distribution) -> Tensor:
    """The mean of numbers, the mode of categories."""
    return cells.probs.argmax(-1).double() if isinstance(cells, dist.Categorical) else cells.mean.double()
