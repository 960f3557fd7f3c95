"""Column likelihoods: the algebra of their exponential families, and scipy as the second opinion."""

from contextlib import nullcontext
from itertools import product

import numpy as np
import pyro
import pytest
import torch
from blocks import BLOCKS, after, seen
from pyro import poutine
from scipy import stats
from torch import Tensor

from ppl_models.distributions import Conjugate, assemble, seeded
from ppl_models.distributions.counts import GammaPoisson
from ppl_models.distributions.multivariate_normal import Wishart

FALSE_ALARM = 1e-5  # of each comparison of draws with a distribution, at most six a test
every_block = pytest.mark.parametrize("case", BLOCKS.values(), ids=BLOCKS)


def density(block: Conjugate, natural: Tensor, theta: dict[str, Tensor]) -> Tensor:
    """The log density of all parameter sites at θ, nats."""
    fixed = {f"{block.site}.{name}": value for name, value in theta.items()}
    return poutine.trace(pyro.condition(block.sample, data=fixed)).get_trace(natural, nullcontext()).log_prob_sum()


@every_block
def test_expected_statistics_are_the_gradient_of_the_log_partition(case):
    block = case.make()
    natural = after(block, case.groups).requires_grad_()
    (gradient,) = torch.autograd.grad(block.log_partition(natural).sum(), natural)
    torch.testing.assert_close(block.expected(natural.detach()), gradient)


@every_block
def test_the_predictive_is_a_ratio_of_partitions(case):
    """The statistics of a new row are added to those of its class, and the partitions are those of all classes."""
    block = case.make()
    natural, rows = after(block, case.groups), seen(case.rows)
    moved = natural + torch.eye(3)[:, :, None] * block.statistics(*rows)[:, None, None]
    ratio = (block.log_partition(moved) - block.log_partition(natural)).sum(-1) + block.base_measure(*rows)[:, None]
    torch.testing.assert_close(block.predictive(natural, *rows), ratio, rtol=1e-9, atol=1e-9)


@every_block
def test_the_predictive_of_the_observed_cells_is_the_textbooks(case):
    """For every choice of observed columns; the others are integrated out."""
    block, known = case.make(), case.predictive(case.groups)
    values, _ = seen(case.rows[9:])
    for pattern in product([True, False], repeat=len(block.columns)):
        observed, columns = torch.tensor([pattern] * len(values)), [d for d, one in enumerate(pattern) if one]
        found = block.predictive(after(block, case.groups), torch.where(observed, values, 0.0), observed)
        for label, one in enumerate(known):
            expected = one.log_density(case.rows[9:], columns) if columns else 0.0
            np.testing.assert_allclose(found[:, label], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in BLOCKS if "Wishart" not in name])
def test_missing_cells_contribute_nothing(name):
    """A row that misses some cells and the row that misses the others add up to the whole row."""
    block = BLOCKS[name].make()
    values, observed = seen(BLOCKS[name].rows)
    natural = after(block, BLOCKS[name].groups)
    first = observed.clone()
    first[:, 1:] = False
    halves = [(torch.where(part, values, 0.0), part) for part in (first, ~first)]
    answers = [block.statistics, block.base_measure]
    if "spherical" not in name:
        answers.append(lambda *part: block.predictive(natural, *part))
    for answer in answers:
        torch.testing.assert_close(answer(*halves[0]) + answer(*halves[1]), answer(values, observed))


@pytest.mark.parametrize("name", BLOCKS)
def test_free_parameters_lead_back_to_the_natural_ones(name):
    """Where a precision is shared, each class has an even part of it again, which is the same distribution."""
    block = BLOCKS[name].make()
    natural = after(block, BLOCKS[name].groups)
    back = block.natural(block.unconstrain(natural))
    torch.testing.assert_close(block.expected(back), block.expected(natural), rtol=1e-12, atol=1e-12)
    if "tied" not in name and "spherical" not in name:
        torch.testing.assert_close(back, natural, rtol=1e-12, atol=1e-12)


def chi_square(draws: np.ndarray, known) -> float:
    """The p-value of draws in bins between the deciles of the known distribution."""
    edges = np.unique(known.ppf(np.linspace(0.1, 0.9, 9)))
    edges = edges[known.cdf(edges) < 1 - 1e-9]
    shares = np.diff([0, *known.cdf(edges), 1])
    found = np.bincount(np.searchsorted(edges, draws), minlength=len(shares))
    return stats.chisquare(found, shares * len(draws)).pvalue


@every_block
def test_draws_follow_the_predictive(case):
    """Two classes, each column by itself; of a joint t a direction, which is a t."""
    block, known = case.make(), case.predictive(case.groups)
    member = torch.arange(10_000) % 2 + 1
    with seeded(2):
        draws = block.draw(after(block, case.groups), member).numpy()
    for label in (1, 2):
        mine, columns = draws[member == label], known[label].marginals()
        if known[label].joint:
            way = np.array([1.0, -2.0, 0.5])
            mine, columns = mine @ way[:, None], known[label].along(way)
        for one, column in zip(columns, mine.T, strict=True):
            assert chi_square(column, one) > FALSE_ALARM


@every_block
def test_parameter_sites_have_the_density_of_their_natural_parameters(case):
    """log q(θ) − log p(θ) differs between two θ by (η_q − η_p)·(t(θ1) − t(θ2)), summed over the classes."""
    block = case.make()
    natural, prior = after(block, case.groups), block.prior.expand(3, -1)
    with seeded(3):
        thetas = [block.sample(natural, nullcontext()) for _ in range(2)]
    ratios = [density(block, natural, theta) - density(block, prior, theta) for theta in thetas]
    expected = ((natural - prior) * (case.theta(thetas[0]) - case.theta(thetas[1]))).sum()
    torch.testing.assert_close(ratios[0] - ratios[1], expected, rtol=1e-8, atol=1e-8)


@every_block
def test_the_likelihood_is_the_exponential_familys(case):
    """log p(x | θ) = T(x)·t(θ) + h(x), and ``encode`` is t."""
    block = case.make()
    values, observed = seen(case.rows)
    member = torch.arange(12) % 3
    with seeded(4):
        theta = block.sample(after(block, case.groups), nullcontext())
    cells = block.likelihood(theta, member).log_prob(values)
    encoded = case.theta(theta)
    expected = (block.statistics(values, observed) * encoded[member]).sum(-1) + block.base_measure(values, observed)
    torch.testing.assert_close(cells if cells.dim() == 1 else cells.sum(-1), expected)
    torch.testing.assert_close(block.encode(theta), encoded)


@every_block
def test_parameters_survive_their_encoding_and_their_release(case):
    block = case.make()
    with seeded(5):
        theta = block.sample(after(block, case.groups), nullcontext())
    for back in (block.decode(block.encode(theta)), block.confine(block.release(theta))):
        assert list(back) == list(theta)
        for name, value in theta.items():
            torch.testing.assert_close(back[name], value, rtol=1e-9, atol=1e-12)


@every_block
@pytest.mark.parametrize("flat", [True, False], ids=["likelihood", "posterior"])
def test_the_mode_has_no_slope_and_no_draw_is_higher(case, flat):
    """Of the likelihood Σ T(x)·t(θ), or of the sites' density; each class has some rows."""
    block = case.make()
    natural = after(block, [case.rows[:4], *case.groups[1:]]) - (block.prior if flat else 0)

    def height(theta: dict[str, Tensor]) -> Tensor:
        return (natural * block.encode(theta)).sum() if flat else density(block, natural, theta)

    mode = block.mode(natural, flat=flat)
    free = {name: value.clone().requires_grad_() for name, value in block.release(mode).items()}
    slopes = torch.autograd.grad(height(block.confine(free)), list(free.values()))
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-8 * float(natural.abs().max())
    with seeded(6):
        draws = [block.sample(after(block, case.groups), nullcontext()) for _ in range(50)]
    assert max(float(height(theta)) for theta in draws) < float(height(mode))


def test_the_unit_of_counts_is_the_mean_of_their_rates_prior():
    block = GammaPoisson("count", (1, 3))
    nothing = torch.zeros(0, 2, dtype=torch.float64)
    block.learn(nothing, nothing[:, 0], torch.tensor([1.0, 2.5, 1.0, 40.0], dtype=torch.float64))
    torch.testing.assert_close(
        -block.expected(block.prior[None])[0, :2], torch.tensor([2.5, 40.0], dtype=torch.float64)
    )


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
