"""The class-given product: a class is drawn, then each column given the class.

    weights        ~ Dirichlet(1, ..., 1)
    θ_k            ~ conjugate prior of each column's likelihood        for each class k
    z_i | weights  ~ Categorical(weights)                              for each row i
    x_i | z_i      ~ Π_d p(x_id | θ_{z_i, d})

| symbol | site | shape |
|---|---|---|
| weights | ``weights``, or ``sticks`` of a Dirichlet process | (K,) |
| θ | ``real.loc``, ``real.precision``, ``count.rate``, ``categorical_C.probs``, ... | (K, D, ...) |
| z | ``component`` | (N,), enumerated |
| missing cells of columns that vary together | ``real.missing`` | (N, D) |
| y | ``label``, observed where known | (N,) |
| x | ``real``, ``count``, ``categorical_C`` | (N, D) |

The guide is the conjugate one, q(weights) q(θ) q(z | x): the first two in their priors' families or point masses, the
last in closed form from them, q(z = k | x) ∝ exp E_q[log p(x, z = k | θ, weights)]. Naive Bayes sees z for some rows
or all, a mixture for none; the code is the same. A row's density integrates z, weights and θ out exactly under q.

Limits: columns are independent given the class (covariances that are not diagonal apart); q(θ) and q(z | x) are
independent, so posteriors of overlapping components come out too narrow. References: Bishop (2006), Pattern
Recognition and Machine Learning, section 10.2; Hoffman, Blei, Wang and Paisley (2013), Stochastic variational
inference, https://jmlr.org/papers/v14/hoffman13a.html.
"""

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float, Int
from pyro import poutine
from torch import Tensor, nn

from ppl_models.datasets import Dataset
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions import Conjugate, ConjugateRow, Weights
from ppl_models.families.features import Features, expected_log_joint, features_of
from ppl_models.families.plates import weighted_rows


class Model(nn.Module):
    """The generative story."""

    def __init__(self, row: ConjugateRow, weights: Weights, *, labelled: bool) -> None:
        super().__init__()
        self.row = row
        self.weights = weights
        self.classes = len(weights.prior)
        self.labelled = labelled

    def known(self, batch: Dataset) -> Int[Tensor, " rows"]:
        """The classes that this model is told, −1 for the others."""
        return batch.labels if self.labelled else batch.labels.new_full((1,), UNKNOWN).expand(len(batch))

    def prior(self) -> Float[Tensor, "classes natural"]:
        """Natural parameters of the prior, the weights' in the last column."""
        return torch.cat([self.row.prior.expand(self.classes, -1), self.weights.prior[:, None]], -1)

    def features(self, batch: Dataset) -> Features:
        """What the closed forms need of a batch."""
        return features_of(self.row, batch, self.known(batch), self.classes)

    def expected_log_joint(
        self, features: Features, natural: Float[Tensor, "*restarts classes natural"]
    ) -> Float[Tensor, "*restarts rows classes"]:
        """E_q[log p(x, z = k | θ, weights)] of each row, nats in prepared units."""
        return expected_log_joint(self.row, self.weights, features, natural)

    def prior_parameters(self) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Sample the weights and each block's θ from their priors."""
        weights, classes = self.weights.sample_prior(), pyro.plate("classes", self.classes, dim=-1)
        return weights, [block.sample_prior(classes) for block in self.row]

    def parameters_from(
        self, natural: Float[Tensor, "*batch classes natural"]
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Sample the same sites from the guide's natural parameters."""
        weights = self.weights.sample(natural[..., -1])
        classes = pyro.plate("classes", self.classes, dim=-1)
        return weights, [block.sample(part, classes) for block, part in self.row.parts(natural[..., :-1])]

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample the story with the batch's cells, and known classes, observed."""
        weights, thetas = self.prior_parameters()
        labels = self.known(batch)
        with weighted_rows(batch, rows):
            member = classify(labels, weights.log().expand(len(batch), -1))
            with poutine.mask(mask=labels != UNKNOWN):
                pyro.sample("label", dist.Categorical(weights), obs=labels.clamp(min=0))
            for block, theta in zip(self.row, thetas, strict=True):
                values, observed = block.cells(batch)
                if block.in_other_units:
                    pyro.factor(f"{block.site}.unit", block.log_slope(observed))
                cells = block.likelihood(theta, member)
                if not cells.event_shape:
                    cells = cells.mask(observed).to_event(1)
                elif not bool(observed.all()):
                    cells = cells.mask(observed.any(-1))
                    values = complete(block, values, observed)
                pyro.sample(block.site, cells, obs=values)


class Guide(nn.Module):
    """q(weights) q(θ) q(z | x), with unconstrained parameters ``weights`` and ``site__name``."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = [model]  # in a list, since its buffers are the model's own
        free = self._free(self.initial())
        # contiguous, since Pyro's store would train a copy of what is not
        self.free = nn.ParameterDict({name: nn.Parameter(value.contiguous()) for name, value in free.items()})

    def initial(self) -> Float[Tensor, "classes natural"]:
        """Natural parameters before any rows: the prior's, or what it would estimate were it rows."""
        model = self.model[0]
        return torch.cat([model.row.initial(model.classes), model.weights.initial()[:, None]], -1)

    def settle(self, natural: Tensor, previous: Tensor | None = None) -> Tensor:
        """The guide's natural parameters from the prior's plus the rows' sums, and what they were before."""
        row, weights = self.model[0].row, self.model[0].weights
        theta = row.settle(natural[..., :-1], None if previous is None else previous[..., :-1])
        return torch.cat([theta, weights.settle(natural[..., -1])[..., None]], -1)

    def _free(self, natural: Tensor) -> dict[str, Tensor]:
        weights = {"weights": self.model[0].weights.unconstrain(natural[..., -1])}
        return weights | self.model[0].row.unconstrain(natural[..., :-1])

    def natural(self) -> Float[Tensor, "classes natural"]:
        """Natural parameters of q(θ), the weights' in the last column."""
        weights = self.model[0].weights.natural(self.free["weights"])
        return torch.cat([self.model[0].row.natural(dict(self.free.items())), weights[:, None]], -1)

    @torch.no_grad()
    def set_natural(self, natural: Float[Tensor, "classes natural"]) -> None:
        """Put q(θ) at these natural parameters."""
        for name, value in self._free(natural).items():
            self.free[name].copy_(value)

    def forward(self, batch: Dataset, rows: int) -> None:
        """Sample θ from q, the class of each row by its responsibilities, and its missing cells given both."""
        model, natural = self.model[0], self.natural()
        model.parameters_from(natural)
        features = model.features(batch)
        with weighted_rows(batch, rows):
            member = classify(features.labels, model.expected_log_joint(features, natural))
            for index, (block, part) in enumerate(model.row.parts(natural[:, :-1])):
                if index in features.hidden and not block.sums_missing:
                    impute(block, features.hidden[index].everyone(block.expected(part), len(batch)), member)


def classify(labels: Int[Tensor, " rows"], logits: Float[Tensor, "rows classes"]) -> Tensor:
    """Each row's class: the label where it is known, else the enumerated site ``component``.

    A row of known class has a ``component`` as well, one that nothing depends on: uniform in model and guide alike, it
    adds nothing to the ELBO.
    """
    known = labels != UNKNOWN
    if bool(known.all()):
        return labels
    logits = torch.where(known[:, None], 0.0, logits)
    member = pyro.sample("component", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
    return torch.where(known, labels, member)


def complete(block: Conjugate, values: Float[Tensor, "rows columns"], observed: Bool[Tensor, "rows columns"]) -> Tensor:
    """The rows with the site of their missing cells filled in, on which the prior puts no price.

    The site's other cells are standard normal in model and guide alike, and add nothing to the ELBO.
    """
    if block.sums_missing or block.hidden(values, observed) is None:
        return values
    free = observed | ~observed.any(-1, keepdim=True)
    filling = pyro.sample(f"{block.site}.missing", dist.Normal(torch.zeros_like(values), 1.0).mask(free).to_event(1))
    return torch.where(observed, values, filling)


def impute(block: Conjugate, given: tuple[Tensor, Tensor], member: Tensor) -> None:
    """Sample the site of the missing cells, normal given the observed ones and the class."""
    loc, covariance = given
    everyone = torch.arange(loc.shape[1], device=loc.device)
    filling = dist.MultivariateNormal(loc[member, everyone], covariance[member, everyone])
    pyro.sample(f"{block.site}.missing", filling)
