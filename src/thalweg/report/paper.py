"""Pages of paper: text set by reportlab, figures drawn by matplotlib as vectors and laid into their places by pypdf.

Every letter has its font inside the file. Letters of Chinese, Japanese and Korean take a font of this machine; where it
has none, they take one that the program which shows the file is expected to have.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from pypdf import PdfReader, PdfWriter, Transformation
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph

from thalweg._version import __version__
from thalweg.figures.matplotlib import drawn as rendered
from thalweg.figures.palette import CATEGORIES, INK, MUTED
from thalweg.report.pictures import Picture
from thalweg.report.print_tables import MONO, SANS

__all__ = ["HEIGHT", "WIDTH", "bound", "figure", "marked", "words"]

MARGIN = 18 * mm
WIDTH, HEIGHT = A4[0] - 2 * MARGIN, A4[1] - 2 * MARGIN

FILES = {SANS: "DejaVuSans", f"{SANS}-Bold": "DejaVuSans-Bold", f"{SANS}-Italic": "DejaVuSans-Oblique"}
FILES |= {f"{SANS}-BoldItalic": "DejaVuSans-BoldOblique", MONO: "DejaVuSansMono"}
"""Fonts that come with matplotlib and have every letter that a report writes by itself."""

_UNIHAN = ("msjh.ttc", "mingliu.ttc", "msyh.ttc", "simsun.ttc", "PingFang.ttc", "STHeiti Medium.ttc")
_UNIHAN += ("Arial Unicode.ttf", "wqy-zenhei.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf", "uming.ttc")
SCRIPTS = {
    "HYSMyeongJo-Medium": (((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF)), ("malgun.ttf", "AppleGothic.ttf")),
    "HeiseiMin-W3": (((0x3040, 0x30FF),), ("msgothic.ttc", "YuGothM.ttc", "ipag.ttf", "TakaoGothic.ttf")),
    "MSung-Light": (((0x2E80, 0x303F), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF)), ()),
}
"""Korean, Japanese, Chinese: a font that programs for PDF know by name, its letters, and files to embed instead."""

BODY = ParagraphStyle("body", fontName=SANS, bulletFontName=SANS, fontSize=9.5, leading=13.5, spaceAfter=4)
BODY.textColor = HexColor(INK)
HEAD = BODY.clone("head", fontName=f"{SANS}-Bold", fontSize=11, leading=15, spaceBefore=9, spaceAfter=3, keepWithNext=1)
SMALL = BODY.clone("small", fontSize=8, leading=10.5, textColor=HexColor(MUTED), spaceAfter=3)
STYLES = {
    "title": BODY.clone("title", fontName=f"{SANS}-Bold", fontSize=19, leading=24, spaceAfter=4),
    "kicker": BODY.clone("kicker", textColor=HexColor(CATEGORIES[0]), spaceAfter=0),
    "meta": SMALL.clone("meta", fontSize=8.5, leading=11, spaceAfter=8),
    "part": HEAD.clone("part", fontSize=16, leading=21, spaceBefore=6, spaceAfter=6),
    "big": HEAD.clone("big", fontSize=13, leading=17, spaceBefore=12),
    "head": HEAD,
    "answer": BODY.clone("answer", fontName=f"{SANS}-Bold", fontSize=10, leading=14, spaceAfter=6, keepWithNext=1),
    "item": BODY.clone("item", leftIndent=11, bulletIndent=1),
    "caption": BODY.clone("caption", fontSize=8.5, leading=11.5, spaceBefore=2, spaceAfter=10),
    "code": BODY.clone("code", fontName=MONO, fontSize=8, leading=11),
    "small": SMALL,
    "body": BODY,
}
TAGS = (("<code>", f'<font name="{MONO}" size="8.5">'), ("</code>", "</font>"), ("<em>", "<i>"), ("</em>", "</i>"))
TAGS += (("<strong>", "<b>"), ("</strong>", "</b>"))


class _Pages(Canvas):
    """Pages that remember where figures lie: (page, scale, x, y, content) each."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.places: list[tuple[int, float, float, float, PdfReader]] = []


class _Place(Flowable):
    """Room for a figure."""

    def __init__(self, scale: float, width: float, height: float, content: PdfReader) -> None:
        super().__init__()
        self.scale, self.content = scale, content
        self.width, self.height = width, height
        self.spaceBefore = 6

    def draw(self) -> None:
        """Remember the place."""
        pages: Any = self.canv  # a _Pages
        x, y = pages.absolutePosition(0, 0)
        pages.places.append((pages.getPageNumber() - 1, self.scale, x, y, self.content))


def bound(title: str, story: Callable[[], Iterator[Any]]) -> tuple[bytes, int]:
    """Sets a story on pages.

    Args:
        title: At the foot of every page.
        story: Makes the flowables, once the fonts are there.

    Returns:
        The PDF, and how many pages it has.
    """
    _fonts()
    file = io.BytesIO()
    frame = Frame(MARGIN, MARGIN, WIDTH, HEIGHT, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)

    def foot(canvas: Any, _: Any) -> None:
        canvas.setFont(SANS, 7.5)
        canvas.setFillColor(HexColor(MUTED))
        canvas.drawString(MARGIN, 10 * mm, title if len(title) <= 100 else f"{title[:99]}…")
        canvas.drawRightString(A4[0] - MARGIN, 10 * mm, str(canvas.getPageNumber()))

    made = BaseDocTemplate(file, pagesize=A4, title=title, creator=f"Thalweg {__version__}", invariant=1)
    made.addPageTemplates([PageTemplate(frames=[frame], onPage=foot)])
    sheets: list[_Pages] = []

    def begun(*args: Any, **kwargs: Any) -> _Pages:
        sheets.append(_Pages(*args, **kwargs))
        return sheets[-1]

    made.build(list(story()), canvasmaker=begun)
    writer = PdfWriter(file)
    for page, scale, x, y, content in sheets[-1].places:
        where = Transformation().scale(scale).translate(x, y)
        writer.pages[page].merge_transformed_page(content.pages[0], where)
    for page in writer.pages:
        page.compress_content_streams()
    writer.compress_identical_objects()
    whole = io.BytesIO()
    writer.write(whole)
    return whole.getvalue(), len(writer.pages)


@cache
def _fonts() -> None:
    from matplotlib import get_data_path

    for name, file in FILES.items():
        pdfmetrics.registerFont(TTFont(name, f"{get_data_path()}/fonts/ttf/{file}.ttf"))
    names = (SANS, f"{SANS}-Bold", f"{SANS}-Italic", f"{SANS}-BoldItalic")
    pdfmetrics.registerFontFamily(SANS, *names)
    pdfmetrics.registerFontFamily(MONO, MONO, MONO, MONO, MONO)


@cache
def _registered(name: str) -> str:
    """The name of the font of a script, known to reportlab from now on."""
    from matplotlib.font_manager import findSystemFonts

    places = {Path(path).name: path for path in findSystemFonts()}
    font: Any = UnicodeCIDFont(name)
    for file in (*SCRIPTS[name][1], *_UNIHAN):
        with suppress(TTFError, OSError, KeyError):  # not there, or without outlines that can be embedded
            font = TTFont(name, places[file])
            break
    pdfmetrics.registerFont(font)
    pdfmetrics.registerFontFamily(name, name, name, name, name)
    return name


def drawn(picture: Picture) -> bytes:
    """The figure as a PDF of its own."""
    return rendered(picture.figure, "pdf")


def figure(picture: Picture, tallest: float, content: bytes | None = None) -> list[Any]:
    """A figure and its caption, which belong on one page.

    Args:
        picture: Which.
        tallest: Its greatest height in points.
        content: What :func:`drawn` has made of it already.
    """
    reader = PdfReader(io.BytesIO(drawn(picture) if content is None else content))
    box = reader.pages[0].mediabox
    width, height = float(box.width), float(box.height)
    scale = min(WIDTH / width, tallest / height, 1.15)  # what is small is hardly enlarged: its letters would be
    place = _Place(scale, scale * width, scale * height, reader)
    return [place, words("caption", " ".join((picture.caption, *picture.notes)))]


def words(style: str, text: str, bullet: str | None = None, *, bold: str = "") -> Paragraph:
    """Plain words in one of the styles, after others in bold letters."""
    first = f"<b>{_plain(bold)}</b> " if bold else ""
    return Paragraph(first + _plain(text), STYLES[style], bulletText=bullet)


def _plain(text: str) -> str:
    return _lettered(escape(text).replace("\n", "<br/>"))


def marked(text: str, style: str = "body") -> Iterator[Paragraph]:
    """Paragraphs and lists of `thalweg.report.story`, which knows six tags."""
    plain = _lettered(str(text))  # markup would escape what replaces its tags
    for tag, own in TAGS:
        plain = plain.replace(tag, own)
    for tag, own in (("<ul>", ""), ("</ul>", ""), ("<li>", "<p>•"), ("</li>", "</p>")):
        plain = plain.replace(tag, own)
    for block in plain.split("</p>"):
        said = block.removeprefix("<p>")
        if said.startswith("•"):
            yield Paragraph(said[1:], STYLES["item"], bulletText="•")
        elif said:
            yield Paragraph(said, STYLES[style])


def _script(letter: str) -> str:
    code = ord(letter)
    return next((name for name, (parts, _) in SCRIPTS.items() if any(a <= code <= b for a, b in parts)), "")


def _lettered(text: str) -> str:
    """Marked text in which letters that the fonts lack are set by one that has them.

    >>> _lettered("loss 損失")
    'loss <font name="MSung-Light">損失</font>'
    """
    if text.isascii():
        return text
    parts = ((name, "".join(letters)) for name, letters in groupby(text, _script))
    return "".join(f'<font name="{_registered(name)}">{part}</font>' if name else part for name, part in parts)
