"""Sharpness: which measure of a minimum goes with generalisation, and can any of them be trusted?

**Question.** Flatness, the bonus: do trainings with different batch sizes (or any other setting) end in minima of
different sharpness, by any definition, and does a measure rank them by their generalisation gap?

**Method.** One network is trained for every value of the field `vary`. At its end, on the training data (or `samples`
of them), in float64 and without the penalty l2, are measured:

- ε-sharpness ‖∇²L‖₂ε²/(2(1 + L)), λmax and the trace of the Hessian, the first by Lanczos with residuals, the last with
  its standard error;
- the largest loss in a box, in the whole space and in a random subspace (Keskar et al. 2017), by L-BFGS-B with a limit
  of 10 iterations from 3 starts: lower bounds;
- the largest loss in a ball (SAM, Foret et al. 2021) and in an ellipsoid that scales with the weights (ASAM, Kwon et
  al. 2021), by 20 steps: lower bounds;
- the average rise of the loss over Gaussian steps, absolute and relative to each weight, with standard errors;
- beside them: sensitivity, distance from the start, products of norms, path norm, margins (as in Jiang et al. 2020).

**Figures and how to read them.**

- *ε-sharpness*: loss and accuracy on the left axis, the bonus's measure on the right one, against the varied field.
- *Sharpness by every definition*, and *sensitivity, norms and margins*: each against the varied field, in its own
  unit. Bands: range over the runs; whiskers: two standard errors where the measure is an estimate (λmax:
  twice the residual).
- *Rank correlation*: Kendall τ of each measure with the generalisation gap over all settings and runs; whiskers: 95 %
  bootstrap intervals over settings. A whisker across zero means that these data do not even settle the sign.
- *Same function, any sharpness*: one trained network, rescaled between two layers (Dinh et al. 2017). λmax grows
  without bound along a family of parameters that compute the *same* function; adaptive measures stay.

**Traps.** Sharpness of one batch is not that of the loss, and on a part of the data λmax comes out larger. The
spectral norm is neither the Frobenius norm nor the norm of one layer's block. A search that starts at an exact minimum
finds no slope and reports zero. Networks of different architecture or scale cannot be compared by any measure that the
rescaling changes. A correlation over one varied field shows that both follow the field, not that one causes the other
(`granulated_correlation` compares within settings). With ReLU the Hessian misses the kinks between linear pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from thalweg._lazy import polars as pl
from thalweg.experiments._sharpness_measures import ERRORS, SHARPNESS, WORDS, columns, measured_on
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.stages import Passes, Stage, Training
from thalweg.experiments.shared import measures as measures
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared import rescaling
from thalweg.experiments.shared.correlations import correlations
from thalweg.experiments.shared.members import METRICS, Member, Members, Varied, members, table
from thalweg.figures import Axis, Figure, Panel
from thalweg.figures.scales import number
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments.shared.training import Setup
    from thalweg.runs import Run

__all__ = ["PRESETS", "Config", "measure", "run", "merge"]


GRADIENTS, PRODUCTS = 150, 60
"""Gradients, and products of the Hessian with a vector, that the measures of one network take, about."""


class Config(Varied):
    """Settings of `sharpness`."""

    samples: int | None = Field(default=None, ge=1)
    """Training samples on which everything is measured, drawn once for all networks; default all."""

    epsilon: float = Field(default=1e-4, gt=0, le=1e6)
    """ε of the ε-sharpness."""

    box_epsilon: float = Field(default=1e-3, gt=0, le=1e6)
    """ε of Keskar's box."""

    box_dimension: int = Field(default=100, ge=1)
    """Dimension of the random subspace of Keskar's second measure."""

    sam_radius: float = Field(default=0.05, gt=0)
    """Radius of the ball of SAM."""

    asam_radius: float = Field(default=0.5, gt=0)
    """Radius of the ellipsoid of ASAM, in units of the weights."""

    sigma: float = Field(default=0.01, gt=0)
    """Standard deviation of the steps of the average sharpness."""

    relative_sigma: float = Field(default=0.05, gt=0)
    """The same for steps relative to each weight."""

    pairs: int = Field(default=50, ge=2, le=1_000_000)
    """Pairs of opposite steps of the average sharpness."""

    tolerance: float = Field(default=1e-3, gt=0, lt=1)
    """Residual of the extreme eigenvalues relative to the spectral norm."""

    trace_products: int = Field(default=30, ge=6, le=1_000_000)
    """Hessian-vector products for the trace."""

    def stages(self) -> list[Stage]:
        """Every training, and all measures of its networks."""
        found: list[Stage] = []
        for member in members(self):
            counts = {
                "values": 4 * self.pairs * self.replicas,
                "gradients": GRADIENTS * self.replicas,
                "products": (PRODUCTS + self.trace_products) * self.replicas,
                "samples": self.samples,
            }
            found += [Training(member.name, member.config), Passes(f"measured-{member.name}", member.config, **counts)]
        return found

    def numbers(self, parameters: int) -> dict[str, float]:
        """The basis of the random subspace."""
        return {"box_dimension": min(self.box_dimension, parameters) * parameters}


_RECORD = Cadence(every=1_000_000, unit="epoch")  # the first and the last weights

# conv 3×3×22 – pool 2 – conv 2×2×22 – pool 3 – dropout – 352 – 80 – dropout – 10: 31,228 parameters
_CNN = ModelConfig(
    kind="cnn", channels=(22, 22), kernel=(3, 2), padding="valid", pool_size=(2, 3), hidden=(80,), dropout=0.25
)

_QUICK = {"replicas": 2, "model": ModelConfig(hidden=(32,)), "values": (16, 32, 64, 128, 256, 512, 1024)}


def _course(samples: int, data: TaskConfig) -> Config:
    return Config(
        replicas=1,
        data=data,
        model=_CNN,
        training=Recipe(lr=1e-3, epochs=12, record=_RECORD),
        values=(8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
        samples=samples,
    )


PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=60, test_samples=40),
        model=ModelConfig(hidden=(8,)),
        training=Recipe(lr=0.01, epochs=10, record=_RECORD),
        values=(6, 10, 20, 30, 60),
        box_dimension=5,
        pairs=4,
        trace_products=6,
    ),
    "quick": Config(**_QUICK, training=Recipe(lr=1e-3, epochs=60, record=_RECORD)),
    # the same, but every batch size takes as many steps as 60 epochs of batches of 64 have
    "equal-steps": Config(**_QUICK, training=Recipe(lr=1e-3, steps=1380, record=_RECORD)),
    # a third of MNIST, 12 epochs; measured on 500 of its images
    "course": _course(500, TaskConfig(name="mnist", samples=20_000)),
    # all of it, measured on 1,000 images
    "classic": _course(1000, TaskConfig(name="mnist")),
}


def run(config: Config, run: Run) -> Findings:
    """Trains a network for every value and measures it; then the counter-example on the one that is fitted best."""
    table = run.cached("table", lambda: measure(config, run))  # a sweep reads it
    found = merge(config, table)
    best = table.filter(table["status"] == "completed").sort("train_loss")
    counter = _counter_example(config, run, best) if len(best) else "No network completed that could be rescaled."
    if isinstance(counter, str):
        return replace(found, statements=(*found.statements, counter))
    setting = f"{best['network'][0]} ({best['member'][0]}, run {best['replica'][0] + 1})"
    return replace(
        found,
        figures=(*found.figures, rescaling.figure(counter, setting)),
        statements=(*found.statements, rescaling.sentence(counter)),
    )


def measure(config: Config, run: Run) -> pl.DataFrame:
    """One row per setting and run: loss, accuracy and every measure, where it has one with its error."""
    from thalweg.generalization import distance

    trained = Members(members(config), run)

    def kept(member: Member, setup: Setup, theta: Tensor, _: object) -> dict[str, np.ndarray]:
        return columns(config, setup, theta, partial(_keep, run, member.name))

    frame = table(trained, kept)
    travelled = []
    for member in trained.members:
        snapshots = run.recording(member.name).snapshots
        travelled += distance(snapshots[-1], snapshots[0]).tolist()
    return measures.described(trained, frame.with_columns(distance=pl.Series(travelled, dtype=pl.Float64)))


def _keep(run: Run, member: str, name: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What a measure has found of a member's networks, kept as soon as it is known: all of them take minutes."""
    return {key: np.asarray(values) for key, values in run.cached(f"{name}-{member}"[:100], compute).items()}


def _counter_example(config: Config, run: Run, best: pl.DataFrame) -> dict[str, np.ndarray] | str:
    """The rescaling of the network with the least training loss (first row), or why there is none."""
    from thalweg.generalization import rescalable_pairs

    trained = Members(members(config), run)
    member = next(one for one in trained.members if one.label == best["member"][0])
    objective = measured_on(config, trained.setup(member))
    if not rescalable_pairs(objective):
        return "The network has no two layers that can be rescaled without changing its function, as ReLU layers can."
    theta = run.recording(member.name).snapshots[-1][int(best["replica"][0])].double().to(objective.device)
    found = run.cached(
        "rescaling", lambda: rescaling.rescaling(objective, theta, tolerance=config.tolerance, seed=config.seed)
    )
    return {name: np.asarray(values) for name, values in found.items()}


def merge(config: Config, table: pl.DataFrame) -> Findings:
    """Figures, sentences and numbers of a table, however many runs it comes from."""
    table, x = measures.place(config, table)
    names = {name: words for name, words in WORDS.items() if len(shared.column(table, name))}
    warnings = [*shared.diverged(table), *_cautions(table)]
    if "epsilon" not in names:
        return Findings(statements=("Every run diverged.",), numbers={"completed": 0}, warnings=warnings)
    figures = [_twins(config, table, x), *_all(table, x, names)]
    correlated, rows, sentences = correlations(config, table, names)
    statements = [*sentences, measures.setting(config, table), *_told(table, names), *measures.scores(table)]
    tables = {"Settings": measures.rows(table, names)} | ({"Rank correlations": rows} if rows else {})
    numbers = measures.flat(table, [*METRICS, *names], rows)
    return Findings([*figures, *correlated], statements, tables, numbers, warnings)


def _twins(config: Config, table: pl.DataFrame, x: Axis) -> Figure:
    caption = (
        f"Loss and accuracy (left axes) and ε-sharpness with ε = {number(config.epsilon)} (right axes). Lines: median "
        "over the runs; bands: their range."
    )
    panels = measures.twins(table, x, "epsilon", "ε-sharpness")
    return Figure("epsilon-sharpness", "ε-sharpness, loss and accuracy", caption, panels)


def _all(table: pl.DataFrame, x: Axis, names: dict[str, str]) -> list[Figure]:
    """One small frame for every measure: those of sharpness, and the others."""
    kinds = {
        "measures": ("Sharpness by every definition", [name for name in names if name in SHARPNESS]),
        "other-measures": ("Sensitivity, norms and margins", [name for name in names if name not in SHARPNESS]),
    }
    caption = (
        f"Against the {x.label}, each in its own unit. Lines: median over the runs; bands: their range; whiskers: two "
        "standard errors of estimates (λmax: twice the residual)."
    )
    options = {"columns": 3, "share_x": True, "legend": "none"}
    return [
        Figure(name, title, caption, tuple(_frame(table, x, one, names[one]) for one in chosen), **options)
        for name, (title, chosen) in kinds.items()
    ]


def _frame(table: pl.DataFrame, x: Axis, name: str, words: str) -> Panel:
    found = shared.column(table, name)
    scale = "log" if found.min() > 0 and found.max() > 5 * found.min() else "linear"
    marks = measures.measured(table, name, "", ERRORS.get(name, ""), colour=0)
    return Panel(x, Axis(words, scale=scale), tuple(marks))


_SEARCHED = {"keskar": ", in per cent of 1 + L and a lower bound,", "asam": ", a lower bound,"}


def _told(table: pl.DataFrame, names: dict[str, str]) -> list[str]:
    out = []
    for name in ("epsilon", "lambda_max", "trace", "keskar", "asam", "average"):
        ends = measures.ends(table, name)
        if name in names and ends is not None:
            change = ends[0] if ends[0] == ends[1] else " and ".join(ends)
            out.append(f"At the end of training, {names[name]}{_SEARCHED.get(name, '')} is {change}.")
    return out


def _cautions(table: pl.DataFrame) -> list[str]:
    """What the eigenvalues must not be believed for."""
    if "lambda_min" not in table.columns:
        return []
    alive = table.filter(table["status"] == "completed")
    rough = int(alive["unconverged"].sum())
    out = [f"{rough} of {len(alive)} networks: extreme eigenvalues short of their tolerance."] if rough else []
    deep = int((-alive["lambda_min"] > alive["lambda_max"]).sum())
    if deep:
        out.append(
            f"{deep} of {len(alive)} networks have a negative eigenvalue larger in modulus than λmax: they are far "
            "from a minimum, and their spectral norm is that of the negative one."
        )
    return out
