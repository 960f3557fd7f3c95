"""Amounts with zeros among them: densities that integrate to one, closed forms, and the answers of the analysis."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scripts import analysis

from ppl_models import Mixture, fit, log_density, prepare
from ppl_models.inference import conditional_log_density
from ppl_models.reports.amounts import Amounts, amount_overlay

SPENDING = Amounts("spends", "dollars")
EDGES = 0.01 * 1.25 ** np.arange(80)
KINDS = ("positive", "real")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Amounts of two groups, one in five of them zero."""
    random = np.random.default_rng(3)
    amounts = np.exp(random.normal(np.repeat([1.0, 3.0], 120), 0.6))
    return SPENDING.frame(pd.Series(np.where(random.random(240) < 0.2, 0.0, amounts.round(2))))


def fitted(rows: pd.DataFrame, kind: str, components: int, estimate: str = "bayes") -> Mixture:
    schema = SPENDING.schema(kind)
    return fit(Mixture(schema, components=components, estimate=estimate), prepare(rows, schema)(rows), seed=0).family


@pytest.fixture(scope="module", params=[(kind, components) for kind in KINDS for components in (1, 3)], ids=str)
def family(request: pytest.FixtureRequest, rows: pd.DataFrame) -> Mixture:
    return fitted(rows, *request.param)


def integral(family: Mixture, low: float, high: float) -> float:
    """The integral of the density of amounts by Gauss and Legendre's rule, in 4,000 pieces of a log axis."""
    nodes, weights = np.polynomial.legendre.leggauss(5)
    edges = np.linspace(np.log(low), np.log(high), 4001)
    middles, half = (edges[1:] + edges[:-1]) / 2, (edges[1] - edges[0]) / 2
    amounts = np.exp(middles[:, None] + half * nodes)
    found = SPENDING.log_density(family, SPENDING.frame(pd.Series(amounts.ravel()))).values.reshape(amounts.shape)
    return float((half * weights * amounts * np.exp(found)).sum())


def test_frame_and_totals_are_inverse():
    amounts = pd.Series([0.0, 3.5, 0.0, 1.0])
    assert SPENDING.totals(SPENDING.frame(amounts)).tolist() == amounts.tolist()


def test_the_mass_at_zero_and_the_density_above_it_add_up_to_one(family):
    zero = SPENDING.log_density(family, SPENDING.frame(pd.Series([0.0]))).elpd
    assert np.exp(zero) + integral(family, 1e-50, 1e50) == pytest.approx(1, abs=1e-6)


def test_the_probabilities_of_zero_and_of_all_bins_add_up_to_one(family):
    middles = SPENDING.frame(pd.Series(np.concatenate([[0.0], np.sqrt(EDGES[1:] * EDGES[:-1])])))
    masses = np.exp(SPENDING.log_mass(family, middles, edges=EDGES).values)
    assert masses.sum() + integral(family, 1e-50, EDGES[0]) == pytest.approx(1, abs=1e-4)


def test_a_row_is_whether_there_is_any_and_how_much(family, rows):
    data = family.preparation(rows)
    parts = log_density(family, data.only(["spends"])).values
    parts = parts + conditional_log_density(family, data, given=["spends"]).values
    assert np.allclose(parts, log_density(family, data).values, rtol=0, atol=1e-10)
    told = SPENDING.parts(family, rows)
    assert told["zero or not"] + told["amount, if any"] * rows["spends"].mean() == pytest.approx(told["together"])


def closed_form(rows: pd.DataFrame, log_pdf: np.ndarray) -> np.ndarray:
    """log p(row) by the share of zeros and a density of the others."""
    share = rows["spends"].mean()
    return np.where(rows["spends"] == 1, np.log(share) + log_pdf, np.log(1 - share))


def test_a_log_normal_beside_the_zeros_is_scipys(rows):
    logs, family = np.log(rows["dollars"]), fitted(rows, "positive", 1, "maximum-likelihood")
    log_pdf = stats.lognorm(s=logs.std(ddof=0), scale=np.exp(logs.mean())).logpdf(rows["dollars"])
    assert np.allclose(SPENDING.log_density(family, rows).values, closed_form(rows, log_pdf), rtol=0, atol=1e-6)


def test_what_a_normal_gives_to_amounts_below_zero_is_scipys_and_taken_from_it(rows):
    family = fitted(rows, "real", 1, "maximum-likelihood")
    normal = stats.norm(rows["dollars"].mean(), rows["dollars"].std(ddof=0))
    spilt = rows["spends"].mean() * normal.cdf(0)
    assert SPENDING.spilt(family) == pytest.approx(spilt, abs=1e-8)
    expected = closed_form(rows, normal.logpdf(rows["dollars"])) - np.log1p(-spilt)
    assert np.allclose(SPENDING.log_density(family, rows).values, expected, rtol=0, atol=1e-6)


def test_a_bin_of_a_log_normal_has_scipys_probability(rows):
    logs, family = np.log(rows["dollars"]), fitted(rows, "positive", 1, "maximum-likelihood")
    masses = np.diff(stats.norm(logs.mean(), logs.std(ddof=0)).cdf(np.log(EDGES)))
    expected = closed_form(rows, np.log(masses[np.searchsorted(EDGES, rows["dollars"].fillna(1.0)) - 1]))
    assert np.allclose(SPENDING.log_mass(family, rows, edges=EDGES).values, expected, rtol=0, atol=1e-3)


def test_bars_of_a_histogram_of_amounts_have_the_areas_of_their_shares():
    amounts, grid = np.random.default_rng(0).lognormal(3, 1, 500), np.geomspace(1, 500, 50)
    straight, logarithmic = amount_overlay(amounts, grid, {"none": 0 * grid}, label="dollars").axes
    for axes, share in ((straight, np.mean(amounts <= np.quantile(amounts, 0.99))), (logarithmic, 1.0)):
        assert sum(bar.get_width() * bar.get_height() for bar in axes.patches) == pytest.approx(share, abs=0.003)


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "tables" / f"{name}.csv", index_col="model")


def test_a_single_log_normal_leads_two_normals_on_real_dollars(tmp_path, capsys):
    spending = analysis("spending")
    if not spending.FILE.is_file():
        pytest.skip(f"{spending.FILE} is not there")
    spending.main(seed=0, output_dir=tmp_path / "report", quick=True)
    for name in ("comparison", "bins"):
        found = table(tmp_path / "report", name).loc["2 normals"]
        assert found["diff"] < -2 * found["dse"]
    assert capsys.readouterr().out.startswith("15.2% of 1253 rows are zero")


def test_without_the_file_it_says_so_and_bins_still_show_the_lectures_two_groups(tmp_path, capsys):
    spending = analysis("spending")
    spending.FILE = tmp_path / "cex5.csv"
    spending.main(seed=0, output_dir=tmp_path / "report", quick=True)
    for name in ("comparison", "bins"):
        found = table(tmp_path / "report", name).loc["2 normals"]
        assert found["diff"] > 2 * found["dse"]
    assert capsys.readouterr().out.startswith(f"No {tmp_path / 'cex5.csv'}: the lecture's customers.")
