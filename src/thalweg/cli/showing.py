"""Commands that show, report and export what there is."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from thalweg import report, tasks
from thalweg.cli.common import open_run, watched
from thalweg.cli.printing import WIDEST, complain, say
from thalweg.errors import InputError, one_line
from thalweg.progress import duration, storage
from thalweg.report.settings import experiment_of
from thalweg.runs import Run
from thalweg.runs.finding import lines
from thalweg.viewer.listing import DAMAGE, described

__all__ = ["manage_data", "show_runs", "write_export", "write_report"]


def show_runs(options: argparse.Namespace) -> None:
    """A table of all runs; one that is damaged says so in its line."""
    runs = lines(options.root)
    if not runs:
        say(f"no runs in {options.root}")
        return
    names = [one_line(run.name, WIDEST) for run in runs]
    longest = max(map(len, names))
    table = Table(box=box.SIMPLE)
    table.add_column("run", min_width=longest)
    table.add_column("state", min_width=len("interrupted"))
    table.add_column("size", justify="right", min_width=7)
    table.add_column("age", justify="right", min_width=11)
    table.add_column("preset", min_width=6)
    table.add_column("differs from it in, or what went wrong", overflow="fold")
    for name, run in zip(names, runs, strict=True):
        preset, changes = _settings(options.root / run.name)
        differs = one_line(run.message) or ", ".join(changes)
        words = (name, run.state, storage(run.size), duration(run.age), preset, differs)
        table.add_row(*map(Text, words))  # plain text: brackets in a name are no markup
    # A narrow terminal breaks the lines itself: a name that is cut short cannot be typed.
    Console(width=max(Console().width, longest + 96)).print(table)


def _settings(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The preset that a run's settings are closest to, and what differs from it; nothing where they cannot be read."""
    try:
        run = Run.open(folder)
        return described(experiment_of(run), run.config)
    except DAMAGE:
        return "", ()


def write_report(options: argparse.Namespace) -> None:
    """Write a report again, or one of several runs, or that of the course; print it on demand."""
    from pypdf import PdfReader

    from thalweg.report.handin import PAGES

    runs = [open_run(name, options.root) for name in options.runs]
    chosen = {name: getattr(options, name) for name in ("course", "questions", "figures", "comments")}
    if options.whole and not options.pdf:
        raise InputError("--whole must stand beside --pdf: the page for the browser is always whole")
    with watched():
        page = report.write(runs, options.output, **chosen)
    say(f"report: {page}")
    if options.pdf:
        printed = report.write(runs, page.with_suffix(".pdf"), **chosen, whole=options.whole)
        say(f"printed: {printed}")
        pages = len(PdfReader(printed).pages) if options.course and not options.whole else 0
        if pages > PAGES:
            complain(f"it has {pages} pages, more than {PAGES}: shorten the comments, or choose fewer questions")


def write_export(options: argparse.Namespace) -> None:
    """Write a run in another format."""
    from thalweg.runs import exporting

    run = open_run(options.run, options.root)
    if options.to in exporting.FORMATS:
        say(exporting.export(run, options.to))
    else:  # formats of surfaces, which know torch
        from thalweg.landscape.exporting import export

        run.check()
        say(export(run, options.to))


def manage_data(options: argparse.Namespace) -> None:
    """List, fetch or locate data sets."""
    match options.action:
        case "list":
            for row in tasks.list_data():
                place = row.found or "not here"
                say(f"{row.name:<14} {row.what}")
                say(f"{'':<14} {place}{f': {row.note}' if row.note else ''}")
        case "where":
            for place in tasks.where():
                say(f"{place.path}  ({place.what}{'' if place.exists else ', does not exist'})")
        case "fetch":
            with watched():
                say(tasks.fetch(options.name))
