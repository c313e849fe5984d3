"""A run with one damaged file is never taken as whole, never hangs, never ends in a traceback: the file is named."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import thalweg.experiments
from tests.runs.damage import inflict, unchecked, ways
from thalweg import cli
from thalweg.experiments import find
from thalweg.experiments.framework.execution import compute, start
from thalweg.runs import Run
from thalweg.viewer.application import application

EXTRA = Path(__file__).parent / "extra"
UNSEEN = ("checksums.json", "results/value.json")
"""Files that an old run has not, and what only its experiment could know to be wrong."""

PATIENCE = 20.0  # seconds after which a command counts as hanging
PAGES = ("/run/{}", "/run/{}?show=settings", "/run/{}?show=curves", "/run/{}?show=files", "/api/run/{}")
TOGETHER = ("/", "/api/runs", "/compare?run={}&run=whole", "/api/curves?run={}&run=whole", "/api/curves?run={}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Finished and interrupted, and of each another one with another seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thalweg.experiments, "__path__", [*thalweg.experiments.__path__, str(EXTRA)])
        root, found = tmp_path_factory.mktemp("made"), {}
        for kind, stop in (("finished", False), ("interrupted", True)):
            for seed in (0, 1):
                run = start("keeper", find("keeper").config(stop=stop, seed=seed), root / str(seed))
                try:
                    compute(run)
                except KeyboardInterrupt:
                    assert stop
                found[f"{kind} {seed}"] = run.path
        yield found


@contextmanager
def patience() -> Iterator[None]:
    """End what hangs."""

    def late(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


def same(first: Path, second: Path) -> bool:
    """Whether the damage was none: the bytes are what they were, or say the same in JSON."""
    if first.is_symlink() or not first.is_file():
        return False
    if first.read_bytes() == second.read_bytes():
        return True
    try:
        return first.suffix == ".json" and json.loads(first.read_bytes()) == json.loads(second.read_bytes())
    except (ValueError, RecursionError):
        return False


class Attack:
    """Damages copies of runs, and collects what did not answer as it should.

    Args:
        runs: Whole ones.
        root: Where the copies go.
        capsys: Holds what commands print.
        old: The copies are runs without checksums: damage that nothing shows is no fault then.
    """

    def __init__(
        self, runs: dict[str, Path], root: Path, capsys: pytest.CaptureFixture[str], *, old: bool = False
    ) -> None:
        self.runs, self.root, self.capsys, self.old = runs, root, capsys, old
        self.count, self.faults = 0, []
        shutil.copytree(runs["finished 1"], root / "whole")
        self.client = TestClient(application(root), base_url="http://127.0.0.1:8321")

    def command(self, *arguments: str) -> tuple[int, str, str]:
        with patience():
            code = cli.main(list(arguments))
        return code, *self.capsys.readouterr()

    def __call__(self, kind: str, name: str, way: str, draw: random.Random) -> None:
        whole = self.runs[f"{kind} 0"]
        folder = self.root / whole.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        if self.old:
            unchecked(folder)
        words = f"{kind}, {inflict(folder, self.runs[f'{kind} 1'], name, way, draw)}"
        if name != "lock" and not self.old and way != "copied" and same(folder / name, whole / name):
            return
        self.count += 1
        before = contents(folder)
        for check in (self.commands, self.listing, self.pages):
            try:
                check(kind, folder, name.rpartition("/")[2] if way != "copied" else "is none of the files", words)
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is what the test looks for
                self.capsys.readouterr()
                self.faults.append(f"{words}: {check.__name__}: {type(error).__name__}: {error}")
        # Nothing is computed over the damage; how a session ended may be noted, and what a kill left removed.
        after = contents(folder)
        for path in before if not self.old else ():
            if path not in ("state.json", "environment.json", "checksums.json") and before[path] != after.get(path):
                self.faults.append(f"{words}: {path} was written over")

    def commands(self, kind: str, folder: Path, named: str, words: str) -> None:
        wanted = [["resume"], ["export", "--to", "csv"], *([["report"]] if kind == "finished" else [])]
        for command, *rest in wanted:
            code, out, said = self.command(command, str(folder), *rest)
            if (code != 2 or not says(said, named, words)) and not self.old:
                self.faults.append(f"{words}: {command} answered {code}: {said or out}")

    def listing(self, kind: str, folder: Path, named: str, words: str) -> None:
        code, out, said = self.command("runs", "--root", str(self.root))
        if code != 0 or folder.name not in out or "whole" not in out:
            self.faults.append(f"{words}: runs answered {code}: {said or out}")

    def pages(self, kind: str, folder: Path, named: str, words: str) -> None:
        for page in (*PAGES, *TOGETHER):
            with patience():
                answer = self.client.get(page.format(folder.name))
            if answer.status_code not in (200, 404, 422) or ("whole" in page and answer.status_code == 422):
                self.faults.append(f"{words}: {page} answered {answer.status_code}")


def says(sentence: str, named: str, words: str) -> bool:
    """Whether an answer is one that names the file, or the other one of a swap."""
    names = [named, *([words.rpartition("swapped with ")[2].rpartition("/")[2]] if "swapped with" in words else [])]
    return "Traceback" not in sentence and any(name in sentence for name in names)


@pytest.fixture
def attack(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Attack:
    return Attack(runs, tmp_path, capsys)


def every(runs: dict[str, Path]) -> list[tuple[str, str, str]]:
    return [(kind, *way) for kind in ("finished", "interrupted") for way in ways(runs[f"{kind} 0"])]


def test_a_sample_of_all_damage(runs: dict[str, Path], attack: Attack) -> None:
    """Every way once, on files that change from way to way."""
    draw = random.Random(0)
    pairs = every(runs)
    draw.shuffle(pairs)
    for kind, name, way in {way: (kind, name, way) for kind, name, way in pairs}.values():
        attack(kind, name, way, draw)
    assert not attack.faults, "\n".join(attack.faults)
    assert attack.count >= 20


@pytest.mark.slow
def test_all_damage(runs: dict[str, Path], attack: Attack) -> None:
    for seed in range(3):
        for kind, name, way in every(runs):
            attack(kind, name, way, random.Random(f"{seed} {kind} {name} {way}"))
    print(f"{attack.count} damaged folders, {len(attack.faults)} faults")  # noqa: T201 -- for those who run it
    assert not attack.faults, "\n".join(attack.faults)


def test_a_sample_of_damage_without_checksums(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of an earlier version cannot show all damage; still nothing hangs or ends in a traceback."""
    attack, draw = Attack(runs, tmp_path, capsys, old=True), random.Random(1)
    pairs = [pair for pair in every(runs) if pair[1] not in UNSEEN]
    for kind, name, way in draw.sample(pairs, 25):
        attack(kind, name, way, draw)
    assert not attack.faults, "\n".join(attack.faults)


@pytest.mark.slow
def test_all_damage_without_checksums(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attack = Attack(runs, tmp_path, capsys, old=True)
    for seed in range(3):
        for kind, name, way in every(runs):
            if name not in UNSEEN:
                attack(kind, name, way, random.Random(f"{seed} {kind} {name} {way}"))
    print(f"{attack.count} damaged folders, {len(attack.faults)} faults")  # noqa: T201 -- for those who run it
    assert not attack.faults, "\n".join(attack.faults)


def test_undamaged_runs_answer(runs: dict[str, Path], attack: Attack) -> None:
    """The attack's own commands and pages succeed where nothing is wrong."""
    for kind in ("finished", "interrupted"):
        folder = attack.root / runs[f"{kind} 0"].name
        shutil.copytree(runs[f"{kind} 0"], folder)
        assert attack.command("export", str(folder), "--to", "csv")[0] == 0
        for page in (*PAGES, *TOGETHER):
            assert attack.client.get(page.format(folder.name)).status_code == 200, page
        assert "broken" not in attack.command("runs", "--root", str(attack.root))[1]
        Run.open(folder).check()
