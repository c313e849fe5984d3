"""The report as its reader meets it: opened from the disk, without a network, turned, clicked, on any screen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chromium import chromium
from thalweg import report
from thalweg.experiments import execute, find

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[browser]')")
pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium here: no page can be opened in it")

FLAGS = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader"]  # 3-D without a graphics card


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The course's document of two runs: one with points to click on, one with a picture to turn."""
    root = tmp_path_factory.mktemp("runs")
    runs = [execute(name, find(name).preset("tiny"), root) for name in ("trajectory", "zero-gradient")]
    page = report.write(runs, course=True)
    alone = root / "elsewhere"  # without the figures beside it
    alone.mkdir()
    return Path(shutil.copy(page, alone))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A page without a network, and everything that it complained of or asked for."""

    def __init__(self, browser: Browser, document: Path, width: int) -> None:
        self.context = browser.new_context(
            offline=True, viewport={"width": width, "height": 900}, reduced_motion="reduce"
        )
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(document.as_uri())

    def drawn(self, place: str) -> None:
        """Scroll to a figure and wait until it is drawn."""
        self.page.locator(place).scroll_into_view_if_needed()
        self.page.wait_for_selector(f"{place}.js-plotly-plot .main-svg", state="attached", timeout=60_000)
        self.page.wait_for_timeout(300)


@pytest.fixture(params=[1200, 600], ids=["wide", "narrow"])
def opened(request: pytest.FixtureRequest, browser: Browser, document: Path) -> Iterator[Opened]:
    found = Opened(browser, document, request.param)
    yield found
    assert found.complaints == []
    assert [url for url in found.asked if not re.match("file:|data:|blob:", url)] == []
    found.context.close()


def test_every_figure_is_drawn_and_nothing_is_wider_than_the_page(opened: Opened) -> None:
    page = opened.page
    names = page.eval_on_selector_all(".plot", "places => places.map((place) => place.dataset.figure)")
    assert len(names) >= 10
    for name in names:
        opened.drawn(f'[data-figure="{name}"]')
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    overlapping = page.evaluate(
        """() => [...document.querySelectorAll("figure")].filter((figure) => {
          const plot = figure.querySelector(".plot .main-svg").getBoundingClientRect();
          const words = figure.querySelector("figcaption").getBoundingClientRect();
          return plot.bottom > words.top + 1;
        }).map((figure) => figure.id)"""
    )
    assert overlapping == []


def test_a_drag_turns_a_spatial_figure(opened: Opened) -> None:
    name = '.plot[data-figure$="-pca-3d-data"]'
    opened.drawn(name)
    place = opened.page.locator(name)
    opened.page.wait_for_function(f"document.querySelector(`{name}`)._fullLayout?.scene?._scene?.glplot")
    camera = "(place) => JSON.stringify(place._fullLayout.scene.camera.eye)"
    before = place.evaluate(camera)
    box = place.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    for step in range(1, 9):
        opened.page.mouse.move(x + 12 * step, y + 4 * step)
        opened.page.wait_for_timeout(50)  # the picture follows frame by frame
    opened.page.mouse.up()
    opened.page.wait_for_timeout(500)
    assert place.evaluate(camera) != before


def test_a_click_on_a_point_opens_its_certificate(opened: Opened) -> None:
    name = '.plot[data-figure$="-minimal-ratio-data"]'
    opened.drawn(name)
    place = opened.page.locator(name)
    where = place.evaluate(
        """(place) => {
          for (const trace of place._fullData) {
            const keys = trace.customdata || [];
            const i = keys.findIndex((key) => typeof key === "string" && key.startsWith("minimum"));
            if (i < 0) continue;
            const axis = (name) => place._fullLayout[trace[name + "axis"].replace(name, name + "axis")];
            const [x, y] = [axis("x"), axis("y")];
            return [x._offset + x.d2p(trace.x[i]), y._offset + y.d2p(trace.y[i])];
          }
        }"""
    )
    box = place.bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + where[0] - 3, box["y"] + where[1])
    opened.page.mouse.click(box["x"] + where[0], box["y"] + where[1])
    detail = opened.page.locator(f"figure:has({name}) .detail")
    detail.locator("dl").wait_for(timeout=10_000)
    words = detail.inner_text()
    assert "minimum" in words
    for part in ("‖∇L‖₂", "zero band", "minimal ratio", "Newton–Kantorovich"):
        assert part in words, words
    detail.locator(".js-plotly-plot .main-svg").first.wait_for(state="attached", timeout=30_000)  # its spectrum
