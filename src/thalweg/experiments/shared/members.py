"""What experiments share that compare several trained models: members, their trainings, one table of all.

A *member* is one training configuration with a label and a value, such as the network of width 32. Its replicas train
as one batch into a recording of their own; what is measured of it is kept as soon as it is known, so that an
interrupted run goes on at the unfinished member.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import field_validator, model_validator

from thalweg._lazy import polars as pl
from thalweg.checkpoints import label
from thalweg.errors import InputError, nearest
from thalweg.experiments.framework.fields import named as row_of
from thalweg.experiments.framework.fields import rows, value
from thalweg.experiments.framework.options import override, toml_value
from thalweg.experiments.framework.stages import Stage, Training
from thalweg.experiments.shared import subjects, training
from thalweg.experiments.shared.training import Setup, TrainingConfig
from thalweg.experiments.shared.weights import recorded
from thalweg.figures.scales import number
from thalweg.progress import track

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.runs import Recording, Run
    from thalweg.tasks import Task
    from thalweg.tasks.config import TaskConfig

    Measure = Callable[["Member", Setup, Tensor, dict[str, Tensor]], Mapping[str, Any]]
    """(member, setup, θ (R, P), buffers name -> (R, …)) of the replicas that completed -> column -> (R,)."""

    Start = Callable[[Setup, Tensor], Tensor]
    """(setup, θ as drawn (R, P)) -> θ (R, P)."""

__all__ = ["Member", "Members", "Varied", "histories", "members", "named", "table"]

METRICS = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


class Varied(TrainingConfig):
    """A training of which one field takes several values; every value is a member."""

    vary: str = "training.batch_size"
    """The field that takes the `values`, dotted from the top."""

    values: tuple[bool | int | float | str, ...] = ()
    """Its values, one model each; none: the configuration as it stands is the only model."""

    @field_validator("values", mode="before")
    @classmethod
    def _typed(cls, given: object) -> object:
        """Texts of a command line as the numbers that they are."""
        return [_typed(item) for item in given] if isinstance(given, list | tuple) else given

    @model_validator(mode="after")
    def _can_vary(self) -> Varied:
        fields = {row.name: row for row in rows(type(self)) if not row.tables and row.name not in ("vary", "values")}
        known = list(fields)
        if row_of(self.vary, fields) is None:
            raise InputError(f"vary must be a field with a plain value, found {self.vary!r}{nearest(self.vary, known)}")
        head, _, rest = self.vary.partition("model.")
        if self.model.source is not None and not head and rest.partition(".")[0] not in ("args", "source"):
            words = "a keyword argument of your own network, such as model.args.width"
            raise InputError(f"vary must be {words}, found {self.vary}")
        if len(set(self.values)) < len(self.values):
            raise InputError(f"values must differ from each other, found {self.values}")
        members(self)  # every value must be one that the field accepts
        return self

    @property
    def varied(self) -> str:
        """The field that is varied."""
        return self.vary

    def trainings(self) -> list[TrainingConfig]:
        """One for every value."""
        return [member.config for member in members(self)]

    def stages(self) -> list[Stage]:
        """The training of every member."""
        return [Training(member.name, member.config) for member in members(self)]


@dataclass(frozen=True)
class Member:
    """One model of several.

    Args:
        name: Of its recording, and of what is kept of it.
        label: In legends and tables.
        value: Its place on an axis; None where it has none.
        config: How it is trained.
    """

    name: str
    label: str
    value: float | None
    config: TrainingConfig


def named(entries: Iterable[tuple[str, float | None, TrainingConfig]]) -> tuple[Member, ...]:
    """Members from (label, value, configuration); a single one records as "training", several by number and label.

    >>> [member.name for member in named([("width 8", 8.0, TrainingConfig()), ("x**2", None, TrainingConfig())])]
    ['01-width-8', '02-x-2']
    """
    given = list(entries)
    if len(given) == 1:
        return (Member("training", *given[0]),)
    slugs = (re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-") for label, _, _ in given)
    return tuple(
        Member(f"{place:02d}-{slug}"[:80], *entry)
        for place, (slug, entry) in enumerate(zip(slugs, given, strict=True), 1)
    )


def members(config: Varied) -> tuple[Member, ...]:
    """One member for every value of the field that is varied, in the order of `values`.

    Raises:
        InputError: A value that the field does not accept.

    >>> found = members(Varied(vary="training.lr", values=(0.1, 0.01)))
    >>> [(member.label, member.value, member.config.training.lr) for member in found]
    [('lr 0.1', 0.1, 0.1), ('lr 0.01', 0.01, 0.01)]
    """
    field = config.vary.rpartition(".")[2].replace("_", " ")

    def entry(one: Varied) -> tuple[str, float | None, Varied]:
        found = value(one, config.vary)
        plain = isinstance(found, int | float) and not isinstance(found, bool)
        return f"{field} {number(found) if plain else found}", float(found) if plain else None, one

    if config.saved:
        return named((label(one), None, config.model_copy(update={"checkpoint": (one,)})) for one in config.saved)
    if not config.values:
        return named([entry(config)])
    return named(entry(override(config, {config.vary: item, "values": ()})) for item in config.values)


class Members:
    """The members of a run: tasks are read and networks counted before anything is trained, the rest on demand.

    Args:
        members: Who.
        run: Where; notes the checksum of the data.
        start: Changes the initial weights: (setup, θ as drawn (R, P)) -> θ (R, P).

    Raises:
        InputError: A task that cannot be read, or a network that does not fit it.
    """

    def __init__(self, members: Sequence[Member], run: Run, start: Start | None = None) -> None:
        self.members, self.run, self.start = tuple(members), run, start
        self._held: tuple[TaskConfig, str, Task] | None = None  # one task at a time: members mostly share it
        checksums = {}
        for member in self.members:
            task = self.task(member.config)
            subjects.described(member.config.model, task)
            checksums[task.checksum] = None
        run.set_environment(data_checksum="+".join(checksums))

    def setup(self, member: Member) -> Setup:
        """Data, network and loss of a member."""
        return training.build(member.config, self.task(member.config))

    def trained(self, member: Member) -> tuple[Setup, Recording]:
        """Trains all replicas of a member at once, from wherever an earlier attempt stopped."""
        from thalweg.training import train

        setup, config = self.setup(member), member.config
        if config.saved:
            return setup, recorded(config, setup, self.run.recording(member.name))
        theta = setup.objective.initial(config.replicas, config.seed)
        recording = train(
            setup.objective,
            theta if self.start is None else self.start(setup, theta),
            recipe=config.training,
            seed=config.seed,
            recording=self.run.recording(member.name),
            evaluate=setup.evaluate,
        )
        return setup, recording

    def task(self, config: TrainingConfig) -> Task:
        """Data of a member, read anew only if the member before had others."""
        if self._held is None or self._held[:2] != (config.data, config.dtype):
            self._held = (config.data, config.dtype, subjects.task(config.data, config.dtype))
        return self._held[2]


def table(trained: Members, measure: Measure | None = None) -> pl.DataFrame:
    """Trains every member and measures it at its end: one row per member and replica.

    Args:
        trained: The members of the run.
        measure: Further columns, measured of the replicas that completed; NaN for the others.

    Returns:
        Columns member, value, replica, status, message, parameters, epochs, steps, train_loss, test_loss,
        train_accuracy, test_accuracy (null where there is none; NaN for replicas that diverged) and those of `measure`
        (absent if no replica of any member completed).
    """
    return _each(trained, "measured", partial(_last_rows, measure=measure))


def histories(trained: Members) -> pl.DataFrame:
    """Trains every member: one row per member, recorded step and replica.

    Returns:
        Columns member, value, replica, status, message, parameters, step, epoch, loss and grad_norm of the training
        step, train_loss, test_loss, train_accuracy, test_accuracy (null where they were not recorded).
    """
    return _each(trained, "history", _all_rows)


def _each(trained: Members, what: str, look: Callable[[Member, Setup, Recording], pl.DataFrame]) -> pl.DataFrame:
    def compute(member: Member) -> pl.DataFrame:
        return look(member, *trained.trained(member))

    frames = []
    with track("models", total=len(trained.members)) as advance:
        for done, member in enumerate(trained.members, 1):
            frames.append(trained.run.cached(f"{what}-{member.name}", partial(compute, member)))
            advance(done)
    return pl.concat(frames, how="diagonal")


def _head(member: Member, setup: Setup, recording: Recording) -> pl.DataFrame:
    """Who it is: one row per replica."""
    status = recording.status
    return pl.DataFrame(
        {
            "member": member.label,
            "value": pl.Series([member.value] * len(status), dtype=pl.Float64),
            "replica": range(len(status)),
            "status": [entry["status"] for entry in status],
            "message": [entry["message"] for entry in status],
            "parameters": setup.objective.size,
        }
    )


def _all_rows(member: Member, setup: Setup, recording: Recording) -> pl.DataFrame:
    return _head(member, setup, recording).join(_metrics(recording), on="replica", how="inner", maintain_order="right")


def _last_rows(member: Member, setup: Setup, recording: Recording, measure: Measure | None) -> pl.DataFrame:
    import numpy as np

    head = _head(member, setup, recording)
    metrics = _metrics(recording)
    last = metrics.filter(pl.col("step") == metrics["step"].max()).drop("loss", "grad_norm")
    found = head.join(last, on="replica", how="left", maintain_order="left").rename(
        {"epoch": "epochs", "step": "steps"}
    )
    found = found.select(*head.columns, "epochs", "steps", *METRICS)
    if recording.last and any(entry["message"] for entry in recording.status):  # who stopped made fewer steps
        own = pl.Series([e["step"] if e["status"] == "completed" else recording.last for e in recording.status])
        found = found.with_columns(epochs=pl.col("epochs") * own / recording.last, steps=own.cast(found["steps"].dtype))
    alive = np.flatnonzero((found["status"] == "completed").to_numpy())
    if measure is None or not len(alive):
        return found
    rows = alive.tolist()
    theta = recording.snapshots[-1][rows].to(setup.objective.device)
    buffers = {name: values[rows].to(theta.device) for name, values in recording.snapshots.buffers(-1).items()}
    columns = {}
    for name, values in measure(member, setup, theta, buffers).items():
        columns[name] = np.full(len(head), np.nan)
        columns[name][alive] = np.asarray(values, dtype=np.float64)
    return found.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def _metrics(recording: Recording) -> pl.DataFrame:
    """Rows by step and replica; a metric that this task does not have is a column of nulls."""
    frame = recording.metrics.sort("step", "replica")
    absent = [pl.lit(None, dtype=pl.Float64).alias(name) for name in METRICS if name not in frame.columns]
    return frame.with_columns(pl.col("replica").cast(pl.Int64), *absent).with_columns(
        pl.col(*METRICS, "loss", "grad_norm").cast(pl.Float64)
    )


def _typed(item: object) -> object:
    if isinstance(item, str):
        with suppress(ValueError):
            return toml_value(item)
    return item
