"""Student's t mixtures: clusters with tails, so that rows far from all of them move none of them.

    weights      ~ Dirichlet(1, ..., 1)
    loc_k, precision_k ~ the conjugate prior of a normal component        for each component k
    freedom_k    ~ Gamma(2, 0.1)
    z_i          ~ Categorical(weights)                                   for each row i
    x_i | z_i    ~ StudentT(freedom_{z_i}, loc_{z_i}, precision_{z_i}⁻¹)

| symbol | site | shape |
|---|---|---|
| weights | ``weights`` | (K,) |
| precision, the inverse scale matrix | ``real.precision`` | (K, D, D), or (K, D) along the axes |
| loc | ``real.loc`` | (K, D) |
| freedom | ``real.freedom``, if it is estimated | (K,), or (1,) for all components |
| z | ``component`` | (N,), enumerated |
| x, its observed cells | ``real`` | (N, D) |

The guide is a point mass on the parameters, their mode or the maximum of the likelihood, and q(z | x) in closed form;
so log p(x), the component summed out, is exact under the guide. A row's missing cells are integrated out, since the
part of a multivariate t is one. The t is a normal of a width that is not seen, x | u ~ Normal(loc, (u · precision)⁻¹)
with u ~ Gamma(freedom / 2, freedom / 2), and the natural-gradient step at a point mass is EM's with u and z summed out
(``distributions/student.py``): a row far out has a small E[u], and counts by it. As the degrees of freedom rise it
becomes the Gaussian mixture at a point estimate; they lie from 0.5 to 1,000.

The prior of the scale matrices has the columns' interquartile ranges for its unit, since far rows stretch standard
deviations as far as they please. Restarts are those of every mixture, 64 starts and 8 runs side by side, but that
centres are chosen with far cells drawn in.

Limits: a point estimate says nothing of how sure its parameters are (``bootstrap_draws`` does); without priors the
likelihood has no bound, as a normal mixture's has none; rows say little of degrees of freedom beyond 30 or so; a
diagonal scale matrix makes columns uncorrelated given the component, and not independent, since a row's columns share
its width. References: Peel and McLachlan (2000), Robust mixture modelling using the t distribution,
https://doi.org/10.1023/A:1008981510081; Archambeau and Verleysen (2007), Robust Bayesian clustering,
https://doi.org/10.1016/j.neunet.2006.06.009, have a posterior of the parameters, under which no density is exact;
Juárez and Steel (2010), https://doi.org/10.1198/jbes.2009.07145, for the prior of the degrees of freedom.

Use it when clumps of real columns have heavy tails, or some rows are far from all the others and must not move them;
not when tails are light, which ``GaussianMixture`` tells with a posterior of its parameters, or when the far rows are a
group of their own.

>>> import numpy as np
>>> import ppl_models as ppl
>>> from ppl_models.families import StudentMixture
>>> from ppl_models.reports import sample_pairs
>>> table = ppl.load("iris")
>>> frame = table.frame.sample(frac=1, random_state=0, ignore_index=True)
>>> columns = list(table.schema.names)
>>> frame.loc[:7, columns] += np.random.default_rng(0).normal(scale=5, size=(8, 4))
>>> parts = ppl.split(frame, seed=0)
>>> prepare = ppl.prepare(parts.train, table.schema)
>>> for mixture in (ppl.GaussianMixture, StudentMixture):
...     family = mixture(table.schema, components=2)
...     found = ppl.fit(family, prepare(parts.train), seed=0)
...     density = ppl.log_density(family, prepare(parts.test))
...     print(f"log p(x), {mixture.__name__}: {density.elpd:.2f} nats per held-out row, {density.kind} under the guide")
log p(x), GaussianMixture: -6.87 nats per held-out row, exact under the guide
log p(x), StudentMixture: -4.08 nats per held-out row, exact under the guide
>>> drawn = ppl.sample(family, 150, seed=0)
>>> figure = sample_pairs(frame, drawn, columns=columns[:3], sides=("irises, some moved", "drawn"))

Picture: three columns of the irises, of which eight were moved far, and rows drawn from the t mixture.
"""

from dataclasses import replace

import pyro
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset, Schema, some_of
from ppl_models.distributions import Estimate, Likelihoods, StudentTails, WeightsPrior
from ppl_models.families.class_product import ClassProduct
from ppl_models.families.family import LEARNT
from ppl_models.families.finite_mixture import EVEN, positive
from ppl_models.families.gaussian_mixture import require_continuous
from ppl_models.families.mixture import Guide as MixtureGuide
from ppl_models.families.mixture import Model as MixtureModel
from ppl_models.families.mixture import classify
from ppl_models.families.plates import weighted_rows

NORMAL_RANGE = 1.349  # interquartile range of a standard normal


class Model(MixtureModel):
    """The generative story."""

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the story with the batch's observed cells."""
        weights, (theta,) = self.prior_parameters()
        (block,) = self.row
        values, observed = block.cells(batch)
        with weighted_rows(batch, rows):
            member = classify(self.known(batch), weights.log().expand(len(batch), -1))
            pyro.sample(block.site, block.likelihood(theta, member, observed), obs=values)


class Guide(MixtureGuide):
    """A point mass on the parameters, and q(z | x)."""

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the parameters, and the component of each row by its responsibilities."""
        model, natural = self.model[0], self.natural()
        model.parameters_from(natural)
        features = model.features(batch)
        with weighted_rows(batch, rows):
            classify(features.labels, model.expected_log_joint(features, natural))


class StudentMixture(ClassProduct):
    """A mixture of multivariate Student's t over real columns, and positive ones on their logarithm.

    Args:
        schema: what the columns are, all of them real or positive; a label is not used.
        components: the number of components, or the most there may be under a sparse prior of the weights.
        covariance: of the scale matrices: "full" (VVV) or "diagonal" (VVI).
        freedom: the degrees of freedom, where they are known; None to estimate them.
        tied_freedom: whether all components have the same.
        estimate: "map" or "maximum-likelihood".
        weights: the prior of the weights, a Dirichlet.

    Raises:
        InputError: a column of another kind, no component, another structure or estimate, or degrees of freedom that
            are not above 0.

    >>> from ppl_models.datasets import Column, Schema
    >>> StudentMixture(Schema((Column("dollars", "real"),)), components=2).n_parameters
    7
    """

    story = Model
    answer = Guide

    def __init__(
        self,
        schema: Schema,
        *,
        components: int,
        covariance: str = "diagonal",
        freedom: float | None = None,
        tied_freedom: bool = False,
        estimate: Estimate = "map",
        weights: WeightsPrior = EVEN,
    ) -> None:
        require_continuous(schema, "StudentMixture")
        likelihoods = Likelihoods(covariance, estimate=estimate, tails=StudentTails(freedom, tied_freedom))
        super().__init__(schema, positive(components), labelled=False, likelihoods=likelihoods, weights=weights)

    def learn(self, rows: Dataset) -> None:
        """Give the prior its unit."""
        few = some_of(rows, LEARNT, seed=0)
        for block in self.row:
            block.take_unit(block.pick(_deviations(_quartiles(few))))

    def start(self, train: Dataset, *, restarts: int, seed: int) -> Float[Tensor, "restarts rows classes"]:
        """Responsibilities to start from, far cells drawn in: centres would else be taken from the outliers."""
        quartiles = _quartiles(train)
        near = ((train.values - quartiles[1]) / _deviations(quartiles)).asinh()
        return super().start(replace(train, values=near.where(train.observed, 0.0)), restarts=restarts, seed=seed)


def _quartiles(rows: Dataset) -> Float[Tensor, "3 columns"]:
    """The quartiles of each column's observed cells, prepared units; a row of weight 2 is two rows."""
    order = rows.values.argsort(0)
    counts = (rows.weights[:, None] * rows.observed).take_along_dim(order, 0).cumsum(0)
    wanted = counts.new_tensor([0.25, 0.5, 0.75])[:, None] * counts[-1]
    places = (counts < wanted[:, None]).sum(1).clamp(max=len(rows) - 1)
    return rows.values.take_along_dim(order, 0).take_along_dim(places, 0)


def _deviations(quartiles: Float[Tensor, "3 columns"]) -> Float[Tensor, " columns"]:
    """The standard deviations of normals of these quartiles; or 1, that of all rows, if it is less or they are one."""
    found = (quartiles[2] - quartiles[0]) / NORMAL_RANGE
    return torch.where(found > 0, found, 1.0).clamp(max=1.0)
