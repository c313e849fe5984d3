"""The edge of stability: the sharpness of full-batch gradient descent against 2/η.

**Question.** How sharp does the loss become along the path of gradient descent, and what stops it?

**Method.** One network is trained by full-batch gradient descent with several learning rates η from the same initial
weights. At points along each path the largest eigenvalue of the Hessian ("sharpness") is computed in float64 by Lanczos
to a stated residual. On a quadratic, gradient descent diverges where it exceeds 2/η; with momentum β where it exceeds
(2 + 2β)/η, with Nesterov's where it exceeds (2 + 2β)/(η (1 + 2β)) (Cohen et al. 2021, §2 and appendix B).

**Figures and how to read them.** Upper frame: training loss. Lower frame: sharpness, one colour per learning rate, with
the limit as a dashed line of that colour. Typically the sharpness rises (*progressive sharpening*) until it reaches the
limit and then stays just above it, while the loss goes on falling, not monotonically.

**Traps.** Sharpness of one batch is not the sharpness of the loss that is descended; a power iteration that is stopped
early is too low, just where the claim is "at least 2/η" (here every value carries its residual); under cross-entropy
the sharpness falls again late in training, when all samples are fitted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.stages import Passes, Stage, Training
from thalweg.experiments.shared.sizes import check_precision, snapshots, trained
from thalweg.experiments.shared.training import TrainingConfig, recipe_words, set_up
from thalweg.experiments.shared.words import counted, range_words
from thalweg.figures import Axis, Figure, HLine, Lines, Panel
from thalweg.figures.scales import number
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from thalweg.objective import Objective
    from thalweg.runs import Recording, Run

__all__ = ["PRESETS", "Config", "limit", "run"]

LATE = 0.2  # last share of the measured points over which "where it ends" is taken


PRODUCTS = 20
"""Products of the Hessian with a vector that one sharpness takes, about."""


def rate_name(lr: float) -> str:
    """A learning rate as names of files have it, without the plus of 1e+09."""
    return f"{lr:g}".replace("+", "")


class Config(TrainingConfig):
    """Settings of `edge-of-stability`."""

    learning_rates: tuple[float, ...] = (0.5, 1.0, 2.0)
    """The learning rates η, in place of `training.lr`; every replica starts from the same weights for each."""

    tolerance: float = Field(default=1e-3, gt=0, lt=1)
    """Relative residual to which each sharpness is computed."""

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if not self.learning_rates or not all(0 < lr < math.inf for lr in self.learning_rates):
            raise InputError(f"learning_rates must be positive, at least one, found {self.learning_rates}")
        if len(set(self.learning_rates)) < len(self.learning_rates):
            raise InputError(f"learning_rates must differ from each other, found {self.learning_rates}")
        check_precision(self.dtype, {"learning_rates": max(self.learning_rates)})
        if len({rate_name(lr) for lr in self.learning_rates}) < len(self.learning_rates):
            raise InputError(f"learning_rates must differ in their first six digits, found {self.learning_rates}")
        if self.training.optimizer not in ("sgd", "momentum", "nesterov"):
            raise InputError(
                f"training.optimizer must be sgd, momentum or nesterov, whose limits are known, found "
                f"{self.training.optimizer}"
            )
        if self.training.batch_size is not None or self.training.schedule != "constant":
            raise InputError("training must be full-batch (batch_size None) with a constant schedule for a fixed limit")
        if self.training.stop is not None:
            raise InputError(f"training.stop must be None for paths of one length, found '{self.training.stop}'")
        return self

    def stages(self) -> list[Stage]:
        """The path of every learning rate, and the sharpness along it."""
        found: list[Stage] = []
        places = snapshots(self.training, trained(self.data, self.model)[1])
        for lr in self.learning_rates:
            config = self.model_copy(update={"training": self.training.model_copy(update={"lr": lr})})
            found.append(Training(f"lr-{rate_name(lr)}", config))
            products = PRODUCTS * places * self.replicas
            found.append(Passes(f"sharpness-{rate_name(lr)}", self, products=products))
        return found


def _descent(steps: int, every: int) -> Recipe:
    return Recipe(optimizer="sgd", steps=steps, record=Cadence(every=every, unit="step"))


_TANH = ModelConfig(hidden=(32, 32), activation="tanh")

PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=60, test_samples=20),
        model=ModelConfig(hidden=(6,), activation="tanh"),
        loss="mse",
        training=_descent(60, 15),
        learning_rates=(0.5, 2.0),
    ),
    "quick": Config(replicas=2, data=TaskConfig(samples=300), model=_TANH, loss="mse", training=_descent(3000, 100)),
    # three learning rates on 1,000 images of MNIST
    "course": Config(
        replicas=1,
        data=TaskConfig(name="mnist", samples=1000, test_samples=500),
        model=ModelConfig(hidden=(100, 100), activation="tanh"),
        loss="mse",
        training=_descent(3000, 150),
        learning_rates=(0.2, 0.5, 1.0),  # with 2 it diverges: the sharpness at the start is 2.5 times the limit
    ),
    # Cohen et al. 2021: 5,000 images of CIFAR-10, two hidden layers of 200 units, mean squared error
    "paper": Config(
        replicas=1,
        data=TaskConfig(name="cifar10", samples=5000, standardize="zscore"),
        model=ModelConfig(hidden=(200, 200), activation="tanh"),
        loss="mse",
        training=_descent(6000, 200),
        learning_rates=(0.1, 0.2, 0.4),
    ),
}


def limit(recipe: Recipe) -> float:
    """The largest curvature at which gradient descent is stable on a quadratic (Cohen et al. 2021, appendix B).

    >>> limit(Recipe(optimizer="sgd", lr=0.5)), limit(Recipe(optimizer="momentum", lr=0.5, momentum=0.5))
    (4.0, 6.0)
    """
    beta = 0.0 if recipe.optimizer == "sgd" else (0.9 if recipe.momentum is None else recipe.momentum)
    if recipe.optimizer == "nesterov":
        return (2 + 2 * beta) / (recipe.lr * (1 + 2 * beta))
    return (2 + 2 * beta) / recipe.lr


def run(config: Config, run: Run) -> Findings:
    """Trains with every learning rate and measures the sharpness along each path."""
    from thalweg.training import train

    setup = set_up(config, run)
    paths = []
    for lr in config.learning_rates:
        recipe = config.training.model_copy(update={"lr": lr})
        rate = rate_name(lr)
        recording = train(
            setup.objective,
            setup.objective.initial(config.replicas, config.seed),
            recipe,
            seed=config.seed,
            recording=run.recording(f"lr-{rate}"),
            evaluate=setup.evaluate,
        )
        measured = run.cached(
            f"sharpness-{rate}", lambda recording=recording: _sharpness(setup.objective, recording, config)
        )
        paths.append(_Path(recipe, recording, {name: np.asarray(value) for name, value in measured.items()}))
    words = recipe_words(config.training.model_copy(update={"lr": 1.0}), setup.objective.samples)
    length = words.rpartition(", ")[2]
    return _tell(config, paths, f"{setup.network} on {setup.task.label}, full batch, {length}")


class _Path:
    """One learning rate: its recipe, losses and sharpness (S, R)."""

    def __init__(self, recipe: Recipe, recording: Recording, measured: dict[str, np.ndarray]) -> None:
        self.recipe, self.limit = recipe, limit(recipe)
        self.steps = np.asarray(recording.steps)
        self.sharpness, self.residual = measured["sharpness"], measured["residual"]
        rows = recording.metrics.sort("step", "replica")
        self.loss_steps = rows["step"].unique(maintain_order=True).to_numpy()
        self.loss = rows["loss"].to_numpy().reshape(len(self.loss_steps), -1)
        self.diverged = [r for r, entry in enumerate(recording.status) if entry["status"] == "diverged"]

    @property
    def late(self) -> np.ndarray:
        """Sharpness over the limit at the end of training, median over the last points, (R,)."""
        count = max(1, round(LATE * len(self.steps)))
        return np.median(self.sharpness[-count:], axis=0) / self.limit


def _sharpness(objective: Objective, recording: Recording, config: Config) -> dict[str, np.ndarray]:
    """λmax at every snapshot of every replica with the residual of its Ritz pair, NaN where it diverged: (S, R)."""
    from thalweg.curvature import eigenpairs, hessian_operator
    from thalweg.progress import track

    exact = objective.double()
    steps, replicas, _ = recording.snapshots.shape
    values, residuals = np.full((steps, replicas), np.nan), np.full((steps, replicas), np.nan)
    with track("sharpness", total=steps * replicas) as advance:
        for s in range(steps):
            for r in range(replicas):
                theta = recording.snapshots[s, r].double()
                if theta.isfinite().all() and exact.value(theta).isfinite():
                    operator = hessian_operator(exact, theta)
                    found = eigenpairs(operator, 1, tolerance=config.tolerance, check=False, seed=config.seed)
                    values[s, r], residuals[s, r] = float(found.values[0]), float(found.residuals[0])
                advance(s * replicas + r + 1)
    return {"sharpness": values, "residual": residuals}


def _tell(config: Config, paths: list[_Path], setting: str) -> Findings:
    names = {path: f"η = {number(path.recipe.lr)}" for path in paths}
    runs = tuple(f"run {r + 1}" for r in range(config.replicas))
    losses, sharpness = [], []
    for path in paths:
        name = names[path]
        losses.append(Lines(path.loss_steps, path.loss.T, label=name, names=runs, width=1.0, opacity=0.9))
        sharpness.append(Lines(path.steps, path.sharpness.T, group=name, names=runs, width=1.3))
        sharpness.append(HLine(path.limit, group=name, text=f"limit {number(path.limit)}"))
    figure = Figure(
        "edge-of-stability",
        "Loss and sharpness under gradient descent",
        f"Training loss and largest eigenvalue of the Hessian, {counted(config.replicas, 'run')} for each learning "
        "rate; dashed: the largest curvature at which the optimiser is stable on a quadratic.",
        (
            Panel(Axis("step"), Axis("training loss", scale="log"), tuple(losses)),
            Panel(Axis("step"), Axis("sharpness λmax", scale="log"), tuple(sharpness)),
        ),
        columns=1,
        share_x=True,
    )
    statements = [f"{setting}."]
    warnings, rows, numbers = [], [], {}
    for path in paths:
        lr, late = path.recipe.lr, path.late
        alive = late[np.isfinite(late)]
        numbers |= {f"limit_{lr:g}": path.limit, f"ratio_{lr:g}": float(np.median(alive)) if len(alive) else np.nan}
        if len(alive):
            reached = _verdict(alive)
            statements.append(
                f"With {names[path]} the sharpness goes from {range_words(path.sharpness[0])} to "
                f"{range_words(late * path.limit)}, that is {range_words(late)} times the limit {number(path.limit)}: "
                f"{reached}."
            )
        warnings += [f"Run {r + 1} diverged with {names[path]}; its curves end there." for r in path.diverged]
        rows += [
            {
                "learning rate": lr,
                "run": r + 1,
                "limit": path.limit,
                "first sharpness": float(path.sharpness[0, r]),
                "greatest sharpness": float(np.nanmax(path.sharpness[:, r], initial=-np.inf)),
                "last sharpness / limit": float(late[r]),
                "greatest residual": float(np.nanmax(path.residual[:, r], initial=0.0)),
                "last loss": float(path.loss[-1, r]),
            }
            for r in range(config.replicas)
        ]
    return Findings((figure,), statements, {"Runs": rows}, numbers, warnings)


def _verdict(late: np.ndarray) -> str:
    """What the runs have reached; each speaks for itself.

    >>> _verdict(np.array([1.02, 1.05]))
    'at the edge of stability, above the limit by at most 10 %'
    >>> _verdict(np.array([1.02, 0.5, 1.05]))
    'at the edge of stability, above the limit by at most 10 %, in 2 of 3 runs; not at the edge within these steps in 1'
    """
    bounds = (
        (1.1, "well above it"),
        (1.0, "at the edge of stability, above the limit by at most 10 %"),
        (0.9, "close to the edge"),
        (-np.inf, "not at the edge within these steps"),
    )
    reached = [next(words for low, words in bounds if share >= low) for share in late]
    named = {words: reached.count(words) for _, words in bounds if words in reached}
    if len(named) == 1:
        return reached[0]
    first, *rest = named.items()
    return "; ".join([f"{first[0]}, in {first[1]} of {len(late)} runs", *(f"{words} in {n}" for words, n in rest)])
