"""The certificate of a point: what it is, by how much, and what stays undecided."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.critical.kinds import kinds
from thalweg.critical.modes import symmetric_modes
from thalweg.critical.points import NUMBERS, Certificate, CriticalPoints, Status
from thalweg.critical.problem import ObjectiveProblem, Problem, as_problem, as_starts
from thalweg.critical.searches import Search
from thalweg.declared import declared
from thalweg.objective.precision import precision
from thalweg.progress import each

__all__ = ["certify"]

TOLERANCE = 1e-10  # ‖g‖ of a critical point
FLAT = 1e-3  # ‖Hg‖ / (‖H‖‖g‖) below which a gradient counts as lying in the flat modes
PROBE = 1e-4  # distance over which the Lipschitz constant of H is sampled
UNREACHED = (Status.DESCENDING, Status.GRADIENT_FLAT)
BATCH_BYTES = 2**29  # of Hessians at once


@declared
def certify(
    problem: Problem,
    found: Search | Tensor,
    *,
    tolerance: float = TOLERANCE,
    polish: bool = True,
    kind: str = "generic",
    seed: int = 1,
) -> CriticalPoints:
    """Certifies points.

    The zero band of the eigenvalues is 4 (P·ε·‖H‖ + 2·L_H·‖H⁻¹g‖): rounding, and by Weyl's inequality the change of H
    on the way to the exact critical point. It depends on which modes are decided, so it is found by a few iterations.
    A point is critical if ‖g‖ ≤ tolerance; then it is a minimum, saddle or maximum if every mode is decided and the
    Newton–Kantorovich number is below ¼, else degenerate or uncertified.

    Args:
        problem: The function.
        found: Points (R, P), or the search that found them.
        tolerance: On ‖g‖₂.
        polish: Take one plain Newton step first, kept where it lowers ‖g‖ and moves less than 1e-6 of ‖θ‖.
        kind: How the points were made, for those that are none of the recognised kinds.
        seed: Of the directions in which H's Lipschitz constant is sampled.
    """
    problem = as_problem(problem)
    theta = as_starts(problem, found.theta if isinstance(found, Search) else found).clone()
    iterations = found.iterations if isinstance(found, Search) else torch.zeros(len(theta), dtype=torch.long)
    per_batch = max(1, BATCH_BYTES // (8 * theta.shape[1] ** 2 * 4))
    parts = []
    for start in each("certificates", range(0, len(theta), per_batch)):
        part = slice(start, start + per_batch)
        if polish:
            theta[part] = _polished(problem, theta[part])
        parts.append(_measure(problem, theta[part], seed))
    fields = {name: torch.cat([getattr(p, name) for p in parts]) for name in NUMBERS}
    certificate = Certificate(**fields)
    said = [_say(certificate, r, tolerance, problem.epsilon) for r in range(len(theta))]
    note = _note(problem)
    trend = _trend(problem, found)
    return CriticalPoints(
        theta,
        tuple(s for s, _ in said),
        tuple(m + (trend[r] if s in UNREACHED else "") + note for r, (s, m) in enumerate(said)),
        kinds(problem, theta, kind),
        certificate,
        iterations,
        found.history if isinstance(found, Search) else (),
        precision(problem.objective, torch.float64) if isinstance(problem, ObjectiveProblem) else "float64",
    )


def _decomposed(problem: Problem, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Loss, gradient, H, eigenvalues and modes across the orbit, and the orbit's dimension.

    Modes along the orbit come last, with eigenvalue NaN; all are NaN where H has none.
    """
    value, gradient, matrix = problem.hessian(theta)
    orbit = torch.zeros(len(theta), dtype=torch.long)
    lifted = matrix
    if problem.symmetry is not None:
        projector, orbit = problem.symmetry.projector(theta)
        across = torch.eye(matrix.shape[-1]).to(matrix) - projector
        # Along the orbit a stiffness above all others: those modes sort last and are then named NaN.
        lift = 10 * torch.linalg.matrix_norm(matrix)[:, None, None] + 1
        lifted = across @ matrix @ across + lift * projector
        lifted = 0.5 * (lifted + lifted.mT)
    values, modes, _ = symmetric_modes(lifted)
    along = torch.arange(values.shape[1]) >= values.shape[1] - orbit[:, None]
    return value, gradient, matrix, values.masked_fill(along, torch.nan), modes, orbit


def _newton_step(values: Tensor, modes: Tensor, gradient: Tensor, band: Tensor) -> Tensor:
    """The Newton step on the modes outside the band, in mode coordinates (R, P)."""
    slope = (modes.mT @ gradient[..., None])[..., 0]
    return torch.where(values.abs() > band[:, None], -slope / values, 0.0)


def _polished(problem: Problem, theta: Tensor) -> Tensor:
    _, gradient, _, values, modes, _ = _decomposed(problem, theta)
    step = _newton_step(values, modes, gradient, theta.shape[1] * 1e-14 * values.nan_to_num().abs().amax(1))
    move = (modes @ step[..., None])[..., 0]
    trial = theta + move
    better = problem.value_and_gradient(trial)[1].norm(dim=1) < gradient.norm(dim=1)
    small = move.norm(dim=1) <= 1e-6 * theta.norm(dim=1).clamp(min=1e-6)
    return torch.where((better & small)[:, None], trial, theta)


def _measure(problem: Problem, theta: Tensor, seed: int) -> Certificate:
    value, gradient, matrix, values, modes, orbit = _decomposed(problem, theta)
    size = theta.shape[1]
    absolute = values.nan_to_num().abs()
    largest = absolute.amax(1)
    rounding = size * problem.epsilon * largest
    band = 4 * rounding
    ahead = (modes @ _newton_step(values, modes, gradient, band)[..., None])[..., 0]
    lipschitz = _lipschitz(problem, theta, matrix, values, modes, ahead, seed)
    for _ in range(5):  # fewer decided modes make a shorter Newton step, and so on: settles at once or after a few
        newton = _newton_step(values, modes, gradient, band).norm(dim=1)
        band = 4 * (rounding + 2 * lipschitz * newton)
    decided = (values.abs() > band[:, None]) & ~values.isnan()
    smallest = values.abs().where(decided, torch.inf).amin(1)
    smallest = smallest.where(decided.any(1), torch.nan)
    norm = gradient.norm(dim=1)
    push = (matrix @ gradient[..., None])[..., 0].norm(dim=1)
    positive, negative = ((values > band[:, None]).sum(1), (values < -band[:, None]).sum(1))
    return Certificate(
        loss=value,
        norm=theta.norm(dim=1),
        gradient=norm,
        gradient_max=gradient.abs().amax(1),
        flatness=push / (largest * norm + 1e-300),
        positive=positive,
        negative=negative,
        undecided=size - orbit - positive - negative,
        symmetric=orbit,
        band=band,
        smallest=smallest,
        largest=largest,
        newton=newton,
        lipschitz=lipschitz,
        kantorovich=lipschitz * newton / smallest,
        eigenvalues=values,
    )


def _lipschitz(
    problem: Problem, theta: Tensor, matrix: Tensor, values: Tensor, modes: Tensor, ahead: Tensor, seed: int
) -> Tensor:
    """Largest ‖H(θ + t u) − H(θ)‖₂ / t over the direction of Newton's step, the flattest mode and two random ones.

    The first is the way that a certificate is about: far out in a valley that falls for ever, only it shows the change.
    """
    flattest = values.abs().nan_to_num(nan=torch.inf).argmin(1)
    directions = [modes[torch.arange(len(theta)), :, flattest], torch.nn.functional.normalize(ahead, dim=1)]
    generator = torch.Generator().manual_seed(seed)
    for _ in range(2):
        drawn = torch.randn(theta.shape[1], generator=generator, dtype=theta.dtype).to(theta.device)
        directions.append((drawn / drawn.norm()).expand_as(theta))
    slopes = []
    for u in directions:
        change = problem.hessian(theta + PROBE * u)[2] - matrix
        slopes.append(symmetric_modes(change)[0].nan_to_num(torch.inf).abs().amax(1) / PROBE)  # unknown: no bound
    return torch.stack(slopes).amax(0)


def _say(c: Certificate, r: int, tolerance: float, epsilon: float) -> tuple[Status, str]:
    """The status of one point and a sentence that says why."""
    gradient, loss = float(c.gradient[r]), float(c.loss[r])
    positive, negative, undecided = int(c.positive[r]), int(c.negative[r]), int(c.undecided[r])
    if not (torch.isfinite(c.loss[r]) and torch.isfinite(c.gradient[r])) or bool(c.eigenvalues[r].isnan().all()):
        return Status.DIVERGED, "the loss, its gradient or its Hessian is not finite here, or has no eigenvalues"
    if epsilon > torch.finfo(torch.float64).eps:  # a stable evaluation errs like weights that are moved by ε
        floor = 4 * epsilon * float(c.largest[r]) * float(c.norm[r])
        if gradient <= max(floor, tolerance):
            digits = "float32" if epsilon <= torch.finfo(torch.float32).eps else "less than float32"
            return Status.UNCERTIFIED, (
                f"cannot be told: part of L is computed in {digits}, whose rounding makes a gradient of {floor:.2g}, "
                f"found ‖g‖ = {gradient:.2g}"
            )
    if gradient > tolerance:
        where = f"‖g‖ = {gradient:.2g} at loss {loss:.4g} and ‖θ‖ = {float(c.norm[r]):.3g}"
        if float(c.flatness[r]) < FLAT:
            return Status.GRADIENT_FLAT, f"not critical: the gradient lies in flat modes, {where}"
        return Status.DESCENDING, f"not critical: still descending, {where}"
    if undecided:
        modes = positive + negative + undecided
        return Status.DEGENERATE, f"critical to tolerance, {undecided} of {modes} modes undecided"
    if not float(c.kantorovich[r]) < 0.25:
        return Status.UNCERTIFIED, f"critical to tolerance, Newton–Kantorovich number {float(c.kantorovich[r]):.2g}"
    if negative == 0:
        return Status.MINIMUM, f"minimum: all {positive} modes positive"
    if positive == 0:
        return Status.MAXIMUM, f"maximum: all {negative} modes negative"
    return Status.SADDLE, f"saddle of index {negative}"


def _note(problem: Problem) -> str:
    """What the Hessian of this network cannot say."""
    kinks = problem.objective.kinks if isinstance(problem, ObjectiveProblem) else ()
    return f"; piecewise linear ({', '.join(kinks)}): H misses the jumps of the gradient" if kinks else ""


def _trend(problem: Problem, found: Search | Tensor) -> list[str]:
    """Without weight decay there is often no critical point to reach: how the loss went, for each replica."""
    count = len(found.theta if isinstance(found, Search) else found)
    if not isinstance(problem, ObjectiveProblem) or problem.objective.l2 > 0:
        return [""] * count
    text = "; without weight decay the loss may have no critical point in reach"
    if not isinstance(found, Search) or not found.history:
        return [text] * count
    first, last = found.history[0][0], found.history[-1][0]
    return [f"{text} (it went from {float(first[r]):.3g} to {float(last[r]):.3g})" for r in range(count)]
