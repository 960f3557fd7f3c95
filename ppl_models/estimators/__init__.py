"""Floor 4: scikit-learn faces of the families, for pipelines, grid searches and cross-validation.

Every ``score`` of a density and every ``score_samples`` is in nats per row, in X's own units, higher is better.
"""

from ppl_models.estimators.classifier import NaiveBayesClassifier
from ppl_models.estimators.mixtures import GaussianMixtureDensity, MixtureDensity
from ppl_models.estimators.vae import VAEDensity

__all__ = ["GaussianMixtureDensity", "MixtureDensity", "NaiveBayesClassifier", "VAEDensity"]
