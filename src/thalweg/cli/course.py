"""The command ``thalweg course``: every experiment of the course, one document of all."""

from __future__ import annotations

import argparse
import shlex
import traceback
from dataclasses import dataclass
from pathlib import Path

from thalweg import report
from thalweg.cli.printing import WIDEST, complain, say
from thalweg.cli.running import finish
from thalweg.errors import InputError
from thalweg.experiments import ExperimentConfig, find
from thalweg.experiments.framework.estimates import Estimate, estimate, time_words
from thalweg.experiments.framework.execution import start
from thalweg.report import course as questions
from thalweg.runs import Run
from thalweg.runs.finding import is_run
from thalweg.runs.layout import folder_name

__all__ = ["TOUR", "course"]

TOUR = "How neural networks learn: a quick tour of the course"
"""Title of the document of preset quick, whose data and trainings are smaller than those of the course."""


@dataclass(frozen=True)
class _Part:
    """One experiment of the course, as far as it has come."""

    name: str
    config: ExperimentConfig
    run: Run | None
    estimate: Estimate

    @property
    def complete(self) -> bool:
        return self.run is not None and self.run.state == "complete"


def course(options: argparse.Namespace) -> None:
    """Run what is missing of all experiments, then write the document of all that came to their end.

    Raises:
        SystemExit: With code 1, if an experiment failed.
        InputError: An experiment that cannot begin, such as for lack of its data; then none has begun.
    """
    parts = _parts(options.preset, options.runs)
    missing = [part for part in parts if not part.complete]
    _announce(parts, missing, options.preset)
    again = shlex.join(["thalweg", "course", "--preset", options.preset, "--runs", str(options.runs)])
    runs, failed = [], []
    for number, part in enumerate(parts, 1):
        complain(f"{number} of {len(parts)}: {part.name}")
        try:
            runs.append(_finished(part, options.runs, options.preset))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; `{again}` continues") from None
        except (InputError, OSError) as error:
            complain(f"thalweg: {part.name}: {error}")
            failed.append(part.name)
        except Exception:  # noqa: BLE001 - a fault of ours in one experiment must not keep the others from running
            traceback.print_exc()
            failed.append(part.name)
    if runs:
        _write(runs, options.preset)
    if failed:
        complain(f"thalweg: {len(failed)} of {len(parts)} failed: {', '.join(failed)}; `{again}` tries again", WIDEST)
        raise SystemExit(1)


def _parts(preset: str, root: Path) -> list[_Part]:
    """All experiments of the course in its order, with what earlier attempts have kept; nothing is begun."""
    found = []
    for name in (*questions.experiments(), *questions.FURTHER):
        config = find(name).preset(preset)
        path = root / folder_name(name, config.model_dump(mode="json"))
        run = Run.open(path) if is_run(path) else None
        if run is None:
            config.check_sizes(root)
            config.check_data()
        done = run is not None and run.state == "complete"
        found.append(_Part(name, config, run, Estimate({}) if done else estimate(config, run)))
    return found


def _announce(parts: list[_Part], missing: list[_Part], preset: str) -> None:
    """How long it will take: one line before anything begins."""
    before = f", {len(parts) - len(missing)} of them complete already" if len(missing) < len(parts) else ""
    if not missing:
        complain(f"all {len(parts)} experiments are complete already")
        return
    limits = "at most " if any(part.estimate.at_most for part in missing) else ""
    words = f"{limits}{time_words(sum(part.estimate.seconds for part in missing))}"
    faster = "; --preset quick: minutes, on smaller data" if preset != "quick" else ""
    complain(f"{len(parts)} experiments{before}: {words}{faster}")


def _finished(part: _Part, root: Path, preset: str) -> Run:
    run = start(part.name, part.config, root, shlex.join(["thalweg", "run", part.name, "--preset", preset]))
    finish(run, part.estimate)
    return run


def _write(runs: list[Run], preset: str) -> None:
    say(f"report: {report.write(runs, title=TOUR if preset == 'quick' else '', course=True)}")
