"""The semi-supervised variational autoencoder (M2): a class and a point are drawn, then the row; few classes are known.

    y_i            ~ Categorical(shares)                   learned by default, or all alike; known for some rows
    z_i            ~ p(z)                                  standard normal, a mixture, or the VampPrior
    x_i | z_i, y_i ~ Π_d p(x_id | decoder(z_i, y_i)_d)

    q(y_i | x_i)      = Categorical(recogniser(x_i))
    q(z_i | x_i, y_i) = Normal(loc(x_i, y_i), diag scale(x_i, y_i)²)      or of full covariance, or a normalising flow

| symbol | site | shape |
|---|---|---|
| y | ``component``, enumerated; ``label``, observed where known | (N,) |
| z | ``z`` | (N, L) |
| u | ``shift``, where levels are dequantised | (N, D) |
| x | ``real``, ``positive``, ``count``, ``binary``, ``categorical_C`` | (N, D) |

The ELBO bounds log p(x, y) of rows of known class, and log p(x) of the others, whose class is summed out under
q(y | x). Rows of known class say nothing of q(y | x) in it, so training adds α · −log q(y | x) of theirs, which no
reported number does. The bound by K draws is closer, since it sums the class out of each draw, all classes with the
same noise: log 1/K Σ_k Σ_y p(x, z_ky, y) / q(z_ky | x, y). q(y | x) is no part of it, so that training by K draws fits
q(y | x) to the known classes alone.
Limits: each step costs C times a VAE's; classes that look alike in x may be swapped where few are known. Reference:
Kingma, Rezende, Mohamed and Welling (2014), Semi-supervised learning with deep generative models,
https://arxiv.org/abs/1406.5298.

Use it when few rows have a known class and many have none, and what the others look like tells something of the
classes; not when all classes are known, when classes are many, or when a classifier of the named rows alone does as
well: try one beside it.

>>> import ppl_models as ppl
>>> from ppl_models.families import SemiSupervisedVAE
>>> from ppl_models.inference import Gradient, class_probabilities
>>> from ppl_models.nn import Dense
>>> from ppl_models.reports import sample_pairs
>>> table = ppl.load("wine")
>>> known = table.frame.index % 6 == 0
>>> frame = table.frame.assign(label=table.frame["label"].where(known))
>>> rows = ppl.prepare(frame, table.schema)(frame)
>>> family = SemiSupervisedVAE(table.schema, latent=2, alpha=20.0, network=Dense((32,)))
>>> found = ppl.fit(family, rows, seed=0, method=Gradient(steps=150, learning_rate=1e-2))
>>> right = class_probabilities(family, rows, seed=0, draws=50).idxmax(axis=1) == table.frame["label"]
>>> print(f"labels known: {known.sum()}; told rightly: {right[~known].mean():.0%} of the {(~known).sum()} others")
labels known: 30; told rightly: 96% of the 148 others
>>> drawn = ppl.sample(family, 60, seed=0, label="class_0")
>>> true = table.frame[table.frame["label"] == "class_0"]
>>> figure = sample_pairs(true, drawn, columns=["alcohol", "flavanoids", "proline"], sides=("true", "drawn"))

Picture: three columns of the wines of one class, most of whose labels were hidden, and wines drawn as that class.
"""

import math
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

import ppl_models.families.labelled_vae as labelled_vae
from ppl_models.datasets import Dataset, Schema
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions import GuideKind
from ppl_models.errors import InputError
from ppl_models.families.decoding import sample_shift
from ppl_models.families.encoder import Encoder
from ppl_models.families.family import Weighed
from ppl_models.families.labelled_vae import LabelledVAE, beside, every_class
from ppl_models.families.mixture import classify
from ppl_models.families.plates import weighted_rows
from ppl_models.families.starts import one_hot
from ppl_models.linear import Linear
from ppl_models.nn import Network


class ClassShares(nn.Module):
    """log p(y), learned, or the same for all classes."""

    def __init__(self, classes: int, *, learned: bool) -> None:
        super().__init__()
        if learned:
            self.logits = nn.Parameter(torch.zeros(classes))
        else:
            self.register_buffer("logits", torch.zeros(classes))

    def reset_parameters(self) -> None:
        """Equal shares."""
        nn.init.zeros_(self.logits)

    def forward(self) -> Float[Tensor, " classes"]:
        """(classes,), nats."""
        return self.logits.log_softmax(-1)


class Model(labelled_vae.Model):
    """Shares of the classes, a prior of z, and a decoder of both."""

    shares: ClassShares

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the story with the batch's cells, and known classes, observed."""
        log_shares = self.shares()
        with weighted_rows(batch, rows):
            member = classify(batch.labels, log_shares.expand(len(batch), -1))
            with poutine.mask(mask=batch.labels != UNKNOWN):
                pyro.sample("label", dist.Categorical(logits=log_shares), obs=batch.labels.clamp(min=0))
            z = pyro.sample("z", self.prior().expand([len(batch)]))
            self.observe(batch, beside(z, member, self.classes), self.shift(len(batch)))


class Guide(labelled_vae.Guide):
    """q(y | x) and q(z | x, y), each from an encoder of its own."""

    def __init__(self, schema: Schema, latent: int, *, network: Network, kind: GuideKind, shifts: int) -> None:
        super().__init__(schema, latent, network=network, kind=kind, shifts=shifts)
        self.recogniser = Encoder(schema, network)
        self.logits = Linear(self.recogniser.width, schema.classes)

    def log_classes(self, batch: Dataset) -> Float[Tensor, "rows classes"]:
        """log q(y | x) of each row, nats."""
        return self.logits(self.recogniser(batch, self._like.dtype)).log_softmax(-1)

    def encode(self, batch: Dataset, condition: Tensor | None = None) -> Float[Tensor, "rows latent"]:
        """The centre of each row's q(z | x): its classes' centres, by q(y | x); labels are not used."""
        if condition is not None:
            return super().encode(batch, condition)
        each = every_class(batch, self.classes)
        centres = super().encode(each, one_hot(each.labels, self.classes).to(self._like))
        return torch.einsum("crl,rc->rl", centres.unflatten(0, (self.classes, -1)), self.log_classes(batch).exp())

    def mixed(self, batch: Dataset) -> dist.Distribution:
        """q(z | x) of each row, the class summed out under q(y | x); labels are not used."""
        told = torch.eye(self.classes).to(self._like)[:, None].expand(-1, len(batch), -1)
        hidden = self.encoder(batch, self._like.dtype, told).transpose(0, 1)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.log_classes(batch)), self.answer(hidden))

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the class from q(y | x) where it is unknown, and z from q(z | x, y)."""
        with weighted_rows(batch, rows):
            member = classify(batch.labels, self.log_classes(batch))
            told = (member[..., None] == torch.arange(self.classes, device=member.device)).to(self._like)
            pyro.sample("z", self.posterior(batch, told.expand(*told.shape[:-2], len(batch), -1)))
            sample_shift(self.shifts, self._like, len(batch))


@dataclass(frozen=True)
class WeighedClasses(Weighed):
    """``Weighed`` of rows whose class is summed out: its parts under q(y | x), its weights exactly.

    The parts are expectations under q(y | x), or at the class where it is known, and sum to the ELBO; the last unit of
    the KL is the class's. The weights are Σ_y p(x, z_y, y) / q(z_y | x, y), or that of the known class.

    Attributes:
        likelihoods: (draws, classes, rows) log p(x | z_y, y); −∞ for other classes than the known one.
        ratios: (draws, classes, rows) log p(z_y) + log p(y) − log q(z_y | x, y).
    """

    likelihoods: Float[Tensor, "draws classes rows"]
    ratios: Float[Tensor, "draws classes rows"]

    def tempered(self, kl: float) -> Float[Tensor, "draws rows"]:
        """The log weights, with what is beside the likelihood counted ``kl`` times."""
        return (self.likelihoods + kl * self.ratios).logsumexp(1)


class SemiSupervisedVAE(LabelledVAE):
    """A variational autoencoder with a class of which few rows tell.

    Args:
        schema: what the columns are, with a label.
        latent: dimensions of z, what of a row its class does not tell.
        alpha: what −log q(y | x) of a row of known class is charged in training; the authors take a tenth of all
            training rows over those of known class.
        learned_shares: whether p(y) is learned; else all classes are alike.
        options: the arguments of ``VAE``.

    Raises:
        InputError: a schema without a label, or alpha below 0.

    >>> from ppl_models.datasets import Column, Schema
    >>> schema = Schema((Column("dollars", "real"),), label=Column("group", "categorical", ("few", "many")))
    >>> SemiSupervisedVAE(schema, latent=2).class_names
    ('few', 'many')
    """

    elbo = TraceEnum_ELBO
    direct = False
    pair = (Model, Guide)
    shares_noise = True
    model: Model
    guide: Guide

    def __init__(
        self, schema: Schema, *, latent: int, alpha: float = 1.0, learned_shares: bool = True, **options: object
    ) -> None:
        if not 0 <= alpha < math.inf:
            raise InputError(f"{type(self).__name__}: expected alpha of 0 or more, got {alpha}")
        self.alpha, self.learned_shares = alpha, learned_shares
        super().__init__(schema, latent=latent, **options)

    def build(self, network: Network) -> None:
        """The pair, and the classes' shares."""
        super().build(network)
        self.model.shares = ClassShares(self.schema.classes, learned=self.learned_shares)

    def check(self, train: Dataset) -> None:
        """Refuse rows none of whose classes is known too."""
        super().check(train)
        if not train.known_labels:
            raise InputError(
                f"{type(self).__name__}: label {self.schema.label.name!r}: expected some known classes, all "
                f"{train.all_rows} training rows miss it; VAE does without"
            )

    @property
    def log_shares(self) -> Float[Tensor, " classes"]:
        """log p(y) of each class, nats."""
        return self.model.shares()

    def price(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """α · −log q(y | x) of rows of known class, nats; 0 for the others."""
        found = self.guide.log_classes(batch).gather(1, batch.labels.clamp(min=0)[:, None])[:, 0]
        return -self.alpha * torch.where(batch.labels != UNKNOWN, found, 0.0)

    @torch.no_grad()
    def recognise(self, batch: Dataset) -> Float[Tensor, "rows classes"]:
        """q(y | x) of each row, adding up to one: the guide's answer at once, where weights ask the model."""
        return self.guide.log_classes(batch).double().softmax(-1)

    def told(self, batch: Dataset) -> Float[Tensor, "rows told"]:
        """What the decoder is told at each row's centre: z and the class, where it is unknown the most probable one."""
        labels = torch.where(batch.labels == UNKNOWN, self.recognise(batch).argmax(-1), batch.labels)
        return beside(self.encode(batch), labels, self.schema.classes)

    def posterior(self, batch: Dataset) -> dist.Distribution:
        """q(z | x) of each row, a mixture over classes; labels are not used."""
        return self.guide.mixed(batch)

    def log_weights(self, batch: Dataset, noise: Float[Tensor, "draws noise"]) -> Float[Tensor, "draws rows"]:
        """Σ_y p(x, z_y, y) / q(z_y | x, y) in nats, prepared units, at the guide's answers; labels are not used."""
        return self.log_class_weights(batch, noise).logsumexp(1)

    def log_joint(self, batch: Dataset, points: Float[Tensor, "draws rows noise"]) -> Float[Tensor, "draws rows"]:
        """log Σ_y p(x, z, y) at these points, nats in prepared units; labels are not used."""
        classes = self.schema.classes
        found = super().log_joint(every_class(batch, classes), points.repeat(1, classes, 1)).unflatten(1, (classes, -1))
        return (found + self.log_shares.double()[:, None]).logsumexp(1)

    def weigh(
        self, batch: Dataset, noise: Float[Tensor, "draws *rows noise"], *, frozen: bool = False
    ) -> WeighedClasses:
        """The parts of the ELBO and the weights of each row, at its class where that is known; nats, prepared units.

        Raises:
            InputError: ``frozen``; the classes' draws share their noise, so a draw's gradient is not its own.
        """
        if frozen:
            raise InputError(f"{type(self).__name__}: the doubly reparametrised gradient needs noise for each class")
        found, classes = self.weigh_classes(batch, noise), self.schema.classes
        log_shares = self.log_shares[:, None]
        likelihoods, ratios = (part.unflatten(1, (classes, -1)) for part in (found.log_likelihood, found.log_ratio))
        member, entropy = self._member(batch)
        of_class = (member * log_shares).sum(0) + entropy
        kl = torch.einsum("crl,cr->rl", found.kl.unflatten(0, (classes, -1)), member)
        other = (batch.labels != UNKNOWN) & (member == 0)
        return WeighedClasses(
            log_likelihood=(member * likelihoods).sum(1),
            log_ratio=(member * ratios).sum(1) + of_class,
            kl=torch.cat([kl, -of_class[:, None]], -1),
            latents=found.latents,
            likelihoods=likelihoods.masked_fill(other, -torch.inf),
            ratios=ratios + log_shares,
        )

    def _member(self, batch: Dataset) -> tuple[Float[Tensor, "classes rows"], Float[Tensor, " rows"]]:
        """q(y | x), all on the class where it is known, and its entropy."""
        known, log_classes = batch.labels != UNKNOWN, self.guide.log_classes(batch)
        told = one_hot(batch.labels, self.schema.classes).to(log_classes)
        entropy = -(log_classes.exp() * log_classes).sum(-1)
        return torch.where(known[:, None], told, log_classes.exp()).T, torch.where(known, 0.0, entropy)
