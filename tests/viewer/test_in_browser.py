"""The viewer as its reader meets it: lists that fill and change by themselves, curves, and reports that stay inside."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chromium import chromium
from tests.viewer.conftest import EVIL, completed, make, record

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[browser]')")
pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium here: no page can be opened in it")

COMMAND = [sys.executable, "-c", "import sys; from thalweg.cli import entry; entry()", "view", "--no-browser"]


@pytest.fixture
def address(root: Path) -> Iterator[str]:
    command = [*COMMAND, "--root", str(root), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        found = re.search("http://[^ ]+/", running.stdout.readline())
        assert found
        yield found[0].removesuffix("/")
        running.send_signal(signal.SIGINT)
        assert running.stderr.read() == "thalweg: the viewer has ended\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[1280, 800], ids=["wide", "narrow"])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    """A page that complains of nothing and asks nobody else."""
    context = browser.new_context(base_url=address, viewport={"width": request.param, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda sent: asked.append(sent.url))
    yield page
    assert complaints == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    context.close()


def test_from_the_list_to_two_runs_side_by_side(page: Page, root: Path) -> None:
    runs = [completed(root, loss, lr=loss, note=EVIL) for loss in (0.25, 0.5)]
    coming = make(root, experiment="coming")
    with coming.writing():
        page.goto("/")
        sync_api.expect(page.locator("#count")).to_have_text("3 runs, 1 running")
        assert EVIL in page.locator("tbody .finding").nth(1).inner_text()
        record(coming, finished=False, total=12)
        sync_api.expect(page.get_by_text("training: step 3 of 12")).to_be_visible(timeout=15_000)
        coming.recording().finish()
        coming.complete()
    state = page.locator("tr", has_text="coming").locator(".state")
    sync_api.expect(state).to_have_text("complete", timeout=15_000)
    sync_api.expect(page.locator("#count")).to_have_text("3 runs")

    page.get_by_label("Filter").fill("mine lr=0.5")
    sync_api.expect(page.locator("tbody tr:visible")).to_have_count(1)
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="size").click()
    assert page.locator("tbody tr").first.locator(".name").inner_text() == "coming"  # the smallest

    button = page.locator("#compare")
    sync_api.expect(button).to_be_disabled()
    for run in runs:
        page.get_by_label(f"Compare {run.name}").check()
    button.click()
    sync_api.expect(page.locator("h1")).to_have_text("2 runs side by side")
    page.locator("#curves .legendtext", has_text="lr 0.5").wait_for()
    assert page.locator("#curves .ytitle").first.text_content() == "loss (log scale)"
    page.get_by_label("log y").uncheck()
    page.locator("#curves .ytitle", has_text=re.compile("^loss$")).wait_for()
    page.get_by_label("Quantity").select_option("test_accuracy")
    page.get_by_label("against").select_option("step")
    page.locator("#curves .xtitle", has_text="step").wait_for()
    sync_api.expect(page.locator("#curves .ytitle")).to_have_text(["test accuracy"])


def wait_for_points(page: Page, count: int) -> None:
    """Wait until the first line has so many points; the page's rules forbid Playwright's own waiting for a function."""
    line = "document.querySelector('#curves .plot')._fullData?.find((trace) => trace.fill === 'none')?._length"
    deadline = time.monotonic() + 15
    while (found := page.evaluate(line)) != count and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert found == count


def test_a_running_page_grows_and_turns_into_its_report(page: Page, root: Path) -> None:
    run = make(root)
    with run.writing():
        record(run, finished=False)
        page.goto(f"/run/{run.name}")
        wait_for_points(page, 4)
        recording = run.recording()
        recording.append(4, 2.0, None, {"loss": [0.1, 0.2]})
        recording.commit({}, {})
        wait_for_points(page, 5)
        recording.finish()
        run.complete()
    run.files.report.write_text("<!doctype html><title>it</title><h1>The report</h1>")
    sync_api.expect(page.frame_locator("iframe").get_by_text("The report")).to_be_visible(timeout=15_000)
    sync_api.expect(page.locator(".state")).to_have_text("complete")


def test_a_report_runs_its_scripts_and_reaches_nothing(browser: Browser, address: str, root: Path) -> None:
    """Neither in its frame nor opened alone."""
    run = completed(root, secret="SECRET")
    run.files.report.write_text(
        """<!doctype html><title>-</title><p id="said"></p><script>
        const tried = [];
        const attempt = async (name, what) => { try { await what(); tried.push(name); } catch (error) {} };
        (async () => {
          await attempt("fetch", () => fetch("/api/runs"));
          await attempt("origin", () => localStorage.setItem("a", "b"));
          if (parent !== window) await attempt("parent", () => parent.document.title);
          document.getElementById("said").textContent = `reached ${tried.length}: ${tried}`;
        })();
        </script>"""
    )
    page = browser.new_page(base_url=address)
    page.goto(f"/run/{run.name}")
    sync_api.expect(page.frame_locator("iframe").locator("#said")).to_have_text("reached 0: ")
    page.goto(f"/files/{run.name}/report.html")
    sync_api.expect(page.locator("#said")).to_have_text("reached 0: ")
    page.close()
