"""Variational autoencoders with a class: linear ones have closed forms, and classes are summed out as by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import QUICK, fitted, rows_of
from scipy import stats
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from torch import nn

from ppl_models.datasets import Dataset, load
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions import DecoderLikelihoods, LatentPrior, seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import compare
from ppl_models.families import VAE, ConditionalVAE, LabelledVAE, SemiSupervisedVAE
from ppl_models.inference import Gradient, class_probabilities, estimate_elbo, fit, log_density, sample
from ppl_models.inference.bounds import make_elbo
from ppl_models.inference.objectives import Objective, training_loss
from ppl_models.nn import Dense

SE = 4.5  # standard errors: false alarms 7e-6 a number
COPIES, CALLS = 20, 20
BOTH = [ConditionalVAE, SemiSupervisedVAE]
ROWS = rows_of("iris", 60)
UNLABELLED = replace(ROWS, labels=torch.full_like(ROWS.labels, UNKNOWN))
SOME = replace(ROWS, labels=torch.where(torch.arange(60) % 3 == 0, ROWS.labels, UNKNOWN))
RANDOM = np.random.default_rng(3)
LOADING, CENTRES, BIAS = RANDOM.normal(size=(4, 2)), RANDOM.normal(size=(4, 3)), RANDOM.normal(size=4) / 3
SCALE = np.array([0.5, 0.7, 0.4, 0.6])
SHARES = np.array([0.5, 0.3, 0.2])


def linear(kind: type[LabelledVAE], *, wide: float = 1.0) -> LabelledVAE:
    """A linear decoder of z and y, with the exact q(z | x, y), or a wider one, for a guide."""
    likelihoods = DecoderLikelihoods(scale="column")
    network = Dense(())
    family = kind(ROWS.schema, latent=2, network=network, likelihoods=likelihoods, guide="full", dtype=torch.float64)
    family.adopt(ROWS)
    covariance = np.linalg.inv(np.eye(2) + LOADING.T @ (LOADING / SCALE[:, None] ** 2))
    towards, root = covariance @ (LOADING / SCALE[:, None] ** 2).T, wide * np.linalg.cholesky(covariance)
    head, answer = family.model.heads[0], family.guide.answer
    values = {
        head.loc.weight: np.hstack([LOADING, CENTRES]),
        head.loc.bias: BIAS,
        head.log_scale: np.log(SCALE - 0.01),
        answer.loc.weight: np.hstack([towards, -towards @ CENTRES]),
        answer.loc.bias: -towards @ BIAS,
        answer.log_scale.weight: np.zeros((2, 7)),
        answer.log_scale.bias: np.log(np.diag(root)),
        answer.below.weight: np.zeros((1, 7)),
        answer.below.bias: root[1:, 0],
    }
    if kind is SemiSupervisedVAE:
        values[family.model.shares.logits] = np.log(SHARES)
    with torch.no_grad():
        for parameter, value in values.items():
            parameter.copy_(torch.tensor(value))
        if kind is ConditionalVAE:
            family.shares.copy_(torch.tensor(SHARES))
    return family


def log_joint() -> np.ndarray:
    """log p(x, y) of each row and class, in closed form and prepared units."""
    covariance = LOADING @ LOADING.T + np.diag(SCALE**2)
    parts = [stats.multivariate_normal(BIAS + centre, covariance).logpdf(ROWS.values) for centre in CENTRES.T]
    return np.column_stack(parts) + np.log(SHARES)


def closed_form(kind: type[LabelledVAE]) -> np.ndarray:
    """log p(x | y) of rows at their classes, or log p(x) of them without, in raw units."""
    if kind is SemiSupervisedVAE:
        return logsumexp(log_joint(), axis=1) + ROWS.log_scale.numpy()
    labels = ROWS.labels.numpy()
    return log_joint()[np.arange(len(ROWS)), labels] - np.log(SHARES)[labels] + ROWS.log_scale.numpy()


def copied(rows: Dataset) -> Dataset:
    """Many copies of the rows, whose noise is their own: many draws in one call."""
    return rows[torch.arange(len(rows)).repeat(COPIES)]


def elbos(family: LabelledVAE, rows: Dataset, *, seed: int) -> np.ndarray:
    """The ELBO of all rows by ``weigh``, total nats in prepared units: its parts, call by call."""
    rows = copied(rows)
    with seeded(seed), torch.no_grad():
        noise = torch.randn(CALLS, 1, len(rows), family.noise, dtype=torch.float64)
        parts = [family.weigh(rows, one) for one in noise]
    values = [rows.weights @ each.log_likelihood[0] - (rows.weights @ each.kl).sum() for each in parts]
    return torch.stack(values).numpy() / COPIES


def pyros(family: LabelledVAE, rows: Dataset, *, seed: int) -> np.ndarray:
    """The same by Pyro's estimator of the pair."""
    elbo, rows = make_elbo(family), copied(rows)
    with seeded(seed), torch.no_grad():
        losses = [elbo.loss(family.model, family.guide, rows, len(rows)) for _ in range(CALLS)]
    return -np.array(losses) / COPIES


def agree(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two samples have the same mean, within their standard errors; false alarms 7e-6."""
    error = np.hypot(*(each.std(ddof=1) / len(each) ** 0.5 for each in (one, other)))
    return abs(one.mean() - other.mean()) < stats.t(len(one) - 1).isf(3.5e-6) * error + 1e-9


@pytest.mark.parametrize("kind", BOTH)
def test_one_draw_from_the_exact_posterior_gives_the_closed_form(kind):
    found = log_density(linear(kind), ROWS, draws=1)
    np.testing.assert_allclose(found.values, closed_form(kind), rtol=1e-9)


@pytest.mark.parametrize("kind", BOTH)
def test_many_draws_from_a_wider_guide_give_the_closed_form(kind):
    found = log_density(linear(kind, wide=1.3), ROWS, draws=2000)
    assert abs(found.elpd - closed_form(kind).mean()) < SE * found.mean_se
    assert (abs(found.values - closed_form(kind)) < SE * found.monte_carlo_se).all()


def test_labels_of_scored_rows_do_not_touch_the_density_of_a_semi_supervised_vae():
    family = linear(SemiSupervisedVAE, wide=1.3)
    told, untold = (log_density(family, rows, draws=5).values for rows in (ROWS, UNLABELLED))
    np.testing.assert_array_equal(told, untold)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(("wide", "limit"), [(1.0, 1e-9), (1.2, 0.03)])
def test_class_probabilities_are_bayes_rule(kind, wide, limit):
    found = class_probabilities(linear(kind, wide=wide), UNLABELLED, draws=2000)
    expected = np.exp(log_joint() - logsumexp(log_joint(), axis=1, keepdims=True))
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)
    assert tuple(found.columns) == ROWS.schema.label.categories


@pytest.mark.parametrize(("kind", "rows"), [(ConditionalVAE, ROWS), (SemiSupervisedVAE, SOME)])
@pytest.mark.parametrize("options", [{}, {"prior": LatentPrior("vamp", 2)}, {"guide": "full"}])
def test_the_parts_of_the_elbo_sum_to_pyros(kind, rows, options):
    family = kind(rows.schema, latent=2, network=Dense((5,)), dtype=torch.float64, **options)
    family.adopt(rows)
    family.initialise(rows, seed=1)
    assert agree(elbos(family, rows, seed=1), pyros(family, rows, seed=2))


def test_with_all_labels_known_the_elbo_is_the_conditional_one_and_the_labels():
    """By the same noise for the parts, and over draws for Pyro's two estimators."""
    semi, conditional = (linear(kind, wide=1.3) for kind in (SemiSupervisedVAE, ConditionalVAE))
    of_labels = np.log(SHARES)[ROWS.labels].sum()
    one, other = (elbos(family, ROWS, seed=1) for family in (semi, conditional))
    np.testing.assert_allclose(one, other + of_labels, rtol=1e-10)
    one, other = (pyros(family, ROWS, seed=2) for family in (semi, conditional))
    assert agree(one, other + of_labels)


def test_the_enumerated_elbo_is_the_sum_over_classes_one_by_one():
    """Σ_y q(y | x) of the ELBO at that class, by Pyro without enumeration, and the entropy of q(y | x)."""
    family = linear(SemiSupervisedVAE, wide=1.3)
    shares = family.recognise(UNLABELLED)
    by_class = [
        pyros(family, replace(ROWS, labels=torch.full_like(ROWS.labels, label)).weighted(share), seed=label)
        for label, share in enumerate(shares.T)
    ]
    expected = sum(by_class) + float(torch.special.entr(shares).sum())
    assert agree(pyros(family, UNLABELLED, seed=9), expected)


def test_weights_in_training_keep_to_the_known_classes():
    family = linear(SemiSupervisedVAE, wide=1.3)
    noise = torch.randn(7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    by_class = family.log_class_weights(SOME, noise)
    known = SOME.labels != UNKNOWN
    picked = by_class[:, SOME.labels.clamp(min=0), torch.arange(60)]
    expected = torch.where(known, picked, by_class.logsumexp(1))
    torch.testing.assert_close(family.weigh(SOME, noise).log_weights, expected, rtol=1e-10, atol=1e-10)


def test_the_bound_by_draws_can_be_trained_with_a_warm_up():
    """It ends higher, and above the ELBO, whose draws have no class summed out of them."""
    family = SemiSupervisedVAE(ROWS.schema, latent=2, network=Dense((8,)), dtype=torch.float64)
    method = Gradient(steps=40, learning_rate=0.03, objective=Objective(draws=3, warm_up=20))
    history = fit(family, SOME, seed=1, method=method).history
    assert history["train_objective"].iloc[-1] > history["train_objective"].iloc[0] + 1
    assert (history["train_objective"] > history["train_elbo"]).all()


def test_the_price_is_cross_entropy_and_part_of_the_loss_alone():
    family = linear(SemiSupervisedVAE)
    known = SOME.labels != UNKNOWN
    logits = family.guide.log_classes(SOME)
    expected = nn.functional.cross_entropy(logits[known], SOME.labels[known], reduction="sum") / len(SOME)
    losses = []
    for family.alpha in (0.0, 2.5):
        with seeded(1):
            losses.append(training_loss(family, Objective())(SOME, len(SOME), 0))
    torch.testing.assert_close(losses[1] - losses[0], 2.5 * expected)
    estimates = [estimate_elbo(family, SOME, seed=1).mean for family.alpha in (0.0, 2.5)]
    assert estimates[0] == estimates[1]


def test_the_centre_of_a_row_is_the_mean_of_its_posterior_over_classes():
    family = fitted("semi-supervised, full covariance, priced").family
    rows = rows_of("fast_food_customers", 150)[:20]
    posterior = family.posterior(rows)
    torch.testing.assert_close(family.encode(rows), posterior.mean)
    with seeded(1), torch.no_grad():
        drawn = posterior.sample((20_000,))
    assert (abs(drawn.mean(0) - posterior.mean) < SE * drawn.std(0) / 20_000**0.5).all()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("label", [None, "setosa", "virginica"])
def test_rows_are_drawn_to_order_from_the_closed_form(kind, label):
    """The mean log density of drawn rows at their classes is minus the entropy, and classes come by their shares."""
    with seeded(4), torch.no_grad():
        drawn = linear(kind).draw(20_000) if label is None else linear(kind).draw_class(20_000, label)
    law = stats.multivariate_normal(np.zeros(4), LOADING @ LOADING.T + np.diag(SCALE**2))
    logs = law.logpdf(drawn.values.numpy() - BIAS - CENTRES.T[drawn.labels])
    assert abs(logs.mean() + law.entropy()) < SE * logs.std() / 20_000**0.5
    counts = np.bincount(drawn.labels, minlength=3)
    expected = SHARES if label is None else np.array([each == label for each in ROWS.schema.label.categories])
    assert (abs(counts / 20_000 - expected) <= SE * np.sqrt(expected * (1 - expected) / 20_000)).all()


@pytest.mark.parametrize("kind", BOTH)
def test_sampled_rows_of_a_class_have_raw_units_and_that_class(kind):
    drawn = sample(linear(kind), 300, seed=1, label="versicolor")
    assert (drawn["label"] == "versicolor").all()
    centre = ROWS.loc.numpy() + ROWS.scale.numpy() * (BIAS + CENTRES[:, 1])
    spread = ROWS.scale.numpy() * np.sqrt(np.diag(LOADING @ LOADING.T) + SCALE**2)
    assert (abs(drawn.iloc[:, 1:].mean() - centre) < SE * spread / 300**0.5).all()


def test_the_means_given_z_alone_are_over_classes_by_their_shares():
    family, z = linear(ConditionalVAE), torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    by_class = [family.decode(z, torch.full((5,), label)) for label in range(3)]
    expected = sum(share * means for share, means in zip(SHARES, by_class, strict=True))
    torch.testing.assert_close(family.decode(z), expected)
    torch.testing.assert_close(by_class[1], torch.tensor(BIAS + CENTRES[:, 1]) + z.double() @ torch.tensor(LOADING.T))


def test_the_mode_given_z_alone_is_of_the_probabilities_over_classes():
    family = fitted("semi-supervised").family
    z = 3 * torch.randn(50, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    column = family.schema.of_kind("categorical")[0]
    head = next(head for head in family.model.heads if column in head.columns)
    shares, probabilities = family.log_shares.exp(), 0.0
    for label in range(family.schema.classes):
        told = torch.cat([z, torch.eye(family.schema.classes)[label].expand(50, -1)], -1)
        probabilities += shares[label] * head(family.model.decoder(told)).probs[:, 0]
    assert torch.equal(family.decode(z)[:, column].long(), probabilities.argmax(-1))


def test_a_vae_given_the_label_is_compared_with_none_that_is_not():
    plain = VAE(ROWS.schema, latent=2, dtype=torch.float64)
    plain.adopt(ROWS)
    densities = [log_density(family, ROWS, draws=5) for family in (linear(ConditionalVAE), plain)]
    assert densities[0].given == "the label label"
    with pytest.raises(InputError, match="condition"):
        compare(dict(zip(("conditional", "plain"), densities, strict=True)))


def test_shares_of_the_classes_are_those_of_the_weighted_training_rows():
    family = ConditionalVAE(ROWS.schema, latent=1)
    family.adopt(ROWS.weighted(1.0 + ROWS.labels))
    counts = np.bincount(ROWS.labels, minlength=3) * np.arange(1, 4)
    np.testing.assert_allclose(family.log_shares.exp(), counts / counts.sum())


def test_unlabelled_rows_teach_a_classifier_that_has_few_labels():
    """Two labels a class: accuracy on the other rows above a logistic regression's, by 3 standard errors of pairs."""
    rows, random = rows_of("wine", 178), np.random.default_rng(2)
    told = np.concatenate([random.permutation(np.flatnonzero(rows.labels == label))[:2] for label in range(3)])
    labels = torch.full_like(rows.labels, UNKNOWN)
    labels[told] = rows.labels[told]
    options = {"likelihoods": DecoderLikelihoods(scale="column"), "network": Dense((16,)), "alpha": 3.0}
    family = SemiSupervisedVAE(rows.schema, latent=2, **options)
    method = Gradient(steps=250, batch_size=None, learning_rate=0.01, check_every=250)
    fit(family, replace(rows, labels=labels), seed=0, method=method)
    others = LogisticRegression().fit(rows.values[told], rows.labels[told]).predict(rows.values)
    hits, theirs = (found == rows.labels.numpy() for found in (family.recognise(rows).argmax(-1).numpy(), others))
    gains = (hits.astype(float) - theirs)[labels == UNKNOWN]
    assert gains.mean() > 3 * gains.std() / len(gains) ** 0.5


REFUSED = {
    "no label": (lambda: ConditionalVAE(load("wrodl").schema, latent=2), "expected a schema with a label"),
    "a negative alpha": (
        lambda: SemiSupervisedVAE(ROWS.schema, latent=2, alpha=-1.0),
        "SemiSupervisedVAE: expected alpha of 0 or more, got -1.0",
    ),
    "training rows of unknown class": (
        lambda: fit(ConditionalVAE(ROWS.schema, latent=2), SOME, seed=0, method=QUICK),
        "ConditionalVAE: label 'label': expected a known class in every row, that of row 2 is missing",
    ),
    "validation rows of unknown class": (
        lambda: fit(ConditionalVAE(ROWS.schema, latent=2), ROWS, SOME, seed=0, method=QUICK),
        "expected a known class in every row, that of row 2 is missing",
    ),
    "scored rows of unknown class": (
        lambda: log_density(linear(ConditionalVAE), UNLABELLED),
        "expected a known class in every row, that of row 1 is missing",
    ),
    "no known class at all": (
        lambda: fit(SemiSupervisedVAE(ROWS.schema, latent=2), UNLABELLED, seed=0, method=QUICK),
        "label 'label': expected some known classes, all 60 training rows miss it",
    ),
    "noise that classes share": (
        lambda: fit(
            SemiSupervisedVAE(ROWS.schema, latent=2),
            SOME,
            seed=0,
            method=Gradient(objective=Objective(draws=2, doubly_reparametrised=True)),
        ),
        "doubly reparametrised gradient needs noise of its own for each latent, got SemiSupervisedVAE",
    ),
    "frozen classes": (
        lambda: linear(SemiSupervisedVAE).weigh(SOME, torch.zeros(2, 2), frozen=True),
        "the doubly reparametrised gradient needs noise for each class",
    ),
    "a class that is none": (
        lambda: sample(linear(ConditionalVAE), 2, seed=0, label="rose"),
        "label 'label': expected one of setosa, versicolor, virginica, got 'rose'",
    ),
    "a class of a family without": (
        lambda: sample(fitted("VAE of bits").family, 2, seed=0, label=3),
        "label: expected a family that was told classes, got VAE",
    ),
    "no draw": (lambda: class_probabilities(linear(ConditionalVAE), ROWS, draws=0), "draws: expected one or more"),
    "rows of another preparation": (
        lambda: class_probabilities(linear(ConditionalVAE), rows_of("iris", 150)),
        "expected rows prepared by the preparation of its training rows",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_vae_with_classes_cannot_use_is_refused_by_name(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
