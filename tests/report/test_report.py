"""The report: everything once, nothing from outside, no value breaks out of it, and it works in a browser."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as xml
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from tests.chromium import chromium, opened
from tests.figures.cases import CASES
from thalweg import report
from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.figures import Axis, Detail, Figure, Line, Panel, Scatter
from thalweg.figures.plotly.packing import unpacked, without_maps
from thalweg.runs import Run, WriteError

EVIL = '</script><script>alert("x")</script><!-- & \' "'
NAN = float("nan")


def _figure(name: str, **more: object) -> Figure:
    mark = Scatter([1.0, 2.0], [1.0, NAN], label="points", keys=("first", ""), hover=(EVIL, ""))
    panel = Panel(Axis("epoch"), Axis("loss", scale="log"), (mark, Line([0, 1], [1.0, 0.1], label=EVIL)))
    return Figure(name, f"Title of {name}", f"Caption of {name}. {EVIL}", (panel,), **more)


def _run(root: Path, findings: Findings, *, width: int = 10, experiment: str = "my-own") -> Run:
    config = {"seed": 3, "model": {"widths": [width, 10], "activation": "tanh"}, "layer": None, "note": EVIL}
    origin = {"seed": 3, "device": "cpu", "data_checksum": "ab" * 32, "command": f"thalweg run my-own --note {EVIL}"}
    run = Run.create(root, experiment, config, **origin)
    with run.writing():
        recording = run.recording()
        for step in range(3):
            recording.append(step, step / 2, torch.zeros(3, 4), {"loss": torch.ones(3)})
        recording.commit({}, {})
        lost = {"status": "diverged", "step": 1, "message": "the loss became NaN"}
        recording.finish([{"status": "completed", "step": 2}, lost, {"status": "completed", "step": 2}])
        run.save("findings", findings.to_json())
        run.complete()
    return run


@pytest.fixture(scope="module")
def findings() -> Findings:
    close = _figure("close-up")
    detail = Detail("first", "The first point", (("‖g‖", "1e-12"), ("index", EVIL)), close)
    return Findings(
        figures=[_figure("loss", details=(detail,)), CASES["trajectory_3d"]()],
        statements=["The final loss is 0.0123.", f"Statement {EVIL}"],
        tables={
            "Runs": [{"run": 9, "loss": 0.5, "status": EVIL}, {"run": 10, "loss": NAN, "gap": 1e-7}],
            "Points": [{"point": "first", "index": 0}, {"point": "nowhere", "index": 1}],
        },
        numbers={"final_loss": 0.0123, "runs": 2, "fitted": True, "why": None},
        warnings=["Beware of the dog."],
    )


@pytest.fixture(scope="module")
def run(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _run(tmp_path_factory.mktemp("runs"), findings)


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    path = report.write(run)
    assert path == run.files.report
    return path.read_text(encoding="utf-8")


class _Reader(HTMLParser):
    """Elements, their attributes, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag in ("script", "style"):
            self._inside = tag
            self.scripts.append((found, ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        else:
            self.words.append(data)


@pytest.fixture(scope="module")
def parsed(page: str) -> _Reader:
    return _Reader(page)


def test_plotly_is_inside_exactly_once_and_packed(page: str, parsed: _Reader) -> None:
    from plotly.offline import get_plotlyjs

    (script,) = [text for attributes, text in parsed.scripts if attributes.get("id") == "plotly"]
    assert unpacked(script) == without_maps(get_plotlyjs())
    assert 0.85 * len(get_plotlyjs()) < len(unpacked(script)) < 0.95 * len(get_plotlyjs())
    assert get_plotlyjs()[:2000] not in page
    assert len(page.encode()) < 1_450_000


def test_everything_is_said_once(parsed: _Reader) -> None:
    words = " ".join(" ".join(parsed.words).split())
    for once in (
        "The final loss is 0.0123.",
        f"Statement {EVIL}",
        "Beware of the dog.",
        "Caption of loss.",
        "Replica 1 of “training” diverged at step 1: the loss became NaN.",
        "Recording “training”: 2 of 3 replicas completed.",
        "Not drawn: 1 value NaN or infinite.",
        "model.activation",
        "ab" * 32,
        "thalweg run my-own --note",
    ):
        assert words.count(once) == 1, once


def test_the_answer_comes_first_then_the_main_picture_then_warnings(page: str) -> None:
    order = [page.index(part) for part in ("The final loss", "Caption of loss", "Beware of", "model.activation")]
    assert order == sorted(order)


def test_nothing_comes_from_outside(page: str, parsed: _Reader) -> None:
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "data", "action"):
            address = attributes.get(name, "")
            assert not re.match(r"(?i)\s*(https?:|//|file:)", address), (tag, address)
    assert not re.search(r"@import|url\((?!data:)", page.split("</style>")[0])
    policy = next(a["content"] for tag, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_no_value_breaks_out(parsed: _Reader) -> None:
    kinds = [attributes.get("type", "") for attributes, _ in parsed.scripts]
    assert kinds.count("text/plain") == 2  # the figures and plotly, packed
    assert len(parsed.scripts) == 2 + 3  # with the dark colours, our script, and the style
    assert not any(text.startswith("alert") for _, text in parsed.scripts)
    (store,) = [json.loads(unpacked(text)) for a, text in parsed.scripts if a.get("id", "").endswith("-store")]
    figure = next(one for name, one in store.items() if name.endswith("-loss-data"))
    assert figure["details"]["first"]["facts"][1] == ["index", EVIL]
    assert figure["figure"]["data"][1]["name"].startswith("&lt;/script&gt;")


def test_figures_have_words_for_those_who_do_not_see_them(parsed: _Reader) -> None:
    pictures = [attributes for tag, attributes in parsed.elements if tag == "img"]
    assert len(pictures) == 2
    assert pictures[0]["alt"].startswith("Title of loss. Caption of loss.")
    assert all(picture["src"].startswith("data:image/") for picture in pictures)
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for tag, a in parsed.elements if tag == "a" and a["href"].startswith("#")}
    assert targets <= set(ids)


def test_the_files_beside_the_page_are_there(run: Run, findings: Findings, parsed: _Reader) -> None:
    links = [a["href"] for tag, a in parsed.elements if tag == "a" and not a["href"].startswith("#")]
    assert len(links) == 6
    assert all((run.path / link).is_file() for link in links)
    kept = json.loads((run.files.figures / "loss.json").read_text(encoding="utf-8"))
    assert Figure.from_json(kept) == findings.figures[0]
    assert not list(run.path.rglob(".tmp-*"))


def test_tables_sort_by_value_and_show_what_is_missing(parsed: _Reader) -> None:
    orders = [a["data-order"] for tag, a in parsed.elements if tag == "td" and "data-order" in a]
    assert orders[:8] == ["9", "0.5", EVIL, "", "10", "", "", "1e-07"]
    assert sum(tag == "th" and a.get("aria-sort") == "none" for tag, a in parsed.elements) == 4 + 2 + 2


def test_the_experiments_own_words_and_field_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "rolling_ball.py").write_text(
        '"""Where a ball rolls.\n\n**Question.** Does *it* stop, with ``x < 1``?\n\n**Method.** We look.\n\n'
        '**Traps.** Many.\n"""\nfrom thalweg.experiments.framework.config import ExperimentConfig\n\n\n'
        'class Config(ExperimentConfig):\n    width: int = 3\n    """How wide <the> ball is."""\n\n\n'
        'PRESETS = {"tiny": Config(), "quick": Config()}\n\n\ndef run(config, run):\n    """Nothing."""\n'
    )
    import thalweg.experiments

    monkeypatch.setattr(thalweg.experiments, "__path__", [*thalweg.experiments.__path__, str(folder)])
    run = Run.create(
        tmp_path,
        "rolling-ball",
        {"width": 4},
        seed=0,
        device="cpu",
        data_checksum=None,
        command="thalweg run rolling-ball",
    )
    page = report.write(run, findings=Findings(statements=["It stops."])).read_text(encoding="utf-8")
    assert "<title>Where a ball rolls</title>" in page
    assert "<p>Does <em>it</em> stop, with <code>x &lt; 1</code>?</p>" in page
    assert "<h3>Traps</h3><p>Many.</p>" in page
    assert "How wide &lt;the&gt; ball is." in page


def test_several_runs_make_one_document(findings: Findings, tmp_path: Path) -> None:
    few = Findings(figures=[_figure("loss")], statements=["One thing."])
    runs = [_run(tmp_path, few, width=width) for width in (10, 20)]
    path = report.write(runs)
    assert path == tmp_path / "report.html"
    found = _Reader(path.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"run1-loss", "run2-loss"} <= set(ids)
    links = [a["href"] for tag, a in found.elements if tag == "a" and not a["href"].startswith("#")]
    assert all((tmp_path / link).is_file() for link in links)
    assert " ".join(found.words).count("One thing.") == 2
    elsewhere = report.write(runs, tmp_path / "other" / "both.html", title="Both")
    assert "<title>Both</title>" in elsewhere.read_text(encoding="utf-8")


def test_bad_input_is_named(findings: Findings, tmp_path: Path, run: Run) -> None:
    with pytest.raises(InputError, match="runs must hold at least one run, found none"):
        report.write([])
    with pytest.raises(InputError, match="one for each of the 1 runs, found 2"):
        report.write(run, findings=[findings, findings])
    new = Run.create(tmp_path, "my-own", {"a": 1}, seed=0, device="cpu", data_checksum=None, command="")
    with pytest.raises(InputError, match="has no findings, it is new"):
        report.write(new)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="cannot write"):
        report.write(new, tmp_path / "file" / "report.html", findings=Findings())


@pytest.mark.skipif(chromium() is None, reason="no Chromium here: the page cannot be opened in a browser")
def test_the_page_works_in_a_browser(page: str, tmp_path: Path) -> None:
    """Opened without a network: both figures drawn, no error, a click opens the detail, a table sorts."""
    copy = tmp_path / "report.html"
    copy.write_text(page, encoding="utf-8")
    with opened(copy, tmp_path / "profile", size=(1200, 4000)) as tab:
        tab.wait("document.querySelectorAll('.plot.js-plotly-plot .main-svg').length >= 2")
        tab.wait("document.querySelector('.gl-container canvas')")
        assert tab.evaluate("document.documentElement.className") == "", "pictures stand in for nothing"
        tab.evaluate("document.querySelector('.plot').emit('plotly_click', {points: [{customdata: 'first'}]})")
        assert tab.evaluate("document.querySelector('figure .detail h3').textContent") == "The first point"
        assert tab.evaluate("document.querySelector('figure .detail dl').textContent").startswith("‖g‖1e-12")
        orders = "[...document.querySelector('table.sortable').tBodies[0].rows].map((row) => row.cells[0].textContent)"
        for column, expected in ((0, ["9", "10"]), (0, ["10", "9"]), (1, ["9", "10"]), (1, ["9", "10"])):
            tab.evaluate(f"document.querySelectorAll('table.sortable th button')[{column}].click()")
            assert tab.evaluate(orders) == expected, "a second click turns it round, but for a missing loss"
        opening = "[...document.querySelectorAll('td button.open')]"
        assert tab.evaluate(f"{opening}.map((b) => b.textContent)") == ["first"], "its row opens the detail too"
        tab.evaluate(f"{opening}[0].click()")
        assert tab.evaluate("[...document.querySelectorAll('.detail h3')].map((head) => head.textContent)") == [
            "The first point",
            "The first point",
        ]
        tab.wait("document.querySelectorAll('.detail .js-plotly-plot .main-svg').length >= 2")
        assert tab.complaints == []


def test_a_film_that_a_statement_names_is_in_the_page(tmp_path: Path) -> None:
    said = f"Training moving over its plane: exports/descent.gif (3 frames). {EVIL}"
    run = _run(tmp_path, Findings(figures=[_figure("loss")], statements=[said]))
    run.files.exports.mkdir()
    for name in ("descent.gif", "forgotten.gif"):
        (run.files.exports / name).write_bytes(b"GIF89a, not a real one")
    document = _Reader(report.write(run).read_text(encoding="utf-8"))
    images = [found for tag, found in document.elements if tag == "img"]
    (film,) = [image for image in images if image["src"].startswith("data:image/gif;base64,")]
    assert film["alt"] == said
    assert "exports/descent.gif" in [found.get("href") for tag, found in document.elements if tag == "a"]


def test_static_pictures_are_short_and_hold_the_words_of_the_figure(run: Run, page: str) -> None:
    images = [found["src"] for tag, found in _Reader(page).elements if tag == "img"]
    pictures = [address for address in images if address.startswith("data:image/svg+xml")]
    files = [run.files.figures / f"{figure['name']}.svg" for figure in run.load("findings")["figures"]]
    assert len(images) == len(files)
    assert 0 < len(pictures) <= len(files)
    for address, file in zip(pictures, files[: len(pictures)], strict=True):  # the plain figure comes first
        assert len(address) < 0.9 * file.stat().st_size  # base64 would be 1.33
        drawn, embedded = (xml.fromstring(text) for text in (file.read_text(), unquote(address.partition(",")[2])))
        words = [
            [" ".join("".join(one.itertext()).split()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
            for root in (drawn, embedded)
        ]
        assert words[0] == words[1] != []


def test_replicas_that_did_not_complete_are_told_one_by_one_while_they_are_few(tmp_path: Path) -> None:
    origin = {"seed": 3, "device": "cpu", "data_checksum": None, "command": "demo"}
    run = Run.create(tmp_path, "my-own", {"seed": 3}, **origin)
    with run.writing():
        recording = run.recording()
        recording.append(0, 0.0, torch.zeros(500, 2), {"loss": torch.ones(500)})
        recording.finish([{"status": "diverged", "step": 1, "message": "the loss became NaN"}] * 500)
        run.save("findings", Findings(statements=["All are lost."]).to_json())
        run.complete()
    text = report.write(run).read_text(encoding="utf-8")
    assert text.count("the loss became NaN") == 20
    assert "480 more replicas did not complete." in text
