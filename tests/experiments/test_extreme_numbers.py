"""Every number that a configuration takes, at its extremes: refused in a sentence, or computed; never a traceback.

The fields are read from the configurations, so that a new experiment or field is tried without a line here. A run that
is refused late, or that goes on beyond the limit in a loop that says how long it takes, is no fault; a traceback is,
and so is memory beyond its limit.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import traceback
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from thalweg.errors import InputError
from thalweg.experiments import discover, override
from thalweg.experiments.framework.execution import execute
from thalweg.experiments.framework.fields import rows

VALUES = ("0", "-1", "nan", "inf", "1e38", "1e308", "1000000000", "1000000000000000000")
EXPERIMENTS = tuple(discover())
BASES = ("training.", "data.", "model.")
"""Tables that experiments share: their fields are tried in one."""

SHARED_IN = "trajectory"
SECONDS = 60
MEMORY = 6 * 2**30

SAMPLE = [("trajectory", "l2", "1e38"), ("gradient-norm", "p", "1e308")]  # of what is computed; all of it is slow


def numeric(annotation: Any) -> bool:
    """Whether a field takes numbers."""
    members = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return False
    return any(map(numeric, members)) if members else annotation in (int, float)


def fields() -> Iterator[tuple[str, str]]:
    """All numeric fields of all experiments; shared ones once."""
    seen = set()
    for name in EXPERIMENTS:
        for row in rows(discover()[name].config):
            own = row.name.startswith(BASES) or row.name in ("seed", "threads", "replicas", "l2")
            if row.tables or not numeric(row.annotation) or (own and name != SHARED_IN):
                continue
            if row.name.startswith(("second.", "third.", "fourth.")) or (name, row.name) in seen:
                continue
            seen.add((name, row.name))
            yield name, row.name


def accepted(experiment: str, field: str, value: str) -> Any:
    """The configuration, or None where it is refused: then in one sentence that names the field."""
    found = discover()[experiment]
    try:
        config = override(found.preset("tiny"), {field: value})
        config.check_sizes(tempfile.gettempdir())
    except InputError as error:
        said = str(error)
        assert len(said) < 500, said
        assert said.isprintable()
        return None
    return config


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_values_are_refused_in_a_sentence_or_taken(experiment: str) -> None:
    """Validation and sizes alone: nothing is computed, so that this is quick for every field and value."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tried = refused = 0
    for name, field in fields():
        for value in VALUES if name == experiment else ():
            tried += 1
            refused += accepted(name, field, value) is None
    if tried:
        assert refused > tried / 4  # at least NaN and infinity are refused nearly everywhere
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def attempt(experiment: str, config: Any, sender: Any) -> None:
    """In a process of its own, with a limit of memory: says how it went."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with tempfile.TemporaryDirectory() as root:
        try:
            execute(experiment, config, root)
            sender.send("")
        except InputError as error:
            said = str(error)
            sender.send("" if said.isprintable() and len(said) < 1000 else f"no sentence: {said[:2000]}")
        except BaseException:  # noqa: BLE001  whatever it is, the test shows it
            sender.send(traceback.format_exc())


def outcome(experiment: str, field: str, value: str) -> str:
    """A traceback, or empty where the run was refused, came to its end or was still at work after the time."""
    config = accepted(experiment, field, value)
    if config is None:
        return ""
    fresh = multiprocessing.get_context("spawn")  # a fork of a process with threads may wait forever: no fault, then
    receiver, sender = fresh.Pipe(duplex=False)
    process = fresh.Process(target=attempt, args=(experiment, config, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(SECONDS) else ""
    except EOFError:
        return f"the process died: exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "field"), list(fields()))
def test_extremes_are_computed_or_refused(experiment: str, field: str) -> None:
    found = {value: outcome(experiment, field, value) for value in VALUES}
    assert {value: text for value, text in found.items() if text} == {}


@pytest.mark.parametrize(("experiment", "field", "value"), SAMPLE)
def test_a_sample_of_extremes(experiment: str, field: str, value: str, tmp_path: Path) -> None:
    assert outcome(experiment, field, value) == ""
