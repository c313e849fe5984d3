"""The pages and their data as a browser asks for them, and everything that it must not get."""

from __future__ import annotations

import asyncio
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from markupsafe import escape
from starlette.testclient import TestClient

from tests.viewer.conftest import EVIL, PNG, completed, make, record
from thalweg.runs import Run

PAGES = ("", "?show=report", "?show=curves", "?show=settings", "?show=files")


def asked(client: TestClient, address: str) -> tuple[int, bytes]:
    """Ask for exactly this address, as the server hands it on; the test client would shorten or decode it twice."""
    sent: list[dict[str, Any]] = []
    path, _, query = address.partition("?")
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
        "query_string": query.encode(), "path": unquote(path), "raw_path": path.encode(),
        "headers": [(b"host", b"127.0.0.1:8321")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8321),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()  # no body, and the client stays to the end
        return {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(client.app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_runs_as_data(client: TestClient, root: Path) -> None:
    run = completed(root, lr=0.1)
    answer = client.get("/api/runs").json()
    assert answer["live"] is False
    (row,) = answer["runs"]
    assert (row["name"], row["page"], row["changes"]) == (run.name, f"/run/{run.name}", ["lr=0.1"])
    assert client.get(row["picture"]).content == PNG
    again = client.get(f"/api/run/{run.name}").json()
    assert {**again, "age": row["age"]} == row  # a second may have passed
    with make(root, lr=0.2).writing():
        assert client.get("/api/runs").json()["live"] is True


def test_a_run_shows_its_report_and_without_one_its_curves(client: TestClient, root: Path) -> None:
    run = completed(root)
    page = client.get(f"/run/{run.name}").text
    (frame,) = re.findall("<iframe[^>]*>", page)
    assert f'src="/files/{run.name}/report.html"' in frame
    assert 'sandbox="allow-scripts allow-downloads allow-popups"' in frame  # above all not allow-same-origin
    run.files.report.unlink()
    page = client.get(f"/run/{run.name}").text
    assert "<iframe" not in page
    assert f"data-runs='[\"{run.name}\"]'" in page
    assert client.get(f"/run/{run.name}?show=report").status_code == 404


def test_a_running_run(client: TestClient, root: Path) -> None:
    run = make(root)
    with run.writing():
        record(run, finished=False, total=12)
        page = client.get(f"/run/{run.name}").text
        assert "training: step 3 of 12" in page
        assert 'value="0.25"' in page
        assert "data-live" in page
        drawn = client.get("/api/curves", params={"run": run.name}).json()
    assert drawn["columns"] == ["loss", "test_loss", "test_accuracy"]
    assert drawn["figure"]["data"]


def test_settings_environment_and_files(client: TestClient, root: Path) -> None:
    run = completed(root, lr=0.125)
    settings = client.get(f"/run/{run.name}?show=settings").text
    assert "<code>lr</code></th><td>0.125</td>" in settings
    assert '<th scope="row">torch</th>' in settings
    files = client.get(f"/run/{run.name}?show=files").text
    links = re.findall(r'href="(/files/[^"]+)"', files)
    assert f"/files/{run.name}/metrics.parquet" in links
    for link in links:
        assert client.get(link).status_code == 200, link


def test_compare(client: TestClient, root: Path) -> None:
    one, other = completed(root, 0.25, lr=0.1, seed=0), completed(root, 0.5, lr=0.2, seed=0)
    chosen = {"run": [one.name, other.name]}
    page = client.get("/compare", params=chosen).text
    assert "2 runs side by side" in page
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    assert cells[:3] == ["lr", "0.1", "0.2"]
    assert "seed" not in cells
    assert cells[3:6] == ["loss", "0.25", "0.5"]
    drawn = client.get("/api/curves", params=chosen | {"column": "loss", "against": "step", "log": "0"}).json()
    assert {trace["name"] for trace in drawn["figure"]["data"] if trace.get("name")} == {"lr 0.1", "lr 0.2"}
    assert drawn["figure"]["layout"]["yaxis"]["type"] == "linear"


def test_a_damaged_run_costs_no_other(client: TestClient, root: Path, damaged: dict[str, Path]) -> None:
    assert client.get("/").status_code == 200
    assert len(client.get("/api/runs").json()["runs"]) == len(damaged) + 1
    for kind, path in damaged.items():
        for page in PAGES:
            assert client.get(f"/run/{path.name}{page}").status_code in (200, 404), (kind, page)
        assert client.get(f"/run/{path.name}").status_code == 200, kind
        assert client.get(f"/api/run/{path.name}").status_code == 200, kind
    assert "broken" in client.get("/run/half-0123456789").text
    (whole,) = (row["name"] for row in client.get("/api/runs").json()["runs"] if row["name"].startswith("mine"))
    for kind in ("config", "environment", "findings", "metrics", "complete", "state"):
        chosen = {"run": [whole, kind]}
        assert client.get("/compare", params=chosen).status_code == 200, kind
        drawn = client.get("/api/curves", params=chosen)
        assert drawn.status_code == 200, (kind, drawn.text)
    assert "config is left out: " in unescape(client.get("/compare", params={"run": [whole, "config"]}).text)
    assert "cannot be read" in client.get("/api/curves", params={"run": [whole, "metrics"]}).json()["caption"]


def test_a_folder_of_any_name(client: TestClient, root: Path) -> None:
    name = """odd "name" #1 %41 'ä' <b>&amp;?"""
    completed(root).path.rename(root / name)
    (row,) = client.get("/api/runs").json()["runs"]
    assert (row["name"], row["state"]) == (name, "complete")
    assert asked(client, row["picture"]) == (200, PNG)
    for page in PAGES:
        status, body = asked(client, row["page"] + page)
        assert status == 200
        assert f"<h1><code>{escape(name)}</code></h1>" in body.decode()
        for link in re.findall(r'(?:href|src)="(/files/[^"]+)"', body.decode()):
            assert asked(client, unescape(link))[0] == 200, link
    (runs,) = re.findall("data-runs='([^']*)'", asked(client, row["page"] + "?show=curves")[1].decode())
    assert json.loads(unescape(runs)) == [name]


def test_what_is_not_there(client: TestClient, root: Path) -> None:
    run = completed(root)
    for address in ("/run/nothing", "/nothing", f"/run/{run.name}?show=nothing", f"/files/{run.name}/no", "/static/no"):
        answer = client.get(address)
        assert answer.status_code == 404, address
        assert answer.headers["content-type"].startswith("text/html")
    assert client.get("/api/run/nothing").json() == {"error": f"there is no run 'nothing' in {root}"}
    assert client.get("/compare").status_code == 400
    assert client.get("/compare", params={"run": "nothing"}).status_code == 404
    answer = client.get("/api/curves", params={"run": run.name, "column": "los"})
    assert (answer.status_code, answer.json()["error"]) == (400, "there is no quantity 'los', did you mean 'loss'?")


# ---- what must not happen


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("address", ["/", "/api/runs", "/static/viewer.js"])
def test_only_reading(client: TestClient, method: str, address: str) -> None:
    answer = client.request(method, address)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_head(client: TestClient) -> None:
    answer = client.head("/")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:8321", 200), ("localhost", 200), ("LocalHost:9999", 200),
        ("evil.example", 421), ("evil.example:8321", 421), ("127.0.0.1.evil.example", 421), ("localhost.", 421),
        ("localhost:8321.evil.example", 421), ("127.0.0.1:", 421), ("evil@localhost", 421), ("0.0.0.0", 421),
        ("", 421), ("127.0.0.2", 421), ("[::1]:8321", 421),
    ],
)  # fmt: skip
@pytest.mark.parametrize("address", ["/", "/api/runs"])
def test_no_other_name_of_this_machine(client: TestClient, host: str, status: int, address: str) -> None:
    assert client.get(address, headers={"host": host}).status_code == status


def test_asked_gets_what_is_there(client: TestClient, harmful: Run) -> None:
    assert asked(client, f"/files/{harmful.name}/exports%2fdata.csv") == (200, b"a,b\n1,2\n")


@pytest.mark.parametrize(
    "path",
    [
        "../beside.txt", "%2e%2e/beside.txt", "..%2fbeside.txt", "%2e%2e%2fbeside.txt", "..%5cbeside.txt",
        "exports/..%2f..%2fbeside.txt", "/etc/hostname", "%2fetc%2fhostname", "out/key.txt", "figures/key.png",
        "exports/.hidden", "config.json%00", "%00", "loop", "pipe", "exports",
    ],
)  # fmt: skip
def test_nothing_outside_of_the_folder(client: TestClient, harmful: Run, path: str) -> None:
    status, body = asked(client, f"/files/{harmful.name}/{path}")
    assert status == 404
    assert b"SECRET" not in body


@pytest.mark.parametrize("name", [".", "..", "%2e%2e", "..%2f", "%2fetc", "%2e", "x%00", "%ff", "%00", "..%2fsecret"])
def test_no_folder_that_is_no_run(client: TestClient, harmful: Run, name: str) -> None:
    for address in (f"/run/{name}", f"/api/run/{name}", f"/files/{name}/beside.txt", f"/files/{name}/key.txt"):
        status, body = asked(client, address)
        assert status == 404, address
        assert b"SECRET" not in body
    assert client.get(f"/api/curves?run={name}").status_code == 404


def test_files_cannot_act_as_pages(client: TestClient, harmful: Run) -> None:
    report = client.get(f"/files/{harmful.name}/report.html")
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    assert report.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in report.headers["content-security-policy"]
    for path in ("exports/page.html", "exports/data.csv", "config.json", "metrics.parquet"):
        answer = client.get(f"/files/{harmful.name}/{path}")
        assert answer.headers["content-disposition"].startswith("attachment"), path
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-security-policy"].startswith("sandbox;")
    drawn = client.get(f"/files/{harmful.name}/figures/first-figure.svg")
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert drawn.headers["content-security-policy"].startswith("sandbox;")


def test_every_answer_is_sealed(client: TestClient, harmful: Run) -> None:
    addresses = (
        "/",
        "/api/runs",
        f"/run/{harmful.name}",
        "/nothing",
        "/static/plotly.js",
        f"/files/{harmful.name}/lock",
    )
    for answer in [*map(client.get, addresses), client.post("/"), client.get("/", headers={"host": "evil.example"})]:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
    rules = dict(rule.split(" ", 1) for rule in client.get("/").headers["content-security-policy"].split("; "))
    assert (rules["default-src"], rules["script-src"]) == ("'none'", "'self'")
    assert (rules["frame-ancestors"], rules["connect-src"]) == ("'none'", "'self'")


@pytest.mark.parametrize("page", PAGES)
def test_what_a_run_says_is_text(client: TestClient, harmful: Run, page: str) -> None:
    text = client.get(f"/run/{harmful.name}{page}").text
    assert '<script>alert("x")' not in text
    assert "<img src=x" not in text
    if page == "?show=settings":
        assert text.count("&lt;script&gt;alert(") >= 2  # the setting and the command


class Attributes(HTMLParser):
    """The names of all attributes of a page."""

    names: frozenset[str] = frozenset()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {name for name, _ in attrs}


def test_pages_hold_no_script_of_their_own(client: TestClient, harmful: Run) -> None:
    other = completed(harmful.path.parent, note=EVIL + "2")
    compare = f"/compare?run={harmful.name}&run={other.name}"
    for address in ("/", compare, *(f"/run/{harmful.name}{page}" for page in PAGES)):
        text = client.get(address).text
        for attributes in re.findall("<script([^>]*)>", text):
            assert re.fullmatch(r' defer src="/static/[a-z]+\.js"| type="application/json" id="dark"', attributes)
        reader = Attributes()
        reader.feed(text)
        assert {name for name in reader.names if name.startswith("on")} == set()


def test_no_pickle_is_read(client: TestClient, root: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (root / "sprung",))

    run = completed(root)
    for path in (run.files.metrics, run.files.results / "findings.json", run.files.config, run.path / "other.pt"):
        path.write_bytes(pickle.dumps(Trap()))
    for address in ("/api/runs", *(f"/run/{run.name}{page}" for page in PAGES), f"/api/curves?run={run.name}"):
        client.get(address)
    assert not (root / "sprung").exists()
