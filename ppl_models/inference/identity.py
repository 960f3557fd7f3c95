"""What tells a fit from any other, so that none is resumed from the checkpoint of another."""

import hashlib
from dataclasses import is_dataclass

import torch

from ppl_models.datasets import Dataset
from ppl_models.families import Family
from ppl_models.inference.gradient import Gradient
from ppl_models.inference.natural import NaturalGradient


def identity_of(
    family: Family, train: Dataset, validation: Dataset | None, *, method: NaturalGradient | Gradient, seed: int
) -> dict[str, str]:
    """What tells a fit from any other, by name.

    Args:
        family: the family, before it is fitted.
        train: the training rows.
        validation: rows to stop by, if there are any.
        method: settings.
        seed: of the fit.
    """
    return {
        "family": type(family).__name__,
        "schema": str(family.schema),
        "training table": _told_apart(train),
        "validation table": "none" if validation is None else _told_apart(validation),
        "settings": _settings(family),
        "method": str(method),
        "seed": str(seed),
        "device": train.values.device.type,
    }


def _settings(family: Family) -> str:
    """What a family was made with, as far as a fit depends on it: plain attributes, buffers, and shapes."""
    plain = [
        (name, sorted((key, str(value)) for key, value in vars(part).items() if _is_setting(key, value)))
        for name, part in family.named_modules()
    ]
    buffers = hashlib.sha256(b"".join(value.cpu().numpy().tobytes() for value in family.buffers()))
    shapes = [(name, tuple(value.shape), str(value.dtype)) for name, value in family.named_parameters()]
    return hashlib.sha256(f"{family} {plain} {shapes} {buffers.hexdigest()}".encode()).hexdigest()


def _is_setting(name: str, value: object) -> bool:
    return name != "training" and (isinstance(value, str | int | float | tuple) or is_dataclass(value))


def _told_apart(rows: Dataset) -> str:
    """What is the same for the same rows alone, labels, weights and preparation included; of all processes' rows."""
    digest = rows.digest("hashes", "labels", "weights")
    for part in (rows.loc, rows.scale):
        digest.update(part.cpu().numpy().tobytes())
    if rows.share is None:
        return digest.hexdigest()
    return bytes(rows.share.gathered(torch.tensor(list(digest.digest()))).tolist()).hex()
