"""What BatchNorm layers do during an analysis; their running statistics are never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

if TYPE_CHECKING:
    from thalweg.objective.batches import Batches
    from thalweg.objective.program import Program

BatchNormPolicy = Literal["frozen", "batch", "recomputed"]
POLICIES: tuple[BatchNormPolicy, ...] = ("frozen", "batch", "recomputed")


def layers(model: nn.Module) -> dict[str, _NormBase]:
    """The layers of a model that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _NormBase) and module.track_running_stats and module.running_mean is not None
    }


def by_batch(model: nn.Module) -> bool:
    """Whether a model normalises by the statistics of the very batch, so that its loss depends on how data are cut."""
    norms = (module for module in model.modules() if isinstance(module, _BatchNorm))
    return any(module.training or module.running_mean is None for module in norms)


def apply_policy(model: nn.Module, policy: BatchNormPolicy) -> None:
    """Sets the layers of a model (a private copy) to the policy.

    `frozen`: the stored running statistics, whatever theta. `batch`: each batch's own statistics, which makes the loss
    depend on how the data are cut. `recomputed`: the statistics of the whole data at each theta (`statistics`), held
    constant under differentiation.
    """
    for module in layers(model).values():
        if policy == "batch":
            module.train()
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
        else:
            module.eval()


def statistics(
    model: nn.Module,
    forward: Callable[[Mapping[str, Tensor], Any], object],
    buffers: Mapping[str, Tensor],
    batches: Iterable[tuple[Any, int]],
) -> dict[str, Tensor]:
    """Recomputes the running statistics of one theta over all batches, each weighted by its samples.

    Every batch passes through the network normalised by its own statistics, as in training (Izmailov et al. 2018,
    §3.3); means and second moments are averaged over samples, so that ragged batches count rightly.

    Args:
        model: The private copy that `forward` evaluates.
        forward: Evaluates the model with these buffers on a batch.
        buffers: All buffers of the model; not changed.
        batches: Pairs (batch, samples).

    Returns:
        name -> tensor for the running means and variances.
    """
    norms = layers(model)
    total = 0
    sums: dict[str, Tensor] = {}
    saved = {name: (module.training, module.momentum) for name, module in norms.items()}
    try:
        for module in norms.values():
            module.train()
            module.momentum = 1.0  # the running statistics become those of this very batch
        for batch, count in batches:
            fresh = {name: value.clone() for name, value in buffers.items()}
            with torch.no_grad():
                forward(fresh, batch)
            total += count
            for name in norms:
                # in double precision: where a mean is large, its square leaves nothing of a small variance in single
                mean = fresh[f"{name}.running_mean".lstrip(".")].double()
                var = fresh[f"{name}.running_var".lstrip(".")].double()
                for key, value in ((f"{name}.running_mean", mean), (f"{name}.running_var", var + mean * mean)):
                    sums[key] = sums.get(key, torch.zeros_like(value)) + count * value
    finally:
        for name, module in norms.items():
            module.train(saved[name][0])
            module.momentum = saved[name][1]
    out = {}
    for name in norms:
        mean = sums[f"{name}.running_mean"] / total
        out[f"{name}.running_mean".lstrip(".")] = mean
        out[f"{name}.running_var".lstrip(".")] = sums[f"{name}.running_var"] / total - mean * mean
    return {name: value.to(buffers[name].dtype) for name, value in out.items()}


def recomputed(
    program: Program, params: Mapping[str, Tensor], batches: Batches, size: int | None = None
) -> dict[str, Tensor]:
    """Recomputes the statistics of every θ of a stack: parameters name -> (B, *shape) to buffers name -> (B, …).

    Args:
        program: Evaluates the model.
        params: The stack.
        batches: The data.
        size: Greatest number of samples in a batch; default the data as they are held.
    """
    if not layers(program.model):
        return {}
    program = replace(program, needs=replace(program.needs, mutates=False))  # the statistics are read after the pass
    rows = []
    for b in range(len(next(iter(params.values())))):
        one = {name: value[b] for name, value in params.items()}

        def forward(buffers: Mapping[str, Tensor], batch: Any, one: Mapping[str, Tensor] = one) -> Tensor:
            return program.loss_one({**one, **buffers}, batch)

        rows.append(statistics(program.model, forward, dict(program.model.named_buffers()), batches.chunks(size)))
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
