"""The report that one hands in: ten pages at most, one's own comments and figures in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pypdf import PdfReader

from tests.figures.cases import CASES
from thalweg import cli, report
from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.report.course import COURSE, experiments
from thalweg.report.handin import PAGES
from thalweg.runs import Run

SENTENCE = "The median over 5 runs is 0.123 (0.1 to 0.2), which is more than nothing and less than the other one has. "


def _run(root: Path, experiment: str) -> Run:
    origin = {"seed": 0, "device": "cpu", "data_checksum": None, "command": f"thalweg run {experiment}"}
    run = Run.create(root, experiment, {"seed": 0, "training": {"lr": 0.1}}, **origin)
    with run.writing():
        found = Findings(
            figures=[CASES["twin_axes"](), CASES["contour"]()],
            statements=[f"Answer of {experiment}.", *[SENTENCE * 3] * 9],
            tables={"Long": [{"row": k} for k in range(60)]},
            warnings=[f"Beware {k}." for k in range(4)],
        )
        run.save("findings", found.to_json())
        run.complete()
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    root = tmp_path_factory.mktemp("runs")
    return [_run(root, name) for name in (*experiments(), "spectrum")]


def _words(path: Path) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in PdfReader(path).pages]


def test_eleven_answers_fit_on_ten_pages(runs: list[Run], tmp_path: Path) -> None:
    pages = _words(report.write(runs, tmp_path / "course.pdf", course=True))
    assert len(pages) <= PAGES
    whole = " ".join(pages)
    places = [whole.index(f"{q.number} {q.title}") for chapter in COURSE for q in chapter.questions]
    assert places == sorted(places)
    assert all(whole.count(f"Answer of {name}.") == 1 for name in experiments())
    assert whole.count("2 more such remarks stand in the page for the browser.") == len(experiments())
    assert "Answer of spectrum" not in whole, "it answers no question of the course"
    assert pages[0].index("1-1-1") < pages[0].index("Answer of function-fit."), "the title has no page of its own"


def test_the_whole_is_printed_on_request(runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["report", str(runs[0].path), "--course", "--pdf", "--output", str(tmp_path / "c.html")]
    typed += ["--questions", "1-1"]
    for more in ((), ("--whole",)):
        assert cli.main([*typed, *more]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"printed: {tmp_path / 'c.pdf'}"
        assert ("Long" in " ".join(_words(tmp_path / "c.pdf"))) == bool(more)


def test_parts_of_the_course(runs: list[Run], tmp_path: Path) -> None:
    questions = ["1-2-3", "capacity"]
    whole = " ".join(_words(report.write(runs[4:8], tmp_path / "c.pdf", course=True, questions=questions)))
    assert [name for name in experiments() if f"Answer of {name}." in whole] == ["zero-gradient", "capacity"]
    page = report.write([*runs[:3], runs[-1]], tmp_path / "c.html", course=True, questions=["1-1"]).read_text("utf-8")
    assert "2 of 2 questions answered" in page
    assert "Answer of trajectory" not in page
    assert "Answer of spectrum" not in page


def test_figures_are_chosen(runs: list[Run], tmp_path: Path) -> None:
    main, other = (runs[0].load("findings")["figures"][k]["name"] for k in (0, 1))
    paths = [
        report.write(runs[:1], tmp_path / f"{k}.pdf", course=True, questions=["1-1-1"], figures=figures)
        for k, figures in enumerate(([], [f"function-fit/{other}"], [f"function-fit/{main}", f"function-fit/{other}"]))
    ]
    caption = CASES["contour"]().caption
    assert [caption in " ".join(_words(path)) for path in paths] == [False, True, True]
    page = report.write(runs[:1], tmp_path / "c.html", course=True, figures=[f"function-fit/{other}"]).read_text(
        "utf-8"
    )
    assert page.index(f'id="run1-{other}"') < page.index(f'id="run1-{main}"')


def test_comments_of_ones_own_in_any_language(runs: list[Run], tmp_path: Path) -> None:
    folder = tmp_path / "comments"
    folder.mkdir()
    (folder / "capacity.md").write_text("**我的評論**: 參數\n\n- 두 번째\n- *third* <b>", encoding="utf-8")
    (folder / "title.md").write_text("By two students.", encoding="utf-8")
    page = report.write(runs[7:8], tmp_path / "c.html", course=True, comments=folder).read_text("utf-8")
    assert "<strong>我的評論</strong>: 參數" in page
    assert "<li><em>third</em> &lt;b&gt;</li>" in page
    assert "By two students." in page
    words = _words(report.write(runs[7:8], tmp_path / "c.pdf", course=True, questions=["capacity"], comments=folder))
    assert "By two students." in words[0]
    assert "third <b>" in words[-1]
    assert "我的評論" in words[-1]


def test_long_comments_are_printed_on_more_pages(runs: list[Run], tmp_path: Path) -> None:
    (tmp_path / "title.md").write_text(SENTENCE * 800, encoding="utf-8")
    assert len(_words(report.write(runs[:1], tmp_path / "c.pdf", course=True, comments=tmp_path))) > PAGES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"questions": ["1-4"]}, r"questions must be of .*, found '1-4'"),
        ({"questions": ["capasity"]}, r"questions must be of .*found 'capasity', did you mean 'capacity'"),
        ({"figures": ["capacity/none"]}, r"figures must be of capacity/.*found 'capacity/none'"),
        ({"comments": "nowhere"}, r"comments must be a folder of files EXPERIMENT\.md, found none in nowhere"),
    ],
)
def test_what_is_not_there_is_refused(
    runs: list[Run], tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        report.write(runs[7:8], tmp_path / "c.html", course=True, **options)
    with pytest.raises(InputError, match="must be left out without course=True"):
        report.write(runs[7:8], tmp_path / "c.html", **options)
    assert not list(tmp_path.iterdir())


def test_a_comment_on_nothing_is_refused(runs: list[Run], tmp_path: Path) -> None:
    (tmp_path / "capasity.md").write_text("x")
    with pytest.raises(InputError, match=r"capasity\.md must be named after an experiment of the course"):
        report.write(runs, tmp_path / "c.html", course=True, comments=tmp_path)
    (tmp_path / "capasity.md").rename(tmp_path / "capacity.md").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"capacity\.md must be a text in UTF-8, found byte 0xe9"):
        report.write(runs, tmp_path / "c.html", course=True, comments=tmp_path)
