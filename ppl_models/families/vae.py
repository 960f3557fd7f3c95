"""The variational autoencoder: the autoencoder's model, with an amortised Gaussian for a guide.

    z_i       ~ Normal(0, I_L)
    x_i | z_i ~ Π_d p(x_id | decoder(z_i)_d)

    q(z_i | x_i) = Normal(loc(x_i), diag scale(x_i)²)      loc and log scale from the encoder

The sites and shapes are those of ``autoencoder.py``. The ELBO of a row is its reconstruction less KL(q(z | x) ‖
p(z)), in closed form here; K draws from the guide, weighted, bound log p(x) from below ever closer as K grows. Limit:
log p(x) is only bounded; where a row's k-hat is above 0.7 not even its bound's error is known. References: Kingma and
Welling (2014), Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114; Burda, Grosse and Salakhutdinov
(2016), Importance weighted autoencoders, https://arxiv.org/abs/1509.00519.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from jaxtyping import Float
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema
from ppl_models.families.autoencoder import Decoding, Encoder
from ppl_models.families.family import Amortised, weighted_rows


class Guide(nn.Module):
    """A diagonal Gaussian for each row's z."""

    def __init__(self, schema: Schema, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.encoder = Encoder(schema, hidden)
        self.loc = nn.Linear(self.encoder.width, latent)
        self.log_scale = nn.Linear(self.encoder.width, latent)

    def encode(self, batch: Dataset) -> Float[Tensor, "rows latent"]:
        """The guide's mean of z for each row."""
        return self.posterior(batch).mean

    def posterior(self, batch: Dataset) -> dist.Distribution:
        """q(z | x) of each row."""
        hidden = self.encoder(batch, self.loc.weight.dtype)
        return dist.Normal(self.loc(hidden), self.log_scale(hidden).exp()).to_event(1)

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample z from q(z | x)."""
        with weighted_rows(batch, rows):
            pyro.sample("z", self.posterior(batch))


class VAE(Decoding, Amortised):
    """A variational autoencoder over mixed columns or binary pixels; it takes the arguments of ``Decoding``.

    >>> from ppl_models.datasets import Column, Schema
    >>> VAE(Schema((Column("dollars", "real"),)), latent=2).latent
    2
    """

    def make_guide(self, schema: Schema, hidden: Sequence[int]) -> nn.Module:
        """The amortised Gaussian."""
        return Guide(schema, self.latent, hidden)

    def log_weights(self, batch: Dataset, noise: Float[Tensor, "draws latent"]) -> Float[Tensor, "draws rows"]:
        """log p(x, z) − log q(z | x) at z = loc + scale · noise, the same noise for every row; nats, prepared units."""
        posterior = self.guide.posterior(batch)
        z = posterior.mean + posterior.base_dist.scale * noise.to(posterior.mean)[:, None]
        log_joint = self.model.log_likelihood(batch, z) + self.model.prior(z).log_prob(z)
        return (log_joint - posterior.log_prob(z)).double()
