"""A report on paper: PDF, by whichever browser of Chromium's family is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from thalweg.errors import InputError
from thalweg.runs.files import write_bytes

__all__ = ["PRINTERS", "pdf", "printer"]

PRINTERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
"""Programs that can print a page, first choice first."""

PATIENCE = 300.0  # seconds; twenty figures take about ten


def printer() -> str | None:
    """The program that prints, None if there is none."""
    return next(filter(None, map(shutil.which, PRINTERS)), None)


def pdf(page: Path) -> Path:
    """Print a report into a PDF of the same name beside it.

    Args:
        page: The HTML file.

    Returns:
        The path of the PDF.

    Raises:
        InputError: No program that prints is installed, or it fails.
        WriteError: The file cannot be written.
    """
    program = printer()
    if program is None:
        raise InputError(
            f"cannot print {page} as PDF: none of {', '.join(PRINTERS)} is installed; open it in any browser and print"
        )
    with tempfile.TemporaryDirectory(prefix="thalweg-print-") as folder:
        printed = Path(folder) / "page.pdf"
        flags = ["--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer"]
        flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/profile"]
        if getattr(os, "geteuid", lambda: 1)() == 0:
            flags.append("--no-sandbox")  # which Chromium refuses to do without for root, as in a container
        command = [program, *flags, f"--print-to-pdf={printed}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise InputError(f"cannot print {page} as PDF: {program} took more than {PATIENCE:g} seconds") from None
        if not printed.is_file():
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise InputError(f"cannot print {page} as PDF: {program} failed with exit code {done.returncode}: {said}")
        target = page.with_suffix(".pdf")
        write_bytes(target, printed.read_bytes())
    return target
