"""What variational autoencoders share whose decoder and guide are told a row's class beside z.

    z_i            ~ p(z)
    x_i | z_i, y_i ~ Π_d p(x_id | decoder(z_i, y_i)_d)

    q(z_i | x_i, y_i) = Normal(loc(x_i, y_i), diag scale(x_i, y_i)²)      or of full covariance, or a normalising flow

The class enters as C numbers, one for its own and zeros for the others, behind z in the decoder and behind the row's
numbers in the encoder. Where y comes from, a family says: it is given (``conditional_vae.py``), or drawn and known for
some rows (``semi_supervised_vae.py``). The sites and shapes are those of ``decoding.py``.
"""

from abc import abstractmethod
from dataclasses import replace

import pyro.distributions as dist
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

import ppl_models.families.decoding as decoding
import ppl_models.families.vae as vae
from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import DecoderLikelihoods, GuideKind, assemble
from ppl_models.errors import InputError
from ppl_models.families.decoding import by_rows, typical
from ppl_models.families.family import Draws, Weighed
from ppl_models.families.starts import one_hot
from ppl_models.nn import Network


class Model(decoding.Model):
    """A decoder that is told the class; it takes the arguments of ``decoding.Model``."""

    def __init__(
        self, schema: Schema, latent: int, *, network: Network, likelihoods: DecoderLikelihoods, prior: nn.Module
    ) -> None:
        super().__init__(schema, latent + schema.classes, network=network, likelihoods=likelihoods, prior=prior)
        self.classes = schema.classes

    def log_likelihood(
        self, batch: Dataset, z: Float[Tensor, "*draws rows latent"], shift: Tensor | None = None
    ) -> Float[Tensor, "*draws rows"]:
        """log p(x | z, y) of the observed cells at the batch's classes, nats in prepared units."""
        return super().log_likelihood(batch, beside(z, batch.labels, self.classes), shift)


class Guide(vae.Guide):
    """q(z | x, y): the guide of ``vae.py``, told the batch's classes where no other condition is given."""

    def __init__(self, schema: Schema, latent: int, *, network: Network, kind: GuideKind, shifts: int) -> None:
        conditions = schema.classes
        super().__init__(schema, latent, network=network, kind=kind, conditions=conditions, shifts=shifts)
        self.classes = conditions

    def posterior(self, batch: Dataset, condition: Tensor | None = None) -> dist.Distribution:
        """q(z | x, y) of each row."""
        told = one_hot(batch.labels, self.classes).to(self._like) if condition is None else condition
        return super().posterior(batch, told)


class LabelledVAE(vae.VAE):
    """A variational autoencoder whose rows have a class.

    Args:
        schema: what the columns are, with a label.
        latent: dimensions of z, what of a row its class does not tell.
        options: the arguments of ``VAE``.

    Raises:
        InputError: a schema without a label.
    """

    labelled = True
    pair = (Model, Guide)
    model: Model
    guide: Guide

    def __init__(self, schema: Schema, *, latent: int, **options: object) -> None:
        if schema.label is None:
            raise InputError(f"{type(self).__name__}: expected a schema with a label, got one without")
        super().__init__(schema, latent=latent, **options)

    def entering(self, batch: Dataset) -> Float[Tensor, "rows entering"]:
        """What the encoder's network takes of each row, its class included."""
        told = one_hot(batch.labels, self.schema.classes).to(self.dtype)
        return torch.cat([super().entering(batch), told], -1)

    @property
    def class_names(self) -> tuple[object, ...]:
        """The label's classes."""
        return self.schema.label.categories

    @property
    @abstractmethod
    def log_shares(self) -> Float[Tensor, " classes"]:
        """log p(y) of each class, nats."""

    @property
    def cells(self) -> int:
        """The widest layer that a row's decoding holds at once, for all classes."""
        return super().cells * self.schema.classes

    def weigh_classes(self, batch: Dataset, noise: Float[Tensor, "draws *rows noise"]) -> Weighed:
        """What ``VAE.weigh`` says of each row as if it were of the first class, then of the second, and so on.

        All classes have the same noise. Rows of the answer are (classes · rows), one class after the other.
        """
        classes, noise = self.schema.classes, by_rows(noise, self.dtype)
        noise = noise.repeat(1, classes, 1) if noise.shape[1] > 1 else noise
        return vae.VAE.weigh(self, every_class(batch, classes), noise)

    def log_class_weights(
        self, batch: Dataset, noise: Float[Tensor, "draws noise"]
    ) -> Float[Tensor, "draws classes rows"]:
        """log p(x, z, y) − log q(z | x, y) of every class at the guide's answers to the noise; labels are not used.

        The mean over draws of its exponential estimates p(x, y) without bias.
        """
        found = self.weigh_classes(batch, noise).log_weights.double().unflatten(1, (self.schema.classes, -1))
        return found + self.log_shares.double()[:, None]

    def told(self, batch: Dataset) -> Float[Tensor, "rows told"]:
        """What the decoder is told at each row's centre: z and the class."""
        return beside(self.encode(batch), batch.labels, self.schema.classes)

    @torch.no_grad()
    def decode(
        self, z: Float[Tensor, "*batch latent"], labels: Int[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch columns"]:
        """The means of the columns given z and y, prepared units; for a categorical column its most probable code.

        Args:
            z: points of the latent space.
            labels: codes of their classes; None for means over classes too, each by its share.
        """
        z = z.to(self.dtype)
        if labels is not None:
            told = beside(z, labels, self.schema.classes)
            return assemble({head.columns: typical(cells) for head, cells in self.model.likelihoods(told)})
        everyone = torch.arange(self.schema.classes, device=z.device)
        told = beside(z[..., None, :], everyone.expand(*z.shape[:-1], -1), self.schema.classes)
        shares = self.log_shares.exp()
        return assemble({head.columns: _average(cells, shares) for head, cells in self.model.likelihoods(told)})

    def draw(self, rows: int) -> Draws:
        """Rows with their classes, these by their shares."""
        return self._draw(dist.Categorical(logits=self.log_shares).sample((rows,)))

    def draw_class(self, rows: int, label: object) -> Draws:
        """Rows of a chosen class, under torch's current random state."""
        return self._draw(torch.full((rows,), self.schema.class_code(label), device=self.loc.device))

    def _draw(self, labels: Int[Tensor, " rows"]) -> Draws:
        z = self.model.prior().sample(labels.shape)
        return Draws(self.model.sample_cells(beside(z, labels, self.schema.classes)), labels, z)


def beside(z: Float[Tensor, "*batch latent"], labels: Int[Tensor, "*_"], classes: int) -> Tensor:
    """z with its class behind it, (..., latent + classes), whichever of the two has more leading dimensions."""
    shape = torch.broadcast_shapes(z.shape[:-1], labels.shape)
    told = (labels[..., None] == torch.arange(classes, device=labels.device)).to(z)
    return torch.cat([z.expand(*shape, -1), told.expand(*shape, -1)], -1)


def every_class(batch: Dataset, classes: int) -> Dataset:
    """The rows once for each class, as if they were known to be of it: one class after the other."""
    rows = torch.arange(len(batch), device=batch.values.device).repeat(classes)
    labels = torch.arange(classes, device=batch.values.device).repeat_interleave(len(batch))
    return replace(batch[rows], labels=labels)


def _average(cells: dist.Distribution, shares: Float[Tensor, " classes"]) -> Float[Tensor, "*batch columns"]:
    """``typical`` of a mixture over classes, which are the last dimension but one."""
    if isinstance(cells, dist.Categorical):
        return torch.einsum("...cdk,c->...dk", cells.probs, shares.to(cells.probs)).argmax(-1).double()
    return torch.einsum("...cd,c->...d", typical(cells), shares.double())
