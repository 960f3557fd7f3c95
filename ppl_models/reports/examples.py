"""Code that a page shows is code that was run for it, and what it printed stands under it."""

import re
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import ClassVar

NUMBER = re.compile(r"^(.+?): ([-−+]?\d[\d,]*\.?\d*)(?![\w.])")


@dataclass(frozen=True)
class Example:
    """Code, and what it printed.

    Attributes:
        title: whose code it is.
        source: the code.
        printed: what it printed.
        by: what printed it, where that was not this run.
    """

    title: str
    source: str
    printed: str
    by: str = ""


@dataclass(frozen=True)
class Examples:
    """Examples side by side, one under another where there is no room."""

    kind: ClassVar[str] = "examples"
    examples: tuple[Example, ...]

    def save(self, folder: Path) -> None:
        """Leave no file: code is on the page only."""


def run(source: str, names: dict[str, object]) -> str:
    r"""Run Python and give what it printed.

    Args:
        source: lines of Python.
        names: what they may use, and where they leave what they define.

    >>> names = {}
    >>> run("x = 2\nprint(x + 1)", names), names["x"]
    ('3', 2)
    """
    told = StringIO()
    with redirect_stdout(told):
        exec(compile(source, "<example>", "exec"), names)
    return told.getvalue().rstrip()


def numbers(printed: str) -> dict[str, str]:
    r"""The number behind each ``name:`` that a line starts with, as it was written.

    >>> numbers("BIC: -561.73, higher is better\n150 rows")
    {'BIC': '-561.73'}
    """
    found = (NUMBER.match(line.strip()) for line in printed.splitlines())
    return {match[1]: match[2].replace(",", "").replace("−", "-") for match in found if match}


def disagreements(examples: Iterable[Example]) -> list[str]:
    """Numbers of one name that examples print differently, by more than one in the last digit that all of them show.

    >>> disagreements([Example("a", "", "BIC: 1.23"), Example("b", "", "BIC: 1.2")])
    []
    >>> disagreements([Example("a", "", "BIC: 1.23"), Example("b", "", "BIC: -1.2")])
    ['BIC: a prints 1.23, b prints -1.2']
    """
    told = [(name, one.title, number) for one in examples for name, number in numbers(one.printed).items()]
    found = []
    for name, lines in groupby(sorted(told, key=lambda line: line[0]), key=lambda line: line[0]):
        each = [(title, number) for _, title, number in lines]
        values = [float(number) for _, number in each]
        digits = min(len(number.partition(".")[2]) for _, number in each)
        if max(values) - min(values) > 1.01 * 10.0**-digits:
            found.append(f"{name}: " + ", ".join(f"{title} prints {number}" for title, number in each))
    return found
