"""The hierarchical variational autoencoder: two layers of z, the lower one's prior learned from the upper one.

    z_top_i       ~ p(z_top)                               standard normal, a mixture, or the VampPrior
    z_i | z_top_i ~ Normal(loc(z_top_i), diag scale(z_top_i)²)
    x_i | z_i     ~ Π_d p(x_id | decoder(z_i)_d)

    q(z_top_i | x_i)      = Normal(loc(x_i), diag scale(x_i)²)                           or of full covariance
    q(z_i | x_i, z_top_i) = Normal(loc(x_i, z_top_i), diag scale(x_i, z_top_i)²)         the same

| symbol | site | shape |
|---|---|---|
| z_top | ``z_top`` | (N, T) |
| z | ``z`` | (N, L) |
| u | ``shift``, where levels are dequantised | (N, D) |
| x | ``real``, ``positive``, ``count``, ``binary``, ``categorical_C`` | (N, D) |

The guide answers from the top down, in the model's order, and both its layers read one encoder. The KL of the lower
layer is in closed form given z_top, and averaged over draws of it. Limits: those of the VAE; the top layer often ends
unused, its KL near 0, against which a warm-up of the KL is the first remedy. Outside of this file z is both layers
side by side, z_top first; the decoder does not look at z_top.
References: Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders, https://arxiv.org/abs/1509.00519
(two layers); Sønderby, Raiko, Maaløe, Sønderby and Winther (2016), Ladder variational autoencoders,
https://arxiv.org/abs/1602.02282 (the guide from the top down, the warm-up).

Use it when the codes of a VAE of one layer do not look like its prior, and coarse and fine are to be told apart; not
when one layer does as well: fit a VAE first, compare the bounds, and see whether the KL of the top layer is above 0.

>>> import ppl_models as ppl
>>> from ppl_models.datasets import prepare_split
>>> from ppl_models.families import HierarchicalVAE
>>> from ppl_models.inference import Gradient, images_of
>>> from ppl_models.nn import Dense
>>> from ppl_models.reports import image_grid
>>> table = ppl.load("digits_binary")
>>> parts = prepare_split(table.frame, table.schema, seed=0)
>>> family = HierarchicalVAE(table.schema, latent=6, top=2, network=Dense((64,)))
>>> method = Gradient(steps=400, learning_rate=1e-2)
>>> found = ppl.fit(family, parts.train, parts.validation, seed=0, method=method)
>>> density = ppl.log_density(family, parts.test, seed=0, draws=100)
>>> print(f"log p(x): {density.elpd:.0f} nats per held-out image, {density.kind} by {density.draws} draws")
log p(x): -19 nats per held-out image, lower bound by 100 draws
>>> drawn = parts.preparation(ppl.sample(family, 24, seed=0))
>>> figure = image_grid({"held out": images_of(parts.test[:24]), "drawn": images_of(drawn)}, columns=12)

Picture: held-out digits, and digits drawn from the top layer down.
"""

from collections.abc import Callable, Iterator, Sequence

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.func import functional_call

import ppl_models.families.decoding as decoding
import ppl_models.families.vae as vae
from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import GuideKind, closed_form_kl, make_answer, make_prior
from ppl_models.errors import InputError, at_least_one
from ppl_models.families.decoding import by_rows, sample_shift
from ppl_models.families.family import Draws, Weighed
from ppl_models.families.plates import weighted_rows
from ppl_models.nn import Dense, Network


class Below(nn.Module):
    """The lower layer given the upper one, and in the guide the row's last hidden layer before it.

    Args:
        inputs: numbers that it is given.
        latent: dimensions of z.
        layer: the network between.
        kind: of distribution.
    """

    def __init__(self, inputs: int, latent: int, *, layer: Dense, kind: GuideKind = "diagonal") -> None:
        super().__init__()
        self.latent = latent
        self.network = layer.decoder(inputs, None)
        self.answer = make_answer(kind, self.network.width, latent)

    def forward(self, given: Float[Tensor, "*batch inputs"]) -> dist.Distribution:
        """(..., inputs) to a distribution over (..., latent)."""
        return self.answer(self.network(given))

    def frozen(self, given: Float[Tensor, "*batch inputs"]) -> dist.Distribution:
        """The same with the parameters held still, still a function of what it is given."""
        held = {name: value.detach() for name, value in self.named_parameters()}
        return functional_call(self, held, (given,))


class Model(decoding.Model):
    """The top layer's prior, the lower layer given it, and the decoder; the prior's call is of z_top."""

    below: Below

    def likelihoods(
        self, z: Float[Tensor, "*batch latent"], shift: Float[Tensor, "*shifted shifts"] | None = None
    ) -> Iterator[tuple[nn.Module, dist.Distribution]]:
        """Each kind's head with the distribution of its columns given z; a z_top before it does not matter."""
        return super().likelihoods(z[..., -self.below.latent :], shift)

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the story with the batch's cells observed."""
        with weighted_rows(batch, rows):
            top = pyro.sample("z_top", self.prior().expand([len(batch)]))
            z = pyro.sample("z", self.below(top))
            self.observe(batch, z, self.shift(len(batch)))


class Guide(vae.Guide):
    """q(z_top | x) as the guide of ``vae.py`` has it, then q(z | x, z_top) from the same encoder."""

    below: Below

    def hidden(self, batch: Dataset) -> Float[Tensor, "rows width"]:
        """What both layers read of each row."""
        return self.encoder(batch, self._like.dtype)

    def encode(self, batch: Dataset, condition: Tensor | None = None) -> Float[Tensor, "rows latent"]:
        """The centre of each row's q(z_top | x), and that of its q(z | x, z_top) there, side by side."""
        hidden = self.hidden(batch)
        top = self.answer(hidden).mean
        return torch.cat([top, self.below(_with(hidden, top)).mean], -1)

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample z_top from q(z_top | x), then z from q(z | x, z_top)."""
        with weighted_rows(batch, rows):
            hidden = self.hidden(batch)
            top = pyro.sample("z_top", self.answer(hidden))
            pyro.sample("z", self.below(_with(hidden, top)))
            sample_shift(self.shifts, self._like, len(batch))


class Layers(TorchDistribution):
    """The joint law of (z_top, z), side by side.

    Args:
        top: the law of z_top.
        below: that of z given z_top.
        latent: dimensions of z.
    """

    arg_constraints: dict = {}  # noqa: RUF012  # torch reads a plain dict
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, top: Distribution, below: Callable[[Tensor], Distribution], latent: int) -> None:
        self.top, self.below, self.sizes = top, below, (top.event_shape[0], latent)
        self.has_rsample = top.has_rsample
        super().__init__(top.batch_shape, (sum(self.sizes),), validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> Distribution:
        """The same law over more rows."""
        return Layers(self.top.expand(batch_shape), self.below, self.sizes[1])

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws that gradients pass through."""
        top = self.top.rsample(sample_shape)
        return torch.cat([top, self.below(top).rsample()], -1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws."""
        with torch.no_grad():
            top = self.top.sample(sample_shape)
            return torch.cat([top, self.below(top).sample()], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log density of z_top and of z given it, nats."""
        top, z = value.split(self.sizes, -1)
        return self.top.log_prob(top) + self.below(top).log_prob(z)


class HierarchicalVAE(vae.VAE):
    """A variational autoencoder with two layers of z.

    Args:
        schema: what the columns are; a label is not used.
        latent: dimensions of the z that is decoded.
        top: dimensions of z_top.
        layer: the network between the two, in the model and in the guide.
        options: the arguments of ``VAE``: the prior is that of z_top, the guide "diagonal" or "full".

    Attributes:
        latent: dimensions of both layers side by side.
        layers: dimensions of z_top and of z.

    >>> from ppl_models.datasets import Column, Schema
    >>> HierarchicalVAE(Schema((Column("dollars", "real"),)), latent=2, top=1).latent
    3
    """

    direct = False
    model: Model
    guide: Guide

    def __init__(
        self,
        schema: Schema,
        *,
        latent: int,
        top: int = 2,
        layer: Dense = Dense((32,)),  # noqa: B008  # frozen
        **options: object,
    ) -> None:
        at_least_one(f"{type(self).__name__}: ", latent=latent, top=top)
        if (guide := options.get("guide", "diagonal")) not in ("diagonal", "full"):
            raise InputError(f"{type(self).__name__}: expected guide 'diagonal' or 'full', got {guide!r}")
        self.layers, self.layer = (top, latent), layer
        super().__init__(schema, latent=top + latent, **options)

    def build(self, network: Network) -> None:
        """The guide's and the model's top layers, then the lower ones."""
        (top, latent), kind = self.layers, self.guide_kind
        self.guide = Guide(self.schema, top, network=network, kind=kind, shifts=self.shifts)
        self.guide.below = Below(self.guide.encoder.width + top, latent, layer=self.layer, kind=kind)
        prior = make_prior(self.prior_kind, top, self.guide.encoder.numbers, self.guide.at)
        self.model = Model(self.schema, latent, network=network, likelihoods=self.likelihoods, prior=prior)
        self.model.below = Below(top, latent, layer=self.layer)

    def posterior(self, batch: Dataset) -> dist.Distribution:
        """q(z_top, z | x) of each row, the two side by side."""
        hidden = self.guide.hidden(batch)
        return Layers(self.guide.answer(hidden), lambda top: self.guide.below(_with(hidden, top)), self.layers[1])

    def prior(self) -> dist.Distribution:
        """p(z_top, z), the two side by side."""
        return Layers(self.model.prior(), self.model.below, self.layers[1])

    def weigh(self, batch: Dataset, noise: Float[Tensor, "draws *rows noise"], *, frozen: bool = False) -> Weighed:
        """log p(x | z), and log p(z_top, z) − log q(z_top, z | x) at the guide's answers; nats, prepared units.

        With ``frozen`` the densities see a copy of z_top and z, while z itself is placed by the draw of z_top: the
        gradient at the copy, once weighted, goes back through the draws and is not weighted again.
        """
        noise = by_rows(noise, self.dtype).split([*self.layers, self.model.shifts], -1)
        guide, hidden = self.guide, self.guide.hidden(batch)
        q_top = guide.answer(hidden)
        top = guide.answer.reparametrise(q_top, noise[0])
        q = guide.below(_with(hidden, top))
        both = torch.cat([top, guide.below.answer.reparametrise(q, noise[1])], -1)
        top, z = both.split(self.layers, -1)
        if frozen:
            q_top, q = guide.answer.frozen(q_top), guide.below.frozen(_with(hidden.detach(), top))
        p_top, p = self.model.prior(), self.model.below(top)
        ratios = p_top.log_prob(top) - q_top.log_prob(top), p.log_prob(z) - q.log_prob(z)
        kl = [_by_unit(*parts) for parts in zip((q_top, q), (p_top, p), ratios, strict=True)]
        shift = torch.special.ndtr(noise[2]) if self.model.shifts else None
        return Weighed(self.model.log_likelihood(batch, z, shift), sum(ratios), torch.cat(kl, -1), (both,))

    def draw(self, rows: int) -> Draws:
        """Rows from the top layer's prior through both layers."""
        z = self.prior().sample((rows,))
        return Draws(self.model.sample_cells(z), latents=z)


def _with(hidden: Float[Tensor, "rows width"], top: Float[Tensor, "*draws rows top"]) -> Tensor:
    """What the guide's lower layer is given: each row's hidden layer with each draw of z_top behind it."""
    return torch.cat([hidden.expand(*top.shape[:-1], -1), top], -1)


def _by_unit(q: Distribution, p: Distribution, log_ratio: Float[Tensor, "draws rows"]) -> Float[Tensor, "rows units"]:
    """KL(q ‖ p) of each row, by dimension where it has a closed form, averaged over draws where it depends on them."""
    kl = closed_form_kl(q, p)
    if kl is None:
        return -log_ratio.mean(0)[:, None]
    return kl.mean(0) if kl.ndim == 3 else kl
