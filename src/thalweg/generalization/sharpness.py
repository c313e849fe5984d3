"""Sharpness by the Hessian: its largest eigenvalue, spectral norm and trace, and the ε-sharpness made of them.

All of them change under a rescaling of the weights that leaves the network's function as it is
(:mod:`~thalweg.generalization.reparametrization`): compare networks of one architecture, and do so with care.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.curvature.lanczos import eigenpairs
from thalweg.curvature.operator import hessian_operator
from thalweg.curvature.trace import trace
from thalweg.declared import declared
from thalweg.errors import InputError, brief
from thalweg.figures.scales import number
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta, floating
from thalweg.objective.drawing import SUBSETS, draw
from thalweg.objective.from_modules import from_modules
from thalweg.objective.seeds import replica_seed
from thalweg.progress import each
from thalweg.results import BaseResult
from thalweg.results.networks import Quantity, flat, pictured, tabled
from thalweg.results.words import counted, estimated, range_words

if TYPE_CHECKING:
    import polars as pl

    from thalweg.figures import Figure

__all__ = ["HessianSharpness", "epsilon_sharpness", "hessian_sharpness"]


@short
@dataclass(frozen=True, eq=False)
class HessianSharpness(BaseResult):
    """Curvature of L, l2 included, at every θ (…), float64.

    Args:
        largest: λmax, (…); NaN where θ or a product is not finite, like all others.
        smallest: λmin, (…).
        residual: Larger residual of the two Ritz pairs, (…): H has an eigenvalue this close to each.
        spectral: ‖H‖₂ = max(|λmax|, |λmin|), (…).
        trace: tr H, (…), estimated.
        trace_error: Its standard error, (…); 0 where it is exact.
        loss: L, (…).
        status: "converged", "unconverged" or "nonfinite" per θ, in the order of the flattened leading axes.
        sampling_errors: Errors of λmax, λmin and the trace by the draw of `samples`, (…, 3): one standard deviation,
            and with it the bias of an extreme eigenvalue, which few samples push outwards. None for all data.
        samples: How many were drawn; None for all data.
    """

    largest: Tensor
    smallest: Tensor
    residual: Tensor
    spectral: Tensor
    trace: Tensor
    trace_error: Tensor
    loss: Tensor
    status: tuple[str, ...]
    sampling_errors: Tensor | None = None
    samples: int | None = None

    def plot(self) -> Figure:
        """Largest and smallest eigenvalue and the trace of every network, with their errors."""
        columns = [
            Quantity("λmax", flat(self.largest), flat(self.residual) / 2),
            Quantity("λmin", flat(self.smallest), flat(self.residual) / 2),
            Quantity("trace", flat(self.trace), flat(self.trace_error)),
        ]
        caption = "Curvature of the loss; of the eigenvalues the bars are the residuals of their Ritz pairs."
        return pictured("hessian-sharpness", "Sharpness by the Hessian", caption, columns)

    def table(self) -> pl.DataFrame:
        """One row per network."""
        names = ("largest", "smallest", "residual", "spectral", "trace", "trace_error", "loss")
        columns = {name.replace("_", " "): getattr(self, name) for name in names}
        if self.sampling_errors is not None:
            drawn = zip(("largest", "smallest", "trace"), self.sampling_errors.unbind(-1), strict=True)
            columns |= {f"{name} sampling error": values for name, values in drawn}
        return tabled(columns | {"status": list(self.status)})

    def summary(self) -> str:
        """λmax with its residual, λmin, and the trace with its standard error."""
        rough = len(self.status) - self.status.count("converged")
        cautions = f" {rough} of {counted(len(self.status), 'network')} short of the tolerance." if rough else ""
        top = estimated(flat(self.largest), flat(self.residual), "residual")
        total = estimated(flat(self.trace), flat(self.trace_error))
        return (
            f"The largest eigenvalue of the Hessian is {top}, the smallest {range_words(flat(self.smallest))}, "
            f"the trace {total} ({counted(len(self.status), 'network')}).{cautions}{self._drawn}"
        )

    @property
    def _drawn(self) -> str:
        """What the draw of the samples adds to the errors."""
        if self.sampling_errors is None:
            return ""
        top, _, total = (number(float(errors.max())) for errors in self.sampling_errors.unbind(-1))
        return f" The draw of {counted(self.samples or 0, 'sample')} adds an error of up to {top} and {total} (trace)."


@from_modules()
@declared
def hessian_sharpness(
    objective: Objective,
    theta: Tensor,
    *,
    tolerance: float = 1e-3,
    max_products: int = 1000,
    trace_products: int = 60,
    samples: int | None = None,
    seed: int = 0,
    first: int = 0,
) -> HessianSharpness:
    """Largest and smallest eigenvalue by Lanczos and the trace by XTrace, in float64, at many θ.

    Args:
        objective: The loss; evaluated in float64 whatever its dtype.
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        tolerance: Residual of both eigenvalues relative to ‖H‖₂.
        max_products: Budget of Lanczos at each θ.
        trace_products: Hessian-vector products for the trace.
        samples: Measure on so many samples, drawn without replacement and the same for every θ, instead of all; no
            others are read, and the loss is theirs.
        seed: Of the random vectors and of the draw.
        first: Number of the first θ: replica 7 of 100 draws the vectors of replica 7 alone (`first=7`).

    Example:
        >>> x = torch.tensor([[3.0], [4.0]]).double()
        >>> model = torch.nn.Linear(1, 1, bias=False).double()
        >>> objective = Objective(model, torch.nn.MSELoss(), (x, x))  # L = 12.5 (θ − 1)²
        >>> found = hessian_sharpness(objective, torch.ones(5, 1).double())
        >>> found.largest.tolist(), found.trace[0].item(), found.status[0]
        ([25.0, 25.0, 25.0, 25.0, 25.0], 25.0, 'converged')
    """
    theta = as_theta(objective, theta)
    exact = objective.double()
    drawn = None if samples is None else draw(exact, samples, SUBSETS, seed)
    lead, flat = theta.shape[:-1], theta.detach().reshape(-1, objective.size).double()
    loss = (exact if drawn is None else drawn.drawn).value(flat)
    rows, errors, status = [], [], []
    for r, point in enumerate(each("sharpness, points", flat.unbind())):
        row, doubt, state = [math.nan] * 5, [math.nan] * 3, "nonfinite"
        if bool(loss[r].isfinite()):
            operator = hessian_operator(exact, point)
            own = seed if samples is not None else replica_seed(seed, first + r, "sharpness")  # one draw for all
            pairs = eigenpairs(
                operator,
                1,
                which="both",
                tolerance=tolerance,
                relative_to="norm",
                check=False,
                max_products=max_products,
                samples=samples,
                seed=own,
            )
            state = pairs.status
            if state != "nonfinite":
                found = trace(operator, products=trace_products, samples=samples, seed=own)
                if pairs.sampling_errors is not None and pairs.biases is not None:
                    order = pairs.values.argsort(descending=True)
                    off = torch.hypot(pairs.sampling_errors, pairs.biases)[order]
                    doubt = [*off[[0, -1]].tolist(), found.sampling_error]
                ends = pairs.values.tolist()
                row = [max(ends), min(ends), float(pairs.residuals.max()), found.value, found.standard_error]
        rows.append(row)
        errors.append(doubt)
        status.append(state)
    table = torch.tensor(rows, dtype=torch.float64, device=theta.device).reshape(*lead, 5)
    largest, smallest, residual, total, error = table.unbind(-1)
    spectral = torch.maximum(largest.abs(), smallest.abs())
    doubts = None if samples is None else torch.tensor(errors, dtype=torch.float64).reshape(*lead, 3)
    return HessianSharpness(
        largest, smallest, residual, spectral, total, error, loss.reshape(lead), tuple(status), doubts, samples
    )


@declared
def epsilon_sharpness(spectral: Tensor, loss: Tensor, epsilon: float = 1e-4) -> Tensor:
    """ε-sharpness ‖∇²L‖₂ ε² / (2 (1 + L)) (Dinh et al. 2017, after definition 2), the course's bonus.

    To second order, the largest rise of the loss in a ball of radius ε, relative to 1 + L; exact for a quadratic at its
    minimum. Away from a critical point the slope, which it leaves out, may rise more.

    Args:
        spectral: ‖∇²L‖₂, (…), the largest *modulus* of an eigenvalue, not the Frobenius norm.
        loss: L, (…).
        epsilon: ε, default the course's 1e-4.

    Example:
        >>> epsilon_sharpness(torch.tensor(200.0), torch.tensor(0.0), epsilon=0.1)
        tensor(1.)
    """
    try:
        square = float(epsilon) ** 2
    except OverflowError:
        square = math.inf
    if not (epsilon > 0 and 0 < square < math.inf):
        raise InputError(f"epsilon must be positive and finite, and so must its square, found {brief(epsilon)}")
    spectral, loss = floating(spectral, "spectral"), floating(loss, "loss")
    return spectral * square / (2 * (1 + loss))
