"""What an objective demands of its loss, seen on a few samples: a scalar, the same every time, a mean over samples."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.objective import batches as data_batches
from thalweg.objective import containers, copying, means, reading, samples, targets
from thalweg.objective.assembly import Assembly
from thalweg.objective.plain import drawn, looked_at, probe
from thalweg.objective.surroundings import own_numbers

PROBE = 64  # samples that are looked at


def loss(objective: Assembly) -> None:
    """Evaluates a probe twice: the loss must be a scalar, deterministic, and a mean over samples.

    A loss that is a mean but not over samples (class weights, a contrastive loss) is kept on whole batches. Where
    losses are compared, θ is one drawn around the model's: at a start that treats all classes alike, all losses agree.
    """
    program, held = objective.program, objective.batches
    batch, theta = _probe(objective), objective.theta
    near = theta.add(drawn(theta), alpha=0.05)
    before = near.clone()
    points = [objective.layout.parameters(theta), objective.layout.parameters(near)]
    devices = [objective.device] if objective.device.type == "cuda" else []

    def evaluate(part: Any, params: dict[str, Tensor] = points[1]) -> float:
        return float(program.loss_alone(params, part))

    # twice: the same kernels in both evaluations, whatever other threads choose between them
    with torch.no_grad(), own_numbers(devices), program.surroundings(twice=True):
        beside = evaluate(batch)
        if not torch.equal(before.nan_to_num_(), near.nan_to_num()):
            raise InputError("model must not write into its parameters, found a forward pass that does (max_norm, say)")
        once, first = evaluate(batch, points[0]), _drawn(devices)
        twice, second = evaluate(batch, points[0]), _drawn(devices)
        why = "the model or the loss is stochastic: dropout is on, say (call model.eval() first)"
        _same(once, twice, why)
        if first != second:
            raise InputError(
                f"the objective must be deterministic, found a forward pass that draws random numbers: {why}"
            )
        _pairing(objective, points[1], batch, evaluate)
        if held.loader is not None or not held.held:
            _same_pass(objective)
        means.on_probe(objective, batch, evaluate, beside)
    means.over_targets(objective, batch)


def computes(objective: Assembly) -> None:
    """Evaluates a few samples in another dtype, in which constants of the model may not follow."""
    params = objective.layout.parameters(objective.theta)
    try:
        with torch.no_grad(), own_numbers(), objective.program.surroundings():
            objective.program.loss_alone(params, objective.batches.first(8))
    except RuntimeError as error:
        dtype = str(objective.dtype).removeprefix("torch.")
        raise InputError(
            f"model and loss must compute in {dtype} where they are asked to, found one that does not "
            f"({str(error).splitlines()[0]}): make constants with dtype=x.dtype, or register them as buffers"
        ) from error


def _drawn(devices: list[torch.device]) -> tuple[object, ...]:
    """What every draw of a random number changes."""
    states = (torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices))
    return (random.getstate(), *(bytes(state.numpy()) for state in states))


def _probe(objective: Assembly) -> Any:
    """Samples from all over the data, which may be sorted by class; the first batch where batches are never cut.

    Of a large model the first few of it, where the loss can be evaluated on them.
    """
    held, most = objective.batches, looked_at(objective, PROBE)
    if not held.divisible or not held.held:
        return held.first(most) if most == PROBE else probe(objective)[0]
    count = held.count(held.held[0])
    spread = torch.linspace(0, count - 1, min(most, count), dtype=torch.float64).round().long()
    return samples.taken(held.held[0], spread)


def _pairing(objective: Assembly, params: dict[str, Tensor], batch: Any, evaluate: Callable[[Any], float]) -> None:
    """Outputs (N, 1) and targets (N,) broadcast to all pairs: a loss that does not mind which target is whose."""
    target = None if objective.loss_on == "batch" else batch[1]
    if target is None or (objective.loss_kind == "cross_entropy" and not target.is_floating_point()):
        return
    output = objective.program.output_alone(params, batch)
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or output.shape == target.shape:
        return
    if output.numel() != target.numel() or len(target) < 2:
        return
    others = [target.roll(len(target) // 2, 0), target.flip(0)]
    if any(torch.equal(target, one) for one in others):
        return
    once, *turned, other = (evaluate((batch[0], one)) for one in (target, *others, target.flip(0) * 2))
    if all(math.isclose(once, one, rel_tol=1e-6) for one in turned) and not math.isclose(once, other, rel_tol=1e-6):
        raise InputError(
            "data targets must have the shape of the model's output (or the loss must give them that), found targets "
            f"{tuple(target.shape)} and outputs {tuple(output.shape)}, each compared with all"
        )


def target_shape(objective: Assembly) -> None:
    """Checks that targets are what a loss on the output can be compared with."""
    batch = data_batches.cloned(objective.batches.first(looked_at(objective, PROBE)))
    if objective.loss_on == "batch":
        return
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputError(
            "data must be pairs (input, target) for a loss on the output; for other batches pass "
            "loss_on='batch' and a loss that takes (model, batch)"
        )
    surroundings = objective.program.surroundings(twice=True)
    with torch.enable_grad(), own_numbers(), surroundings, targets.explained(batch[0]):
        args, kwargs = containers.arguments(batch[0])
        output = copying.copied(objective.program.model)(*args, **kwargs)
    targets.check(objective.loss, objective.batches, output, batch[1])


def _same_pass(objective: Assembly) -> None:
    """A loader must give the same samples at every pass, in whatever order."""
    loader = objective.batches.loader
    if loader is None:
        return
    first, second = (data_batches.fingerprint(reading.read(loader, seed)) for seed in (0, 1))
    if not torch.allclose(first, second, rtol=1e-9, atol=0):
        theta = objective.theta[None]
        once, twice = float(objective.evaluation.value(theta)), float(objective.evaluation.value(theta))
        _same(
            once,
            twice,
            "the data change between passes (augmentation, or a shuffled loader that drops samples)",
            always=True,
        )


def _same(once: float, twice: float, why: str, *, always: bool = False) -> None:
    if always or (once != twice and not (once != once and twice != twice)):
        difference = abs(once - twice) / max(abs(once), abs(twice), 1e-300)
        raise InputError(
            f"the objective must be deterministic, found {once:.8g} and {twice:.8g} at the same theta "
            f"(relative difference {difference:.2g}): {why}"
        )
