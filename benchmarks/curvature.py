"""How fast: exact Hessians, Hessian-vector products, eigenpairs and signs against other libraries.

    python benchmarks/curvature.py [--quick] [--threads N] [--cifar FILE.npz] [NAME …]

Names: small, digits, products, eigenpairs, signs; default all. Prints one table with the ratio of each pair and its
target; the sides of a comparison run in turn in one process, and ratios are those of the medians. Every row checks
first that both sides compute the same. Needs the `bench` extra.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from thalweg.curvature import Operator, eigenpairs, exact_curvature, hessian_operator, inertia
from thalweg.objective import Objective

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # other people's imports
    from curvlinops import HessianLinearOperator
    from hessian_eigenthings.algorithms.lanczos import lanczos
    from hessian_eigenthings.operators.hessian import HessianOperator

CE = nn.CrossEntropyLoss()


def line(what: str, found: str, target: str, met: bool) -> None:
    """One row of the table."""
    print(f"| {what} | {found} | {target} | {'yes' if met else 'NO'} |", flush=True)


def in_turn(functions: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median seconds of each function, taken in turn so that a busy machine slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for repetition in range(repetitions + 1):
        for name, function in functions.items():
            gc.collect()
            began = time.perf_counter()
            function()
            if repetition:  # the first round warms up
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in times.items()}


def same(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Stops unless both are equal relative to the largest entry."""
    error = float((found - expected).abs().max() / expected.abs().max())
    if not error <= tolerance:
        raise SystemExit(f"results differ by {error:.2g} (relative): nothing to compare")


def mlp(*widths: int) -> nn.Sequential:
    """A tanh MLP in float64."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).double()


def digits() -> tuple[Tensor, Tensor]:
    """The 1,797 digits of scikit-learn."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return torch.tensor(bunch.data) / 16, torch.tensor(bunch.target)


def by_torch_func(objective: Objective) -> Callable[[Tensor], Tensor]:
    """Returns theta -> Hessian as torch.func computes it for a functional_call of the model."""
    model = objective.module(objective.theta)
    x, y = objective.batches.held[0]

    def loss(theta: Tensor) -> Tensor:
        return objective.loss(torch.func.functional_call(model, objective.layout.unravel(theta), (x,)), y)

    return torch.func.hessian(loss)


def small(quick: bool) -> None:
    """Twenty small MLPs at once against torch.func.hessian of each."""
    x = torch.linspace(-1, 1, 256).double()[:, None]
    objective = Objective(mlp(1, 5, 10, 10, 10, 10, 10, 5, 1), nn.MSELoss(), (x, torch.sinc(5 * x)))
    theta, plain = objective.initial(20), by_torch_func(objective)
    same(objective.hessian(theta)[0], plain(theta[0]), 1e-12)
    taken = in_turn({"ours": lambda: objective.hessian(theta), "torch": lambda: plain(theta[0])}, 3 if quick else 9)
    ours = taken["ours"] / 20
    ratio = taken["torch"] / ours
    found = f"{ratio:.1f}x ({1e3 * taken['torch']:.1f} ms -> {1e3 * ours:.1f} ms a replica)"
    line(
        f"exact H, {objective.size}-parameter MLP, N = 256, 20 replicas, against torch.func.hessian",
        found,
        ">= 10x",
        ratio >= 10,
    )


def digits_hessian(quick: bool) -> None:
    """One classifier on real images against curvlinops' matrix and against rows of a retained graph."""
    x, y = digits()
    objective = Objective(mlp(64, 32, 10), CE, (x, y))
    theta = objective.theta
    model = objective.module(theta)
    operator = HessianLinearOperator(model, CE, list(model.parameters()), [(x, y)], check_deterministic=False)
    unit = torch.eye(objective.size, dtype=torch.float64)

    def plain_rows() -> Tensor:
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(CE(model(x), y), parameters, create_graph=True)
        flat = torch.cat([g.flatten() for g in gradients])
        each = (flat[i] for i in range(len(flat)))
        rows = [torch.autograd.grad(g, parameters, retain_graph=True, materialize_grads=True) for g in each]
        return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])

    functions: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: objective.hessian(theta),
        "general": lambda: exact_curvature(objective, theta, method="general").matrix,
        "curvlinops": lambda: operator @ unit,
        "rows": plain_rows,
    }
    for name in ("general", "curvlinops", "rows"):
        same(functions[name]().detach(), functions["ours"](), 1e-12)
    taken = in_turn(functions, 1 if quick else 5)
    for name, target, words in (
        ("curvlinops", 10, "curvlinops' full matrix"),
        ("rows", 2.5, "rows of a retained graph"),
    ):
        ratio = taken[name] / taken["ours"]
        found = f"{ratio:.1f}x ({taken[name]:.2f} s -> {taken['ours']:.3f} s)"
        line(f"exact H, 64-32-10 MLP, N = 1,797, against {words}", found, f">= {target}x", ratio >= target)
    ratio = taken["rows"] / taken["general"]
    line("the same by the general path, against rows of a retained graph", f"{ratio:.2f}x", ">= 0.9x", ratio >= 0.9)


class Transformer(nn.Module):
    """Six pre-norm layers, width 64, over 50 tokens of 32 positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(64, 50)

    def forward(self, tokens: Tensor) -> Tensor:
        """Classifies sequences."""
        return self.head(self.layers(self.embed(tokens)).mean(1))


def cnn() -> nn.Sequential:
    """Two convolutions and a head, for 3 x 32 x 32 images."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.Tanh(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32 * 64, 10),
    )  # fmt: skip


def images(file: Path | None) -> tuple[str, Tensor, Tensor]:
    """128 images of CIFAR-10's shape: genuine ones from a file, or noise."""
    if file is None:
        return "noise of CIFAR-10's shape", torch.randn(128, 3, 32, 32), torch.randint(10, (128,))
    with np.load(file, allow_pickle=False) as held:
        x, y, number = held["x_train"][:128], held["y_train"][:128], len(held["y_train"])
    return f"CIFAR-10 subset ({number:,})", torch.tensor(x).permute(0, 3, 1, 2) / 255, torch.tensor(y).long().flatten()


def products(quick: bool, cifar: Path | None = None) -> None:
    """Hessian-vector products, with and without a graph that stays."""
    name, x, y = images(cifar)
    rows = {
        "64-32-10 MLP, N = 1,797, float64": (mlp(64, 32, 10), *digits()),
        f"CNN, {name}, N = 128, float32": (cnn(), x, y),
        "6-layer transformer, N = 32 x 32 tokens, float32": (
            Transformer(), torch.randint(50, (32, 32)), torch.randint(50, (32,)),
        ),
    }  # fmt: skip
    for what, (model, inputs, targets) in rows.items():
        objective = Objective(model.eval(), CE, (inputs, targets))
        theta = objective.theta
        v = torch.randn(objective.size, dtype=objective.dtype)
        kept = objective.products(theta)
        batches = [(inputs, targets)]
        peer = HessianLinearOperator(model, CE, list(model.parameters()), batches, check_deterministic=False)
        other = HessianOperator(model, batches, lambda m, b: CE(m(b[0]), b[1]))
        functions: dict[str, Callable[[], Tensor]] = {
            "kept": lambda kept=kept, v=v: kept(v),
            "fresh": lambda o=objective, t=theta, v=v: o.hvp(t, v),
            "curvlinops": lambda p=peer, v=v: p @ v,
            "eigenthings": lambda o=other, v=v: o.matvec(v),
        }
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # the peers need both switches set by hand
        with sdpa_kernel(SDPBackend.MATH):
            tolerance = 1e-12 if objective.dtype == torch.float64 else 1e-4
            same(functions["fresh"](), functions["eigenthings"](), tolerance)
            same(functions["kept"](), functions["eigenthings"](), tolerance)
            wrong = (functions["curvlinops"]() - kept(v)).abs().max() / kept(v).abs().max()
            taken = in_turn(functions, 5 if quick else 31)
        torch.backends.mha.set_fastpath_enabled(fast)
        note = f"; its product is wrong by {float(wrong):.1g}" if float(wrong) > 10 * tolerance else ""
        for side, target in (("curvlinops", 2.0), ("eigenthings", 1.5)):
            ratio, again = taken[side] / taken["kept"], taken[side] / taken["fresh"]
            found = f"{ratio:.2f}x ({1e3 * taken[side]:.2f} ms -> {1e3 * taken['kept']:.2f} ms)"
            line(
                f"product, {what}, graph kept, against {side}",
                found + (note if side == "curvlinops" else ""),
                f">= {target}x",
                ratio >= target,
            )
            line(f"product, {what}, graph not kept, against {side}", f"{again:.2f}x", ">= 0.95x", again >= 0.95)


def trained_digits() -> tuple[Objective, Tensor]:
    """The 64-32-10 MLP after 200 steps of gradient descent: a spectrum with a few large eigenvalues."""
    objective = Objective(mlp(64, 32, 10), CE, digits())
    theta = objective.theta
    for _ in range(200):
        theta = theta - 0.5 * objective.gradient(theta)
    return objective, theta


def eigen(quick: bool) -> None:
    """The five largest eigenpairs to relative residual 1e-4: products needed, at the start and after training.

    ARPACK does not look for eigenvalues that it may have missed, so the comparison is without that check of ours.
    """
    from scipy.sparse.linalg import eigsh

    objective, theta = trained_digits()
    for when, at in (("at the start", objective.theta), ("after 200 steps", theta)):
        matrix = objective.hessian(at)
        operator = hessian_operator(objective, at)
        ours, checked = (eigenpairs(operator, 5, tolerance=1e-4, check=check) for check in (False, True))
        same(ours.values.double(), torch.linalg.eigvalsh(matrix)[-5:].flip(0), 1e-6)
        counted = Operator.dense(matrix)
        start = np.random.default_rng(0).standard_normal(objective.size)
        values, vectors = eigsh(counted.to_scipy(), 5, which="LA", tol=1e-4, v0=start)
        rest = matrix @ torch.tensor(vectors) - torch.tensor(vectors * values)
        theirs = float((torch.linalg.vector_norm(rest, dim=0) / torch.tensor(values).abs()).max())
        mine = float((ours.residuals / ours.values.abs()).max())
        found = (
            f"{ours.products} products, residual {mine:.1e} ({checked.products} with the check for missed ones); "
            f"scipy {counted.products}, residual {theirs:.1e}"
        )
        good = ours.products < counted.products and bool(ours.converged.all())
        line(f"top 5 eigenpairs to 1e-4, 64-32-10 MLP {when}, against scipy eigsh", found, "fewer products", good)
        model = objective.module(at)
        peer = HessianOperator(model, [objective.batches.held[0]], lambda m, b: CE(m(b[0]), b[1]))
        result = lanczos(peer, k=5, seed=0)
        converged = int(result.converged.sum())
        line(f"hessian-eigenthings' default for the same, {when}", f"{converged} of 5 converged", "(to compare)", True)


def signs(quick: bool) -> None:
    """Signs of all eigenvalues against a zero band, and the eigenvalues of eigvalsh."""
    size = 1500 if quick else 6000
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    sign = torch.where(torch.rand(size, generator=generator) < 0.3, -1.0, 1.0)
    spread = sign * torch.logspace(-12, 1, size, dtype=torch.float64)  # thirteen decades, as Hessians have
    matrix = (basis * spread) @ basis.mT
    matrix = 0.5 * (matrix + matrix.mT)
    band = 1e-8
    values = torch.linalg.eigvalsh(matrix)
    counts = inertia(matrix, band)
    expected = int((values < -band).sum()), int((values > band).sum())
    if (int(counts.negative), int(counts.positive)) != expected or counts.method != "ldl":
        raise SystemExit(f"signs differ: {counts} against {expected}")
    taken = in_turn(
        {"ours": lambda: inertia(matrix, band), "torch": lambda: torch.linalg.eigvalsh(matrix)}, 1 if quick else 3
    )
    ratio = taken["torch"] / taken["ours"]
    line(
        f"signs of all eigenvalues, n = {size:,}, with the zero band, against eigvalsh",
        f"{ratio:.2f}x ({taken['torch']:.1f} s -> {taken['ours']:.1f} s)",
        ">= 1.7x",
        ratio >= 1.7,
    )


PARTS = {"small": small, "digits": digits_hessian, "products": products, "eigenpairs": eigen, "signs": signs}


def main() -> None:
    """Runs the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, smaller matrix of signs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cifar", type=Path, metavar="FILE", help="npz with x_train (N, 32, 32, 3) and y_train")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in PARTS]
    if unknown:
        parser.error(f"unknown part '{unknown[0]}': choose from {', '.join(PARTS)}")
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {chosen.threads} threads, Python {sys.version.split()[0]}\n")
    print("| what | found | target | met |\n|---|---|---|---|")
    with threadpool_limits(chosen.threads):  # SciPy's LAPACK has threads of its own
        for name in chosen.names or PARTS:
            if name == "products":
                products(chosen.quick, chosen.cifar)
            else:
                PARTS[name](chosen.quick)


if __name__ == "__main__":
    main()
