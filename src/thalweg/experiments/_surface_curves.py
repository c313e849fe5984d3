"""Parts 2 and 3 of `error-surface`: each parameter moved alone, and the straight line from first to last weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.experiments._path_figures import run_name
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.words import counted, range_words
from thalweg.figures import Axis, Figure, Inset, Line, Lines, Mark, Panel, VLine
from thalweg.figures.choosing import chosen_axis
from thalweg.figures.scales import number

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments._surface_look import Look

__all__ = ["line", "parameters"]

CLOSE = 0.1
"""Half-width of a close-up as a share of the range shown."""

LOWER = 1e-3
"""Relative difference from which a loss beside the end of training counts as lower."""

ROUNDING = 1e-5
"""Relative change of a loss that a sum in single precision may make by itself."""


def parameters(look: Look) -> Findings:
    """Moves every parameter alone."""
    from thalweg.landscape import fine_offsets, perturb

    reach = look.config.reach
    offsets = fine_offsets(reach, CLOSE * reach, look.config.offsets)

    def measure() -> dict[str, Tensor]:
        found = perturb(look.objective, look.theta, offsets, parameters=_sample(look))
        return {"loss": found.values.double(), "parameters": found.parameters}

    kept = look.run.cached("parameters", measure)
    losses, chosen = kept["loss"].numpy(), kept["parameters"]
    x, size, middle = offsets.numpy(), look.objective.size, len(offsets) // 2
    layout = look.objective.layout
    marks: list[Mark] = []
    for name in layout.names:
        inside = (chosen >= layout.slices[name].start) & (chosen < layout.slices[name].stop)
        if inside.any():
            names = tuple(f"parameter {int(k)}" for k in chosen[inside])
            marks.append(Lines(x, losses[inside.numpy()], label=name, names=names, width=0.9, opacity=0.75))
    centre = float(losses[0, middle])
    shown = f"all {size:,} parameters" if len(chosen) == size else f"{len(chosen):,} of {size:,} parameters (seeded)"
    caption = (
        f"Training loss of {look.name} at the end of training when one parameter is moved and all the others stay: "
        f"{shown}, one curve each, coloured by the tensor that it belongs to. The close-up shows the middle tenth."
    )
    known = np.ma.masked_invalid(losses)
    inset = Inset((-CLOSE * reach, CLOSE * reach), corner="upper centre", size=(0.36, 0.44), title="near zero")
    panel = Panel(Axis("offset of one parameter"), Axis("training loss"), tuple(marks), inset=inset)
    figure = Figure("parameters", "Each parameter alone", caption, (panel,), size=(7.0, 4.6))
    rise = known.max(axis=1).filled(np.nan) - centre
    gain = centre - known.min(axis=1).filled(centre)
    lower, best = int((gain > LOWER * abs(centre)).sum()), int(gain.argmax())
    flat = int((rise <= 0.01 * (float(known.max()) - centre)).sum())
    statement = (
        f"Each parameter alone: moved within ±{number(reach)}, {shown} raise the loss from {number(centre)} by "
        f"{range_words(rise.tolist())} at most (median, and smallest to largest), {flat} of them by less than a "
        f"hundredth of the steepest. "
    )
    if lower:
        place = number(float(x[known[best].argmin()]))
        statement += (
            f"Along {lower} of them the loss is lower elsewhere, by up to {number(float(gain[best]))} at offset "
            f"{place}: where training stopped is no minimum. "
        )
    statement += "Curves along the axes show nothing of what two parameters do together."
    numbers = {
        "parameters_drawn": len(chosen),
        "parameters_flat": flat,
        "parameters_with_lower_loss": lower,
        "parameters_greatest_gain": float(gain[best]),
    }
    lost = int(np.ma.count_masked(known))
    warnings = [f"Each parameter alone: {lost} of {losses.size} losses are not finite and not drawn."] if lost else []
    return Findings((figure,), (statement,), numbers=numbers, warnings=warnings)


def _sample(look: Look) -> Tensor:
    """Numbers of the parameters that are moved."""
    import torch

    from thalweg.objective.seeds import generator

    source = generator(look.config.seed, 0, "parameters")
    return torch.randperm(look.objective.size, generator=source)[: look.config.curves]


def line(look: Look) -> Findings:
    """Goes straight from the first to the last weights of every training."""
    from thalweg.landscape import interpolate, with_ends

    alphas = with_ends(-0.5, 1.5, look.config.line_points)

    def measure() -> dict[str, Tensor]:
        found = interpolate(look.sets, look.first, look.last, alphas, subsets=0)
        return {
            f"{name}_{metric}": found.values[name][metric].double()
            for name in look.sets
            for metric in ("loss", "accuracy")
            if metric in found.values[name]
        }

    kept = {name: array.numpy() for name, array in look.run.cached("line", measure).items()}  # each (A, R)
    x = alphas.numpy()
    names = tuple(run_name(r) for r in look.replicas)
    marks: list[Mark] = []
    for key, values in kept.items():
        name, metric = key.split("_")
        words = f"{ {'train': 'training'}.get(name, name) } {metric}"
        side: dict[str, Any] = {"side": "right"} if metric == "accuracy" else {}
        style = "solid" if name == "train" else "dashed"
        if len(names) > 1:
            marks.append(Lines(x, values[:, 1:].T, group=metric, names=names[1:], width=0.7, opacity=0.45, **side))
        marks.append(Line(x, values[:, 0], label=words, group=metric, style=style, width=1.8, **side))
    marks += [VLine(0.0, colour="muted"), VLine(1.0, colour="muted")]
    named = ((-0.5, "−0.5"), (0.0, "first (0)"), (0.5, "0.5"), (1.0, "last (1)"), (1.5, "1.5"))
    losses = [values for key, values in kept.items() if key.endswith("loss")]
    right = Axis("accuracy", limits=(0.0, 1.02)) if len(losses) < len(kept) else None
    # Two curves that cross leave no corner free.
    inset = (
        None if right else Inset((1 - CLOSE, 1 + CLOSE), corner="upper centre", size=(0.3, 0.34), title="at the end")
    )
    panel = Panel(
        Axis("α, from first to last weights", ticks=named),
        chosen_axis("loss", *losses),
        tuple(marks),
        right=right,
        inset=inset,
    )
    others = f"; thin: the other {counted(len(names) - 1, 'run')}, each on its own line" if len(names) > 1 else ""
    caption = (
        f"Loss on the straight line (1 − α) first + α last weights of {look.name}, continued beyond both, at "
        f"{len(x)} places{others}. Training did not go along this line (Goodfellow et al. 2015 found that the loss "
        "mostly falls along it all the same)."
    )
    figure = Figure("line", "From the first to the last weights", caption, (panel,), size=(7.0, 4.3))
    return Findings(
        (figure,), (_line_words(look, x, kept["train_loss"]),), numbers=_line_numbers(x, kept["train_loss"])
    )


def _rises(x: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between both ends: how far the loss rises above its lowest value before, and how many local minima there are."""
    inside = losses[(x >= 0) & (x <= 1)]  # (A, R)
    rise = (inside - np.minimum.accumulate(inside, axis=0)).max(axis=0)
    rise = np.where(rise > ROUNDING * np.abs(inside).max(axis=0), rise, 0.0)
    down = np.diff(inside, axis=0) < -ROUNDING * np.abs(inside[1:])
    up = np.diff(inside, axis=0) > ROUNDING * np.abs(inside[1:])
    minima = np.array([_turns(d, u) for d, u in zip(down.T, up.T, strict=True)])
    return rise, minima


def _turns(down: np.ndarray, up: np.ndarray) -> int:
    """How often a fall is followed by a rise; steps within rounding do not count.

    >>> _turns(np.array([True, False, False, True]), np.array([False, False, True, False]))
    1
    """
    steps = (up.astype(int) - down.astype(int))[up | down]
    return int(((steps[:-1] < 0) & (steps[1:] > 0)).sum())


def _line_words(look: Look, x: np.ndarray, losses: np.ndarray) -> str:
    rise, minima = _rises(x, losses)
    falls = int((rise == 0).sum())
    total = len(look.replicas)
    ends = losses[x == 0][0], losses[x == 1][0]
    words = (
        f"Straight line: from the first to the last weights the training loss goes from "
        f"{range_words(ends[0].tolist())} to {range_words(ends[1].tolist())}; "
    )
    if falls == total:
        words += f"it never rises on the way in {'any' if total > 1 else 'the one'} of {counted(total, 'run')}"
    else:
        words += (
            f"it rises on the way in {total - falls} of {counted(total, 'run')}, by {range_words(rise.tolist())} above "
            f"what was reached before, with {range_words(minima.tolist())} local minima between the ends"
        )
    return f"{words}. The line is one direction out of {look.objective.size:,}, and not the way that training took."


def _line_numbers(x: np.ndarray, losses: np.ndarray) -> dict[str, float]:
    rise, minima = _rises(x, losses)
    return {"line_rise": float(rise.max()), "line_minima": int(minima.max())}
