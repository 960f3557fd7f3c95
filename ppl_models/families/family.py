"""What a family is: a Pyro model and guide, the schema they describe, and what inference may ask of them.

**How to add a family.** Write one file in this folder. Its docstring tells the generative story in mathematics, a
table of symbol, site and shape, limits, references, when to use it and when not, an example and what its figure shows,
in the form of ``reports/family_pages.py``, which makes the family's page of that. Then:

1. ``Model(nn.Module)``, whose ``forward(batch, rows)`` samples the story in Pyro: everything about rows inside
   ``weighted_rows(batch, rows)``, so that a minibatch's ELBO is unbiased for all rows;
2. ``Guide(nn.Module)``, with the same signature and the same latent sites in the same order;
3. a subclass of ``Exact``, ``Amortised`` or plain ``Family`` that pairs them and fills in the abstract methods; where
   rows have a class, of ``ClassProduct``, whose fits and answers are there (1 and 2 are its ``story`` and ``answer``).
Parameters are plain ``nn.Parameter``s in no store. Then add lines to ``families/__init__.py``, an entry to
``tests/cases.py``, whose laws run on it by themselves, and a row to the README's table; nothing else changes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from pyro.infer import ELBO, Trace_ELBO
from torch import Tensor, nn
from torch.distributions import Distribution

from ppl_models.datasets import Dataset, Preparation, Schema, chunks_of
from ppl_models.datasets.dataset import ROWS_AT_ONCE
from ppl_models.errors import InputError
from ppl_models.families.made import Made

LEARNT = 100_000  # rows at most that a start, or a unit of a prior, is taken from


@dataclass(frozen=True)
class Draws:
    """Rows drawn from a model.

    Attributes:
        values: prepared values.
        labels: the codes of their classes, if the model has named ones.
        latents: the points of the latent space that they were decoded from, if there are any.
    """

    values: Float[Tensor, "rows columns"]
    labels: Int[Tensor, " rows"] | None = None
    latents: Float[Tensor, "rows latent"] | None = None


class Family(Made, nn.Module, ABC):
    """A model and its guide, described by a schema.

    Attributes:
        schema: what a row's columns are.
        model: a Pyro model ``(batch, rows) -> None``.
        guide: its guide, of the same signature.
        elbo: the class of Pyro's ELBO estimator that suits the pair.
        given: what a row's probability is conditional on, besides the parameters; "" for nothing.
    """

    model: Callable[[Dataset, int], None]
    guide: Callable[[Dataset, int], None]
    elbo: type[ELBO] = Trace_ELBO
    given: str = ""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.schema = schema
        self.register_buffer("loc", torch.zeros(len(schema.columns), dtype=torch.float64))
        self.register_buffer("scale", torch.full((len(schema.columns),), torch.nan, dtype=torch.float64))

    @property
    def preparation(self) -> Preparation:
        """The map to raw units of the rows that the family was fitted to.

        Raises:
            InputError: the family was never fitted.
        """
        if bool(self.scale.isnan().any()):
            raise InputError(f"{type(self).__name__}: expected a fitted family, got one that was never fitted")
        return Preparation(self.schema, self.loc, self.scale)

    def check(self, train: Dataset) -> None:
        """Refuse training rows that do not suit the family, before anything of it is changed.

        Raises:
            InputError: the rows are described by another schema, or one has no observed cell and no known class;
                families add what else they need.
        """
        self.check_rows(train)
        before = train.rows_before
        for part in () if train.complete else chunks_of(train, ROWS_AT_ONCE):
            empty = ~part.observed.any(-1) & (part.labels < 0)
            if bool(empty.any()):
                raise InputError(
                    f"{type(self).__name__}: expected an observed cell in every training row, every cell of row "
                    f"{before + int(empty.nonzero()[0, 0]) + 1} is missing; drop such rows"
                )
            before += len(part)
        if self.schema.image_shape is not None:
            self._refuse_margin(train)

    @property
    def spread_out(self) -> tuple[int, ...]:
        """Columns whose density has a bound only where their values differ."""
        return self.schema.of_kind("real", "positive")

    def _refuse_margin(self, train: Dataset) -> None:
        """Refuse pixels that never vary."""
        columns = list(self.spread_out)
        varied = train.sum_of(lambda part: (part.values[:, columns].abs() >= 1e-9).sum(0))
        flat = [column for column, rows in zip(columns, varied.tolist(), strict=True) if not rows]
        if flat:
            raise InputError(
                f"{type(self).__name__}: expected pixels that differ between training rows, "
                f"{self.schema.names[flat[0]]!r} is constant; crop the images, describe them by grey levels, or decode "
                "them by the continuous Bernoulli"
            )

    def adopt(self, train: Dataset) -> None:
        """Take over the preparation of the training rows, once they are checked.

        Raises:
            InputError: the rows do not suit the family.
        """
        self.check(train)
        self.loc.copy_(train.loc)
        self.scale.copy_(train.scale)

    def require(self, batch: Dataset) -> None:
        """Refuse rows that were not prepared as the training rows were.

        Raises:
            InputError: another schema, a preparation learned from other rows, or a family that was never fitted;
                families add what else they need.
        """
        self.check_rows(batch)
        self.check_preparation(batch)

    def check_preparation(self, batch: Dataset) -> None:
        """Refuse rows that were prepared otherwise."""
        preparation = self.preparation
        if not (torch.equal(batch.loc, preparation.loc) and torch.equal(batch.scale, preparation.scale)):
            raise InputError(
                f"{type(self).__name__}: expected rows prepared by the preparation of its training rows, "
                "got rows of another preparation"
            )

    def check_rows(self, rows: Dataset) -> None:
        """Refuse rows, for training, for stopping by or to be scored, that the family can make nothing of.

        Raises:
            InputError: rows of another schema; families add what else they need.
        """
        self.check_schema(rows.schema)

    def check_schema(self, found: Schema) -> None:
        """Refuse another schema by what differs first."""
        ours, theirs = _facts(self.schema), _facts(found)
        wrong = next((fact for fact in ours if theirs.get(fact) != ours[fact]), None)
        if wrong is not None:
            raise InputError(f"{type(self).__name__}: expected {wrong} {ours[wrong]}, got {theirs.get(wrong)}")

    def price(self, batch: Dataset) -> Float[Tensor, " rows"] | None:
        """What training charges each row besides its ELBO, or None; it is no part of any reported bound."""
        return None

    @abstractmethod
    def initialise(self, train: Dataset, *, seed: int) -> None:
        """Start all parameters afresh for these rows; call it after ``adopt``."""

    @abstractmethod
    def draw(self, rows: int) -> Draws:
        """Rows from the fitted model, under torch's current random state."""

    def draw_class(self, rows: int, label: object) -> Draws:
        """Rows of one of the label's classes, where the family was told them; others refuse.

        Args:
            rows: how many.
            label: one of the label's categories.

        Raises:
            InputError: the family was told no classes, or there is no such class.
        """
        raise InputError(f"label: expected a family that was told classes, got {type(self).__name__}")


class Exact(Family):
    """A family whose log density of a row is a closed form under its guide.

    Attributes:
        cells: numbers that the closed form holds at once for a row, for chunks of bounded memory.
    """

    cells: int

    @abstractmethod
    def log_prob(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """Log density of the prepared rows with every latent and parameter integrated out, nats."""


@dataclass(frozen=True)
class Weighed:
    """What draws of z say of the rows they were drawn for, nats in prepared units.

    Attributes:
        log_likelihood: (draws, rows) log p(x | z) of the observed cells.
        log_ratio: (draws, rows) log p(z) − log q(z | x).
        kl: (rows, units) KL(q(z | x) ‖ p(z)), by dimension of z where it has a closed form by dimension, else in one
            piece; the mean of −log_ratio where it has none at all.
        latents: the draws, as the densities saw them.
    """

    log_likelihood: Float[Tensor, "draws rows"]
    log_ratio: Float[Tensor, "draws rows"]
    kl: Float[Tensor, "rows units"]
    latents: tuple[Tensor, ...]

    @property
    def log_weights(self) -> Float[Tensor, "draws rows"]:
        """log p(x, z) − log q(z | x)."""
        return self.tempered(1.0)

    def tempered(self, kl: float) -> Float[Tensor, "draws rows"]:
        """The log weights, with log p(z) − log q(z | x) counted ``kl`` times, above 0."""
        return self.log_likelihood + kl * self.log_ratio


class Latent(Family):
    """A family whose rows have a place in a latent space.

    Attributes:
        latent: dimensions of z.
        noise: standard normals that the guide's answer for a row takes.
        cells: numbers that decoding a row holds at once, for chunks of bounded memory.
        shares_noise: whether several latents of a row come of the same noise, so that no gradient of one latent is
            its own, as the doubly reparametrised one must be.
    """

    latent: int
    noise: int
    cells: int
    shares_noise: bool = False

    @abstractmethod
    def weigh(self, batch: Dataset, noise: Float[Tensor, "draws *rows noise"], *, frozen: bool = False) -> Weighed:
        """What the guide's answers to standard normal noise say of each row.

        Args:
            batch: prepared rows.
            noise: (draws, rows, noise), or (draws, noise) for the same noise for every row.
            frozen: whether log q is to be held still as a function of z, and the latents be copies, on which a
                gradient can be weighted (the doubly reparametrised gradient).
        """

    def elbo_rows(self, batch: Dataset, noise: Float[Tensor, "draws rows noise"]) -> Float[Tensor, " rows"]:
        """An unbiased estimate of each row's ELBO, nats in prepared units: what Pyro's estimator makes of the pair."""
        found = self.weigh(batch, noise)
        return found.log_likelihood.mean(0) - found.kl.sum(-1)

    @abstractmethod
    def encode(self, batch: Dataset) -> Float[Tensor, "rows latent"]:
        """The guide's centre of z for each row."""

    @abstractmethod
    def decode(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch columns"]:
        """The means of the columns given z, prepared units; for a categorical column its most probable code."""


class Amortised(Latent):
    """A family whose log density of a row is bounded from below by importance weights from its guide."""

    def log_weights(self, batch: Dataset, noise: Float[Tensor, "draws noise"]) -> Float[Tensor, "draws rows"]:
        """log p(x, z) − log q(z | x) in nats, prepared units, at the guide's answer to this standard normal noise."""
        return self.weigh(batch, noise).log_weights.double()

    @abstractmethod
    def log_joint(self, batch: Dataset, points: Float[Tensor, "draws rows noise"]) -> Float[Tensor, "draws rows"]:
        """log p(x, z) at points z, hidden classes summed out; nats in prepared units.

        Behind a point stand, where levels are dequantised, standard normals whose lower tails are the shifts.
        """

    @abstractmethod
    def posterior(self, batch: Dataset) -> Distribution:
        """q(z | x) of each row."""

    @abstractmethod
    def prior(self) -> Distribution:
        """p(z)."""


def _facts(schema: Schema) -> dict[str, str]:
    """What one schema may differ in from another, in words."""
    facts = {"the columns": ", ".join(schema.names)}
    for column in schema.columns:
        facts[f"column {column.name!r} to be"] = " ".join([column.kind, *map(repr, column.categories)])
    label = schema.label and " ".join([repr(schema.label.name), "of", *map(repr, schema.label.categories)])
    whole = {"image_shape": str(schema.image_shape), "sequence": str(schema.sequence)}
    return facts | {"the label": label or "none"} | whole
