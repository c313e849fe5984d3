"""Runs the whole course and writes how long each experiment took into docs/from-the-exercise.md.

    python benchmarks/course.py                 # both presets, about two hours on two cores
    python benchmarks/course.py --preset quick  # the tour alone
    python benchmarks/course.py --table         # only the table, from runs that are there already
    python benchmarks/course.py --pictures      # the pictures of README and docs, from the runs of `course`

Every experiment runs as a command of its own, as a user starts it; the time is that of the command, with its start,
estimate and report. Beside it stands what was estimated before the run. A finished experiment is not run again: its
time is that which it took then. Machine and load matter: run it alone.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from thalweg.experiments import find
from thalweg.experiments.framework.estimates import estimate
from thalweg.experiments.framework.execution import load_findings
from thalweg.report.course import FURTHER, experiments
from thalweg.runs import find_runs

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "from-the-exercise.md"
PRESETS = ("quick", "course")
ENTRY = "from thalweg.cli import entry; entry()"
LIMIT, ALL = 20.0, 90.0  # minutes that `course` may take: each experiment, and all of them together


def measured(name: str, preset: str, root: Path) -> float | None:
    """Minutes of one experiment, with one line about it; None if it failed."""
    guess = estimate(find(name).preset(preset)).seconds
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", ENTRY, "run", name, "--preset", preset, "--root", str(root)])
    minutes = (time.monotonic() - began) / 60
    failed = "" if done.returncode == 0 else "  FAILED"
    print(f"{name:<18} {preset:<7} {minutes:7.2f} min, estimated {guess / 60:7.2f}{failed}", flush=True)
    return None if failed else minutes


def table(times: dict[str, dict[str, float]]) -> str:
    """The rows of all experiments and their sum; what was not measured is left empty."""
    lines = ["| experiment | `quick` | `course` |", "|---|---|---|"]
    names = (*experiments(), *FURTHER)
    for name in names:
        cells = [times.get(preset, {}).get(name) for preset in PRESETS]
        lines.append(f"| `{name}` | {' | '.join('' if cell is None else f'{cell:.1f}' for cell in cells)} |")
    sums = [times.get(preset, {}) for preset in PRESETS]
    total = [f"{sum(one.values()):.0f}" if set(names) <= one.keys() else "" for one in sums]
    return "\n".join([*lines, f"| all | {' | '.join(total)} |"])


def pictures(root: Path) -> None:
    """The first figure of every experiment, as it was found at the scale of the course."""
    for run in find_runs(root):
        if run.state == "complete" and run.config == find(run.experiment).preset("course").model_dump(mode="json"):
            load_findings(run).figures[0].save(DOCS / "pictures" / f"{run.experiment}.png", dpi=120)


def main() -> None:
    """Runs what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, action="append")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--pictures", action="store_true")
    options = parser.parse_args()
    if options.pictures:
        return pictures(options.runs)
    kept = options.runs / "times.json"
    times = json.loads(kept.read_text()) if kept.is_file() else {}
    for preset in () if options.table else options.preset or PRESETS:
        for name in (*experiments(), *FURTHER):
            if name in times.get(preset, {}):
                continue
            minutes = measured(name, preset, options.runs)
            if minutes is not None:
                times.setdefault(preset, {})[name] = minutes
                options.runs.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(times, indent=1))
    text = PAGE.read_text(encoding="utf-8")
    block = f"<!-- times -->\n{table(times)}\n<!-- /times -->"
    PAGE.write_text(re.sub(r"<!-- times -->.*<!-- /times -->", block, text, flags=re.DOTALL), encoding="utf-8")
    print(table(times))
    course = times.get("course", {})
    if any(minutes > LIMIT for minutes in course.values()) or sum(course.values()) > ALL:
        sys.exit(f"an experiment of course takes more than {LIMIT:g} minutes, or all take more than {ALL:g}")


if __name__ == "__main__":
    main()
