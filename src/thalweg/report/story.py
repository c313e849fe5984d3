"""What an experiment says of itself: its docstring as the paragraphs of a report."""

from __future__ import annotations

import ast
import re

from markupsafe import Markup, escape

from thalweg.errors import InputError
from thalweg.experiments.framework.discovery import find

__all__ = ["inline", "markup", "story"]

CODE = re.compile(r"``(.+?)``|`(.+?)`")

MARKS = (
    (re.compile(r"(?<![\w*)])\*\*(?!\s)(.+?)(?<!\s)\*\*(?![\w*(])"), "strong"),
    (re.compile(r"(?<![\w*)])\*(?!\s)(.+?)(?<!\s)\*(?![\w*(])"), "em"),
)
"""Asterisks between letters or brackets multiply, as in ``3*pi*x``, and stay."""


def story(experiment: str) -> tuple[str, dict[str, str]]:
    """The summary of an experiment and its paragraphs by their heading, such as Question and Method.

    Both are empty for an experiment that is not there any more, or for a user's own run.
    """
    try:
        found = find(experiment)
    except InputError:
        return "", {}
    text = ast.get_docstring(ast.parse(found.path.read_text(encoding="utf-8"))) or ""
    summary, _, rest = text.partition("\n")
    return summary, paragraphs(rest)


def paragraphs(text: str) -> dict[str, str]:
    r"""The parts of a text that begin with bold words and a full stop.

    >>> paragraphs("Introduction.\n\n**Question.** Where to?\n\n**Method.** We look.\n\n- twice")
    {'': 'Introduction.', 'Question': 'Where to?', 'Method': 'We look.\n\n- twice'}
    """
    pieces = re.split(r"(?:^|\n)\*\*([^*\n]+?)[.:]?\*\*[.:]?[ \n]", text.strip())
    found = dict(zip(["", *pieces[1::2]], (piece.strip() for piece in pieces[::2]), strict=True))
    return {heading: body for heading, body in found.items() if body}


def markup(text: str) -> Markup:
    r"""Paragraphs, lists, emphasis and code of a docstring as HTML; everything else is escaped.

    >>> str(markup("*One* ``x < y``.\n\n- a\n- b"))
    '<p><em>One</em> <code>x &lt; y</code>.</p><ul><li>a</li><li>b</li></ul>'
    """
    found = []
    for block in re.split(r"\n\s*\n", text.strip()):
        if re.match(r"[-*] ", block):
            items = re.split(r"(?:^|\n)[-*] ", block)[1:]
            found.append("<ul>" + "".join(f"<li>{inline(item)}</li>" for item in items) + "</ul>")
        elif block:
            found.append(f"<p>{inline(block)}</p>")
    return Markup("".join(found))


def inline(text: str) -> Markup:
    """Emphasis and code of a line of a docstring as HTML; everything else is escaped, and code stays as it is.

    >>> str(inline("*Mind* sin(3*pi*x)+sin(4*pi*x) and `x**2 * y`."))
    '<em>Mind</em> sin(3*pi*x)+sin(4*pi*x) and <code>x**2 * y</code>.'
    """
    words = str(escape(" ".join(text.split())))
    codes: list[str] = []

    def keep(found: re.Match[str]) -> str:
        codes.append(next(filter(None, found.groups())))
        return f"\0{len(codes) - 1}\0"

    words = CODE.sub(keep, words)
    for pattern, tag in MARKS:
        words = pattern.sub(rf"<{tag}>\1</{tag}>", words)
    return Markup(re.sub("\0(\\d+)\0", lambda found: f"<code>{codes[int(found[1])]}</code>", words))
