"""Loss, metrics, the gradient layer by layer, and what kind of point θ is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from thalweg.analysis.costs import some
from thalweg.analysis.part import Number, Part, spoken
from thalweg.analysis.planning import SUBSETS, Stage
from thalweg.critical import as_problem, certify
from thalweg.curvature import over_subsets
from thalweg.errors import InputError
from thalweg.objective import Objective

__all__ = ["by_layer", "point"]


def by_layer(objective: Objective) -> dict[str, slice]:
    """The coordinates of every module that has parameters of its own, in order: name -> slice of θ."""
    found: dict[str, slice] = {}
    for name, place in objective.layout.slices.items():
        module = name.rpartition(".")[0] or name
        start = found[module].start if module in found else place.start
        if module in found and found[module].stop != place.start:  # its parameters do not lie together
            module, start = name, place.start
        found[module] = slice(start, place.stop)
    return found


def point(objective: Objective, theta: Tensor, stage: Stage, test: Objective | None = None) -> Part:
    """Measures loss, metrics and gradient at θ.

    Args:
        objective: The loss, in the precision of the analysis.
        theta: (P,).
        stage: On how many samples.
        test: The loss on test data.
    """
    part = some(objective, stage.samples)
    errors = _errors(part, theta, objective.samples)
    numbers = []
    for name, value in part.metrics(theta).items():
        error = errors.get(name, 0.0)
        numbers.append(Number(name, float(value), error, part.samples, "mean over samples"))
    value, gradient = part.value_and_gradient(theta)
    if objective.l2:
        numbers.append(Number("objective", float(value), errors.get("loss", 0.0), part.samples, "loss + ½·l2·‖θ‖²"))
    if test is not None:
        for name, found in some(test, stage.samples).metrics(theta.to(test.dtype)).items():
            numbers.append(Number(f"test {name}", float(found), 0.0, min(test.samples, stage.samples), "on test data"))
    norm = float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
    numbers.append(Number("gradient norm", norm, errors.get("gradient", 0.0), part.samples, "‖∇L‖₂"))
    layers = by_layer(objective)
    rows = {
        "layer": list(layers),
        "parameters": [place.stop - place.start for place in layers.values()],
        "gradient norm": [float(gradient[place].double().norm()) for place in layers.values()],
        "weight norm": [float(theta[place].double().norm()) for place in layers.values()],
    }
    said, more, left_out = _kind(part, theta, gradient, norm, certified=bool(stage.settings["certificate"]))
    loss = numbers[0]
    known = ", ".join(f"{one.name} {one.text}" for one in numbers[1:3] if "accuracy" in one.name)
    of = "all" if part.samples == objective.samples else f"{part.samples:,} of"
    if objective.kinks:
        said += f" Hessians miss the kinks of {', '.join(objective.kinks)}."
    return Part(
        "point",
        "Gradient norm by layer",
        f"The loss is {loss.text}{f' ({known})' if known else ''} on {of} {objective.samples:,} samples, and the norm "
        f"of its gradient {spoken(norm)}. {said}",
        (*numbers, *more),
        rows=rows,
        figure=("layer", "gradient norm"),
        left_out=left_out,
        spent={"values": part.samples * 2, "gradients": part.samples * 2},
    )


def _errors(part: Objective, theta: Tensor, samples: int) -> dict[str, float]:
    """Standard errors of the means by the draw of the samples; none where all were taken, or nothing was cut."""
    if part.samples >= samples or part.samples < 2 * SUBSETS:
        return {}
    names: list[str] = []

    def means(one: Objective) -> Tensor:
        found: Mapping[str, Tensor] = one.metrics(theta)
        names[:] = list(found)
        return torch.stack([value.double() for value in found.values()])

    found = over_subsets(part, means, part.samples // SUBSETS, subsets=SUBSETS)
    share = math.sqrt(1 - part.samples / samples)
    return {name: share * float(error) for name, error in zip(names, found.standard_error, strict=True)}


def _kind(
    part: Objective, theta: Tensor, gradient: Tensor, norm: float, *, certified: bool
) -> tuple[str, tuple[Number, ...], tuple[str, ...]]:
    """What the point is: by its certificate where the Hessian is small, else by the slope along the gradient."""
    if not math.isfinite(norm):
        return "The gradient is not finite there.", (), ()
    if certified:
        try:
            found = certify(as_problem(part), theta[None].double(), polish=False)
        except InputError as error:
            return "", (), (f"Certificate: {error}.",)
        own = found.certificate
        flatness = Number("flatness", float(own.flatness[0]), 0.0, part.samples, "‖Hg‖ / (‖H‖‖g‖), certificate")
        return f"It is {found.status[0]}: {found.message[0]}", (flatness,), ()
    if norm == 0.0:
        return "The gradient is exactly zero: it is a critical point.", (), ()
    try:
        along = part.hvp(theta, gradient / norm)
    except InputError as error:
        return "", (), (f"Curvature along the gradient: {error}.",)
    slope = float((along.double() @ gradient.double()) / norm)
    number = Number("curvature along the gradient", slope, 0.0, part.samples, "gᵀHg / ‖g‖²")
    if slope <= 0:
        return "It is no critical point: along the gradient the loss curves downwards.", (number,), ()
    fall = norm**2 / (2 * slope)
    said = f"It is no critical point: by its slope and curvature, one step along −∇L lowers the loss by {fall:.2g}."
    return said, (number,), ()
