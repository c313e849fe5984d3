"""Points where the gradient really vanishes: found, certified, and told from those where it does not.

Every method has one contract: `(problem, theta (R, P)) -> Search`; `certify` turns end points into `CriticalPoints`,
and `search` does both. `minimise` and `follow` are what works (minima, saddles of a prescribed index; `follow_again`
with new starts for those that wander); `levenberg_on_gradient` and `gradient_norm_*` are what courses use; `embed` and
`split` make exact saddles of narrower networks' minima; `descend` walks from saddles down to minima, of which
`solution_landscape` makes a graph; `continue_in_decay` follows points as the weight decay changes; `newton_cg` needs no
dense Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from thalweg.critical.certificate import certify
from thalweg.critical.continuation import Continuation, continue_in_decay
from thalweg.critical.descending import descend, distinct, lower_saddles, same_points, solution_landscape
from thalweg.critical.embedding import embed, split, subnetwork, widths
from thalweg.critical.following import follow
from thalweg.critical.gradient_norm import gradient_norm_adam, gradient_norm_lbfgs
from thalweg.critical.landscapes import Descents, Edge, SolutionLandscape
from thalweg.critical.levenberg import levenberg_on_gradient, levenberg_on_loss
from thalweg.critical.matrix_free import newton_cg
from thalweg.critical.minimising import minimise
from thalweg.critical.points import Certificate, CriticalPoints, Status
from thalweg.critical.problem import FunctionProblem, ObjectiveProblem, Problem, as_problem, as_starts
from thalweg.critical.restarts import follow_again
from thalweg.critical.saddle_free import saddle_free
from thalweg.critical.searches import LargeSearch, LargeStatus, Search
from thalweg.critical.steepest import steepest_descent
from thalweg.curvature.sized import dense
from thalweg.declared import declared, whole
from thalweg.errors import InputError, nearest
from thalweg.objective import Objective

__all__ = [
    "METHODS",
    "Certificate",
    "Continuation",
    "CriticalPoints",
    "Descents",
    "Edge",
    "FunctionProblem",
    "LargeSearch",
    "LargeStatus",
    "ObjectiveProblem",
    "Problem",
    "Search",
    "SolutionLandscape",
    "Status",
    "as_problem",
    "certify",
    "continue_in_decay",
    "descend",
    "distinct",
    "embed",
    "follow",
    "follow_again",
    "gradient_norm_adam",
    "gradient_norm_lbfgs",
    "levenberg_on_gradient",
    "levenberg_on_loss",
    "lower_saddles",
    "minimise",
    "newton_cg",
    "saddle_free",
    "same_points",
    "search",
    "solution_landscape",
    "split",
    "steepest_descent",
    "subnetwork",
    "widths",
]


def _newton(problem: Problem, theta: Tensor, **options: Any) -> Search:
    return follow(problem, theta, 0, **options)


def _natural(problem: Problem, theta: Tensor, **options: Any) -> Search:
    """Starts from the number of clearly negative modes at the start, which only falls."""
    index = (problem.modes(theta)[0] < -1e-3).sum(1)
    return follow(problem, theta, index, natural=True, **options)


METHODS: dict[str, Callable[..., Search]] = {
    "minimise": minimise,
    "newton": _newton,
    "follow": follow_again,
    "natural": _natural,
    "saddle-free": saddle_free,
    "levenberg-on-loss": levenberg_on_loss,
    "levenberg-on-gradient": levenberg_on_gradient,
    "gradient-norm-adam": gradient_norm_adam,
    "gradient-norm-lbfgs": gradient_norm_lbfgs,
}


@declared
@dense
def search(objective: Objective | Problem, theta: Tensor, method: str = "minimise", **options: Any) -> CriticalPoints:
    """Searches critical points from each start and certifies what was found.

    Args:
        objective: A loss, or any `Problem`; everything is computed in float64, on the CPU.
        theta: Starts (R, P) or (P,); or what `Objective.as_theta` takes, such as a model or a list of state_dicts.
        method: One of `METHODS`; "follow" takes `index` and `restarts`, most take `steps` and `tolerance`.
        **options: Passed to the method.

    Returns:
        The certified points, in the order of the starts.

    Raises:
        InputError: Unknown method, no start, or an index that the network cannot have.

    Example:
        >>> import torch
        >>> problem = FunctionProblem(lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4, 2)
        >>> points = search(problem, torch.tensor([[0.5, 0.1], [0.5, 0.6]]), "natural")
        >>> [str(status) for status in points.status], points.certificate.negative.tolist()
        (['saddle', 'minimum'], [1, 0])
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, found '{method}'{nearest(method, METHODS)}")
    problem = as_problem(objective)
    theta = as_starts(problem, theta)
    if not len(theta):
        raise InputError("theta must hold at least one start, found none")
    _check_index(options.get("index", 0), problem.size, len(theta))
    return certify(problem, METHODS[method](problem, theta, **options))


def _check_index(index: int | Tensor, size: int, replicas: int) -> None:
    if isinstance(index, Tensor) and index.shape != (replicas,):
        raise InputError(f"index must be one number or have shape ({replicas},), found {tuple(index.shape)}")
    for found in index.tolist() if isinstance(index, Tensor) else [index]:
        if not 0 <= whole("index", found) <= size:
            raise InputError(f"index must be from 0 to P = {size}, found {found}")
