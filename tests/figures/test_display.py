"""How a figure leaves the program: files of every kind, a notebook, a terminal, the native objects."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.figures.cases import CASES
from thalweg.errors import InputError
from thalweg.figures import Figure, display
from thalweg.figures.plotly.packing import unpacked, without_maps
from thalweg.runs import WriteError

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF-", ".html": b"<!doctype html>", ".json": b"{"}


@pytest.fixture(params=["twin_axes", "surface", "contour"])
def figure(request: pytest.FixtureRequest) -> Figure:
    return CASES[request.param]()


@pytest.mark.parametrize("suffix", display.SUFFIXES)
def test_the_suffix_decides(figure: Figure, suffix: str, tmp_path: Path) -> None:
    path = figure.save(tmp_path / "made" / f"figure{suffix.upper()}")
    assert path.read_bytes().startswith(STARTS[suffix])
    assert [found.name for found in path.parent.iterdir()] == [path.name], "nothing half-written is left"


def test_json_comes_back_equal(figure: Figure, tmp_path: Path) -> None:
    assert Figure.load(figure.save(tmp_path / "figure.json")) == figure


def test_fonts_are_inside_the_pdf(figure: Figure, tmp_path: Path) -> None:
    content = figure.save(tmp_path / "figure.pdf").read_bytes()
    assert b"/FontFile2" in content  # TrueType, embedded
    assert b"/Type3" not in content


def test_the_page_holds_everything(figure: Figure, tmp_path: Path) -> None:
    from plotly.offline import get_plotlyjs

    page = figure.save(tmp_path / "figure.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 1_600_000
    assert f"<h1>{figure.title}</h1>" in page
    data, plotly = (
        page.split(f'id="{name}"')[1].split(">", 1)[1].split("</script>")[0] for name in ("figure", "plotly")
    )
    assert unpacked(plotly) == without_maps(get_plotlyjs())
    assert json.loads(unpacked(data))["data"]
    assert "http://" not in page.replace("http://www.w3.org/", "")


@pytest.mark.parametrize("name", ["figure", "figure.jpg", "figure.PGN", ".png"])
def test_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"path must end in one of \.png, \.svg, \.pdf, \.html, \.json, found '"):
        CASES["twin_axes"]().save(tmp_path / name)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="cannot write"):
        CASES["twin_axes"]().save(tmp_path / "file" / "figure.json")


def test_a_notebook_gets_the_interactive_figure_and_a_picture(figure: Figure) -> None:
    bundle, metadata = figure._repr_mimebundle_()
    drawn = bundle["application/vnd.plotly.v1+json"]
    assert json.loads(json.dumps(drawn, allow_nan=False))["layout"]["title"]["text"] == figure.title
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.width == pytest.approx(metadata["image/png"]["width"] * 1.5, abs=1)
    assert figure.title in bundle["text/plain"]
    assert figure._repr_mimebundle_(include=["text/plain"])[0].keys() == {"text/plain"}
    assert figure._repr_mimebundle_(exclude=["image/png"])[1] == {}


def test_native_objects_are_the_libraries_own(figure: Figure, tmp_path: Path) -> None:
    from matplotlib.figure import Figure as Page
    from plotly.graph_objects import Figure as Interactive

    page = figure.matplotlib()
    assert isinstance(page, Page)
    page.axes[0].set_title("changed")
    page.savefig(tmp_path / "changed.png")
    found = figure.plotly()
    assert isinstance(found, Interactive)
    assert found.layout.title.text == figure.title
    assert len(found.data) == len(figure._repr_mimebundle_()[0]["application/vnd.plotly.v1+json"]["data"])
    found.update_layout(title="changed")


def test_in_a_notebook_it_is_displayed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    notebook = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=shown.append))
    figure = CASES["twin_axes"]()
    figure.show()
    assert shown == [figure]


def test_from_a_terminal_the_browser_opens_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(display, "_interactive", lambda: True)
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    CASES["twin_axes"]().show()
    (address,) = opened
    assert Path(address.removeprefix("file://")).read_bytes().startswith(b"<!doctype html>")
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    with pytest.warns(UserWarning, match=r"no browser could be opened; the figure is in .*\.html"):
        CASES["twin_axes"]().show()


def test_where_nobody_looks_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_interactive", lambda: False)
    figure = CASES["twin_axes"]()
    with pytest.warns(UserWarning, match=f'from a terminal only; save it instead: figure.save."{figure.name}.html"'):
        figure.show()


def test_data_alone_import_no_plotting_library() -> None:
    code = (
        "import sys; from thalweg.figures import Axis, Figure, Line, Panel; "
        "Figure('a', 'A', '', (Panel(Axis(), Axis(), (Line([0, 1], [0, 1]),)),)).to_json(); "
        "print(sorted({'matplotlib', 'plotly', 'torch', 'IPython'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
