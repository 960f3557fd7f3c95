"""``Scoring``: a log density of held-out rows, as somebody reports it, and what must not matter to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from jaxtyping import Float, Int
from torch import Tensor

from ppl_models.errors import InputError

Rows = TypeVar("Rows")
LogDensity = Callable[[Rows], Float[Tensor, " rows"]]


@dataclass(frozen=True, eq=False)
class Scoring:
    """A log density of held-out rows, nats per row in the rows' own units, higher is better.

    Attributes:
        log_density: of some rows; the same numbers each time it is asked.
        data: the rows, of a length, and indexed by a tensor of whole numbers.
        log_evidence: what each row's log density is, where that is known exactly.
        kind: "exact", or "lower bound".
        mean_se: Monte Carlo standard error of the mean over rows, of a bound by draws.
        blind: makes of some rows the same rows with what must not matter, such as their labels, changed.
        rescaled: fits the same family to loc + scale · x, and gives the log density of such rows with the rows; called
            with loc and scale, the same for all columns.
        relabelled: the log density of the same family with its components, or its latent dimensions, in another order.
        columns: continuous columns that change of scale.
        grid: rows that lie on a grid over the space of a row, and the volume, or the count, that each stands for; the
            log density is checked to integrate to 1 over it.
    """

    log_density: LogDensity
    data: Rows
    log_evidence: Float[Tensor, " rows"] | None = None
    kind: str = "exact"
    mean_se: float = 0.0
    blind: Callable[[Rows], Rows] | None = None
    rescaled: Callable[[float, float], tuple[LogDensity, Rows]] | None = None
    relabelled: LogDensity | None = None
    columns: int = 1
    grid: tuple[Rows, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("exact", "lower bound"):
            raise InputError(f"Scoring: expected a kind of 'exact' or 'lower bound', got {self.kind!r}")
        if len(self.data) < 2:
            raise InputError(f"Scoring: expected two rows or more, got {len(self.data)}")

    def of(self, rows: Int[Tensor, " rows"] | Sequence[int]) -> Float[Tensor, " rows"]:
        """The log density of some of the rows, scored in each other's company."""
        return self.log_density(self.data[rows]).detach().double()
