"""Mixtures: naive Bayes whose class is never seen. Gaussian mixtures are those of real columns.

    weights ~ Dirichlet(1, ..., 1)
    z_i     ~ Categorical(weights)
    x_i     ~ Normal(loc_{z_i}, precision_{z_i}⁻¹)

with a conjugate prior where the covariance has one (EII, VII, EEI, VVI, EEE, VVV) and a point mass for the other eight
of mclust's structures (VEI, EVI, VEE, EVE, VVE, EEV, VEV, EVV). The sites, shapes, limits and references are those of
``mixture.py``.
"""

from ppl_models.datasets import Schema
from ppl_models.distributions import CountModel, Estimate, Likelihoods, WeightsPrior
from ppl_models.errors import InputError
from ppl_models.families.class_product import ClassProduct

EVEN = WeightsPrior()


class Mixture(ClassProduct):
    """A mixture over mixed columns, independent given the component unless the covariance says otherwise.

    Latent class analysis is the mixture of categorical columns.

    Args:
        schema: what the columns are; a label is not used.
        components: the number of components, or the most there may be under a sparse prior of the weights.
        covariance: of the continuous columns, by one of mclust's fourteen names, or "full" (VVV), "tied" (EEE),
            "diagonal" (VVI), "spherical" (VII); E and V for one column.
        counts: the likelihood of count columns: "poisson", "negative-binomial" or, all in one block, "multinomial".
        smoothing: the concentration of a category's prior.
        estimate: "bayes", "map" or "maximum-likelihood"; the first where there is a conjugate prior, else the second.
        weights: the prior of the weights.

    >>> from ppl_models.datasets import Column, Schema
    >>> Mixture(Schema((Column("visits", "count"),)), components=3).classes
    3
    """

    def __init__(
        self,
        schema: Schema,
        *,
        components: int,
        covariance: str = "diagonal",
        counts: CountModel = "poisson",
        smoothing: float = 1.0,
        estimate: Estimate | None = None,
        weights: WeightsPrior = EVEN,
    ) -> None:
        likelihoods = Likelihoods(covariance, counts, smoothing, estimate)
        super().__init__(schema, positive(components), labelled=False, likelihoods=likelihoods, weights=weights)


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


def positive(components: int) -> int:
    """The number of components, checked.

    Raises:
        InputError: it is no whole number from 1.
    """
    if components < 1 or components != int(components):
        raise InputError(f"components: expected a whole number from 1, got {components}")
    return components
