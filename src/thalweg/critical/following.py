"""Newton's method in a trust region that climbs along k modes and descends along all others.

With H = Q E Qᵀ and signs σ (−1 on the k lowest modes), the model b·s + ½ sᵀAs in the flipped coordinates A = σE,
b = σ Qᵀg is minimised over ‖s‖ ≤ Δ; a step is judged by the *flipped* trapezoid rule for the work along it, which needs
no merit function (eigenvector following: Cerjan & Miller 1981; Wales 2003, §6.2). For k = 0 it is plain trust-region
Newton, judged by the loss itself until that drowns in rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg import progress
from thalweg.critical import trust_region
from thalweg.critical.modes import symmetric_modes
from thalweg.critical.problem import Problem, as_search
from thalweg.critical.searches import Search
from thalweg.declared import declared

__all__ = ["follow"]

SMALLEST = 1e-14  # trust radius
REBALANCE = 25  # steps between two moves to the balanced point of a noncompact orbit
SETTLE = 3  # steps after the last of them
FARTHEST = 1e6  # ‖θ‖ beyond which a replica counts as running away
ROUNDING = 1e-13  # an eigenvalue below this share of the largest has no sign here
TRIES = 4


@dataclass(frozen=True)
class _Model:
    """The quadratic model at some replicas: modes in columns of Q, signs, and the true number of negative modes."""

    modes: Tensor
    curvature: Tensor  # A = σE (R, P)
    flip: Tensor  # directions to climb, columns of unit length or zero (R, P, P)
    exact: Tensor  # (R,) whether it is H's own model
    negative: Tensor  # (R,)


@declared
def follow(
    problem: Problem,
    theta: Tensor,
    index: int | Tensor = 0,
    *,
    natural: bool = False,
    gauss_newton: bool = False,
    steps: int = 300,
    tolerance: float = 1e-12,
    radius: float = 0.1,
    longest: float = 1e3,
    patience: int = 3,
    label: str = "following",
) -> Search:
    """Searches critical points of a prescribed index from each start.

    Args:
        problem: The function.
        theta: Starts (R, P), float64; or what `search` takes.
        index: k, or one per replica (R,): how many modes to climb; 0 searches a minimum.
        natural: Lower a replica's k to the number of negative modes once that was smaller `patience` times in a row;
            it never rises.
        gauss_newton: Use the Gauss–Newton matrix where more modes than k are negative and ‖g‖ > 1e-6 (k = 0 only).
        steps: Budget of iterations.
        tolerance: A replica has converged at ‖g‖ ≤ tolerance.
        radius: First trust radius.
        longest: Largest trust radius; small values keep a descent in the basin where it starts.
        patience: See `natural`.
        label: Shown by the progress bar.

    Returns:
        The end points with iterations and history; no claim what they are (`certify` makes it).

    Example:
        >>> from thalweg.critical import FunctionProblem
        >>> problem = FunctionProblem(lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4, 2)
        >>> found = follow(problem, torch.tensor([[0.5, 0.1]]).double(), index=torch.tensor([1]))
        >>> found.theta.abs().max().item() < 1e-12
        True
    """
    problem, theta = as_search(problem, theta)
    k = torch.full((len(theta),), index) if isinstance(index, int) else index.clone().long()
    options = {"natural": natural, "gauss_newton": gauss_newton, "tolerance": tolerance, "patience": patience}
    found = _search(problem, theta, k, radius, longest, steps, label, **options)
    if problem.symmetry is None or not problem.symmetry.balances:
        return found
    ends = problem.symmetry.rebalanced(found.theta)
    last = _search(problem, ends, found.index, radius, longest, SETTLE, label, **options)
    return Search(last.theta, found.iterations + last.iterations, last.index, found.history + last.history)


def _search(
    problem: Problem,
    theta: Tensor,
    k: Tensor,
    radius: float,
    longest: float,
    steps: int,
    label: str,
    *,
    natural: bool,
    gauss_newton: bool,
    tolerance: float,
    patience: int,
) -> Search:
    theta, k = theta.clone(), k.clone()
    replicas = len(theta)
    balances = problem.symmetry is not None and problem.symmetry.balances
    region = theta.new_full((replicas,), radius)
    value, gradient = problem.value_and_gradient(theta)
    below = torch.zeros(replicas, dtype=torch.long)
    done = torch.zeros(replicas, dtype=torch.long)
    best, stalled = theta.new_full((replicas,), torch.inf), torch.zeros(replicas, dtype=torch.long)
    history = []
    active = _active(theta, gradient, region, stalled, tolerance)
    with progress.track(label, total=steps) as advance:
        for step in range(steps):
            rows = active.nonzero()[:, 0]
            if not len(rows):
                break
            if balances and problem.symmetry is not None and step % REBALANCE == REBALANCE - 1:
                theta[rows] = problem.symmetry.rebalanced(theta[rows])
            model, value[rows], gradient[rows] = _model(problem, theta[rows], k[rows], gauss_newton)
            below[rows] = torch.where(model.negative < k[rows], below[rows] + 1, 0)
            if natural and bool((lower := below[rows] >= patience).any()):
                k[rows] = torch.where(lower, model.negative, k[rows])
                below[rows[lower]] = 0
                model, value[rows], gradient[rows] = _model(problem, theta[rows], k[rows], gauss_newton)
            _advance(problem, rows, theta, value, gradient, region, k, model, longest)
            norms = gradient.norm(dim=1)
            history.append((value.clone(), norms))
            done[rows] += 1
            better = norms[rows] < 0.5 * best[rows]
            stalled[rows] = torch.where(better | (norms[rows] > 1e-9), 0, stalled[rows] + 1)
            best[rows] = torch.minimum(best[rows], norms[rows])
            active = _active(theta, gradient, region, stalled, tolerance)
            advance(step + 1)
    return Search(theta, done, k, tuple(history))


def _active(theta: Tensor, gradient: Tensor, region: Tensor, stalled: Tensor, tolerance: float) -> Tensor:
    """Replicas worth another step: not converged, not at the floor of rounding, not run away, finite."""
    norms = gradient.norm(dim=1)
    return (norms > tolerance) & norms.isfinite() & (region > 1e-13) & (theta.norm(dim=1) < FARTHEST) & (stalled < 4)


def _model(problem: Problem, theta: Tensor, k: Tensor, gauss_newton: bool) -> tuple[_Model, Tensor, Tensor]:
    value, gradient, matrix = problem.hessian(theta)
    if problem.symmetry is not None:
        matrix = _horizontal(matrix, problem.symmetry.projector(theta)[0])
    values, modes, exist = symmetric_modes(matrix)
    negative = (values < -ROUNDING * values.abs().amax(1, keepdim=True)).sum(1)
    climb = torch.arange(values.shape[1]) < k[:, None]
    curvature = torch.where(climb, -values, values)
    flip = modes * climb[:, None, :]
    exact = torch.ones(len(theta), dtype=torch.bool)
    use = (negative > k) & (k == 0) & (gradient.norm(dim=1) > 1e-6) if gauss_newton and problem.has_ggn else ~exact
    rows = use.nonzero()[:, 0]
    if len(rows):
        matrix = problem.gauss_newton(theta[rows])[2]
        if problem.symmetry is not None:
            matrix = _horizontal(matrix, problem.symmetry.projector(theta[rows])[0])
        values, modes[rows], exist[rows] = symmetric_modes(matrix)
        curvature[rows] = values.clamp(min=0)
        exact[rows] = False
    # A replica whose matrix has no modes stops here: its gradient is made NaN.
    return _Model(modes, curvature, flip, exact, negative), value, torch.where(exist[:, None], gradient, torch.nan)


def _horizontal(matrix: Tensor, projector: Tensor) -> Tensor:
    """The matrix across an orbit; along it a stiffness of the matrix's own size, so that no step goes there."""
    across = torch.eye(matrix.shape[-1]).to(matrix) - projector
    matrix = across @ matrix @ across + torch.linalg.matrix_norm(matrix)[:, None, None] * projector
    return 0.5 * (matrix + matrix.mT)


def _advance(
    problem: Problem,
    rows: Tensor,
    theta: Tensor,
    value: Tensor,
    gradient: Tensor,
    region: Tensor,
    k: Tensor,
    model: _Model,
    longest: float,
) -> None:
    """One accepted step for each replica that finds one within a few tries; writes into theta … region."""

    def flipped(vector: Tensor, part: Tensor) -> Tensor:
        climb = model.flip[part]
        return vector - 2 * (climb @ (climb.mT @ vector[..., None]))[..., 0]

    slope = (model.modes.mT @ flipped(gradient[rows], torch.arange(len(rows)))[..., None])[..., 0]
    todo = torch.arange(len(rows))
    for _ in range(TRIES):
        at = rows[todo]
        s, inside = trust_region.solve(model.curvature[todo], slope[todo], region[at])
        predicted = -(slope[todo] * s + 0.5 * model.curvature[todo] * s.square()).sum(1)
        move = (model.modes[todo] @ s[..., None])[..., 0]
        trial = theta[at] + move
        new_value, new_gradient = problem.value_and_gradient(trial)
        work = -0.5 * ((flipped(gradient[at], todo) + flipped(new_gradient, todo)) * move).sum(1)
        minimum = k[at] == 0
        # A difference of losses means nothing below their rounding; the work along the step still does.
        gain = torch.where(minimum & (predicted > 1e-11 * value[at].abs()), value[at] - new_value, work)
        ratio = gain / (predicted.abs() + 1e-300)
        finite = new_gradient.isfinite().all(1) & new_value.isfinite()
        ratio = torch.where(finite, ratio, -1.0)
        newton = inside & finite & model.exact[todo] & (model.negative[todo] == k[at])
        newton &= new_gradient.norm(dim=1) <= 0.9 * gradient[at].norm(dim=1)
        taken = (ratio > 1e-3) | newton
        length = s.norm(dim=1)
        grow = (ratio > 0.75) & (length > 0.8 * region[at]) & (minimum | (ratio < 1.5))
        shrunk = torch.where((ratio < 0.25) & ~newton, 0.25 * torch.minimum(length, region[at]), region[at])
        region[at] = torch.where(grow, 2 * region[at], shrunk).clamp(SMALLEST, longest)
        accepted = at[taken]
        theta[accepted], value[accepted], gradient[accepted] = trial[taken], new_value[taken], new_gradient[taken]
        todo = todo[~taken]
        if not len(todo):
            return
