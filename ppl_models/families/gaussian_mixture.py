"""Mixtures: naive Bayes whose class is never seen. Gaussian mixtures are those of real columns.

    weights ~ Dirichlet(1, ..., 1)
    z_i     ~ Categorical(weights)
    x_i     ~ Normal(loc_{z_i}, precision_{z_i}⁻¹)

with a conjugate prior where the covariance has one (EII, VII, EEI, VVI, EEE, VVV) and a point mass for the other eight
of mclust's structures (VEI, EVI, VEE, EVE, VVE, EEV, VEV, EVV). The sites, shapes, limits and references are those of
``mixture.py``.

Use it when real columns have clumps in the shape of ellipses, and an exact density, mclust's covariances or its BIC are
wanted; not when columns are many beside the rows of a component, since a full covariance has D (D + 1) / 2 numbers,
when tails are heavy, or when rows lie along a bent sheet.

>>> import ppl_models as ppl
>>> from ppl_models.datasets import prepare_split
>>> from ppl_models.reports import sample_pairs
>>> table = ppl.load("iris")
>>> parts = prepare_split(table.frame, table.schema, seed=0, stratify="label")
>>> for covariance in ("diagonal", "full"):
...     family = ppl.GaussianMixture(table.schema, components=2, covariance=covariance)
...     found = ppl.fit(family, parts.train, seed=0)
...     density = ppl.log_density(family, parts.test)
...     print(f"log p(x), {covariance}: {density.elpd:.2f} nats per held-out iris, {density.kind} under the guide")
log p(x), diagonal: -2.72 nats per held-out iris, exact under the guide
log p(x), full: -1.99 nats per held-out iris, exact under the guide
>>> drawn = ppl.sample(family, 150, seed=0)
>>> figure = sample_pairs(table.frame, drawn, columns=list(table.schema.names)[:3], sides=("irises", "drawn"))

Picture: three columns of the irises, and rows drawn from the mixture of full covariance.
"""

from ppl_models.datasets import Schema
from ppl_models.distributions import Estimate, WeightsPrior
from ppl_models.errors import InputError
from ppl_models.families.finite_mixture import EVEN, Mixture


class GaussianMixture(Mixture):
    """A Gaussian mixture over real columns, and positive ones on their logarithm.

    Args:
        schema: what the columns are, all of them real or positive; a label is not used.
        components: as ``Mixture`` has it, and so the others.
        covariance: one of mclust's names or a synonym.
        estimate: "bayes", "map" or "maximum-likelihood".
        weights: the prior of the weights.

    >>> from ppl_models.datasets import Column, Schema
    >>> GaussianMixture(Schema((Column("dollars", "real"),)), components=2, covariance="E").n_parameters
    4
    """

    def __init__(
        self,
        schema: Schema,
        *,
        components: int,
        covariance: str = "diagonal",
        estimate: Estimate | None = None,
        weights: WeightsPrior = EVEN,
    ) -> None:
        require_continuous(schema, "GaussianMixture")
        super().__init__(schema, components=components, covariance=covariance, estimate=estimate, weights=weights)


def require_continuous(schema: Schema, what: str) -> None:
    """Refuse columns that are neither real nor positive.

    Args:
        schema: what the columns are.
        what: the family that is for no others.

    Raises:
        InputError: there is one.
    """
    discrete = [column for column in schema.columns if not column.continuous]
    if discrete:
        raise InputError(
            f"{what}: expected real or positive columns, column {discrete[0].name!r} is {discrete[0].kind}; Mixture "
            "takes any kind"
        )
