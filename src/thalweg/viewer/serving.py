"""The server: on this machine's own address, until it is interrupted."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

from thalweg.errors import InputError

__all__ = ["PORT", "serve"]

HOST = "127.0.0.1"  # nobody else's machine can ask
PORT = 8321
"""Where the viewer is found unless told otherwise."""


def serve(
    root: str | os.PathLike[str] = "runs", *, port: int = PORT, ready: Callable[[str], object] = lambda _: None
) -> None:
    """Show the runs below a folder in the browser, until Ctrl-C.

    Args:
        root: Folder of all runs; one that does not exist yet is empty.
        port: Of 127.0.0.1; 0 takes any that is free.
        ready: Called with the address as soon as it answers.

    Raises:
        InputError: `root` is a file, the port is taken or none, or starlette and uvicorn are not installed.
        KeyboardInterrupt: Ctrl-C, after the last answers were given.
    """
    folder = Path(root)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"root must be a folder of runs, found the file {folder}")
    if not 0 <= port <= 65535:
        raise InputError(f"port must be a number from 0 to 65535, found {port}")
    try:
        import uvicorn

        from thalweg.viewer.application import application
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise InputError('the viewer needs starlette and uvicorn, use `pip install "thalweg[viewer]"`') from None
    config = uvicorn.Config(
        application(folder),
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    with _listening(port) as listening:
        ready(f"http://{HOST}:{listening.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listening])


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = "is in use already; choose another by --port, 0 for any that is free"
        else:
            why = f"cannot be used: {(error.strerror or 'unknown reason').lower()}"
        raise InputError(f"port {port} of {HOST} {why}") from None
