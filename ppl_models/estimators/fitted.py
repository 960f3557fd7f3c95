"""What the faces share: X is checked, prepared and fitted to; rows are scored, and drawn."""

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from ppl_models.datasets import Column, Dataset, Schema, chunks_of, conform, prepare
from ppl_models.estimators.tables import Kinds, as_frame, as_given, distinct_rows, row_weights, schema_of
from ppl_models.families import ClassProduct, Family
from ppl_models.inference import Fit, Gradient, NaturalGradient, fit, log_density, sample
from ppl_models.inference.density import CELLS_AT_ONCE

LARGEST_SEED = 2**31 - 1
RandomState = int | np.random.RandomState | None


class FamilyEstimator(BaseEstimator, ABC):
    """A family behind scikit-learn's methods.

    A row of weight 2 is a row that occurs twice, and one of weight 0 is not there; the order of rows changes nothing.
    NaN is a missing cell, and is integrated out. Constant columns have no density: drop them, as ``VarianceThreshold``
    does.

    Attributes:
        fitted_: the ``Fit``: history, restarts, why it ended.
        family_: the fitted ``Family``, for everything that ``ppl_models.inference`` asks of one.
        n_iter_: passes or steps that were made.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if X was a frame whose columns have names of text.
    """

    kinds: Kinds | None
    fitted_: Fit
    family_: Family

    @abstractmethod
    def _family(self, schema: Schema) -> Family:
        """The family, not fitted yet."""

    def _schema(self, frame: pd.DataFrame) -> Schema:
        """What the columns are: those with names, what their cells speak for; those without, real."""
        return schema_of(frame, self.kinds, seen=hasattr(self, "feature_names_in_"))

    def _method(self) -> Gradient | NaturalGradient | None:
        """How the family is fitted; None for its own way."""
        return None

    def _learn(self, X: object, sample_weight: object, *, seed: int, label: pd.Categorical | None = None) -> None:
        """Fit the family to the rows that count."""
        frame = as_frame(self, X, reset=True)
        weights = row_weights(sample_weight, len(frame))
        counted = weights > 0
        schema = self._schema(frame[counted])
        if label is not None:
            schema, frame = _labelled(schema, frame, label)
        distinct, weights = distinct_rows(conform(frame[counted], schema), weights[counted])
        rows = prepare(distinct, schema, weights=weights)(distinct, weights=weights)
        self.fitted_ = fit(self._family(schema), rows, seed=seed, method=self._method())
        self.family_ = self.fitted_.family
        self.n_iter_ = int(self.fitted_.history["step"].iloc[-1])

    def _rows(self, X: object) -> Dataset:
        """Rows as the family takes them."""
        check_is_fitted(self)
        return self.family_.preparation(as_frame(self, X, reset=False))

    def score_samples(self, X: object) -> Float[np.ndarray, " rows"]:
        """log p(x) of each row, exact under the guide: nats in X's own units, higher is better.

        Args:
            X: rows by columns, as in ``fit``.
        """
        rows = self._rows(X)
        return log_density(self.family_, rows).values

    def __sklearn_tags__(self) -> Tags:
        """That NaN is welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class DensityEstimator(DensityMixin, FamilyEstimator):
    """A density of rows behind scikit-learn's methods."""

    random_state: RandomState

    def fit(self, X: object, y: object = None, sample_weight: object = None) -> "DensityEstimator":
        """Fit the density.

        Args:
            X: rows by columns, a frame or numbers; NaN where a cell is missing.
            y: not used.
            sample_weight: (rows,) how many rows each row stands for; 1 by default.

        Raises:
            InputError: a ValueError, where X, a weight or a setting cannot be used; it says which.
        """
        self._learn(X, sample_weight, seed=seed_of(self.random_state))
        return self

    def score(self, X: object, y: object = None) -> float:
        """The mean of ``score_samples``: nats per row in X's own units, higher is better.

        Args:
            X: rows by columns, as in ``fit``.
            y: not used.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> pd.DataFrame | np.ndarray:
        """New rows, in the form of the X that was fitted to.

        Args:
            n_samples: how many.
            random_state: the seed of the draws; None for other ones each time.
        """
        check_is_fitted(self)
        return as_given(self, sample(self.family_, n_samples, seed=seed_of(random_state)))


def seed_of(random_state: RandomState) -> int:
    """One seed out of what scikit-learn takes for a random state."""
    return int(check_random_state(random_state).randint(LARGEST_SEED))


def log_proba(family: ClassProduct, rows: Dataset) -> Float[np.ndarray, "rows classes"]:
    """The log probability of each class or component given a row's observed cells, nats."""
    size = max(1, CELLS_AT_ONCE // family.cells)
    with torch.no_grad():
        return torch.cat([family.log_joint(part).log_softmax(-1) for part in chunks_of(rows, size)]).numpy()


def _labelled(schema: Schema, frame: pd.DataFrame, label: pd.Categorical) -> tuple[Schema, pd.DataFrame]:
    """The schema and the rows with their classes, in a column whose name no other has."""
    name = "class"
    while name in frame:
        name += "_"
    column = Column(name, "categorical", tuple(label.categories))
    return replace(schema, label=column), frame.assign(**{name: label})
