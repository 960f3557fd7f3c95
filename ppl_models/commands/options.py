"""Families and settings as a command line names them: ``gaussian-mixture: components=3 covariance=full``."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from ppl_models import families
from ppl_models.datasets import Schema
from ppl_models.errors import InputError
from ppl_models.families import Family
from ppl_models.inference import Gradient, NaturalGradient

Settings = Mapping[str, object]
Method = TypeVar("Method", NaturalGradient, Gradient)
NAMES = {int: "a whole number", float: "a number", str: "a word"}
KINDS = {"True": True, "False": False, "None": None}


def _dashed(name: str) -> str:
    """GaussianMixture as gaussian-mixture, VAE as vae."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


FAMILIES = {
    _dashed(name): kind
    for name in families.__all__
    if isinstance(kind := getattr(families, name), type) and issubclass(kind, Family) and not inspect.isabstract(kind)
}


def make_family(told: str, schema: Schema) -> Family:
    """The family of a name and its settings.

    Args:
        told: ``name`` or ``name: setting=value …``; numbers and names alone can be set here.
        schema: what the columns are.

    Raises:
        InputError: there is no such family or setting, a setting is missing, or what the family refuses.
    """
    name, _, rest = told.partition(":")
    if name.strip() not in FAMILIES:
        raise InputError(f"family: expected one of {', '.join(FAMILIES)}, got {name.strip()!r}")
    kind, given = FAMILIES[name.strip()], settings(rest)
    known = {key: one for key, one in inspect.signature(kind).parameters.items() if key != "schema"}
    _require_known(f"family {name.strip()!r}", given, tuple(known))
    missing = [key for key, one in known.items() if one.default is inspect.Parameter.empty and key not in given]
    if missing:
        raise InputError(f"family {name.strip()!r}: expected {missing[0]}=…, got {rest.strip() or 'no settings'!r}")
    return kind(schema, **{key: _suited(key, value, known[key].annotation) for key, value in given.items()})


def make_method(told: str, kind: type[Method]) -> Method:
    """The settings of a fit.

    Args:
        told: ``setting=value …``.
        kind: what they are settings of.

    Raises:
        InputError: there is no such setting, or its value is refused.
    """
    given = settings(told)
    _require_known("method", given, tuple(one.name for one in fields(kind)))
    return kind(**given)


def settings(told: str) -> Settings:
    """``setting=value …`` as names and numbers, truths and words.

    Raises:
        InputError: a part that is no such pair, or a setting given twice.
    """
    found: dict[str, object] = {}
    for pair in told.split():
        name, equals, value = pair.partition("=")
        name = name.replace("-", "_")
        if not (name and equals and value):
            raise InputError(f"settings: expected setting=value, got {pair!r}")
        if name in found:
            raise InputError(f"settings: {name!r} is given twice")
        found[name] = _value(value)
    return found


def _value(word: str) -> object:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return KINDS.get(word, word)


def _suited(name: str, value: object, kind: object) -> object:
    """A setting's value, refused where it is not of a plain kind that is asked for."""
    if kind is float and isinstance(value, int):
        return float(value)
    if kind in NAMES and not (isinstance(value, kind) and not isinstance(value, bool)):
        raise InputError(f"setting {name!r}: expected {NAMES[kind]}, got {value!r}")
    return value


def _require_known(whose: str, given: Settings, known: tuple[str, ...]) -> None:
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise InputError(f"{whose}: expected settings among {', '.join(known)}, got {unknown!r}")
