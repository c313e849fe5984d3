"""How fast: the input sensitivity of many samples against a loop over samples, and the memory that it takes.

    python benchmarks/sensitivity.py [--quick] [--threads N]

Both sides compute the same norms, which is checked first; ratios are those of the medians of rounds taken in turn. The
loop is torch's own: `torch.autograd.functional.jacobian` of one sample at a time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from thalweg.generalization import input_norms
from thalweg.objective import Objective


def line(what: str, found: str, target: str, met: bool) -> None:
    """One row of the table."""
    print(f"| {what} | {found} | {target} | {'yes' if met else 'NO'} |", flush=True)


def loop(model: nn.Module, x: Tensor, y: Tensor, of: str) -> Tensor:
    """Norms of the derivative, one sample after the other."""
    out = []
    for n in range(len(x)):

        def function(sample: Tensor, n: int = n) -> Tensor:
            output = model(sample)
            if of == "loss":
                return nn.functional.cross_entropy(output, y[n : n + 1])
            return output.softmax(1) if of == "probabilities" else output

        out.append(torch.autograd.functional.jacobian(function, x[n : n + 1]).norm())
    return torch.stack(out)


def seconds(function: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def mlp() -> nn.Module:
    """784-256-10."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def cnn() -> nn.Module:
    """The sharpness CNN of the course, 31,228 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 22, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(22, 22, 2), nn.ReLU(), nn.MaxPool2d(3),
        nn.Flatten(), nn.Linear(352, 80), nn.ReLU(), nn.Linear(80, 10),
    )  # fmt: skip


def compare(name: str, model: nn.Module, of: str, samples: int, part: int, target: float | None) -> None:
    """All samples at once against the loop; the loop runs on a part of them and is scaled up."""
    x, y = torch.rand(samples, 1, 28, 28), torch.randint(10, (samples,))
    objective = Objective(model, nn.CrossEntropyLoss(), (x, y))
    theta = objective.theta
    found, expected = input_norms(objective, theta, of=of)[:50], loop(model, x[:50], y[:50], of).double()
    error = float(((found - expected).abs() / expected).max())
    if not error <= 1e-4:
        raise SystemExit(f"norms differ by {error:.2g} (relative): nothing to compare")
    ours, theirs = [], []
    for _ in range(3):
        ours.append(seconds(lambda: input_norms(objective, theta, of=of)))
        theirs.append(seconds(lambda: loop(model, x[:part], y[:part], of)) * samples / part)
    fast, slow = statistics.median(ours), statistics.median(theirs)
    what = f"{name}, {samples:,} samples, {of}"
    goal = "(to compare)" if target is None else f">= {target:g}x"
    line(what, f"{slow / fast:.1f}x ({slow:.1f} s -> {fast:.2f} s)", goal, target is None or slow / fast >= target)


def resident(key: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM the most since the last reset."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith(f"{key}:"):
            return int(text.split()[1]) * 1024
    return 0


def memory(samples: int) -> None:
    """How much the working set grows; all Jacobians at once would be 10 × 784 numbers for each sample."""
    x, y = torch.rand(samples, 784), torch.randint(10, (samples,))
    objective = Objective(mlp(), nn.CrossEntropyLoss(), (x, y))
    input_norms(objective.subset(torch.arange(100)), objective.theta)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    input_norms(objective, objective.theta)
    used, whole = resident("VmHWM") - before, samples * 7840 * 4
    found = f"{used / 2**20:.0f} MiB beyond the data (all Jacobians: {whole / 2**20:,.0f} MiB)"
    line(f"784-256-10, {samples:,} samples, outputs", found, "<= 256 MiB", used <= 256 * 2**20)


def main() -> None:
    """Runs all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the loop on fewer samples")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {chosen.threads} threads, Python {sys.version.split()[0]}\n")
    print("| what | found | target | met |\n|---|---|---|---|")
    part = 300 if chosen.quick else 10_000
    for of, target in (("outputs", 5.0), ("probabilities", 5.0), ("loss", None)):
        compare("784-256-10", mlp(), of, 10_000, part, target)
    compare("CNN of 31,228 parameters", cnn(), "outputs", 2000, min(part, 300), None)
    memory(60_000)


if __name__ == "__main__":
    main()
