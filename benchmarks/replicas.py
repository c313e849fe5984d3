"""How fast and how large: training R replicas at once against a plain PyTorch loop over them.

    python benchmarks/replicas.py [--quick] [--threads N] [NAME …]

Names: small, one, images, recording, memory; default all. Prints one table with the ratio of each pair and its target;
both sides of a pair run interleaved in one process, and the ratio is that of the medians. The plain side is what one
writes by hand: an `nn.Sequential`, `torch.optim.Adam` with its defaults, zero_grad, backward, step.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from thalweg.objective import Objective
from thalweg.runs import MemoryRecording, Run
from thalweg.training import Cadence, Recipe, train

NEVER = Cadence(every=10**9, unit="step")


def mlp(*widths: int) -> nn.Sequential:
    """A tanh MLP."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def plain(models: list[nn.Module], loss: nn.Module, batches: Callable[[int], list], steps: int) -> None:
    """Trains the models one after another, step by step; `batches(r)` gives the batches of replica r."""
    for r, model in enumerate(models):
        optimizer = torch.optim.Adam(model.parameters())
        own = batches(r)
        for step in range(steps):
            x, y = own[step % len(own)]
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()


def interleaved(first: Callable[[], None], second: Callable[[], None], repetitions: int) -> tuple[float, float]:
    """Median seconds of both, taken in turn so that a busy machine slows both."""
    first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions):
        for function, kept in zip((first, second), times, strict=True):
            gc.collect()
            began = time.perf_counter()
            function()
            kept.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


def setup_seconds(objective: Objective, theta: torch.Tensor, recipe: Recipe) -> float:
    """What `train` costs before and after its steps."""
    empty = recipe.model_copy(update={"steps": 0, "epochs": None})
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        train(objective, theta, empty)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def compare(
    widths: tuple[int, ...], samples: int, replicas: int, steps: int, repetitions: int, share: int = 1
) -> tuple[float, float]:
    """Seconds per step of all replicas: (plain loop, train), full batch. The loop runs steps / share steps."""
    x = torch.linspace(-1, 1, samples)[:, None]
    y = torch.sin(5 * x)
    loss = nn.MSELoss()
    objective = Objective(mlp(*widths), loss, (x, y))
    theta = objective.initial(replicas)
    models = [mlp(*widths) for _ in range(replicas)]
    recipe = Recipe(steps=steps, record=NEVER)
    fewer = max(1, steps // share)
    slow, fast = interleaved(
        lambda: plain(models, loss, lambda r: [(x, y)], fewer),
        lambda: train(objective, theta, recipe) and None,
        repetitions,
    )
    return slow / fewer, (fast - setup_seconds(objective, theta, recipe)) / steps


def line(name: str, found: str, target: str, good: bool) -> None:
    """One row of the table."""
    print(f"| {name} | {found} | {target} | {'yes' if good else 'NO'} |", flush=True)


def small(quick: bool) -> None:
    """100 replicas of the course's small networks."""
    for widths, samples, target in (
        ((1, 4, 4, 1), 128, 30),
        ((1, 10, 10, 1), 128, 15),
        ((1, 5, 10, 10, 10, 10, 10, 5, 1), 256, 7),
    ):
        size = sum(p.numel() for p in mlp(*widths).parameters())
        slow, fast = compare(widths, samples, 100, 40 if quick else 200, 3 if quick else 7, share=20)
        found = f"{slow / fast:.1f}x ({1e3 * slow:.1f} ms -> {1e3 * fast:.2f} ms a step)"
        line(f"{size} parameters, N = {samples}, 100 replicas", found, f">= {target}x", slow / fast >= target)


def one(quick: bool) -> None:
    """A single replica must not pay for the others."""
    for widths, samples in (((1, 4, 4, 1), 128), ((1, 5, 10, 10, 10, 10, 10, 5, 1), 256)):
        size = sum(p.numel() for p in mlp(*widths).parameters())
        slow, fast = compare(widths, samples, 1, 200 if quick else 1000, 3 if quick else 9)
        found = f"{fast / slow:.2f} of the loop's time ({1e3 * slow:.2f} ms -> {1e3 * fast:.2f} ms a step)"
        line(f"{size} parameters, N = {samples}, one replica", found, "<= 1.15", fast / slow <= 1.15)


def images(quick: bool) -> None:
    """A network in which the arithmetic, not the overhead, takes the time; every replica draws its own batches."""
    replicas, size, steps = 8, 128, 10 if quick else 40
    x, y = torch.rand(size * steps, 784), torch.randint(10, (size * steps,))
    loss = nn.CrossEntropyLoss()
    objective = Objective(mlp(784, 256, 256, 256, 10), loss, (x, y))
    theta = objective.initial(replicas)
    models = [mlp(784, 256, 256, 256, 10) for _ in range(replicas)]
    recipe = Recipe(epochs=1, batch_size=size, record=NEVER)

    def batches(r: int) -> list:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(r))
        return [(x[part], y[part]) for part in order.split(size)]

    slow, fast = interleaved(
        lambda: plain(models, loss, batches, steps), lambda: train(objective, theta, recipe) and None, 3 if quick else 7
    )
    fast -= setup_seconds(objective, theta, recipe)
    found = f"{fast / slow:.2f} of the loop's time ({1e3 * slow / steps:.1f} ms -> {1e3 * fast / steps:.1f} ms a step)"
    line("784-256-256-256-10, batch 128, 8 replicas", found, "<= 1.00", fast <= slow)


def recording(quick: bool) -> None:
    """Weights, loss and gradient norm after every epoch, into a run folder, against none."""
    samples, replicas, epochs = 10_000, 8, 3 if quick else 10
    x, y = torch.rand(samples, 784), torch.randint(10, (samples,))
    objective = Objective(mlp(784, 20, 20, 20, 10), nn.CrossEntropyLoss(), (x, y))
    theta = objective.initial(replicas)
    silent = Recipe(epochs=epochs, batch_size=128, record=NEVER)
    every = silent.model_copy(update={"record": Cadence(every=1, unit="epoch")})
    with tempfile.TemporaryDirectory() as folder:
        count = 0

        def recorded() -> None:
            nonlocal count
            count += 1
            origin = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "benchmark"}
            run = Run.create(Path(folder), "replicas", {"count": count}, **origin)
            with run.writing():
                train(objective, theta, every, recording=run.recording())

        def unrecorded() -> None:
            train(objective, theta, silent, recording=MemoryRecording())

        slow, fast = interleaved(recorded, unrecorded, 3 if quick else 7)
    share = slow / fast - 1
    line(
        f"recording {objective.size} parameters every epoch, 8 replicas",
        f"{100 * share:+.1f} % time",
        "< 5 %",
        share < 0.05,
    )


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def peak() -> int:
    """The most that `resident` has been since the last reset."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith("VmHWM:"):
            return int(text.split()[1]) * 1024
    return 0


def memory(quick: bool) -> None:
    """100 replicas of a 784-20-20-20-10 network on data of MNIST's shape: full batch and minibatch."""
    x, y = torch.rand(60_000, 784), torch.randint(10, (60_000,))
    objective = Objective(mlp(784, 20, 20, 20, 10), nn.CrossEntropyLoss(), (x, y))
    theta = objective.initial(100)
    gc.collect()
    before = resident()
    for name, recipe in (
        ("batch 128", Recipe(steps=4 if quick else 20, batch_size=128, record=Cadence(every=1, unit="step"))),
        ("full batch", Recipe(steps=1 if quick else 2)),
    ):
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        train(objective, theta, recipe)
        used = (peak() - before) / 2**20
        budget = objective.memory / 2**20
        found = f"{used:.0f} MiB beyond the data"
        line(
            f"100 x {objective.size} parameters on 60,000 images, {name}", found, f"<= {budget:.0f} MiB", used <= budget
        )


PARTS = {part.__name__: part for part in (small, one, images, recording, memory)}


def main() -> None:
    """Runs the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer steps and repetitions")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in PARTS]
    if unknown:
        parser.error(f"unknown part '{unknown[0]}': choose from {', '.join(PARTS)}")
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {chosen.threads} threads, Python {sys.version.split()[0]}\n")
    print("| what | found | target | met |\n|---|---|---|---|")
    for name in chosen.names or PARTS:
        PARTS[name](chosen.quick)


if __name__ == "__main__":
    main()
