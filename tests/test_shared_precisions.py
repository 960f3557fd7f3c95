"""Precisions that classes or columns share: what all classes together say of them."""

from collections import defaultdict

import numpy as np
import pytest
from blocks import REALS, after, wishart_predictive
from scipy import stats
from scipy.special import logsumexp, multigammaln

from ppl_models.distributions import Conjugate
from ppl_models.distributions.multivariate_normal import NormalWishart
from ppl_models.distributions.normal import NormalGamma

GROUPS = [REALS[:3], REALS[3:8], REALS[8:]]
# whose precision a class's column has
SHARED = {
    "VVI": ({}, lambda label, column: (label, column)),
    "VII": ({"spherical": True}, lambda label, column: label),
    "EEI": ({"tied": True}, lambda label, column: column),
    "EII": ({"tied": True, "spherical": True}, lambda label, column: 0),
}


def log_evidence(block: Conjugate, groups: list[np.ndarray]) -> float:
    """log p(rows of all classes) = A(posterior) − A(prior), both summed over the classes."""
    prior = block.prior.expand(3, -1)
    return float((block.log_partition(after(block, groups)) - block.log_partition(prior)).sum())


def quadrature(samples: list[np.ndarray]) -> float:
    """log ∫ Gamma(τ | 1.5, 3^(−2/3)/2) Π Normal(x | 0, (1 + 11ᵀ/0.01)/τ) dτ over samples that share τ."""
    grid = np.linspace(-12, 10, 4001)
    terms = stats.gamma(1.5, scale=2 * 3 ** (2 / 3)).logpdf(np.exp(grid)) + grid
    for x in samples:
        covariance = np.eye(len(x)) + 100.0
        square, log_det = x @ np.linalg.solve(covariance, x), np.linalg.slogdet(covariance)[1]
        terms += (len(x) * (grid - np.log(2 * np.pi)) - log_det - np.exp(grid) * square) / 2
    return float(logsumexp(terms) + np.log(grid[1] - grid[0]))


@pytest.mark.parametrize("name", SHARED)
def test_the_evidence_of_all_classes_is_quadratures_over_each_precision(name):
    """Given a precision, the columns that have it are normal with their locations integrated out by hand."""
    shared, owner = SHARED[name]
    samples = defaultdict(list)
    for label, rows in enumerate(GROUPS):
        for column, x in enumerate(rows.T):
            samples[owner(label, column)].append(x)
    found = log_evidence(NormalGamma("real", (0, 1, 2), 3, **shared), GROUPS)
    assert found == pytest.approx(sum(map(quadrature, samples.values())), rel=1e-9)


def scatter_of(rows: np.ndarray) -> np.ndarray:
    """About the mean, and the mean's about the prior's."""
    n, mean = len(rows), rows.mean(0)
    return (rows - mean).T @ (rows - mean) + 0.01 * n / (0.01 + n) * np.outer(mean, mean)


@pytest.mark.parametrize("tied", [True, False])
def test_the_evidence_of_all_classes_is_the_normal_wisharts_closed_form(tied):
    """By Murphy (2007), eq. 266, with degrees of freedom and scatter of all rows that share a matrix."""
    prior, expected = 3 ** (-2 / 3) * np.eye(3), 0.0
    for some in [GROUPS] if tied else [[rows] for rows in GROUPS]:
        n = sum(map(len, some))
        after_all = prior + sum(map(scatter_of, some))
        expected += (
            -n * 3 / 2 * np.log(np.pi)
            + multigammaln((5 + n) / 2, 3)
            - multigammaln(5 / 2, 3)
            + 5 / 2 * np.linalg.slogdet(prior)[1]
            - (5 + n) / 2 * np.linalg.slogdet(after_all)[1]
            + 3 / 2 * sum(np.log(0.01 / (0.01 + len(rows))) for rows in some)
        )
    assert log_evidence(NormalWishart("real", (0, 1, 2), 3, tied=tied), GROUPS) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("tied", [True, False])
def test_the_evidence_of_all_classes_is_a_chain_of_scipys_predictives(tied):
    """Row after row, the classes by turns."""
    before, expected = [rows[:0] for rows in GROUPS], 0.0
    for row in range(max(map(len, GROUPS))):
        for label, rows in enumerate(GROUPS):
            if row < len(rows):
                one = wishart_predictive(before, tied=tied)[label]
                expected += float(one.log_density(rows[row : row + 1], [0, 1, 2])[0])
                before[label] = rows[: row + 1]
    assert log_evidence(NormalWishart("real", (0, 1, 2), 3, tied=tied), GROUPS) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("tied", [True, False])
def test_in_one_column_the_wishart_is_the_gamma(tied):
    columns = [rows[:, :1] for rows in GROUPS]
    gamma, matrix = (kind("real", (0,), 3, tied=tied) for kind in (NormalGamma, NormalWishart))
    assert log_evidence(matrix, columns) == pytest.approx(log_evidence(gamma, columns), rel=1e-12)


@pytest.mark.parametrize(("name", "number"), [("VVI", 18), ("VII", 12), ("EEI", 12), ("EII", 10)])
def test_shared_precisions_are_counted_once(name, number):
    """Three classes of three columns: nine locations besides."""
    assert NormalGamma("real", (0, 1, 2), 3, **SHARED[name][0]).count_parameters(3) == number


@pytest.mark.parametrize(("tied", "number"), [(True, 15), (False, 27)])
def test_shared_matrices_are_counted_once(tied, number):
    assert NormalWishart("real", (0, 1, 2), 3, tied=tied).count_parameters(3) == number
