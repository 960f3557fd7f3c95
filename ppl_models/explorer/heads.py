"""A decoder's heads as facts for the page: which layers give the means of which columns, and by which formula."""

from collections.abc import Callable

from torch import nn

from ppl_models.distributions.amortised import LOG_SCALE_LIMIT
from ppl_models.distributions.grey_levels import SHARPEST
from ppl_models.distributions.heads import (
    BernoulliHead,
    CategoricalHead,
    HeteroscedasticHead,
    NegativeBinomialHead,
    NormalHead,
    PoissonHead,
)
from ppl_models.distributions.pixels import (
    SCALE_FLOOR,
    STEEPEST,
    ContinuousBernoulliHead,
    DequantisedNormalHead,
    DiscretisedLogisticHead,
    bounded_scale,
)
from ppl_models.errors import InputError
from ppl_models.explorer.steps import Numbers, Step, steps_of

Facts = dict[str, object]


def head_facts(head: nn.Module, numbers: Numbers) -> Facts:
    """What the page needs to know of a head to give the means of its columns.

    Args:
        head: one of a decoder's last layers.
        numbers: where its weights go.

    Raises:
        InputError: a head, or a layer of one, that the page cannot run.
    """
    if type(head) not in HEADS:
        known = ", ".join(sorted(kind.__name__ for kind in HEADS))
        raise InputError(f"explorer: expected a decoder of heads {known}, got {type(head).__name__}")
    return {"columns": list(head.columns), **HEADS[type(head)](head, numbers)}


def _normal(head: NormalHead | HeteroscedasticHead, numbers: Numbers) -> Facts:
    return {"kind": "normal", "loc": steps_of(head.loc, numbers)}


def _count(rate: nn.Module, head: nn.Module, limit: float | None, numbers: Numbers) -> Facts:
    """unit · exp(log rate), the latter within the limit if there is any."""
    return {"kind": "count", "loc": steps_of(rate, numbers), "unit": numbers.add(head.unit), "limit": limit}


def _bernoulli(head: BernoulliHead, numbers: Numbers) -> Facts:
    return {"kind": "bernoulli", "loc": steps_of(head.logits, numbers)}


def _categorical(head: CategoricalHead, numbers: Numbers) -> Facts:
    return {"kind": "categorical", "loc": steps_of(head.logits, numbers), "levels": head.categories}


def _continuous_bernoulli(head: ContinuousBernoulliHead, numbers: Numbers) -> Facts:
    at = {"subtracted": numbers.add(head.loc), "divided": numbers.add(head.scale)}
    return {"kind": "continuous-bernoulli", "loc": steps_of(head.logits, numbers), "steepest": STEEPEST, **at}


def _discretised_logistic(head: DiscretisedLogisticHead, numbers: Numbers) -> Facts:
    layers: dict[str, list[Step]] = {name: steps_of(getattr(head, name), numbers) for name in ("loc", "scale")}
    return {"kind": "discretised-logistic", **layers, "levels": head.levels, "floor": SCALE_FLOOR, "sharpest": SHARPEST}


def _dequantised_normal(head: DequantisedNormalHead, numbers: Numbers) -> Facts:
    spread = numbers.add(bounded_scale(head.scale.double(), head.levels))
    return {"kind": "dequantised-normal", "loc": steps_of(head.loc, numbers), "spread": spread, "levels": head.levels}


HEADS: dict[type[nn.Module], Callable[[nn.Module, Numbers], Facts]] = {
    NormalHead: _normal,
    HeteroscedasticHead: _normal,
    PoissonHead: lambda head, numbers: _count(head.log_rate, head, LOG_SCALE_LIMIT, numbers),
    NegativeBinomialHead: lambda head, numbers: _count(head.log_mean, head, None, numbers),
    BernoulliHead: _bernoulli,
    CategoricalHead: _categorical,
    ContinuousBernoulliHead: _continuous_bernoulli,
    DiscretisedLogisticHead: _discretised_logistic,
    DequantisedNormalHead: _dequantised_normal,
}
