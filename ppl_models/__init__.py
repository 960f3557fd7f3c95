"""Naive Bayes, Gaussian mixtures and variational autoencoders, all Pyro model and guide pairs, on one honest scale.

Nats per row, the data's own units, higher is better, exact or bound said beside it. The names below stand in the order
of a row's journey; ``ppl_models.datasets``, ``families``, ``inference`` and ``evaluation`` hold the rest.
"""

from ppl_models.datasets import Schema, infer_schema, load, prepare, read, split
from ppl_models.evaluation import compare
from ppl_models.families import VAE, Autoencoder, GaussianMixture, Mixture, NaiveBayes
from ppl_models.inference import fit, log_density, sample
from ppl_models.reports import Report

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
