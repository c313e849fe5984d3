"""A report of anybody's: results, figures and tables, in their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.figures.cases import CASES
from thalweg import report
from thalweg.errors import InputError
from thalweg.figures import Figure
from thalweg.results import Result


class Mine:
    """A result that inherits nothing."""

    def plot(self) -> Figure:
        return CASES["bars"]().replace(title="My bars")

    def table(self) -> pl.DataFrame:
        return pl.DataFrame({"k": range(250), "loss": [k / 8 for k in range(250)]})

    def summary(self) -> str:
        return "My <loss> is 0.125."


def test_everything_stands_in_its_order(tmp_path: Path) -> None:
    assert isinstance(Mine(), Result)
    shown = (Mine(), CASES["twin_axes"](), pl.DataFrame({"name": ["λ"], "value": [None]}))
    page = report.write(tmp_path / "mine.html", *shown, title="Mine", text="*One* text.\n\nTwo.").read_text()
    order = [
        "<h1>Mine</h1>",
        "<em>One</em> text.",
        "My &lt;loss&gt; is 0.125.",
        'id="part1-bars"',
        "the first 200 of 250 rows",
    ]
    order += [f'id="part2-{shown[1].name}"', ">λ</td>"]
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert "Settings" not in page
    assert "Run it again" not in page
    assert not re.search(r'<a href="#([^"]+)">(?![\s\S]*id="\1")', page.split("</nav>")[0].split("<nav")[1] + page)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"], "one file that needs no other"
    assert len(page.encode()) < 1_700_000


def test_the_same_on_paper(tmp_path: Path) -> None:
    from pypdf import PdfReader

    reader = PdfReader(report.write(tmp_path / "mine.pdf", Mine(), CASES["surface"](), text="One text."))
    words = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
    places = [words.index(part) for part in ("My bars", "One text.", "My <loss> is 0.125.", "the first 20 of 250 rows")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((), {}, "contents must hold at least one result, figure or table, found none"),
        ((3,), {}, "contents must be results .* found 3"),
        ((Mine,), {"course": True}, "findings, course and its options must be left out"),
    ],
)
def test_what_cannot_be_shown(tmp_path: Path, arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        report.write(tmp_path / "mine.html", *arguments, **options)
    assert list(tmp_path.iterdir()) == []
