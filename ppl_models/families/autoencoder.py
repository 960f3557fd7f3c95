"""The autoencoder: the variational autoencoder's model, with a point mass for a guide.

    z_i       ~ Normal(0, I_L)
    x_i | z_i ~ Π_d p(x_id | decoder(z_i)_d)

The sites and shapes are those of ``decoding.py``. The guide puts all its mass on z = encoder(x), so training maximises
log p(x, z) at that point. Limit: a point mass has no entropy, so this objective is no bound on log p(x) and the
autoencoder is not a density; ``log_density`` refuses it, and its reconstruction log-likelihood log p(x | z) goes by
that name. References: Hinton and Salakhutdinov (2006), Reducing the dimensionality of data with neural networks,
https://doi.org/10.1126/science.1127647.

Use it when a short code of each row, or its reconstruction, is all that is wanted; not when a density, a comparison by
log p(x) or draws like the rows are: a VAE of the same networks gives all three.

>>> import ppl_models as ppl
>>> from ppl_models import inference
>>> from ppl_models.datasets import prepare_split
>>> from ppl_models.nn import Dense
>>> from ppl_models.reports import image_grid
>>> table = ppl.load("digits_binary")
>>> parts = prepare_split(table.frame, table.schema, seed=0)
>>> family = ppl.Autoencoder(table.schema, latent=8, network=Dense((64,)))
>>> method = inference.Gradient(steps=400, learning_rate=1e-2)
>>> found = ppl.fit(family, parts.train, parts.validation, seed=0, method=method)
>>> rebuilt = family.reconstruction_log_likelihood(parts.test)
>>> print(f"log p(x | z): {rebuilt.mean():.0f} nats per held-out image at its own code, no density of x")
log p(x | z): -9 nats per held-out image at its own code, no density of x
>>> shown = parts.test[:24]
>>> decoded = inference.decode_images(family, inference.encode(family, shown))
>>> figure = image_grid({"held out": inference.images_of(shown), "rebuilt": decoded}, columns=12)

Picture: held-out digits, and what the decoder makes of their eight numbers.
"""

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import NormalPrior
from ppl_models.families.decoding import Decoding, Model, by_rows, sample_shift
from ppl_models.families.encoder import Encoder
from ppl_models.families.family import Weighed
from ppl_models.families.plates import weighted_rows
from ppl_models.linear import Linear
from ppl_models.nn import Network


class Guide(nn.Module):
    """All mass on z = encoder(x)."""

    def __init__(self, schema: Schema, latent: int, *, network: Network, shifts: int) -> None:
        super().__init__()
        self.encoder = Encoder(schema, network)
        self.loc = Linear(self.encoder.width, latent)
        self.shifts = shifts

    def encode(self, batch: Dataset) -> Float[Tensor, "rows latent"]:
        """The guide's z of each row."""
        return self.loc(self.encoder(batch, self.loc.weight.dtype))

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample z from the point mass."""
        with weighted_rows(batch, rows):
            pyro.sample("z", dist.Delta(self.encode(batch), event_dim=1))
            sample_shift(self.shifts, self.loc.weight, len(batch))


class Autoencoder(Decoding):
    """An autoencoder over mixed columns or pixels; it takes the arguments of ``Decoding``."""

    guide: Guide

    def build(self, network: Network) -> None:
        """A standard normal prior and a point mass."""
        prior = NormalPrior(self.latent)
        self.model = Model(self.schema, self.latent, network=network, likelihoods=self.likelihoods, prior=prior)
        self.guide = Guide(self.schema, self.latent, network=network, shifts=self.model.shifts)

    @property
    def noise(self) -> int:
        """Uniform shifts alone are left to chance."""
        return self.model.shifts

    def weigh(self, batch: Dataset, noise: Float[Tensor, "draws *rows noise"], *, frozen: bool = False) -> Weighed:
        """The point's log p(x | z) and log p(z); its KL is written as −log p(z), what the prior charges for it."""
        z = self.guide.encode(batch)
        shift = torch.special.ndtr(by_rows(noise, z.dtype)) if self.model.shifts else None
        log_prior = self.model.prior().log_prob(z)
        log_likelihood = self.model.log_likelihood(batch, z.expand(len(noise), *z.shape), shift)
        return Weighed(log_likelihood, log_prior.expand_as(log_likelihood), -log_prior[:, None], (z,))

    @torch.no_grad()
    def reconstruction_log_likelihood(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """log p(x | z = encoder(x)) of each row, nats in prepared units: not a density of x."""
        return self.model.log_likelihood(batch, self.encode(batch)).double()
