"""A report on paper: PDF with drawn figures and embedded fonts, made without a browser.

Text and tables are set by reportlab, figures drawn by matplotlib as vectors and laid into their places by pypdf. Films
and clicks stay in the page for the browser.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

from pypdf import PdfReader, PdfWriter, Transformation
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    KeepTogether,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
)

from thalweg._version import __version__
from thalweg.figures.palette import CATEGORIES, INK, MUTED
from thalweg.report.document import Answer, Comparison, Document
from thalweg.report.pictures import Picture
from thalweg.report.print_tables import MONO, SANS, laid_out
from thalweg.report.section import Section, Table

__all__ = ["printed"]

MARGIN = 18 * mm
WIDTH, HEIGHT = A4[0] - 2 * MARGIN, A4[1] - 2 * MARGIN
TALLEST = 0.62 * HEIGHT  # of a figure: its caption belongs to the same page

FILES = {SANS: "DejaVuSans", f"{SANS}-Bold": "DejaVuSans-Bold", f"{SANS}-Italic": "DejaVuSans-Oblique"}
FILES |= {f"{SANS}-BoldItalic": "DejaVuSans-BoldOblique", MONO: "DejaVuSansMono"}
"""Fonts that come with matplotlib and have every letter that a report writes."""

BODY = ParagraphStyle("body", fontName=SANS, bulletFontName=SANS, fontSize=9.5, leading=13.5, spaceAfter=4)
BODY.textColor = HexColor(INK)
HEAD = BODY.clone("head", fontName=f"{SANS}-Bold", fontSize=11, leading=15, spaceBefore=9, spaceAfter=3, keepWithNext=1)
STYLES = {
    "title": BODY.clone("title", fontName=f"{SANS}-Bold", fontSize=19, leading=24, spaceAfter=4),
    "kicker": BODY.clone("kicker", textColor=HexColor(CATEGORIES[0]), spaceAfter=0),
    "meta": BODY.clone("meta", textColor=HexColor(MUTED), fontSize=8.5, leading=11, spaceAfter=8),
    "part": HEAD.clone("part", fontSize=16, leading=21, spaceBefore=6, spaceAfter=6),
    "big": HEAD.clone("big", fontSize=13, leading=17, spaceBefore=12),
    "head": HEAD,
    "answer": BODY.clone("answer", fontName=f"{SANS}-Bold", fontSize=10, leading=14, spaceAfter=6, keepWithNext=1),
    "item": BODY.clone("item", leftIndent=11, bulletIndent=1),
    "caption": BODY.clone("caption", fontSize=8.5, leading=11.5, spaceBefore=2, spaceAfter=10),
    "code": BODY.clone("code", fontName=MONO, fontSize=8, leading=11),
    "body": BODY,
}
TAGS = (("<code>", f'<font name="{MONO}" size="8.5">'), ("</code>", "</font>"), ("<em>", "<i>"), ("</em>", "</i>"))
TAGS += (("<strong>", "<b>"), ("</strong>", "</b>"))


class _Place(Flowable):
    """Room for a figure, and where that room came to lie."""

    def __init__(self, picture: Picture, scale: float, width: float, height: float, content: PdfReader) -> None:
        super().__init__()
        self.name, self.scale, self.content = picture.name, scale, content
        self.width, self.height = width, height
        self.spaceBefore = 6
        self.page, self.x, self.y = 0, 0.0, 0.0

    def draw(self) -> None:
        """Remember the place."""
        self.page = self.canv.getPageNumber() - 1
        self.x, self.y = self.canv.absolutePosition(0, 0)


def printed(document: Document) -> bytes:
    """The whole document as PDF.

    Args:
        document: Its pictures need no static form.
    """
    from matplotlib import get_data_path

    for name, file in FILES.items():
        pdfmetrics.registerFont(TTFont(name, f"{get_data_path()}/fonts/ttf/{file}.ttf"))
    names = (SANS, f"{SANS}-Bold", f"{SANS}-Italic", f"{SANS}-BoldItalic")
    pdfmetrics.registerFontFamily(SANS, *names)
    pdfmetrics.registerFontFamily(MONO, MONO, MONO, MONO, MONO)
    places: list[_Place] = []
    story = list(_story(document, places))
    file = io.BytesIO()
    frame = Frame(MARGIN, MARGIN, WIDTH, HEIGHT, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)

    def foot(canvas: Any, _: Any) -> None:
        canvas.setFont(SANS, 7.5)
        canvas.setFillColor(HexColor(MUTED))
        canvas.drawString(MARGIN, 10 * mm, _cut(document.title))
        canvas.drawRightString(A4[0] - MARGIN, 10 * mm, str(canvas.getPageNumber()))

    made = BaseDocTemplate(file, pagesize=A4, title=document.title, creator=f"Thalweg {__version__}", invariant=1)
    made.addPageTemplates([PageTemplate(frames=[frame], onPage=foot)])
    made.build(story)
    return _with_figures(file, places)


def _with_figures(text: io.BytesIO, places: list[_Place]) -> bytes:
    """The pages with every figure in its place, as vectors."""
    writer = PdfWriter(text)
    for place in places:
        where = Transformation().scale(place.scale).translate(place.x, place.y)
        writer.pages[place.page].merge_transformed_page(place.content.pages[0], where)
    for page in writer.pages:
        page.compress_content_streams()
    writer.compress_identical_objects()
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def _story(document: Document, places: list[_Place]) -> Iterator[Any]:
    alone = document.alone
    if alone:
        yield _words("kicker", document.sections[0].experiment)
    yield _words("title", document.title)
    if alone:
        yield _words("meta", f"Run {document.sections[0].name}")
    yield from _marked(document.text)
    for number, part in enumerate(document.parts):
        if part.chapter:
            if number:
                yield PageBreak()
            yield _words("part", part.chapter.heading)
        for answer in part.answers:
            yield from _answer(answer, alone, places)


def _answer(answer: Answer, alone: bool, places: list[_Place]) -> Iterator[Any]:
    question = answer.question
    if question:
        yield _words("big", question.title)
        yield _words("body", question.text)
        if not answer.sections:
            yield _words("meta", "No run was given that answers this question. This command does:")
            yield _words("code", question.command)
    for comparison in answer.comparisons:
        yield from _comparison(comparison, places)
    for section in answer.sections:
        if not alone:
            heading = section.label or ("" if question else section.summary or section.experiment)
            if heading:
                yield _words("big", heading)
            if section.name:
                yield _words("meta", f"{section.experiment}, run {section.name}")
        yield from _section(section, places)


def _comparison(comparison: Comparison, places: list[_Place]) -> Iterator[Any]:
    if comparison.picture:
        yield from _figure(comparison.picture, places)
    if comparison.table:
        yield from _table(comparison.table)


def _section(section: Section, places: list[_Place]) -> Iterator[Any]:
    """The answer first, then the main picture, then everything else."""
    if section.statements:
        yield _words("answer", section.statements[0])
    if section.pictures:
        yield from _figure(section.pictures[0], places)
    for statement in section.statements[1:]:
        yield _words("item", statement, bullet="•")
    if section.warnings or section.lost:
        yield _words("head", "Mind this")
        for warning in (*section.warnings, *section.lost):
            yield _words("item", warning, bullet="•")
    for heading, text in (("What was asked", section.question), ("How it was answered", section.method)):
        if text:
            yield _words("head", heading)
            yield from _marked(text)
    for picture in section.pictures[1:]:
        yield from _figure(picture, places)
    for table in (*section.tables, *filter(None, [section.numbers])):
        yield from _table(table)
    yield from _origin(section)


def _origin(section: Section) -> Iterator[Any]:
    chosen = [setting for setting in section.settings if setting.chosen]
    if chosen or section.replicas or section.command:
        yield _words("head", "Settings and origin")
    if section.replicas:
        yield _words("body", " ".join(section.replicas))
    if section.command:
        yield _words("code", section.command)
    for setting in chosen:
        yield _words("item", f"{setting.name} = {setting.value}", bullet="•")
    known = dict(section.environment)
    if known:
        wanted = ("seed", "device", "thalweg", "torch", "machine", "created", "time spent")
        yield _words("meta", "; ".join(f"{name} {known[name]}" for name in wanted if name in known))


def _figure(picture: Picture, places: list[_Place]) -> Iterator[Any]:
    """A figure with its caption, on one page."""
    from thalweg.figures.matplotlib import drawn

    content = PdfReader(io.BytesIO(drawn(picture.figure, "pdf")))
    box = content.pages[0].mediabox
    width, height = float(box.width), float(box.height)
    scale = min(WIDTH / width, TALLEST / height, 1.15)  # what is small is hardly enlarged: its letters would be
    place = _Place(picture, scale, scale * width, scale * height, content)
    places.append(place)
    yield KeepTogether([place, _words("caption", " ".join((picture.caption, *picture.notes)))])


def _table(table: Table) -> Iterator[Any]:
    yield _words("head", table.name)
    yield from laid_out(table, WIDTH)
    yield Spacer(0, 8)


def _words(style: str, text: str, bullet: str | None = None) -> Paragraph:
    return Paragraph(escape(text).replace("\n", "<br/>"), STYLES[style], bulletText=bullet)


def _marked(text: str) -> Iterator[Paragraph]:
    """Paragraphs and lists of `thalweg.report.story`, which knows six tags."""
    plain = str(text)  # markup would escape what replaces its tags
    for tag, own in TAGS:
        plain = plain.replace(tag, own)
    for tag, own in (("<ul>", ""), ("</ul>", ""), ("<li>", "<p>•"), ("</li>", "</p>")):
        plain = plain.replace(tag, own)
    for block in plain.split("</p>"):
        words = block.removeprefix("<p>")
        if words.startswith("•"):
            yield Paragraph(words[1:], STYLES["item"], bulletText="•")
        elif words:
            yield Paragraph(words, STYLES["body"])


def _cut(text: str, most: int = 100) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
