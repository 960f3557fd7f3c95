"""Any mixture of any library on one scale: our ELBO of the training rows for its responsibilities."""

import torch

from ppl_models import GaussianMixture
from ppl_models.datasets import Dataset
from ppl_models.inference.bounds import raw_units
from ppl_models.inference.passes import bound

COMPONENTS = 10


class Judge:
    """Our ELBO of the training rows for the responsibilities of any mixture."""

    def __init__(self, rows: Dataset, covariance: str, components: int = COMPONENTS) -> None:
        self.rows, self.family = rows, mixture_of(rows, covariance, components)
        self.family.adopt(rows)
        self.features = self.family.features(rows)

    @torch.no_grad()
    def __call__(self, responsibilities: torch.Tensor) -> float:
        """Nats a row, raw units."""
        natural = self.family.posterior(self.features, responsibilities[None].double())
        return float(raw_units(bound(self.family, self.features, natural)[0], self.rows))


def mixture_of(rows: Dataset, covariance: str, components: int = COMPONENTS) -> GaussianMixture:
    """A new mixture."""
    return GaussianMixture(rows.schema, components=components, covariance=covariance)
