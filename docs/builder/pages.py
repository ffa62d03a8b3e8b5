"""Pages as the site shows them: formulas as MathML, and links to the source as links to the forge.

A Markdown extension. MathML needs no script, no font and no network; a browser draws it itself.
"""

import html
import posixpath
import re
import xml.etree.ElementTree as ElementTree
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from zensical.extensions.context import ContextPreprocessor

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


def mathml(latex: str, display: str) -> Element:
    """Translate a formula.

    Raises:
        ValueError: a command is left over, which nobody could read.
    """
    text = convert(latex.replace(r"\|", "‖"), display=display)
    if "\\" in text:
        raise ValueError(f"latex2mathml does not know all of this formula: {latex}")
    # A word in Roman type comes as one element a letter.
    text = re.sub(r'(<mi mathvariant="normal">[^<]+</mi>){2,}', join_letters, text)
    math = ElementTree.fromstring(text)
    for part in math.iter():
        part.tag = part.tag.removeprefix(NAMESPACE)
    return math


def join_letters(match: re.Match[str]) -> str:
    """Make one element of neighbours."""
    return f'<mi mathvariant="normal">{re.sub("<[^>]*>", "", match[0])}</mi>'


class Formulas(Treeprocessor):
    r"""Replace what arithmatex found, ``\(…\)`` and ``\[…\]``, by MathML."""

    def run(self, root: Element) -> None:
        """Change the page in place."""
        for element in root.iter():
            if element.get("class") == "arithmatex":
                latex = html.unescape(element.text or "")
                display = "block" if latex.startswith(r"\[") else "inline"
                element.text = None
                element.append(mathml(latex[2:-2].strip(), display))


class SourceLinks(Treeprocessor):
    """Send links that leave the documentation's folder, or lead to code, to the repository."""

    def __init__(self, md: Markdown, repository: str) -> None:
        super().__init__(md)
        self.repository = repository

    def run(self, root: Element) -> None:
        """Change the page in place."""
        context = ContextPreprocessor.from_markdown(self.md)
        if context is None:
            return
        folder = posixpath.dirname(posixpath.join("docs", context.page.path))
        for link in root.iter("a"):
            href = link.get("href", "")
            target = posixpath.normpath(posixpath.join(folder, href))
            outside = href.startswith("..") and not target.startswith("docs/")
            if outside or (href.endswith(".py") and ":" not in href):
                link.set("href", f"{self.repository}/{target}")


class PagesExtension(Extension):
    """Both, in this order, after all inline Markdown is read."""

    def __init__(self, **options: Any) -> None:
        self.config = {"repository": ["", "where the files of the repository can be read"]}
        super().__init__(**options)

    def extendMarkdown(self, md: Markdown) -> None:
        """Register the two."""
        repository = self.getConfig("repository")
        md.treeprocessors.register(Formulas(md), "nerfreg_formulas", 15)
        md.treeprocessors.register(SourceLinks(md, repository), "nerfreg_source_links", 14)


def makeExtension(**options: Any) -> PagesExtension:
    """Make the extension, as Markdown asks for it."""
    return PagesExtension(**options)
