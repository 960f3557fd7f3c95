"""Count likelihoods: the algebra of their exponential families, with scipy's pmfs and quadrature as second opinion."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy import optimize, special, stats
from torch import Tensor

from ppl_models.distributions.conjugate import Conjugate
from ppl_models.distributions.counts import GammaPoisson
from ppl_models.distributions.multinomial import DirichletMultinomial
from ppl_models.distributions.negative_binomial import GRID, NegativeBinomial
from ppl_models.distributions.seeding import seeded
from ppl_models.errors import InputError

FALSE_ALARM = 1e-5  # of each chi-square test below
RANDOM = np.random.default_rng(1)
MEANS = np.array([2.0, 9.0])
COUNTS = RANDOM.negative_binomial((1.5, 6.0), (0.4, 0.4), (14, 2)).astype(float)
SHARED = RANDOM.multinomial(6, (0.2, 0.5, 0.3), 14) + RANDOM.poisson(1.0, (14, 3)).astype(float)
Theta = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A block, rows for it, and scipy's account of one of its pieces: a column, or all that share a total.

    Attributes:
        pmf: log pmf of each row given θ.
        prior: log density of θ given the column's training mean.
        paths: θ from unconstrained numbers, one path a value of what is discrete.
        start: where on the paths to start a search.
    """

    kind: type[Conjugate]
    rows: np.ndarray
    pmf: Callable[[Theta, np.ndarray], np.ndarray]
    prior: Callable[[Theta, float], float]
    paths: list[Callable[[np.ndarray], Theta]]
    start: tuple[float, ...] = (0.0,)

    def make(self) -> Conjugate:
        """The block after it has learned from the rows."""
        block = self.kind("count", (2, 0) if self.rows is COUNTS else (0, 1, 2))
        block.learn(torch.tensor(self.rows), torch.ones(len(self.rows)), torch.tensor([MEANS[1], 5.0, MEANS[0]]))
        return block

    def pieces(self, theta: dict[str, Tensor]) -> list[tuple[Theta, np.ndarray, float]]:
        """θ of the first class, rows and mean of each piece."""
        columns = [(0, MEANS[0]), (1, MEANS[1])] if self.rows is COUNTS else [(slice(None), 1.0)]
        return [({k: v[0, d].numpy() for k, v in theta.items()}, self.rows[:, d], mean) for d, mean in columns]


CASES = {
    "gamma-Poisson": Case(
        GammaPoisson,
        COUNTS,
        pmf=lambda theta, x: stats.poisson.logpmf(x, theta["rate"]),
        prior=lambda theta, mean: stats.expon.logpdf(theta["rate"], scale=mean),
        paths=[lambda u: {"rate": np.exp(u)}],
    ),
    "negative binomial": Case(
        NegativeBinomial,
        COUNTS,
        pmf=lambda theta, x: stats.nbinom.logpmf(x, GRID.numpy()[theta["dispersion"]], 1 - theta["probs"]),
        prior=lambda theta, mean: (
            stats.beta.logpdf(theta["probs"], 1, 1 + GRID.numpy()[theta["dispersion"]] / mean) - np.log(24)
        ),
        paths=[lambda u, code=code: {"dispersion": code, "probs": special.expit(u)} for code in range(24)],
    ),
    "Dirichlet-multinomial": Case(
        DirichletMultinomial,
        SHARED,
        pmf=lambda theta, x: stats.multinomial.logpmf(x, x.sum(-1).astype(int), theta["probs"]),
        prior=lambda theta, mean: np.log(2),
        paths=[lambda u: {"probs": special.softmax([0, *u])}],
        start=(0.0, 0.0),
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
separate_columns = pytest.mark.parametrize("case", list(CASES.values())[:2], ids=list(CASES)[:2])


def seen(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Rows without missing cells, as a block takes them."""
    return torch.tensor(rows), torch.ones(rows.shape, dtype=torch.bool)


def after(block: Conjugate, *groups: np.ndarray) -> Tensor:
    """Natural parameters of the posteriors given each group of rows, one a class."""
    return torch.stack([block.prior + block.statistics(*seen(rows)).sum(0) for rows in groups])


def classes(case: Case, block: Conjugate) -> Tensor:
    """Natural parameters of three classes: the prior, and the posteriors of few and of all rows."""
    return after(block, case.rows[:0], case.rows[:5], case.rows)


def exponential_form(case: Case, block: Conjugate, theta: dict[str, Tensor]) -> Tensor:
    """(classes, rows) T(x)·t(θ) + h(x)."""
    rows = seen(case.rows)
    return block.encode(theta) @ block.statistics(*rows).mT + block.base_measure(*rows)


def close(found: object, expected: object, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@every_case
def test_the_exponential_form_is_scipys_pmf(case):
    block = case.make()
    with seeded(1):
        theta = block.sample(after(block, case.rows), pyro.plate("classes", 1))
    known = sum(case.pmf(piece, x) for piece, x, _ in case.pieces(theta))
    close(exponential_form(case, block, theta)[0], known)


@every_case
@pytest.mark.parametrize("member", [torch.arange(14) % 3, torch.arange(3)[:, None], torch.arange(42).view(3, 14) % 3])
def test_the_likelihood_is_the_exponential_form_of_each_rows_class(case, member):
    block = case.make()
    with seeded(2):
        theta = block.sample(classes(case, block), pyro.plate("classes", 3))
    likelihood = block.likelihood(theta, member)
    cells = likelihood.log_prob(torch.tensor(case.rows))
    found = cells if likelihood.event_shape else cells.sum(-1)
    close(found, exponential_form(case, block, theta)[member, torch.arange(14)])


@every_case
def test_expected_statistics_are_the_gradient_of_the_log_partition(case):
    block = case.make()
    natural = classes(case, block).requires_grad_()
    (gradient,) = torch.autograd.grad(block.log_partition(natural).sum(), natural)
    close(block.expected(natural.detach()), gradient, 1e-8)


@every_case
def test_the_predictive_is_a_ratio_of_partitions(case):
    block = case.make()
    natural, rows = classes(case, block), seen(case.rows)
    moved = block.log_partition(natural + block.statistics(*rows)[:, None])
    close(block.predictive(natural, *rows), moved - block.log_partition(natural) + block.base_measure(*rows)[:, None])


def log_evidence(case: Case, block: Conjugate) -> Tensor:
    """log p(rows) = A(posterior) − A(prior) + Σ h(x)."""
    before, later = block.log_partition(after(block, case.rows[:0], case.rows))
    return later - before + block.base_measure(*seen(case.rows)).sum()


@separate_columns
def test_the_log_evidence_is_quadratures(case):
    """By the trapezoidal rule on the paths, whose slopes dθ/du are θ and θ(1 − θ)."""
    grid, known = np.linspace(-25, 25, 3001), 0.0
    for _, x, mean in case.pieces({}):
        terms = []
        for theta in (path(grid) for path in case.paths):
            slope = theta["probs"] * (1 - theta["probs"]) if "probs" in theta else theta["rate"]
            terms.append(case.pmf(theta, x[:, None]).sum(0) + case.prior(theta, mean) + np.log(slope))
        known += special.logsumexp(terms) + np.log(grid[1] - grid[0])
    close(log_evidence(case, case.make()), known)


def test_the_log_evidence_of_shared_totals_is_a_chain_of_scipys_predictives():
    case, known = CASES["Dirichlet-multinomial"], 0.0
    for row, x in enumerate(SHARED.astype(int)):
        known += stats.dirichlet_multinomial(1 + SHARED[:row].sum(0), x.sum()).logpmf(x)
    close(log_evidence(case, case.make()), known)


@separate_columns
def test_the_predictive_sums_to_one_and_missing_cells_are_summed_out(case):
    """Over the second column of a row, 0 to 100 000, what is left is the predictive of the first."""
    block, x = case.make(), torch.arange(100_000.0).double()
    natural = after(block, case.rows)
    values, observed = torch.stack([torch.full_like(x, 3), x], -1), torch.ones(len(x), 2, dtype=torch.bool)
    first = torch.tensor([[True, False]])
    whole = block.predictive(natural, values, observed).logsumexp(0)
    close(whole, block.predictive(natural, values[:1] * first, first)[0], 1e-6)
    close(block.predictive(natural, values * ~first, ~first.expand(len(x), -1)).logsumexp(0), 0, 1e-6)


def test_the_multinomial_predictive_sums_to_one_for_each_total():
    case = CASES["Dirichlet-multinomial"]
    block = case.make()
    rows = np.array([x for x in product(range(8), repeat=3) if sum(x) == 7], dtype=float)
    close(block.predictive(classes(case, block), *seen(rows)).logsumexp(0), 0)


@separate_columns
def test_a_missing_cell_has_no_statistics(case):
    block = case.make()
    values, observed = torch.zeros(1, 2).double(), torch.tensor([[False, True]])
    kept = block.statistics(values, observed) + block.statistics(values, ~observed)
    close(kept, block.statistics(values, observed | True))
    assert not block.statistics(values, observed & False).any()
    assert not block.predictive(classes(case, block), values, observed & False).any()


def test_a_row_without_any_of_the_multinomials_cells_contributes_nothing():
    case = CASES["Dirichlet-multinomial"]
    block = case.make()
    values, observed = torch.zeros(2, 3).double(), torch.zeros(2, 3, dtype=torch.bool)
    likelihood = block.likelihood(block.mode(classes(case, block)[1:], flat=False), torch.arange(2))
    for found in (
        block.statistics(values, observed),
        block.base_measure(values, observed),
        block.predictive(classes(case, block), values, observed),
        likelihood.log_prob(values),
    ):
        assert not found.any()


@pytest.mark.parametrize(
    "ask",
    [
        lambda block, values, observed: block.check(observed),
        lambda block, values, observed: block.statistics(values, observed),
        lambda block, values, observed: block.predictive(block.prior[None], values, observed),
    ],
)
def test_a_row_with_some_of_the_multinomials_cells_is_refused(ask):
    values, observed = seen(SHARED)
    observed[3:5] = torch.tensor([[False, False, False], [True, False, False]])
    with pytest.raises(InputError, match=r"row 5: 2 of 3 counts .* expected all or none of the multinomial's cells"):
        ask(CASES["Dirichlet-multinomial"].make(), values, observed)


def chi_square(found: np.ndarray, shares: np.ndarray) -> float:
    """The p-value of frequencies, with neighbours pooled until 20 are expected of each."""
    edges = np.unique((np.cumsum(shares) * found.sum() / 20).astype(int), return_index=True)[1]
    pooled = [np.add.reduceat(table, edges) for table in (found, shares * found.sum() / shares.sum())]
    return stats.chisquare(*pooled).pvalue


@separate_columns
def test_draws_follow_the_predictive_of_their_class(case):
    block, x = case.make(), torch.arange(5000.0).double()
    natural, member = after(block, case.rows[:4], case.rows), torch.arange(20_000) % 2
    with seeded(3):
        draws = block.draw(natural, member).clamp(max=4999).long()
    for group, column in product(range(2), range(2)):
        observed = torch.arange(2).expand(len(x), -1) == column
        shares = block.predictive(natural[[group]], x[:, None] * observed, observed)[:, 0].exp()
        shares[-1] += 1 - shares.sum()
        found = draws[member == group, column].bincount(minlength=len(x))
        assert chi_square(found.numpy(), shares.numpy()) > FALSE_ALARM


def test_multinomial_draws_follow_the_predictive_given_their_total():
    block = DirichletMultinomial("count", (0, 1, 2))
    block.learn(torch.full((5, 3), 2.0).double(), torch.ones(5), torch.ones(3))
    rows = np.array([x for x in product(range(7), repeat=3) if sum(x) == 6], dtype=float)
    natural, member = after(block, SHARED[:1], SHARED[:4]), torch.ones(20_000, dtype=torch.long)
    with seeded(4):
        draws = block.draw(natural, member)
    found = (draws[:, None] == torch.tensor(rows)).all(-1).sum(0)
    assert found.sum() == len(draws)
    assert chi_square(found.numpy(), block.predictive(natural[1:], *seen(rows))[:, 0].exp().numpy()) > FALSE_ALARM


def test_new_rows_have_the_training_rows_totals():
    """Of 303 totals each third is one of 101 quantiles; rows without a count have no total."""
    block, totals = DirichletMultinomial("count", (0, 1)), torch.arange(1.0, 304.0).double()
    values = torch.stack([totals, 2 * totals], -1)[torch.randperm(303, generator=torch.Generator().manual_seed(0))]
    block.learn(torch.cat([values, torch.zeros(30, 2)]), torch.ones(333), torch.ones(2))
    close(block.totals, 3 * totals[1::3])
    with seeded(5):
        found = block.likelihood(block.mode(5 * block.prior[None], flat=False), torch.zeros(20_000).long()).sample()
    assert chi_square((found.sum(-1).long() // 9).bincount(minlength=101).numpy(), np.ones(101) / 101) > FALSE_ALARM


@every_case
def test_free_parameters_lead_back_to_the_natural_ones(case):
    block = case.make()
    natural = classes(case, block)
    close(block.natural(block.unconstrain(natural)), natural, 1e-12)


@every_case
def test_parameters_survive_their_encoding_and_their_release(case):
    block = case.make()
    with seeded(6):
        theta = block.sample(classes(case, block), pyro.plate("classes", 3))
    for back in (block.decode(block.encode(theta)), block.confine(block.release(theta))):
        assert list(back) == list(theta)
        assert all(torch.allclose(back[name], value, rtol=1e-12) for name, value in theta.items())


@every_case
@pytest.mark.parametrize("flat", [True, False], ids=["likelihood", "posterior"])
def test_the_mode_is_as_high_as_a_search_finds(case, flat):
    block = case.make()
    natural = after(block, case.rows) - (block.prior if flat else 0)
    for theta, x, mean in case.pieces(block.mode(natural, flat=flat)):

        def height(theta: Theta, x: np.ndarray = x, mean: float = mean) -> float:
            return case.pmf(theta, x).sum() + (0 if flat else case.prior(theta, mean))

        close(height(theta), max(search(height, path, case.start) for path in case.paths), 1e-8)


def search(height: Callable[[Theta], float], path: Callable[[np.ndarray], Theta], start: tuple[float, ...]) -> float:
    """The greatest height on a path."""
    options = {"xatol": 1e-6, "fatol": 1e-10}
    return -optimize.minimize(lambda u: -height(path(u)).item(), start, method="Nelder-Mead", options=options).fun


def log_density(block: Conjugate, natural: Tensor, theta: dict[str, Tensor]) -> Tensor:
    """(classes,) the density of the Pyro sites."""
    fixed = {f"{block.site}.{name}": value for name, value in theta.items()}
    trace = poutine.trace(pyro.condition(block.sample, data=fixed)).get_trace(natural, nullcontext())
    return sum(trace.nodes[site]["fn"].log_prob(value) for site, value in fixed.items())


@every_case
def test_no_draw_of_the_posterior_is_denser_than_its_mode(case):
    block = case.make()
    natural = after(block, case.rows)
    with seeded(7):
        draws = block.sample(natural.expand(2000, -1), pyro.plate("classes", 2000))
    best = log_density(block, natural, block.mode(natural, flat=False))
    assert (log_density(block, natural.expand(2000, -1), draws) < best).all()


@every_case
def test_sites_have_the_density_of_their_natural_parameters(case):
    """The same θ under two η: log q_1(θ) − log q_2(θ) = (η_1 − η_2)·t(θ) − A(η_1) + A(η_2)."""
    block = case.make()
    one, two = (after(block, *rows) for rows in ((case.rows, case.rows[:3]), (case.rows[:5], case.rows[:0])))
    with seeded(8):
        theta = block.sample(one, pyro.plate("classes", 2))
    expected = ((one - two) * block.encode(theta)).sum(-1) - block.log_partition(one) + block.log_partition(two)
    close(log_density(block, one, theta) - log_density(block, two, theta), expected, 1e-9)


@every_case
def test_restarts_pass_through_every_method(case):
    block = case.make()
    natural = classes(case, block)
    both = torch.stack([natural, natural.flip(0)])
    for ask in (
        block.expected,
        block.log_partition,
        lambda eta: block.natural(block.unconstrain(eta)),
        lambda eta: block.encode(block.mode(eta, flat=False)),
    ):
        torch.testing.assert_close(ask(both), torch.stack([ask(natural), ask(natural.flip(0))]), equal_nan=True)


@every_case
def test_a_column_that_a_class_never_saw_is_no_exception(case):
    block = case.make()
    empty = torch.zeros_like(block.prior)[None]
    assert block.encode(block.mode(empty, flat=True)).shape == empty.shape


@pytest.mark.parametrize("position", [0, 2])
def test_sums_that_no_rows_have_are_not_a_number(position):
    """A leap beyond what rows can sum to must not win by the gamma function's values below 0."""
    case = CASES["negative binomial"]
    block = case.make()
    natural = after(block, case.rows)
    natural[:, position] = -3.3
    assert block.log_partition(natural).isnan()
    assert block.encode(block.mode(natural, flat=True))[:, [0, 2]].isnan().all()


@every_case
def test_the_encoding_of_zeros_is_finite(case):
    block = case.make()
    rows = np.zeros_like(case.rows)
    rows[:, :-1] = case.rows[:, :-1]
    found = block.mode(after(block, rows) - block.prior, flat=True)
    assert (list(found.values())[-1][:, -1] == 0).all()
    assert block.encode(found).isfinite().all()


def test_the_prior_learns_its_unit_from_the_training_means():
    """Rates have the column's mean under both; p = rate / (rate + r) on the grid's end is nearly rate / r."""
    poisson, binomial = (CASES[name].make() for name in list(CASES)[:2])
    close(-poisson.expected(poisson.prior[None])[0, :2], MEANS)
    close(binomial.prior[:4], [1 / 2, 1 / 9, 1, 1])
    close(binomial.expected(binomial.prior[None])[0, 4:], 1 / 24)
    close(binomial.log_partition(binomial.prior[None]), 0)


def test_the_largest_dispersion_is_nearly_a_gamma_poisson():
    """The evidence of r = 1000 alone differs by Σ (x − mean)² / 2r or so."""
    poisson, binomial = (case.make() for case in list(CASES.values())[:2])
    later = after(binomial, COUNTS)
    later[:, 4:].view(2, 24)[:, :-1] = -torch.inf
    found = binomial.log_partition(later) + 2 * np.log(24) + binomial.base_measure(*seen(COUNTS)).sum()
    close(found, log_evidence(CASES["gamma-Poisson"], poisson), 0.005)


def test_parameters_are_counted():
    assert [case.make().count_parameters(4) for case in CASES.values()] == [8, 16, 8]
    assert [case.make().given for case in CASES.values()] == ["", "", "row total"]
