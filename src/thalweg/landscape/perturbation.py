"""Each parameter moved alone: the loss against its offset, one curve per parameter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg import progress
from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Figure, Inset, Lines, Mark, Panel
from thalweg.figures.scales import number
from thalweg.landscape.paths import positions
from thalweg.objective import Objective, ParameterLayout
from thalweg.objective.arguments import as_theta
from thalweg.results import BaseResult
from thalweg.results.words import range_words

__all__ = ["Perturbation", "fine_offsets", "perturb"]

LIMIT = 300  # curves; more cannot be told apart in a figure

CLOSE = 0.1
"""Half-width of the close-up as a share of the range shown."""

LOWER = 1e-3
"""Relative difference from which a loss beside θ counts as lower."""


@short
@dataclass(frozen=True, eq=False)
class Perturbation(BaseResult):
    """The loss along coordinate axes through θ.

    Args:
        offsets: (M,) float64, what is added to the parameter, in its own units.
        values: (…, K, M) the objective, l2 included; at offset 0 it is `objective.value(theta)` bit for bit.
        parameters: (K,) the numbers of the parameters in θ, ascending.
        names: (K,) their names and places, such as "0.weight[2, 1]".
        size: P, the number of parameters there are; K < P if only a sample was moved.
    """

    offsets: Tensor
    values: Tensor
    parameters: Tensor
    names: tuple[str, ...]
    size: int

    @property
    def sampled(self) -> bool:
        """Whether some parameters were left out."""
        return len(self.parameters) < self.size

    @property
    def note(self) -> str:
        """What is shown, in words."""
        if not self.sampled:
            return f"all {self.size:,} parameters"
        return f"{len(self.parameters):,} of {self.size:,} parameters"

    @property
    def known(self) -> np.ma.MaskedArray:
        """(networks, K, M) float64, masked where a value is not finite."""
        values = self.values.detach().double().cpu().numpy()
        return np.ma.masked_invalid(values.reshape(-1, *values.shape[-2:]))

    @property
    def center(self) -> np.ndarray:
        """(networks,), the value at offset 0, or at the offset nearest to it."""
        return self.known[:, 0, int(self.offsets.abs().argmin())].filled(np.nan)

    @property
    def rise(self) -> np.ndarray:
        """(networks, K), how far each parameter raises the value at most; NaN where none of its values is finite."""
        return self.known.max(axis=2).filled(np.nan) - self.center[:, None]

    @property
    def gain(self) -> np.ndarray:
        """(networks, K), how far each parameter lowers the value at most."""
        lowest = self.known.min(axis=2)
        return self.center[:, None] - np.where(np.ma.getmaskarray(lowest), self.center[:, None], lowest.data)

    @property
    def lower(self) -> np.ndarray:
        """(networks, K), along which parameters the value is lower elsewhere, by more than a thousandth."""
        return self.gain > LOWER * np.abs(self.center)[:, None]

    def plot(self, network: int = 0) -> Figure:
        """A curve for each parameter, coloured by the tensor that it belongs to, with a close-up near zero.

        Args:
            network: Which of several networks.
        """
        rows, x = self.known.filled(np.nan), self.offsets.numpy()
        if not 0 <= network < len(rows):
            raise InputError(f"network must be from 0 to {len(rows) - 1}, found {network}")
        tensors = [name.partition("[")[0] for name in self.names]
        marks: list[Mark] = []
        for tensor in dict.fromkeys(tensors):
            inside = np.array([name == tensor for name in tensors])
            names = tuple(f"parameter {int(k)}" for k in self.parameters[torch.from_numpy(inside)])
            marks.append(Lines(x, rows[network, inside], label=tensor, names=names, width=0.9, opacity=0.75))
        reach = float(np.abs(x).max())
        shown = self.note + (" (seeded)" if self.sampled else "")
        which = f" of network {network} of {len(rows)}" if len(rows) > 1 else ""
        caption = (
            f"The loss{which} when one parameter is moved and all the others stay: {shown}, one curve each, coloured "
            "by the tensor that it belongs to. The close-up shows the middle tenth."
        )
        inset = Inset((-CLOSE * reach, CLOSE * reach), corner="upper centre", size=(0.36, 0.44), title="near zero")
        panel = Panel(Axis("offset of one parameter"), Axis("loss"), tuple(marks), inset=inset)
        return Figure("parameters", "Each parameter alone", caption, (panel,), size=(7.0, 4.6))

    def table(self) -> pl.DataFrame:
        """One row per network and parameter: its name, and how far it raises and lowers the loss at most."""
        networks = len(self.center)
        columns = {"network": np.repeat(np.arange(networks), len(self.names)), "parameter": list(self.names) * networks}
        return pl.DataFrame(columns | {"greatest rise": self.rise.ravel(), "greatest fall": self.gain.ravel()})

    def summary(self) -> str:
        """How far single parameters raise the loss, and whether one lowers it."""
        rise, gain, reach = self.rise, self.gain, float(self.offsets.abs().max())
        finite = rise[np.isfinite(rise)]
        if not finite.size:
            return "No loss beside θ is finite."
        steepest = np.max(np.where(np.isfinite(rise), rise, 0.0), axis=1, keepdims=True)
        flat, lower = int((rise <= 0.01 * steepest).sum()), int(self.lower.sum())
        text = (
            f"Each parameter alone, moved within ±{number(reach)}: {self.note} raise the loss from "
            f"{range_words(self.center)} by {range_words(finite)} at most (median, and smallest to largest), {flat} of "
            "them by less than a hundredth of the steepest. "
        )
        if not lower:
            return f"{text}None of them lowers it by more than a thousandth."
        network, parameter = np.unravel_index(int(gain.argmax()), gain.shape)
        place = float(self.offsets[int(self.known[network, parameter].argmin())])
        return (
            f"{text}Along {lower} of them the loss is lower elsewhere, by up to {number(float(gain.max()))} at offset "
            f"{number(place)}: this is no minimum."
        )


@declared
def fine_offsets(radius: float = 1.0, fine: float = 0.1, points: int = 81) -> Tensor:
    """Offsets from −radius to radius, half of them within ±fine, symmetric about an exact 0: (points,).

    Args:
        radius: The greatest offset.
        fine: Where a close-up shows them.
        points: How many, odd and at least 5.

    Raises:
        InputError: An even or too small number, or not 0 < fine < radius.

    Example:
        >>> fine_offsets(1.0, 0.1, 9)
        tensor([-1.0000, -0.5500, -0.1000, -0.0500,  0.0000,  0.0500,  0.1000,  0.5500,
                 1.0000], dtype=torch.float64)
    """
    if not 0 < fine < radius or radius == float("inf"):
        raise InputError(f"fine must lie between 0 and radius, found fine {fine:g} and radius {radius:g}")
    if points < 5 or points % 2 == 0:
        raise InputError(f"points must be odd and at least 5, found {points}")
    half = points // 2
    near = torch.linspace(0, fine, half // 2 + 1, dtype=torch.float64)
    far = torch.linspace(fine, radius, half - half // 2 + 1, dtype=torch.float64)
    right = torch.cat([near, far[1:]])
    return torch.cat([-right[1:].flip(0), right])


@declared
def perturb(
    objective: Objective,
    theta: Tensor,
    offsets: Tensor | list[float] | None = None,
    *,
    parameters: Tensor | None = None,
    seed: int = 0,
) -> Perturbation:
    """Evaluates the objective with one parameter moved at a time, all the others where they are.

    Buffers are those that the objective's model holds; statistics of normalisation layers follow its BatchNorm policy.

    Args:
        objective: What is drawn.
        theta: (…, P), where to look.
        offsets: (M,); default `fine_offsets()`.
        parameters: Numbers of the parameters to move; default all, or a seeded sample of 300 of more than these.
        seed: Of that sample.

    Raises:
        InputError: θ of another network, parameters that there are not, or no offset.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(9, 2), torch.randn(9, 1)))
        >>> found = perturb(objective, objective.initial())
        >>> found.values.shape, found.names
        (torch.Size([3, 81]), ('weight[0, 0]', 'weight[0, 1]', 'bias[0]'))
    """
    theta = as_theta(objective, theta)
    offsets = fine_offsets() if offsets is None else positions(offsets, "offsets")
    chosen = _chosen(objective.size, parameters, seed)
    flat = theta.reshape(-1, objective.size).to(objective.device, objective.dtype)
    moves = offsets.to(flat)
    together = max(1, objective.memory // (8 * len(flat) * len(moves) * flat[0].nbytes))
    values = []
    with progress.track("moving one parameter at a time", total=len(chosen)) as advance:
        for part in chosen.split(together):
            rows = flat[:, None, None].repeat(1, len(part), len(moves), 1)  # (B, k, M, P)
            rows[:, torch.arange(len(part)), :, part] += moves  # torch puts the indexed axis first: (k, B, M)
            values.append(objective.value(rows))
            advance(sum(found.shape[1] for found in values))
    out = torch.cat(values, dim=1)
    out[:, :, (moves == 0).nonzero().flatten()] = objective.value(theta).reshape(-1, 1, 1)
    return Perturbation(
        offsets,
        out.reshape(*theta.shape[:-1], *out.shape[1:]),
        chosen,
        _names(objective.layout, chosen),
        objective.size,
    )


def _chosen(size: int, parameters: Tensor | None, seed: int) -> Tensor:
    if parameters is None:
        if size <= LIMIT:
            return torch.arange(size)
        return torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:LIMIT].sort().values
    chosen = torch.as_tensor(parameters).cpu()
    if chosen.dim() != 1 or not len(chosen) or chosen.is_floating_point() or chosen.dtype == torch.bool:
        raise InputError("parameters must be a non-empty list of numbers of parameters")
    chosen = chosen.long().sort().values
    if int(chosen[0]) < 0 or int(chosen[-1]) >= size:
        bad = int(chosen[0]) if int(chosen[0]) < 0 else int(chosen[-1])
        raise InputError(f"parameters must lie in 0 … {size - 1}, found {bad}")
    if len(chosen.unique()) < len(chosen):
        raise InputError("parameters must name each parameter once, found a repeated number")
    return chosen


def _names(layout: ParameterLayout, chosen: Tensor) -> tuple[str, ...]:
    out = []
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        span = layout.slices[name]
        for place in chosen[(chosen >= span.start) & (chosen < span.stop)].tolist():
            inside = torch.unravel_index(torch.tensor(place - span.start), shape)
            out.append(f"{name}[{', '.join(str(int(i)) for i in inside)}]" if shape else name)
    return tuple(out)
