"""Critical points: success rates, and the time against the classic plain PyTorch script.

    python benchmarks/critical.py [--quick] [--threads N] [--share S] [--replicas R] [NAME …]

Names: equal, certified, minima, indices, embedded; default all. The classic script handles one replica after another:
Adam on the loss, then Adam on ‖∇L‖ through double backward, then the Hessian row by row and `eigvalsh`, all in float64
as ours. It is run, before and after ours, for 1/S of its steps and of its replicas (at least 20 steps and 2 replicas),
and its time is multiplied by what was left out: each step and each replica costs the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from thalweg.critical import (
    CriticalPoints,
    ObjectiveProblem,
    Status,
    certify,
    embed,
    follow_again,
    gradient_norm_adam,
    minimise,
    subnetwork,
)
from thalweg.objective import Objective
from thalweg.training import Cadence, Recipe, train

NEVER = Cadence(every=10**9, unit="step")
SMALL, MEDIUM = (4, 4), (10, 10)  # 33 and 141 parameters
REPLICAS, STEPS = 100, 2000
SEED = 20260  # of the success rates


def model(hidden: tuple[int, ...]) -> nn.Sequential:
    """A tanh network in float64."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((1, *hidden, 1)):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).double()


def data(points: int = 128) -> tuple[Tensor, Tensor]:
    """sin(5πx)/(5πx) on [−1, 1]."""
    x = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None]
    return x, torch.sinc(5 * x)


def problem(hidden: tuple[int, ...], l2: float) -> ObjectiveProblem:
    """The loss of that network."""
    return ObjectiveProblem(Objective(model(hidden), nn.MSELoss(), data(), l2=l2, dtype=torch.float64))


def classic_training(net: nn.Module, steps: int) -> None:
    """Adam on the loss."""
    x, y = data()
    optimizer, loss = torch.optim.Adam(net.parameters()), nn.MSELoss()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()


def classic_gradient_norm(net: nn.Module, steps: int) -> None:
    """Adam on the norm of the gradient."""
    x, y = data()
    optimizer, loss = torch.optim.Adam(net.parameters()), nn.MSELoss()
    for _ in range(steps):
        optimizer.zero_grad()
        gradients = torch.autograd.grad(loss(net(x), y), list(net.parameters()), create_graph=True)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        norm.backward()
        optimizer.step()


def classic_ratio(net: nn.Module) -> float:
    """The Hessian row by row and the share of positive eigenvalues."""
    x, y = data()
    parameters = list(net.parameters())
    gradients = torch.autograd.grad(nn.MSELoss()(net(x), y), parameters, create_graph=True)
    rows = [
        torch.cat([h.flatten() for h in torch.autograd.grad(entry, parameters, retain_graph=True)])
        for entry in torch.cat([g.flatten() for g in gradients])
    ]
    return float((torch.linalg.eigvalsh(torch.stack(rows)) > 0).double().mean())


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def classic_seconds(hidden: tuple[int, ...], share: int) -> tuple[float, float, float]:
    """Extrapolated seconds of training, gradient-norm phase and Hessians of all replicas."""
    replicas = max(2, REPLICAS // share)
    steps = max(20, STEPS // share)
    times = [0.0, 0.0, 0.0]
    for _ in range(replicas):
        net = model(hidden)
        classic_gradient_norm(net, 2), classic_ratio(net)
        times[0] += seconds(lambda net=net: classic_training(net, steps)) * STEPS / steps
        times[1] += seconds(lambda net=net: classic_gradient_norm(net, steps)) * STEPS / steps
        times[2] += seconds(lambda net=net: classic_ratio(net))
    first, second, third = (t * REPLICAS / replicas for t in times)
    return first, second, third


def line(name: str, found: str, target: str, good: bool) -> None:
    """One row of a table."""
    print(f"| {name} | {found} | {target} | {'yes' if good else 'NO'} |", flush=True)


def equal(chosen: argparse.Namespace) -> None:
    """The same numbers of steps of both phases and one Hessian for each of 100 replicas."""
    for hidden, least in ((SMALL, 20), (MEDIUM, 8)):
        target = problem(hidden, 0.0)
        theta = target.objective.initial(REPLICAS)
        steps = STEPS // 10 if chosen.quick else STEPS
        # Ours and the script in turn, so that a busy machine slows both.
        slow: list[tuple[float, float, float]] = [classic_seconds(hidden, chosen.share)]
        recipe = Recipe(steps=steps, record=NEVER)
        training = seconds(lambda t=target, th=theta, r=recipe: train(t.objective, th, r)) * STEPS / steps
        norm = seconds(lambda t=target, th=theta, n=steps: gradient_norm_adam(t, th, steps=n)) * STEPS / steps
        matrices = seconds(lambda t=target, th=theta: torch.linalg.eigvalsh(t.hessian(th)[2]))
        slow.append(classic_seconds(hidden, chosen.share))
        phases = [sum(times) / 2 for times in zip(*slow, strict=True)]
        ours = (training, norm, matrices)
        detail = ", ".join(
            f"{name} {s:.0f} s -> {f:.1f} s"
            for name, s, f in zip(("training", "norm phase", "Hessians"), phases, ours, strict=True)
        )
        ratio = sum(phases) / sum(ours)
        line(f"{target.size} parameters, equal work", f"{ratio:.1f}x ({detail})", f">= {least}x", ratio >= least)


def certified(chosen: argparse.Namespace) -> None:
    """All minima, certified, against the classic gradient-norm phase alone, which certifies nothing."""
    for hidden, most in ((SMALL, 0.05), (MEDIUM, 0.35)):
        target = problem(hidden, 1e-4)
        count = 20 if chosen.quick and hidden == MEDIUM else REPLICAS
        theta = target.objective.initial(count, seed=31)
        before = classic_seconds(hidden, chosen.share)[1]
        processor = time.process_time()
        found: list[CriticalPoints] = []
        ours = seconds(lambda t=target, th=theta, f=found: f.append(certify(t, minimise(t, th)))) * REPLICAS / count
        processor = time.process_time() - processor
        slow = 0.5 * (before + classic_seconds(hidden, chosen.share)[1])
        reached = found[0].status.count(Status.MINIMUM)
        name = f"{target.size} parameters, {reached} of {count} minima certified at l2 = 1e-4"
        text = f"{100 * ours / slow:.1f} % of {slow:.0f} s ({ours:.1f} s)"
        line(name, text, f"<= {100 * most:.0f} %", ours / slow <= most and reached == count)
        if hidden == SMALL:
            line(
                f"{target.size} parameters, {count} replicas",
                f"{ours:.1f} s ({processor:.1f} s of CPU)",
                "<= 10 s",
                ours <= 10,
            )


def rate(points: CriticalPoints, index: int | None) -> float:
    """Share certified, with this index if one is given."""
    good = [
        status in (Status.MINIMUM, Status.SADDLE) and index in (None, int(points.certificate.negative[r]))
        for r, status in enumerate(points.status)
    ]
    return sum(good) / len(good)


def minima(chosen: argparse.Namespace) -> None:
    """Success rates of the minimiser on a seed that nothing was tuned on."""
    for hidden, least in ((SMALL, 0.98), (MEDIUM, 0.95)):
        for l2 in (1e-3, 1e-4, 1e-5):
            target = problem(hidden, l2)
            starts = target.objective.initial(chosen.replicas, seed=SEED)
            found = rate(certify(target, minimise(target, starts)), 0)
            name = f"{target.size} parameters, minima, l2 = {l2:.0e}, {chosen.replicas} replicas, seed {SEED}"
            line(name, f"{100 * found:.0f} %", f">= {100 * least:.0f} %", found >= least)


def indices(chosen: argparse.Namespace) -> None:
    """Saddles of prescribed index, without and with new starts, without and with a way down before."""
    for l2, least in ((1e-3, 0.9), (1e-4, 0.6)):
        for index in (1, 2):
            target = problem(SMALL, l2)
            starts = target.objective.initial(chosen.replicas, seed=SEED)
            for restarts, approach in ((0, 0), (3, 0), (0, 60), (3, 60)):
                search = follow_again(target, starts, index, restarts=restarts, approach=approach)
                found = rate(certify(target, search), index)
                ways = f"{restarts} restarts, approach {approach}, {chosen.replicas} replicas, seed {SEED}"
                name = f"33 parameters, index {index}, l2 = {l2:.0e}, {ways}"
                line(name, f"{100 * found:.0f} %", f">= {100 * least:.0f} %", found >= least)


def embedded(chosen: argparse.Namespace) -> None:
    """Minima of narrower networks as saddles of the wide one."""
    for l2 in (1e-3, 1e-4, 1e-5):
        wide = problem(SMALL, l2)
        padded = []
        for hidden in ((1, 1), (2, 2), (3, 3), (2, 4), (4, 2)):
            small = subnetwork(wide.objective, hidden)
            found = minimise(ObjectiveProblem(small), small.initial(max(1, chosen.replicas // 5), seed=SEED))
            padded.append(embed(small, wide.objective, found.theta))
        points = certify(wide, torch.cat(padded), kind="embedded")
        there, sure = float((points.certificate.gradient <= 1e-10).double().mean()), rate(points, None)
        highest = int(points.certificate.negative.max())
        name = f"33 parameters, embedded, l2 = {l2:.0e}, {len(points.status)} points, seed {SEED}"
        text = f"{100 * there:.0f} % critical, {100 * sure:.0f} % certified, index up to {highest}"
        line(name, text, ">= 98 %, >= 90 %", there >= 0.98 and sure >= 0.9)


PARTS = {part.__name__: part for part in (equal, certified, minima, indices, embedded)}


def main() -> None:
    """Runs the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer steps of ours, extrapolated too")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--share", type=int, default=40, help="the classic script runs 1/S of its steps and replicas")
    parser.add_argument("--replicas", type=int, default=REPLICAS, help="of the success rates")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in PARTS]
    if unknown:
        parser.error(f"unknown part '{unknown[0]}': choose from {', '.join(PARTS)}")
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    version = f"torch {torch.__version__}, {chosen.threads} threads, Python {sys.version.split()[0]}"
    print(f"{version}; classic script extrapolated from 1/{chosen.share} of steps and replicas, twice\n")
    print("| what | found | target | met |\n|---|---|---|---|")
    for name in chosen.names or PARTS:
        PARTS[name](chosen)


if __name__ == "__main__":
    main()
