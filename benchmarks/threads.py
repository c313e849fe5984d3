"""How many threads: torch's default, one, and the number that Thalweg chooses, alone and beside a busy process.

    python benchmarks/threads.py [--quick] [NAME …]

Names: small, replicas, convolution, resnet; default all. The three sides of a row take turns in one process; times are
medians. Everything is measured twice: with threads that spin while they wait for each other, as in a program that
imports torch, and in a second process with threads that sleep, as under the `thalweg` command and in workers. The last
column is the time with the chosen number over the better of the other two.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from thalweg import threads
from thalweg.objective import Objective
from thalweg.training import Cadence, Recipe, train

NEVER = Cadence(every=10**9, unit="step")
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends with this process
Side = Callable[[], AbstractContextManager[object]]


class Block(nn.Module):
    """A residual block of He et al. 2016, with its normalisation frozen."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) plus what the layers make of them."""
        return torch.relu(x + self.layers(x))


def training(
    model: nn.Module, loss: nn.Module, data: tuple[torch.Tensor, torch.Tensor], replicas: int, recipe: Recipe
) -> tuple[Callable[[], object], int]:
    """A training of some steps, and how many they are."""
    objective = Objective(model, loss, data)
    theta = objective.initial(replicas)
    return lambda: train(objective, theta, recipe), recipe.steps or 1


def small() -> tuple[Callable[[], object], int]:
    """1-10-10-1, 128 samples, one replica: operations of a few microseconds."""
    x = torch.linspace(-1, 1, 128)[:, None]
    model = nn.Sequential(nn.Linear(1, 10), nn.Tanh(), nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, 1))
    return training(model, nn.MSELoss(), (x, torch.sin(5 * x)), 1, Recipe(steps=40, record=NEVER))


def replicas() -> tuple[Callable[[], object], int]:
    """784-20-20-20-10, batches of 128, 8 replicas: operations of a tenth of a millisecond."""
    x, y = torch.rand(2000, 784), torch.randint(10, (2000,))
    layers = [nn.Linear(784, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(20, 10))
    return training(model, nn.CrossEntropyLoss(), (x, y), 8, Recipe(steps=40, batch_size=128, record=NEVER))


def convolution() -> tuple[Callable[[], object], int]:
    """A CNN on images of CIFAR-10's shape, batches of 64: operations of milliseconds."""
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2048, 10))
    x, y = torch.rand(512, 3, 32, 32), torch.randint(10, (512,))
    return training(model, nn.CrossEntropyLoss(), (x, y), 1, Recipe(steps=30, batch_size=64, record=NEVER))


def resnet() -> tuple[Callable[[], object], int]:
    """The gradient of a residual network of six blocks on 64 images."""
    stem = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), *(Block(32) for _ in range(3)), nn.AvgPool2d(2)]
    layers = [*stem, *(Block(32) for _ in range(3)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    data = (torch.rand(64, 3, 32, 32), torch.randint(10, (64,)))
    objective = Objective(nn.Sequential(*layers).eval(), nn.CrossEntropyLoss(), data, batch_size=64)
    theta = objective.theta
    return lambda: objective.gradient(theta), 1


SIDES: dict[str, Side] = {
    "default": lambda: threads.fixed(threads.most()),
    "one": lambda: threads.fixed(1),
    "chosen": nullcontext,
}
PARTS = {part.__name__: part for part in (small, replicas, convolution, resnet)}


@contextmanager
def beside(busy: bool) -> Iterator[None]:
    """With a process beside that keeps one core busy, or alone."""
    process = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def measure(name: str, repetitions: int) -> None:
    """Prints two rows, alone and beside a busy process."""
    torch.manual_seed(0)
    work, steps = PARTS[name]()
    for busy in (False, True):
        times: dict[str, list[float]] = {side: [] for side in SIDES}
        with beside(busy):
            for repetition in range(repetitions + 1):
                for side, taken in SIDES.items():
                    with taken():
                        began = time.perf_counter()
                        work()
                        if repetition:  # the first warms up
                            times[side].append((time.perf_counter() - began) / steps)
        default, one, chosen = (1e3 * statistics.median(taken) for taken in times.values())
        ratio = chosen / min(default, one)
        waiting, load = "asleep" if threads.sleeping() else "spinning", "beside another" if busy else "alone"
        found = f"{default:.2f} ms | {one:.2f} ms | {chosen:.2f} ms | {default / chosen:.2f}x | {ratio:.2f}"
        print(f"| {name} | {waiting}, {load} | {found} |", flush=True)


def main() -> None:
    """Runs the parts that were asked for, in this process and in one whose threads sleep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in PARTS]
    if unknown:
        parser.error(f"unknown part '{unknown[0]}': choose from {', '.join(PARTS)}")
    if threads.decided():
        parser.error("OMP_NUM_THREADS and MKL_NUM_THREADS must not be set, and there must be two cores")
    if not threads.sleeping():
        print(f"torch {torch.__version__}, {threads.most()} cores, Python {sys.version.split()[0]}\n")
        print("| work | waiting threads | default | one thread | chosen | default / chosen | chosen / best |")
        print("|---|---|---|---|---|---|---|", flush=True)
    for name in chosen.names or PARTS:
        measure(name, 2 if chosen.quick else 9)
    if not threads.sleeping():
        environment = dict(os.environ)
        threads.wait_asleep(environment)
        subprocess.run([sys.executable, *sys.argv], env=environment, check=True)


if __name__ == "__main__":
    main()
