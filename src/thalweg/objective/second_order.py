"""Whether products with the Hessian are right: compared once with plain double backward and with finite differences.

Autograd raises for built-in operations without a second derivative. A custom `torch.autograd.Function` whose backward
pass leaves the graph (`@once_differentiable`, NumPy, `.detach()`) is worse: its part of the second derivative is
silently zero. So is that of a tensor hook which solves for a gradient. Only differences of the gradient show that.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.objective.agreement import Way
from thalweg.objective.assembly import Assembly
from thalweg.objective.differentiable import custom_functions, kinks, naming_refusals
from thalweg.objective.needs import Needs
from thalweg.objective.plain import Plain, few
from thalweg.objective.program import Program
from thalweg.objective.tensors import placer

__all__ = ["check"]

# Relative differences that rounding can make between our products and plain ones.
TOLERANCE = {torch.float32: 2e-2, torch.float64: 1e-6, torch.bfloat16: 0.3, torch.float16: 0.1}


def check(objective: Assembly) -> None:
    """Compares one Hessian-vector product, on a few samples at a θ beside the model's own.

    Args:
        objective: Its `needs` are changed where products of several θ at once are not those of each.

    Raises:
        InputError: Products differ from those of a plain copy of the model, or by more than finite differences can
            from differences of the gradient; or autograd refuses.
    """

    def build(tried: Needs) -> Program:
        return objective._changed(needs=tried).program

    batch, theta = few(objective)
    plain = Plain(build(objective.needs), objective.layout, batch)
    v = torch.randn(theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(theta)
    v = plain.layout.ravel(plain.still(plain.layout.unravel(v)))
    v = v / torch.linalg.vector_norm(v)
    try:
        right, names, bent, least = _plain_product(plain, theta, v)
    except InputError as error:  # an attention kernel that the model's own code chose
        if objective.needs.exact or "scaled_dot_product" not in str(error):
            raise
        _change(objective, exact=True)
        plain = replace(plain, program=build(objective.needs))
        right, names, bent, least = _plain_product(plain, theta, v)
    way = Way(build, objective.layout, plain.batch, torch.stack([objective.theta, theta]))
    alone = _product(way, objective.needs, theta[None], v)
    tolerance = TOLERANCE[objective.dtype]
    if not _close(alone, right, tolerance, least):
        raise InputError(
            "model and loss must be twice differentiable with parameters that are put in for theta, found a "
            f"Hessian-vector product that differs by {_share(alone, right, least):.2g} (relative) from that of a copy "
            "of the model that has them"
        )
    together = objective.needs.vectorized
    if together and not _close(_product(way, objective.needs, way.theta, v), right, tolerance, least):
        _change(objective, vectorized=False)
    doubtful = objective.doubtful or bool(names)
    if doubtful or not bent:
        _by_differences(objective, plain, theta, v, names, strict=not bent)


def _change(objective: Assembly, **needs: bool) -> None:
    objective.needs = replace(objective.needs, **needs)
    for name in ("program", "evaluation"):
        objective.__dict__.pop(name, None)


def _plain_product(plain: Plain, theta: Tensor, v: Tensor) -> tuple[Tensor, tuple[str, ...], bool, float]:
    """∇²L v by double backward in a copy of the model.

    Returns:
        The product (P,); custom functions in the graph of L; whether it has kinks; the size of rounding errors.
    """
    with naming_refusals(), plain.program.surroundings(twice=True), torch.enable_grad():
        loss, model = plain.loss(theta)
        parts = plain.gradients(loss, model, create_graph=True)
        vectors = plain.layout.parameters(v)
        total = [(part * vectors[name]).sum() for name, part in parts.items() if part is not None]
        total = [one for one in total if one.requires_grad]
        again = plain.gradients(torch.stack(total).sum(), model) if total else dict.fromkeys(parts)
    rounding = 1e3 * torch.finfo(theta.dtype).eps * float(torch.linalg.vector_norm(plain.flat(parts)))
    return plain.flat(again), custom_functions(loss), bool(kinks(loss)), rounding


def _product(way: Way, needs: Needs, theta: Tensor, v: Tensor) -> Tensor:
    """Our product at the last of some θ (B, P)."""
    with naming_refusals():
        product = way.evaluation(needs).products(theta, retain=False)
    return product(v.expand(1, *theta.shape))[0, -1]


def _by_differences(
    objective: Assembly, plain: Plain, theta: Tensor, v: Tensor, names: tuple[str, ...], *, strict: bool
) -> None:
    """Central differences of the gradient, in float64 where model and loss can."""
    wide, at, along = plain, theta, v
    if objective.dtype != torch.float64:
        program = objective._changed(dtype=torch.float64).program
        wide = replace(plain, program=program, batch=placer(objective.device, torch.float64)(plain.batch))
        at, along = theta.double(), v.double()
        try:
            wide.gradient(at)
        except RuntimeError:  # constants that do not follow the dtype
            wide, at, along, strict = plain, theta, v, False
    norm = torch.linalg.vector_norm
    epsilon = max(torch.finfo(at.dtype).eps, objective.epsilon(at.dtype))
    exact = _plain_product(wide, at, along)[0]
    step = epsilon ** (1 / 3) * max(1.0, float(norm(at)))
    before = math.inf
    for shift in (step, step / 8):  # the second where the third derivative is large: an error of 1/64, noise of 8
        slopes = [wide.gradient(at + sign * along)[1] for sign in (shift, -shift)]
        measured = (slopes[0] - slopes[1]) / (2 * shift)
        scale = float(torch.maximum(norm(measured), norm(exact)))
        noise = epsilon * float(norm(slopes[0])) / shift
        error = float(norm(exact - measured))
        settled = error <= (1e-3 if strict else 0.05) * scale + 10 * noise
        if not math.isfinite(error) or settled or (error <= 0.1 * before and error <= 0.05 * scale):
            return
        before = error
    raise InputError(
        f"model and loss must be twice differentiable for second derivatives, found {_cause(objective, names)}: "
        f"a Hessian-vector product through it differs by {error / scale:.2g} (relative) from finite differences of "
        "the gradient"
    )


def _cause(objective: Assembly, names: tuple[str, ...]) -> str:
    if names:
        return f"custom function {', '.join(names)}"
    if objective.needs.mutates:
        return "a forward pass that computes buffers from theta"
    return "a hook or a derivative inside that leaves the graph" if objective.doubtful else "an operation that is not"


def _close(found: Tensor, right: Tensor, tolerance: float, least: float) -> bool:
    return not bool(torch.isfinite(right).all()) or _share(found, right, least) <= tolerance


def _share(found: Tensor, right: Tensor, least: float) -> float:
    norm = torch.linalg.vector_norm
    return float(norm(found - right)) / max(float(norm(right)), least, 1e-30)
