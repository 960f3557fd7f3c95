"""The interval of a comparison holds the true difference as often as it says, and says where it cannot."""

import numpy as np
import pytest
from scipy import stats

from ppl_models.evaluation import mean_interval, tail_khat

REPEATS, ROWS = 2000, 150
CASES = {
    "normal": (stats.norm(), 0.0),
    "chi squared, skewed": (stats.chi2(1), 1.0),
    "log-normal, skewed and heavy": (stats.lognorm(1.0), np.exp(0.5)),
    "Student's t of 3, heavy": (stats.t(3), 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_the_interval_covers_as_often_as_it_says(name):
    """95 % ± 2 %, of 2,000 tables, whose own error is 0.5 %: the seed is fixed."""
    law, mean = CASES[name]
    values = law.rvs((REPEATS, ROWS), random_state=np.random.default_rng(0))
    low, high = mean_interval(values)
    assert abs(((low <= mean) & (mean <= high)).mean() - 0.95) <= 0.02


def test_plain_intervals_of_skewed_differences_cover_too_seldom():
    law, mean = CASES["log-normal, skewed and heavy"]
    values = law.rvs((REPEATS, ROWS), random_state=np.random.default_rng(0))
    error = 1.96 * values.std(1, ddof=1) / ROWS**0.5
    plain = (np.abs(values.mean(1) - mean) <= error).mean()
    low, high = mean_interval(values)
    assert plain < 0.94 < ((low <= mean) & (mean <= high)).mean()


def test_the_cubic_of_the_longer_end_is_students_quantile():
    values = np.random.default_rng(1).exponential(size=40)
    (_,), (high,) = mean_interval(values[None])
    n, s = 40, values.std(ddof=1)
    g = ((values - values.mean()) ** 3).mean() / s**3
    t = n**0.5 * (values.mean() - high) / s
    cubic = t + g * t**2 / (3 * n**0.5) + g**2 * t**3 / (27 * n) + g / (6 * n**0.5)
    assert cubic == pytest.approx(stats.t(39).ppf(0.025))


def test_symmetric_differences_have_students_interval():
    values = np.concatenate([np.arange(1.0, 11), -np.arange(1.0, 11)])
    (low,), (high,) = mean_interval(values[None])
    expected = stats.t(19, scale=values.std(ddof=1) / 20**0.5).interval(0.95)
    np.testing.assert_allclose([low, high], expected, rtol=1e-9)


def test_one_row_has_no_interval_and_equal_rows_one_of_no_width():
    assert np.isnan(mean_interval(np.zeros((2, 1)))).all()
    np.testing.assert_array_equal(mean_interval(np.full((1, 5), 3.0)), [[3.0], [3.0]])


def test_long_tails_are_flagged_and_short_ones_are_not():
    random = np.random.default_rng(0)
    tables = np.stack([random.normal(size=2000), random.standard_t(1.2, size=2000)])
    short, long = tail_khat(tables)
    assert short < 0.5 < 0.7 < long
    assert tail_khat(np.zeros((1, 30))) == -np.inf
    assert np.isnan(tail_khat(tables[:, :10])).all()
