"""What `interpolation` trains and measures: pairs of solutions, the line, the aligned line, the curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.figures.scales import number

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments.interpolation import Config
    from thalweg.experiments.shared.training import Setup
    from thalweg.landscape import Profile
    from thalweg.runs import Recording, Run
    from thalweg.training.recipe import Recipe

__all__ = ["Comparison", "Pairs", "Way", "comparisons", "measure"]


@dataclass(frozen=True)
class Comparison:
    """Two recipes that differ in one field.

    Args:
        name: Of its recordings and results.
        title: The field in words.
        labels: What tells the two solutions apart.
        recipes: Theirs.
    """

    name: str
    title: str
    labels: tuple[str, str]
    recipes: tuple[Recipe, Recipe]


@dataclass(frozen=True, eq=False)
class Way:
    """What was measured along one way between the solutions, for the pairs of which both completed.

    Args:
        words: Which way.
        t: (T,) α or t.
        arc: (T, R) share of the way.
        values: data set -> metric -> (T, R).
        barriers: data set -> height, error, position, over_mean, over_larger -> (R,).
        more: Further numbers of this way, (R,).
    """

    words: str
    t: np.ndarray
    arc: np.ndarray
    values: dict[str, dict[str, np.ndarray]]
    barriers: dict[str, dict[str, np.ndarray]]
    more: dict[str, np.ndarray]

    def inside(self) -> np.ndarray:
        """Which places lie between the two solutions: (T,)."""
        return (self.t >= 0) & (self.t <= 1)

    def highest(self, data: str) -> np.ndarray:
        """The greatest loss between the two solutions: (R,)."""
        return self.values[data]["loss"][self.inside()].max(axis=0)

    def mean(self, data: str) -> np.ndarray:
        """The mean loss between the two solutions, uniform in length: (R,)."""
        loss, arc = self.values[data]["loss"][self.inside()], self.arc[self.inside()]
        return ((loss[1:] + loss[:-1]) / 2 * np.diff(arc, axis=0)).sum(axis=0)


@dataclass(frozen=True, eq=False)
class Pairs:
    """One comparison, measured.

    Args:
        comparison: Which.
        kept: Numbers of the pairs of which both trainings completed, 0-based.
        lost: Sentences about the others.
        line: The straight line.
        aligned: The straight line after alignment, if asked for.
        curve: The trained curve, if asked for.
    """

    comparison: Comparison
    kept: tuple[int, ...]
    lost: tuple[str, ...]
    line: Way | None
    aligned: Way | None
    curve: Way | None

    @property
    def ways(self) -> list[Way]:
        """Those that there are."""
        return [way for way in (self.line, self.aligned, self.curve) if way is not None]


def comparisons(config: Config) -> list[Comparison]:
    """The comparisons that a configuration asks for."""
    out = []
    for name, field, title, word in (
        ("batch-size", "batch_size", "batch size", "batch"),
        ("learning-rate", "lr", "learning rate", "learning rate"),
    ):
        values = config.batch_sizes if field == "batch_size" else config.learning_rates
        if values:
            labels = [f"{word} {number(value)}" for value in values]
            if values[0] == values[1]:
                labels = [f"{label} ({side})" for label, side in zip(labels, ("first", "second"), strict=True)]
            recipes = [config.training.model_copy(update={field: value}) for value in values]
            out.append(Comparison(name, title, (labels[0], labels[1]), (recipes[0], recipes[1])))
    return out


def measure(config: Config, setup: Setup, compared: list[Comparison], run: Run) -> list[Pairs]:
    """Trains and measures every comparison; what is finished is kept in the run and not done again."""
    trained: dict[tuple[int, Recipe], Recording] = {}  # a solution that stands in both comparisons is trained once
    out = []
    for one in compared:
        sides = []
        for side, recipe in enumerate(one.recipes):
            found = trained.get((side, recipe))
            if found is None:
                found = _trained(config, setup, recipe, side, run, f"{one.name}-{side + 1}")
                trained[side, recipe] = found
            sides.append(found)
        out.append(_pairs(config, setup, one, sides, run))
    return out


def _trained(config: Config, setup: Setup, recipe: Recipe, side: int, run: Run, name: str) -> Recording:
    """Replicas 0 … R−1 are the first networks of the pairs, R … 2R−1 the second ones: nothing random is shared."""
    from thalweg.training import train

    first = side * config.replicas
    start = setup.objective.initial(config.replicas, config.seed, first=0 if config.start == "shared" else first)
    return train(
        setup.objective, start, recipe, seed=config.seed, recording=run.recording(name), evaluate=setup.evaluate,
        first=first,
    )  # fmt: skip


def _pairs(config: Config, setup: Setup, one: Comparison, sides: list[Recording], run: Run) -> Pairs:
    from thalweg.landscape import align, connect, follow, interpolate, valley, with_ends
    from thalweg.landscape.evaluating import Evaluator

    lost = [
        f"Pair {r + 1}: the network with {one.labels[side]} diverged ({entry['message']}); the pair is left out."
        for side, recording in enumerate(sides)
        for r, entry in enumerate(recording.status)
        if entry["status"] == "diverged"
    ]
    kept = [r for r in range(config.replicas) if all(s.status[r]["status"] == "completed" for s in sides)]
    if not kept:
        return Pairs(one, (), tuple(lost), None, None, None)
    a, b = (recording.snapshots[-1][kept] for recording in sides)
    ends = [{name: value[kept] for name, value in recording.snapshots.buffers(-1).items()} for recording in sides]
    options = {"subsets": config.subsets, "seed": config.seed}
    alphas = with_ends(config.low, config.high, config.points)

    def line(theta: Tensor, buffers: Mapping[str, Tensor], places: Tensor) -> Profile:
        both = (ends[0] or None, buffers or None)
        return interpolate(setup.evaluate, a, theta, places, batchnorm=config.batchnorm, buffers=both, **options)

    def straight() -> dict[str, np.ndarray]:
        found = line(b, ends[1], alphas)
        train = {"train": setup.objective}
        along = Evaluator.of(train, found.path, config.batchnorm, (ends[0] or None, ends[1] or None))

        def loss(alpha: Tensor) -> Tensor:
            return along.metrics(found.path.each(alpha), alpha)["train"]["loss"]

        measured = found.values["train"]["loss"]
        first, second = (valley(alphas, measured, end, config.rise, loss) for end in (0.0, 1.0))
        return _arrays(
            found, distance=found.path.distance, width_first=first[1] - first[0], width_second=second[1] - second[0]
        )

    def aligned() -> dict[str, np.ndarray]:
        order = align(setup.objective, a, b, method=config.matching, seed=config.seed)
        inside = alphas[(alphas >= 0) & (alphas <= 1)]
        found = line(order.theta(b), order.buffers(ends[1]), inside)
        return _arrays(found, distance=found.path.distance, before=order.before)

    def curve() -> dict[str, np.ndarray]:
        found = connect(
            setup.objective, a, b, config.curve_training, kind=config.curve, bends=config.bends, seed=config.seed
        )
        path, tail = found.path, max(1, len(found.loss) // 10)
        return _arrays(
            follow(setup.evaluate, path, **options),
            stretch=path.length / path.distance,
            last_loss=found.loss[-tail:].double().mean(0),
        )

    ways: dict[str, Way | None] = {"line": None, "aligned": None, "curve": None}
    ways["line"] = _way("straight line", run.cached(f"{one.name}-line", straight))
    if config.align:
        ways["aligned"] = _way("straight line after alignment", run.cached(f"{one.name}-aligned", aligned))
    if config.bends:
        kind = "Bézier curve" if config.curve == "bezier" else "polygonal chain"
        ways["curve"] = _way(kind, run.cached(f"{one.name}-curve", curve))
    return Pairs(one, tuple(kept), tuple(lost), ways["line"], ways["aligned"], ways["curve"])


def _arrays(found: Profile, **more: Tensor) -> dict[str, np.ndarray]:
    """A profile as named arrays, as a run keeps them."""
    out = {"t": found.positions, "arc": found.arc}
    for data, metrics in found.values.items():
        out |= {f"values/{data}/{metric}": value.double() for metric, value in metrics.items()}
    for data, barrier in found.barriers.items():
        for name in ("height", "error", "position", "over_mean", "over_larger"):
            out[f"barriers/{data}/{name}"] = getattr(barrier, name)
    out |= {f"more/{name}": value for name, value in more.items()}
    return {name: np.ascontiguousarray(value.cpu().numpy()) for name, value in out.items()}


def _way(words: str, kept: Mapping[str, object]) -> Way:
    arrays = {name: np.asarray(value) for name, value in kept.items()}
    nested: dict[str, dict[str, dict[str, np.ndarray]]] = {"values": {}, "barriers": {}}
    more = {}
    for name, value in arrays.items():
        kind, _, rest = name.partition("/")
        if kind == "more":
            more[rest] = value
        elif rest:
            data, _, key = rest.partition("/")
            nested[kind].setdefault(data, {})[key] = value
    return Way(words, arrays["t"], arrays["arc"], nested["values"], nested["barriers"], more)
