"""The class-given product as a family: the pair of ``mixture.py`` with closed forms of its step, bound and density."""

from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from pyro.infer import TraceEnum_ELBO
from torch import Tensor
from torch.distributions import Categorical

from ppl_models.datasets import Dataset, Schema, chunks_of, some_of
from ppl_models.datasets.dataset import ROWS_AT_ONCE, UNKNOWN
from ppl_models.distributions import ConjugateRow, Likelihoods, Weights, WeightsPrior
from ppl_models.distributions.conjugate import Conjugate
from ppl_models.errors import InputError
from ppl_models.families.family import LEARNT, Draws, Exact
from ppl_models.families.features import Features, coefficients, sums, sweep
from ppl_models.families.mixture import Guide, Model
from ppl_models.families.starts import one_hot, partitions


class ClassProduct(Exact):
    """The pair of ``mixture.py``, and the closed forms that natural-gradient inference asks for.

    Natural parameters have shape (restarts, classes, natural) there, and every method below takes the leading
    dimension along.

    Attributes:
        classes: the number of classes or components.
        labelled: whether the label, where known, tells the class.
        likelihoods: which likelihoods the columns have, and how their parameters are estimated.
        story: the class of the model, where it is not that of ``mixture.py``.
        answer: the class of its guide.
    """

    elbo = TraceEnum_ELBO
    story: type[Model] = Model
    answer: type[Guide] = Guide

    def __init__(
        self, schema: Schema, classes: int, *, labelled: bool, likelihoods: Likelihoods, weights: WeightsPrior
    ) -> None:
        super().__init__(schema)
        self.classes = classes
        self.labelled = labelled
        self.likelihoods = likelihoods
        row = ConjugateRow(schema, classes, likelihoods)
        self.cells = classes * sum(len(block.columns) * block.footprint for block in row)
        self.model = self.story(row, weights.over(classes, likelihoods.estimate), labelled=labelled)
        self.guide = self.answer(self.model)
        self.given = ", ".join(block.given for block in row if block.given)

    @property
    def row(self) -> ConjugateRow:
        """The product of column likelihoods."""
        return self.model.row

    @property
    def weights(self) -> Weights:
        """The classes' weights."""
        return self.model.weights

    @property
    def bayesian(self) -> bool:
        """Whether the guide holds a posterior of the parameters and not one value of each."""
        return self.likelihoods.estimate == "bayes"

    @property
    def n_parameters(self) -> int:
        """How many free parameters the model has: K − 1 weights, and the columns'."""
        return self.classes - 1 + sum(block.count_parameters(self.classes) for block in self.row)

    @property
    def class_names(self) -> tuple[object, ...]:
        """The label's classes, or the components' numbers from 1."""
        return self.schema.label.categories if self.labelled else tuple(range(1, self.classes + 1))

    @property
    def width(self) -> int:
        """How many statistics a row has."""
        return sum(self.row.sizes) + 1

    @property
    def nonnegative(self) -> Bool[Tensor, " natural"]:
        """Which of the sums cannot be negative."""
        return torch.cat([self.row.nonnegative, torch.ones(1, dtype=torch.bool)])

    def check(self, train: Dataset) -> None:
        """Refuse rows of another schema, too few rows, and cells that a likelihood cannot miss."""
        super().check(train)
        before = train.rows_before
        for part in [train[:1]] if train.complete else chunks_of(train, ROWS_AT_ONCE):
            for block in self.row:
                block.check(block.pick(part.observed), before=before)
            before += len(part)
        if not self.labelled and (distinct := _distinct(train, self.classes)) < self.classes:
            raise InputError(
                f"{type(self).__name__}: expected at least as many different rows as components, "
                f"got {distinct} among {train.all_rows} rows for {self.classes} components"
            )
        if self.likelihoods.estimate == "maximum-likelihood":
            self._check_unpriced(train)

    def _check_unpriced(self, train: Dataset) -> None:
        """Refuse what has no maximum of the likelihood: a class without rows, or columns that determine one another."""
        counts = train.sum_of(lambda part: part.weights @ one_hot(self.model.known(part), self.classes))
        if self.labelled and bool((counts == 0).any()):
            empty = self.class_names[int((counts == 0).nonzero()[0, 0])]
            raise InputError(
                f"{type(self).__name__}: label {self.schema.label.name!r}: expected rows of every class, got none of "
                f"{empty!r}; estimate 'bayes' or 'map' does without"
            )
        for block in filter(lambda block: block.together, self.row):
            block.check_unpriced(train.sum_of(partial(_complete_sums, block)), rows=train.all_rows)

    def adopt(self, train: Dataset) -> None:
        """Take over the preparation; counts take their prior's unit from it."""
        super().adopt(train)
        self.learn(train)

    def take_preparation(self, batch: Dataset) -> None:
        """Take over a batch's preparation without a look at how many rows there are."""
        self.loc.copy_(batch.loc)
        self.scale.copy_(batch.scale)
        self.learn(batch)

    def learn(self, rows: Dataset) -> None:
        """Let the blocks take what their priors need from rows, or 100,000 of them."""
        few = some_of(rows, LEARNT, seed=0)
        for block in self.row:
            block.learn(block.pick(few.values), few.weights, rows.scale)

    def initialise(self, train: Dataset, *, seed: int) -> None:
        """Put q(θ) where one start of ``start`` leads in a single step."""
        few = some_of(train, LEARNT, seed=seed)
        total = self.accumulate(self.features(few), self.start(few, restarts=1, seed=seed))
        if len(few) < train.all_rows:
            prior = self.model.prior()
            total = prior + train.total_weight / few.total_weight * (total - prior)
        self.guide.set_natural(self.settle(total, None)[0])

    def features(self, batch: Dataset) -> Features:
        """What the closed forms need of a batch."""
        return self.model.features(batch)

    def exchangeable(self, train: Dataset) -> bool:
        """Whether nothing tells the classes of these rows apart, so that it matters where a fit starts."""
        if self.classes == 1 or not self.labelled:
            return self.classes > 1
        return not train.known_labels

    def start(self, train: Dataset, *, restarts: int, seed: int) -> Float[Tensor, "restarts rows classes"]:
        """Responsibilities to start from: known classes, else the partitions of ``starts.py``.

        With known classes, rows of unknown class start with no responsibility at all, and one start is enough.
        """
        if self.exchangeable(train):
            return partitions(train, self.classes, restarts=restarts, seed=seed)
        labels = self.model.known(train)
        member = torch.zeros_like(labels) if self.classes == 1 else labels
        return one_hot(member, self.classes).to(train.values)[None]

    def accumulate(
        self,
        features: Features,
        responsibilities: Float[Tensor, "restarts rows classes"],
        *,
        previous: Float[Tensor, "restarts classes natural"] | None = None,
    ) -> Float[Tensor, "restarts classes natural"]:
        """The prior's natural parameters plus the sums of the statistics."""
        return self.model.prior() + sums(self.row, features, responsibilities, previous)

    def posterior(
        self,
        features: Features,
        responsibilities: Float[Tensor, "restarts rows classes"],
        *,
        previous: Float[Tensor, "restarts classes natural"] | None = None,
    ) -> Float[Tensor, "restarts classes natural"]:
        """Natural parameters of the optimal q(θ), for missing cells as ``previous`` has them."""
        return self.settle(self.accumulate(features, responsibilities, previous=previous), previous)

    def settle(
        self,
        total: Float[Tensor, "restarts classes natural"],
        previous: Float[Tensor, "restarts classes natural"] | None,
    ) -> Float[Tensor, "restarts classes natural"]:
        """Natural parameters of q(θ) from the prior's plus the rows' sums, and what they were before.

        Where the order of the classes counts, the larger ones come first.
        """
        if not self.weights.exchangeable:
            total = total.take_along_dim(total[..., -1].argsort(-1, descending=True)[..., None], -2)
        return self.guide.settle(total, previous)

    def expected_log_joint(
        self, features: Features, natural: Float[Tensor, "*restarts classes natural"]
    ) -> Float[Tensor, "*restarts rows classes"]:
        """E_q[log p(x, z = k | θ, weights)] of each row, nats in prepared units."""
        return self.model.expected_log_joint(features, natural)

    def certain_sums(self, batch: Dataset) -> Float[Tensor, "classes natural"] | None:
        """Σ weight · T(x) of each class; None unless the class of every row is certain and no cell is hidden."""
        labels = self.model.known(batch)
        member = torch.zeros_like(labels) if self.classes == 1 else labels
        if bool((member == UNKNOWN).any()) or self.row.hidden(batch):
            return None
        counts = torch.bincount(member, batch.weights, minlength=self.classes)
        return torch.cat([self.row.class_sums(batch, member, self.classes), counts[:, None]], -1)

    def coefficients(
        self, natural: Float[Tensor, "*restarts classes natural"]
    ) -> Float[Tensor, "*restarts classes natural"]:
        """What multiplies the statistics of a row in E_q[log p(x, z = k | θ, weights)]."""
        return coefficients(self.row, self.weights, natural)

    def sweep(
        self, features: Features, coefficients: Float[Tensor, "runs classes natural"]
    ) -> tuple[Float[Tensor, " runs"], Float[Tensor, "runs classes natural"]]:
        """Σ weight · log Σ_k exp E_q[log p(x, z = k)] without the base measure, and the sums of the statistics."""
        return sweep(self.row, features, coefficients)

    def divergence(self, natural: Float[Tensor, "*restarts classes natural"]) -> Float[Tensor, "*restarts"]:
        """KL(q(weights, θ) ‖ prior), nats; of a point mass, −log prior, and 0 for maximum likelihood."""
        return self.row.divergence(natural[..., :-1]) + self.weights.divergence(natural[..., -1])

    def arrange(self, natural: Float[Tensor, "classes natural"]) -> Int[Tensor, " classes"]:
        """A canonical order of the components: by the first column's location if it has one, else by weight."""
        if self.labelled:
            return torch.arange(self.classes)
        block, part = next(self.row.parts(natural[:, :-1]))
        key = block.unconstrain(part).get("loc")
        by_weight = key is None or not self.weights.exchangeable
        return (-self.weights.log_mean(natural[:, -1]) if by_weight else key[:, 0]).argsort(stable=True)

    def log_joint(self, batch: Dataset) -> Float[Tensor, "rows classes"]:
        """log p(x, z = k) with θ and the weights integrated out under q, nats in prepared units."""
        natural = self.guide.natural()
        return self.row.predictive(natural[:, :-1], batch) + self.weights.log_mean(natural[:, -1])

    def log_prob(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """log p(x) with the class, θ and the weights integrated out, nats in prepared units; labels are not used."""
        return self.log_joint(batch).logsumexp(-1)

    def draw(self, rows: int) -> Draws:
        """Rows from the predictive distribution, each with parameters of its own draw."""
        log_shares = self.weights.log_mean(self.guide.natural().detach()[:, -1])
        return self._draw(Categorical(logits=log_shares).sample((rows,)))

    def draw_class(self, rows: int, label: object) -> Draws:
        """Rows of a chosen class from the predictive distribution, where the classes are the label's."""
        if not self.labelled:
            return super().draw_class(rows, label)
        return self._draw(torch.full((rows,), self.schema.class_code(label), device=self.loc.device))

    def _draw(self, member: Int[Tensor, " rows"]) -> Draws:
        natural = self.guide.natural().detach()
        return Draws(self.row.draw(natural[:, :-1], member), member if self.labelled else None)


def _distinct(train: Dataset, enough: int) -> int:
    """How many different rows that count there are, or as many as are enough."""
    seen = train.hashes[:0]
    for part in chunks_of(train, ROWS_AT_ONCE):
        seen = torch.cat([seen, part.hashes[part.weights > 0]]).unique()
        if len(seen) >= enough:
            break
    return len(seen if train.share is None else train.share.gathered(seen[:enough]).unique())


def _complete_sums(block: Conjugate, part: Dataset) -> Float[Tensor, " natural"]:
    """Σ T(x) of the rows with every cell of some columns."""
    values, observed = block.pick(part.values), block.pick(part.observed)
    complete = observed.all(-1)
    return block.statistics(values[complete], observed[complete]).sum(0)
