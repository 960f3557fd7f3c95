"""A page written in Markdown, whose code is run for it where it can be.

``# Title`` and a paragraph, which is the summary, come first; ``## Heading`` begins a section. A fence that opens with
``python scikit-learn`` is code and whose it is; fences that follow one another stand side by side. Where one follows
that opens with ``text mclust 6.0.0``, the code before it is not run here: the text is what it printed, and by what.
Python shares one set of names down the page. Numbers that neighbours print under one name have to agree, or the page
says so.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ppl_models.errors import InputError
from ppl_models.reports.examples import Example, disagreements, run
from ppl_models.reports.prose import MARKDOWN, unfolded
from ppl_models.reports.report import Report

AGREE = "whether numbers of one name agree on both sides"


@dataclass(frozen=True)
class Cell:
    """A piece of a page.

    Attributes:
        heading: of the section that it begins, or "".
        body: Markdown, or code.
        language: of code; "" for Markdown.
        title: whose code it is.
        printed: what it printed elsewhere; None for code that is run here.
        by: what printed it.
    """

    heading: str = ""
    body: str = ""
    language: str = ""
    title: str = ""
    printed: str | None = None
    by: str = ""


def written_page(path: Path, *, seed: int, links: Mapping[str, str] = MappingProxyType({})) -> Report:
    """The page of a file; its code runs now.

    Args:
        path: a file of Markdown.
        seed: in the place of 0 in ``seed=0``.
        links: where else to read, by the text of the link.

    Raises:
        InputError: no title, or no summary.
    """
    title, summary, cells = cells_of(path)
    report, names = Report(title, summary=summary, seed=seed), {}
    beside: list[Example] = []
    for cell in [*cells, Cell()]:
        if cell.language:
            beside.append(_example(cell, names, seed=seed))
            continue
        if beside:
            report.examples(*beside)
            report.check(AGREE, disagreements(beside))
            beside = []
        if cell.body:
            report.prose(cell.heading, cell.body)
    if links:
        report.prose("Elsewhere", "\n".join(f"- [{text}]({link})" for text, link in links.items()))
    return report


def cells_of(path: Path) -> tuple[str, str, list[Cell]]:
    """The title, the summary and the cells of a file.

    Raises:
        InputError: no title, or no summary.
    """
    text = path.read_text(encoding="utf-8")
    opening = re.match(r"# ([^\n]+)\n\n(.+?)\n\n", text, re.DOTALL)
    if opening is None:
        raise InputError(f"{path}: expected '# Title' and a paragraph first, got {text[:40]!r}")
    found: list[Cell] = []
    for cell in _cells(text[opening.end() :]):
        if cell.language == "text" and found:
            found[-1] = Cell(**vars(found[-1]) | {"printed": cell.body.rstrip(), "by": cell.title})
        else:
            found.append(cell)
    return opening[1], unfolded(opening[2]), found


def _cells(text: str) -> Iterator[Cell]:
    """Fences, and what stands between them, cut at headings."""
    lines, begun = text.splitlines(), 0
    fences = [token for token in MARKDOWN.parse(text) if token.type == "fence" and token.level == 0]
    for fence in fences:
        yield from _sections("\n".join(lines[begun : fence.map[0]]))
        language, _, title = fence.info.partition(" ")
        yield Cell("", fence.content, language, title)
        begun = fence.map[1]
    yield from _sections("\n".join(lines[begun:]))


def _sections(text: str) -> Iterator[Cell]:
    """Markdown cut at its headings."""
    for part in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        heading = re.match(r"## (.+)\n?", part)
        body = part[heading.end() :] if heading else part
        if part.strip():
            yield Cell(heading[1] if heading else "", body.strip("\n") + "\n")


def _example(cell: Cell, names: dict[str, object], *, seed: int) -> Example:
    """Code with what it printed, now or elsewhere."""
    if cell.printed is not None:
        return Example(cell.title, cell.body.rstrip(), cell.printed, cell.by)
    source = cell.body.replace("seed=0", f"seed={seed}").rstrip()
    return Example(cell.title, source, run(source, names))
