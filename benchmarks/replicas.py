"""How fast and how large: training R replicas at once against a plain PyTorch loop over them.

    python benchmarks/replicas.py [--quick] [--threads N] [NAME …]

Names: small, one, images, networks, evaluation, recording, memory; default all. Prints one table with the ratio of
each pair and its target; both sides of a pair run interleaved in one process, and the ratio is that of the medians. In
the parts networks and evaluation it is processor time with one thread, which other work on the machine disturbs less.
The plain side is what one writes by hand: an `nn.Sequential`, `torch.optim.Adam` with its defaults, zero_grad,
backward, step.
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

from thalweg.models import COURSE, ModelConfig, build
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


def in_turn(*functions: Callable[[], object], repetitions: int) -> list[float]:
    """Median seconds of each, taken in turn: of the processor where one thread does the work."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repetitions + 1):
        for function, kept in zip(functions, times, strict=True):
            gc.collect()
            began = clock()
            function()
            kept.append(clock() - began)
    return [statistics.median(kept[1:]) for kept in times]


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


class GroupNormBlock(nn.Module):
    """A residual block with GroupNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.GroupNorm(4, channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.GroupNorm(4, channels),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return torch.relu(x + self.residual(x))


class Transformer(nn.Module):
    """Two encoder layers over rows of an image, averaged."""

    def __init__(self, inputs: int = 28, width: int = 32, tokens: int = 28) -> None:
        super().__init__()
        self.embed, self.position = nn.Linear(inputs, width), nn.Embedding(tokens, width)
        layers = [
            nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(2)
        ]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, T, D) -> (N, 10)."""
        return self.head(self.layers(self.embed(x[:, 0]) + self.position.weight).mean(1))


GRAY, COLOR = (1, 28, 28), (3, 32, 32)
RESIDUAL = ModelConfig(kind="resnet", channels=(8, 16), blocks=1, batchnorm=True)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "CNN 8-16, 28 x 28, batch 300": (
        lambda: build(ModelConfig(kind="cnn", channels=(8, 16)), GRAY, 10), GRAY, 300,
    ),
    "course's CNN sharpness, 28 x 28, batch 300": (lambda: build(COURSE["sharpness"], GRAY, 10), GRAY, 300),
    "course's CNN conv-4x27, 32 x 32, batch 50": (lambda: build(COURSE["conv-4x27"], COLOR, 10), COLOR, 50),
    "CNN 8-16, 8 x 8, batch 32": (
        lambda: build(ModelConfig(kind="cnn", channels=(8, 16)), (1, 8, 8), 10), (1, 8, 8), 32,
    ),
    "ResNet with BatchNorm, 32 x 32, batch 64": (lambda: build(RESIDUAL, COLOR, 10), COLOR, 64),
    "ResNet with GroupNorm, 32 x 32, batch 64": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), GroupNormBlock(16), GroupNormBlock(16),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
        ), COLOR, 64,
    ),
    "transformer, 28 tokens, batch 64": (Transformer, GRAY, 64),
}  # fmt: skip


def networks(quick: bool) -> None:
    """Networks that are no stacks of linear layers, each replica with its own batches, at 1, 3 and 8 replicas."""
    for name, network in NETWORKS.items():
        for replicas in (1, 3, 8):
            _network(name, *network, replicas, 0.3 if quick else 1.0, 3 if quick else 5)


def _network(
    name: str,
    make: Callable[[], nn.Module],
    shape: tuple[int, ...],
    size: int,
    replicas: int,
    seconds: float,
    repetitions: int,
) -> None:
    model, sample, label = make(), torch.rand(size, *shape), torch.randint(10, (size,))
    plain([model], nn.CrossEntropyLoss(), lambda r: [(sample, label)], 5)  # the first steps of a process are slow
    began = time.process_time()
    plain([model], nn.CrossEntropyLoss(), lambda r: [(sample, label)], 5)
    steps = min(200, max(3, round(5 * seconds / (time.process_time() - began))))  # few steps are lost in the set-up
    x, y = torch.rand(size * steps, *shape), torch.randint(10, (size * steps,))
    loss = nn.CrossEntropyLoss()
    objective = Objective(make().eval(), loss, (x, y), init=make)
    theta = objective.initial(replicas)
    models = [make() for _ in range(replicas)]

    def loop() -> None:
        for r, model in enumerate(models):
            optimizer = torch.optim.Adam(model.parameters())
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(r))
            for part in order.split(size):
                optimizer.zero_grad()
                loss(model(x[part]), y[part]).backward()
                optimizer.step()

    def ours(count: int) -> None:
        train(objective, theta, Recipe(steps=count, batch_size=size, record=NEVER))

    plainly, whole, empty = in_turn(loop, lambda: ours(steps), lambda: ours(0), repetitions=repetitions)
    slow, fast = (1e3 * taken / steps / replicas for taken in (plainly, whole - empty))
    found = f"{fast / slow:.2f} of the loop's time ({slow:.1f} ms -> {fast:.1f} ms a step and replica)"
    few = "one replica" if replicas == 1 else f"{replicas} replicas"
    line(f"{name}, {few}", found, "<= 1.05", fast <= 1.05 * slow)


def evaluation(quick: bool) -> None:
    """Loss and accuracy of three convolutional replicas on all data, and one gradient, against the bare passes."""
    make, shape, _ = NETWORKS["CNN 8-16, 28 x 28, batch 300"]
    x, y = torch.rand(600 if quick else 3000, *shape), torch.randint(10, (600 if quick else 3000,))
    loss = nn.CrossEntropyLoss()
    objective = Objective(make().eval(), loss, (x, y))
    theta = objective.initial(3)
    models = [objective.module(row) for row in theta]

    def bare() -> None:
        with torch.no_grad():
            for model in models:
                for part, target in zip(x.split(300), y.split(300), strict=True):
                    output = model(part)
                    loss(output, target), (output.argmax(1) == target).double().mean()

    def slopes() -> None:
        for model in models:
            model.zero_grad()
            for part, target in zip(x.split(300), y.split(300), strict=True):
                loss(model(part), target).backward()

    for name, plainly, ours in (
        ("loss and accuracy", bare, lambda: objective.metrics(theta)),
        ("gradient", slopes, lambda: objective.gradient(theta)),
    ):
        slow, fast = in_turn(plainly, ours, repetitions=3 if quick else 7)
        found = f"{fast / slow:.2f} of the bare passes ({1e3 * slow:.0f} ms -> {1e3 * fast:.0f} ms)"
        line(f"{name} of three CNNs 8-16 on {len(x)} images", found, "<= 1.05", fast <= 1.05 * slow)


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


PARTS = {part.__name__: part for part in (small, one, images, networks, evaluation, recording, memory)}


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
