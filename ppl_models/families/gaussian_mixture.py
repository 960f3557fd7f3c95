"""Mixtures: naive Bayes whose class is never seen. Gaussian mixtures are those of real columns.

    weights ~ Dirichlet(1, ..., 1)
    z_i     ~ Categorical(weights)
    x_i     ~ Normal(loc_{z_i}, precision_{z_i}⁻¹)

with a normal-gamma prior (diagonal covariance) or a normal-Wishart one (full covariance). The sites, shapes, limits
and references are those of ``mixture.py``.
"""

from ppl_models.datasets import Schema
from ppl_models.distributions import Covariance
from ppl_models.errors import InputError
from ppl_models.families.mixture import ClassProduct


class Mixture(ClassProduct):
    """A mixture over mixed columns, independent given the component.

    Args:
        schema: what the columns are; a label is not used.
        components: the number of components.

    >>> from ppl_models.datasets import Column, Schema
    >>> Mixture(Schema((Column("visits", "count"),)), components=3).classes
    3
    """

    def __init__(self, schema: Schema, *, components: int) -> None:
        super().__init__(schema, _positive(components), labelled=False, covariance="diagonal")


class GaussianMixture(ClassProduct):
    """A Gaussian mixture over real columns, and positive ones on their logarithm.

    Args:
        schema: what the columns are, all of them real or positive; a label is not used.
        components: the number of components.
        covariance: "diagonal" or "full"; the latter needs rows without missing cells.
    """

    def __init__(self, schema: Schema, *, components: int, covariance: Covariance = "diagonal") -> None:
        discrete = [column for column in schema.columns if not column.continuous]
        if discrete:
            raise InputError(
                f"GaussianMixture: expected real or positive columns, column {discrete[0].name!r} is "
                f"{discrete[0].kind}; Mixture takes any kind"
            )
        if covariance not in ("diagonal", "full"):
            raise InputError(f"GaussianMixture: covariance must be 'diagonal' or 'full', not {covariance!r}")
        super().__init__(schema, _positive(components), labelled=False, covariance=covariance)


def _positive(components: int) -> int:
    """The number of components, checked."""
    if components < 1 or components != int(components):
        raise InputError(f"components: expected a whole number from 1, got {components}")
    return components
