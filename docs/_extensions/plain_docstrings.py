"""Lets docstrings be written for people: shapes such as (N, *shape) and |λ| are text, not markup, and so are colons."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sphinx.ext.napoleon import docstring

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class _Docstring(docstring.GoogleDocstring):
    def _parse_attribute_docstring(self) -> list[str]:
        """Take a property's text as it stands; napoleon would read what precedes its first colon as a type."""
        return self._dedent(self._consume_to_end())


def escape(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escape the stars of shapes and the bars of absolute values outside literals and doctests."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("``")
            parts[::2] = [re.sub(r"(?<=[ (,])\*(?=\w+(?: \w+)?[),])|\|", r"\\\g<0>", part) for part in parts[::2]]
            lines[number] = "``".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Put both in force; 600 is after napoleon."""
    docstring.GoogleDocstring._parse_attribute_docstring = _Docstring._parse_attribute_docstring
    app.connect("autodoc-process-docstring", escape, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
