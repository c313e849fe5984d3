"""Tables on paper: columns as wide as their words, and in several pieces where they are wider than the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import LongTable, Paragraph, Spacer, TableStyle

from thalweg.figures.palette import INK, MUTED
from thalweg.report.section import Table

__all__ = ["MONO", "SANS", "laid_out"]

SANS, MONO = "Thalweg", "ThalwegMono"

SIZE = 7.0
GAP = 8.0  # points between two columns
WIDEST = 170.0  # points of a column, beyond which its words are wrapped
MOST_ROWS = 100
"""Rows of a table that are printed; the page for the browser has all of them."""

CELL = ParagraphStyle("cell", fontName=SANS, bulletFontName=SANS, fontSize=SIZE, leading=9, textColor=HexColor(INK))
RIGHT = CELL.clone("right", alignment=2)
LOOK: list[tuple[Any, ...]] = [
    ("FONT", (0, 0), (-1, -1), SANS, SIZE, 9),
    ("TEXTCOLOR", (0, 0), (-1, -1), HexColor(INK)),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), GAP),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ("LINEBELOW", (0, 0), (-1, 0), 0.8, HexColor(MUTED)),
    ("LINEBELOW", (0, 1), (-1, -1), 0.3, HexColor("#dfe3e8")),
]


def laid_out(table: Table, width: float) -> Iterator[Any]:
    """The table as flowables, none wider than the page; every piece begins with the first column.

    Args:
        table: What to print.
        width: Points of a line.
    """
    widths = [_width(table, column) for column in range(len(table.columns))]
    for piece in _pieces(widths, width):
        yield _piece(table, piece, widths, width)
        yield Spacer(0, 5)
    if len(table.rows) > MOST_ROWS:
        left = len(table.rows) - MOST_ROWS
        yield Paragraph(f"{left:,} more rows are in the report for the browser.", CELL)


def _pieces(widths: Sequence[float], width: float) -> list[list[int]]:
    """Columns that fit side by side.

    >>> _pieces([40, 50, 50, 50], 100)
    [[0, 1], [0, 2], [0, 3]]
    """
    pieces, used = [[0]], widths[0]
    for column in range(1, len(widths)):
        if used + widths[column] > width and len(pieces[-1]) > 1:
            pieces.append([0])
            used = widths[0]
        pieces[-1].append(column)
        used += widths[column]
    return pieces


def _piece(table: Table, columns: list[int], widths: Sequence[float], width: float) -> LongTable:
    wanted = [widths[column] for column in columns]
    shrink = min(1.0, width / sum(wanted))
    head = [_wrapped(table.columns[c], bold=True, right=table.numeric(c)) for c in columns]
    rows = [
        [_cell(row[c].text, right=table.numeric(c), most=shrink * widths[c]) for c in columns]
        for row in table.rows[:MOST_ROWS]
    ]
    aligned = [("ALIGN", (k, 0), (k, -1), "RIGHT") for k, c in enumerate(columns) if table.numeric(c)]
    made = LongTable([head, *rows], colWidths=[shrink * one for one in wanted], repeatRows=1, hAlign="LEFT")
    made.setStyle(TableStyle([*LOOK, *aligned]))
    return made


def _width(table: Table, column: int) -> float:
    """Points that a column wants: its longest cell, but for those that are wrapped, and the longest word above it."""
    cells = [row[column].text for row in table.rows[:MOST_ROWS]]
    head = max((stringWidth(word, f"{SANS}-Bold", SIZE) for word in table.columns[column].split()), default=0)
    widest = max((stringWidth(text, SANS, SIZE) for text in cells), default=0)
    return max(min(head, WIDEST), min(widest, WIDEST), 12.0) + GAP + 1


def _cell(text: str, *, right: bool, most: float) -> Any:
    """A short cell as plain words, which are set much faster than paragraphs."""
    short = "\n" not in text and stringWidth(text, SANS, SIZE) + GAP <= most
    return text if short else _wrapped(text, right=right)


def _wrapped(text: str, *, bold: bool = False, right: bool) -> Paragraph:
    words = escape(text).replace("\n", "<br/>")
    return Paragraph(f"<b>{words}</b>" if bold else words, RIGHT if right else CELL)
