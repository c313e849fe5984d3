"""What `interpolation` found: sentences, numbers, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg.experiments._interpolation_figures import figures
from thalweg.experiments.framework.findings import Findings, Number
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words

if TYPE_CHECKING:
    from thalweg.experiments._interpolation_stages import Pairs, Way
    from thalweg.experiments.interpolation import Config
    from thalweg.experiments.shared.training import Setup

__all__ = ["tell"]


def tell(config: Config, setup: Setup, compared: list[Pairs]) -> Findings:
    """Puts the findings together."""
    samples = setup.task.samples
    start = "weights of its own" if config.start == "own" else "the same weights for both"
    what = (
        f"{counted(config.replicas, 'pair')} of the network {setup.network} on {setup.task.label} in each comparison, "
        f"every network from {start}; α = 0 is the first of a pair, α = 1 the second; numbers are medians over the "
        "pairs, in brackets lowest and highest."
    )
    statements = [*_headline(compared), what]
    if setup.normalized:
        statements.append(f"Batch normalisation on the straight lines: {_STATISTICS[config.batchnorm]}.")
    rows: list[dict[str, Number]] = []
    numbers: dict[str, Number] = {}
    warnings: list[str] = []
    for one in compared:
        key = one.comparison.name.replace("-", "_")
        warnings += [f"{one.comparison.title.capitalize()}: {sentence}" for sentence in one.lost]
        numbers[f"{key}_pairs"] = len(one.kept)
        recipes = [recipe_words(recipe, samples) for recipe in one.comparison.recipes]
        statements.append(f"{one.comparison.title.capitalize()}: {recipes[0]}, against {recipes[1]}.")
        if one.line is None:
            statements.append(f"{one.comparison.title.capitalize()}: no pair of networks was completed.")
            continue
        widths = valleys(one.line)
        statements += [_hill(one, one.line), _widths(config, one, widths), *_ways(config, one, one.line)]
        warnings += _unequal(one, one.line)
        numbers |= {f"{key}_{name}": value for name, value in _numbers(one, one.line, widths).items()}
        rows += [_row(one, one.line, widths, place) for place in range(len(one.kept))]
    return Findings(figures(config, compared), statements, {"Pairs": rows} if rows else {}, numbers, warnings)


_STATISTICS = {
    "recomputed": "statistics recomputed on the training data at every α",
    "interpolated": "statistics interpolated between those of the two networks",
    "first": "the statistics of the first network at every α",
    "last": "the statistics of the second network at every α",
}


def _headline(compared: list[Pairs]) -> list[str]:
    """The answer in one sentence."""
    done = [one for one in compared if one.line is not None]
    if not done:
        return []
    hills = [f"{number(_barrier(one.line))} between the two {one.comparison.title}s" for one in done]
    sentence = f"On the straight line the training loss rises by {' and '.join(hills)}"
    ways = {"once the hidden units are aligned": "aligned", "along a trained curve": "curve"}
    left = [
        f"{words} by {' and '.join(number(_barrier(getattr(one, name))) for one in done)}"
        for words, name in ways.items()
        if getattr(done[0], name) is not None
    ]
    return [f"{'; '.join([sentence, *left])} (barriers: median over the pairs)."]


def _barrier(way: Way | None) -> float:
    return float("nan") if way is None else float(np.median(way.barriers["train"]["height"]))


def ends(way: Way, data: str, metric: str = "loss") -> tuple[np.ndarray, np.ndarray]:
    """The values at the two solutions: (R,), (R,)."""
    values = way.values[data][metric]
    return values[way.t == 0][0], values[way.t == 1][0]


def valleys(line: Way) -> np.ndarray:
    """How wide the valley around each end is along the line, in units of the distance between them: (2, R)."""
    return np.stack([line.more["width_first"], line.more["width_second"]])


def _hill(one: Pairs, line: Way) -> str:
    """Losses at the ends and between them."""
    train, labels = line.barriers["train"], one.comparison.labels
    first, second = (range_words(values) for values in ends(line, "train"))
    text = (
        f"{one.comparison.title.capitalize()}, straight line: training loss {first} with {labels[0]}, {second} with "
        f"{labels[1]}, and up to {range_words(line.highest('train'))} between them: a barrier of "
        f"{range_words(train['height'])} at α = {range_words(train['position'])}, standard error over the samples at "
        f"most {number(float(train['error'].max()))}."
    )
    if "accuracy" in line.values.get("test", {}):
        least = line.values["test"]["accuracy"][line.inside()].min(axis=0)
        before = [range_words(values, percent) for values in ends(line, "test", "accuracy")]
        text += f" Test accuracy: {before[0]} and {before[1]} at the ends, {range_words(least, percent)} at the worst."
    return text


def _widths(config: Config, one: Pairs, widths: np.ndarray) -> str:
    """Which valley is wider."""
    labels = one.comparison.labels
    wider = [int((widths[side] > widths[1 - side]).sum()) for side in (0, 1)]
    text = (
        f"{one.comparison.title.capitalize()}: the training loss stays within {number(config.rise)} of its end over "
        f"{_wide(widths[0])} around {labels[0]} and over {_wide(widths[1])} around {labels[1]} (in α, the distance "
        f"between the two networks being 1)"
    )
    if not any(wider):
        return f"{text}."
    side = int(wider[1] > wider[0])
    return (
        f"{text}; the valley of {labels[side]} is the wider one in {wider[side]} of {counted(len(one.kept), 'pair')}."
    )


def _wide(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "more than the range of α"
    beyond = len(values) - len(finite)
    return range_words(finite) + (f" (in {counted(beyond, 'pair')} more than the range of α)" if beyond else "")


def _ways(config: Config, one: Pairs, line: Way) -> list[str]:
    """What alignment and curve make of it."""
    title, height = one.comparison.title.capitalize(), line.barriers["train"]["height"]
    out = []
    if one.aligned is not None:
        train = one.aligned.barriers["train"]
        out.append(
            f"{title}, after alignment by {config.matching}: the distance between the networks falls from "
            f"{range_words(one.aligned.more['before'])} to {range_words(one.aligned.more['distance'])}, the barrier of "
            f"the training loss from {range_words(height)} to {range_words(train['height'])} (standard error at most "
            f"{number(float(train['error'].max()))}){_rest(height, train['height'])}."
        )
    if one.curve is not None:
        curve = one.curve
        out.append(
            f"{title}, {curve.words} with {counted(config.bends, 'bend')}, {range_words(curve.more['stretch'])} times "
            f"as long as the straight line: training loss {range_words(curve.mean('train'))} on average along it and "
            f"{range_words(curve.highest('train'))} at the highest, against {range_words(line.mean('train'))} and "
            f"{range_words(line.highest('train'))} on the straight line; barrier "
            f"{range_words(curve.barriers['train']['height'])}."
        )
    return out


def _rest(before: np.ndarray, after: np.ndarray) -> str:
    """Which share of the barriers is left, where there were any."""
    there = before > 0
    return f": {range_words(after[there] / before[there], percent)} is left" if there.any() else ""


def _unequal(one: Pairs, line: Way) -> list[str]:
    """A solution that is none."""
    first, second = (float(np.median(values)) for values in ends(line, "train"))
    if max(first, second) < 20 * max(min(first, second), 5e-3):  # below, both have fitted their data
        return []
    worse = one.comparison.labels[int(second > first)]
    sentence = (
        f"{one.comparison.title.capitalize()}: the networks with {worse} are trained far less than the others (loss "
        f"{number(max(first, second))} against {number(min(first, second))}): compare widths with care."
    )
    return [sentence]


def _numbers(one: Pairs, line: Way, widths: np.ndarray) -> dict[str, Number]:
    """Medians over the pairs."""
    out: dict[str, Number] = {}
    first, second = ends(line, "train")
    found = {
        "train_loss_first": first,
        "train_loss_second": second,
        "width_first": widths[0],
        "width_second": widths[1],
    }
    for name, way in (("line", one.line), ("aligned", one.aligned), ("curve", one.curve)):
        if way is not None:
            for data, barrier in way.barriers.items():
                found |= {f"{name}_{data}_barrier": barrier["height"], f"{name}_{data}_error": barrier["error"]}
            found[f"{name}_train_mean"] = way.mean("train")
    out |= {name: float(np.median(values)) for name, values in found.items()}
    return out


def _row(one: Pairs, line: Way, widths: np.ndarray, place: int) -> dict[str, Number]:
    """One pair in the table."""
    first, second = ends(line, "train")
    row: dict[str, Number] = {
        "comparison": one.comparison.title,
        "pair": one.kept[place] + 1,
        "first": one.comparison.labels[0],
        "second": one.comparison.labels[1],
        "distance": float(line.more["distance"][place]),
        "train loss, first": float(first[place]),
        "train loss, second": float(second[place]),
    }
    for way in one.ways:
        barrier = way.barriers["train"]
        row |= {
            f"barrier, {way.words}": float(barrier["height"][place]),
            f"± ({way.words})": float(barrier["error"][place]),
        }
    row |= {
        "α of the barrier": float(line.barriers["train"]["position"][place]),
        "over the larger end": float(line.barriers["train"]["over_larger"][place]),
        "width, first": float(widths[0, place]),
        "width, second": float(widths[1, place]),
    }
    if "test" in line.barriers:
        row["test barrier"] = float(line.barriers["test"]["height"][place])
    return row
