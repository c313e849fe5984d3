"""Gradient descent with every learning rate, and the sharpness along each path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.checkpoints import with_buffers
from thalweg.curvature import eigenpairs, hessian_operator
from thalweg.experiments.edge_of_stability.config import Config, limit, rate_name
from thalweg.experiments.shared.training import Setup
from thalweg.experiments.shared.weights import recorded
from thalweg.objective import Objective
from thalweg.progress import track
from thalweg.runs import Recording, Run
from thalweg.training import train
from thalweg.training.recipe import Recipe

__all__ = ["Path", "measure"]

LATE = 0.2
"""Last share of the measured points over which "where it ends" is taken."""


@dataclass(frozen=True, eq=False)
class Path:
    """One learning rate.

    Attributes:
        recipe: How it was trained.
        steps: At which the sharpness was measured, (S,).
        sharpness: Largest eigenvalue of the Hessian, (S, R); NaN from where a run has diverged.
        residual: Of its Ritz pair, (S, R).
        loss_steps: (T,).
        loss: Training loss, (T, R).
        diverged: Numbers of the runs that diverged.
    """

    recipe: Recipe
    steps: np.ndarray
    sharpness: np.ndarray
    residual: np.ndarray
    loss_steps: np.ndarray
    loss: np.ndarray
    diverged: tuple[int, ...]

    @property
    def limit(self) -> float:
        """The largest stable curvature."""
        return limit(self.recipe)

    @property
    def late(self) -> np.ndarray:
        """Sharpness over the limit at the end of training, median over the last points, (R,)."""
        count = max(1, round(LATE * len(self.steps)))
        return np.median(self.sharpness[-count:], axis=0) / self.limit


def measure(config: Config, setup: Setup, run: Run) -> list[Path]:
    """Trains with every learning rate and measures the sharpness at every snapshot."""
    paths = []
    for lr in config.learning_rates:
        recording = _trained(config, setup, lr, run.recording(f"lr-{rate_name(lr)}"))
        measured = run.cached(
            f"sharpness-{rate_name(lr)}",
            lambda recording=recording: _sharpness(_loss(config, setup), recording, config),
        )
        paths.append(_path(config.recipe(lr), recording, measured))
    return paths


def _trained(config: Config, setup: Setup, lr: float, recording: Recording) -> Recording:
    if config.checkpoint:
        return recorded(config, setup, recording)
    return train(
        setup.objective,
        setup.objective.initial(config.replicas, config.seed),
        config.recipe(lr),
        seed=config.seed,
        recording=recording,
        evaluate=setup.evaluate,
    )


def _path(recipe: Recipe, recording: Recording, measured: dict[str, np.ndarray]) -> Path:
    rows = recording.metrics.sort("step", "replica")
    steps = rows["step"].unique(maintain_order=True).to_numpy()
    return Path(
        recipe,
        np.asarray(recording.steps),
        measured["sharpness"],
        measured["residual"],
        steps,
        rows["loss"].to_numpy().reshape(len(steps), -1),
        tuple(r for r, entry in enumerate(recording.status) if entry["status"] == "diverged"),
    )


def _loss(config: Config, setup: Setup) -> Objective:
    """The loss that gradient descent goes down: normalisation layers take the statistics of the batch."""
    own = setup.normalized and not config.checkpoint
    return setup.objective.with_batchnorm("batch") if own else setup.objective


def _sharpness(objective: Objective, recording: Recording, config: Config) -> dict[str, np.ndarray]:
    """λmax at every snapshot of every replica with the residual of its Ritz pair, NaN where it diverged: (S, R)."""
    steps, replicas, _ = recording.snapshots.shape
    values, residuals = np.full((steps, replicas), np.nan), np.full((steps, replicas), np.nan)
    with track("sharpness", total=steps * replicas) as advance:
        for s in range(steps):
            exact = (with_buffers(objective, recording, s) if config.checkpoint else objective).double()
            for r in range(replicas):
                theta = recording.snapshots[s, r].double()
                if theta.isfinite().all() and exact.value(theta).isfinite():
                    operator = hessian_operator(exact, theta)
                    pairs = eigenpairs(operator, 1, tolerance=config.tolerance, check=False, seed=config.seed)
                    values[s, r], residuals[s, r] = float(pairs.values[0]), float(pairs.residuals[0])
                advance(s * replicas + r + 1)
    return {"sharpness": values, "residual": residuals}
