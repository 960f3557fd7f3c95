"""Concept vectors: a direction of the latent space that stands for what some rows have and others lack.

The vector is the mean code of the rows that have it, less that of the rows that lack it. Added to a code and decoded,
it should give the row the concept; subtracted, it should take it away. Every difference of means has a length, also
that of two halves picked at random, and in many dimensions no small one. So the length stands beside those that
chance gives.

Rows come in groups where several are of one person. If every person has as many rows with the concept as without it,
each is compared with themselves, and what they differ by falls out. If not, the difference of the means also holds
some of what people differ by, and so do the lengths by chance.

References:
    Larsen, Sønderby, Larochelle, Winther (2016), https://arxiv.org/abs/1512.09300 (attribute vectors)
    White (2016), https://arxiv.org/abs/1609.04468
    Efron, Tibshirani (1993), https://doi.org/10.1201/9780429246593 (the bootstrap)
    Phipson, Smyth (2010), https://arxiv.org/abs/1603.05766 (why a simulated p-value is never zero)
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from ppl_models.errors import InputError
from ppl_models.evaluation.rows import finite, same

RESAMPLES = 1000
CELLS = 4_000_000  # rows times resamples that are held in memory
ROUNDING = 1e-9  # of the length, within which a permuted one counts as equal


@dataclass(frozen=True, eq=False)
class ConceptVector:
    """The difference that a concept makes in the latent space, and how sure it is.

    Attributes:
        vector: mean code of the rows that have the concept, less that of the rows that lack it.
        se: bootstrap standard error of each coordinate; groups are resampled whole.
        permuted: lengths of the vectors that rows give whose concept is dealt out at random.
    """

    vector: Float[np.ndarray, " latent"]
    se: Float[np.ndarray, " latent"]
    permuted: Float[np.ndarray, " resamples"]

    @property
    def length(self) -> float:
        """Euclidean length of the vector, in units of the latent space."""
        return float(np.linalg.norm(self.vector))

    @property
    def ratio(self) -> float:
        """The length over the mean length by chance; about 1 where the rows say nothing, NaN where no code differs."""
        chance = float(self.permuted.mean())
        return self.length / chance if chance > 0 else float("nan")

    @property
    def p_value(self) -> float:
        """Probability by chance of a vector at least as long; never zero."""
        as_long = np.sum(self.permuted >= self.length * (1 - ROUNDING))
        return float((1 + as_long) / (1 + len(self.permuted)))

    def apply(
        self, codes: Float[np.ndarray, "*rows latent"], *, strength: float | int = 1.0
    ) -> Float[np.ndarray, "*rows latent"]:
        """Move codes by the vector, times a strength.

        Raises:
            InputError: a code has other dimensions than the vector, or is not finite.
        """
        values = finite(codes, "codes", axes=("...", "latent"))
        same("number of latent dimensions", codes=values.shape[-1], vector=len(self.vector))
        return values + strength * self.vector

    def reverse(self) -> "ConceptVector":
        """The vector that takes the concept away."""
        return replace(self, vector=-self.vector)


def concept_vector(
    codes: Float[np.ndarray, "rows latent"],
    has: Bool[np.ndarray, " rows"],
    *,
    seed: int,
    groups: Shaped[np.ndarray, " rows"] | None = None,
    resamples: int = RESAMPLES,
) -> ConceptVector:
    """Find the direction of a concept, its standard error, and its length by chance.

    Groups fall into three sorts: all rows have the concept, none has it, or some have. The bootstrap draws as many
    groups of each sort as there are. Chance deals the concept out anew: among the rows of a group where some have it
    (for pairs, a flip of the sign), and among whole groups where all or none have it. Without `groups`, every row is
    one of its own.

    Args:
        codes: posterior means, or draws, of rows.
        has: whether the row has the concept.
        seed: of the resampling.
        groups: the person, or whatever else, that a row belongs to; rows of different groups are independent.
        resamples: of the bootstrap, and as many permutations.

    Raises:
        InputError: Shapes do not fit, a code is not finite, no row has the concept or none lacks it, a group is
            missing, or there is only one group of a sort, which has no spread, or fewer than two resamples.

    >>> codes, has = np.array([[0.0, 1.0], [0.0, 3.0], [4.0, 1.0], [4.0, 3.0]]), np.array([False, False, True, True])
    >>> concept = concept_vector(codes, has, seed=0)
    >>> concept.vector.tolist(), concept.reverse().apply(codes)[2].tolist()
    ([4.0, 0.0], [0.0, 1.0])
    """
    if resamples < 2:
        raise InputError(f"resamples: expected two or more, got {resamples}")
    values, members = _checked(codes, has, groups)
    sorts, random = _sorts(has, members), np.random.default_rng(seed)
    centred, blocks = values - values.mean(axis=0), _blocks(resamples, len(values))
    boots = [_bootstrapped(centred, has, members, _resampled(sorts, times, random)) for times in blocks]
    permuted = [_lengths(centred, _dealt(has, members, sorts[members], times, random)) for times in blocks]
    vector = values[has].mean(axis=0) - values[~has].mean(axis=0)
    return ConceptVector(vector, np.concatenate(boots).std(axis=0, ddof=1), np.concatenate(permuted))


def transfer(
    codes: Float[np.ndarray, "*#rows latent"],
    *,
    without: Float[np.ndarray, "*#rows latent"],
    having: Float[np.ndarray, "*#rows latent"],
    strength: float | int = 1.0,
) -> Float[np.ndarray, "*#rows latent"]:
    """Give codes the difference that one example makes: as `having` is to `without`, so the answer is to `codes`.

    Args:
        codes: those to be changed.
        without: the example before, one for each code or one for all.
        having: the example after.
        strength: what the difference is multiplied by.

    Raises:
        InputError: a code is not finite, or latent dimensions differ.

    >>> transfer(np.array([5.0, 5.0]), without=np.array([0.0, 1.0]), having=np.array([2.0, 1.0])).tolist()
    [7.0, 5.0]
    """
    start, before, after = (
        finite(part, name, axes=("...", "latent"))
        for part, name in ((codes, "codes"), (without, "without"), (having, "having"))
    )
    same("number of latent dimensions", codes=start.shape[-1], without=before.shape[-1], having=after.shape[-1])
    return start + strength * (after - before)


def _blocks(resamples: int, rows: int) -> list[int]:
    """How many resamples are held in memory at a time."""
    most = max(1, CELLS // rows)
    return [min(most, resamples - done) for done in range(0, resamples, most)]


def _sorts(has: Bool[np.ndarray, " rows"], members: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " groups"]:
    """0 for the groups of which no row has the concept, 2 for those of which all have it, 1 for the others."""
    share = np.bincount(members, weights=has) / np.bincount(members)
    sorts = np.where(share == 0, 0, np.where(share == 1, 2, 1))
    for sort, which in enumerate(("no row has", "some rows have", "all rows have")):
        if np.sum(sorts == sort) == 1:
            raise InputError(f"has: expected two groups or more in which {which} the concept, got one")
    return sorts


def _resampled(
    sorts: Int[np.ndarray, " groups"], resamples: int, random: np.random.Generator
) -> Float[np.ndarray, "resamples groups"]:
    """How often each group is in each bootstrap sample."""
    times = np.zeros((resamples, len(sorts)))
    for sort in np.unique(sorts):
        members = np.flatnonzero(sorts == sort)
        times[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    return times


def _bootstrapped(
    codes: Float[np.ndarray, "rows latent"],
    has: Bool[np.ndarray, " rows"],
    members: Int[np.ndarray, " rows"],
    times: Float[np.ndarray, "resamples groups"],
) -> Float[np.ndarray, "resamples latent"]:
    """The vector of each bootstrap sample, from the groups' sums and counts of both sides."""
    means = []
    for side in (has, ~has):
        sums = np.zeros((times.shape[1], codes.shape[1]))
        np.add.at(sums, members[side], codes[side])
        counts = np.bincount(members[side], minlength=times.shape[1])
        means.append(times @ sums / (times @ counts)[:, None])
    return means[0] - means[1]


def _dealt(
    has: Bool[np.ndarray, " rows"],
    members: Int[np.ndarray, " rows"],
    sorts: Int[np.ndarray, " rows"],
    times: int,
    random: np.random.Generator,
) -> Bool[np.ndarray, "times rows"]:
    """The concept dealt out at random: within groups that are divided over it, and else among whole groups."""
    whole, first = np.unique(members[sorts != 1], return_index=True)
    lots = random.permuted(np.tile(has[sorts != 1][first], (times, 1)), axis=1)
    dealt = np.zeros((times, len(has)), dtype=bool)
    dealt[:, sorts != 1] = lots[:, np.searchsorted(whole, members[sorts != 1])]
    divided = np.flatnonzero(sorts == 1)
    divided = divided[np.argsort(members[divided], kind="stable")]
    keys = random.random((times, len(divided)))
    shuffled = np.lexsort((keys, np.broadcast_to(members[divided], keys.shape)), axis=-1)
    dealt[:, divided] = has[divided[shuffled]]
    return dealt


def _lengths(
    centred: Float[np.ndarray, "rows latent"], dealt: Bool[np.ndarray, "times rows"]
) -> Float[np.ndarray, " times"]:
    """Length of the difference of means; centred codes of the one side add to minus those of the other."""
    rows, having = dealt.shape[1], dealt.sum(axis=1)
    return np.linalg.norm(dealt.astype(np.float64) @ centred, axis=1) * rows / (having * (rows - having))


def _checked(
    codes: Float[np.ndarray, "rows latent"], has: Bool[np.ndarray, " rows"], groups: Shaped[np.ndarray, " rows"] | None
) -> tuple[Float[np.ndarray, "rows latent"], Int[np.ndarray, " rows"]]:
    """The codes, and the number of the group that each row belongs to."""
    values = finite(codes, "codes", axes=("rows", "latent"))
    names = np.arange(len(values)) if groups is None else np.asarray(groups)
    same("number of rows", codes=len(values), has=len(has), groups=len(names))
    if has.dtype != bool or not 0 < has.sum() < len(has):
        raise InputError(f"has: expected True for some rows and False for others, got {pd.unique(has).tolist()}")
    members = pd.factorize(names)[0]
    if (members < 0).any():
        raise InputError(f"groups: expected one for every row, got none at row {np.flatnonzero(members < 0)[0]}")
    return values, members
