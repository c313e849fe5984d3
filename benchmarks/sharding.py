"""How fast: Hessian-vector products of one objective on two processes against one, each with one thread.

    python benchmarks/sharding.py [--quick]

Both sides run in turn, in processes of their own that share nothing but the messages of gloo on this machine. A ratio
is that of the least time of a product over all turns: on two cores that other work uses as well it says little, for the
processes wait for each other; then look at the processor's time, which is that of the first process. The time of the
messages is measured alone, in the same turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from thalweg.objective import Objective, sharded


def dense() -> Objective:
    """A large MLP; closed formulas."""
    model = nn.Sequential(nn.Linear(784, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10))
    return Objective(model, nn.CrossEntropyLoss(), (torch.randn(10_000, 784), torch.randint(0, 10, (10_000,))))


def convolutional() -> Objective:
    """A convolutional network; a differentiated graph."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.Tanh(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2048, 10),
    )  # fmt: skip
    return Objective(model, nn.CrossEntropyLoss(), (torch.randn(512, 3, 32, 32), torch.randint(0, 10, (512,))))


CASES = {case.__name__: case for case in (dense, convolutional)}


def least(function: Callable[[], object], repetitions: int) -> tuple[float, float]:
    """Seconds, and seconds of the processor, of the fastest call, after one that warms up."""
    function()
    times, busy = [], []
    for _ in range(repetitions):
        dist.barrier()
        began, worked = time.perf_counter(), time.process_time()
        function()
        times.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
    return min(times), min(busy)


def process(rank: int, world: int, folder: str, repetitions: int) -> None:
    """One process: prints the times of every case."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    found = {}
    for name, make in CASES.items():
        torch.manual_seed(0)
        objective = sharded(make())
        theta = objective.theta
        v = torch.randn(objective.size, generator=torch.Generator().manual_seed(1))
        product, message = objective.products(theta), v.clone()
        sent, _ = least(lambda m=message: dist.all_reduce(m), repetitions)
        found[name] = [*least(lambda p=product, v=v: p(v), repetitions), sent]
    if rank == 0:
        print(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def turn(world: int, repetitions: int) -> dict[str, list[float]]:
    """Times of a product and of its message in so many processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--process"]
        started = [
            subprocess.Popen(
                [*command, str(rank), str(world), folder, str(repetitions)],
                env=environment,
                stdout=subprocess.PIPE if rank == 0 else None,
            )
            for rank in range(world)
        ]
        printed, _ = started[0].communicate(timeout=600)
        if any(one.wait(timeout=60) for one in started):
            raise SystemExit("a process failed")
    return json.loads(printed)


def main() -> None:
    """Runs both sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns and repetitions")
    parser.add_argument("--process", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.process:
        rank, world, folder, repetitions = chosen.process
        process(int(rank), int(world), str(Path(folder)), int(repetitions))
        return
    turns, repetitions = (2, 4) if chosen.quick else (5, 10)
    rounds = [(turn(1, repetitions), turn(2, repetitions)) for _ in range(turns)]
    print(f"torch {torch.__version__}, 1 thread a process, Python {sys.version.split()[0]}\n")
    print("| what | found | target | met |\n|---|---|---|---|")
    for name, make in CASES.items():
        (alone, worked), (two, share) = (
            [min(pair[side][name][i] for pair in rounds) for i in (0, 1)] for side in (0, 1)
        )
        message, objective = min(pair[1][name][2] for pair in rounds), make()
        times = (
            f"{1e3 * alone:.0f} ms -> {1e3 * two:.0f} ms; processor {1e3 * worked:.0f} ms -> {1e3 * share:.0f} ms each"
        )
        words = f"{alone / two:.2f}x ({times}; a message {1e3 * message:.1f} ms)"
        title = f"Hessian-vector product, {name}, {objective.size:,} parameters, {objective.samples:,} samples, float32"
        print(f"| {title}, 2 processes against 1 | {words} | >= 1.7x | {'yes' if alone / two >= 1.7 else 'NO'} |")


if __name__ == "__main__":
    main()
