"""Floor 2: the families, each a Pyro model and guide."""

from ppl_models.families.autoencoder import Autoencoder
from ppl_models.families.class_product import ClassProduct
from ppl_models.families.conditional_vae import ConditionalVAE
from ppl_models.families.contractive_autoencoder import ContractiveAutoencoder
from ppl_models.families.family import Amortised, Draws, Exact, Family, Latent, Weighed
from ppl_models.families.features import Features, sums
from ppl_models.families.finite_mixture import Mixture
from ppl_models.families.gaussian_mixture import GaussianMixture
from ppl_models.families.hierarchical_vae import HierarchicalVAE
from ppl_models.families.labelled_vae import LabelledVAE
from ppl_models.families.markov_chain import MarkovChain
from ppl_models.families.naive_bayes import NaiveBayes
from ppl_models.families.semi_supervised_vae import SemiSupervisedVAE
from ppl_models.families.sequence_vae import SequenceVAE
from ppl_models.families.starts import one_hot
from ppl_models.families.student_mixture import StudentMixture
from ppl_models.families.vae import VAE

__all__ = [
    "VAE",
    "Amortised",
    "Autoencoder",
    "ClassProduct",
    "ConditionalVAE",
    "ContractiveAutoencoder",
    "Draws",
    "Exact",
    "Family",
    "Features",
    "GaussianMixture",
    "HierarchicalVAE",
    "LabelledVAE",
    "Latent",
    "MarkovChain",
    "Mixture",
    "NaiveBayes",
    "SemiSupervisedVAE",
    "SequenceVAE",
    "StudentMixture",
    "Weighed",
    "one_hot",
    "sums",
]
