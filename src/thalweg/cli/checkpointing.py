"""Commands for checkpoints of other programs: ``thalweg import`` and ``thalweg analyze``."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg import checkpoints, subjects
from thalweg.analysis import Analysis
from thalweg.analysis import analyze as measure
from thalweg.cli.common import watched
from thalweg.cli.printing import complain, say
from thalweg.errors import InputError
from thalweg.experiments.framework.options import plain_value, read_arguments
from thalweg.runs import Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thalweg.objective import Objective
    from thalweg.runs import MemoryRecording, Run
    from thalweg.subjects import Subject

__all__ = ["analyze", "finish", "import_checkpoints"]

COMMANDS = {"analysis": "analyze", "checkpoints": "import"}  # what makes a run of each kind


def import_checkpoints(options: argparse.Namespace) -> None:
    """Make a run of checkpoints: their weights and steps and, where data are given, loss and metrics at each."""
    arguments = _arguments(options)
    subject, recording, objectives = _read(options, arguments, options.paths)
    run = _created("checkpoints", options, arguments, recording, subject, {})
    if run.state == "complete":
        say(f"imported already: {run.path}")
        return
    with watched(), run.writing():
        checkpoints.record(recording, run.recording(), objectives)
        run.complete()
    steps = recording.steps.tolist()
    said = recording.meta["steps"]
    words = "in the order of their names" if said == "order" else f"{said} {steps[0]} to {steps[-1]}"
    count = f"{len(steps)} checkpoint{'s' if len(steps) > 1 else ''}"
    say(f"{count} of {recording.snapshots.shape[2]:,} parameters, {words}")
    say(f"run: {run.path}")


def analyze(options: argparse.Namespace) -> None:
    """Measure trained weights with all instruments and write one report."""
    if not options.minutes > 0:
        raise InputError(f"minutes must be positive, found {options.minutes:g}")
    if options.out is not None and options.out.suffix.lower() not in (".html", ".pdf"):
        raise InputError(f"--out must end in .html or .pdf, found '{options.out.name}'")
    arguments = _arguments(options)
    subject, recording, objectives = _read(options, arguments, options.checkpoint)
    run = _created("analysis", options, arguments, recording, subject, {"minutes": options.minutes})
    several = f"{len(recording.steps)} checkpoints"
    name = f"{subject.label}: {several if len(recording.steps) > 1 else Path(options.checkpoint[0]).name}"
    finish(run, recording, objectives, name, options.out)


def finish(
    run: Run, recording: MemoryRecording, objectives: Mapping[str, Objective], name: str, out: Path | None = None
) -> None:
    """Measure what is missing in the run of an analysis, write the report, say what was found.

    Args:
        run: Which; its configuration says in how many minutes.
        recording: The checkpoints.
        objectives: The loss on "train" and, where there are test data, on "test".
        name: Title of the report.
        out: Where the report goes; default: into the run's folder.
    """
    complain(f"{'complete already' if run.state == 'complete' else 'running'}: {run.path}")
    if run.state == "complete":
        found: Analysis = run.load("analysis")
    else:
        try:
            with watched(), run.writing():
                train, test = objectives["train"], objectives.get("test")
                found = measure(train, recording, test=test, minutes=run.config["minutes"], run=run, name=name)
                run.save("analysis", found)
                run.complete()
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command continues") from None
    target = out or run.files.report
    found.write(target)
    say(found.summary())
    for sentence in found.omissions:
        say(f"left out: {sentence}")
    say(f"report: {target}")


def _arguments(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Keyword arguments of the model and of a function of data."""
    found: dict[str, dict[str, Any]] = {"model.args": {}, "data.args": {}}
    for name, value in read_arguments(options.rest).items():
        table, dot, key = name.rpartition(".")
        if not dot or table not in found:
            raise InputError(f"unknown option '--{name}': use --model.args.NAME or --data.args.NAME")
        found[table][key] = plain_value(value) if isinstance(value, str) else [plain_value(one) for one in value]
    return found


def _read(
    options: argparse.Namespace, arguments: Mapping[str, dict[str, Any]], paths: list[str]
) -> tuple[Subject | Any, MemoryRecording, dict[str, Objective]]:
    """The subject with the weights of a checkpoint, all checkpoints, and the losses on its data."""
    sources = checkpoints.find(paths)
    if options.data is None:
        for name in ("metrics", "target"):
            if getattr(options, name):
                raise InputError(f"--{name} goes with --data, found none")
    subject = subjects.load(
        model=options.model,
        data=options.data or options.model,
        loss=options.loss,
        metrics=options.metrics,
        model_args=arguments["model.args"],
        data_args=arguments["data.args"],
        target=options.target,
    )
    module = subject.module()
    checkpoints.restore(module, str(sources[-1]))
    if options.data is None:
        return subject, checkpoints.load(module, paths), {}
    subject = replace(subject, model=module, model_args={}, name=subject.label)
    objectives = subject.objectives()
    return subject, checkpoints.load(objectives["train"], paths), objectives


def _created(
    experiment: str,
    options: argparse.Namespace,
    arguments: Mapping[str, Any],
    recording: MemoryRecording,
    subject: Subject,
    more: Mapping[str, Any],
) -> Run:
    """The run folder, named after what the numbers depend on."""
    named = {name: str(source) for name, source in subject.sources.items() if name != "data" or options.data}
    config = {
        **named,
        "loss": named.get("loss", options.loss),
        "target": options.target,
        **{name: value for name, value in arguments.items() if value},
        "checkpoints": [[one["path"], one["sha256"]] for one in recording.meta["checkpoints"]],
        **more,
    }
    return Run.create(
        options.root,
        experiment,
        config,
        seed=0,
        device="cpu",
        data_checksum=subject.task().checksum if options.data else None,
        command=shlex.join(["thalweg", COMMANDS[experiment], *options.typed]),
    )
