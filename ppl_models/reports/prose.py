"""Prose as it is written in docstrings and in files of Markdown: paragraphs, formulas, tables, links."""

import re
from dataclasses import dataclass
from typing import ClassVar

from markdown_it import MarkdownIt
from markupsafe import Markup

from ppl_models.reports.parts import Text

MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")  # no HTML of the text's own reaches the page
ADDRESS = re.compile(r"(?<![<(\"`])https?://[^\s<>]*[^\s<>.,;)]")
BOXES = {
    "<table>": '<div class="scroll whole" role="region" tabindex="0" aria-label="{label}"><table>',
    "</table>": "</table></div>",
    "<pre>": '<pre tabindex="0" role="region" aria-label="Formulas">',
}


@dataclass(frozen=True)
class Prose(Text):
    r"""A heading, or none, and Markdown under it.

    >>> Prose("The story", "A row is *drawn*.").inner
    Markup('<p>A row is <em>drawn</em>.</p>\n')
    """

    kind: ClassVar[str] = "text"

    @property
    def inner(self) -> Markup:
        """The body as HTML: addresses are links, and what is wider than a phone scrolls in a box of its own."""
        html = MARKDOWN.render(ADDRESS.sub(r"<\g<0>>", self.body))
        for plain, boxed in BOXES.items():
            html = html.replace(plain, boxed.format(label=Markup.escape(f"Table: {self.heading or 'words'}")))
        return Markup(html)  # rendered with every tag of the text's own escaped


def inline(text: str) -> Markup:
    """One line of Markdown as HTML, without a paragraph around it.

    >>> inline("Use ``fit``.")
    Markup('Use <code>fit</code>.')
    """
    return Markup(MARKDOWN.renderInline(text))


def unfolded(text: str) -> str:
    r"""A paragraph as one line.

    >>> unfolded("A row\n  is drawn.")
    'A row is drawn.'
    """
    return " ".join(text.split())
