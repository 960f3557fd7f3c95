"""The class-given product: a class is drawn, then each column given the class.

    weights        ~ Dirichlet(1, ..., 1)
    θ_k            ~ conjugate prior of each column's likelihood        for each class k
    z_i | weights  ~ Categorical(weights)                              for each row i
    x_i | z_i      ~ Π_d p(x_id | θ_{z_i, d})

| symbol | site | shape |
|---|---|---|
| weights | ``weights`` | (K,) |
| θ | ``real.loc``, ``real.precision``, ``count.rate``, ``categorical_C.probs`` | (K, D, ...) |
| z | ``component`` | (N,), enumerated |
| y | ``label``, observed where known | (N,) |
| x | ``real``, ``count``, ``categorical_C`` | (N, D) |

The guide is the conjugate one, q(weights) q(θ) q(z | x): the first two in their priors' families, the last in closed
form from them, q(z = k | x) ∝ exp E_q[log p(x, z = k | θ, weights)]. Naive Bayes sees z for some rows or all, a mixture
for none; the code is the same. A row's density integrates z, weights and θ out exactly under q.

Limits: columns are independent given the class (the full covariance of Gaussian mixtures apart); q(θ) and q(z | x)
are independent, so posteriors of overlapping components come out too narrow. References: Bishop (2006), Pattern
Recognition and Machine Learning, section 10.2; Hoffman, Blei, Wang and Paisley (2013), Stochastic variational
inference, https://jmlr.org/papers/v14/hoffman13a.html.
"""

from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float, Int
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

from ppl_models.datasets import Dataset, Schema
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions import ConjugateRow, Covariance
from ppl_models.errors import InputError
from ppl_models.families.family import Draws, Exact, weighted_rows
from ppl_models.families.starts import embed, nearest_centres, one_hot


@dataclass(frozen=True)
class Features:
    """What the closed forms need of a batch.

    Attributes:
        statistics: (rows, natural) T(x), with a last column of ones for the class's own count.
        base: (rows,) h(x), nats.
        labels: (rows,) the class where it is known, −1 elsewhere.
        weights: (rows,) how much each row counts.
    """

    statistics: Float[Tensor, "rows natural"]
    base: Float[Tensor, " rows"]
    labels: Int[Tensor, " rows"]
    weights: Float[Tensor, " rows"]

    def __getitem__(self, rows: Tensor) -> "Features":
        return Features(*(getattr(self, name)[rows] for name in ("statistics", "base", "labels", "weights")))


class Model(nn.Module):
    """The generative story."""

    def __init__(self, row: ConjugateRow, classes: int, *, labelled: bool) -> None:
        super().__init__()
        self.row = row
        self.classes = classes
        self.labelled = labelled
        self.register_buffer("concentration", torch.ones(classes, dtype=torch.float64))

    def known(self, batch: Dataset) -> Int[Tensor, " rows"]:
        """The classes that this model is told, −1 for the others."""
        return batch.labels if self.labelled else torch.full_like(batch.labels, UNKNOWN)

    def prior(self) -> Float[Tensor, "classes natural"]:
        """Natural parameters of the prior, the weights' concentration in the last column."""
        return torch.cat([self.row.prior.expand(self.classes, -1), self.concentration[:, None]], -1)

    def parameters_from(
        self, natural: Float[Tensor, "*batch classes natural"]
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Sample the weights and each block's θ; the guide calls this with its own natural parameters."""
        weights = pyro.sample("weights", dist.Dirichlet(natural[..., -1]))
        with pyro.plate("classes", self.classes, dim=-1):
            return weights, [block.sample(part) for block, part in self.row.parts(natural[..., :-1])]

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the story with the batch's cells, and known classes, observed."""
        weights, thetas = self.parameters_from(self.prior())
        labels = self.known(batch)
        with weighted_rows(batch, rows):
            member = classify(labels, weights.log().expand(len(batch), -1))
            with poutine.mask(mask=labels != UNKNOWN):
                pyro.sample("label", dist.Categorical(weights), obs=labels.clamp(min=0))
            for block, theta in zip(self.row, thetas, strict=True):
                cells = block.likelihood(theta, member)
                if not cells.event_shape:
                    cells = cells.mask(block.pick(batch.observed)).to_event(1)
                pyro.sample(block.site, cells, obs=block.pick(batch.values))


class Guide(nn.Module):
    """q(weights) q(θ) q(z | x), with unconstrained parameters ``weights__log_concentration`` and ``site__name``."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = [model]  # in a list, since its buffers are the model's own
        self.free = nn.ParameterDict({name: nn.Parameter(value) for name, value in self._free(model.prior()).items()})

    def _free(self, natural: Tensor) -> dict[str, Tensor]:
        weights = {"weights__log_concentration": natural[..., -1].log()}
        return weights | self.model[0].row.unconstrain(natural[..., :-1])

    def natural(self) -> Float[Tensor, "classes natural"]:
        """Natural parameters of q(θ), the weights' concentration in the last column."""
        concentration = self.free["weights__log_concentration"].exp()
        return torch.cat([self.model[0].row.natural(dict(self.free.items())), concentration[:, None]], -1)

    @torch.no_grad()
    def set_natural(self, natural: Float[Tensor, "classes natural"]) -> None:
        """Put q(θ) at these natural parameters."""
        for name, value in self._free(natural).items():
            self.free[name].copy_(value)

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample θ from q, and the class of each row by its responsibilities."""
        model, natural = self.model[0], self.natural()
        model.parameters_from(natural)
        with weighted_rows(batch, rows):
            features = features_of(model, batch)
            classify(features.labels, expected_log_joint(model, features, natural))


def classify(labels: Int[Tensor, " rows"], logits: Float[Tensor, "rows classes"]) -> Tensor:
    """Each row's class: the label where it is known, else the enumerated site ``component``.

    A row of known class has a ``component`` as well, one that nothing depends on: uniform in model and guide alike, it
    adds nothing to the ELBO.
    """
    known = labels != UNKNOWN
    if bool(known.all()):
        return labels
    logits = torch.where(known[:, None], 0.0, logits)
    member = pyro.sample("component", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
    return torch.where(known, labels, member)


def features_of(model: Model, batch: Dataset) -> Features:
    """What the closed forms need of a batch."""
    statistics = model.row.statistics(batch)
    ones = torch.ones_like(statistics[:, :1])
    return Features(torch.cat([statistics, ones], -1), model.row.base_measure(batch), model.known(batch), batch.weights)


def expected_log_joint(
    model: Model, features: Features, natural: Float[Tensor, "*restarts classes natural"]
) -> Float[Tensor, "*restarts rows classes"]:
    """E_q[log p(x, z = k | θ, weights)] of each row, nats in prepared units."""
    concentration = natural[..., -1]
    weights = concentration.digamma() - concentration.sum(-1, keepdim=True).digamma()
    expected = torch.cat([model.row.expected(natural[..., :-1]), weights[..., None]], -1)
    return features.statistics @ expected.mT + features.base[:, None]


class ClassProduct(Exact):
    """The pair of this file, and the closed forms that natural-gradient inference asks for.

    Natural parameters have shape (restarts, classes, natural) there, and every method below takes the leading
    dimension along.

    Attributes:
        classes: the number of classes or components.
        labelled: whether the label, where known, tells the class.
    """

    elbo = TraceEnum_ELBO

    def __init__(self, schema: Schema, classes: int, *, labelled: bool, covariance: Covariance) -> None:
        super().__init__(schema)
        self.classes = classes
        self.labelled = labelled
        self.cells = classes * len(schema.columns)
        self.model = Model(ConjugateRow(schema, classes, covariance), classes, labelled=labelled)
        self.guide = Guide(self.model)

    @property
    def row(self) -> ConjugateRow:
        """The product of column likelihoods."""
        return self.model.row

    def check(self, train: Dataset) -> None:
        """Refuse rows of another schema, fewer rows than classes, and cells that a likelihood cannot miss."""
        super().check(train)
        for block in self.row:
            block.check(block.pick(train.observed))
        if len(train) < self.classes:
            raise InputError(
                f"{type(self).__name__}: expected at least as many rows as classes, "
                f"got {len(train)} rows for {self.classes} classes"
            )

    def adopt(self, train: Dataset) -> None:
        """Take over the preparation; counts take their prior's unit from it."""
        super().adopt(train)
        for block in self.row:
            block.set_unit(train.scale)

    def initialise(self, train: Dataset, *, seed: int) -> None:
        """Put q(θ) where one start of ``start`` leads in a single step."""
        features = self.features(train)
        self.guide.set_natural(self.posterior(features, self.start(train, restarts=1, seed=seed))[0])

    def features(self, batch: Dataset) -> Features:
        """What the closed forms need of a batch."""
        return features_of(self.model, batch)

    def start(self, train: Dataset, *, restarts: int, seed: int) -> Float[Tensor, "restarts rows classes"]:
        """Responsibilities to start from: known classes, else the nearest of k-means++ centres.

        With known classes, rows of unknown class start with no responsibility at all and one start is enough.
        """
        labels = self.model.known(train)
        if self.classes == 1 or bool((labels != UNKNOWN).any()):
            member = torch.zeros_like(labels) if self.classes == 1 else labels
            return one_hot(member, self.classes).to(train.values)[None]
        table = embed(train)
        return torch.stack([nearest_centres(table, self.classes, seed + restart) for restart in range(restarts)])

    def posterior(
        self, features: Features, responsibilities: Float[Tensor, "restarts rows classes"], scale: float = 1.0
    ) -> Float[Tensor, "restarts classes natural"]:
        """Natural parameters of the optimal q(θ): the prior's plus ``scale`` times the sum of the statistics."""
        weighted = responsibilities * features.weights[:, None]
        return self.model.prior() + scale * (weighted.mT @ features.statistics)

    def expected_log_joint(
        self, features: Features, natural: Float[Tensor, "*restarts classes natural"]
    ) -> Float[Tensor, "*restarts rows classes"]:
        """E_q[log p(x, z = k | θ, weights)] of each row, nats in prepared units."""
        return expected_log_joint(self.model, features, natural)

    def divergence(self, natural: Float[Tensor, "*restarts classes natural"]) -> Float[Tensor, "*restarts"]:
        """KL(q(weights, θ) ‖ prior), nats."""
        prior = self.model.prior()
        theta, theta_prior = natural[..., :-1], prior[:, :-1]
        blocks = ((theta - theta_prior) * self.row.expected(theta)).sum(-1)
        blocks = blocks - self.row.log_partition(theta) + self.row.log_partition(theta_prior)
        weights = torch.distributions.kl_divergence(
            torch.distributions.Dirichlet(natural[..., -1]), torch.distributions.Dirichlet(prior[:, -1])
        )
        return blocks.sum(-1) + weights

    def arrange(self, natural: Float[Tensor, "classes natural"]) -> Float[Tensor, "classes natural"]:
        """Components in a canonical order: by the first column's expected location if it has one, else by weight."""
        if self.labelled:
            return natural
        block, part = next(self.row.parts(natural[:, :-1]))
        key = block.unconstrain(part).get("loc")
        return natural[(-natural[:, -1] if key is None else key[:, 0]).argsort()]

    def log_joint(self, batch: Dataset) -> Float[Tensor, "rows classes"]:
        """log p(x, z = k) with θ and the weights integrated out under q, nats in prepared units."""
        natural = self.guide.natural()
        return self.row.predictive(natural[:, :-1], batch) + (natural[:, -1] / natural[:, -1].sum()).log()

    def log_prob(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """log p(x) with the class, θ and the weights integrated out, nats in prepared units; labels are not used."""
        return self.log_joint(batch).logsumexp(-1)

    def draw(self, rows: int) -> Draws:
        """Rows from the predictive distribution, each with parameters of its own draw."""
        natural = self.guide.natural().detach()
        member = dist.Categorical(probs=natural[:, -1]).sample((rows,))
        return Draws(self.row.draw(natural[member, :-1]), member if self.labelled else None)
