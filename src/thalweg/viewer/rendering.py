"""Pages from templates, and the styles and scripts that they ask for."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined

from thalweg.report.page import DARK, embedded

__all__ = ["asset", "rendered"]

# The styles and the drawing of figures are the report's; the viewer adds its own.
_ASSETS = {
    "report.css": ("thalweg.report", "templates/style.css", "text/css"),
    "report.js": ("thalweg.report", "templates/script.js", "text/javascript"),
    "viewer.css": ("thalweg.viewer", "static/viewer.css", "text/css"),
    "viewer.js": ("thalweg.viewer", "static/viewer.js", "text/javascript"),
}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = ChoiceLoader([PackageLoader("thalweg.viewer"), PrefixLoader({"report": PackageLoader("thalweg.report")})])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["embedded"] = embedded
    return environment


def rendered(template: str, **values: Any) -> str:
    """A page; everything in it is escaped.

    Args:
        template: Name of its file in the folder ``templates``.
        values: What the template speaks of.
    """
    return _environment().get_template(template).render(dark=DARK, **values)


@lru_cache(maxsize=8)
def asset(name: str) -> tuple[bytes, str] | None:
    """The content and media type of a style sheet or script; None if there is none of that name."""
    if name == "plotly.js":
        from plotly.offline import get_plotlyjs

        return get_plotlyjs().encode(), "text/javascript"
    if name not in _ASSETS:
        return None
    package, path, media = _ASSETS[name]
    return files(package).joinpath(path).read_bytes(), media
