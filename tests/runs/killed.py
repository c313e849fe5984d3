"""A training that is killed and resumed; run as a program by test_crash.py.

The process imports torch and polars once and forks a child for every attempt, so that dozens of kills take seconds. It
uses neither itself: threads that they start would not survive a fork.

Usage: killed.py ROOT every        one run per moment: killed just before and just after a file is replaced or removed
       killed.py ROOT random SEED  one run, killed eight times at random moments
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import torch

from thalweg.runs import FolderRecording, Run, export

LOADED = (pl, FolderRecording, export)  # imported here so that the children need not
STEPS, EVERY, SHAPE = 8, 3, (2, 40)
ORIGIN = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "killed"}


def train(root: Path, pause: float = 0.0) -> None:
    """A walk whose every step depends on all before it, and on the generator's state."""
    run = Run.create(root, "walk", {"steps": STEPS}, **ORIGIN)
    if run.state == "complete":
        return
    with run.writing():
        recording = run.recording()
        generator = torch.Generator().manual_seed(0)
        theta, first = torch.zeros(SHAPE), 0
        seen = len(recording.snapshots[:])  # whatever happened, what is there can be read whole
        restored = recording.restore()
        if restored is not None:
            state, meta = restored
            theta, first = state["theta"], meta["step"] + 1
            generator.set_state(state["generator"])
        if seen != first or recording.metrics.height != first * SHAPE[0]:
            raise RuntimeError(f"{seen} snapshots and {recording.metrics.height} rows are no commit (at {first})")
        for step in range(first, STEPS) if not recording.finished else ():
            theta = theta * 0.9 + torch.randn(SHAPE, generator=generator)
            recording.append(step, step / 2, theta, {"loss": theta.norm(dim=1)})
            time.sleep(pause)
            if (step + 1) % EVERY == 0 or step + 1 == STEPS:
                recording.commit({"theta": theta, "generator": generator.get_state()}, {"step": step})
        if not recording.finished:
            recording.finish()
        run.cached("distance", lambda: {"last": theta})
        run.save("kind", {"number": 1})
        run.save("kind", {"numbers": theta})  # another kind of file in place of the first
        run.save("passing", {"number": 2})
        run.remove(["passing"])
        run.check()
        run.complete()


def forked(work: Callable[[], None]) -> int:
    """Start `work` in a child; gives its process id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def ended(child: int) -> bool:
    """Wait for a child: True if it ended well, False if it was killed; an error ends this program."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit("the child failed")
    return True


def killed_at(moment: int, root: Path) -> None:
    """Train, and kill this process at a moment: 0 is before the first change, 1 after it, 2 before the second."""
    count = 0

    def deadly(change: Callable[..., None]) -> Callable[..., None]:
        def changing(*arguments: object, **options: object) -> None:
            nonlocal count
            if moment == count:
                os.kill(os.getpid(), signal.SIGKILL)
            change(*arguments, **options)
            if moment == count + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 2

        return changing

    os.replace, os.unlink = deadly(os.replace), deadly(os.unlink)
    train(root)


def at_every_moment(root: Path) -> None:
    """Kill at moment 0, 1, 2 … until a training gets through; resume each."""
    for moment in range(1000):
        folder = root / f"{moment:03d}"
        through = ended(forked(lambda: killed_at(moment, folder)))  # noqa: B023 -- the child runs before the next turn
        if not ended(forked(lambda: train(folder))):  # noqa: B023 -- as above
            sys.exit("the resumed child was killed")
        if through:
            return


def at_random(root: Path, seed: int) -> None:
    """Kill eight times, each a while after the start; then let it finish."""
    draw = random.Random(seed)
    kills = 0
    while kills < 8:
        child = forked(lambda: train(root, pause=0.02))
        time.sleep(draw.uniform(0.0, 0.12))
        os.kill(child, signal.SIGKILL)
        kills += not ended(child)
        if Run.create(root, "walk", {"steps": STEPS}, **ORIGIN).state == "complete":
            break
    sys.stdout.write(f"{kills}\n")
    ended(forked(lambda: train(root)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.fsync = lambda descriptor: None  # it guards against power cuts, not against kills, and takes most of the time
    if sys.argv[2] == "every":
        at_every_moment(Path(sys.argv[1]))
    else:
        at_random(Path(sys.argv[1]), int(sys.argv[3]))
