"""What is measured within the minutes given: samples, probes and grids, chosen from what an evaluation costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.analysis.costs import Costs
from thalweg.results import Stored

__all__ = ["Plan", "Stage", "plan"]

SHARES = {"point": 0.15, "curvature": 0.35, "around": 0.2, "robustness": 0.15, "path": 0.15}
"""Of the minutes; what a stage does not need goes to those after it."""

MOST = 0.6
"""Of the time left, for a stage that does not fit into its share even with the smallest settings."""

KEPT = 0.85
"""Of the minutes that are planned: the rest is for what timings on few samples do not see, and for the report."""

SUBSETS = 4
COUNTED = 2000
"""Parameters up to which the whole Hessian is written down, for the certificate and the signs, if the time suffices."""

LEAST = 16  # samples below which probes are saved first
QUARTER = 0.25
SCALES = (1.0, 0.7, 0.5, 0.35, QUARTER, 0.15, 0.08, 0.0)
PRECISE = 2.0  # a value in float64 costs about so much more, in the instruments that insist on it
FULL: dict[str, dict[str, int]] = {
    "point": {"certificate": 1},
    "curvature": {"pairs": 5, "products": 300, "trace": 60, "probes": 10, "steps": 80, "blocks": 60, "counts": 1},
    "around": {"grid": 25, "line": 61},
    "robustness": {"ascent": 20, "pairs": 100, "sensitivity": 500},
    "path": {"products": 60, "trace": 20, "grid": 21},
}
SMALLEST: dict[str, dict[str, int]] = {
    "point": {"certificate": 0},
    "curvature": {"pairs": 1, "products": 10, "trace": 6, "probes": 2, "steps": 6, "blocks": 4, "counts": 0},
    "around": {"grid": 7, "line": 15},
    "robustness": {"ascent": 1, "pairs": 4, "sensitivity": 4},
    "path": {"products": 8, "trace": 0, "grid": 7},
}


@short
@dataclass(frozen=True, eq=False)
class Stage(Stored):
    """What one stage will do.

    Args:
        key: Which.
        samples: On how many; 0 where the time does not suffice.
        settings: Products, probes, points of a grid and so on, see `FULL`.
        seconds: How long it will take.
    """

    key: str
    samples: int
    settings: dict[str, int]
    seconds: float

    @property
    def words(self) -> str:
        """What it will do, in words."""
        if not self.samples:
            return "left out: the time does not suffice"
        return ", ".join([f"{self.samples:,} samples", *(f"{name} {value}" for name, value in self.settings.items())])


@short
@dataclass(frozen=True, eq=False)
class Plan(Stored):
    """The stages of an analysis, and how long they will take.

    Args:
        stages: In order.
        minutes: What was given; infinite for no limit.
        costs: What was measured.
        checkpoints: How many.
    """

    stages: tuple[Stage, ...]
    minutes: float
    costs: Costs
    checkpoints: int = 1

    @property
    def seconds(self) -> float:
        """How long all stages will take."""
        return sum(stage.seconds for stage in self.stages)

    def __getitem__(self, key: str) -> Stage:
        return next(stage for stage in self.stages if stage.key == key)

    def table(self) -> pl.DataFrame:
        """One row per stage: "stage", "plan", "seconds"."""
        rows = [(stage.key, stage.words, round(stage.seconds, 1)) for stage in self.stages]
        return pl.DataFrame(rows, schema=["stage", "plan", "seconds"], orient="row")

    def again(self, done: int, left: float) -> Plan:
        """The same plan, its stages from number `done` on chosen anew for the seconds that are left, if they are few.

        Args:
            done: How many stages are done.
            left: Seconds.
        """
        rest = self.stages[done:]
        if sum(stage.seconds for stage in rest) <= max(left, 0.0):
            return self
        shorter = _chosen([stage.key for stage in rest], max(left, 0.0), self.costs, self.checkpoints)
        return replace(self, stages=(*self.stages[:done], *shorter))


def plan(costs: Costs, minutes: float = math.inf, checkpoints: int = 1) -> Plan:
    """Chooses samples, probes and grids so that all stages end within the minutes.

    Args:
        costs: What evaluations cost.
        minutes: Infinite: everything in full, on all samples.
        checkpoints: Number of them; with one there is no path.

    Example:
        >>> slow = Costs((0.0, 0.01), (0.0, 0.03), (0.0, 0.06), samples=50_000, cut=True, size=10**6, precise=False)
        >>> chosen = plan(slow, minutes=10)
        >>> chosen.seconds < 600, 0 < chosen["curvature"].samples < 50_000
        (True, True)
    """
    keys = [key for key in SHARES if key != "path" or checkpoints > 1]
    return Plan(tuple(_chosen(keys, KEPT * 60 * minutes, costs, checkpoints)), minutes, costs, checkpoints)


def _chosen(keys: list[str], left: float, costs: Costs, checkpoints: int) -> list[Stage]:
    stages = []
    for place, key in enumerate(keys):
        share = SHARES[key] / sum(SHARES[other] for other in keys[place:])
        chosen = _sized(key, left * share, costs, checkpoints)
        stages.append(chosen if chosen.samples else _sized(key, left * max(share, MOST), costs, checkpoints))
        left -= stages[-1].seconds
    return stages


def _sized(key: str, seconds: float, costs: Costs, checkpoints: int) -> Stage:
    """The stage on as many samples as it can have with a quarter of its probes, and then with as many of them as fit.

    What few samples get wrong is mostly more than what few probes do; below `LEAST` samples it is the other way round.
    """

    def taking(samples: int, settings: dict[str, int]) -> float:
        return _SECONDS[key](samples, settings, costs, checkpoints)

    full, smallest = _fitting(key, costs)
    if math.isnan(taking(1, full)):
        return Stage(key, 0, full, 0.0)
    options = [2**k for k in range(40, -1, -1) if 2**k < costs.samples] if costs.cut else []
    options = [costs.samples, *options]
    least = min(LEAST, costs.samples)
    for lowest, samples in [
        *((QUARTER, n) for n in options if n >= least),
        *((0.0, n) for n in sorted(options, reverse=True) if n <= 2 * least),
    ]:
        for share in SCALES:
            some = {name: max(round(share * full[name]), low) for name, low in smallest.items()}
            if share >= lowest and (found := taking(samples, some)) <= seconds:
                return Stage(key, samples, some, found)
    return Stage(key, 0, smallest, 0.0)


def _fitting(key: str, costs: Costs) -> tuple[dict[str, int], dict[str, int]]:
    """Full and smallest settings: no more products than there are parameters."""
    full, smallest = dict(FULL[key]), dict(SMALLEST[key])
    if costs.size > COUNTED:
        for name in {"certificate", "counts"} & set(full):
            full[name] = 0
    if key == "curvature":
        for name in ("pairs", "steps"):
            full[name] = min(full[name], costs.size)
            smallest[name] = min(smallest[name], costs.size)
    return full, smallest


def _point(samples: int, settings: dict[str, int], costs: Costs, checkpoints: int) -> float:
    seconds = costs.seconds("value", samples, 2) + costs.seconds("gradient", samples, 2)
    if settings["certificate"] and not costs.why:
        seconds += costs.seconds("product", samples, 5 * costs.size)  # five Hessians: one, and four near it
    return seconds


def _curvature(samples: int, settings: dict[str, int], costs: Costs, checkpoints: int) -> float:
    products = settings["products"] + settings["trace"] + 2 * settings["probes"] * settings["steps"]
    products += settings["blocks"] + 2 * SUBSETS + 1
    if settings["counts"]:
        products += 2 * costs.size - settings["probes"] * settings["steps"]
    return costs.seconds("product", samples, products)


def _around(samples: int, settings: dict[str, int], costs: Costs, checkpoints: int) -> float:
    return costs.seconds("value", samples, settings["grid"] ** 2 + 2 * settings["line"] + 8)


def _robustness(samples: int, settings: dict[str, int], costs: Costs, checkpoints: int) -> float:
    slower = 1.0 if costs.precise else PRECISE
    ascent = costs.seconds("gradient", samples, 2 * (settings["ascent"] + 1))
    random = costs.seconds("value", samples, 2 * settings["pairs"] + 1)
    inputs = costs.seconds("gradient", min(samples, settings["sensitivity"]), 10)
    return slower * (ascent + random) + inputs + costs.seconds("value", samples, 2)


def _path(samples: int, settings: dict[str, int], costs: Costs, checkpoints: int) -> float:
    each = costs.seconds("product", samples, settings["products"] + settings["trace"])
    each = 0.0 if math.isnan(each) else each
    each += costs.seconds("gradient", samples) + costs.seconds("value", samples, 4)
    return checkpoints * each + costs.seconds("value", samples, settings["grid"] ** 2)


_SECONDS: dict[str, Callable[[int, dict[str, int], Costs, int], float]] = {
    "point": _point,
    "curvature": _curvature,
    "around": _around,
    "robustness": _robustness,
    "path": _path,
}
