"""An experiment in its run folder: opened or resumed, locked, computed, its findings kept, marked complete last."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import torch

from thalweg import threads
from thalweg._files.writing import temporary_folder, write_bytes, writing_to
from thalweg.errors import InputError
from thalweg.experiments.framework.config import ExperimentConfig, sources_in
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.options import validated
from thalweg.runs import Run
from thalweg.runs.environment import RECORDED
from thalweg.runs.layout import RunFiles, folder_name
from thalweg.runs.lock import locked
from thalweg.runs.unsealed import doubting
from thalweg.sources import PYTHON
from thalweg.subjects.code import allow, allowed, located

__all__ = ["admit", "compute", "execute", "load_findings", "reopen", "start"]


def execute(name: str, config: ExperimentConfig, root: str | Path = "runs", command: str = "") -> Run:
    """Run an experiment to its end, from wherever an earlier attempt stopped.

    The run folder is named after the configuration: calling this again resumes an interrupted run at its last commit,
    with results identical to an undisturbed one, and returns at once if the run is complete. Reports are rendered from
    the saved findings by :func:`thalweg.report.write`.

    Args:
        name: Which experiment.
        config: Its configuration.
        root: Folder of all runs.
        command: The command line, kept in ``environment.json``; empty if called from Python.

    Raises:
        InputError: Unknown experiment, a configuration of another experiment, a device that this machine lacks, sizes
            that it has no memory for, data that are not there, or a run that another process is writing.
        OSError: The folder cannot be written.
    """
    run = start(name, config, root, command)
    compute(run)
    return run


def start(
    name: str, config: ExperimentConfig, root: str | Path = "runs", command: str = "", *, fresh: bool = False
) -> Run:
    """Open or make the run folder of a configuration, without computing anything.

    Args:
        name: As :func:`execute`, like the next three.
        config: See there.
        root: See there.
        command: See there.
        fresh: Remove first what an earlier run of this configuration has kept.

    Raises:
        InputError: As :func:`execute`.
    """
    experiment = find(name)
    if type(config) is not experiment.config:
        raise InputError(f"config must be a Config of {name}, found {type(config).__module__}.{type(config).__name__}")
    _check_device(config.device)
    allow(config.sources)  # whoever begins a run has named them
    config.check_sizes(root)
    path = Path(root) / folder_name(name, config.model_dump(mode="json"))
    if fresh or not os.path.lexists(path):  # what a run has computed needs no data any more
        config.check_data()

    def create() -> Run:
        return Run.create(
            root,
            name,
            config.model_dump(mode="json"),
            seed=config.seed,
            device=config.device,
            data_checksum=None,  # the experiment tells it as soon as it has read its data
            command=command,
        )

    if fresh:
        _discard(path)
    return create()


def reopen(path: str | Path) -> Run:
    """Open a run that was started before.

    Raises:
        InputError: The folder is no run, or its experiment or configuration is not known to this version.
    """
    run = Run.open(path)
    _refuse_recorded(run, "be continued")
    _configuration(run)
    return run


def compute(run: Run) -> Findings:
    """Do what is missing in a run; a complete one is left as it is.

    Returns:
        What was found, the same whether it was computed now or before.

    Raises:
        InputError: Another process is writing the run, or its configuration is not valid.
    """
    if run.state == "complete":
        return load_findings(run)
    experiment, config = find(run.experiment), _configuration(run)
    _check_device(config.device)
    with run.writing(), _threads(config.threads):
        _keep_sources(config, run)
        with doubting(run.ledger):
            found = experiment.run(config, run)
        run.save("findings", found.to_json())
        run.complete()
    return found


def load_findings(run: Run) -> Findings:
    """What a run has found, if all its files are what was written.

    Raises:
        InputError: The run has not come to its end, or one of its files is damaged.
    """
    _refuse_recorded(run, "be reported")
    if run.state != "complete":
        run.check(content=False)  # the mark of completion may be what is missing
        raise InputError(f"run {run.path} has no findings, it is {run.state}: `thalweg resume {run.path}` completes it")
    run.check()
    try:
        return Findings.from_json(run.load("findings"))
    except InputError as error:
        file = run.files.results / "findings.json"
        raise error if str(file) in str(error) else InputError(f"{file} is corrupt: {error}") from None


def admit(run: Run, files: Iterable[str | Path]) -> None:
    """Let a run that was begun before use the user's files that are named now: code that is not named is not run.

    Args:
        run: The run, also one that somebody else has made, or a sweep.
        files: Files of code and of data.

    Raises:
        InputError: A file that the run does not use, as it is now; or code of the run that is not among them.
    """
    used = sources_in(run.config)
    for file in map(str, files):
        mine = [one for one in used if replace(one, path=file).stamped().sha256 == one.sha256]
        if not mine:
            raise InputError(f"source {file} must be a file that the run uses, unchanged, found another")
        allow(replace(one, path=file) for one in mine)
    for one in used:
        if one.name and not allowed(one):
            if one.path == PYTHON:
                words = "was an object of the program that began it: call thalweg.experiments.run again"
                raise InputError(f"run {run.path} cannot be continued here, {one.name} {words}")
            raise InputError(
                f"run {run.path} runs code of {one.path}, which must be named to be run: "
                f"`thalweg resume {run.path} --source {one.path}`"
            )


def _keep_sources(config: ExperimentConfig, run: Run) -> None:
    """Copies of the texts of the user's code beside the run; data stay where they are, their checksums are recorded."""
    for one in config.sources:
        found = located(one)
        for file in found.files if one.name else ():
            copy = run.files.folder / "sources" / file.relative_to(Path(found.path).parent)
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(copy, file.read_bytes())


def _discard(path: Path) -> None:
    """Remove a run, damaged or not, that nobody writes: moved aside, so that no half-removed run is ever seen."""
    files = RunFiles(path)
    signs = (files.config, files.environment, files.checksums)
    if not any(map(os.path.lexists, signs)):  # no run of ours; making one there will say so
        return
    aside = temporary_folder(path.parent, path.name)
    with locked(files.lock), writing_to(path):
        path.rename(aside)
    shutil.rmtree(aside)


def _refuse_recorded(run: Run, what: str) -> None:
    """A run whose training loop is its owner's own holds what was recorded, and no experiment knows more of it."""
    if run.environment.get("command") == RECORDED:
        raise InputError(
            f"run {run.path} was recorded from a training loop of your own and cannot {what} by thalweg: "
            f"`thalweg report {run.path}` shows it, Run.open({str(run.path)!r}) reads it in Python"
        )


def _configuration(run: Run) -> ExperimentConfig:
    try:
        experiment, said = find(run.experiment), run.config
    except InputError as error:
        raise InputError(f"run {run.path} cannot be continued by this version: {error}") from error
    try:
        return validated(experiment.config, said)
    except InputError as error:
        raise InputError(f"run {run.path} cannot be continued by this version: {error} (in config.json)") from error


def _check_device(name: str) -> None:
    device = torch.device(name)
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count()
        raise InputError(f"device must be one of this machine, found '{name}' where torch sees {count} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("device must be one of this machine, found 'mps' where torch sees none")


def _threads(count: int | None) -> AbstractContextManager[object]:
    """Small operations take one thread; instruments take more where their operations are large."""
    return threads.chosen(0.0) if count is None else threads.fixed(count)
