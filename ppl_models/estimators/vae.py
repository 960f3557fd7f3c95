"""``VAEDensity``: a variational autoencoder as scikit-learn's density and transformer."""

from typing import no_type_check

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ppl_models.datasets import Schema
from ppl_models.estimators.fitted import DensityEstimator, RandomState
from ppl_models.estimators.tables import Kinds, as_given
from ppl_models.families import VAE
from ppl_models.inference import Gradient, decode, encode, log_density
from ppl_models.nn import Dense


class VAEDensity(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityEstimator):
    """Rows decoded from a point in R^L, whose place a network tells at once; in double precision.

    ``score_samples`` is a lower bound of log p(x), and not comparable as such with an exact density that it is behind.

    Args:
        n_components: L, the dimensions of the latent space.
        hidden: widths of the encoder's hidden layers; the decoder's are the same in reverse.
        max_iter: steps of Adam on the ELBO, over which the rate follows one cycle; all of them are made.
        learning_rate: the highest of the cycle.
        draws: importance draws a row, of which the bound is made.
        kinds: one kind for all columns, kinds or ``Column``s by name or position, or a schema. By default a frame's
            columns are what their cells speak for, as ``infer_schema`` has it, and an array's are real.
        random_state: the seed of weights, batches, noise and importance draws.

    >>> from sklearn.datasets import load_iris
    >>> X = load_iris().data
    >>> found = VAEDensity(max_iter=30, random_state=0).set_output(transform="pandas")
    >>> found.fit_transform(X).columns.tolist(), found.inverse_transform([[0.0, 0.0]]).shape
    (['vaedensity0', 'vaedensity1'], (1, 4))
    """

    @no_type_check  # what is no setting is refused in fit, as scikit-learn has it
    def __init__(
        self,
        n_components: int = 2,
        *,
        hidden: tuple[int, ...] = (64, 64),
        max_iter: int = 3000,
        learning_rate: float = 3e-3,
        draws: int = 500,
        kinds: Kinds | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.hidden = hidden
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.draws = draws
        self.kinds = kinds
        self.random_state = random_state

    def _learn(self, X: object, sample_weight: object, *, seed: int, label: pd.Categorical | None = None) -> None:
        super()._learn(X, sample_weight, seed=seed, label=label)
        self._n_features_out = self.n_components

    def _family(self, schema: Schema) -> VAE:
        return VAE(schema, latent=self.n_components, network=Dense(self.hidden), dtype=torch.float64)

    def _method(self) -> Gradient:
        return Gradient(steps=self.max_iter, learning_rate=self.learning_rate)

    def score_samples(self, X: object) -> Float[np.ndarray, " rows"]:
        """A lower bound of log p(x) of each row, by importance draws: nats in X's own units, higher is better.

        It rises with ``draws`` on average. All rows share the same noise, drawn with the seed of the fit, so that
        neither their order nor their company changes anything.

        Args:
            X: rows by columns, as in ``fit``.
        """
        rows = self._rows(X)
        return log_density(self.family_, rows, seed=self.fitted_.seed, draws=self.draws).values

    def transform(self, X: object) -> Float[np.ndarray, "rows latent"]:
        """The mean of q(z | x) of each row.

        Args:
            X: rows by columns, as in ``fit``.
        """
        rows = self._rows(X)
        return encode(self.family_, rows).to_numpy()

    def inverse_transform(self, X: object) -> pd.DataFrame | np.ndarray:
        """The typical row at each point of the latent space, in the form of the X that was fitted to.

        Args:
            X: (rows, latent) points, such as ``transform`` gives.
        """
        check_is_fitted(self)
        points = check_array(X, dtype=np.float64)
        return as_given(self, decode(self.family_, points))
