"""The variational autoencoder: the autoencoder's model, with an amortised distribution for a guide.

    z_i       ~ p(z)                                  standard normal, a mixture, or the VampPrior
    x_i | z_i ~ Π_d p(x_id | decoder(z_i)_d)

    q(z_i | x_i) = Normal(loc(x_i), diag scale(x_i)²)      or of full covariance, or a normalising flow

The sites and shapes are those of ``decoding.py``. The ELBO of a row is its reconstruction less KL(q(z | x) ‖ p(z)), in
closed form for Gaussians and a standard normal prior; K draws from the guide, weighted, bound log p(x) from below ever
closer as K grows. Limit: log p(x) is only bounded; where a row's k-hat is above 0.7 not even its bound's error is
known. References: Kingma and Welling (2014), Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114; Burda,
Grosse and Salakhutdinov (2016), Importance weighted autoencoders, https://arxiv.org/abs/1509.00519.

Use it when columns are many, pixels among them, and depend on each other in ways that no few ellipses have, or when
each row's place in a space of few dimensions is wanted; not when log p(x) must be exact, rows are few beside the
network's weights, or the groups themselves are the question.

>>> import ppl_models as ppl
>>> from ppl_models import inference, reports
>>> from ppl_models.datasets import prepare_split
>>> from ppl_models.nn import Dense
>>> table = ppl.load("digits_binary")
>>> parts = prepare_split(table.frame, table.schema, seed=0)
>>> family = ppl.VAE(table.schema, latent=2, network=Dense((64,)))
>>> method = inference.Gradient(steps=800, learning_rate=1e-2)
>>> found = ppl.fit(family, parts.train, parts.validation, seed=0, method=method)
>>> density = ppl.log_density(family, parts.test, seed=0, draws=100)
>>> print(f"log p(x): {density.elpd:.0f} nats per held-out image, {density.kind} by {density.draws} draws")
log p(x): -21 nats per held-out image, lower bound by 100 draws
>>> grid = inference.latent_grid(family, size=12, quantiles=(0.05, 0.95))
>>> figure = reports.latent_grid(inference.decode_images(family, grid))

Picture: what the decoder makes of a grid over the two dimensions of z, from low to high quantiles of the prior.
"""

import math
from typing import ClassVar, get_args

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema, some_of
from ppl_models.distributions import (
    DecoderLikelihoods,
    GuideKind,
    LatentPrior,
    VampPrior,
    closed_form_kl,
    make_answer,
    make_prior,
    seeded,
)
from ppl_models.errors import InputError
from ppl_models.families.decoding import Decoding, Model, by_rows, sample_shift
from ppl_models.families.encoder import Encoder
from ppl_models.families.family import LEARNT, Amortised, Weighed
from ppl_models.families.plates import weighted_rows
from ppl_models.nn import Dense, Network


class Guide(nn.Module):
    """q(z | x) of each row, from an encoder and the layer that answers for z.

    Args:
        schema: what the columns are.
        latent: dimensions of z.
        network: the encoder's architecture.
        kind: of distribution.
        conditions: numbers that stand behind a row's own.
        shifts: dequantised columns.
    """

    def __init__(
        self, schema: Schema, latent: int, *, network: Network, kind: GuideKind, conditions: int = 0, shifts: int = 0
    ) -> None:
        super().__init__()
        self.encoder = Encoder(schema, network, conditions)
        self.answer = make_answer(kind, self.encoder.width, latent)
        self.shifts, self.latent = shifts, latent
        self.register_buffer("_like", torch.empty(0), persistent=False)  # tells precision and device at no cost

    def encode(self, batch: Dataset, condition: Tensor | None = None) -> Float[Tensor, "rows latent"]:
        """The centre of each row's q(z | x): where noise of zero goes, for a Gaussian its mean."""
        posterior = self.posterior(batch, condition)
        return self.answer.reparametrise(posterior, torch.zeros(self.latent).to(self._like))

    def posterior(self, batch: Dataset, condition: Tensor | None = None) -> dist.Distribution:
        """q(z | x) of each row."""
        return self.answer(self.encoder(batch, self._like.dtype, condition))

    def at(self, numbers: Float[Tensor, "rows numbers"]) -> dist.Distribution:
        """q(z | x) of rows as the encoder's network sees them."""
        return self.answer(self.encoder.network(numbers))

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample z from q(z | x)."""
        with weighted_rows(batch, rows):
            pyro.sample("z", self.posterior(batch))
            sample_shift(self.shifts, self._like, len(batch))


class VAE(Decoding, Amortised):
    """A variational autoencoder over mixed columns or pixels.

    Args:
        schema: what the columns are; a label is not used.
        latent: dimensions of z.
        network: architecture of the encoder, and, mirrored, of the decoder.
        likelihoods: of each kind of column given z.
        guide: "diagonal" or "full" covariance, "autoregressive-flow" or "spline-flow" (these need zuko).
        prior: of z.
        dtype: of the networks' parameters.

    >>> from ppl_models.datasets import Column, Schema
    >>> VAE(Schema((Column("dollars", "real"),)), latent=2).latent
    2
    """

    pair: ClassVar[tuple[type[nn.Module], type[nn.Module]]] = (Model, Guide)
    guide: Guide
    direct = True  # whether z is one layer, of one class

    def __init__(
        self,
        schema: Schema,
        *,
        latent: int,
        network: Network = Dense(),  # noqa: B008  # frozen
        likelihoods: DecoderLikelihoods = DecoderLikelihoods(),  # noqa: B008  # frozen
        guide: GuideKind = "diagonal",
        prior: LatentPrior = LatentPrior(),  # noqa: B008  # frozen
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if guide not in get_args(GuideKind):
            raise InputError(f"guide: expected one of {', '.join(get_args(GuideKind))}, got {guide!r}")
        if guide.endswith("flow") and prior.kind == "vamp":
            raise InputError(f"prior 'vamp': expected a Gaussian guide, whose answers it mixes, got {guide!r}")
        self.guide_kind, self.prior_kind = guide, prior
        super().__init__(schema, latent=latent, network=network, likelihoods=likelihoods, dtype=dtype)

    def build(self, network: Network) -> None:
        """The guide first, since a VampPrior asks it."""
        model, guide = self.pair
        self.guide = guide(self.schema, self.latent, network=network, kind=self.guide_kind, shifts=self.shifts)
        prior = make_prior(self.prior_kind, self.latent, self.guide.encoder.entering, self.guide.at)
        self.model = model(self.schema, self.latent, network=network, likelihoods=self.likelihoods, prior=prior)

    def initialise(self, train: Dataset, *, seed: int) -> None:
        """Draw all weights afresh; a VampPrior starts from training rows."""
        super().initialise(train, seed=seed)
        if isinstance(self.model.prior, VampPrior):
            with seeded(seed):
                self.model.prior.start(self.entering(some_of(train, LEARNT, seed=seed)))

    def entering(self, batch: Dataset) -> Float[Tensor, "rows entering"]:
        """What the encoder's network takes of each row."""
        return self.guide.encoder.inputs(batch, self.dtype)

    def posterior(self, batch: Dataset) -> dist.Distribution:
        """q(z | x) of each row."""
        return self.guide.posterior(batch)

    def prior(self) -> dist.Distribution:
        """p(z)."""
        return self.model.prior()

    @property
    def noise(self) -> int:
        """Standard normals that a row's answer takes: one for each dimension of z and each uniform shift."""
        return self.latent + self.model.shifts

    def weigh(self, batch: Dataset, noise: Float[Tensor, "draws *rows noise"], *, frozen: bool = False) -> Weighed:
        """log p(x | z) and log p(z) − log q(z | x) at z = the guide's answer to the noise; nats, prepared units."""
        posterior, prior = self.guide.posterior(batch), self.model.prior()
        z, shift = self._place(posterior, by_rows(noise, self.dtype))
        held = self.guide.answer.frozen(posterior) if frozen else posterior
        seen = z.view_as(z) if frozen else z  # a copy, on which a gradient can be weighted
        log_likelihood = self.model.log_likelihood(batch, seen, shift)
        log_ratio = prior.log_prob(seen) - held.log_prob(seen)
        kl = closed_form_kl(posterior, prior)
        return Weighed(log_likelihood, log_ratio, -log_ratio.mean(0)[:, None] if kl is None else kl, (seen,))

    def log_joint(self, batch: Dataset, points: Float[Tensor, "draws rows noise"]) -> Float[Tensor, "draws rows"]:
        """log p(x | z) + log p(z) at these points, nats in prepared units."""
        z, noise = points.to(self.dtype).split([self.latent, self.model.shifts], -1)
        shift = torch.special.ndtr(noise) if self.model.shifts else None
        squares = noise.square() + math.log(2 * math.pi)
        found = self.model.log_likelihood(batch, z, shift) + self.prior().log_prob(z) - squares.sum(-1) / 2
        return found.double()

    def elbo_rows(self, batch: Dataset, noise: Float[Tensor, "draws rows noise"]) -> Float[Tensor, " rows"]:
        """Reconstruction less KL, without the densities of z where the KL has a closed form."""
        if not self.direct or self.prior_kind.kind != "normal" or self.guide_kind.endswith("flow"):
            return super().elbo_rows(batch, noise)
        posterior, noise = self.guide.posterior(batch), by_rows(noise, self.dtype)
        z, shift = self._place(posterior, noise[0] if len(noise) == 1 else noise)
        log_likelihood = self.model.log_likelihood(batch, z, shift)
        kl = self.guide.answer.kl_from_standard(posterior).sum(-1)
        return (log_likelihood.mean(0) if log_likelihood.ndim > 1 else log_likelihood) - kl

    def _place(self, posterior: dist.Distribution, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """z and the shifts at the guide's answer to the noise."""
        z = self.guide.answer.reparametrise(posterior, noise[..., : self.latent])
        return z, torch.special.ndtr(noise[..., self.latent :]) if self.model.shifts else None
