"""Which likelihood a decoder gives the columns of each kind, and the heads that say it."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions.heads import (
    BernoulliHead,
    CategoricalHead,
    HeteroscedasticHead,
    NegativeBinomialHead,
    NormalHead,
    PoissonHead,
)
from ppl_models.distributions.pixels import (
    ContinuousBernoulliHead,
    DequantisedNormalHead,
    DiscretisedLogisticHead,
    require_levels,
    require_unit_interval,
)
from ppl_models.distributions.row import by_cardinality
from ppl_models.errors import InputError
from ppl_models.nn import Output

RealModel = Literal["normal", "continuous-bernoulli"]
LevelModel = Literal["categorical", "discretised-logistic", "dequantised-normal"]
DecodedCounts = Literal["poisson", "negative-binomial"]
Scale = Literal["row", "column"]
REALS = {"row": HeteroscedasticHead, "column": NormalHead}
COUNTS = {"poisson": PoissonHead, "negative-binomial": NegativeBinomialHead}
LEVELS = {
    "categorical": CategoricalHead,
    "discretised-logistic": DiscretisedLogisticHead,
    "dequantised-normal": DequantisedNormalHead,
}


@dataclass(frozen=True)
class DecoderLikelihoods:
    """Which likelihood a decoder gives the columns of a kind; binary ones are Bernoulli.

    Attributes:
        real: of real columns: "normal", or "continuous-bernoulli" for values from 0 to 1; positive columns are
            log-normal.
        scale: whether the scale of normal columns comes from the decoder, "row", or is learned once a "column".
        counts: of count columns.
        levels: of categorical columns: "categorical", one free probability a category, or, for categories that are
            evenly spaced numbers, such as grey levels, "discretised-logistic", or "dequantised-normal", a normal
            density of the level and a uniform shift, whose bound on the log probability takes one more step down.

    Raises:
        InputError: a name that does not exist.
    """

    real: RealModel = "normal"
    scale: Scale = "row"
    counts: DecodedCounts = "poisson"
    levels: LevelModel = "categorical"

    def __post_init__(self) -> None:
        for name, known in (("real", RealModel), ("scale", Scale), ("counts", DecodedCounts), ("levels", LevelModel)):
            if getattr(self, name) not in get_args(known):
                raise InputError(f"{name}: expected one of {', '.join(get_args(known))}, got {getattr(self, name)!r}")

    def heads(self, schema: Schema, output: Output) -> nn.ModuleList:
        """A decoder's last layers, one for each kind of column."""
        real, positive = schema.of_kind("real"), schema.of_kind("positive")
        if self.real == "normal":
            real, positive = schema.of_kind("real", "positive"), ()
        normal = REALS[self.scale]
        if self.levels != "categorical":
            require_levels(schema, schema.of_kind("categorical"))
        kinds = [
            ("real", normal if self.real == "normal" else ContinuousBernoulliHead, real),
            ("positive", normal, positive),
            ("count", COUNTS[self.counts], schema.of_kind("count")),
            ("binary", BernoulliHead, schema.of_kind("binary")),
        ]
        found = [head(site, columns, output) for site, head, columns in kinds if columns]
        found += [
            LEVELS[self.levels](f"categorical_{size}", columns, output, size)
            for size, columns in by_cardinality(schema, "categorical").items()
        ]
        return nn.ModuleList(found)

    def check(self, train: Dataset) -> None:
        """Refuse rows outside the support.

        Raises:
            InputError: a value below 0 or above 1 in a column whose likelihood is the continuous Bernoulli.
        """
        if self.real == "continuous-bernoulli":
            require_unit_interval(train, train.schema.of_kind("real"))
