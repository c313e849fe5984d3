"""One self-contained page per run: what was asked, what was measured, the figures, the settings.

The page opens offline, anywhere: styles, scripts, plotly.js (once) and all data are inside it. Figures are interactive,
with a static picture in their place on paper and where scripts are off. Everything is made from what the run has kept;
nothing is computed again. Beside the page, ``figures/`` holds every figure as PNG, SVG and JSON.

``write(run)`` is all there is to call; ``write([run, other], "both.html")`` makes one document of several runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.errors import InputError

if TYPE_CHECKING:
    from thalweg.experiments.findings import Findings
    from thalweg.runs import Run

__all__ = ["write"]


def write(
    runs: Run | Sequence[Run],
    path: str | os.PathLike[str] | None = None,
    *,
    findings: Findings | Sequence[Findings] | None = None,
    title: str = "",
) -> Path:
    """Write the report of one run, or one report of several, and the figures into the folder of each run.

    Args:
        runs: Complete runs, or a single one.
        path: Where; default ``report.html`` in the run's folder, of several runs in the folder around the first.
        findings: What each run has found; default what it has kept.
        title: Heading; default the experiment's summary, or how many runs there are.

    Returns:
        The path of the page.

    Raises:
        InputError: No run, a run without findings, or not as many findings as runs.
        WriteError: A file cannot be written.
    """
    from thalweg import progress
    from thalweg.report.page import rendered
    from thalweg.report.pictures import draw
    from thalweg.report.section import section
    from thalweg.runs import Run
    from thalweg.runs.files import write_bytes

    chosen = [runs] if isinstance(runs, Run) else list(runs)
    if not chosen:
        raise InputError("runs must hold at least one run, found none")
    if findings is None:
        from thalweg.experiments.execution import load_findings

        found = [load_findings(run) for run in chosen]
    else:
        found = list(findings) if isinstance(findings, Sequence) else [findings]
    if len(found) != len(chosen):
        raise InputError(f"findings must be one for each of the {len(chosen)} runs, found {len(found)}")
    default = chosen[0].files.report if len(chosen) == 1 else chosen[0].path.parent / "report.html"
    target = Path(path) if path is not None else default
    sections = []
    total = sum(len(one.figures) for one in found)
    with progress.track("drawing figures", total=max(1, total)) as advance:
        done = 0
        for number, (run, one) in enumerate(zip(chosen, found, strict=True), start=1):
            pictures = []
            for figure in one.figures:
                pictures.append(draw(figure, run.files.figures, target.parent))
                done += 1
                advance(done)
            sections.append(section(run, one, pictures, key=f"run{number}"))
    write_bytes(target, rendered(sections, title))
    return target
