"""Dense curvature matrices at any θ: Hessian, Gauss–Newton and empirical Fisher, exact to rounding.

Stacks of linear layers take closed formulas (`objective.stack_hessian`), every other model the general way: rows of a
retained graph (`objective.rows`) for the Hessian, products with unit vectors (`gauss_newton`) for the other two. The
result says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.curvature.eigenvalue_figures import spectrum_panel
from thalweg.curvature.gauss_newton import dense_factor_matrix
from thalweg.declared import declared
from thalweg.errors import InputError, nearest
from thalweg.figures import Figure
from thalweg.objective import Objective, checks
from thalweg.objective.arguments import as_theta
from thalweg.objective.dense import MEMORY, Method, dense_curvature, seconds
from thalweg.objective.precision import computed_in, precision
from thalweg.objective.rows import row_hessian
from thalweg.objective.stack_hessian import Curvature
from thalweg.objective.work import sized_by
from thalweg.results import BaseResult
from thalweg.results.networks import flat, tabled
from thalweg.results.words import range_words

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ExactCurvature", "exact_curvature", "fisher", "ggn", "hessian", "layer_blocks"]

KINDS: dict[Curvature, str] = {"hessian": "Hessian", "ggn": "Gauss–Newton matrix", "fisher": "empirical Fisher matrix"}
DRAWN = 2000  # parameters up to which a picture is made of all eigenvalues


@short
@dataclass(frozen=True, eq=False)
class ExactCurvature(BaseResult):
    """A curvature matrix with what came from the same pass.

    Args:
        matrix: (…, p, p), symmetric; all NaN where the loss or any entry is not finite.
        value: L(θ) with the penalty, (…).
        gradient: ∇L(θ) on the same parameters, with the penalty, (…, p).
        asymmetry: ‖H − Hᵀ‖_F / 2 before symmetrisation, (…): the rounding error that rows show. Zero where the formulas
            of a stack make the matrix symmetric by construction, which says nothing about their rounding.
        finite: Whether the loss and the matrix are finite, (…).
        kind: "hessian", "ggn" or "fisher".
        method: "stack" (closed formulas), "rows" or "products" (general).
        precision: In which it was computed.
    """

    matrix: Tensor
    value: Tensor
    gradient: Tensor
    asymmetry: Tensor
    finite: Tensor
    kind: Curvature
    method: Literal["stack", "rows", "products"]
    precision: str = "float64"

    def plot(self) -> Figure:
        """All eigenvalues of the first finite matrix; of a large one (p > 2,000) its diagonal in ascending order."""
        matrix = self.matrix.reshape(-1, *self.matrix.shape[-2:])
        finite = self.finite.reshape(-1).nonzero().flatten().tolist()
        one = matrix[finite[0] if finite else 0].double().cpu()
        whole = one.shape[-1] <= DRAWN and bool(finite)
        values = torch.linalg.eigvalsh(one) if whole else one.diagonal()
        named = f"{'Eigenvalues' if whole else 'Diagonal'} of the {KINDS[self.kind]}"
        of = f" at the first of {len(matrix)} θ that is finite" if len(matrix) > 1 else ""
        band = one.shape[-1] * torch.finfo(self.matrix.dtype).eps * float(values.abs().max())
        panel = spectrum_panel(values.numpy(), band if whole else 0.0)
        return Figure(self.kind, named, f"{named}{of}, ascending; shaded: its rounding error.", (panel,))

    def table(self) -> pl.DataFrame:
        """One row per θ: loss, gradient norm, trace, Frobenius norm and asymmetry of the matrix."""
        norms = {"gradient norm": self.gradient.norm(dim=-1), "trace": self.matrix.diagonal(dim1=-2, dim2=-1).sum(-1)}
        frobenius = {"Frobenius norm": torch.linalg.matrix_norm(self.matrix), "asymmetry": self.asymmetry}
        return tabled({"loss": self.value} | norms | frobenius | {"finite": self.finite})

    def summary(self) -> str:
        """Which matrices, their traces, and the losses and gradient norms there."""
        size, fine = self.matrix.shape[-1], flat(self.finite) > 0
        trace = flat(self.matrix.diagonal(dim1=-2, dim2=-1).sum(-1))
        lost = f" {int((~fine).sum())} of {len(fine)} are not finite." if not fine.all() else ""
        return (
            f"The {KINDS[self.kind]} ({size:,} × {size:,}, by {self.method}) has trace {range_words(trace[fine])} at "
            f"loss {range_words(flat(self.value)[fine])}, where the gradient norm is "
            f"{range_words(flat(self.gradient.norm(dim=-1))[fine])}.{lost}{computed_in(self.precision)}"
        )


@declared
@sized_by(seconds)
def exact_curvature(
    objective: Objective,
    theta: Tensor,
    *,
    kind: Curvature = "hessian",
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = MEMORY,
    method: Method = "auto",
) -> ExactCurvature:
    """Evaluates a dense curvature matrix with loss and gradient at every θ.

    Args:
        objective: Any; `kind` "ggn" and "fisher" need a loss on (output, target).
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        kind: "hessian": ∇²L. "ggn": (1/N) Σ_n J_nᵀ (∇²_f ℓ_n) J_n + l2·I with J_n the Jacobian of the outputs
            (Schraudolph 2002); for cross-entropy it is the Fisher matrix under the model's own predictions, for a
            squared error the same up to a factor. "fisher": the empirical Fisher matrix (1/N) Σ_n g_n g_nᵀ of the
            gradients g_n of the per-sample losses, without the penalty.
        parameters: Glob or globs: the diagonal block of these p parameters, in the order of θ; the others are constant.
        dtype: float64 by default, since float32 loses the signs of small eigenvalues.
        memory: Budget in bytes for the matrices; default 8 GiB. Activations have the objective's own budget.
        method: "auto" takes closed formulas where the model is a stack of linear layers; "stack" insists on them;
            "general" works for every model.

    Returns:
        The matrix with loss, gradient and asymmetry. A θ at which the loss is NaN gives a NaN matrix, and only there.

    Raises:
        InputError: The matrices exceed `memory`, an operation has no second derivative, or the objective does not have
            what `kind` or `method` needs.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(7, 2), torch.randn(7, 1)))
        >>> result = exact_curvature(objective, objective.initial(replicas=5))
        >>> result.matrix.shape, result.matrix.dtype, result.method
        (torch.Size([5, 13, 13]), torch.float64, 'stack')
    """
    for name, found, options in (("kind", kind, tuple(KINDS)), ("method", method, ("auto", "stack", "general"))):
        if found not in options:
            near = nearest(str(found), options)
            raise InputError(f"{name} must be one of {', '.join(options)}, found '{found}'{near}")
    return exact_with_distance(objective, theta, kind, parameters, dtype, memory, method)[0]


def exact_with_distance(
    objective: Objective,
    theta: Tensor,
    kind: Curvature = "hessian",
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = MEMORY,
    method: Method = "auto",
    permuted: Objective | None = None,
) -> tuple[ExactCurvature, Tensor | None]:
    """The matrix, and the Frobenius norm of its difference to that of `permuted` (…).

    None without `permuted`, and where the difference cannot be told without a second matrix: for other models than
    stacks of linear layers, and for data that several processes share.
    """
    theta = as_theta(objective, theta)
    general = row_hessian if kind == "hessian" else partial(dense_factor_matrix, kind=kind)
    found = dense_curvature(
        objective,
        theta,
        kind,
        general,
        parameters=parameters,
        dtype=dtype,
        memory=memory,
        method=method,
        permuted=permuted,
    )
    taken = "stack" if found.stack else "rows" if kind == "hessian" else "products"
    parts = found.matrix, found.value, found.gradient, found.asymmetry, found.finite
    return ExactCurvature(*parts, kind, taken, precision(objective, dtype)), found.distance


@declared
def hessian(
    objective: Objective,
    theta: Tensor,
    *,
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = MEMORY,
) -> Tensor:
    """Returns ∇²L(θ): (…, P) -> (…, p, p). See `exact_curvature`.

    Example:
        >>> objective = Objective(torch.nn.Linear(1, 1), torch.nn.MSELoss(), (torch.ones(4, 1), torch.zeros(4, 1)))
        >>> hessian(objective, objective.theta)
        tensor([[2., 2.],
                [2., 2.]], dtype=torch.float64)
    """
    return exact_curvature(objective, theta, parameters=parameters, dtype=dtype, memory=memory).matrix


@declared
def ggn(
    objective: Objective,
    theta: Tensor,
    *,
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = MEMORY,
) -> Tensor:
    """Returns the generalised Gauss–Newton matrix of L: (…, P) -> (…, p, p). See `exact_curvature`."""
    return exact_curvature(objective, theta, kind="ggn", parameters=parameters, dtype=dtype, memory=memory).matrix


@declared
def fisher(
    objective: Objective,
    theta: Tensor,
    *,
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = MEMORY,
) -> Tensor:
    """Returns the empirical Fisher matrix (1/N) Σ_n g_n g_nᵀ: (…, P) -> (…, p, p). See `exact_curvature`."""
    return exact_curvature(objective, theta, kind="fisher", parameters=parameters, dtype=dtype, memory=memory).matrix


@declared
def layer_blocks(
    objective: Objective,
    theta: Tensor,
    *,
    kind: Curvature = "hessian",
    dtype: torch.dtype = torch.float64,
    memory: int = MEMORY,
) -> dict[str, Tensor]:
    """Returns the diagonal block of every layer: name of the module -> (…, p, p).

    Args:
        objective: As in `exact_curvature`.
        theta: (…, P).
        kind: "hessian", "ggn" or "fisher".
        dtype: Of the result.
        memory: Budget in bytes for each block.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(7, 2), torch.randn(7, 1)))
        >>> {name: tuple(block.shape) for name, block in layer_blocks(objective, objective.theta).items()}
        {'0': (9, 9), '2': (4, 4)}
    """
    theta = as_theta(objective, theta)
    objective = objective.to(dtype=dtype) if objective.dtype != checks.floating(dtype, "dtype") else objective
    layers: dict[str, list[str]] = {}
    for name in objective.layout.names:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    return {
        layer: exact_curvature(objective, theta, kind=kind, parameters=names, dtype=dtype, memory=memory).matrix
        for layer, names in layers.items()
    }
