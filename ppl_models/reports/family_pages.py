"""A page for a family, made from what the docstring of its file says and from running the example in there.

The docstring tells the story first, with its mathematics and its table of symbols; a family that shares another file's
symbols names that file. Then comes a paragraph ``Use it when ...; not when ...``, an example that leaves a ``Fit``
called ``found`` and a matplotlib figure called ``figure``, and a paragraph ``Picture: ...`` that tells what is seen.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from doctest import DocTestParser
from importlib import import_module
from types import MappingProxyType

from ppl_models.errors import InputError
from ppl_models.families import Amortised, Exact, Family
from ppl_models.inference import fit_doubts
from ppl_models.reports.examples import Example, run
from ppl_models.reports.prose import unfolded
from ppl_models.reports.report import Report

TABLE = re.compile(r"(?:^\|.*\|\n?){3,}", re.MULTILINE)
USE = re.compile(r"^Use it (when\b.+?);\s+(not\s+when\b.+?\.)(?:\n\n|\s*\Z)", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"^Picture: (.+?\.)(?:\n\n|\s*\Z)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"``(\w+)\.py``")
KINDS = {
    Exact: ("an exact log p(x)", "exact under the guide: all that it has a posterior of is integrated out."),
    Amortised: ("a lower bound of log p(x)", "a lower bound by K draws of the guide that rises with K."),
    Family: ("no log p(x)", "none: the family is no density, and `log_density` refuses it."),
}  # what log p(x) of a held-out row is, in short and at length
SHAPES = "N rows, D columns, K classes or components, L dimensions of z."
FEW_STEPS = 50


@dataclass(frozen=True)
class Story:
    """What the docstring of a family's file says, part by part.

    Attributes:
        title: its first sentence.
        body: the story, in Markdown.
        symbols: the table of symbols, in Markdown.
        home: the file that the table stands in.
        use: when to use the family, from "when" on.
        avoid: when not, from "not when" on.
        source: the example.
        picture: what the example's figure shows.
    """

    title: str
    body: str
    symbols: str
    home: str
    use: str
    avoid: str
    source: str
    picture: str


def story_of(family: type[Family]) -> Story:
    """Take apart the docstring of the file that a family is in.

    Raises:
        InputError: a part is missing.

    >>> from ppl_models import VAE
    >>> story_of(VAE).home
    'decoding.py'
    """
    told = sys.modules[family.__module__].__doc__ or ""
    cells = DocTestParser().parse(told)
    prose = "".join(cell for cell in cells if isinstance(cell, str))
    home, symbols = _symbols(family.__module__, told)
    use, avoid = map(unfolded, _part(USE, prose, family, "Use it when ...; not when ....").groups())
    picture = unfolded(_part(PICTURE, prose, family, "Picture: ....")[1])
    source = "".join(cell.source for cell in cells if not isinstance(cell, str))
    if not symbols or not source:
        raise _refusal(family, "a table of symbols, or the file that has it," if source else "an example")
    title, _, body = TABLE.sub("", PICTURE.sub("", USE.sub("", prose))).strip().partition("\n")
    return Story(title, body.strip("\n"), symbols, home, use, avoid, source, picture)


def family_page(
    family: type[Family], *, seed: int, quick: bool = False, links: Mapping[str, str] = MappingProxyType({})
) -> Report:
    """The page of a family; its example runs now.

    Args:
        family: the class.
        seed: of the example's fits and draws, in the place of 0.
        quick: whether gradient fits take few steps.
        links: where else to read, by the text of the link.

    Raises:
        InputError: a part of the docstring is missing.
    """
    story, names = story_of(family), {}
    source = story.source.replace("seed=0", f"seed={seed}").rstrip()
    source = re.sub(r"steps=\d+", f"steps={FEW_STEPS}", source) if quick else source
    example = Example("In a few lines", source, run(source, names))
    report = Report(family.__name__, summary=story.title, seed=seed)
    report.prose("When to use it", f"**Use it** {story.use}.\n\n**Not** {story.avoid.removeprefix('not ')}")
    report.prose("The story", story.body)
    elsewhere = "" if story.home == _file(family.__module__) else f"They are those of `{story.home}`.\n\n"
    report.prose("Symbols", f"{elsewhere}{story.symbols}\n{SHAPES}")
    told = KINDS[density_kind(family)][1]
    report.prose("Its log p(x)", f"Of a held-out row, in nats and raw units, higher is better: {told}")
    report.prose("An example", "The code ran for this page.")
    report.examples(example)
    name = f"{family.__name__}-picture"
    report.figure(name, names["figure"], caption=story.picture, alt=story.picture)
    if links:
        report.prose("Elsewhere", "\n".join(f"- [{text}]({link})" for text, link in links.items()))
    report.check("how fits ended", fit_doubts(names["found"]))
    return report


def density_kind(family: type[Family]) -> type[Family]:
    """The first of ``KINDS`` that a family is.

    >>> from ppl_models import Autoencoder, Mixture
    >>> [KINDS[density_kind(family)][0] for family in (Autoencoder, Mixture)]
    ['no log p(x)', 'an exact log p(x)']
    """
    return next(kind for kind in KINDS if issubclass(family, kind))


def _symbols(module: str, told: str) -> tuple[str, str]:
    """The file that the table of symbols stands in, and the table: of this docstring or of a file that it names."""
    package = module.rpartition(".")[0]
    for name in (module, *(f"{package}.{file}" for file in FILE.findall(told))):
        found = TABLE.search(import_module(name).__doc__ or "")
        if found:
            return _file(name), found[0]
    return "", ""


def _part(pattern: re.Pattern[str], prose: str, family: type[Family], form: str) -> re.Match[str]:
    """Where a docstring has a part that it must have."""
    found = pattern.search(prose)
    if found is None:
        raise _refusal(family, f"a paragraph '{form}'")
    return found


def _refusal(family: type[Family], what: str) -> InputError:
    return InputError(f"{_file(family.__module__)}: expected {what} in its docstring, found none")


def _file(module: str) -> str:
    return f"{module.rpartition('.')[2]}.py"
