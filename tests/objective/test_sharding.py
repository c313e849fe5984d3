"""Sharded objectives: two and three processes against the whole objective in one, in float64."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.objective import sharded_process
from thalweg.errors import InputError
from thalweg.objective import sharded

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=[2, 3])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """What so many processes have found."""
    where, world = tmp_path_factory.mktemp("processes"), request.param
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-W", "error", "-m", "tests.objective.sharded_process"]
    logs = [(where / f"log-{rank}").open("w+") for rank in range(world)]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(world), str(where)], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        for rank, log in enumerate(logs)
    ]
    try:
        codes = [process.wait(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()  # nothing stays behind, whatever happened
            process.wait()
        for log in logs:
            log.close()
    assert codes == [0] * world, "\n".join((where / f"log-{rank}").read_text() for rank in range(world))
    return where, world


@pytest.mark.parametrize("case", [*sharded_process.CASES, "own"])
def test_every_process_finds_what_one_process_alone_finds(folder: tuple[Path, int], case: str) -> None:
    where, world = folder
    torch.manual_seed(0)
    expected = sharded_process.measured(sharded_process.CASES["stack" if case == "own" else case]())
    first = np.load(where / f"{case}-0.npz")
    for rank in range(world):
        found = np.load(where / f"{case}-{rank}.npz")
        assert sorted(found) == sorted(expected)
        for name, values in expected.items():
            assert np.array_equal(found[name], first[name]), (name, rank)  # the same bits everywhere
            scale = float(values.abs().max())
            assert found[name] == pytest.approx(values.numpy(), rel=1e-12, abs=1e-12 * scale), name


SENTENCES = {
    "theta": "theta must be the same in every process",
    "v": "v must be the same in every process",
    "few samples": "data must hold at least one sample for each of the {world} processes, found {fewer}",
    "few batches": "data must hold at least one batch for each of the {world} processes, found 1",
    "one batch": "data must be whole batches .give batch_size",
    "order": "data must be the same in the same order in every process",
    "order of batches": "data must be the same in the same order in every process",
    "recomputed": "batchnorm must be 'frozen' or 'batch' .* found 'recomputed'",
    "recomputed later": "found one sharded over {world}",
    "loader": "data must fit in memory .* data='own'",
    "options": "with the same options in every process",
    "again": "found one that is sharded",
    "choice": "data must be 'whole' or 'own', found 'half'",
    "outputs": "all data in one process for this, found one sharded over {world}",
    "subset": "found data that are sharded",
    "training None": "found one sharded over {world}",
    "training 8": "found one sharded over {world}",
    "training given": "found one sharded over {world}",
}


@pytest.mark.parametrize("case", SENTENCES)
def test_mistakes_are_answered_in_every_process(folder: tuple[Path, int], case: str) -> None:
    where, world = folder
    pattern = SENTENCES[case].format(world=world, fewer=world - 1)
    for rank in range(world):
        found = json.loads((where / f"refused-{rank}.json").read_text())
        assert re.search(pattern, found[case]), found[case]


def test_the_page_runs_under_torchrun(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "own-model.md").read_text()
    (block,) = re.findall(r"^# shared\.py.*?(?=^```$)", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "shared.py").write_text(block)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "shared.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"2500 samples: eigenvalues \[.*\], trace \d+\.\d+\n", done.stdout)


def test_without_processes() -> None:
    with pytest.raises(InputError, match="must be initialised"):
        sharded(sharded_process.CASES["stack"]())
