"""Sensitivity: how much do networks that were trained differently react to their inputs?

**Question.** Flatness, part 2: does the batch size (or any other setting) change how much a trained network's output
moves when its input moves, and does that go with loss, accuracy and the generalisation gap?

**Method.** One network is trained for every value of the field `vary`, from the same initial weights. At the end the
derivative with respect to the input is taken for *every sample by itself*, its norm, and the mean of the norms with
its standard error over samples. Three derivatives: of the sample's loss (the course's definition), and the whole
Jacobian of the class probabilities and of the logits (Frobenius norm; Novak et al. 2018).

**Figures and how to read them.**

- *Sensitivity*: training and test loss, and accuracy, on the left axis, the chosen definition on the right one, against
  the varied field. Bands: range over the runs; whiskers: two standard errors over the samples.
- *Definitions*: all three in one frame. They need not agree: the logits grow for as long as cross-entropy pushes them
  apart, while probabilities and loss of samples that are fitted saturate.
- *Rank correlation*: Kendall τ of each definition with the generalisation gap over all settings, with an interval.
- *Evaluation batch*: the trap, measured on these networks.

**Equal budget.** Trainings with different batch sizes cannot have both equal epochs and equal steps. `training.epochs`
makes the epochs equal (small batches then take more steps, large ones may stay underfitted), `training.steps` the
steps; the preset ``equal-steps`` does the latter. The first sentence of the report says which, and how far the other
is apart.

**Traps.** The norm of the gradient of a *batch's mean* loss is a mean over samples that is taken before the norm: it
falls, by up to 1/√B, with the batch B on which one fixed network is *evaluated* (from 0.056 to 0.0070 between 16 and
1024 samples in a much-copied script, while it is 0.2206 per example), so that "large batches are flatter" follows from
the evaluation alone. Logits and probabilities are different functions: say whose Jacobian it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.stages import Passes, Stage, Training
from thalweg.experiments.shared import measures as measures
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared.correlations import correlations
from thalweg.experiments.shared.members import METRICS, Member, Members, Varied, members, table
from thalweg.experiments.shared.sizes import has_test, test_samples, trained
from thalweg.experiments.shared.subjects import task
from thalweg.experiments.shared.training import build
from thalweg.figures import Axis, Figure, HLine, Line, Mark, Panel
from thalweg.figures.scales import number
from thalweg.models.config import ModelConfig
from thalweg.sources import Source
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from thalweg.experiments.shared.training import Setup
    from thalweg.runs import Run

__all__ = ["PRESETS", "Config", "measure", "run", "merge"]

BATCHES = (4, 16, 64, 256, 1024)  # on which the trap is shown


DERIVATIVES = 15
"""Gradients that take as long as the derivatives by all definitions, about."""


class Config(Varied):
    """Settings of `sensitivity`."""

    definition: Literal["loss", "probabilities", "outputs"] = "loss"
    """What is drawn beside loss and accuracy: the gradient of the loss with respect to the input (course), or the
    Jacobian of the class probabilities or of the outputs (logits). All three are measured."""

    norm: float = Field(default=2.0, ge=1)
    """Entrywise p-norm of every sample's derivative; 2 is the Frobenius norm."""

    measured_on: Literal["train", "test"] | None = None
    """On which samples; default test if there are some."""

    @model_validator(mode="after")
    def _there(self) -> Config:
        if self.data.source is None:
            self._check_samples()
        return self

    def _check_samples(self) -> None:
        if self.measured_on == "test" and not all(has_test(one.data) for one in self.trainings()):
            raise InputError("measured_on must be 'train' for a task without a test set, found 'test'")

    def check_data(self) -> None:
        """Refuse also data of the user's without what is measured."""
        super().check_data()
        self._check_samples()
        for one in self.trainings()[:1] if self.sources else []:
            if build(one, task(one.data, one.dtype)).objective.loss_on == "batch":
                raise InputError(
                    "loss must be one of (outputs, targets) for the sensitivity to inputs, which a loss of "
                    f"(model, batch) does not tell from targets, found {Source.of(one.loss).label}"
                )

    def stages(self) -> list[Stage]:
        """Every training, and the derivatives of its networks."""
        found: list[Stage] = []
        for member in members(self):
            on = trained(member.config.data, member.config.model)[1]
            if self.measured_on != "train" and has_test(member.config.data):
                on = test_samples(member.config.data)
            counts = {"gradients": DERIVATIVES * self.replicas, "samples": on, "precise": False}
            found += [Training(member.name, member.config), Passes(f"measured-{member.name}", member.config, **counts)]
        return found


_RECORD = Cadence(every=1_000_000, unit="epoch")  # the first and the last weights
_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
_QUICK = {"replicas": 3, "model": ModelConfig(hidden=(64,)), "values": _SIZES}

PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=60, test_samples=40),
        model=ModelConfig(hidden=(8,)),
        training=Recipe(lr=0.01, epochs=10, record=_RECORD),
        values=(6, 10, 20, 30, 60),
    ),
    "quick": Config(**_QUICK, training=Recipe(lr=1e-3, epochs=60, record=_RECORD)),
    # the same, but every batch size takes as many steps as 60 epochs of batches of 64 have
    "equal-steps": Config(**_QUICK, training=Recipe(lr=1e-3, steps=1380, record=_RECORD)),
    # 50 batch sizes from 64 to 1024, 784-20-20-20-10
    "course": Config(
        replicas=1,
        data=TaskConfig(name="mnist"),
        model=ModelConfig(hidden=(20, 20, 20)),
        training=Recipe(lr=1e-3, epochs=30, record=_RECORD),
        values=tuple(int(size) for size in np.linspace(64, 1024, 50).round()),
    ),
}


def run(config: Config, run: Run) -> Findings:
    """Trains a network for every value and measures its sensitivity."""
    return merge(config, run.cached("table", lambda: measure(config, run)))  # a sweep reads it


def measure(config: Config, run: Run) -> pl.DataFrame:
    """One row per setting and run: loss, accuracy, and the sensitivity by every definition with its standard error.

    Columns sensitivity_loss, sensitivity_probabilities, sensitivity_outputs, each with a column …_error, and
    batch_mean_B, what the norm of the batch-mean gradient would have been on evaluation batches of B.
    """
    trained = Members(members(config), run)

    def look(_member: Member, setup: Setup, theta: Tensor, buffers: dict[str, Tensor]) -> dict[str, np.ndarray]:
        from thalweg.generalization import batch_mean_norm, sensitivity

        samples = config.measured_on or ("test" if "test" in setup.evaluate else "train")
        objective = setup.evaluate[samples]
        kinds = ("loss", "outputs") if objective.loss_kind == "mse" else ("loss", "probabilities", "outputs")
        columns = {}
        for of in kinds:
            found = sensitivity(objective, theta, of=of, p=config.norm, buffers=buffers)
            columns |= {f"sensitivity_{of}": found.mean, f"sensitivity_{of}_error": found.standard_error}
            if of == "loss":
                sizes = [size for size in BATCHES if size <= objective.samples]
                columns |= {f"batch_mean_{size}": batch_mean_norm(found.norms, size) for size in sizes}
        return {name: values.cpu().numpy() for name, values in columns.items()}

    return measures.described(trained, table(trained, look))


def merge(config: Config, table: pl.DataFrame) -> Findings:
    """Figures, sentences and numbers of a table, however many runs it comes from."""
    table, x = measures.place(config, table)
    names = {f"sensitivity_{of}": f"{words}" for of, words in _words(table).items()}
    names = {name: words for name, words in names.items() if len(shared.column(table, name))}
    warnings = [*shared.diverged(table), *_dead(table)]
    if not names:
        return Findings(statements=("Every run diverged.",), numbers={"completed": 0}, warnings=warnings)
    drawn = f"sensitivity_{config.definition}" if f"sensitivity_{config.definition}" in names else "sensitivity_loss"
    figures = [_twins(config, table, x, drawn, names[drawn]), _definitions(config, table, x, names)]
    correlated, rows, sentences = correlations(config, table, names)
    trap, told = _trap(table)
    said = _told(table, names)
    first = said.pop(drawn, None)  # the headline
    statements = [*([first] if first else []), measures.setting(config, table), *said.values()]
    statements += [*measures.scores(table), *sentences, *told]
    tables = {"Settings": measures.rows(table, names)} | ({"Rank correlations": rows} if rows else {})
    numbers = measures.flat(table, [*METRICS, *names], rows)
    return Findings([*figures, *correlated, *trap], statements, tables, numbers, warnings)


def _parts(table: pl.DataFrame) -> list[pl.DataFrame]:
    return list(shared.groups(table).values())


def _words(table: pl.DataFrame) -> dict[str, str]:
    classes = not table["train_accuracy"].is_null().all()
    return {
        "loss": "gradient of the loss",
        "probabilities": "Jacobian of the probabilities",
        "outputs": f"Jacobian of the {'logits' if classes else 'outputs'}",
    }


def _dead(table: pl.DataFrame) -> list[str]:
    """A sentence for every network that reacts to no input at all."""
    if "sensitivity_outputs" not in table.columns:
        return []
    return [
        f"Run {row['replica'] + 1} of {row['member']} reacts to none of the inputs (sensitivity 0): its units are dead."
        for row in table.filter(table["sensitivity_outputs"] == 0).iter_rows(named=True)
    ]


def _norm(config: Config) -> str:
    return "Frobenius norm" if config.norm == 2 else f"entrywise {number(config.norm)}-norm"


def _twins(config: Config, table: pl.DataFrame, x: Axis, name: str, words: str) -> Figure:
    caption = (
        f"Loss and accuracy (left axes) and mean {_norm(config)} of the {words} with respect to the input (right "
        "axes). Lines: median over the runs; bands: their range; whiskers: two standard errors over the samples."
    )
    panels = measures.twins(table, x, name, f"sensitivity ({words})", f"{name}_error")
    return Figure("sensitivity", "Sensitivity, loss and accuracy", caption, panels)


def _definitions(config: Config, table: pl.DataFrame, x: Axis, names: dict[str, str]) -> Figure:
    marks: list[Mark] = []
    for name, words in names.items():
        marks += measures.measured(table, name, words, f"{name}_error")
    caption = (
        f"Mean over samples of the {_norm(config)} of each derivative with respect to the input. Lines: median over "
        "the runs; bands: their range; whiskers: two standard errors over the samples."
    )
    panel = Panel(x, Axis("sensitivity", scale="log"), tuple(marks))
    return Figure("definitions", "Sensitivity by three definitions", caption, (panel,))


def _trap(table: pl.DataFrame) -> tuple[list[Figure], list[str]]:
    """The norm of the batch-mean gradient against the batch it is evaluated on, for first, middle and last setting."""
    sizes = [size for size in BATCHES if len(shared.column(table, f"batch_mean_{size}"))]
    parts = [part for part in _parts(table) if len(shared.column(part, "sensitivity_loss"))]
    if len(sizes) < 2:
        return [], []
    marks: list[Mark] = []
    for part in (parts[0], parts[len(parts) // 2], parts[-1]) if len(parts) > 2 else parts:
        values = np.array([shared.median(part, f"batch_mean_{size}") for size in sizes])
        label = str(part["member"][0])
        marks.append(Line(np.array(sizes, dtype=float), values, label=label, symbol="circle"))
        marks.append(HLine(shared.median(part, "sensitivity_loss"), group=label, style="dashed"))
    caption = (
        "Solid: norm of the gradient of the batch-mean loss with respect to the batch, as a common script computes it, "
        "of the same networks evaluated on batches of different size. Dashed: mean of the norms per example."
    )
    axes = Axis("evaluation batch", scale="log"), Axis("norm of the input gradient", scale="log")
    figure = Figure("evaluation-batch", "The trap: norm of the batch mean", caption, (Panel(*axes, tuple(marks)),))
    part = parts[0]
    first, last = (number(shared.median(part, f"batch_mean_{size}")) for size in (sizes[0], sizes[-1]))
    sentence = (
        f"The trap: the norm of the batch-mean gradient of one and the same network ({part['member'][0]}) falls from "
        f"{first} on evaluation batches of {sizes[0]} to {last} on batches of {sizes[-1]}; per example it is "
        f"{number(shared.median(part, 'sensitivity_loss'))} on any."
    )
    return [figure], [sentence]


def _told(table: pl.DataFrame, names: dict[str, str]) -> dict[str, str]:
    """A sentence for every definition."""
    out = {}
    for name, words in names.items():
        ends = measures.ends(table, name)
        if ends is None or not shared.column(table, name).max() > 0:
            continue
        means, errors = ([shared.median(part, column) for part in _parts(table)] for column in (name, f"{name}_error"))
        error = max(one / mean for one, mean in zip(errors, means, strict=True) if mean > 0)
        first, last = ends
        change = first if first == last else f"{first} and {last}"
        out[name] = (
            f"The {words} with respect to the input has mean norm {change} (standard error over samples at most "
            f"{number(100 * error)} %)."
        )
    return out
