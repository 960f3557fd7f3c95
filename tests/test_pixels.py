"""Likelihoods of pixels against scipy's distribution functions, quadrature and finite differences."""

from itertools import pairwise, product

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from pyro import poutine
from scipy import integrate, stats

from ppl_models.datasets import Column, Schema, prepare
from ppl_models.distributions import seeded
from ppl_models.distributions.continuous_bernoulli import ContinuousBernoulli, langevin, log_sinhc
from ppl_models.distributions.grey_levels import DequantisedNormal, DiscretisedLogistic
from ppl_models.distributions.pixels import (
    ContinuousBernoulliHead,
    DequantisedNormalHead,
    DiscretisedLogisticHead,
    require_levels,
    require_unit_interval,
)
from ppl_models.errors import InputError

FALSE_ALARM = 1e-5  # of each test of draws below
MIDPOINTS = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
LOGITS = [-1e4, -300.0, -17.0, -1.0, -0.201, -0.199, -1e-3, -1e-9, 0.0, 1e-6, 0.1, 0.2, 0.21, 5.0, 40.0, 2000.0]
SOME = [logit for logit in LOGITS if abs(logit) <= 300]
PREPARED = {"loc": torch.tensor(0.13, dtype=torch.float64), "scale": torch.tensor(0.31, dtype=torch.float64)}
ENDS = (-0.13 / 0.31, 0.87 / 0.31)
precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def extremes(levels: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Locations and scales, ordinary and extreme; the locations on a boundary between levels are among them."""
    places = [-1e4, -3.0, 0.0, 0.5, levels / 3, levels - 1.5, levels - 1.0, levels + 40.0, 1e4]
    scales = [1e-30, 1e-6, 1e-3, 0.07, 1.0, 30.0, 1e4, 1e8]
    return tuple(torch.tensor(list(product(places, scales)), dtype=dtype).T)


def continuous(logit: float) -> ContinuousBernoulli:
    return ContinuousBernoulli(number(logit), **PREPARED)


def quadrature(integrand, logit: float) -> float:
    """Over the support, cut where a steep density has fallen by e^−2, e^−8 and e^−30."""
    cuts = [ENDS[0], *(ENDS[0] + np.array([2, 8, 30]) / max(abs(logit), 60) / 0.31), ENDS[1]]
    if logit > 0:
        cuts = [sum(ENDS) - cut for cut in cuts[::-1]]
    return sum(integrate.quad(integrand, *piece, epsabs=1e-13, epsrel=1e-12)[0] for piece in pairwise(cuts))


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_pmf_sums_to_one_however_extreme_the_parameters(levels, dtype, tolerance):
    with seeded(1):
        usual = (torch.randn(200).to(dtype) * levels, torch.randn(200).to(dtype).exp())
    for loc, scale in (usual, extremes(levels, dtype)):
        codes = torch.arange(levels, dtype=dtype)
        total = DiscretisedLogistic(loc, scale, levels=levels).log_prob(codes[:, None]).exp().sum(0)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=tolerance)


@pytest.mark.parametrize("scale", [0.11, 0.9, 14.0])
def test_the_pmf_is_a_difference_of_scipys_distribution_functions(scale):
    codes, loc = np.arange(16), 5.3
    edges = np.concatenate([[-np.inf], codes[:-1] + 0.5, [np.inf]])
    below, above = stats.logistic.cdf(edges, loc, scale), stats.logistic.sf(edges, loc, scale)
    known = np.where(codes < loc, np.diff(below), -np.diff(above))
    found = DiscretisedLogistic(number(loc), number(scale), levels=16).log_prob(torch.arange(16))
    np.testing.assert_allclose(found, np.log(known), rtol=1e-11)


@precisions
def test_log_probabilities_and_slopes_are_finite_however_extreme_the_parameters(dtype):
    loc, scale = (each.requires_grad_() for each in extremes(256, dtype))
    logs = DiscretisedLogistic(loc, scale, levels=256).log_prob(torch.arange(256, dtype=dtype)[:, None])
    slopes = torch.autograd.grad(logs.sum(), (loc, scale))
    assert all(each.isfinite().all() for each in (logs, *slopes))


def test_slopes_of_the_pmf_are_finite_differences():
    with seeded(2):
        loc, scale = (8 + 6 * torch.randn(40).double()).requires_grad_(), torch.rand(40).double().add(0.1)
        codes = torch.randint(0, 16, (40,))
    slopes = lambda loc, scale: DiscretisedLogistic(loc, scale, levels=16).log_prob(codes)  # noqa: E731
    assert torch.autograd.gradcheck(slopes, (loc, scale.requires_grad_()), rtol=1e-5)


def test_far_codes_keep_their_slope_in_float32():
    """Where the pmf underflows, log p falls by 1 / scale a level."""
    loc = torch.tensor(0.0).requires_grad_()
    found = DiscretisedLogistic(loc, torch.tensor(0.25), levels=256).log_prob(torch.tensor(200.0))
    (slope,) = torch.autograd.grad(found, loc)
    torch.testing.assert_close(found.item(), -199.5 / 0.25 + float(np.log1p(-np.exp(-4))), rtol=1e-6, atol=0)
    assert slope == 4


@pytest.mark.parametrize(("loc", "scale"), [(1.2, 0.6), (-0.4, 2.0), (6.9, 1.1)])
def test_draws_of_levels_have_the_frequencies_of_their_pmf(loc, scale):
    logistic = DiscretisedLogistic(number(loc), number(scale), levels=6)
    normal = DequantisedNormal(number(loc), number(scale), shift=number(0.5), levels=6)
    edges = np.concatenate([[-np.inf], np.arange(1, 6), [np.inf]])
    shares = {
        logistic: logistic.log_prob(torch.arange(6)).exp().numpy(),
        normal: np.diff(stats.norm.cdf(edges, loc, scale)),
    }
    for cells, share in shares.items():
        with seeded(3):
            found = cells.sample((40_000,)).long().bincount(minlength=6).numpy()
        kept = 40_000 * share > 10
        assert found[~kept].sum() <= stats.poisson.isf(FALSE_ALARM, 40_000 * share[~kept].sum())
        expected = share[kept] / share[kept].sum() * found[kept].sum()
        assert stats.chisquare(found[kept], expected).pvalue > FALSE_ALARM


def test_means_of_levels_are_sums_over_the_codes():
    loc, scale = extremes(17, torch.float64)
    codes = torch.arange(17).double()[:, None]
    logistic = DiscretisedLogistic(loc, scale, levels=17)
    torch.testing.assert_close(logistic.mean, (codes * logistic.log_prob(codes).exp()).sum(0), rtol=1e-10, atol=1e-10)
    edges = np.concatenate([[-np.inf], np.arange(1, 17), [np.inf]])[:, None]
    shares = np.diff(stats.norm.cdf(edges, loc, scale), axis=0)
    normal = DequantisedNormal(loc, scale, shift=number(0.0), levels=17)
    np.testing.assert_allclose(normal.mean, (codes.numpy() * shares).sum(0), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("logit", SOME)
def test_the_continuous_bernoulli_integrates_to_one_in_prepared_units(logit):
    cells = continuous(logit)
    density = lambda x: cells.log_prob(number(x)).exp().item()  # noqa: E731
    assert quadrature(density, logit) == pytest.approx(1, abs=1e-9)
    assert quadrature(lambda x: x * density(x), logit) == pytest.approx(cells.mean.item(), abs=1e-9)


@pytest.mark.parametrize("sign", [-1, 1])
def test_series_and_closed_forms_meet(sign):
    t = sign * np.linspace(0.08, 0.12, 9)
    np.testing.assert_allclose(log_sinhc(torch.tensor(t)), np.log(np.sinh(t) / t), rtol=0, atol=2e-15)
    np.testing.assert_allclose(langevin(torch.tensor(t)), 1 / np.tanh(t) - 1 / t, rtol=0, atol=8e-15)


@pytest.mark.parametrize("logit", [-25.0, -3.0, 0.3, 8.0])
def test_the_continuous_bernoulli_is_torchs_in_raw_units(logit):
    raw = torch.linspace(0, 1, 11, dtype=torch.float64)
    known = torch.distributions.ContinuousBernoulli(logits=number(logit)).log_prob(raw) + np.log(0.31)
    torch.testing.assert_close(continuous(logit).log_prob((raw - 0.13) / 0.31), known, rtol=1e-8, atol=1e-8)


def test_slopes_of_the_continuous_bernoulli_are_finite_differences():
    logits = torch.tensor(SOME, dtype=torch.float64).requires_grad_()
    values = torch.linspace(*ENDS, len(SOME), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda logits: ContinuousBernoulli(logits, **PREPARED).log_prob(values), logits)
    assert torch.autograd.gradcheck(lambda logits: ContinuousBernoulli(logits, **PREPARED).mean, logits)


def test_the_continuous_bernoulli_and_its_slopes_are_as_good_in_float32():
    """Slopes d log p / d logit are between −1 and 1."""
    found = {}
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor(LOGITS, dtype=dtype).requires_grad_()
        cells = ContinuousBernoulli(logits, **{name: value.to(dtype) for name, value in PREPARED.items()})
        logs = cells.log_prob(torch.tensor([0.0, 1.3], dtype=dtype)[:, None])
        found[dtype] = [logs.double(), *torch.autograd.grad(logs.sum(), logits), cells.mean]
    for single, double in zip(*found.values(), strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("logit", [-60.0, -0.5, 0.0, 3.0, 500.0])
def test_draws_of_the_continuous_bernoulli_have_its_distribution_function(logit):
    with seeded(4):
        raw = continuous(logit).sample((20_000,)) * 0.31 + 0.13
    turned = (1 - raw if logit > 0 else raw).numpy()
    fall = max(abs(logit), 1e-9)
    known = lambda x: np.expm1(-fall * x) / np.expm1(-fall)  # noqa: E731
    assert stats.kstest(turned, known).pvalue > FALSE_ALARM


@precisions
def test_a_rounding_beyond_an_end_is_the_end_and_more_is_impossible(dtype):
    """Also after its way through float32."""
    prepared = {name: value.to(dtype) for name, value in PREPARED.items()}
    cells = ContinuousBernoulli(torch.tensor(7.0, dtype=dtype), **prepared)
    raw = torch.tensor([0.0, -1e-6, 1.0, 1 + 1e-6, 1.001, -0.001], dtype=torch.float64)
    found = cells.log_prob(((raw - 0.13) / 0.31).to(dtype))
    torch.testing.assert_close(found[[0, 2]], found[[1, 3]], rtol=0, atol=200 * torch.finfo(dtype).eps)
    assert (found[4:] == -torch.inf).all()


DEQUANTISED = pytest.mark.parametrize(
    ("code", "loc", "scale"), [(3, 3.4, 0.3), (0, 0.9, 1.5), (7, 4.0, 0.8), (5, 5.5, 40.0)]
)


def densities(code: int, loc: float, scale: float) -> torch.Tensor:
    """Log densities at shifts all over 0 to 1."""
    return DequantisedNormal(number(loc), number(scale), shift=MIDPOINTS, levels=8).log_prob(torch.tensor(code))


@DEQUANTISED
def test_the_mean_over_shifts_bounds_the_log_pmf_by_its_closed_form(code, loc, scale):
    """E (code + u − loc)² = a² + a + ⅓ with a = code − loc, and Φ's difference for floor(y)."""
    exact = np.log(np.diff(stats.norm.cdf([code - loc, code + 1 - loc], scale=scale)).item())
    off = code - loc
    mean = -np.log(scale) - np.log(2 * np.pi) / 2 - (off**2 + off + 1 / 3) / (2 * scale**2)
    assert densities(code, loc, scale).mean().item() == pytest.approx(mean, abs=1e-7)
    assert mean < exact


@DEQUANTISED
def test_the_bound_by_many_shifts_is_the_log_pmf(code, loc, scale):
    exact = np.log(np.diff(stats.norm.cdf([code - loc, code + 1 - loc], scale=scale)).item())
    found = densities(code, loc, scale).logsumexp(0) - np.log(len(MIDPOINTS))
    assert found.item() == pytest.approx(exact, abs=1e-7)


def output(numbers: int) -> torch.nn.Module:
    """As a decoder makes it, from four hidden units."""
    return torch.nn.Linear(4, numbers)


HEADS = {
    "discretised logistic": (lambda: DiscretisedLogisticHead("site", (0, 2), output, 9), torch.tensor([8.0, 0.0])),
    "dequantised normal": (lambda: DequantisedNormalHead("site", (0, 2), output, 9), torch.tensor([8.0, 0.0])),
    "continuous Bernoulli": (lambda: ContinuousBernoulliHead("site", (0, 2), output), torch.tensor([1.0, 0.0])),
}
every_head = pytest.mark.parametrize(("make", "values"), HEADS.values(), ids=HEADS)


def ask(head: torch.nn.Module, hidden: torch.Tensor):
    """The head's distribution, with half a level as shift where it takes one."""
    if getattr(head, "shifts", 0):
        return head(hidden, torch.full((*hidden.shape[:-1], head.shifts), 0.5).to(hidden))
    return head(hidden)


@every_head
@precisions
def test_heads_keep_the_dtype_and_leading_dimensions(make, values, dtype):
    cells = ask(make().to(dtype), torch.zeros(5, 7, 4, dtype=dtype))
    for found in (cells.log_prob(values.to(dtype)), cells.sample(), cells.mean):
        assert (found.shape, found.dtype) == ((5, 7, 2), dtype)
    assert cells.expand((3, 5, 7, 2)).sample((2,)).shape == (2, 3, 5, 7, 2)


@every_head
def test_a_head_is_the_same_after_its_state_was_loaded(make, values):
    with seeded(5):
        one, other, hidden = make(), make(), torch.randn(3, 4)
    if isinstance(one, ContinuousBernoulliHead):
        one.adopt(torch.tensor([0.2, 9.0, 0.1]).double(), torch.tensor([0.5, 9.0, 1.2]).double())
    with torch.no_grad():
        for parameter in one.parameters():
            parameter += 0.1
    other.load_state_dict(one.state_dict())
    assert torch.equal(ask(one, hidden).log_prob(0 * values), ask(other, hidden).log_prob(0 * values))


@every_head
@pytest.mark.parametrize("size", [0.0, 1e2, 1e5])
def test_heads_have_finite_slopes_whatever_the_network_says(make, values, size):
    """In float32, at both ends, and at the 0 of a missing cell."""
    with seeded(6):
        head, hidden = make(), size * torch.randn(50, 4)
    for cells in (values, values.flip(0), 0 * values):
        logs = ask(head, hidden).log_prob(cells)
        assert logs.isfinite().all()
        assert all(slope.isfinite().all() for slope in torch.autograd.grad(logs.sum(), list(head.parameters())))


@every_head
def test_cells_under_a_mask_add_nothing_to_a_site(make, values):
    with seeded(7):
        head, hidden = make(), torch.randn(6, 4)
    seen = torch.tensor([True, False])

    def story() -> None:
        with pyro.plate("rows", 6):
            pyro.sample("x", ask(head, hidden).mask(seen).to_event(1), obs=values.expand(6, 2))

    found = poutine.trace(story).get_trace().log_prob_sum()
    torch.testing.assert_close(found, ask(head, hidden).log_prob(values)[:, 0].sum())


def test_a_network_that_says_0_means_the_middle_level_and_an_eighth_of_them_as_scale():
    for head in (DiscretisedLogisticHead("site", (0,), output, 16), DequantisedNormalHead("site", (0,), output, 16)):
        for parameter in head.parameters():
            parameter.data.zero_()
        cells = ask(head, torch.zeros(1, 4))
        torch.testing.assert_close(cells.mean, torch.full_like(cells.mean, 7.5))
        torch.testing.assert_close(cells.scale, torch.full_like(cells.scale, 0.05 + 16 / (1 + np.exp(2))))


@pytest.mark.parametrize("free", [-1e3, -5.0, 0.0, 5.0, 1e3])
def test_grey_scales_are_between_their_floor_and_all_levels(free):
    head = DequantisedNormalHead("site", (0,), output, 16)
    head.scale.data.fill_(free)
    assert 0.05 <= ask(head, torch.zeros(1, 4)).scale.item() <= 16.05
    head.reset_parameters()
    assert head.scale.item() == 0


def test_the_continuous_bernoullis_head_gives_a_density_in_prepared_units():
    """Of raw values: that of the columns' own location and scale, less log scale."""
    with seeded(8):
        head, hidden = ContinuousBernoulliHead("site", (2, 0), output).double(), torch.randn(5, 4).double()
    raw, loc, scale = torch.rand(5, 2).double(), torch.tensor([0.4, 0.0, 0.1]), torch.tensor([0.2, 1.0, 0.5])
    before = head(hidden).log_prob(raw)
    head.adopt(loc.double(), scale.double())
    after = head(hidden).log_prob((raw - head.loc) / head.scale)
    torch.testing.assert_close(after - head.scale.log(), before)
    torch.testing.assert_close(torch.stack([head.loc, head.scale]), torch.tensor([[0.1, 0.4], [0.5, 0.2]]).double())


def test_no_density_in_raw_units_is_above_100():
    with seeded(9):
        logs = ContinuousBernoulliHead("site", (0, 2), output)(1e4 * torch.randn(50, 4)).log_prob(torch.ones(2))
    assert logs.max().item() == pytest.approx(np.log(100), abs=1e-5)


def table(kind: str = "real", **columns: list):
    schema = Schema(tuple(Column(name, kind) for name in columns))
    frame = pd.DataFrame(columns)
    return prepare(frame, schema)(frame)


def test_values_between_0_and_1_pass_with_missing_cells_and_roundings():
    batch = table(p=[0.0, np.nan, 1 + 1e-7], q=[0.5, 7.0, -3.0])
    require_unit_interval(batch, (0,))
    require_unit_interval(batch.only(["p"]), (0, 1))


def test_values_beyond_0_and_1_are_refused():
    batch = table(p=[0.0, 0.4, 1.0], q=[0.5, 1.2, -0.1])
    with pytest.raises(InputError, match=r"column 'q': .* from 0 to 1, got 1.2 in row 2; .* use the normal likelihood"):
        require_unit_interval(batch, (0, 1))
    with pytest.raises(InputError, match=r"column 'n': .* needs a real column, got a count one"):
        require_unit_interval(table("count", n=[0, 1, 1]), (0,))


def grey(*categories: object) -> Schema:
    return Schema((Column("p", "categorical", ("a", "b")), Column("grey", "categorical", categories)))


@pytest.mark.parametrize("categories", [(0, 1), (0, 16, 32), tuple(np.linspace(0, 1, 11)), (np.int64(-3), 0.5, 4)])
def test_evenly_spaced_numbers_are_grey_levels(categories):
    require_levels(grey(*categories), (1,))


@pytest.mark.parametrize(
    "categories", [("a", "b"), ("0", "1"), (0, 1, 3), (2, 1, 0), (False, True), (0, np.inf), (0, np.nan), (0, None)]
)
def test_other_categories_are_no_grey_levels(categories):
    with pytest.raises(InputError, match=r"column 'grey': .* equal steps, got categories .*use the categorical"):
        require_levels(grey(*categories), (1,))


def test_columns_without_categories_have_no_grey_levels():
    with pytest.raises(InputError, match=r"column 'n': .*, got a count one; use the categorical likelihood"):
        require_levels(Schema((Column("n", "count"),)), [0])
    with pytest.raises(InputError, match=r"categories 'a', 'b', 'c', 'd', 'e', 'f', \.\.\.;"):
        require_levels(grey(*"abcdefgh"), [1])
