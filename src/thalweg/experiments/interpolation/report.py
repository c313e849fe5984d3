"""What `interpolation` says: the answer, its pictures, and the numbers of every pair in a table."""

from __future__ import annotations

import numpy as np

from thalweg.experiments.framework.findings import Findings, Number
from thalweg.experiments.interpolation.config import Config
from thalweg.experiments.interpolation.figures import figures
from thalweg.experiments.interpolation.measure import Pairs, Way
from thalweg.experiments.shared.training import Setup, recipe_words
from thalweg.experiments.shared.weights import weights_words
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words

__all__ = ["report"]


def report(config: Config, setup: Setup, compared: list[Pairs]) -> Findings:
    """Puts the findings together."""
    start = "weights of its own" if config.start == "own" else "the same weights for both"
    statistics = f" Normalisation layers: {_STATISTICS[config.batchnorm]}." if setup.normalized else ""
    what = (
        f"{counted(config.replicas, 'pair')} of the network {setup.network} on {setup.task.label} in each comparison, "
        f"every network from {start}; α = 0 is the first of a pair, α = 1 the second; numbers are medians over the "
        f"pairs, in brackets lowest and highest.{statistics}"
    )
    if config.checkpoint:
        what = f"{weights_words(config, setup)} α = 0 is the first, α = 1 the second.{statistics}"
    statements = [*_headline(compared), what]
    tables: dict[str, list[dict[str, Number]]] = {"Comparisons": [], "Ways": [], "Pairs": []}
    numbers: dict[str, Number] = {}
    warnings: list[str] = []
    for one in compared:
        title, key = one.comparison.title.capitalize(), one.comparison.name.replace("-", "_")
        warnings += [f"{title}: {sentence}" for sentence in one.lost]
        numbers[f"{key}_pairs"] = len(one.kept)
        first, second = config.checkpoint or (
            recipe_words(recipe, setup.task.samples) for recipe in one.comparison.recipes
        )
        tables["Comparisons"].append({"comparison": one.comparison.title, "first": first, "second": second})
        if one.line is None:
            statements.append(f"{title}: no pair of networks was completed.")
            continue
        widths = valleys(one.line)
        statements += [_hill(one, one.line), _widths(config, one, widths)]
        warnings += _unequal(one, one.line)
        numbers |= {f"{key}_{name}": value for name, value in _numbers(one, one.line, widths).items()}
        tables["Ways"] += _way_rows(config, one)
        tables["Pairs"] += [_row(one, one.line, widths, place) for place in range(len(one.kept))]
    tables = {name: rows for name, rows in tables.items() if rows}
    return Findings(figures(config, compared), statements, tables, numbers, warnings)


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


def _mean(way: Way) -> np.ndarray:
    """The mean training loss between the two solutions, uniform in length: (R,)."""
    return way.profile.mean("train").numpy()


def _barrier(way: Way | None) -> float:
    return float("nan") if way is None else float(np.median(way.barrier()))


def valleys(line: Way) -> np.ndarray:
    """How wide the valley around each end is along the line, in units of the distance between them: (2, R)."""
    return np.stack([line.number("width_first"), line.number("width_second")])


def _hill(one: Pairs, line: Way) -> str:
    """Losses at the ends and between them."""
    labels = one.comparison.labels
    first, second = (range_words(values) for values in line.ends("train"))
    text = (
        f"{one.comparison.title.capitalize()}, straight line: training loss {first} with {labels[0]}, {second} with "
        f"{labels[1]}, and up to {range_words(line.highest('train'))} between them: a barrier of "
        f"{range_words(line.barrier())} at α = {range_words(line.barrier('position'))}, standard error over the "
        f"samples at most {number(float(line.barrier('error').max()))}."
    )
    if "accuracy" in line.profile.values.get("test", {}):
        least = line.values("test", "accuracy")[line.inside].min(axis=0)
        before = [range_words(values, percent) for values in line.ends("test", "accuracy")]
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


def _way_rows(config: Config, one: Pairs) -> list[dict[str, Number]]:
    """What alignment and curve make of it, medians over the pairs with the range in brackets."""
    rows = []
    for way in one.ways:
        row: dict[str, Number] = {"comparison": one.comparison.title, "way": way.words}
        row |= {"barrier": range_words(way.barrier()), "standard error at most": float(way.barrier("error").max())}
        row |= {"mean training loss": range_words(_mean(way)), "highest": range_words(way.highest("train"))}
        if "distance" in way.more:
            row["distance of the ends"] = range_words(way.number("distance"))
        if way is one.aligned:
            row["matching"] = config.matching
        if way is one.curve:
            row |= {"length / straight line": range_words(way.number("stretch")), "bends": config.bends}
        rows.append(row)
    return rows


def _unequal(one: Pairs, line: Way) -> list[str]:
    """A solution that is none."""
    first, second = (float(np.median(values)) for values in line.ends("train"))
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
    first, second = line.ends("train")
    found = {
        "train_loss_first": first,
        "train_loss_second": second,
        "width_first": widths[0],
        "width_second": widths[1],
    }
    for name, way in (("line", one.line), ("aligned", one.aligned), ("curve", one.curve)):
        if way is not None:
            for data in way.profile.barriers:
                found[f"{name}_{data}_barrier"] = way.barrier("height", data)
                found[f"{name}_{data}_error"] = way.barrier("error", data)
            found[f"{name}_train_mean"] = _mean(way)
    out |= {name: float(np.median(values)) for name, values in found.items()}
    return out


def _row(one: Pairs, line: Way, widths: np.ndarray, place: int) -> dict[str, Number]:
    """One pair in the table."""
    first, second = line.ends("train")
    row: dict[str, Number] = {
        "comparison": one.comparison.title,
        "pair": one.kept[place] + 1,
        "first": one.comparison.labels[0],
        "second": one.comparison.labels[1],
        "distance": float(line.number("distance")[place]),
        "train loss, first": float(first[place]),
        "train loss, second": float(second[place]),
    }
    for way in one.ways:
        row |= {f"barrier, {way.words}": float(way.barrier()[place])}
        row |= {f"± ({way.words})": float(way.barrier("error")[place])}
    if one.aligned is not None:
        row["distance, aligned"] = float(one.aligned.number("distance")[place])
    row |= {
        "α of the barrier": float(line.barrier("position")[place]),
        "over the larger end": float(line.barrier("over_larger")[place]),
        "width, first": float(widths[0, place]),
        "width, second": float(widths[1, place]),
    }
    if "test" in line.profile.barriers:
        row["test barrier"] = float(line.barrier("height", "test")[place])
    return row
