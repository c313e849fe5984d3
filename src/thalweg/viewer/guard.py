"""The rules that every answer keeps: only reading, only for this machine, and no script but the viewer's own."""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["OF_FILES", "OF_REPORTS", "Guard"]

# A page of another site can have its own name lead to 127.0.0.1 (DNS rebinding); the name then stands in this header.
_OWN = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.IGNORECASE)

_OF_PAGES = (  # plotly.js writes styles into the page; scripts never come from there
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
OF_FILES = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
"""Content-Security-Policy of what lies in a run's folder."""

# A report is a page of its own with scripts in it; the sandbox takes it out of this address, so that it can read
# nothing here, and without an address of its own it could not ask anybody either.
OF_REPORTS = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; img-src data: blob:; media-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; worker-src blob:; frame-ancestors 'self'"
)
"""Content-Security-Policy of a report."""


class Guard:
    """Wraps an application: refuses what is no reading and what was not asked of this machine's own address.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", _OF_PAGES)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        host = Headers(scope=scope).get("host", "")
        app = self.app
        if not _OWN.fullmatch(host):
            app = PlainTextResponse("The viewer answers at 127.0.0.1 and localhost only.\n", 421)
        elif scope["method"] not in ("GET", "HEAD"):
            app = PlainTextResponse("The viewer only reads.\n", 405, {"Allow": "GET, HEAD"})
        await app(scope, receive, sealed)
