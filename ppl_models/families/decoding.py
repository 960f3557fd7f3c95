"""What autoencoders and variational autoencoders share: a model that decodes z, its start and its draws.

    z_i       ~ prior
    x_i | z_i ~ Π_d p(x_id | decoder(z_i)_d)      a likelihood by kind, see ``DecoderLikelihoods``

| symbol | site | shape |
|---|---|---|
| z | ``z`` | (N, L) |
| u | ``shift``, where levels are dequantised | (N, D) |
| x | ``real``, ``positive``, ``count``, ``binary``, ``categorical_C`` | (N, D) |

References: Hinton and Salakhutdinov (2006), Reducing the dimensionality of data with neural networks,
https://doi.org/10.1126/science.1127647.
"""

from collections.abc import Iterator

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float, Int
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import DecoderLikelihoods, GreyLevels, assemble, seeded
from ppl_models.errors import InputError
from ppl_models.families.encoder import Encoder
from ppl_models.families.family import Draws, Latent
from ppl_models.families.plates import weighted_rows
from ppl_models.nn import Dense, Network


class Model(nn.Module):
    """A prior of z, a decoder, and a likelihood for each kind of column.

    Args:
        schema: what the columns are.
        latent: dimensions of what the decoder is given: z, and any condition behind it.
        network: the decoder's architecture.
        likelihoods: of each kind of column.
        prior: the module whose call gives the distribution of a row's z.
    """

    def __init__(
        self, schema: Schema, latent: int, *, network: Network, likelihoods: DecoderLikelihoods, prior: nn.Module
    ) -> None:
        super().__init__()
        self.prior = prior
        self.decoder = network.decoder(latent, schema.image_shape)
        self.heads = likelihoods.heads(schema, self.decoder.output)
        self.sizes = [getattr(head, "shifts", 0) for head in self.heads]
        self.shifts = sum(self.sizes)
        self.register_buffer("_like", torch.empty(0), persistent=False)  # tells precision and device at no cost

    def likelihoods(
        self, z: Float[Tensor, "*batch latent"], shift: Float[Tensor, "*shifted shifts"] | None = None
    ) -> Iterator[tuple[nn.Module, dist.Distribution]]:
        """Each kind's head with the distribution of its columns, (..., D).

        Args:
            z: what is decoded, with any condition behind it.
            shift: from 0 to 1, what is added to the levels of dequantised columns; ½ if None.
        """
        hidden = self.decoder(z)
        if not self.shifts:
            yield from ((head, head(hidden)) for head in self.heads)
            return
        shift = hidden.new_full((self.shifts,), 0.5) if shift is None else shift
        for head, size, part in zip(self.heads, self.sizes, shift.split(self.sizes, -1), strict=True):
            yield head, head(hidden, part) if size else head(hidden)

    def given(
        self, batch: Dataset, z: Float[Tensor, "*draws rows latent"], shift: Tensor | None = None
    ) -> Iterator[tuple[nn.Module, dist.Distribution]]:
        """The same for the rows of a batch; cells that hang on other cells of their row, as tokens do, look at them."""
        return self.likelihoods(z, shift)

    def sample_cells(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch columns"]:
        """A draw of the columns given z, prepared units."""
        return assemble({head.columns: cells.sample().double() for head, cells in self.likelihoods(z)})

    def fill(
        self, z: Float[Tensor, "points latent"], batch: Dataset, rows: Int[Tensor, " points"]
    ) -> Float[Tensor, "points columns"]:
        """A draw of the columns given z for these rows of a batch; cells on their own do not ask the observed ones."""
        return self.sample_cells(z)

    def log_likelihood(
        self, batch: Dataset, z: Float[Tensor, "*draws rows latent"], shift: Tensor | None = None
    ) -> Float[Tensor, "*draws rows"]:
        """log p(x | z) of the observed cells, nats in prepared units."""
        seen = None if batch.complete else batch.observed
        first, *others = (
            _kept(cells.log_prob(cells_of(batch, head, z)), head, seen).sum(-1)
            for head, cells in self.given(batch, z, shift)
        )
        return sum(others, first)

    def shift(self, rows: int) -> Tensor | None:
        """Sample the site of the shifts of dequantised columns; the guide says the same of them."""
        return sample_shift(self.shifts, self._like, rows)

    def observe(self, batch: Dataset, z: Tensor, shift: Tensor | None = None) -> None:
        """Sample the columns given z, with the batch's cells observed; inside the plate of rows."""
        complete = batch.complete
        for head, cells in self.given(batch, z, shift):
            seen = cells if complete else cells.mask(batch.observed[:, list(head.columns)])
            pyro.sample(head.site, seen.to_event(1), obs=cells_of(batch, head, z))

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the story with the batch's cells observed."""
        with weighted_rows(batch, rows):
            z = pyro.sample("z", self.prior().expand([len(batch)]))
            self.observe(batch, z, self.shift(len(batch)))


class Decoding(Latent):
    """A family whose rows are decoded from a point z in R^L.

    Args:
        schema: what the columns are.
        latent: dimensions of z.
        network: architecture of the encoder, and, mirrored, of the decoder.
        likelihoods: of each kind of column given z.
        dtype: of the networks' parameters.
    """

    elbo = TraceMeanField_ELBO
    model: Model

    def __init__(
        self,
        schema: Schema,
        *,
        latent: int,
        network: Network = Dense(),  # noqa: B008  # frozen
        likelihoods: DecoderLikelihoods = DecoderLikelihoods(),  # noqa: B008  # frozen
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(schema)
        if latent < 1:
            raise InputError(f"{type(self).__name__}: expected one or more latent dimensions, got latent={latent}")
        self.latent, self.likelihoods = latent, likelihoods
        with seeded(0):
            self.build(network)
        self.eval()  # only a training step hides cells or standardises over its batch
        self.model.to(dtype)
        self.guide.to(dtype)

    def build(self, network: Network) -> None:
        """Make ``self.model`` and ``self.guide``."""
        raise NotImplementedError

    @property
    def shifts(self) -> int:
        """Uniform shifts of a row: one for each dequantised column."""
        return len(self.schema.of_kind("categorical")) if self.likelihoods.levels == "dequantised-normal" else 0

    @property
    def cells(self) -> int:
        """The widest layer a row's decoding holds at once."""
        return max(self.model.decoder.width, len(self.schema.columns), self.latent)

    @property
    def spread_out(self) -> tuple[int, ...]:
        """The continuous Bernoulli's density has a bound anyway."""
        return self.schema.of_kind("real", "positive") if self.likelihoods.real == "normal" else ()

    def check(self, train: Dataset) -> None:
        """Refuse rows outside the likelihoods' support too."""
        super().check(train)
        self.likelihoods.check(train)

    def adopt(self, train: Dataset) -> None:
        """Take over the preparation, and tell it to the encoders and the heads that need it."""
        super().adopt(train)
        for module in self.guide.modules():
            if isinstance(module, Encoder):
                module.adopt(train)
        for head in self.model.heads:
            if hasattr(head, "adopt"):
                head.adopt(train.loc, train.scale)

    def initialise(self, train: Dataset, *, seed: int) -> None:
        """Draw all weights afresh."""
        with seeded(seed):
            for module in self.modules():
                if module is not self and hasattr(module, "reset_parameters"):
                    module.reset_parameters()

    @torch.no_grad()
    def encode(self, batch: Dataset) -> Float[Tensor, "rows latent"]:
        """The guide's centre of z for each row."""
        return self.guide.encode(batch)

    def told(self, batch: Dataset) -> Float[Tensor, "rows told"]:
        """What the decoder is told at each row's centre: z, and any condition behind it."""
        return self.encode(batch)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch columns"]:
        """The means of the columns given z, prepared units; for a categorical column its most probable code."""
        return assemble({head.columns: typical(cells) for head, cells in self.model.likelihoods(z.to(self.dtype))})

    def draw(self, rows: int) -> Draws:
        """Rows from the prior through the decoder."""
        z = self.model.prior().sample((rows,))
        return Draws(self.model.sample_cells(z), latents=z)

    @property
    def dtype(self) -> torch.dtype:
        """Of the networks' parameters."""
        return self.model._like.dtype


def cells_of(batch: Dataset, head: nn.Module, z: Tensor) -> Tensor:
    """The cells of a head's columns, in the networks' precision."""
    columns = head.columns
    values = batch.values if len(columns) == batch.values.shape[-1] else batch.values[:, list(columns)]
    return values.to(z.dtype)


def by_rows(noise: Float[Tensor, "draws *rows noise"], dtype: torch.dtype) -> Float[Tensor, "draws _ noise"]:
    """Noise of each row, or the same for all of them along a dimension of one."""
    return (noise if noise.ndim == 3 else noise[:, None]).to(dtype)


def sample_shift(shifts: int, like: Tensor, rows: int) -> Tensor | None:
    """Sample the site ``shift`` (rows, shifts), uniform from 0 to 1, if there is any."""
    if not shifts:
        return None
    zeros = like.new_zeros(rows, shifts)
    return pyro.sample("shift", dist.Uniform(zeros, zeros + 1).to_event(1))


def typical(cells: dist.Distribution) -> Tensor:
    """The mean of numbers, the mode of categories, the level nearest to the mean of grey levels."""
    if isinstance(cells, dist.Categorical):
        return cells.probs.argmax(-1).double()
    return cells.mean.round().double() if isinstance(cells, GreyLevels) else cells.mean.double()


def _kept(log_probs: Tensor, head: nn.Module, observed: Tensor | None) -> Tensor:
    """The log probabilities of observed cells, 0 for the others."""
    return log_probs if observed is None else log_probs * observed[:, list(head.columns)]
