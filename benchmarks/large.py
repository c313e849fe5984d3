"""Networks of the size that people bring: how much the objective costs beside plain PyTorch and other libraries.

    python benchmarks/large.py [--device cuda] [--threads N] [--repeat N] [--parts PART,…] [NAME …]

Parts: speed, forms, density, surface, memory.
Names: resnet18, gpt5, gpt25, vit, unet; default all. Every ratio compares the medians of two functions that run in turn
in one process, after a check that both compute the same. Needs the `bench` extra.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch
from networks import CASES, Case, case
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, TensorDataset

from thalweg.curvature import hessian_operator, quadrature
from thalweg.landscape import surface
from thalweg.objective import Objective

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # other people's imports
    from curvlinops import HessianLinearOperator
    from hessian_eigenthings.operators.hessian import HessianOperator

PARTS = ("speed", "forms", "density", "surface", "memory")
PROBES, STEPS = 10, 10
SIDE = 25


def line(model: str, what: str, found: float, bar: float, words: str, *, most: bool = True) -> None:
    """One row of the table: a ratio and its bar."""
    met = found <= bar if most else found >= bar
    sign = "<=" if most else ">="
    print(f"| {model} | {what} | {found:.2f} | {sign} {bar:.2f} | {'yes' if met else 'NO'} | {words} |", flush=True)


def in_turn(functions: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median seconds of each function, taken in turn so that a busy machine slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for repetition in range(repetitions + 1):
        for name, function in functions.items():
            gc.collect()
            _wait()
            began = time.perf_counter()
            out = function()
            _wait()
            if repetition:  # the first round warms up
                times[name].append(time.perf_counter() - began)
            del out  # what it returned is freed outside of the next one's time
    return {name: statistics.median(taken) for name, taken in times.items()}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def same(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Stops unless both are equal relative to the norm."""
    error = float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))
    if not error <= tolerance:
        raise SystemExit(f"results differ by {error:.2g} (relative): nothing to compare")


def flat(parts: object) -> Tensor:
    """One vector of the gradients by parameter."""
    return torch.cat([part.reshape(-1) for part in parts])  # ty: ignore


class Plain:
    """What a user would write: value, gradient and a product by double backward, on one batch."""

    def __init__(self, given: Case) -> None:
        self.case, self.parameters = given, list(given.model.parameters())
        self.v = [torch.randn_like(p) for p in self.parameters]

    def loss(self) -> Tensor:
        """L with its graph."""
        return self.case.loss(self.case.model(self.case.x), self.case.y)

    def value(self) -> Tensor:
        """L alone."""
        with torch.no_grad():
            return self.loss()

    def gradient(self) -> tuple[Tensor, ...]:
        """∇L by parameter."""
        return torch.autograd.grad(self.loss(), self.parameters)

    def product(self) -> tuple[Tensor, ...]:
        """∇²L v by parameter; fused attention has no second derivative."""
        with sdpa_kernel(SDPBackend.MATH):
            first = torch.autograd.grad(self.loss(), self.parameters, create_graph=True)
            return torch.autograd.grad(first, self.parameters, self.v)


def speed(given: Case, repeat: int) -> None:
    """Value, gradient, products and construction, with the data as tensors."""
    plain, name = Plain(given), given.name
    began = time.perf_counter()
    objective = Objective(given.model, given.loss, (given.x, given.y))
    _wait()
    built = time.perf_counter() - began
    theta, v = objective.theta, flat(plain.v)
    same(objective.gradient(theta), flat(plain.gradient()), 1e-4)
    same(objective.hvp(theta, v), flat(plain.product()), 1e-3)
    taken = in_turn(
        {
            "plain value": plain.value,
            "value": lambda: objective.value(theta),
            "plain gradient": plain.gradient,
            "gradient": lambda: objective.gradient(theta),
        },
        2 * repeat,
    )
    for what in ("value", "gradient"):
        ours, theirs = taken[what], taken[f"plain {what}"]
        line(name, f"{what} / plain", ours / theirs, 1.10, f"{1e3 * theirs:.0f} ms -> {1e3 * ours:.0f} ms")
    again = in_turn({"build": lambda: Objective(given.model, given.loss, (given.x, given.y))}, repeat)["build"]
    gradient = taken["plain gradient"]
    words = f"the very first one {built / gradient:.1f}"
    line(name, "construction with all checks, in plain gradients", again / gradient, 4.0, words)
    kept = objective.products(theta)
    taken = in_turn({"plain": plain.product, "first": lambda: objective.hvp(theta, v), "kept": lambda: kept(v)}, repeat)
    for what, bar in (("first", 1.05), ("kept", 0.70)):
        words = f"{1e3 * taken['plain']:.0f} ms -> {1e3 * taken[what]:.0f} ms"
        if what == "kept" and not objective.plan().keeps_graph:
            words += "; the graph does not fit"
        line(name, f"{what} product / plain double backward", taken[what] / taken["plain"], bar, words)


def forms(given: Case, repeat: int) -> None:
    """Value and gradient in the other forms of data, against the loop that each stands for."""
    pairs = TensorDataset(given.x, given.y)
    size = max(1, len(given.x) // 2)
    loader = DataLoader(pairs, batch_size=size)
    parts = list(loader)
    plain = Plain(given)

    def value() -> Tensor:
        with torch.no_grad():
            return sum(given.loss(given.model(x), y) for x, y in loader) / len(parts)  # ty: ignore

    def gradient() -> Tensor:
        total: list[Tensor] = []
        for x, y in loader:
            found = torch.autograd.grad(given.loss(given.model(x), y) / len(parts), plain.parameters)
            total = [a.add_(b) for a, b in zip(total, found, strict=True)] if total else list(found)
        return flat(total)

    whole = {"value": plain.value, "gradient": plain.gradient}
    for form, data, theirs in (
        ("dataset", pairs, whole),
        ("loader", loader, {"value": value, "gradient": gradient}),
        ("list", parts, {"value": value, "gradient": gradient}),
    ):
        objective = Objective(given.model, given.loss, data)
        theta = objective.theta
        same(objective.gradient(theta), flat(plain.gradient()), 1e-4)
        taken = in_turn(
            {
                "plain value": theirs["value"],
                "value": lambda theta=theta, objective=objective: objective.value(theta),
                "plain gradient": theirs["gradient"],
                "gradient": lambda theta=theta, objective=objective: objective.gradient(theta),
            },
            2 * repeat,
        )
        for what in ("value", "gradient"):
            ours, other = taken[what], taken[f"plain {what}"]
            words = f"{1e3 * other:.0f} ms -> {1e3 * ours:.0f} ms"
            line(given.name, f"{what} of a {form} / plain", ours / other, 1.10, words)


def density(given: Case, repeat: int) -> None:
    """Ten Lanczos steps of ten probes against the products alone of other libraries, extrapolated from a few."""
    objective = Objective(given.model, given.loss, (given.x, given.y))
    operator = hessian_operator(objective, objective.theta)
    parameters = list(given.model.parameters())
    curvlinops = HessianLinearOperator(
        given.model, given.loss, parameters, [(given.x, given.y)], check_deterministic=False
    )
    v = torch.randn(objective.size, device=given.x.device)
    others = {"curvlinops": lambda: curvlinops @ v}
    try:
        eigenthings = HessianOperator(given.model, [(given.x, given.y)], given.loss)
        eigenthings.matvec(v)
        others["hessian-eigenthings"] = lambda: eigenthings.matvec(v)
    except Exception as error:  # noqa: BLE001 - tied or other parameters that it does not take
        print(f"hessian-eigenthings: {type(error).__name__}: {error}", file=sys.stderr)
    with sdpa_kernel(SDPBackend.MATH):
        each = in_turn(others, max(2, repeat))
    began = time.perf_counter()
    quadrature(operator, probes=PROBES, steps=STEPS)
    _wait()
    ours = time.perf_counter() - began
    for name, seconds in each.items():
        whole = PROBES * STEPS * seconds
        words = f"{whole:.0f} s -> {ours:.0f} s"
        what = f"{name}' {PROBES * STEPS} products alone / ours with Lanczos"
        line(given.name, what, whole / ours, 1.5, words, most=False)


def scan(given: Case, side: int) -> None:
    """A surface against its forward passes alone, in a loop that writes θ into the model."""
    objective = Objective(given.model, given.loss, (given.x, given.y))
    theta = objective.theta
    model, one = objective.module(theta), torch.randn(2, objective.size, device=theta.device)
    directions = 0.1 * one / torch.linalg.vector_norm(one, dim=1, keepdim=True) * torch.linalg.vector_norm(theta)
    axis = torch.linspace(-1, 1, side)
    surface(objective, theta, directions, [axis[:2].tolist(), axis[:2].tolist()])
    began = time.perf_counter()
    grid = surface(objective, theta, directions, [axis.tolist(), axis.tolist()])
    ours = time.perf_counter() - began
    began, values = time.perf_counter(), []
    with torch.no_grad():
        for y in axis.tolist():
            for x in axis.tolist():
                nn.utils.vector_to_parameters(theta + x * directions[0] + y * directions[1], model.parameters())
                values.append(float(given.loss(model(given.x), given.y)))
    theirs = time.perf_counter() - began
    found = torch.as_tensor(grid.values["loss"])
    same(found.reshape(-1).double().cpu().sort().values, torch.tensor(values, dtype=torch.float64).sort().values, 1e-4)
    words = f"{theirs:.0f} s -> {ours:.0f} s"
    line(given.name, f"surface {side} x {side} / bare forward passes", ours / theirs, 1.05, words)


def memory(name: str, times: int) -> None:
    """Peak memory of one gradient and one product, in a process of its own, with the data `times` over."""
    given = case(name)
    x, y = (torch.cat([one] * times) for one in (given.x, given.y))
    objective = Objective(given.model, given.loss, (x, y))
    theta = objective.theta
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    objective.gradient(theta)
    objective.products(theta, retain=False)(torch.randn_like(theta))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{(after - before) * 1024} {objective.memory} {theta.nbytes}")


def peak(name: str, title: str) -> None:
    """The same with one and four times the samples: within the budget and a few θ, and flat."""
    found = []
    for times in (1, 4):
        command = [sys.executable, __file__, "--threads", str(torch.get_num_threads()), "--parts", f"_{times}", name]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        found.append([int(word) for word in out])
    (one, budget, theta), (four, *_) = found
    words = f"{one / 2**20:.0f} MiB, {four / 2**20:.0f} MiB with 4 times the samples; θ has {theta / 2**20:.0f} MiB"
    line(title, "peak beyond construction / (budget + 6 θ)", max(one, four) / (budget + 6 * theta), 1.0, words)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES), metavar="NAME")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--side", type=int, default=SIDE, help="points of the surface along each axis")
    parser.add_argument("--parts", default=",".join(PARTS))
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.parts.startswith("_"):
        memory(given.names[0], int(given.parts[1:]))
        return
    print(f"torch {torch.__version__}, {given.device}, {torch.get_num_threads()} threads\n")
    print("| model | what | ratio | bar | met | |\n|---|---|---|---|---|---|")
    for name in given.names:
        one = case(name, given.device)
        parts = given.parts.split(",")
        if "speed" in parts:
            speed(one, given.repeat)
        if "forms" in parts:
            forms(one, given.repeat)
        if "density" in parts:
            density(one, given.repeat)
        if "surface" in parts:
            scan(one, given.side)
        if "memory" in parts and given.device == "cpu":
            peak(name, one.name)


if __name__ == "__main__":
    main()
