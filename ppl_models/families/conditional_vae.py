"""The conditional variational autoencoder: what rows of a given class look like, p(x | y).

    z_i            ~ p(z)                                  standard normal, a mixture, or the VampPrior
    x_i | z_i, y_i ~ Π_d p(x_id | decoder(z_i, y_i)_d)

    q(z_i | x_i, y_i) = Normal(loc(x_i, y_i), diag scale(x_i, y_i)²)      or of full covariance, or a normalising flow

| symbol | site | shape |
|---|---|---|
| z | ``z`` | (N, L) |
| u | ``shift``, where levels are dequantised | (N, D) |
| x | ``real``, ``positive``, ``count``, ``binary``, ``categorical_C`` | (N, D) |

The class y is no site: it is given. The ELBO and the bound by K draws are of log p(x | y), which ``given`` says, so
that they are compared with nothing that is not given y. Drawn rows have a class by its share of the training rows, or
the one that is asked for; the shares stand for p(y) where the class of a row is asked for too. Limits: those of the
VAE; every row's class must be known. Reference: Sohn, Lee and Yan (2015), Learning structured output representation
using deep conditional generative models,
https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models.

Use it when every row's class is known, and rows of a class that is asked for are to be drawn, filled in or scored as
p(x | y); not when some classes are unknown, which the semi-supervised one takes, or when p(x) itself is to be compared
with other families.

>>> import ppl_models as ppl
>>> from ppl_models.datasets import prepare_split
>>> from ppl_models.families import ConditionalVAE
>>> from ppl_models.inference import Gradient, images_of
>>> from ppl_models.nn import Dense
>>> from ppl_models.reports import image_grid
>>> table = ppl.load("digits_binary")
>>> parts = prepare_split(table.frame, table.schema, seed=0)
>>> family = ConditionalVAE(table.schema, latent=4, network=Dense((64,)))
>>> method = Gradient(steps=400, learning_rate=1e-2)
>>> found = ppl.fit(family, parts.train, parts.validation, seed=0, method=method)
>>> density = ppl.log_density(family, parts.test, seed=0, draws=100)
>>> print(f"log p(x) given {density.given}: {density.elpd:.0f} nats per held-out image, {density.kind}")
log p(x) given the label digit: -16 nats per held-out image, lower bound
>>> drawn = {digit: ppl.sample(family, 12, seed=0, label=digit) for digit in (3, 4, 7)}
>>> images = {f"drawn as a {digit}": images_of(parts.preparation(rows)) for digit, rows in drawn.items()}
>>> figure = image_grid(images, columns=12)

Picture: digits drawn to order, a block for each digit that was asked for.
"""

import pyro
import torch
from jaxtyping import Float
from torch import Tensor

import ppl_models.families.labelled_vae as labelled_vae
from ppl_models.datasets import Dataset, Schema, chunks_of
from ppl_models.datasets.dataset import ROWS_AT_ONCE, UNKNOWN
from ppl_models.errors import InputError
from ppl_models.families.labelled_vae import Guide, LabelledVAE, beside
from ppl_models.families.plates import weighted_rows
from ppl_models.families.starts import one_hot


class Model(labelled_vae.Model):
    """A prior of z, and a decoder of z and the given class."""

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the story with the batch's cells observed."""
        with weighted_rows(batch, rows):
            z = pyro.sample("z", self.prior().expand([len(batch)]))
            self.observe(batch, beside(z, batch.labels, self.classes), self.shift(len(batch)))


class ConditionalVAE(LabelledVAE):
    """A variational autoencoder of rows given their class.

    Args:
        schema: what the columns are, with a label.
        latent: dimensions of z, what of a row its class does not tell.
        options: the arguments of ``VAE``.

    Raises:
        InputError: a schema without a label.

    >>> from ppl_models.datasets import Column, Schema
    >>> schema = Schema((Column("dollars", "real"),), label=Column("group", "categorical", ("few", "many")))
    >>> ConditionalVAE(schema, latent=2).given
    'the label group'
    """

    pair = (Model, Guide)

    def __init__(self, schema: Schema, *, latent: int, **options: object) -> None:
        super().__init__(schema, latent=latent, **options)
        self.given = f"the label {schema.label.name}"
        self.register_buffer("shares", torch.full((schema.classes,), 1 / schema.classes, dtype=torch.float64))

    def check_rows(self, rows: Dataset) -> None:
        """Refuse rows of unknown class too."""
        super().check_rows(rows)
        if rows.known_labels == rows.all_rows:
            return
        before = rows.rows_before
        for part in chunks_of(rows, ROWS_AT_ONCE):
            unknown = part.labels == UNKNOWN
            if bool(unknown.any()):
                raise InputError(
                    f"{type(self).__name__}: label {self.schema.label.name!r}: expected a known class in every row, "
                    f"that of row {before + int(unknown.nonzero()[0, 0]) + 1} is missing"
                )
            before += len(part)

    def adopt(self, train: Dataset) -> None:
        """Take over the preparation, and the classes' shares."""
        super().adopt(train)
        counts = train.sum_of(lambda part: part.weights.double() @ one_hot(part.labels, self.schema.classes))
        self.shares.copy_(counts / counts.sum())

    @property
    def log_shares(self) -> Float[Tensor, " classes"]:
        """The log of each class's share of the training rows, nats; −∞ for one that had none."""
        return self.shares.log()
