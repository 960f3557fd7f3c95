"""Column likelihoods: the algebra of their exponential families, and scipy as the second opinion."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy import stats
from torch import Tensor

from ppl_models.distributions import Conjugate, assemble, seeded
from ppl_models.distributions.categorical import DirichletCategorical
from ppl_models.distributions.counts import GammaPoisson
from ppl_models.distributions.multivariate_normal import NormalWishart, Wishart
from ppl_models.distributions.normal import NormalGamma

FALSE_ALARM = 1e-5  # of each test below that compares draws with a distribution
RANDOM = np.random.default_rng(1)
REALS = RANDOM.normal(0.5, 1.5, (12, 3)) @ np.array([[1.0, 0.6, 0], [0, 1, -0.5], [0, 0, 1]])
COUNTS = RANDOM.poisson((2.0, 30.0), (12, 2)).astype(float)
CODES = RANDOM.integers(0, 3, (12, 2)).astype(float)


class Counts(GammaPoisson):
    def __init__(self) -> None:
        super().__init__("count", (0, 1))
        self.set_unit(torch.tensor([2.0, 30.0]))


def normal_predictive(x: np.ndarray) -> list:
    """Student's t of each column after rows x, by Murphy (2007), section 3."""
    n, mean = len(x), x.mean(0)
    count, shape = n + 0.01, 1.5 + n / 2
    rate = 0.5 * 2 ** (-2 / 3) + ((x - mean) ** 2).sum(0) / 2 + 0.01 * n * mean**2 / (2 * count)
    return list(map(stats.t, [2 * shape] * 3, n * mean / count, np.sqrt(rate * (count + 1) / (shape * count))))


def wishart_predictive(x: np.ndarray) -> list:
    """Multivariate t after rows x, by Murphy (2007), section 8."""
    n, mean = len(x), x.mean(0)
    count, degrees = n + 0.01, 5 + n - 3 + 1
    scatter = 2 ** (-2 / 3) * np.eye(3) + (x - mean).T @ (x - mean) + 0.01 * n / count * np.outer(mean, mean)
    return [stats.multivariate_t(n * mean / count, scatter * (count + 1) / (count * degrees), degrees)]


def poisson_predictive(x: np.ndarray) -> list:
    inverse = 1 / np.array([2.0, 30.0]) + len(x)
    return list(map(stats.nbinom, 1 + x.sum(0), inverse / (1 + inverse)))


def categorical_predictive(x: np.ndarray) -> list:
    shares = [(1 + np.bincount(column.astype(int), minlength=3)) / (3 + len(x)) for column in x.T]
    return [stats.rv_discrete(values=(range(3), share)) for share in shares]


def normal_theta(theta: dict[str, Tensor]) -> Tensor:
    loc, precision = theta["loc"], theta["precision"]
    constant = (precision.log() - precision * loc**2 - np.log(2 * np.pi)) / 2
    return torch.cat([constant, precision * loc, -precision / 2], -1)


def wishart_theta(theta: dict[str, Tensor]) -> Tensor:
    loc, precision = theta["loc"], theta["precision"]
    square = torch.einsum("ki,kij,kj->k", loc, precision, loc)
    constant = (precision.logdet() - square - 3 * np.log(2 * np.pi)) / 2
    pull = torch.einsum("kij,kj->ki", precision, loc)
    return torch.cat([constant[:, None], pull, -precision.flatten(1) / 2], -1)


@dataclass(frozen=True)
class Block:
    """A conjugate block, rows for it, its textbook predictive given rows, and t(θ)."""

    make: Callable[[], Conjugate]
    rows: np.ndarray
    predictive: Callable[[np.ndarray], list]
    theta: Callable[[dict[str, Tensor]], Tensor]


BLOCKS = {
    "normal-gamma": Block(lambda: NormalGamma("real", (0, 1, 2), 2), REALS, normal_predictive, normal_theta),
    "normal-Wishart": Block(lambda: NormalWishart("real", (0, 1, 2), 2), REALS, wishart_predictive, wishart_theta),
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
every_block = pytest.mark.parametrize("case", BLOCKS.values(), ids=BLOCKS)


def seen(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Rows without missing cells, as a block takes them."""
    return torch.tensor(rows), torch.ones(rows.shape, dtype=torch.bool)


def after(block: Conjugate, rows: np.ndarray) -> Tensor:
    """Natural parameters (1, P) of the posterior given rows."""
    return (block.prior + block.statistics(*seen(rows)).sum(0))[None]


def classes(case: Block, block: Conjugate) -> Tensor:
    """Natural parameters of three classes: the prior, and the posteriors of few and of all rows."""
    return torch.cat([block.prior[None], after(block, case.rows[:5]), after(block, case.rows)])


@every_block
def test_expected_statistics_are_the_gradient_of_the_log_partition(case):
    block = case.make()
    natural = classes(case, block).requires_grad_()
    (gradient,) = torch.autograd.grad(block.log_partition(natural).sum(), natural)
    torch.testing.assert_close(block.expected(natural.detach()), gradient)


@every_block
def test_the_predictive_is_a_ratio_of_partitions(case):
    block = case.make()
    natural, rows = classes(case, block), seen(case.rows)
    moved = block.log_partition(natural + block.statistics(*rows)[:, None])
    ratio = moved - block.log_partition(natural) + block.base_measure(*rows)[:, None]
    torch.testing.assert_close(block.predictive(natural, *rows), ratio, rtol=1e-9, atol=1e-9)


@every_block
def test_the_predictive_is_the_textbooks(case):
    block, n = case.make(), 9
    found = block.predictive(after(block, case.rows[:n]), *seen(case.rows[n:]))[:, 0]
    known = case.predictive(case.rows[:n])
    columns = case.rows[n:].T if len(known) > 1 else [case.rows[n:]]
    log = [getattr(one, "logpdf", None) or one.logpmf for one in known]
    np.testing.assert_allclose(found, sum(each(column) for each, column in zip(log, columns, strict=True)), rtol=1e-9)


@pytest.mark.parametrize("name", sorted(set(BLOCKS) - {"normal-Wishart"}))
def test_missing_cells_contribute_nothing(name):
    """A row that misses some cells and the row that misses the others add up to the whole row."""
    block = BLOCKS[name].make()
    values, observed = seen(BLOCKS[name].rows)
    natural = classes(BLOCKS[name], block)
    first = observed.clone()
    first[:, 1:] = False
    halves = [(torch.where(part, values, 0.0), part) for part in (first, ~first)]
    for whole, answer in (
        (block.statistics(values, observed), block.statistics),
        (block.predictive(natural, values, observed), lambda *half: block.predictive(natural, *half)),
        (block.base_measure(values, observed), block.base_measure),
    ):
        torch.testing.assert_close(answer(*halves[0]) + answer(*halves[1]), whole)


@every_block
def test_free_parameters_lead_back_to_the_natural_ones(case):
    block = case.make()
    natural = classes(case, block)
    torch.testing.assert_close(block.natural(block.unconstrain(natural)), natural, rtol=1e-12, atol=1e-12)


def chi_square(draws: np.ndarray, known) -> float:
    """The p-value of draws in bins between the deciles of the known distribution."""
    edges = np.unique(known.ppf(np.linspace(0.1, 0.9, 9)))
    edges = edges[known.cdf(edges) < 1 - 1e-9]
    shares = np.diff([0, *known.cdf(edges), 1])
    found = np.bincount(np.searchsorted(edges, draws), minlength=len(shares))
    return stats.chisquare(found, shares * len(draws)).pvalue


@every_block
def test_draws_follow_the_predictive(case):
    """Each column by itself; of a multivariate t a direction, which is a t."""
    block = case.make()
    with seeded(2):
        draws = block.draw(after(block, case.rows[:6]).expand(5000, -1)).numpy()
    known = case.predictive(case.rows[:6])
    if isinstance(block, NormalWishart):
        way, (joint,) = np.array([1.0, -2.0, 0.5]), known
        known, draws = [stats.t(joint.df, way @ joint.loc, (way @ joint.shape @ way) ** 0.5)], draws @ way[:, None]
    for one, column in zip(known, draws.T, strict=True):
        assert chi_square(column, one) > FALSE_ALARM


@every_block
def test_parameter_sites_have_the_density_of_their_natural_parameters(case):
    """log q(θ) − log p(θ) differs between two θ by (η_q − η_p)·(t(θ1) − t(θ2))."""
    block = case.make()
    natural = after(block, case.rows)
    with seeded(3):
        thetas = [block.sample(after(block, case.rows[:6])) for _ in range(2)]

    def ratio(theta: dict[str, Tensor]) -> Tensor:
        fixed = {f"{block.site}.{name}": value for name, value in theta.items()}
        logs = [
            poutine.trace(pyro.condition(block.sample, data=fixed)).get_trace(eta).log_prob_sum()
            for eta in (natural, block.prior[None])
        ]
        return logs[0] - logs[1]

    expected = ((natural - block.prior) * (case.theta(thetas[0]) - case.theta(thetas[1]))).sum()
    torch.testing.assert_close(ratio(thetas[0]) - ratio(thetas[1]), expected, rtol=1e-8, atol=1e-8)


@every_block
def test_the_likelihood_is_the_exponential_familys(case):
    """log p(x | θ) = T(x)·t(θ) + h(x)."""
    block = case.make()
    values, observed = seen(case.rows)
    with seeded(4):
        theta = block.sample(after(block, case.rows))
    cells = block.likelihood(theta, torch.zeros(len(values), dtype=torch.long)).log_prob(values)
    expected = block.statistics(values, observed) @ case.theta(theta)[0] + block.base_measure(values, observed)
    torch.testing.assert_close(cells if cells.dim() == 1 else cells.sum(-1), expected)


def test_the_unit_of_counts_is_the_mean_of_their_rates_prior():
    block = GammaPoisson("count", (1, 3))
    block.set_unit(torch.tensor([1.0, 2.5, 1.0, 40.0], dtype=torch.float64))
    torch.testing.assert_close(-block.expected(block.prior)[:2], torch.tensor([2.5, 40.0], dtype=torch.float64))


def test_wishart_draws_have_the_mean_of_their_scale_times_degrees():
    """Six entries within 4.5 standard errors; false alarms 4e-5."""
    scale, degrees, draws = torch.tensor([[2.0, 0.5, 0], [0.5, 1, -0.3], [0, -0.3, 0.7]]).double(), 6.5, 20_000
    with seeded(5):
        found = Wishart(df=torch.tensor(degrees), covariance_matrix=scale).sample((draws,)).mean(0)
    variance = degrees * (scale**2 + torch.outer(scale.diagonal(), scale.diagonal()))
    assert ((found - degrees * scale).abs() < 4.5 * (variance / draws).sqrt()).all()


def test_assembled_columns_stand_in_the_schemas_order():
    rows = torch.arange(10.0).reshape(2, 5)
    parts = {columns: rows[:, list(columns)] for columns in ((4, 1), (0,), (3, 2))}
    assert torch.equal(assemble(parts), rows)


def test_a_seeded_block_leaves_the_global_stream_as_it_was():
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    first = torch.rand(2)
    with seeded(9):
        torch.rand(3)
    assert torch.equal(torch.cat([first, torch.rand(2)]), expected)
