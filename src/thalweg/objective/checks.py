"""What an objective demands of its arguments, each said in one sentence."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.declared import precision, real, whole
from thalweg.errors import InputError, brief, first_line, nearest
from thalweg.objective import batches as data_batches
from thalweg.objective import containers, copying, means, reading, samples, targets
from thalweg.objective.normalization import POLICIES
from thalweg.objective.plain import drawn, looked_at, probe
from thalweg.objective.surroundings import own_numbers

if TYPE_CHECKING:
    from thalweg.objective.assembly import Assembly

log = logging.getLogger("thalweg")
PROBE = 64  # samples that the checks look at


def arguments(
    model: Any, loss: Any, loss_on: Any, l2: float, batchnorm: Any, batch_size: int | None, memory: int | None
) -> None:
    """Checks what can be checked without evaluating anything."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, found {type(model).__name__}")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise InputError(
            "model must be made of plain modules, whose parameters can be replaced, found torch.jit: pass the module "
            "that was scripted or traced"
        )
    if not callable(loss):
        raise InputError(f"loss must be callable, found {type(loss).__name__}")
    if isinstance(loss, type) and issubclass(loss, nn.Module):
        raise InputError(f"loss must be a module that was made, found the class {loss.__name__}: {loss.__name__}()")
    material("model", model)
    material("loss", loss)
    one_of("loss_on", loss_on, ("output", "batch"))
    policy(batchnorm)
    penalty(l2)
    if batch_size is not None:
        whole("batch_size", batch_size, 1)
    if memory is not None and memory < 1:
        raise InputError(f"memory must be a positive number of bytes, found {memory}")


def material(name: str, module: Any) -> None:
    """Checks that a module has numbers: large models are made on the meta device and filled later."""
    if not isinstance(module, nn.Module):
        return
    held = [*module.named_parameters(), *module.named_buffers()]
    empty = [key for key, value in held if value.is_meta]
    if empty:
        raise InputError(
            f"{name} must hold numbers, found {len(empty)} of {len(held)} parameters and buffers on the meta device, "
            f"first '{empty[0]}': fill it (model.to_empty(device=…), then load_state_dict)"
        )


def one_of(name: str, value: object, options: Sequence[str]) -> None:
    """Checks a choice."""
    if value not in options:
        raise InputError(f"{name} must be one of {', '.join(options)}, found '{value}'{nearest(str(value), options)}")


def policy(batchnorm: object) -> None:
    """Checks what normalisation layers shall do."""
    one_of("batchnorm", batchnorm, POLICIES)


def penalty(l2: float) -> None:
    """Checks the weight of the penalty."""
    if not 0 <= real("l2", l2) < float("inf"):
        raise InputError(f"l2 must be finite and not negative, found {l2}")


def replicas(number: int | None) -> None:
    """Checks a number of replicas."""
    if number is not None:
        whole("replicas", number, 1)


def numbers(name: str, value: Any, count: int) -> Tensor:
    """Numbers of samples (n,) of what chooses among them: numbers, a mask (N,), a slice, a range.

    Raises:
        InputError: Something else, none at all, or a number that no sample has.
    """
    if isinstance(value, slice | range):
        value = list(range(count)[value] if isinstance(value, slice) else value)
    try:
        index = torch.as_tensor(value.copy() if isinstance(value, np.ndarray) else value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} must be numbers of samples, found {brief(value)}") from None
    if index.dim() != 1 or index.dtype.is_complex or (index.is_floating_point() and index.numel()):
        kind = f"{str(index.dtype).removeprefix('torch.')} of shape {tuple(index.shape)}"
        raise InputError(f"{name} must be a list of whole numbers or a mask, found {kind}")
    if index.dtype == torch.bool:
        if len(index) != count:
            raise InputError(f"{name} must be a mask of all {count:,} samples, found one of {len(index):,}")
        index = index.nonzero()[:, 0]
    if not len(index):
        raise InputError(f"{name} must choose at least one sample, found none")
    index = index.long()
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= count:
        raise InputError(f"{name} must lie between 0 and {count - 1:,}, found {low if low < 0 else high:,}")
    return index


def buffers(given: Mapping[str, Tensor], model: nn.Module, lead: torch.Size) -> dict[str, Tensor]:
    """Buffers of each θ, name -> (*lead, *shape), checked against those of the model and as numbers of their kind."""
    if not isinstance(given, Mapping):
        raise InputError(
            f"buffers must map names to tensors (dict(model.named_buffers()), say), found {type(given).__name__}"
        )
    own = dict(model.named_buffers())
    known = {name: (*lead, *value.shape) for name, value in own.items()}
    for name, value in given.items():
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if name in known and shape != known[name]:
            raise InputError(f"buffers must have the shape {known[name]} of theta's, found '{name}' of shape {shape}")
        if name not in known:
            found = f"found '{name}' of shape {shape}{nearest(str(name), known)}"
            some = ", ".join([*list(known)[:3], "…"][: len(known)]) or "none"
            raise InputError(f"buffers must be among those of the model ({some}), {found}")
    return {name: _converted(name, value, own[name].dtype) for name, value in given.items()}


def _converted(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    """A buffer as numbers of the kind that the model's is: masks stay masks, counts stay counts."""
    kind = value.dtype
    counts = not (kind.is_floating_point or kind.is_complex or kind == torch.bool)
    if dtype == torch.bool:
        fits = kind == torch.bool
    elif dtype.is_floating_point or dtype.is_complex:
        fits = dtype.is_complex or not kind.is_complex
    else:
        fits = counts and torch.equal(value.to(dtype).to(kind), value)  # a narrower type may not hold them
    if not fits and value.numel():
        found = f"'{name}' of {_word(kind)} with the value {_largest(value)}"
        raise InputError(f"buffers must be of the model's kind, {_word(dtype)}, found {found}")
    return value if dtype.is_floating_point and kind.is_floating_point else value.to(dtype)


def _largest(value: Tensor) -> Any:
    flat = value.flatten().cpu()
    return flat[(flat if flat.dtype == torch.bool else flat.abs()).to(torch.float64).argmax()].item()


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def floating(dtype: torch.dtype, name: str, *, half: bool = False) -> torch.dtype:
    """Checks that a dtype carries enough digits for derivatives; half precision only where it was asked for."""
    dtype = precision(name, dtype)
    if half and dtype in (torch.bfloat16, torch.float16):
        return dtype
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"{name} must be float32 or float64, found {str(dtype).removeprefix('torch.')}")
    return dtype


def place(device: torch.device | str) -> torch.device:
    """Checks that a device holds numbers."""
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device must be one of this machine, found {brief(device)}: {first_line(error)}") from None
    if found.type == "meta":
        raise InputError("device must hold numbers, found meta")
    return found


def vector(theta: Tensor, name: str, dtype: torch.dtype, device: torch.device) -> None:
    """Checks the dtype, device and state of θ or of a vector beside it."""
    if theta.requires_grad:
        raise InputError(
            f"{name} must not require gradients (derivatives are taken inside), found requires_grad=True: "
            f"pass {name}.detach()"
        )
    floating(theta.dtype, name, half=dtype.itemsize < 4)
    if dtype == torch.float32 and torch.is_autocast_enabled(device.type):
        raise InputError("torch.autocast must be off where numbers are to be those of float32, found it on")
    if theta.device != device:
        raise InputError(f"{name} must be on the objective's device {device}, found {theta.device}")
    if torch.finfo(theta.dtype).bits > torch.finfo(dtype).bits:
        raise InputError(
            f"{name} must not be more precise than the objective ({str(dtype).removeprefix('torch.')}), "
            f"found {str(theta.dtype).removeprefix('torch.')}: use objective.double()"
        )


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
    targets.check(objective, output, batch[1])


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
