"""Families and settings as a command line names them: ``gaussian-mixture: components=3 weights.concentration=0.1``.

A setting that has settings itself is told by its name and theirs, ``likelihoods.counts=negative-binomial``; where it is
one of several, as networks are, its own name chooses which: ``network=convolutional network.channels=16,32``.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from itertools import product
from types import UnionType
from typing import Literal, TypeVar, Union, get_args, get_origin

import torch

from ppl_models import families
from ppl_models.datasets import Schema
from ppl_models.errors import InputError
from ppl_models.families import ClassProduct, Family
from ppl_models.inference import Gradient, NaturalGradient

Settings = Mapping[str, str]
Item = TypeVar("Item")
Method = TypeVar("Method", NaturalGradient, Gradient)
NAMES = {int: "a whole number", float: "a number", bool: "True or False"}
TRUTHS = {"True": True, "False": False}


def _dashed(name: str) -> str:
    """GaussianMixture as gaussian-mixture, VAE as vae."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


FAMILIES: dict[str, type[Family]] = {
    _dashed(name): kind
    for name in families.__all__
    if isinstance(kind := getattr(families, name), type)
    and issubclass(kind, Family)
    and not (inspect.isabstract(kind) or kind is ClassProduct)
}


def family_kind(told: str) -> type[Family]:
    """The family of a name, with or without settings behind it.

    Raises:
        InputError: there is no such family.
    """
    name = told.partition(":")[0].strip()
    if name not in FAMILIES:
        raise InputError(f"family: expected one of {', '.join(FAMILIES)}, got {name!r}")
    return FAMILIES[name]


def make_family(told: str, schema: Schema) -> Family:
    """The family of a name and its settings.

    Args:
        told: ``name`` or ``name: setting=value …``.
        schema: what the columns are.

    Raises:
        InputError: there is no such family or setting, a setting is missing, or what the family refuses.
    """
    kind, (name, _, rest) = family_kind(told), told.partition(":")
    return _made(kind, settings(rest), f"family {name.strip()!r}", schema=schema)


def make_method(told: str, kind: type[Method]) -> Method:
    """The settings of a fit.

    Args:
        told: ``setting=value …``.
        kind: what they are settings of.

    Raises:
        InputError: there is no such setting, or its value is refused.
    """
    return _made(kind, settings(told), "method")


def grid(told: str) -> list[str]:
    """Every combination of settings, where some have several values: ``components=2..6 covariance=VVV,EEE``.

    Args:
        told: as of ``make_family``; ``a..b`` is every whole number from a to b, and commas stand between values, but
            in a setting that is several numbers itself, such as ``network.hidden=64,64``.

    Raises:
        InputError: there is no such family, or a range that ends before it begins.
    """
    kind, (name, _, rest) = family_kind(told), told.partition(":")
    values = {key: _several(key, word, _kind_of(kind, key)) for key, word in settings(rest).items()}
    combined = [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
    return [
        f"{name.strip()}: {' '.join(f'{key}={word}' for key, word in one.items())}".rstrip(": ") for one in combined
    ]


def _several(name: str, word: str, kind: object) -> list[str]:
    """The values that a word stands for."""
    span = re.fullmatch(r"(\d+)\.\.(\d+)", word)
    if span is not None:
        first, last = map(int, span.groups())
        if last < first:
            raise InputError(f"setting {name!r}: expected a range such as 2..6, got {word!r}")
        return [str(number) for number in range(first, last + 1)]
    return [word] if get_origin(kind) is tuple else word.split(",")


def _kind_of(kind: Callable[..., object], name: str) -> object:
    """What a setting is, or a setting of one; None where there is no such."""
    head, _, rest = name.partition(".")
    one = _parameters(kind).get(head)
    if one is None or not rest:
        return None if one is None else one.annotation
    kinds = [one.annotation, *one.annotation.__subclasses__()] if is_dataclass(one.annotation) else []
    return next((found for each in kinds if (found := _kind_of(each, rest)) is not None), None)


def settings(told: str) -> Settings:
    """``setting=value …`` as names and words.

    Raises:
        InputError: a part that is no such pair, or a setting given twice.
    """
    found: dict[str, str] = {}
    for pair in told.split():
        name, equals, value = pair.partition("=")
        name = name.replace("-", "_")
        if not (name and equals and value):
            raise InputError(f"settings: expected setting=value, got {pair!r}")
        if name in found:
            raise InputError(f"settings: {name!r} is given twice")
        found[name] = value
    return found


def _made(kind: Callable[..., Item], given: Settings, whose: str, **rest: object) -> Item:
    """What a class makes of settings, each read as the class says what it is."""
    known = {name: one for name, one in _parameters(kind).items() if name not in rest}
    words: dict[str, dict[str, str]] = {}
    for name, word in given.items():
        head, _, behind = name.partition(".")
        if head not in known:
            raise InputError(f"{whose}: expected settings among {', '.join(known)}, got {head!r}")
        words.setdefault(head, {})[behind] = word
    missing = [name for name, one in known.items() if one.default is inspect.Parameter.empty and name not in words]
    if missing:
        shown = " ".join(f"{name}={word}" for name, word in given.items()) or "no settings"
        raise InputError(f"{whose}: expected {missing[0]}=…, got {shown!r}")
    return kind(**rest, **{name: _value(name, known[name], told) for name, told in words.items()})


def _parameters(kind: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """What a class is made with; what it hands on to the class it is made from is among it."""
    found: dict[str, inspect.Parameter] = {}
    for each in kind.__mro__:
        if "__init__" in vars(each):
            own = {name: one for name, one in inspect.signature(each.__init__).parameters.items() if name != "self"}
            plain = {name: one for name, one in own.items() if one.kind is not inspect.Parameter.VAR_KEYWORD}
            found = plain | found
            if len(plain) == len(own):
                break
    return found


def _value(name: str, one: inspect.Parameter, told: Mapping[str, str]) -> object:
    """A setting's value by its own word, told[""], or by those of its settings."""
    if not is_dataclass(one.annotation):
        if set(told) != {""}:
            raise InputError(f"setting {name!r}: it has no settings, got {name}.{next(filter(None, told))}=…")
        return _read(name, told[""], one.annotation)
    kind = type(one.default) if is_dataclass(one.default) else one.annotation
    kinds = {_dashed(each.__name__): each for each in one.annotation.__subclasses__()}
    if "" in told:
        if told[""] not in kinds:
            some = [*kinds] or [f"{name}.{each}=…" for each in _parameters(kind)]
            raise InputError(f"setting {name!r}: expected {', '.join(some)}, got {told['']!r}")
        kind = kinds[told[""]]
    return _made(kind, {key: word for key, word in told.items() if key}, f"setting {name!r}")


def _read(name: str, word: str, kind: object) -> object:
    """A word as what a setting is."""
    options = get_args(kind)
    if get_origin(kind) is Literal:
        if word not in options:
            raise InputError(f"setting {name!r}: expected one of {', '.join(map(str, options))}, got {word!r}")
        return word
    if get_origin(kind) in (Union, UnionType):
        (plain,) = (each for each in options if each is not type(None))
        return None if word == "None" else _read(name, word, plain)
    if get_origin(kind) is tuple:
        return tuple(_read(name, each, options[0]) for each in word.split(","))
    if kind is torch.dtype and word in ("float32", "float64"):
        return getattr(torch, word)
    try:
        return {int: int, float: float, str: str, bool: TRUTHS.__getitem__}[kind](word)
    except (KeyError, ValueError):
        expected = NAMES.get(kind, "float32 or float64" if kind is torch.dtype else "a value that Python alone can say")
        raise InputError(f"setting {name!r}: expected {expected}, got {word!r}") from None
