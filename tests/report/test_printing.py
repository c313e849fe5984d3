"""Reports on paper: every word is there, nothing is cut off, every letter has its font inside."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pypdf import PdfReader
from pypdf.generic import DictionaryObject

from tests.figures.cases import CASES
from thalweg import cli, report
from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.report.print_tables import MOST_ROWS
from thalweg.runs import Run

LETTERS = 'λ₁ of ∇²L at θ*: ‖∇L‖₂ = 1.2×10⁻⁴ ± 3 %, −0.5 ≤ α ≤ ½, <b> & "x"'
LONG = "a-word-that-no-line-can-hold-" * 12


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A complete run whose report has everything that is hard to print."""
    run = Run.create(
        tmp_path, "gradient-norm", {"seed": 3}, seed=3, device="cpu", data_checksum=None, command="thalweg run it"
    )
    wide = {f"column {k}": k / 7 for k in range(40)}
    rows = [{"row": f"row {k}", "words": LETTERS, **wide} for k in range(MOST_ROWS + 7)]
    found = Findings(
        figures=[CASES["twin_axes"](), CASES["surface"](), CASES["contour"]()],
        statements=[f"The answer: {LETTERS}", "More to say."],
        tables={"Wide and long": rows, "Words": [{"name": LONG, "value": None}]},
        numbers={"loss": 0.0123, "diverged": float("nan")},
        warnings=["Beware of the dog."],
    )
    with run.writing():
        run.save("findings", found.to_json())
        run.complete()
    return run


def _fonts(reader: PdfReader) -> list[DictionaryObject]:
    """Every font that sets a letter on any page, those of the figures on it included."""
    found = []
    for page in reader.pages:
        fonts = page["/Resources"].get_object().get("/Font", DictionaryObject()).get_object()
        content = page.get_contents().get_data().replace(b"BT /F1 12 Tf 14.4 TL ET", b"")  # how reportlab begins a page
        found += [font.get_object() for name, font in fonts.items() if name.encode() + b" " in content]
    return found


def test_everything_is_printed_with_its_fonts(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(run.path), "--pdf"]) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1].removeprefix("printed: "))
    assert path == run.files.report.with_suffix(".pdf")
    reader = PdfReader(io.BytesIO(path.read_bytes()))
    words = [" ".join(page.extract_text().split()) for page in reader.pages]
    whole = " ".join(words)
    for once in (f"The answer: {LETTERS}", "More to say.", "Beware of the dog.", "7 more rows are in the report"):
        assert whole.count(once) == 1, once
    assert words[0].index("The answer") < words[0].index("θ(α) = (1 − α) θ₁ + α θ₂."), "the main figure follows it"
    assert "column 39" in whole
    assert LONG in whole.replace(" ", "")
    assert all(text.endswith(f" {number}") or f" {number} " in text for number, text in enumerate(words, 1))
    fonts = _fonts(reader)
    assert len(fonts) > 3
    for font in fonts:
        holder = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        assert "/FontFile2" in holder["/FontDescriptor"].get_object(), font["/BaseFont"]


def test_no_word_begins_outside_the_margins(run: Run) -> None:
    path = report.write(run, run.path / "paper.pdf")
    for page in PdfReader(path).pages:
        places: list[tuple[float, float]] = []

        def visit(text: str, page: list[float], line: list[float], *rest: object, at: list = places) -> None:
            if text.strip():
                x, y = line[4], line[5]
                at.append((x * page[0] + y * page[2] + page[4], x * page[1] + y * page[3] + page[5]))

        page.extract_text(visitor_text=visit)
        width, height = float(page.mediabox.width), float(page.mediabox.height)
        assert [at for at in places if not (30 < at[0] < width - 30 and 20 < at[1] < height)] == []


def test_no_file_of_figures_is_written_for_paper(run: Run) -> None:
    report.write(run, run.path / "paper.pdf")
    assert not run.files.figures.exists()


def test_a_course_is_printed_with_its_questions(run: Run, tmp_path: Path) -> None:
    reader = PdfReader(report.write([run], tmp_path / "course.pdf", course=True))
    whole = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
    assert "Observe the gradient norm during training" in whole
    assert "thalweg run interpolation" in whole


def test_another_kind_of_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"path must end in \.html or \.pdf, found 'mine.docx'"):
        report.write(tmp_path / "mine.docx", CASES["twin_axes"]())
