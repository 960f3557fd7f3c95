"""Mixtures: naive Bayes whose class is never seen; latent classes where all columns are categorical.

    weights        ~ Dirichlet(1, ..., 1), or the sticks of a Dirichlet process
    z_i | weights  ~ Categorical(weights)
    x_i | z_i      ~ Π_d p(x_id | θ_{z_i, d})          normal, log-normal, count, Bernoulli or categorical by column

The component z is summed out, in training and in the density of a row. The sites, shapes, limits and references are
those of ``mixture.py``.

Use it when rows fall into groups that nobody named, columns are of mixed kinds, cells may be missing, and the density
is to be exact; not when columns vary together within a group, which more components can only imitate, or when rows
differ by degree and not by kind.

>>> import ppl_models as ppl
>>> from ppl_models.datasets import prepare_split
>>> from ppl_models.reports import sample_pairs
>>> table = ppl.load("fast_food_customers")
>>> parts = prepare_split(table.frame, table.schema, seed=0)
>>> found = ppl.fit(ppl.Mixture(table.schema, components=3), parts.train, seed=0)
>>> print(f"ELBO: {found.elbo:.2f} nats per training row, lower bound")
ELBO: -11.44 nats per training row, lower bound
>>> density = ppl.log_density(found.family, parts.test)
>>> print(f"log p(x): {density.elpd:.2f} nats per held-out row, {density.kind} under the guide")
log p(x): -11.50 nats per held-out row, exact under the guide
>>> drawn = ppl.sample(found.family, 400, seed=0)
>>> figure = sample_pairs(parts.frames.test, drawn, columns=["dollars_per_week", "visits_per_week", "age"])

Picture: three columns of held-out customers, and customers drawn from the mixture.
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


def positive(components: int) -> int:
    """The number of components, checked.

    Raises:
        InputError: it is no whole number from 1.
    """
    if components < 1 or components != int(components):
        raise InputError(f"components: expected a whole number from 1, got {components}")
    return components
