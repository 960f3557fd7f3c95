"""``NaiveBayesClassifier``: naive Bayes over mixed columns as scikit-learn's classifier, and a density beside it."""

from typing import no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from ppl_models.datasets import Schema
from ppl_models.distributions import CountModel, Estimate
from ppl_models.errors import InputError
from ppl_models.estimators.fitted import FamilyEstimator, log_proba
from ppl_models.estimators.tables import Kinds, row_weights
from ppl_models.families import NaiveBayes


class NaiveBayesClassifier(ClassifierMixin, FamilyEstimator):
    """Columns independent given the class, each with the likelihood of its kind; nothing in it is left to chance.

    Args:
        covariance: of the continuous columns, by one of mclust's names; all but "diagonal" let them vary together
            ("EEE" is linear discriminant analysis, "VVV" quadratic).
        counts: the likelihood of count columns: "poisson", "negative-binomial" or, all in one block, "multinomial".
        smoothing: what is added to each category's count.
        estimate: "bayes", "map" or "maximum-likelihood"; the first where there is a conjugate prior, else the second.
        kinds: one kind for all columns, kinds or ``Column``s by name or position, or a schema. By default a frame's
            columns are what their cells speak for, as ``infer_schema`` has it, and an array's are real.

    Attributes:
        classes_: the classes of rows that count, in order.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> found = NaiveBayesClassifier().fit(X, y)
    >>> round(found.score(X, y), 2), round(float(found.score_samples(X).mean()), 2)
    (0.95, -2.12)
    """

    classes_: Shaped[np.ndarray, " classes"]

    @no_type_check  # what is no setting is refused in fit, as scikit-learn has it
    def __init__(
        self,
        *,
        covariance: str = "diagonal",
        counts: CountModel = "poisson",
        smoothing: float = 1.0,
        estimate: Estimate | None = None,
        kinds: Kinds | None = None,
    ) -> None:
        self.covariance = covariance
        self.counts = counts
        self.smoothing = smoothing
        self.estimate = estimate
        self.kinds = kinds

    def fit(self, X: object, y: object, sample_weight: object = None) -> "NaiveBayesClassifier":
        """Fit to labelled rows.

        Args:
            X: rows by columns, a frame or numbers; NaN where a cell is missing.
            y: (rows,) the classes.
            sample_weight: (rows,) how many rows each row stands for; 1 by default.

        Raises:
            InputError: a ValueError, where X, y, a weight or a setting cannot be used, or there is but one class.
        """
        labels = check_array(column_or_1d(y, warn=True), ensure_2d=False, dtype=None, input_name="y")
        check_classification_targets(labels)
        check_consistent_length(X, labels)
        classes = np.unique(labels[row_weights(sample_weight, len(labels)) > 0])
        if len(classes) < 2:
            raise InputError(f"y: expected two or more classes, got only one class, {classes.tolist()[0]!r}")
        label = pd.Categorical(labels, categories=classes.tolist())
        self._learn(X, sample_weight, seed=0, label=label)
        self.classes_ = classes
        return self

    def _family(self, schema: Schema) -> NaiveBayes:
        return NaiveBayes(
            schema, covariance=self.covariance, counts=self.counts, smoothing=self.smoothing, estimate=self.estimate
        )

    def predict(self, X: object) -> Shaped[np.ndarray, " rows"]:
        """The most probable class of each row.

        Args:
            X: rows by columns, as in ``fit``.
        """
        codes = self.predict_log_proba(X).argmax(1)
        return self.classes_[codes]

    def predict_proba(self, X: object) -> Float[np.ndarray, "rows classes"]:
        """The probability of each class given a row's observed cells, in the order of ``classes_``.

        Args:
            X: rows by columns, as in ``fit``.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: object) -> Float[np.ndarray, "rows classes"]:
        """The logarithm of ``predict_proba``.

        Args:
            X: rows by columns, as in ``fit``.
        """
        rows = self._rows(X)
        return log_proba(self.family_, rows)
