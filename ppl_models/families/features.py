"""What the closed forms of the discrete half need of a batch: sufficient statistics, known classes, hidden cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions import ConjugateRow, Hidden, Weights
from ppl_models.distributions.hidden import Given, joined
from ppl_models.families.starts import one_hot

BY_ROW = ("statistics", "base", "labels", "told")
COMPARED = 1024  # rows by which equal statistics are guessed, before all rows are looked at
SEARCHED = 1000  # statistics, beyond which the search takes longer than what it saves


@dataclass(frozen=True)
class Features:
    """What the closed forms need of a batch.

    Attributes:
        statistics: (rows, natural) T(x), with a last column of ones for the class's own count; those that are equal in
            all rows, as x·y and y·x are, may be held once.
        base: (rows,) h(x), nats.
        labels: (rows,) the class where it is known, −1 elsewhere.
        told: (rows, classes) one for the known class.
        weights: (rows,) how much each row counts; (runs, rows) where each of some runs has weights of its own.
        hidden: by block, the rows whose missing cells the statistics cannot leave out.
        places: (natural,) where each statistic is held; None where each has a column of its own.
    """

    statistics: Float[Tensor, "rows held"]
    base: Float[Tensor, " rows"]
    labels: Int[Tensor, " rows"]
    told: Float[Tensor, "rows classes"]
    weights: Float[Tensor, "*runs rows"]
    hidden: dict[int, Hidden] = field(default_factory=dict)
    places: Int[Tensor, " natural"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor | slice) -> "Features":
        parts = {name: getattr(self, name)[rows] for name in BY_ROW} | {"weights": self.weights[..., rows]}
        if not self.hidden:
            return replace(self, **parts)
        if isinstance(rows, slice):
            rows = torch.arange(len(self), device=self.labels.device)[rows]
        hidden = {index: cells.among(rows, len(self.labels)) for index, cells in self.hidden.items()}
        return replace(self, **parts, hidden={index: cells for index, cells in hidden.items() if len(cells.rows)})

    @classmethod
    def joined(cls, parts: Sequence["Features"]) -> "Features":
        """The rows of all parts, none of whose statistics are held once."""
        if len(parts) == 1:
            return parts[0]
        placed = list(zip(parts, accumulate(map(len, parts[:-1]), initial=0), strict=True))
        hidden = {
            index: joined([(part.hidden[index], at) for part, at in placed if index in part.hidden])
            for index in sorted({index for part in parts for index in part.hidden})
        }
        rows = {name: torch.cat([getattr(part, name) for part in parts]) for name in BY_ROW}
        return cls(**rows, weights=torch.cat([part.weights for part in parts], -1), hidden=hidden)

    def once(self) -> "Features":
        """The same, with statistics that are equal in all rows held once; each statistic lies along memory."""
        if self.places is not None or not len(self) or self.statistics.shape[-1] > SEARCHED:
            return self
        for rows in (COMPARED, None):
            some = self.statistics[:rows].mT.unique(dim=0, return_inverse=True)[1]
            held = self.statistics.new_empty(int(some.max()) + 1, len(self)).index_copy_(0, some, self.statistics.mT).mT
            if torch.equal(held[:, some], self.statistics):
                break
        return replace(self, statistics=held, places=some)

    def cast(self, dtype: torch.dtype) -> "Features":
        """The same in another precision."""
        numbers = ("statistics", "base", "told", "weights")
        return replace(self, **{name: getattr(self, name).to(dtype) for name in numbers})

    def fold(self, coefficients: Float[Tensor, "*batch natural"]) -> Float[Tensor, "*batch held"]:
        """Coefficients of the statistics as those of the ones held."""
        coefficients = coefficients.to(self.statistics.dtype)
        if self.places is None:
            return coefficients
        held = coefficients.new_zeros(*coefficients.shape[:-1], self.statistics.shape[-1])
        return held.index_add_(-1, self.places, coefficients)

    def unfold(self, sums: Float[Tensor, "*batch held"]) -> Float[Tensor, "*batch natural"]:
        """Sums of the statistics held as those of all."""
        return sums if self.places is None else sums[..., self.places]

    @property
    def excluded(self) -> Bool[Tensor, "classes rows"] | None:
        """The classes that rows of known class cannot have; None where no row tells its class."""
        known = self.labels != UNKNOWN
        return (known[:, None] & (self.told == 0)).mT if bool(known.any()) else None

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
    untold = batch.values.new_zeros(1, classes, dtype=torch.float64)
    return Features(
        statistics=row.statistics(batch),
        base=row.base_measure(batch),
        labels=labels,
        told=one_hot(labels, classes) if bool((labels != UNKNOWN).any()) else untold.expand(len(labels), -1),
        weights=batch.weights,
        hidden=row.hidden(batch),
    )


def expected_log_joint(
    row: ConjugateRow, weights: Weights, features: Features, natural: Float[Tensor, "*restarts classes natural"]
) -> Float[Tensor, "*restarts rows classes"]:
    """E_q[log p(x, z = k | θ, weights)] of each row, missing cells integrated out, nats in prepared units."""
    everything = coefficients(row, weights, natural)
    joint, parts = features.statistics @ features.fold(everything).mT + features.base[:, None], _parts(row, everything)
    for index, hidden in features.hidden.items():
        joint = joint.index_add(-2, hidden.rows, hidden.conditional(parts[index]).log_integral.mT)
    return joint


def coefficients(
    row: ConjugateRow, weights: Weights, natural: Float[Tensor, "*restarts classes natural"]
) -> Float[Tensor, "*restarts classes natural"]:
    """What multiplies the statistics in E_q[log p(x, z = k | θ, weights)]."""
    return torch.cat([row.expected(natural[..., :-1]), weights.expected(natural[..., -1])[..., None]], -1)


def sweep(
    row: ConjugateRow, features: Features, coefficients: Float[Tensor, "runs classes natural"]
) -> tuple[Float[Tensor, " runs"], Float[Tensor, "runs classes natural"]]:
    """What a pass over the rows tells of each run, without the base measure.

    Classes come first and rows last, so that every sum over classes runs along memory, and one matrix product serves
    all classes and runs.

    Returns:
        Σ weight · log Σ_k exp E_q[log p(x, z = k)], nats in prepared units, and Σ weight · responsibility · E[T(x)].
    """
    (runs, classes, _), parts = coefficients.shape, _parts(row, coefficients)
    each = features.fold(coefficients).transpose(0, 1).flatten(0, 1)
    joint = (each @ features.statistics.mT).view(classes, runs, -1)
    given = _given(features, parts)
    for index, hidden in features.hidden.items():
        joint.index_add_(-1, hidden.rows, given[index].log_integral.transpose(0, 1))
    if (excluded := features.excluded) is not None:
        joint.masked_fill_(excluded[:, None], -torch.inf)
    highest = joint.amax(0)
    total = joint.sub_(highest).exp_().sum(0)
    local = ((highest + total.log()) * features.weights).sum(-1)
    weighted = joint.mul_(features.weights / total)
    found = features.unfold((weighted.flatten(0, 1) @ features.statistics).view(classes, runs, -1).transpose(0, 1))
    return local.to(coefficients), _completed(row, features, found.to(coefficients), given, weighted.transpose(0, 1))


def sums(
    row: ConjugateRow,
    features: Features,
    responsibilities: Float[Tensor, "*restarts rows classes"],
    natural: Float[Tensor, "*restarts classes natural"] | None,
) -> Float[Tensor, "*restarts classes natural"]:
    """Σ_rows weight · responsibility · E[T(x)], missing cells by what is known so far, or as 0 if nothing is."""
    weighted = responsibilities * features.weights[..., None]
    total = features.unfold(weighted.mT @ features.statistics)
    if natural is None or not features.hidden:
        return total
    given = _given(features, _parts(row, row.expected(natural[..., :-1])))
    return _completed(row, features, total, given, weighted.mT)


def _completed(
    row: ConjugateRow,
    features: Features,
    total: Tensor,
    given: Mapping[int, Given],
    weighted: Float[Tensor, "*runs classes rows"],
) -> Float[Tensor, "*runs classes natural"]:
    """Sums of the statistics with what the missing cells add to them."""
    if not features.hidden:
        return total
    sums = list(_parts(row, total))
    for index, hidden in features.hidden.items():
        sums[index] = sums[index] + hidden.completion(given[index], weighted[..., hidden.rows])
    return torch.cat(sums, -1)


def _given(features: Features, parts: Sequence[Tensor]) -> dict[int, Given]:
    """The hidden cells of each block given the others, by its coefficients of the statistics."""
    return {index: hidden.conditional(parts[index]) for index, hidden in features.hidden.items()}


def _parts(row: ConjugateRow, numbers: Float[Tensor, "*batch natural"]) -> tuple[Tensor, ...]:
    """Each block's numbers, and the weights' if they stand behind them."""
    rest = numbers.shape[-1] - sum(row.sizes)
    return numbers.split([*row.sizes, rest], -1)
