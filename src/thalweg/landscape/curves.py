"""Curves of low loss between two solutions (mode connectivity, Garipov et al. 2018).

The bends p of a path θ_p(t) = Σₖ wₖ(t) pₖ are trained so that the expected loss E_t L(θ_p(t)), t uniform on [0, 1],
becomes small (eq. 2 there). Every step draws one t and one minibatch; the gradient with respect to a bend is
wₖ(t) ∇L(θ_p(t)), so that everything by which a network is trained here (orders of samples, dropout, normalisation by
batch statistics, memory budget) serves a curve as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from thalweg import progress
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Figure, Panel
from thalweg.figures.choosing import chosen_axis
from thalweg.landscape.paths import Path
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta, same_shape
from thalweg.objective.seeds import generator
from thalweg.results import BaseResult
from thalweg.results.networks import flat, tabled
from thalweg.results.words import counted, range_words
from thalweg.runs.curves import spread_over
from thalweg.training.feed import make_feed
from thalweg.training.preparation import prepare
from thalweg.training.recipe import Recipe
from thalweg.training.stack import Stack, make_optimizer

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Connection", "connect"]


@short
@dataclass(frozen=True, eq=False)
class Connection(BaseResult):
    """A trained curve between two solutions.

    Args:
        path: The curve; its ends are the two solutions, unchanged.
        loss: (T, …) the loss at the t and on the samples of every step, l2 included; noisy, of use to see whether the
            training has come to rest.
    """

    path: Path
    loss: Tensor

    @property
    def stretch(self) -> Tensor:
        """(…), the length of the curve over that of the straight line."""
        return self.path.length / self.path.distance

    @property
    def last_loss(self) -> Tensor:
        """(…) float64, the mean loss over the last tenth of the steps."""
        return self.loss[-max(1, len(self.loss) // 10) :].double().mean(0)

    def plot(self) -> Figure:
        """The loss over the steps of its training; of several pairs median, range and every one."""
        losses = self._rows
        names = tuple(f"pair {r}" for r in range(losses.shape[1]))
        marks = spread_over(np.arange(len(losses), dtype=np.float64), losses, "loss on the curve", names)
        caption = (
            "The loss at one random place of the curve and on one batch, step by step: noisy; of use to see whether "
            "the training has come to rest. `follow` evaluates the curve itself."
        )
        panel = Panel(Axis("step"), chosen_axis("loss", losses), tuple(marks))
        return Figure("connection", "Training of a curve between two solutions", caption, (panel,))

    def table(self) -> pl.DataFrame:
        """One row per pair: the stretch and the losses at the beginning and at the end of training."""
        first = self.loss[: max(1, len(self.loss) // 10)].double().mean(0)
        return tabled({"stretch": self.stretch, "first loss": first, "last loss": self.last_loss}, "pair")

    def summary(self) -> str:
        """How long the curve is, and the loss that its training came to."""
        pairs = self._rows.shape[1]
        kind = {"bezier": "Bézier curve", "polygon": "polygonal chain"}.get(self.path.kind, "line")
        return (
            f"A {kind} with {counted(len(self.path.points) - 2, 'bend')}, {range_words(flat(self.stretch))} times as "
            f"long as the straight line{f' (of {pairs} pairs median, lowest to highest)' if pairs > 1 else ''}: its "
            f"mean loss over the last tenth of {counted(len(self.loss), 'step')} is "
            f"{range_words(flat(self.last_loss))}."
        )

    @property
    def _rows(self) -> np.ndarray:
        """(T, pairs)."""
        return self.loss.detach().double().cpu().numpy().reshape(len(self.loss), -1)


@declared
def connect(
    objective: Objective,
    theta_a: Tensor,
    theta_b: Tensor,
    recipe: Recipe | None = None,
    *,
    kind: Literal["bezier", "polygon"] = "bezier",
    bends: int = 1,
    seed: int = 0,
) -> Connection:
    """Trains a Bézier curve or a polygonal chain of low loss from one solution to another.

    The bends start evenly spaced on the straight line. All pairs of the leading axes are trained at once, each with its
    own t, its own order of the samples and an optimiser that works element by element: pair r is the same, to rounding,
    whatever runs beside it. Normalisation layers use the statistics of each batch; `follow` recomputes them afterwards,
    for the ends as well. All other buffers start as the objective's model holds them, whatever those of the two
    solutions were (`follow` and `interpolate` take `buffers`). A pair that diverges becomes NaN between its ends and
    leaves the others alone.

    Args:
        objective: The training loss.
        theta_a: (…, P), the first solution; or what `Objective.as_theta` takes, such as a model.
        theta_b: (…, P), the second.
        recipe: How the bends are trained; default Adam, learning rate 1e-2 falling linearly to a hundredth, 1,000 steps
            on batches of 128 samples.
        kind: "bezier" (with one bend the paper's quadratic curve) or "polygon" (straight stretches).
        bends: Number of trained points between the ends.
        seed: Of t, of the orders of the samples and of dropout.

    Raises:
        InputError: Solutions that do not fit the objective or each other, or no bend.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 9), torch.nn.Tanh(), torch.nn.Linear(9, 3))
        >>> data = torch.randn(60, 2), torch.randint(0, 3, (60,))
        >>> objective = Objective(model, torch.nn.CrossEntropyLoss(), data)
        >>> a, b = objective.initial(replicas=2), objective.initial(replicas=2, first=2)
        >>> curve = connect(objective, a, b, Recipe(lr=0.1, steps=20)).path
        >>> curve.points.shape, bool((curve.at([1.0])[0] == b).all())
        (torch.Size([3, 2, 57]), True)
    """
    theta_a, theta_b = as_theta(objective, theta_a, "theta_a"), as_theta(objective, theta_b, "theta_b")
    theta_a, theta_b = theta_a.detach(), theta_b.detach()
    same_shape(theta_a, theta_b)
    if bends < 1:
        raise InputError(f"bends must be at least 1, found {bends}")
    recipe = _default(objective) if recipe is None else recipe
    if recipe.stop is not None:
        raise InputError(f"recipe.stop must be None for a curve, found '{recipe.stop}'")
    lead, size = theta_a.shape[:-1], objective.size
    ends = [theta.to(objective.device, objective.dtype).reshape(-1, size) for theta in (theta_a, theta_b)]
    line = Path(torch.stack(ends))
    middle = line.at(torch.linspace(0, 1, bends + 2, dtype=torch.float64)[1:-1]).clone()  # (bends, R, P)
    path, loss = _train(objective, ends, middle, recipe, kind, seed)
    points = path.points.reshape(-1, *lead, size)
    return Connection(Path(points, kind), loss.reshape(-1, *lead))


def _default(objective: Objective) -> Recipe:
    batch = 128 if objective.batches.indexable else "given"
    return Recipe(lr=1e-2, steps=1000, batch_size=batch, schedule="linear", final=0.01)


def _train(
    objective: Objective,
    ends: list[Tensor],
    middle: Tensor,
    recipe: Recipe,
    kind: Literal["bezier", "polygon"],
    seed: int,
) -> tuple[Path, Tensor]:
    """Trains `middle` (K − 2, R, P), in place."""
    first, last = ends
    numbers = list(range(len(first)))
    prepared = prepare(objective)
    feed = make_feed(objective.batches, recipe, seed, numbers, cuttable=prepared.cuttable, alone=prepared.alone)
    stack = Stack(
        prepared, objective.layout, feed, recipe, first, l2=objective.l2, seed=seed, numbers=numbers,
        memory=objective.memory,
    )  # fmt: skip
    total = recipe.total_steps(feed.per_epoch)
    places = torch.stack([torch.rand(total, generator=generator(seed, r, "curve")) for r in numbers], dim=1)
    path = Path(torch.stack([first, *middle, last]), kind)
    inner = path.points[1:-1]  # a view: the optimiser moves the path itself
    optimizer = make_optimizer(recipe, inner)
    losses = torch.empty(total, len(first), dtype=first.dtype)
    with progress.track(f"training {len(first)} curves", total=total) as advance:
        for step in range(total):
            weights = path.weights(places[step]).to(first).T[:, :, None]  # (K, R, 1)
            stack.theta.copy_((weights * path.points).sum(0))
            loss, gradient, _ = stack.gradient(step)
            pull = (weights[1:-1] * gradient).contiguous()  # (K − 2, R, P); fused optimisers read memory in order
            if recipe.clip is not None:
                length = pull.square().sum((0, 2)).sqrt()
                pull *= (recipe.clip / (length + 1e-6)).clamp(max=1.0)[:, None]
            inner.grad = pull
            optimizer.param_groups[0]["lr"] = recipe.lr_at(step, feed.per_epoch)
            optimizer.step()
            losses[step] = loss.cpu()
            advance(step + 1)
    return path, losses
