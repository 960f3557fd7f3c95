"""Fits and fitted families as files: how they were made as JSON, tensors as safetensors; nothing is pickled or run.

A file says what wrote it and in which format, so that one of another program or of a later format is refused in words.
"""

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

import ppl_models.families as families
from ppl_models.datasets import Column, Schema
from ppl_models.distributions import DecoderLikelihoods, LatentPrior, WeightsPrior
from ppl_models.errors import InputError
from ppl_models.families import Family
from ppl_models.inference.checkpoints import read_checkpoint, write_checkpoint
from ppl_models.inference.criteria import Criteria
from ppl_models.inference.fitting import Fit
from ppl_models.nn import Convolutional, Dense
from ppl_models.recurrent import Recurrent

WRITER, FORMAT = "ppl_models family", 1
SETTINGS = {
    kind.__name__: kind for kind in (Dense, Convolutional, Recurrent, DecoderLikelihoods, LatentPrior, WeightsPrior)
}
PLAIN = (str, bool, int, float)
FACTS, TABLES = ("elbo", "stop", "converged", "seed", "seconds", "remarks"), ("history", "restarts")


def save_family(family: Family, path: str | Path) -> None:
    """Write a fitted family to a file, whole or not at all.

    Args:
        family: of this package, fitted.
        path: the file, replaced if it exists.

    Raises:
        InputError: the family was never fitted, or is none of this package, or a category is no text, number or truth.
    """
    _save(family, path, None)


def save_fit(found: Fit, path: str | Path) -> None:
    """Write a fit with its family, history and restarts to a file, whole or not at all.

    Args:
        found: what ``fit`` returned.
        path: the file, replaced if it exists.

    Raises:
        InputError: what ``save_family`` refuses.
    """
    facts = {name: getattr(found, name) for name in FACTS}
    tables = {name: getattr(found, name).to_dict("list") for name in TABLES}
    criteria = None if found.criteria is None else vars(found.criteria)
    _save(found.family, path, facts | tables | {"criteria": criteria, "states": found.states})


def _save(family: Family, path: str | Path, fit: Mapping[str, object] | None) -> None:
    name = type(family).__name__
    if getattr(families, name, None) is not type(family):
        raise InputError(f"{path}: expected a family of ppl_models, got {name}")
    family.preparation  # noqa: B018  # refuses a family that was never fitted
    given = inspect.signature(type(family).__init__).bind(family, *family.made_with[0], **family.made_with[1]).arguments
    settings = {key: value for key, value in given.items() if key not in ("self", "schema", "options")}
    settings |= given.get("options", {})
    state = {
        "writer": WRITER,
        "format": FORMAT,
        "version": version("ppl_models"),
        "family": name,
        "schema": pack_schema(family.schema),
        "settings": {key: _packed(value, f"{name}: {key}") for key, value in settings.items()},
        "state": family.state_dict(),
    }
    write_checkpoint(path, state | {"fit": fit})


def load_family(path: str | Path) -> Family:
    """Read a family that ``save_family`` wrote, on the CPU and ready for rows.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file, another program wrote it, or a later version did in a format of its own.

    >>> import tempfile
    >>> from ppl_models import NaiveBayes, fit, load, prepare
    >>> table = load("wrodl")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_family(fit(NaiveBayes(table.schema), rows, seed=0).family, f"{folder}/nb.safetensors")
    ...     type(load_family(f"{folder}/nb.safetensors")).__name__
    'NaiveBayes'
    """
    return _load(path)[0]


def load_fit(path: str | Path) -> Fit:
    """Read a fit that ``save_fit`` wrote, its family on the CPU and ready for rows.

    Args:
        path: the file.

    Raises:
        InputError: what ``load_family`` refuses, or a family that was saved without its fit.
    """
    family, found = _load(path)
    if found is None:
        raise InputError(f"{path}: expected a fit that save_fit wrote, got a family without one")
    tables = {name: pd.DataFrame(found[name]) for name in TABLES}
    criteria = None if found["criteria"] is None else Criteria(**found["criteria"])
    return Fit(family, **{name: found[name] for name in FACTS}, **tables, criteria=criteria, states=found["states"])


def _load(path: str | Path) -> tuple[Family, Mapping[str, object] | None]:
    found = read_checkpoint(path)
    if not isinstance(found, Mapping) or found.get("writer") != WRITER:
        raise InputError(f"{path}: expected a family that save_family wrote, got another file")
    if found["format"] > FORMAT:
        raise InputError(
            f"{path}: expected format {FORMAT} or older, got format {found['format']} of ppl_models "
            f"{found['version']}; a newer ppl_models reads it"
        )
    try:
        kind = getattr(families, found["family"])
        settings = {key: _unpacked(value) for key, value in found["settings"].items()}
        family = kind(unpack_schema(found["schema"]), **settings)
        family.load_state_dict(found["state"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as problem:
        raise InputError(f"{path}: expected a whole family, got a damaged one: {problem}") from problem
    return family.eval(), found["fit"]


def pack_schema(schema: Schema) -> dict[str, object]:
    """A schema as plain values, for JSON.

    Raises:
        InputError: a category is no text, number or truth.
    """
    columns = [_column(column) for column in schema.columns]
    label = None if schema.label is None else _column(schema.label)
    shape = None if schema.image_shape is None else list(schema.image_shape)
    return {"columns": columns, "label": label, "image_shape": shape, "sequence": schema.sequence}


def unpack_schema(packed: Mapping[str, object]) -> Schema:
    """The way back from ``pack_schema``."""
    columns, label = tuple(map(_unpacked_column, packed["columns"])), packed["label"]
    shape = packed["image_shape"]
    label = None if label is None else _unpacked_column(label)
    shape = None if shape is None else tuple(shape)
    return Schema(columns, label, shape, packed.get("sequence", False))  # files of before there were sequences lack it


def _unpacked_column(one: Mapping[str, object]) -> Column:
    flags = {name: one[name] for name in ("ordered", "boolean")}
    return Column(one["name"], one["kind"], tuple(one["categories"]), **flags)


def _column(column: Column) -> dict[str, object]:
    categories = [value.item() if hasattr(value, "item") else value for value in column.categories]
    strange = next((value for value in categories if not isinstance(value, PLAIN)), None)
    if strange is not None:
        raise InputError(
            f"column {column.name!r}: expected categories that are text, numbers or truths, got {strange!r}"
        )
    flags = {"ordered": column.ordered, "boolean": column.boolean}
    return {"name": column.name, "kind": column.kind, "categories": categories, **flags}


def _packed(value: object, whose: str) -> object:
    """A setting as plain values."""
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if is_dataclass(value):
        parts = {one.name: _packed(getattr(value, one.name), f"{whose}.{one.name}") for one in fields(value)}
        return {"kind": type(value).__name__, "settings": parts}
    if isinstance(value, tuple | list):
        return tuple(_packed(each, whose) for each in value)
    if value is not None and not isinstance(value, PLAIN):
        raise InputError(f"{whose}: expected a setting of this package, got {type(value).__name__}")
    return value


def _unpacked(value: object) -> object:
    """The way back."""
    if isinstance(value, Mapping) and "dtype" in value:
        return getattr(torch, value["dtype"])
    if isinstance(value, Mapping):
        return SETTINGS[value["kind"]](**{key: _unpacked(each) for key, each in value["settings"].items()})
    return tuple(map(_unpacked, value)) if isinstance(value, tuple) else value
