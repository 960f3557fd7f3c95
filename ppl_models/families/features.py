"""What the closed forms of the discrete half need of a batch: sufficient statistics, known classes, hidden cells."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import ConjugateRow, Hidden, Weights
from ppl_models.families.starts import one_hot

BY_ROW = ("statistics", "base", "labels", "told")


@dataclass(frozen=True)
class Features:
    """What the closed forms need of a batch.

    Attributes:
        statistics: (rows, natural) T(x), with a last column of ones for the class's own count.
        base: (rows,) h(x), nats.
        labels: (rows,) the class where it is known, −1 elsewhere.
        told: (rows, classes) one for the known class.
        weights: (rows,) how much each row counts; (runs, rows) where each of some runs has weights of its own.
        hidden: by block, the rows whose missing cells the statistics cannot leave out.
    """

    statistics: Float[Tensor, "rows natural"]
    base: Float[Tensor, " rows"]
    labels: Int[Tensor, " rows"]
    told: Float[Tensor, "rows classes"]
    weights: Float[Tensor, "*runs rows"]
    hidden: dict[int, Hidden] = field(default_factory=dict)

    def __getitem__(self, rows: Tensor) -> "Features":
        parts = (getattr(self, name)[rows] for name in BY_ROW)
        hidden = {index: cells.among(rows, len(self.labels)) for index, cells in self.hidden.items()}
        hidden = {index: cells for index, cells in hidden.items() if len(cells.rows)}
        return Features(*parts, self.weights[..., rows], hidden)

    def of_runs(self, some: Tensor) -> "Features":
        """The same rows with the weights of some of the runs, where each run has weights of its own."""
        return self if self.weights.dim() == 1 else replace(self, weights=self.weights[some])


def features_of(row: ConjugateRow, batch: Dataset, labels: Int[Tensor, " rows"], classes: int) -> Features:
    """What the closed forms need of a batch whose classes are known as told.

    Args:
        row: the product of column likelihoods.
        batch: prepared rows.
        labels: the class where it is known, −1 elsewhere.
        classes: how many there are.
    """
    statistics = row.statistics(batch)
    return Features(
        statistics=torch.cat([statistics, torch.ones_like(statistics[:, :1])], -1),
        base=row.base_measure(batch),
        labels=labels,
        told=one_hot(labels, classes),
        weights=batch.weights,
        hidden=row.hidden(batch),
    )


def expected_log_joint(
    row: ConjugateRow, weights: Weights, features: Features, natural: Float[Tensor, "*restarts classes natural"]
) -> Float[Tensor, "*restarts rows classes"]:
    """E_q[log p(x, z = k | θ, weights)] of each row, missing cells integrated out, nats in prepared units."""
    return log_joint_at(row.expected(natural[..., :-1]), weights.expected(natural[..., -1]), row, features)


def log_joint_at(
    encoded: Float[Tensor, "*batch classes theta"],
    log_weights: Float[Tensor, "*batch classes"],
    row: ConjugateRow,
    features: Features,
) -> Float[Tensor, "*batch rows classes"]:
    """log p(x, z = k | θ, weights) of each row from t(θ), or its expectation, nats in prepared units."""
    everything = torch.cat([encoded, log_weights[..., None]], -1)
    joint = features.statistics @ everything.mT + features.base[:, None]
    parts = encoded.split(row.sizes, -1)
    for index, hidden in features.hidden.items():
        joint = joint.index_add(-2, hidden.rows, hidden.evidence(parts[index]))
    return joint


def sums(
    row: ConjugateRow,
    features: Features,
    responsibilities: Float[Tensor, "*restarts rows classes"],
    natural: Float[Tensor, "*restarts classes natural"] | None,
) -> Float[Tensor, "*restarts classes natural"]:
    """Σ_rows weight · responsibility · E[T(x)], missing cells by what is known so far, or as 0 if nothing is."""
    weighted = responsibilities * features.weights[..., None]
    total = weighted.mT @ features.statistics
    if natural is None or not features.hidden:
        return total
    parts = list(total.split([*row.sizes, 1], -1))
    expected = row.expected(natural[..., :-1]).split(row.sizes, -1)
    for index, hidden in features.hidden.items():
        parts[index] = parts[index] + hidden.completion(expected[index], weighted[..., hidden.rows, :])
    return torch.cat(parts, -1)
