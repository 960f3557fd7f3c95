"""A decoder's heads have scipy's log probabilities at what the networks say."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from ppl_models.datasets import Column, Schema
from ppl_models.distributions import DecoderLikelihoods, seeded
from ppl_models.distributions.heads import (
    BernoulliHead,
    CategoricalHead,
    HeteroscedasticHead,
    NegativeBinomialHead,
    NormalHead,
    PoissonHead,
)

RANDOM = np.random.default_rng(1)
REALS = RANDOM.normal(0.5, 1.5, (12, 2))
COUNTS = RANDOM.poisson((2.0, 7.0), (12, 2)).astype(float)
CODES = RANDOM.integers(0, 3, (12, 2)).astype(float)


def layer_of_four(numbers: int) -> nn.Linear:
    return nn.Linear(4, numbers)


def linear(layer: nn.Linear, hidden: Tensor) -> np.ndarray:
    return hidden.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def poisson_log(head: PoissonHead, hidden: Tensor, values: np.ndarray) -> np.ndarray:
    return stats.poisson(np.array([2.0, 7.0]) * np.exp(linear(head.log_rate, hidden))).logpmf(values)


def negative_binomial_log(head: NegativeBinomialHead, hidden: Tensor, values: np.ndarray) -> np.ndarray:
    mean, dispersion = np.array([2.0, 7.0]) * np.exp(linear(head.log_mean, hidden)), np.array([1.5, 0.4])
    return stats.nbinom(dispersion, dispersion / (dispersion + mean)).logpmf(values)


def heteroscedastic_log(head: HeteroscedasticHead, hidden: Tensor, values: np.ndarray) -> np.ndarray:
    return stats.norm(linear(head.loc, hidden), 0.01 + np.log1p(np.exp(linear(head.scale, hidden)))).logpdf(values)


def categorical_log(head: CategoricalHead, hidden: Tensor, values: np.ndarray) -> np.ndarray:
    logits = linear(head.logits, hidden).reshape(len(values), 2, 3)
    table = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    return np.array([[table[i, d, int(values[i, d])] for d in range(2)] for i in range(len(values))])


HEADS = {
    "normal": (
        NormalHead,
        REALS,
        lambda head, h, x: stats.norm(linear(head.loc, h), 0.01 + np.exp([0.3, -1.0])).logpdf(x),
    ),
    "heteroscedastic": (HeteroscedasticHead, REALS, heteroscedastic_log),
    "Poisson": (PoissonHead, COUNTS, poisson_log),
    "negative binomial": (NegativeBinomialHead, COUNTS, negative_binomial_log),
    "Bernoulli": (
        BernoulliHead,
        CODES % 2,
        lambda head, h, x: stats.bernoulli(1 / (1 + np.exp(-linear(head.logits, h)))).logpmf(x),
    ),
    "categorical": (lambda *args: CategoricalHead(*args, 3), CODES, categorical_log),
}


@pytest.mark.parametrize(("make", "values", "expected"), HEADS.values(), ids=HEADS)
def test_heads_have_scipys_log_probabilities(make, values, expected):
    with seeded(6):
        head, hidden = make("site", (0, 1), layer_of_four).double(), torch.randn(len(values), 4).double()
    if hasattr(head, "adopt"):
        head.adopt(torch.zeros(2), torch.tensor([2.0, 7.0]))
    if isinstance(head, NormalHead):
        head.log_scale.data = torch.tensor([0.3, -1.0], dtype=torch.float64)
    if isinstance(head, NegativeBinomialHead):
        head.log_dispersion.data = torch.tensor([1.5, 0.4], dtype=torch.float64).log()
    found = head(hidden).log_prob(torch.tensor(values)).detach()
    np.testing.assert_allclose(found, expected(head, hidden, values), rtol=1e-10)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_heads_keep_leading_dimensions(head):
    assert head[0]("site", (0, 1), layer_of_four)(torch.zeros(5, 7, 4)).batch_shape == (5, 7, 2)


def test_every_column_has_exactly_one_head():
    kinds = ("real", "count", "binary", "positive", "categorical", "categorical", "categorical")
    levels = ((),) * 4 + ((1, 2, 3), (1, 2), (4, 5, 6))
    schema = Schema(tuple(Column(str(i), *both) for i, both in enumerate(zip(kinds, levels, strict=True))))
    sites = {head.site: head.columns for head in DecoderLikelihoods().heads(schema, layer_of_four)}
    assert sites == {"real": (0, 3), "count": (1,), "binary": (2,), "categorical_2": (5,), "categorical_3": (4, 6)}
