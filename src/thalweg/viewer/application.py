"""The pages and their data, as a web application over one folder of runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from thalweg.errors import InputError
from thalweg.report.section import environment
from thalweg.report.settings import experiment_of, settings
from thalweg.runs import Run
from thalweg.runs.state import one_line
from thalweg.viewer.beside import beside
from thalweg.viewer.curves import AGAINST, curves
from thalweg.viewer.files import drawings, inside, listed, suffix
from thalweg.viewer.guard import OF_FILES, OF_REPORTS, Guard
from thalweg.viewer.listing import DAMAGE, line, opened, rows
from thalweg.viewer.rendering import asset, rendered

__all__ = ["application"]

SHOWN = {".png": "image/png", ".svg": "image/svg+xml", ".gif": "image/gif", ".mp4": "video/mp4"}
"""Files that the browser shows; all others it puts onto the disk."""


def application(root: Path) -> ASGIApp:
    """The viewer of the runs below a folder, for any ASGI server.

    Args:
        root: Folder of all runs.
    """
    views = _Views(root)
    routes = [
        Route("/", views.runs),
        Route("/run/{name}", views.run),
        Route("/compare", views.compare),
        Route("/api/runs", views.api_runs),
        Route("/api/run/{name}", views.api_run),
        Route("/api/curves", views.api_curves),
        Route("/files/{name}/{path:path}", views.file),
        Route("/static/{name}", _static),
    ]
    inner = Starlette(routes=routes, exception_handlers={HTTPException: _refused, InputError: _damaged})
    inner.router.redirect_slashes = False  # an address is right or wrong
    return Guard(inner)


class _Views:
    """What is answered to each address; every one is run in a thread, as all of them read files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _folder(self, name: str) -> Path:
        try:
            return opened(self.root, name)
        except InputError as error:
            raise HTTPException(404, str(error)) from None

    def runs(self, _: Request) -> Response:
        """All runs; the table is filled by the script, now and whenever something changes."""
        return HTMLResponse(rendered("runs.html", root=str(self.root)))

    def api_runs(self, _: Request) -> Response:
        """All runs, and whether any may change by itself."""
        found = rows(self.root)
        return JSONResponse({"runs": [_plain(row) for row in found], "live": any(row.live for row in found)})

    def run(self, request: Request) -> Response:
        """One run."""
        name = request.path_params["name"]
        folder, row = self._folder(name), line(self.root, name)
        known = bool(row.experiment)  # else nothing of it can be read
        views = {"report": row.report, "curves": known and not row.sweep, "settings": known, "files": True}
        view = request.query_params.get("show") or next(view for view, there in views.items() if there)
        if not views.get(view):
            raise HTTPException(404, f"run '{name}' has no page '{view}'")
        values: dict[str, Any] = {"row": row, "views": [one for one, there in views.items() if there], "view": view}
        if view == "settings":
            run = Run.open(folder)
            values["settings"] = settings(experiment_of(run), run.config)
            values["environment"] = environment(run.environment)
            values["command"] = str(run.environment.get("command") or "")
        if view == "files":
            values |= {"folder": folder.resolve(), "files": listed(folder), "drawings": drawings(folder)}
        return HTMLResponse(rendered("run.html", **values))

    def api_run(self, request: Request) -> Response:
        """The line of one run."""
        name = request.path_params["name"]
        self._folder(name)
        return JSONResponse(_plain(line(self.root, name)))

    def compare(self, request: Request) -> Response:
        """Several runs."""
        found = beside(self._chosen(request))
        names = [run.name for run in found.runs.values()]
        live = any(run.state == "running" for run in found.runs.values())
        return HTMLResponse(rendered("compare.html", beside=found, names=names, live=live))

    def api_curves(self, request: Request) -> Response:
        """What one run or several have recorded, as a figure."""
        found, metrics, notes = beside(self._chosen(request)), {}, []
        for label, run in found.runs.items():
            try:
                metrics[label] = run.metrics
            except DAMAGE as error:
                notes.append(f"The metrics of {label} cannot be read: {one_line(error)}.")
        asked = request.query_params
        against, log = asked.get("against", AGAINST[0]), asked.get("log", "1") != "0"
        try:
            drawn = curves(metrics, asked.get("column", ""), against=against, log=log)
        except InputError as error:
            raise HTTPException(400, str(error)) from None
        caption = " ".join([drawn.caption, *found.notes, *notes])
        return JSONResponse(dataclasses.asdict(drawn) | {"caption": caption})

    def _chosen(self, request: Request) -> list[Run]:
        names = dict.fromkeys(request.query_params.getlist("run"))
        if not names:
            raise HTTPException(400, "no run was chosen")
        found = []
        for name in names:
            try:
                found.append(Run.open(self._folder(name)))
            except InputError as error:
                raise HTTPException(404, str(error)) from None
        return found

    def file(self, request: Request) -> Response:
        """A file of a run: its report and its pictures are shown, everything else is downloaded."""
        path = request.path_params["path"]
        target = inside(self._folder(request.path_params["name"]), path)
        if target is None:
            raise HTTPException(404, "there is no such file in the folder of this run")
        if path == "report.html":
            return FileResponse(target, media_type="text/html", headers={"Content-Security-Policy": OF_REPORTS})
        headers, media = {"Content-Security-Policy": OF_FILES}, SHOWN.get(suffix(path))
        if media:
            return FileResponse(target, media_type=media, headers=headers)
        return FileResponse(target, media_type="application/octet-stream", filename=target.name, headers=headers)


def _plain(row: Any) -> dict[str, Any]:
    """A line as JSON, with the addresses of its page and its picture."""
    name = quote(row.name, safe="")
    picture = f"/files/{name}/{quote(row.picture)}" if row.picture else ""
    return dataclasses.asdict(row) | {"page": f"/run/{name}", "picture": picture}


def _static(request: Request) -> Response:
    """A style sheet or script."""
    found = asset(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "there is no such file")
    content, media = found
    return Response(content, media_type=media, headers={"Cache-Control": "no-cache"})


def _damaged(request: Request, error: Exception) -> Response:
    """What was asked for cannot be made of a damaged run."""
    return _refused(request, HTTPException(422, f"This cannot be shown: {one_line(error)}."))


def _refused(request: Request, error: Exception) -> Response:
    """A sentence instead of a page, or of data."""
    status, sentence = getattr(error, "status_code", 500), getattr(error, "detail", "")
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": sentence}, status)
    return HTMLResponse(rendered("refused.html", status=status, sentence=sentence), status)
