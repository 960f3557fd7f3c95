"""The verification kit: right pairs pass, planted faults are named, and nothing that it looks at is changed."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import CASES, CONJUGATE, build, fitted
from faults import FAULTS, LOG_EVIDENCE, RIGHT, TABLE, conjugate, enumerated, pair, scoring
from outsiders import OUTSIDERS, subsampled_renyi

from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.verify import PAIR_LAWS, SCORING_LAWS, BrokenLaw, Pair, verify
from ppl_models.verify.evidence import integrate
from ppl_models.verify.families import pair_of, scoring_of
from ppl_models.verify.findings import Comparison, Fact, Mean, judge, mean_of

SLOW = ("gradient", "particles")  # of enumerated pairs, whose ELBO test_laws.py holds to closed forms besides
SMALL = {"draws": 64, "alarms": 1e-3}  # false alarms 1e-3 a subject at the most, and seeds are fixed


@pytest.fixture
def store():
    """What a pair with the store leaves there is no family's."""
    yield
    pyro.clear_param_store()


@pytest.mark.parametrize("name", FAULTS)
def test_every_planted_fault_is_caught_and_named(name):
    fault = FAULTS[name]
    finding = verify(fault.make(), laws=[fault.law]).findings[0]
    assert finding.verdict == "broken" and any(fault.named in cause for cause in finding.causes)


def test_every_law_has_a_planted_fault():
    assert {fault.law for fault in FAULTS.values()} == {law.name for law in (*PAIR_LAWS, *SCORING_LAWS)}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_pair_breaks_no_law(name):
    verify(RIGHT[name](), **SMALL).require()


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("name", OUTSIDERS)
def test_pairs_outside_our_families_break_no_law(name):
    verify(OUTSIDERS[name](), **SMALL).require()


@pytest.mark.usefixtures("store")
def test_the_known_fault_of_renyis_bound_under_subsampling_is_named():
    finding = verify(subsampled_renyi(), laws=["minibatches"]).findings[0]
    assert finding.verdict == "broken" and "inside the logsumexp" in finding.causes[0]


@pytest.mark.parametrize("name", CASES)
def test_our_families_break_no_law(name):
    family, rows = fitted(name).family, build(name)[1][torch.arange(20)]
    laws = [law.name for law in PAIR_LAWS if CASES[name].method is not CONJUGATE or law.name not in SLOW]
    verify(pair_of(family, rows), laws=laws, **SMALL).require()
    if not hasattr(family, "reconstruction_log_likelihood"):
        verify(scoring_of(family, rows)).require()


@pytest.mark.parametrize("name", ["naive Bayes, all labels known", "naive Bayes, quadratic"])
def test_the_posterior_of_rows_of_known_class_is_exact(name):
    family, rows = fitted(name).family, build(name)[1]
    subject = pair_of(family, rows)
    claimed = Pair(subject.model, subject.guide, subject.args, loss=subject.loss, exact=True)
    finding = verify(claimed, laws=["exact"], draws=64).findings[0]
    assert finding.verdict == "holds"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("make", [pair, OUTSIDERS["functions with the store, a plate that subsamples"]])
def test_a_pair_is_afterwards_what_it_was(make):
    subject = make()
    with seeded(0):
        subject.trace()
    before = {name: value.detach().clone() for name, value in subject.parameters().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    verify(subject, draws=64)
    assert torch.equal(torch.rand(2), expected)
    after = subject.parameters()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert all(value.grad is None for value in after.values())


def test_the_same_seed_gives_the_same_verdict():
    assert str(verify(pair(), draws=64)) == str(verify(pair(), draws=64))
    assert verify(pair(), seed=1, draws=64).findings != verify(pair(), draws=64).findings


def test_quadrature_finds_the_evidence_of_a_shared_mean():
    found = integrate(conjugate(), seed=0)
    assert found.how == "quadrature" and found.value == pytest.approx(LOG_EVIDENCE, abs=1e-6)


def test_quadrature_finds_the_evidence_of_each_row():
    """p(x_i) = Normal(0, w wᵀ + noise) of the right pair's rows; float64."""
    subject = pair()
    weight = subject.model.weight.detach()
    covariance = weight[:, None] * weight + 0.64 * torch.eye(3, dtype=torch.float64)
    rows = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance).log_prob(
        subject.args[0]
    )
    torch.testing.assert_close(integrate(subject, seed=0).rows, rows, rtol=0, atol=1e-6)


def test_quadrature_over_locs_sums_over_the_classes_of_each_row():
    """Against a plain grid over both locs, 801 × 801 points of spacing 0.02, in float64."""
    axis = torch.linspace(-8, 8, 801, dtype=torch.float64)
    prior = torch.distributions.Normal(0.0, 2.0).log_prob(axis)
    each = torch.distributions.Normal(axis[:, None], 1.0).log_prob(TABLE)
    both = torch.logaddexp(each[:, None] + math.log(0.3), each[None] + math.log(0.7)).sum(-1)
    expected = (both + prior[:, None] + prior).flatten().logsumexp(0) + 2 * math.log(0.02)
    found = integrate(enumerated(), seed=0)
    assert found.value == pytest.approx(float(expected), abs=1e-5)


def test_quadrature_knows_the_jacobian_of_a_positive_latent():
    """rate ~ Gamma(2, 1), x_i ~ Poisson(rate): the evidence is a ratio of gamma functions."""
    counts = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)

    def model():
        rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0, dtype=torch.float64), 1.0))
        with pyro.plate("rows", 3):
            pyro.sample("x", dist.Poisson(rate), obs=counts)

    def guide():
        pyro.sample("rate", dist.Gamma(torch.tensor(8.0, dtype=torch.float64), 4.0))

    total = float(counts.sum())
    expected = math.lgamma(2 + total) - (2 + total) * math.log(4.0) - float(torch.lgamma(counts + 1).sum())
    found = verify(Pair(model, guide, exact=True, log_evidence=expected))
    assert found and {one.law for one in found.findings if one.verdict == "holds"} >= {"evidence", "bound", "exact"}


def test_a_comparison_alarms_as_often_as_it_says():
    """At a stated rate of 5 %, among 2,000 means of 64 normals: within 4 binomial errors (false alarms 6e-5)."""
    generator = torch.Generator().manual_seed(0)
    alarms = [
        not Comparison("a mean", mean_of(torch.randn(64, generator=generator)), 0.0).holds(0.05) for _ in range(2000)
    ]
    assert abs(sum(alarms) / 2000 - 0.05) < 4 * (0.05 * 0.95 / 2000) ** 0.5


def test_comparisons_of_one_law_share_its_rate():
    close = Comparison("a mean", Mean(2.3, 1.0, 1000), 0.0)
    assert judge([close], 0.05) == [close]
    assert judge([close] * 20, 0.05) == []
    assert judge([Fact(False, "wrong")], 0.05) == [Fact(False, "wrong")]


def test_a_broken_law_says_estimate_error_expectation_cause_and_source():
    with pytest.raises(BrokenLaw) as raised:
        verify(FAULTS["entropy dropped"].make(), laws=["loss"]).require()
    for word in ("se ", "expected", "entropy is dropped", "false alarms: about 5e-05", "https://"):
        assert word in str(raised.value)


def test_the_table_has_a_line_for_each_law():
    table = verify(scoring()).table()
    assert list(table["verdict"]) == ["holds", "skipped", "skipped", "skipped", "holds", "skipped"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: verify(pair(), laws=["los"]), "laws: expected some of sites"),
        (lambda: verify(pair(), draws=3), "draws: expected 64 or more, got 3"),
        (lambda: verify(pair(), alarms=0.0), "alarms: expected a rate between 0 and 1, got 0.0"),
        (lambda: Pair(print, print, rows=3), "expected rows and batch together"),
        (lambda: scoring(kind="upper"), "expected a kind of"),
    ],
)
def test_bad_subjects_and_options_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
