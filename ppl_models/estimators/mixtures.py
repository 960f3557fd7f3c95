"""``MixtureDensity`` and ``GaussianMixtureDensity``: mixtures as scikit-learn's densities and clusterings."""

from typing import no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.base import ClusterMixin

from ppl_models.datasets import Schema
from ppl_models.distributions import CountModel, Estimate, WeightsPrior
from ppl_models.estimators.fitted import DensityEstimator, RandomState, log_proba
from ppl_models.estimators.tables import Kinds, schema_of
from ppl_models.families import GaussianMixture, Mixture
from ppl_models.inference import NaturalGradient

EVEN = WeightsPrior()
RESTARTS = NaturalGradient().restarts


class MixtureDensity(ClusterMixin, DensityEstimator):
    """A mixture over mixed columns; of categorical ones alone, latent class analysis.

    Args:
        n_components: the number of components, or the most there may be under a sparse prior of the weights.
        covariance: of the continuous columns, by one of mclust's fourteen names, or "full", "tied", "diagonal",
            "spherical".
        counts: the likelihood of count columns: "poisson", "negative-binomial" or, all in one block, "multinomial".
        estimate: "bayes", "map" or "maximum-likelihood"; the first where there is a conjugate prior, else the second.
        weights: the prior of the weights; None for an even one.
        n_init: starts, each run for a few passes; the best eight go on to the end.
        kinds: one kind for all columns, kinds or ``Column``s by name or position, or a schema. By default a frame's
            columns are what their cells speak for, as ``infer_schema`` has it, and an array's are real.
        random_state: the seed of the starts.

    Attributes:
        labels_: (rows,) the most probable component of each training row, from 0.

    >>> from ppl_models import load
    >>> table = load("wrodl").frame
    >>> found = MixtureDensity(random_state=0).fit(table)
    >>> found.sample(3, random_state=1).shape, len(found.labels_) == len(table)
    ((3, 5), True)
    """

    labels_: Int[np.ndarray, " rows"]

    @no_type_check  # what is no setting is refused in fit, as scikit-learn has it
    def __init__(  # noqa: PLR0913  # scikit-learn wants a setting each
        self,
        n_components: int = 2,
        *,
        covariance: str = "diagonal",
        counts: CountModel = "poisson",
        estimate: Estimate | None = None,
        weights: WeightsPrior | None = None,
        n_init: int = 64,
        kinds: Kinds | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.covariance = covariance
        self.counts = counts
        self.estimate = estimate
        self.weights = weights
        self.n_init = n_init
        self.kinds = kinds
        self.random_state = random_state

    def _learn(self, X: object, sample_weight: object, *, seed: int, label: pd.Categorical | None = None) -> None:
        super()._learn(X, sample_weight, seed=seed, label=label)
        self.labels_ = self.predict(X)

    def _family(self, schema: Schema) -> Mixture:
        return Mixture(
            schema,
            components=self.n_components,
            covariance=self.covariance,
            counts=self.counts,
            estimate=self.estimate,
            weights=self.weights or EVEN,
        )

    def _method(self) -> NaturalGradient:
        return NaturalGradient(restarts=min(RESTARTS, self.n_init), starts=self.n_init)

    def predict(self, X: object) -> Int[np.ndarray, " rows"]:
        """The most probable component of each row, from 0.

        Args:
            X: rows by columns, as in ``fit``.
        """
        rows = self._rows(X)
        return log_proba(self.family_, rows).argmax(1)

    def predict_proba(self, X: object) -> Float[np.ndarray, "rows components"]:
        """The probability of each component given a row's observed cells.

        Args:
            X: rows by columns, as in ``fit``.
        """
        rows = self._rows(X)
        return np.exp(log_proba(self.family_, rows))


class GaussianMixtureDensity(MixtureDensity):
    """A Gaussian mixture over real columns, and positive ones on their logarithm.

    Args:
        n_components: the number of components, or the most there may be under a sparse prior of the weights.
        covariance: by one of mclust's fourteen names, or "full", "tied", "diagonal", "spherical".
        estimate: "bayes", "map" or "maximum-likelihood"; the first where there is a conjugate prior, else the second.
        weights: the prior of the weights; None for an even one.
        n_init: starts, each run for a few passes; the best eight go on to the end.
        kinds: "positive", for all columns or by name or position; every other column is real, a frame's too.
        random_state: the seed of the starts.

    Attributes:
        labels_: (rows,) the most probable component of each training row, from 0.

    >>> from sklearn.datasets import load_iris
    >>> X = load_iris().data
    >>> round(GaussianMixtureDensity(3, covariance="full", random_state=0).fit(X).score(X), 2)
    -1.51
    """

    @no_type_check  # what is no setting is refused in fit, as scikit-learn has it
    def __init__(
        self,
        n_components: int = 2,
        *,
        covariance: str = "diagonal",
        estimate: Estimate | None = None,
        weights: WeightsPrior | None = None,
        n_init: int = 64,
        kinds: Kinds | None = None,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            n_components,
            covariance=covariance,
            estimate=estimate,
            weights=weights,
            n_init=n_init,
            kinds=kinds,
            random_state=random_state,
        )

    def _schema(self, frame: pd.DataFrame) -> Schema:
        return schema_of(frame, self.kinds, seen=False)

    def _family(self, schema: Schema) -> GaussianMixture:
        return GaussianMixture(
            schema,
            components=self.n_components,
            covariance=self.covariance,
            estimate=self.estimate,
            weights=self.weights or EVEN,
        )
