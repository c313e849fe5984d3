"""Directions that a picture of the loss is drawn along, each with what it hides.

A picture shows L(θ + Σ_k c_k d_k) for a few d_k out of as many dimensions as there are parameters. Which ones decides
what can be seen, so :class:`Directions` carries its kind and its notes wherever it goes. Random directions are made in
`thalweg.landscape.filters`, the principal axes of a trajectory or of the curvature in `thalweg.landscape.principal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_thetas, as_vector, floating
from thalweg.results import Stored

__all__ = ["Directions", "as_directions", "gradient_direction", "solution_directions"]


@short
@dataclass(frozen=True, eq=False)
class Directions(Stored):
    """K directions in the space of θ.

    Args:
        vectors: (K, P); their lengths are the units of the axes.
        labels: K words for the axes.
        kind: How they were chosen, in words.
        notes: Sentences on what they hide, what is weak or missing, whether they were orthogonalised.

    Raises:
        InputError: Not (K, P), a direction that is zero or not finite, directions that depend on each other, or another
            number of labels.

    Example:
        >>> plane = Directions(torch.tensor([[1.0, 0, 0], [1, 1, 0]]), ("first", "second"), "chosen by hand")
        >>> plane.points(torch.zeros(3), torch.tensor([[0.0, 0], [1, 2]]))
        tensor([[0., 0., 0.],
                [3., 2., 0.]])
        >>> plane.project(torch.tensor([3.0, 2.0, 5.0]))  # coordinates, and the distance from the plane
        (tensor([1., 2.], dtype=torch.float64), tensor(5., dtype=torch.float64))
    """

    vectors: Tensor
    labels: tuple[str, ...]
    kind: str = "given"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.vectors, np.ndarray):
            object.__setattr__(self, "vectors", floating(self.vectors, "vectors"))
        vectors = self.vectors
        if not isinstance(vectors, Tensor) or vectors.dim() != 2 or 0 in vectors.shape:
            found = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
            raise InputError(f"vectors must be a tensor of shape (K, P), neither empty, found {found}")
        if not vectors.is_floating_point():
            raise InputError(f"vectors must hold floating-point numbers, found {vectors.dtype}")
        if len(self.labels) != len(vectors):
            raise InputError(f"labels must be one for each of the {len(vectors)} directions, found {len(self.labels)}")
        lengths = self.lengths
        for label, length in zip(self.labels, lengths.tolist(), strict=True):
            if not 0 < length < float("inf"):
                raise InputError(f"every direction must be finite and not zero, found '{label}' of length {length}")
        # Rounding of the vectors' own dtype turns parallel directions apart by about this angle.
        least = 20 * torch.finfo(vectors.dtype).eps
        if len(vectors) > self.size or torch.linalg.svdvals(self._unit)[-1] < least:
            raise InputError(
                "directions must not be parallel (none may lie in the span of the others), "
                f"found {', '.join(self.labels)} in {self.size} dimensions"
            )

    @property
    def size(self) -> int:
        """P, the length of every direction."""
        return self.vectors.shape[1]

    @property
    def lengths(self) -> Tensor:
        """(K,) float64, ‖d_k‖."""
        return torch.linalg.vector_norm(self.vectors, dim=1, dtype=torch.float64)

    @property
    def cosines(self) -> Tensor:
        """(K, K) float64, the cosines of the angles between the directions."""
        return self._unit @ self._unit.T

    @property
    def _unit(self) -> Tensor:
        return self.vectors.double() / self.lengths[:, None]

    def points(self, theta: Tensor, coordinates: Tensor) -> Tensor:
        """Returns θ + Σ_k c_k d_k in the dtype of θ; exactly θ where all coordinates are zero.

        Args:
            theta: (P,).
            coordinates: (…, K).

        Returns:
            (…, P).
        """
        theta, coordinates = floating(theta, "theta"), floating(coordinates, "coordinates")
        for name, value, length in (("theta", theta, self.size), ("coordinates", coordinates, len(self.vectors))):
            if value.shape[-1:] != (length,):
                raise InputError(f"{name} must have shape (…, {length}), found {tuple(value.shape)}")
        return theta + coordinates.to(theta) @ self.vectors.to(theta)

    def project(self, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Finds the nearest point of the plane (or line) by least squares; the directions need not be orthogonal.

        Args:
            offset: θ − centre, (…, P).

        Returns:
            Coordinates (…, K) and the distance from that point ‖offset − Σ_k c_k d_k‖ (…), both float64.
        """
        offset = floating(offset, "offset")
        if offset.shape[-1:] != (self.size,):
            raise InputError(f"offset must have shape (…, {self.size}), found {tuple(offset.shape)}")
        basis, triangle = torch.linalg.qr(self.vectors.double().T)  # (P, K), (K, K)
        along = offset.double() @ basis
        coordinates = torch.linalg.solve_triangular(triangle, along.reshape(-1, len(triangle)).T, upper=True).T
        away = torch.linalg.vector_norm(offset.double() - along @ basis.T, dim=-1)
        return coordinates.reshape(along.shape), away

    def orthogonalized(self) -> Self:
        """Removes from every direction its components along those before it (Gram–Schmidt).

        The plane stays the same; right angles in the picture become right angles in the space of the weights.
        """
        basis, triangle = torch.linalg.qr(self.vectors.double().T)
        kept = basis.T * triangle.diagonal()[:, None]
        return replace(self, vectors=kept.to(self.vectors.dtype), notes=(*self.notes, ORTHOGONALISED))

    def noting(self, *sentences: str) -> Self:
        """The same directions with more notes."""
        return replace(self, notes=(*self.notes, *sentences))


def moving(vectors: Tensor) -> int:
    """How many parameters directions (K, P) move."""
    return int((vectors != 0).any(0).sum())


def moving_note(vectors: Tensor) -> tuple[str, ...]:
    """A sentence on how many parameters directions (K, P) move; none where all do."""
    count, size = moving(vectors), vectors.shape[1]
    return (f"{count} of {size} parameters move.",) if count < size else ()


ORTHOGONALISED = "Orthogonalised: every direction is freed of its components along those before it."


def finished(
    vectors: Tensor, labels: Sequence[str], kind: str, notes: Sequence[str], *, orthogonal: bool
) -> Directions:
    """Directions that are orthogonalised or say at which angle they stand."""
    found = Directions(vectors, tuple(labels), kind, tuple(notes))
    if len(vectors) == 1:
        return found
    if orthogonal:
        return found.orthogonalized()
    largest = float(found.cosines.fill_diagonal_(0).abs().max())
    word = "Orthogonal" if largest < 1e-6 else "Not orthogonalised"
    return found.noting(f"{word}: the largest cosine between two directions is {largest:.1g}.")


def as_directions(value: Any, name: str = "directions") -> Directions:
    """Directions that were given, or those of bare vectors.

    Args:
        value: Directions; or a tensor or an array (K, P), one direction (P,), or a list of such.
        name: Of the argument, for messages.

    Raises:
        InputError: Something else.
    """
    if isinstance(value, Directions):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(one, Tensor | np.ndarray) for one in value):
        rows = [floating(one, f"{name}[{k}]") for k, one in enumerate(value)]
        if len({row.shape for row in rows}) > 1:
            raise InputError(f"{name} must list vectors of one length, found {[tuple(row.shape) for row in rows][:3]}")
        value = torch.stack(rows)
    if not isinstance(value, Tensor | np.ndarray):
        raise InputError(f"{name} must be Directions or vectors (K, P), found {type(value).__name__}")
    vectors = floating(value, name).detach()
    vectors = vectors[None] if vectors.dim() == 1 else vectors
    labels = [f"direction {k + 1}" for k in range(len(vectors) if vectors.dim() else 0)]
    return finished(vectors, labels, "given", [], orthogonal=False)


@declared
def solution_directions(
    a: Any, b: Any, c: Any = None, *, orthogonal: bool = True, objective: Objective | None = None
) -> Directions:
    """The line through two solutions, or the plane through three, to be drawn with `a` as its centre.

    On the line, coordinate 0 is `a` and 1 is `b`. In the plane the second direction is made orthogonal to the first
    (Garipov et al. 2018), so that right angles stay right: `b` lies at (1, 0) and `c` at (x, 1).

    Args:
        a: (P,), the first solution: a tensor, an array, or a model, whose trainable parameters are taken; with an
            objective whatever it takes.
        b: (P,), the second.
        c: (P,), the third; default none.
        orthogonal: False draws the plane askew, with `b` at (1, 0) and `c` at (0, 1).
        objective: Says which names of a state_dict make up θ, and which parameters of a model; needed for the first
            only.

    Raises:
        InputError: Solutions of different lengths (architectures), equal ones, or three on one line.

    Example:
        >>> a, b, c = torch.tensor([[0.0, 0, 0], [2, 0, 0], [1, 3, 0]])
        >>> plane = solution_directions(a, b, c)
        >>> plane.project(c - a)[0]
        tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    others = as_thetas({"a": a, "b": b} if c is None else {"a": a, "b": b, "c": c}, objective)
    a = others.pop("a")
    for name, other in others.items():
        if a.dim() != 1 or other.shape != a.shape:
            raise InputError(
                f"a and {name} must be vectors of one length (solutions of the same architecture), "
                f"found {tuple(a.shape)} and {tuple(other.shape)}"
            )
        if torch.equal(other, a):
            raise InputError(f"a and {name} must differ to make a direction, found equal solutions")
    vectors = torch.stack([other.detach() - a.detach() for other in others.values()])
    labels = tuple(f"towards solution {name}" for name in others)
    note = "Everything off the line between the solutions is hidden: they may be joined by a curved path of low loss."
    if c is not None:
        note = "Everything off the plane of the solutions is hidden: they may be joined outside it."
    notes = [note, *moving_note(vectors)]
    return finished(vectors, labels, "between solutions", notes, orthogonal=orthogonal)


@declared
def gradient_direction(objective: Objective, theta: Tensor, parameters: str | Sequence[str] = "*") -> Directions:
    """The unit vector uphill, ∇L/‖∇L‖, penalty included.

    Args:
        objective: The loss.
        theta: (P,); or what `Objective.as_theta` takes: a model, a state_dict, an array.
        parameters: Glob or globs: only these move.

    Raises:
        InputError: The gradient is zero or not finite.
    """
    theta = as_vector(objective, theta)
    index = objective.layout.select(parameters).to(theta.device)
    gradient = torch.zeros_like(theta)
    gradient[index] = objective.gradient(theta)[index].to(theta)
    length = float(torch.linalg.vector_norm(gradient))
    if not 0 < length < float("inf"):
        raise InputError(f"theta must have a finite gradient that is not zero, found one of norm {length}")
    of = (
        "of all directions"
        if len(index) == len(theta)
        else f"direction of the {len(index)} parameters that were chosen"
    )
    note = f"The steepest {of} (gradient norm {length:.3g}): what the loss does in most others is hidden."
    vectors = (gradient / length)[None]
    return Directions(vectors, ("gradient",), "gradient", (note, *moving_note(vectors)))
