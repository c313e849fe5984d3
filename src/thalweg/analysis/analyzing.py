"""All instruments on one network, within the minutes given."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thalweg.analysis.around import around
from thalweg.analysis.costs import Costs, measured
from thalweg.analysis.curving import curvature
from thalweg.analysis.part import Analysis, Part, failure
from thalweg.analysis.path import path
from thalweg.analysis.planning import Plan, Stage, plan
from thalweg.analysis.point import point
from thalweg.analysis.robust import robustness
from thalweg.checkpoints import with_buffers
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta
from thalweg.progress import duration
from thalweg.runs import Recording, Run

__all__ = ["analyze"]

log = logging.getLogger("thalweg")
VECTORS = "eigenvectors"
PRECISE = 10**6
"""Parameters up to which everything is computed in float64; a larger network is measured as it is."""


@declared
def analyze(
    objective: Objective,
    theta: Any = None,
    *,
    test: Objective | None = None,
    minutes: float | None = 10.0,
    run: Run | None = None,
    name: str = "",
) -> Analysis:
    """Measures one trained network with all instruments.

    Args:
        objective: The loss on training data.
        theta: (P,), or what `Objective.as_theta` takes; or a recording of checkpoints (`checkpoints.load`), whose last
            one is measured with its own buffers, and whose path is drawn. Default: the weights of the model.
        test: The loss on test data, of the same model.
        minutes: How long it may take; None measures everything in full, on all samples.
        run: A run that is open for writing: keeps the plan and each stage as it ends, and goes on from there.
        name: What is analyzed, for the title.

    Returns:
        An :class:`Analysis`: `plot`, `table`, `summary`, `save`, and `write(path)` for the report. What one instrument
        cannot measure is a sentence in `omissions`, and the others go on. Up to a million parameters all is computed
        in float64, beyond in the objective's own precision.

    Raises:
        InputError: θ that does not fit, several replicas, or minutes that are not positive.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> data = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 1)
        >>> found = analyze(Objective(model, torch.nn.MSELoss(), data), torch.zeros(2))  # H = diag(1, 4)
        >>> round(found.number("λmax").value, 9), round(found.number("trace").value, 9)
        (4.0, 5.0)
    """
    limit = math.inf if minutes is None else minutes
    if not limit > 0:
        raise InputError(f"minutes must be positive, found {limit:g}")
    recording = theta if isinstance(theta, Recording) else None
    if recording is not None:
        if recording.replicas != 1 or not len(recording.snapshots):
            raise InputError(f"theta must be a recording of one replica, found {recording!r}")
        last = len(recording.snapshots) - 1
        theta = recording.snapshots[last, 0].to(objective.device)
        objective = with_buffers(objective, recording, last)
        test = None if test is None else with_buffers(test, recording, last)
    if objective.size <= PRECISE:
        objective, test = objective.double(), None if test is None else test.double()
    place = objective.theta if theta is None else as_theta(objective, theta).to(objective.dtype)
    if place.dim() != 1:
        raise InputError(f"theta must be one point ({objective.size},), found {tuple(place.shape)}")
    begun = time.monotonic()
    chosen = _planned(objective, place, limit, 1 if recording is None else len(recording.snapshots), run)
    log.info("%s", announced(chosen))
    parts, left_out = _measured(objective, place, test, recording, chosen, run, begun)
    if objective.dtype != torch.float64:
        left_out.append(f"With {objective.size:,} parameters all but the sharpness is computed in float32.")
    return Analysis(name or "Analysis", tuple(parts), chosen, tuple(left_out))


def _planned(objective: Objective, theta: Tensor, minutes: float, checkpoints: int, run: Run | None) -> Plan:
    def make() -> Plan:
        costs = measured(objective, theta) if math.isfinite(minutes) else _free(objective)
        return plan(costs, minutes, checkpoints)

    return make() if run is None else run.cached("plan", make)


def _free(objective: Objective) -> Costs:
    """Costs without a measurement, where nothing is chosen by them."""
    none, precise = (0.0, 0.0), objective.dtype == torch.float64
    return Costs(none, none, none, objective.samples, objective.batches.indexable, objective.size, precise)


def announced(chosen: Plan) -> str:
    """What will be done and how long it takes, in one sentence."""
    stages = "; ".join(f"{stage.key}: {stage.words}" for stage in chosen.stages)
    if not math.isfinite(chosen.minutes):
        return f"everything in full: {stages}"
    return f"about {duration(chosen.seconds)} of the {chosen.minutes:g} minutes: {stages}"


def _measured(
    objective: Objective,
    theta: Tensor,
    test: Objective | None,
    recording: Recording | None,
    chosen: Plan,
    run: Run | None,
    begun: float,
) -> tuple[list[Part], list[str]]:
    parts: list[Part] = []
    left_out: list[str] = []
    vectors: Tensor | None = None

    def curved(stage: Stage) -> Part:
        nonlocal vectors
        part, vectors = curvature(objective, theta, stage)
        if run is not None and vectors is not None:
            run.save(VECTORS, {"vectors": vectors})
        return part

    def seen(stage: Stage) -> Part:
        kept = run is not None and vectors is None and VECTORS in run.results
        return around(objective, theta, stage, run.load(VECTORS)["vectors"] if run is not None and kept else vectors)

    works: dict[str, Callable[[Stage], Part]] = {
        "point": lambda stage: point(objective, theta, stage, test),
        "curvature": curved,
        "around": seen,
        "robustness": lambda stage: robustness(objective, theta, stage, _spectral(parts)),
        "path": lambda stage: path(objective, recording, stage) if recording is not None else _none(stage),
    }
    for number in range(len(chosen.stages)):
        kept = (
            None if run is None or chosen.stages[number].key not in run.results else run.load(chosen.stages[number].key)
        )
        if kept is not None:
            parts.append(kept)
            continue
        left = 60 * chosen.minutes - (time.monotonic() - begun)
        stage = chosen.again(number, left).stages[number]
        if not stage.samples:
            why = objective_why(chosen.costs) if stage.key == "curvature" else ""
            left_out.append(f"{stage.key.capitalize()}: {why or 'left out, for the time does not suffice.'}")
            continue
        before = time.monotonic()
        try:
            part = works[stage.key](stage)
        except Exception as error:  # noqa: BLE001 - whatever one stage meets in a stranger's model, the others go on
            left_out.append(failure(stage.key.capitalize(), error))
            continue
        log.info("%s: %s, %s planned", stage.key, duration(time.monotonic() - before), duration(stage.seconds))
        if run is not None:
            run.save(stage.key, part)
        parts.append(part)
    return parts, left_out


def objective_why(costs: Costs) -> str:
    """Why there is no curvature, if it is not the time."""
    return f"{costs.why}." if costs.why else ""


def _spectral(parts: list[Part]) -> float | None:
    """‖∇²L‖₂, from the extreme eigenvalues."""
    found = {one.name: abs(one.value) for part in parts for one in part.numbers if one.name in ("λmax", "λmin")}
    return max(found.values()) if len(found) == 2 else None


def _none(stage: Stage) -> Part:
    raise InputError("a path needs several checkpoints, found one")
