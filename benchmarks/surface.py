"""How fast: a plane of losses against loss-landscapes 3.0.6 `random_plane`, a plain loop, and the arithmetic limit.

    python benchmarks/surface.py [--quick] [--threads N] [NAME …]

Names: mnist, digits, cnn, metrics, largest; default all. All sides run in turn in one process at float32, and a ratio
is that of the median times per cell. With one thread times are those of the processor, so that other work on the
machine counts less. A full picture is 51 × 51 cells; in the comparison every side evaluates a part of it (the slow ones
2 × 2 to 5 × 5), because the time per cell is the same for every cell. Ours pays for its preparation (three products
with the data) in every part.

The limit is the time that the products which ours cannot avoid take at the rate of a large matrix product, measured in
the same turns.

`metrics` is a line of loss and accuracy on train and test data: one forward pass for both against a pass for each.
`largest` is a line of largest Hessian eigenvalues in float64: all places in lock-step against one after the other.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from thalweg import tasks
from thalweg.curvature import eigenpairs, hessian_operator, leading_eigenvalues
from thalweg.landscape import Grid, random_directions, surface
from thalweg.objective import Objective
from thalweg.tasks.config import TaskConfig

FULL = 51


@dataclass(frozen=True)
class Side:
    """One of those who are compared: a function that evaluates this many cells."""

    run: Callable[[], object]
    cells: int


def mlp(*widths: int) -> nn.Sequential:
    """A ReLU MLP on images."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def loop(model: nn.Module, batches: list[tuple[Tensor, Tensor]], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What one writes by hand: the parameters set in place, the loss of every batch, cell by cell."""
    loss, samples = nn.CrossEntropyLoss(), sum(len(y) for _, y in batches)
    start = [p.detach().clone() for p in model.parameters()]
    ways = [[torch.randn_like(p) * p.norm() / p.numel() ** 0.5 for p in start] for _ in range(2)]
    out = np.zeros((len(first), len(second)))
    with torch.no_grad():
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                for p, origin, d, e in zip(model.parameters(), start, *ways, strict=True):
                    p.copy_(origin + float(a) * d + float(b) * e)
                for x, y in batches:
                    out[i, j] += loss(model(x), y).item() * len(y) / samples
        for p, origin in zip(model.parameters(), start, strict=True):
            p.copy_(origin)
    return out


def in_turn(sides: dict[str, Side], repetitions: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds per cell of every side."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions + 1):
        for name, side in sides.items():
            gc.collect()
            began = clock()
            side.run()
            if repetition:  # the first round warms up
                times[name].append((clock() - began) / side.cells)
    return {name: statistics.median(taken) for name, taken in times.items()}


def compare(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    grid: Sequence[np.ndarray],
    side: int,
    batch: int | None,
    repetitions: int,
    threads: int,
) -> dict[str, float]:
    """Seconds per cell of ours on `grid`, of the others on `side` × `side`, and per operation of a product ("gemm")."""
    import loss_landscapes
    from loss_landscapes.metrics import Loss

    objective = Objective(model, nn.CrossEntropyLoss(), (x, y))
    theta = objective.theta
    directions = random_directions(objective, theta)
    metric = Loss(nn.CrossEntropyLoss(), x, y)
    few, matrix = np.linspace(-1, 1, side), torch.randn(1024, 1024)
    random_plane = loss_landscapes.random_plane
    sides = {
        "ours": Side(lambda: surface(objective, theta, directions, grid), len(grid[0]) * len(grid[1])),
        "loss-landscapes": Side(lambda: random_plane(model, metric, 1, side, deepcopy_model=True), side**2),
        "plain loop": Side(lambda: loop(model, [(x, y)], few, few), side**2),
        "gemm": Side(lambda: matrix @ matrix, 2 * 1024**3),
    }
    if batch is not None:
        pieces = list(zip(x.split(batch), y.split(batch), strict=True))
        sides["plain loop in batches"] = Side(lambda: loop(model, pieces, few, few), side**2)
    return in_turn(sides, repetitions, time.process_time if threads == 1 else time.perf_counter)


def line(name: str, found: str, target: str, good: bool | None) -> None:
    """One row of the table."""
    print(f"| {name} | {found} | {target} | {'' if good is None else 'yes' if good else 'NO'} |", flush=True)


def dense(name: str, widths: tuple[int, ...], x: Tensor, y: Tensor, least: float, rows: int, quick: bool, threads: int):
    """An MLP: both ratios, and how far from the limit."""
    torch.manual_seed(0)
    model = mlp(*widths)
    grid = [np.linspace(-1, 1, rows), np.linspace(-1, 1, FULL)]
    taken = compare(model, x, y, grid, 5, None, 3 if quick else 7, threads)
    ours = taken["ours"]
    theirs = taken["loss-landscapes"]
    title = f"{'-'.join(map(str, widths))} on {name}, {len(y):,} samples"
    speed = theirs / ours
    line(
        f"{title}, against loss-landscapes",
        f"{speed:.2f}x ({1e3 * theirs:.3f} ms -> {1e3 * ours:.3f} ms a cell)",
        f">= {least}x",
        speed >= least,
    )
    line(f"{title}, against the plain loop", f"{taken['plain loop'] / ours:.2f}x", "(to compare)", None)
    needed = 2 * len(y) * sum(a * b for a, b in pairwise(widths[1:])) * taken["gemm"]
    line(
        f"{title}, against the arithmetic limit",
        f"{100 * needed / ours:.0f} % of it ({1e3 * needed:.3f} ms at {1e-9 / taken['gemm']:.0f} GFLOP/s)",
        "(to compare)",
        None,
    )
    if not quick:
        objective = Objective(model, nn.CrossEntropyLoss(), (x, y))
        began = time.perf_counter()
        surface(objective, objective.theta, random_directions(objective, objective.theta), Grid(points=FULL))
        line(f"{title}, the whole 51 × 51 picture", f"{time.perf_counter() - began:.1f} s", "(to compare)", None)


def mnist(quick: bool, threads: int) -> None:
    """The test images."""
    test = tasks.load(TaskConfig(name="mnist"), torch.float32).test
    assert test is not None
    dense("MNIST", (784, 256, 256, 10), *test, least=3.0, rows=7 if quick else 13, quick=quick, threads=threads)


def digits(quick: bool, threads: int) -> None:
    """All images."""
    task = tasks.load(TaskConfig(name="digits"), torch.float32)
    assert task.test is not None
    x, y = (torch.cat(pair) for pair in zip(task.train, task.test, strict=True))
    dense("digits", (64, 32, 10), x, y, least=1.5, rows=11 if quick else FULL, quick=quick, threads=threads)


def cnn(quick: bool, threads: int) -> None:
    """Noise of CIFAR-10's shape; the plain loop once with all samples in one batch, once in batches for the cache."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip
    x, y = torch.randn(512, 3, 32, 32), torch.randint(0, 10, (512,))
    grid = [np.zeros(1), np.linspace(-1, 1, 5)]
    taken = compare(model, x, y, grid, 2, 64, 2 if quick else 5, threads)
    title = "convolutional network, noise of CIFAR-10's shape, 512 samples"
    sides = ("loss-landscapes", "plain loop", "plain loop in batches")
    for side in sides:
        ratio = taken[side] / taken["ours"]
        words = f"{ratio:.2f}x ({1e3 * taken[side]:.0f} ms -> {1e3 * taken['ours']:.0f} ms a cell)"
        line(f"{title}, against {side}{' of 64' if 'batches' in side else ''}", words, ">= 0.95x", ratio >= 0.95)
    spots = ((3 * 9, 32, 32 * 32), (32 * 9, 64, 16 * 16), (64 * 9, 64, 8 * 8), (4096, 64, 1), (64, 10, 1))
    needed = 2 * len(y) * sum(a * b * c for a, b, c in spots) * taken["gemm"]
    share = 100 * needed / taken["ours"]
    line(f"{title}, against the arithmetic limit", f"{share:.0f} % of it ({1e3 * needed:.0f} ms)", "(to compare)", None)


def metrics(quick: bool, threads: int) -> None:
    """Loss and accuracy at the places of a line, on train and test data of MNIST's shape."""
    torch.manual_seed(0)
    places = 13 if quick else 61
    data = [(torch.randn(n, 784), torch.randint(0, 10, (n,))) for n in (10_000, 2_000)]
    for name, model in {
        "784-256-256-10": mlp(784, 256, 256, 10),
        "the same with LayerNorm": nn.Sequential(mlp(784, 256, 256), nn.LayerNorm(256), nn.ReLU(), nn.Linear(256, 10)),
    }.items():
        train = Objective(model, nn.CrossEntropyLoss(), data[0])
        both = [train, train.with_data(data[1])]
        ends = train.initial(2)
        thetas = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, places)[:, None])

        def apart(both: list[Objective] = both, thetas: Tensor = thetas) -> None:
            for one in both:
                program, metric = one.program, one.metric_functions["accuracy"]
                one.evaluation.means(thetas, lambda p, b, q=program: {"loss": q.losses(p, b)})
                one.evaluation.means(
                    thetas, lambda p, b, q=program, f=metric: {"a": torch.stack([f(o, b[1]) for o in q.outputs(p, b)])}
                )

        def together(both: list[Objective] = both, thetas: Tensor = thetas) -> None:
            for one in both:
                one.metrics(thetas)

        sides = {"apart": Side(apart, places), "together": Side(together, places)}
        clock = time.process_time if threads == 1 else time.perf_counter
        taken = in_turn(sides, 2 if quick else 3, clock)
        title = f"loss and accuracy, {name}, {' and '.join(f'{len(y):,}' for _, y in data)} samples, {places} places"
        speed = taken["apart"] / taken["together"]
        words = f"{speed:.2f}x ({1e3 * taken['apart']:.0f} ms -> {1e3 * taken['together']:.0f} ms a place)"
        line(f"{title}, one pass against one for each", words, ">= 1.7x", speed >= 1.7)


def largest(quick: bool, threads: int) -> None:
    """The largest Hessian eigenvalue at the places of a line."""
    cases = {
        "1-10-20-15-1 on a sine, 256 samples": (mlp(1, 10, 20, 15, 1), nn.MSELoss(), 1, 256),
        "64-32-10 on noise, 1,797 samples": (mlp(64, 32, 10), nn.CrossEntropyLoss(), 64, 1797),
    }
    for title, (model, loss, inputs, samples) in cases.items():
        torch.manual_seed(0)
        x = torch.randn(samples, inputs)
        objective = Objective(model, loss, (x, torch.sin(3 * x) if inputs == 1 else torch.randint(0, 10, (samples,))))
        objective = objective.double()
        theta = objective.theta
        way = random_directions(objective, theta).vectors[0]
        thetas = theta + torch.linspace(-1, 1, 25, dtype=torch.float64)[:, None] * way

        def one_by_one(objective: Objective = objective, thetas: Tensor = thetas) -> None:
            for one in thetas:
                eigenpairs(hessian_operator(objective, one), check=False)

        sides = {
            "alone": Side(one_by_one, len(thetas)),
            "together": Side(lambda o=objective, t=thetas: leading_eigenvalues(o, t), len(thetas)),
        }
        taken = in_turn(sides, 2 if quick else 5, time.process_time if threads == 1 else time.perf_counter)
        speed = taken["alone"] / taken["together"]
        words = f"{speed:.2f}x ({1e3 * taken['alone']:.1f} ms -> {1e3 * taken['together']:.1f} ms a place)"
        line(f"largest eigenvalue, {title}, in lock-step against one by one", words, ">= 1x", speed >= 1)


PARTS = {part.__name__: part for part in (mnist, digits, cnn, metrics, largest)}


def main() -> None:
    """Runs the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="smaller parts and fewer repetitions")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in PARTS]
    if unknown:
        parser.error(f"unknown part '{unknown[0]}': choose from {', '.join(PARTS)}")
    torch.set_num_threads(chosen.threads)
    print(f"torch {torch.__version__}, {chosen.threads} threads, Python {sys.version.split()[0]}\n")
    print("| what | found | target | met |\n|---|---|---|---|")
    for name in chosen.names or PARTS:
        PARTS[name](chosen.quick, chosen.threads)


if __name__ == "__main__":
    main()
