"""The searches of `zero-gradient`: the course's method, certified points beside it, and the walks between them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg import critical
from thalweg.critical import CriticalPoints, Descents, SolutionLandscape, Status
from thalweg.critical.modes import symmetric_modes
from thalweg.curvature import MinimalRatio, exact_curvature, minimal_ratio, neighbour_ratio
from thalweg.errors import InputError
from thalweg.experiments.shared.training import Setup
from thalweg.experiments.zero_gradient.config import Config
from thalweg.experiments.zero_gradient.groups import Group, histories, kept, together
from thalweg.objective import Objective
from thalweg.runs import Recording, Run
from thalweg.training import train

__all__ = ["Measured", "Phases", "Walks", "measure", "narrower"]


@dataclass(frozen=True, eq=False)
class Walks:
    """Distinct certified points, and the walks downhill from the saddles among them.

    Attributes:
        graph: Points and walks.
        names: Of the points of the graph, each that of the first search that found it.
        met: The minima among them that only walks have found; None if there are none.
        certified: Number of certified saddles before copies of each other were counted as one.
    """

    graph: SolutionLandscape
    names: tuple[str, ...]
    met: Group | None
    certified: int


@dataclass(frozen=True, eq=False)
class Phases:
    """Loss and gradient norm at every recorded iteration of the trainings that completed.

    Attributes:
        steps: Of the training (T,), and of the second phase (U,), counted on.
        loss: In the first phase (T, R) and in the second (U, R).
        gradient: ‖∇L‖₂, likewise.
        norms: ‖θ‖ at the snapshots of the training (S, R).
    """

    steps: tuple[np.ndarray, np.ndarray]
    loss: tuple[np.ndarray, np.ndarray]
    gradient: tuple[np.ndarray, np.ndarray]
    norms: np.ndarray

    @property
    def fall(self) -> np.ndarray:
        """Loss at the end of training as a share of that after nine tenths of it, (R,)."""
        return self.loss[0][-1] / self.loss[0][int(0.9 * (len(self.steps[0]) - 1))]


@dataclass(frozen=True, eq=False)
class Measured:
    """All that the figures and the report read.

    Attributes:
        recording: Of the training.
        ends: Where the course's method ends; None if every training diverged.
        groups: Certified points, one group for each kind of search.
        phases: Both phases of the course's method.
        walks: None if none were asked for, or without a saddle.
        refused: Why there are no embedded saddles; empty if there are.
        constant: The loss of the best constant output for a mean squared error; NaN for others.
    """

    recording: Recording
    ends: Group | None
    groups: tuple[Group, ...] = ()
    phases: Phases | None = None
    walks: Walks | None = None
    refused: str = ""
    constant: float = float("nan")


def measure(config: Config, setup: Setup, run: Run) -> Measured:
    """Trains, minimises the gradient norm, searches certified points, and walks downhill from the saddles."""
    recording = train(
        setup.objective, None, config.training, replicas=config.replicas, seed=config.seed, recording=run.recording()
    )
    starts = np.array([r for r, entry in enumerate(recording.status) if entry["status"] == "completed"], dtype=int)
    if not len(starts):
        return Measured(recording, None)
    # Thousands of small eigenvalue problems: whatever device has trained, they are solved on the CPU.
    objective = setup.objective.to(device="cpu")
    theta = recording.snapshots[-1][torch.from_numpy(starts)].double().cpu()
    ends = _end_points(config, run, objective, theta, starts)
    decayed = objective.with_l2(config.decay)
    groups = [_minima(config, run, decayed, theta[: config.minima], starts[: config.minima])]
    if config.saddles:
        some = starts[: config.saddles]
        early = int((recording.steps - config.saddle_after).abs().argmin())
        begin = recording.snapshots[early][torch.from_numpy(some)].double().cpu()
        groups += [_followed(config, run, decayed, begin, some, k) for k in config.indices]
    refused = ""
    if config.narrower:
        found, refused = _embedded(config, run, decayed)
        groups += [found] if found is not None else []
    walked = _walks(config, run, decayed, groups) if config.downhill else None
    squared = setup.task.kind == "regression" and setup.objective.loss_kind == "mse"
    constant = float(setup.task.train[1].double().var(dim=0, correction=0).mean()) if squared else float("nan")
    return Measured(recording, ends, tuple(groups), _phases(recording, ends), walked, refused, constant)


def _end_points(config: Config, run: Run, objective: Objective, theta: Tensor, starts: np.ndarray) -> Group:
    """The course's method from where training stopped: the norm of the gradient as the objective."""
    problem = critical.as_problem(objective)
    method, options = _method(config)

    def search(place: slice) -> CriticalPoints:
        return critical.certify(problem, method(problem, theta[place], **options), polish=False)

    parts = kept(run, "end-points", len(theta), config.chunk, search)
    group = _measured(config, run, objective, "end point", together(parts), starts)
    precise, points = objective.double(), group.points

    def counted(place: slice) -> MinimalRatio:
        return minimal_ratio(precise, points.theta[place], permute=True, seed=config.seed)

    def single(place: slice) -> dict[str, Tensor]:
        """The spectrum of a float32 script, in float32 too."""
        rough = precise.to(dtype=torch.float32)
        matrix = exact_curvature(rough, points.theta[place].float(), dtype=torch.float32).matrix
        return {"eigenvalues": symmetric_modes(matrix)[0]}

    ratios = kept(run, "end-point-counted", len(points), config.chunk, counted)
    spectra = kept(run, "end-point-single", len(points), config.chunk, single)
    low, high, band = (torch.cat([getattr(one, n) for one in ratios]).numpy() for n in ("low", "high", "band"))
    rough = torch.cat([one["eigenvalues"] for one in spectra]).numpy()
    return replace(group, history=histories(parts), single=rough, rounding=(low, high, band))


def _minima(config: Config, run: Run, objective: Objective, theta: Tensor, starts: np.ndarray) -> Group:
    """Minima of the loss with weight decay, from where training stopped."""
    problem = critical.as_problem(objective)

    def search(place: slice) -> CriticalPoints:
        return _bare(critical.certify(problem, critical.minimise(problem, theta[place])))

    points = together(kept(run, "minima", len(theta), config.chunk, search))
    return _measured(config, run, objective, "minimum", points, starts)


def _followed(config: Config, run: Run, objective: Objective, theta: Tensor, starts: np.ndarray, index: int) -> Group:
    """Saddles of a prescribed index by eigenvector following, from where training was early on."""
    problem = critical.as_problem(objective)

    def search(place: slice) -> CriticalPoints:
        return _bare(critical.certify(problem, critical.follow(problem, theta[place], index)))

    points = together(kept(run, f"index-{index}", len(theta), config.chunk, search))
    return _measured(config, run, objective, f"index-{index} search", points, starts)


def _embedded(config: Config, run: Run, objective: Objective) -> tuple[Group | None, str]:
    """Exact saddles: minima of narrower networks, padded with dead units. Or the reason why there are none."""
    try:
        sizes = narrower(critical.widths(objective)[1:-1], config.narrower)
        # A refusal (no stack of layers, an activation that is not zero at zero) is one for all widths.
        if sizes:
            small = critical.subnetwork(objective, sizes[0])
            critical.embed(small, objective, small.initial(1).double())
    except InputError as error:
        return None, str(error)
    if not sizes:
        return None, "the network has no narrower one of the same depth"
    problem = critical.as_problem(objective)
    parts = []
    for size in sizes:
        small = critical.subnetwork(objective, size)
        starts, inner = small.initial(config.embedded, config.seed).double(), critical.as_problem(small)

        def search(
            place: slice, small: Objective = small, starts: Tensor = starts, inner: Any = inner
        ) -> CriticalPoints:
            padded = critical.embed(small, objective, critical.minimise(inner, starts[place]).theta)
            return _bare(critical.certify(problem, padded, kind="embedded"))

        parts += kept(run, f"embedded-{'-'.join(map(str, size))}", config.embedded, config.chunk, search)
    points = together(parts)
    return _measured(config, run, objective, "embedded", points, np.arange(len(points))), ""


def _walks(config: Config, run: Run, objective: Objective, groups: list[Group]) -> Walks | None:
    """Walks downhill from every distinct saddle, to both sides of its lowest modes; None where there is no saddle."""
    parts, keys = [], []
    for group in groups:
        rows = [r for r, status in enumerate(group.points.status) if status in (Status.MINIMUM, Status.SADDLE)]
        parts.append(group.points.only(rows))
        keys += [group.keys[r] for r in rows]
    every = together(parts)
    points, place = critical.distinct(every)
    names = [keys[place.index(position)] for position in range(len(points))]
    saddles = [r for r, status in enumerate(points.status) if status is Status.SADDLE]
    if not saddles:
        return None
    problem = critical.as_problem(objective)

    def search(chosen: slice) -> Descents:
        found = critical.descend(problem, points.only(saddles[chosen]), modes=config.downhill)
        return replace(found, ends=_bare(found.ends), source=found.source + chosen.start)

    found = kept(run, "downhill", len(saddles), config.chunk, search)
    source, mode, sign = (torch.cat([getattr(part, name) for part in found]) for name in ("source", "mode", "sign"))
    descents = Descents(together([part.ends for part in found]), torch.tensor(saddles)[source], mode, sign)
    graph = critical.solution_landscape(points, descents)
    rows = list(range(len(names), len(graph.points)))
    met = None
    if rows:
        met = _measured(config, run, objective, "downhill", graph.points.only(rows), np.arange(len(rows)))
        names += met.keys
    return Walks(graph, tuple(names), met, sum(status is Status.SADDLE for status in every.status))


def narrower(hidden: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
    """Widths of at most so many narrower networks, from the widest to the narrowest, spread evenly.

    >>> narrower((4, 4), 3)
    [(3, 4), (3, 2), (1, 1)]
    >>> narrower((1,), 3)
    []
    """
    ranges = (range(width, 0, -1) for width in hidden)
    sizes = sorted(itertools.product(*ranges), key=lambda size: (-sum(size), size))[1:]
    if len(sizes) <= most or most < 2:
        return sizes[:most]
    places = np.unique(np.rint(np.linspace(0, len(sizes) - 1, most)).astype(int))
    return [sizes[place] for place in places.tolist()]


def _method(config: Config) -> tuple[Any, dict[str, Any]]:
    if config.method == "adam":
        return critical.gradient_norm_adam, {"steps": config.norm_steps, "lr": config.norm_lr}
    if config.method == "lbfgs":
        return critical.gradient_norm_lbfgs, {"steps": config.norm_steps}
    return critical.levenberg_on_gradient, {"steps": config.norm_steps}


def _bare(points: CriticalPoints) -> CriticalPoints:
    return replace(points, history=())


def _measured(
    config: Config, run: Run, objective: Objective, name: str, points: CriticalPoints, starts: np.ndarray
) -> Group:
    """The points with neighbours of each."""
    precise, radii = objective.double(), sorted({*config.radii, config.radius})
    options: dict[str, Any] = {"samples": config.neighbours, "scale": config.scale, "seed": config.seed}
    parts = kept(
        run,
        f"{name.replace(' ', '-')}-neighbours",
        len(points),
        config.chunk,
        lambda place: neighbour_ratio(precise, points.theta[place], radii, first=place.start, **options),
    )
    neighbours = parts[0]
    for part in parts[1:]:
        neighbours = neighbours.joined(part)
    return Group(name, objective.l2, points, starts, neighbours)


def _phases(recording: Recording, ends: Group) -> Phases:
    """The first phase from the recording and the second from the searches."""
    frame, replicas = recording.metrics.sort("step", "replica"), len(recording.status)

    def column(key: str) -> np.ndarray:
        return frame[key].cast(float).fill_null(np.nan).to_numpy().reshape(-1, replicas)[:, ends.starts]

    steps = frame["step"].to_numpy().reshape(-1, replicas)[:, 0]
    loss, norm = ends.history if ends.history is not None else (np.zeros((0, len(ends))),) * 2
    theta = recording.snapshots[:][:, ends.starts.tolist()].double()
    return Phases(
        (steps, steps[-1] + np.arange(len(loss))),
        (column("loss"), loss),
        (column("grad_norm"), norm),
        theta.norm(dim=-1).cpu().numpy(),
    )
