"""One dict of conjugate blocks with their textbooks; the laws of ``test_distributions.py`` run on all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ppl_models.distributions import Conjugate
from ppl_models.distributions.categorical import DirichletCategorical
from ppl_models.distributions.counts import GammaPoisson
from ppl_models.distributions.multivariate_normal import NormalWishart
from ppl_models.distributions.normal import NormalGamma

RANDOM = np.random.default_rng(1)
REALS = RANDOM.normal(0.5, 1.5, (12, 3)) @ np.array([[1.0, 0.6, 0], [0, 1, -0.5], [0, 0, 1]])
COUNTS = RANDOM.poisson((2.0, 30.0), (12, 2)).astype(float)
CODES = RANDOM.integers(0, 3, (12, 2)).astype(float)
Groups = list[np.ndarray]


class Counts(GammaPoisson):
    def __init__(self) -> None:
        super().__init__("count", (0, 1))
        nothing = torch.zeros(0, 2, dtype=torch.float64)
        self.learn(nothing, nothing[:, 0], torch.tensor([2.0, 30.0], dtype=torch.float64))


class Students:
    """The predictive of a normal block: Student's t of each column, or one of all columns together."""

    def __init__(self, degrees: np.ndarray, loc: np.ndarray, shape: np.ndarray, *, joint: bool) -> None:
        self.degrees, self.loc, self.shape, self.joint = degrees, loc, shape, joint

    def log_density(self, rows: np.ndarray, seen: list[int]) -> np.ndarray:
        if self.joint:
            part = self.shape[np.ix_(seen, seen)]
            return np.reshape(stats.multivariate_t(self.loc[seen], part, self.degrees).logpdf(rows[:, seen]), -1)
        return sum(one.logpdf(rows[:, column]) for column, one in enumerate(self.marginals()) if column in seen)

    def marginals(self) -> list:
        degrees = np.broadcast_to(self.degrees, self.loc.shape)
        return list(map(stats.t, degrees, self.loc, np.sqrt(np.diag(self.shape))))

    def along(self, way: np.ndarray) -> list:
        """Of a linear combination of the columns."""
        return [stats.t(self.degrees, way @ self.loc, (way @ self.shape @ way) ** 0.5)]


class Columns:
    """The predictive of discrete columns, which are independent."""

    joint = False

    def __init__(self, columns: list) -> None:
        self.columns = columns

    def log_density(self, rows: np.ndarray, seen: list[int]) -> np.ndarray:
        return sum(self.columns[column].logpmf(rows[:, column]) for column in seen)

    def marginals(self) -> list:
        return self.columns


def normal_predictive(groups: Groups, *, tied: bool = False, spherical: bool = False) -> list[Students]:
    """By Murphy (2007), section 3, with the sums of squares pooled over what shares a precision."""
    n = np.array([[len(x)] * 3 for x in groups])
    mean = np.stack([x.sum(0) for x in groups]) / np.maximum(n, 1)
    squares = np.stack([((x - each) ** 2).sum(0) for x, each in zip(groups, mean, strict=True)])
    squares += 0.01 * n * mean**2 / (n + 0.01)
    axes = (*((0,) * tied), *((1,) * spherical))
    pooled = (np.broadcast_to(each.sum(axes, keepdims=True) if axes else each, (3, 3)) for each in (n, squares))
    shape, rate = (first + each / 2 for first, each in zip((1.5, 3 ** (-2 / 3) / 2), pooled, strict=True))
    spread = rate / shape * (1 + 1 / (n + 0.01))
    loc = n * mean / (n + 0.01)
    degrees = 2 * (shape[:, 0] if spherical else shape)
    return [Students(degrees[k], loc[k], np.diag(spread[k]), joint=spherical) for k in range(3)]


def wishart_predictive(groups: Groups, *, tied: bool = False) -> list[Students]:
    """By Murphy (2007), section 8, with the scatters pooled over the classes that share a precision."""
    n = np.array([len(x) for x in groups])
    mean = np.stack([x.sum(0) for x in groups]) / np.maximum(n, 1)[:, None]
    scatter = np.stack([(x - each).T @ (x - each) for x, each in zip(groups, mean, strict=True)])
    scatter += (0.01 * n / (n + 0.01))[:, None, None] * mean[:, :, None] * mean[:, None, :]
    if tied:
        scatter = np.broadcast_to(scatter.sum(0), scatter.shape)
    scatter, degrees = 3 ** (-2 / 3) * np.eye(3) + scatter, 5 + (n.sum() if tied else n) - 3 + 1 + 0 * n
    shape = scatter * ((1 + 1 / (n + 0.01)) / degrees)[:, None, None]
    return [Students(degrees[k], n[k] * mean[k] / (n[k] + 0.01), shape[k], joint=True) for k in range(3)]


def poisson_predictive(groups: Groups) -> list[Columns]:
    inverses = [1 / np.array([2.0, 30.0]) + len(x) for x in groups]
    return [
        Columns(list(map(stats.nbinom, 1 + x.sum(0), inverse / (1 + inverse))))
        for x, inverse in zip(groups, inverses, strict=True)
    ]


def categorical_predictive(groups: Groups) -> list[Columns]:
    shares = [[(1 + np.bincount(c.astype(int), minlength=3)) / (3 + len(x)) for c in x.T] for x in groups]
    return [Columns([stats.rv_discrete(values=(range(3), share)) for share in both]) for both in shares]


def normal_theta(theta: dict[str, Tensor]) -> Tensor:
    loc, precision = theta["loc"], theta["precision"].expand_as(theta["loc"])
    constant = (precision.log() - precision * loc**2 - np.log(2 * np.pi)) / 2
    return torch.cat([constant, precision * loc, -precision / 2], -1)


def wishart_theta(theta: dict[str, Tensor]) -> Tensor:
    loc, precision = theta["loc"], theta["precision"].expand(3, 3, 3)
    square = torch.einsum("ki,kij,kj->k", loc, precision, loc)
    constant = (precision.logdet() - square - 3 * np.log(2 * np.pi)) / 2
    pull = torch.einsum("kij,kj->ki", precision, loc)
    return torch.cat([constant[:, None], pull, -precision.flatten(1) / 2], -1)


@dataclass(frozen=True)
class Block:
    """A conjugate block of three classes, rows for it, its textbook predictive given each class's rows, and t(θ)."""

    make: Callable[[], Conjugate]
    rows: np.ndarray
    predictive: Callable[[Groups], list]
    theta: Callable[[dict[str, Tensor]], Tensor]

    @property
    def groups(self) -> Groups:
        """The rows of each class: none, five and four; the last three rows are new."""
        return [self.rows[:0], self.rows[:5], self.rows[5:9]]


def normal(**shared: bool) -> Block:
    return Block(
        lambda: NormalGamma("real", (0, 1, 2), 3, **shared),
        REALS,
        lambda groups: normal_predictive(groups, **shared),
        normal_theta,
    )


def wishart(**shared: bool) -> Block:
    return Block(
        lambda: NormalWishart("real", (0, 1, 2), 3, **shared),
        REALS,
        lambda groups: wishart_predictive(groups, **shared),
        wishart_theta,
    )


BLOCKS = {
    "normal-gamma": normal(),
    "normal-gamma, tied": normal(tied=True),
    "normal-gamma, spherical": normal(spherical=True),
    "normal-gamma, tied and spherical": normal(tied=True, spherical=True),
    "normal-Wishart": wishart(),
    "normal-Wishart, tied": wishart(tied=True),
    "gamma-Poisson": Block(
        Counts, COUNTS, poisson_predictive, lambda theta: torch.cat([-theta["rate"], theta["rate"].log()], -1)
    ),
    "Dirichlet-categorical": Block(
        lambda: DirichletCategorical("categorical_3", (0, 1), 3),
        CODES,
        categorical_predictive,
        lambda theta: theta["probs"].log().flatten(1),
    ),
}


def seen(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Rows without missing cells, as a block takes them."""
    return torch.tensor(rows), torch.ones(rows.shape, dtype=torch.bool)


def after(block: Conjugate, groups: Groups) -> Tensor:
    """Natural parameters (3, P) of the posterior given the rows of each class."""
    return torch.stack([block.prior + block.statistics(*seen(rows)).sum(0) for rows in groups])
