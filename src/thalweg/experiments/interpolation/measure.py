"""What `interpolation` trains and measures: pairs of solutions, the line, the aligned line, the curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from thalweg.experiments.interpolation.config import Comparison, Config, comparisons
from thalweg.experiments.shared.training import Setup
from thalweg.experiments.shared.weights import recorded
from thalweg.landscape import Profile, align, connect, follow, interpolate, valley, with_ends
from thalweg.landscape.evaluating import Evaluator
from thalweg.results import Stored
from thalweg.runs import Recording, Run
from thalweg.training import train
from thalweg.training.recipe import Recipe

__all__ = ["Pairs", "Way", "measure"]


@dataclass(frozen=True, eq=False)
class Way(Stored):
    """What was measured along one way between the solutions, for the R pairs of which both completed.

    Args:
        words: Which way.
        profile: Every metric along it, and its barriers.
        more: Further numbers of this way, (R,).
    """

    words: str
    profile: Profile
    more: dict[str, Tensor]

    @property
    def t(self) -> np.ndarray:
        """(T,) α or t."""
        return self.profile.positions.numpy()

    @property
    def inside(self) -> np.ndarray:
        """(T,), which places lie between the two solutions."""
        return (self.t >= 0) & (self.t <= 1)

    def values(self, data: str, metric: str = "loss") -> np.ndarray:
        """(T, R)."""
        return self.profile.values[data][metric].double().numpy()

    def ends(self, data: str, metric: str = "loss") -> tuple[np.ndarray, np.ndarray]:
        """The values at the two solutions: (R,), (R,)."""
        values = self.values(data, metric)
        return values[self.t == 0][0], values[self.t == 1][0]

    def highest(self, data: str) -> np.ndarray:
        """The greatest loss between the two solutions: (R,)."""
        return self.values(data)[self.inside].max(axis=0)

    def barrier(self, name: str = "height", data: str = "train") -> np.ndarray:
        """A number of a barrier: (R,)."""
        return getattr(self.profile.barriers[data], name).numpy()

    def number(self, name: str) -> np.ndarray:
        """One of the further numbers: (R,)."""
        return self.more[name].double().numpy()


@dataclass(frozen=True, eq=False)
class Pairs:
    """One comparison, measured.

    Args:
        comparison: Which.
        kept: Numbers of the pairs of which both trainings completed, 0-based.
        lost: Sentences about the others.
        line: The straight line; None if no pair is left.
        aligned: The straight line after alignment, if asked for.
        curve: The trained curve, if asked for.
    """

    comparison: Comparison
    kept: tuple[int, ...]
    lost: tuple[str, ...]
    line: Way | None = None
    aligned: Way | None = None
    curve: Way | None = None

    @property
    def ways(self) -> list[Way]:
        """Those that there are."""
        return [way for way in (self.line, self.aligned, self.curve) if way is not None]


def measure(config: Config, setup: Setup, run: Run) -> list[Pairs]:
    """Trains and measures every comparison; what is finished is kept in the run and not done again."""
    trained: dict[tuple[int, Recipe], Recording] = {}  # a solution that stands in both comparisons is trained once
    out = []
    for one in comparisons(config):
        if config.checkpoint:
            sides = [_saved(config, setup, run, side) for side in (0, 1)]
            out.append(_pairs(config, setup, one, sides, run))
            continue
        sides = []
        for side, recipe in enumerate(one.recipes):
            if (side, recipe) not in trained:
                trained[side, recipe] = _trained(config, setup, recipe, side, run, f"{one.name}-{side + 1}")
            sides.append(trained[side, recipe])
        out.append(_pairs(config, setup, one, sides, run))
    return out


def _trained(config: Config, setup: Setup, recipe: Recipe, side: int, run: Run, name: str) -> Recording:
    """Replicas 0 … R−1 are the first networks of the pairs, R … 2R−1 the second ones: nothing random is shared."""
    first = side * config.replicas
    start = setup.objective.initial(config.replicas, config.seed, first=0 if config.start == "shared" else first)
    options = {"seed": config.seed, "recording": run.recording(name), "evaluate": setup.evaluate, "first": first}
    return train(setup.objective, start, recipe, **options)


def _saved(config: Config, setup: Setup, run: Run, side: int) -> Recording:
    """One of two checkpoints."""
    alone = config.model_copy(update={"checkpoint": config.checkpoint[side : side + 1]})
    return recorded(alone, setup, run.recording(f"checkpoints-{side + 1}"))


def _pairs(config: Config, setup: Setup, one: Comparison, sides: list[Recording], run: Run) -> Pairs:
    lost = [
        f"Pair {r + 1}: the network with {one.labels[side]} diverged ({entry['message']}); the pair is left out."
        for side, recording in enumerate(sides)
        for r, entry in enumerate(recording.status)
        if entry["status"] == "diverged"
    ]
    kept = [r for r in range(config.replicas) if all(s.status[r]["status"] == "completed" for s in sides)]
    if not kept:
        return Pairs(one, (), tuple(lost))
    a, b = (recording.snapshots[-1][kept] for recording in sides)
    ends = [{name: value[kept] for name, value in recording.snapshots.buffers(-1).items()} for recording in sides]
    options = {"subsets": config.subsets, "seed": config.seed}
    alphas = with_ends(config.low, config.high, config.points)

    def line(theta: Tensor, buffers: Mapping[str, Tensor], places: Tensor) -> Profile:
        both = (ends[0] or None, buffers or None)
        return interpolate(setup.evaluate, a, theta, places, batchnorm=config.batchnorm, buffers=both, **options)

    def straight() -> Way:
        found = line(b, ends[1], alphas)
        train_only = {"train": setup.objective}
        along = Evaluator.of(train_only, found.path, config.batchnorm, (ends[0] or None, ends[1] or None))

        def loss(alpha: Tensor) -> Tensor:
            return along.metrics(found.path.each(alpha), alpha)["train"]["loss"]

        measured = found.values["train"]["loss"]
        first, second = (valley(alphas, measured, end, config.rise, loss) for end in (0.0, 1.0))
        widths = {"width_first": first[1] - first[0], "width_second": second[1] - second[0]}
        return Way("straight line", found, {"distance": found.path.distance, **widths})

    def aligned() -> Way:
        order = align(setup.objective, a, b, method=config.matching, seed=config.seed)
        found = line(order.theta(b), order.buffers(ends[1]), alphas[(alphas >= 0) & (alphas <= 1)])
        return Way("straight line after alignment", found, {"distance": found.path.distance, "before": order.before})

    def curve() -> Way:
        shape = {"kind": config.curve, "bends": config.bends}
        found = connect(setup.objective, a, b, config.curve_training, seed=config.seed, **shape)
        kind = "Bézier curve" if config.curve == "bezier" else "polygonal chain"
        more = {"stretch": found.stretch, "last_loss": found.last_loss}
        return Way(kind, follow(setup.evaluate, found.path, **options), more)

    asked: dict[str, tuple[bool, Callable[[], Way]]] = {
        "line": (True, straight),
        "aligned": (config.align, aligned),
        "curve": (config.bends > 0, curve),
    }
    ways = {name: run.cached(f"{one.name}-{name}", make) for name, (wanted, make) in asked.items() if wanted}
    return Pairs(one, tuple(kept), tuple(lost), **ways)
