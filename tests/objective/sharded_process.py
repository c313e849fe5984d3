"""A process of a sharded objective: `python -m tests.objective.sharded_process RANK WORLD FOLDER` measures it."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thalweg import train
from thalweg.curvature import eigenpairs, ggn_operator, hessian_operator, spectral_density, trace
from thalweg.errors import InputError
from thalweg.landscape import random_directions, surface
from thalweg.objective import Objective, sharded
from thalweg.training import Recipe

SAMPLES = 23  # no number of processes divides it


def data(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(SAMPLES, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (SAMPLES,), generator=generator)


def batches(sizes: tuple[int, ...] = (5, 2, 9, 4, 3)) -> list[tuple[Tensor, Tensor]]:
    x, y = data(4)
    return list(zip(x.split(sizes), y.split(sizes), strict=True))


def dense(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), *between, nn.Tanh(), nn.Linear(5, 3)).double()


def convolutional() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)
    ).double()
    model[1].running_mean.copy_(torch.randn(2).double())
    return model.eval()


def on_batch(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], weight=torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))


LOSS = nn.CrossEntropyLoss()
CASES: dict[str, Callable[[], Objective]] = {
    "stack": lambda: Objective(dense(), LOSS, data(4), l2=0.01),
    "pieces": lambda: Objective(dense(nn.LayerNorm(5)), LOSS, data(4), l2=0.01, memory=40_000),
    "convolutional": lambda: Objective(convolutional(), LOSS, data(1, 3, 3)),
    "batches": lambda: Objective(dense(nn.LayerNorm(5)), on_batch, batches(), loss_on="batch", l2=0.01),
    "batch statistics": lambda: Objective(dense(nn.BatchNorm1d(5)), LOSS, data(4), batchnorm="batch", batch_size=4),
}


def own_part(rank: int, world: int) -> Objective:
    """A loader of this process's part alone, too large to hold: one process has ten samples more than another."""
    bounds = [0, *(SAMPLES - 4 * (world - 1) + 4 * r for r in range(world))]
    x, y = (leaf[bounds[rank] : bounds[rank + 1]] for leaf in data(4))
    return Objective(dense(), LOSS, DataLoader(TensorDataset(x, y), batch_size=3), l2=0.01, memory=64)


def measured(objective: Objective) -> dict[str, Tensor]:
    """Everything that a sharded objective shall give as the whole one does."""
    theta = objective.initial(replicas=3, seed=1)
    v = torch.randn(2, *theta.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    value, gradient = objective.value_and_gradient(theta)
    found = {"value": value, "gradient": gradient, "product": objective.hvp(theta, v)}
    found |= {f"metric {name}": values for name, values in objective.metrics(theta).items()}
    found["gradient norm"] = objective.value_gradient_product(theta)[2]
    found["hessian"] = objective.hessian(theta)
    operator = hessian_operator(objective, objective.theta)
    pairs = eigenpairs(operator, 3, which="both", tolerance=1e-10)
    found["eigenvalues"] = pairs.values
    found["products spent"] = torch.tensor(float(pairs.products))
    found["density"] = spectral_density(operator, probes=3, steps=8, points=50).density
    found["trace"] = torch.tensor(trace(operator, products=12).value, dtype=torch.float64)
    if objective.loss_on == "output":
        found["ggn"] = ggn_operator(objective, objective.theta)(v[:, 0])
    plane = random_directions(objective, objective.theta, seed=3)
    for fast in (True, False):
        picture = surface(objective, objective.theta, plane, 3, metrics=("loss", "gradient_norm"), fast=fast)
        found |= {f"surface {name} {fast}": torch.from_numpy(values) for name, values in picture.values.items()}
    return found


def refused(rank: int, world: int) -> dict[str, str]:
    """The sentence with which every mistake is answered: in all processes, so that none of them hangs."""
    whole = CASES["stack"]()
    part = sharded(whole)
    x, y = data(4)
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))
    mixed = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(rank))
    cases = {
        "theta": lambda: part.value(part.theta + rank),
        "v": lambda: part.hvp(part.theta, torch.ones(part.size).double() + rank),
        "few samples": lambda: sharded(Objective(dense(), LOSS, (x[: world - 1], y[: world - 1]))),
        "few batches": lambda: sharded(Objective(dense(), LOSS, batches((SAMPLES,)))),
        "one batch": lambda: sharded(Objective(dense(), weighted, (x, y))),
        "order": lambda: sharded(Objective(dense(), LOSS, (x[mixed], y[mixed]))),
        "order of batches": lambda: sharded(Objective(dense(), LOSS, batches()[:: 1 - 2 * (rank % 2)])),
        "recomputed": lambda: sharded(Objective(convolutional(), LOSS, data(1, 3, 3), batchnorm="recomputed")),
        "recomputed later": lambda: sharded(CASES["convolutional"]()).with_batchnorm("recomputed"),
        "loader": lambda: sharded(Objective(dense(), LOSS, DataLoader(TensorDataset(x, y), 4), memory=64)),
        "options": lambda: sharded(Objective(dense(), LOSS, (x, y), l2=0.1 * rank)),
        "again": lambda: sharded(part),
        "choice": lambda: sharded(whole, data="half"),
        "outputs": lambda: part.outputs(part.theta),
        "subset": lambda: part.subset(torch.arange(2)),
        **{
            f"training {size}": lambda size=size: train(part, recipe=Recipe(epochs=1, batch_size=size), replicas=2)
            for size in (None, 8, "given")
        },
    }
    found = {}
    for name, case in cases.items():
        try:
            case()
            found[name] = "not refused"
        except InputError as error:
            found[name] = str(error)
    return found


def main() -> None:
    """Writes measurements and refusals of this process into the folder."""
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    limit = datetime.timedelta(seconds=120)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world, timeout=limit)
    for name, make in CASES.items():
        torch.manual_seed(rank)  # other models in other processes: the first one counts
        found = measured(sharded(make()))
        np.savez(folder / f"{name}-{rank}.npz", **{key: tensor.numpy() for key, tensor in found.items()})
    torch.manual_seed(rank)
    found = measured(sharded(own_part(rank, world), data="own"))
    np.savez(folder / f"own-{rank}.npz", **{key: tensor.numpy() for key, tensor in found.items()})
    (folder / f"refused-{rank}.json").write_text(json.dumps(refused(rank, world)))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
