"""How much a network reacts to its input, sample by sample.

The sensitivity of Novak et al. 2018 (§3) is the mean over samples of the Frobenius norm of the Jacobian ∂f/∂x. The
course takes the gradient of a sample's loss with respect to its input. Either is a mean of norms, one norm per sample:
the norm of a *mean* gradient shrinks with the batch that it is taken over, and says nothing (`batch_mean_norm`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Figure, Histogram, Panel
from thalweg.generalization.jacobians import Of, input_norms
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective, floating
from thalweg.objective.drawing import drawable, numbers
from thalweg.objective.from_modules import from_modules
from thalweg.results import BaseResult
from thalweg.results.networks import Quantity, flat, panel, tabled
from thalweg.results.words import counted, estimated

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Sensitivity", "batch_mean_norm", "sensitivity"]


@short
@dataclass(frozen=True, eq=False)
class Sensitivity(BaseResult):
    """Mean input sensitivity of every θ (…) over N samples.

    Args:
        mean: Mean of the norms, float64, (…); NaN where θ or a norm is not finite.
        standard_error: Of the mean, over samples as a draw from their distribution, (…).
        norms: One per sample, float64, (…, N).
        of: Of what the derivative is taken.
        p: Which norm.
        samples: How many were drawn, whose error is then one of the mean over all N; None for all data.
    """

    mean: Tensor
    standard_error: Tensor
    norms: Tensor
    of: Of
    p: float
    samples: int | None = None

    def plot(self) -> Figure:
        """The mean norm of every network with its error, and how the norms of the samples are spread."""
        norms = self.norms.reshape(-1, self.norms.shape[-1]).double().cpu().numpy()
        known = norms[np.isfinite(norms)]
        panels = [panel(Quantity(f"mean norm of {self._what}", flat(self.mean), flat(self.standard_error)))]
        if len(known):
            heights, edges = np.histogram(known, bins=min(60, max(5, int(len(known) ** 0.5))))
            axes = Axis("norm of one sample"), Axis("samples of all networks")
            panels.append(Panel(*axes, (Histogram(edges, heights, group="value"),)))
        caption = (
            f"{self._norm} of {self._what} with respect to the input. Left: the mean of every network with two "
            "standard errors over the samples. Right: every sample by itself."
        )
        return Figure("sensitivity", "Sensitivity to the input", caption, tuple(panels), legend="none")

    def table(self) -> pl.DataFrame:
        """One row per network."""
        return tabled({"mean": self.mean, "standard error": self.standard_error})

    def summary(self) -> str:
        """The mean norm with its standard error."""
        drawn = f"a draw of {self.samples:,} samples" if self.samples else counted(self.norms.shape[-1], "sample")
        mean = estimated(flat(self.mean), flat(self.standard_error))
        return (
            f"{self._norm} of {self._what} with respect to the input: {mean} on average over {drawn} "
            f"({counted(len(flat(self.mean)), 'network')})."
        )

    @property
    def _what(self) -> str:
        return "the gradient of the loss" if self.of == "loss" else f"the Jacobian of the {self.of}"

    @property
    def _norm(self) -> str:
        return "Frobenius norm" if self.p == 2 else f"Entrywise {self.p:g}-norm"


@from_modules()
@declared
def sensitivity(
    objective: Objective,
    theta: Tensor,
    *,
    of: Of = "outputs",
    p: float = 2.0,
    buffers: Mapping[str, Tensor] | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> Sensitivity:
    """Mean norm of the derivative of every sample's output with respect to its input (Novak et al. 2018, §3).

    Args:
        objective: Model, loss and the samples on which it is measured.
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        of: "outputs" (the logits of a classifier), "probabilities" (their softmax over axis 1, as in the paper), or
            "loss" (the gradient of the sample's loss, the course's definition).
        p: Entrywise p-norm of the Jacobian, 1 ≤ p ≤ ∞; default 2, the Frobenius norm.
        buffers: Buffers that belong to each θ, name -> (…, *shape), as for `Objective.metrics`.
        samples: Measure it on so many samples, drawn without replacement, instead of all; no others are read. The
            standard error is then one of the mean over all N, zero where all were drawn.
        seed: Of the draw.

    Raises:
        InputError: Inputs that are no floating-point numbers, a loss on whole batches, or an argument out of range.

    Example:
        >>> model = torch.nn.Linear(4, 3)
        >>> objective = Objective(model, torch.nn.CrossEntropyLoss(), (torch.randn(9, 4), torch.arange(9) % 3))
        >>> found = sensitivity(objective, objective.theta)
        >>> bool(torch.isclose(found.mean, torch.linalg.matrix_norm(model.weight.detach()).double())), found.norms.shape
        (True, torch.Size([9]))
    """
    share = 0.0
    if samples is not None:
        drawable(as_objective(objective), samples)
        share = samples / objective.samples
        objective = objective.subset(numbers(objective.samples, samples, seed))
    norms = input_norms(objective, theta, of=of, p=p, buffers=buffers)
    count = norms.shape[-1]
    error = norms.std(-1) / math.sqrt(count) if count > 1 else torch.full_like(norms[..., 0], math.nan)
    return Sensitivity(norms.mean(-1), error * (1 - share) ** 0.5, norms, of, p, samples)


@declared
def batch_mean_norm(norms: Tensor, batch: int) -> Tensor:
    """What a script gets that takes the gradient of a batch's *mean* loss with respect to its inputs: (…, N) -> (…).

    Every sample's gradient is divided by the batch it came in, so that one fixed network looks √B times flatter when it
    is evaluated on batches of B. Here to show the effect, not to be used as a measure.

    Args:
        norms: Norms of the samples' own gradients, (…, N), of `input_norms(…, of="loss")`.
        batch: B, at most N; samples beyond the last full batch are left out.

    Returns:
        √(Σ gₙ²)/B, averaged over the batches.

    Example:
        >>> norms = torch.full((1024,), 0.25)
        >>> [float(batch_mean_norm(norms, size)) for size in (1, 16, 256)]
        [0.25, 0.0625, 0.015625]
    """
    norms = floating(norms, "norms")
    count = norms.shape[-1] if norms.dim() else 0
    if not 1 <= batch <= count:
        raise InputError(f"batch must be from 1 to the {count} samples, found {batch}")
    whole = norms[..., : count - count % batch].unflatten(-1, (-1, batch))
    return (torch.linalg.vector_norm(whole, dim=-1) / batch).mean(-1)
