"""The loss around θ: a plane of random directions, and lines along the gradient's and the Hessian's directions."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from thalweg.analysis.costs import some
from thalweg.analysis.part import Number, Part, failure, spoken
from thalweg.analysis.planning import Stage
from thalweg.landscape import Directions, Grid, Surface, random_directions, surface
from thalweg.objective import Objective

__all__ = ["around", "light"]

REACH = 0.5  # of the norm of every filter
HEAVY = 2**24  # bytes of directions beyond which a kept picture goes without them


def around(objective: Objective, theta: Tensor, stage: Stage, vectors: Tensor | None) -> Part:
    """Evaluates the loss near θ.

    Args:
        objective: The loss.
        theta: (P,).
        stage: Samples, and points of the plane and the lines.
        vectors: Eigenvectors of the largest and the smallest eigenvalue (2, P), if they are known.
    """
    part, settings = some(objective, stage.samples), stage.settings
    found: list[Surface] = []
    numbers, left_out = [], []
    directions = random_directions(part, theta, 2)
    plane = surface(part, theta, directions, Grid(points=settings["grid"] | 1, span=REACH))
    found.append(plane)
    rise = _rise(plane)
    how = f"median over the edge of a plane of two random directions, ±{REACH:g} of every filter's norm"
    numbers.append(Number("rise in the random plane", rise, 0.0, part.samples, how))
    for word, own in zip(("largest", "smallest"), () if vectors is None else vectors, strict=False):
        vector = own.to(theta)[None] * float(torch.linalg.vector_norm(theta))
        try:
            line = Directions(
                vector,
                (f"eigenvector of the {word} eigenvalue (length ‖θ‖)",),
                f"the eigenvector of the {word} eigenvalue",
            )
            found.append(surface(part, theta, line, Grid(points=settings["line"] | 1, rise=_height(plane))))
        except Exception as error:  # noqa: BLE001 - whatever one line meets, the others go on
            left_out.append(failure(f"Line along the eigenvector of the {word} eigenvalue", error))
    if part.samples < objective.samples:
        left_out.append(f"Lines and planes are of {part.samples:,} of {objective.samples:,} samples.")
    center = plane.at_center("loss")
    lowest = float(np.nanmin(plane.values["loss"]))
    below = "nowhere lower than" if lowest >= center else f"as low as {spoken(lowest)} against"
    said = (
        f"At {REACH:g} of the norm of every filter the loss has risen by {spoken(rise)} in a random plane, where it is "
        f"{below} {spoken(center)} at the point itself."
    )
    cells = sum(one.values["loss"].size for one in found)
    return Part(
        "around",
        "The loss around the point",
        said,
        tuple(numbers),
        tuple(light(one) for one in found),
        left_out=tuple(left_out),
        spent={"values": cells * part.samples},
    )


def _rise(plane: Surface) -> float:
    values = plane.values["loss"]
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    return float(np.median(edge) - plane.at_center("loss"))


def _height(plane: Surface) -> float:
    """How far a line climbs: as high as the plane, and not beyond what can be seen beside the bottom."""
    rise, center = _rise(plane), abs(plane.at_center("loss"))
    return float(np.clip(rise, 0.1 * center + 1e-6, 10 * center + 1e-3)) if np.isfinite(rise) else center + 1e-3


def light(found: Surface) -> Surface:
    """The same picture; of a large model without the weights, which are not needed to draw it."""
    vectors = found.directions.vectors
    if vectors.nbytes <= HEAVY:
        return found
    small = torch.diag(found.directions.lengths)
    return dataclasses.replace(
        found,
        center=torch.zeros(len(small), dtype=torch.float64),
        directions=dataclasses.replace(found.directions, vectors=small),
    )
