"""Naive Bayes, Gaussian mixtures and variational autoencoders, all Pyro model and guide pairs, on one honest scale.

Nats per row, the data's own units, higher is better, exact or bound said beside it. The names below stand in the order
of a row's journey; ``ppl_models.datasets``, ``families``, ``inference`` and ``evaluation`` hold the rest. Each is
imported when it is first asked for: torch and Pyro take seconds. The scikit-learn estimators of
``ppl_models.estimators`` and ``to_arviz``, the way out to ArviZ, can be had from here too.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppl_models.datasets import Schema, infer_schema, load, prepare, read, split
    from ppl_models.estimators import GaussianMixtureDensity as GaussianMixtureDensity
    from ppl_models.estimators import MixtureDensity as MixtureDensity
    from ppl_models.estimators import NaiveBayesClassifier as NaiveBayesClassifier
    from ppl_models.estimators import VAEDensity as VAEDensity
    from ppl_models.evaluation import compare
    from ppl_models.families import VAE, Autoencoder, GaussianMixture, Mixture, NaiveBayes
    from ppl_models.inference import fit, log_density, sample
    from ppl_models.reports import Report

_HOMES = {
    "datasets": ("Schema", "infer_schema", "load", "prepare", "read", "split"),
    "evaluation": ("compare",),
    "families": ("VAE", "Autoencoder", "GaussianMixture", "Mixture", "NaiveBayes"),
    "inference": ("fit", "log_density", "sample", "to_arviz"),
    "reports": ("Report",),
    "estimators": ("GaussianMixtureDensity", "MixtureDensity", "NaiveBayesClassifier", "VAEDensity"),
}

__all__ = [
    "VAE",
    "Autoencoder",
    "GaussianMixture",
    "Mixture",
    "NaiveBayes",
    "Report",
    "Schema",
    "compare",
    "fit",
    "infer_schema",
    "load",
    "log_density",
    "prepare",
    "read",
    "sample",
    "split",
]


def __getattr__(name: str) -> object:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
