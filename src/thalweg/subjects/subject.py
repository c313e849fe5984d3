"""A subject: somebody's model, data and loss, and what to call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._short import short
from thalweg.errors import InputError, brief, first_line
from thalweg.objective import Objective
from thalweg.objective.copying import copied
from thalweg.objective.samples import cut
from thalweg.objective.seeds import replica_seed
from thalweg.sources import Source
from thalweg.subjects import losses
from thalweg.subjects.code import explaining, seeded
from thalweg.subjects.data import as_task
from thalweg.subjects.names import check_name
from thalweg.tasks.task import Task

__all__ = ["Subject"]


@short
@dataclass(frozen=True, eq=False)
class Subject:
    """A model, data and a loss that every experiment and instrument takes.

    Args:
        model: A class of modules or a function that returns a module: called anew, under the replica's seed, wherever
            fresh weights are needed. Or a module, whose layers are then drawn anew by their own `reset_parameters`.
        data: What `Objective` takes, or a function that returns it: (inputs, targets), a `Dataset`, a `DataLoader`, a
            dict, a list of batches; (train, test) or {"train": …, "test": …} where there is a test set. Integers (N,)
            as targets are classes, floating-point numbers are values. Loaders and data sets are read once.
        loss: A name (auto, cross-entropy, nll, mse, l1, huber, bce), a function or module of (outputs, targets), or a
            function of (model, batch), told by a first argument that is called model or typed as a module. auto:
            cross-entropy for classes, mean squared error for values.
        metrics: A function with the loss's signature, a list of them, or name -> function, beside the accuracy of
            classes.
        name: What to call the model; default its own name.
        model_args: Keyword arguments of `model`.
        sources: "model", "data", "loss", "metrics" -> the files they come from, for messages and records.

    Raises:
        InputError: No model, no data or no loss; when first used, also what does not fit together.

    Example:
        >>> subject = Subject(
        ...     model=lambda width=4: nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2)),
        ...     data=(torch.randn(20, 2), torch.arange(20) % 2),
        ...     model_args={"width": 3},
        ... )
        >>> objective = subject.objective(dtype=torch.float64)
        >>> objective.size, objective.initial(5, seed=0).shape, sorted(objective.metrics(objective.theta))
        (17, torch.Size([5, 17]), ['accuracy', 'loss'])
    """

    model: nn.Module | Callable[..., nn.Module]
    data: Any
    loss: str | Callable[..., Tensor] = "auto"
    metrics: Any = None
    name: str = ""
    model_args: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module) and not callable(self.model):
            raise InputError(f"model must be a class or function that makes a module, found {brief(self.model)}")
        if isinstance(self.model, nn.Module) and self.model_args:
            names = ", ".join(self.model_args)
            raise InputError(f"model.args goes with a class or function, found a module and arguments {names}")
        if self.data is None:
            raise InputError("data must be given, found None")
        if isinstance(self.loss, str):
            check_name(self.loss)
        else:
            losses.called(self.loss)
        if self.metrics is not None:
            losses.functions(self.metrics)

    @property
    def label(self) -> str:
        """What figures call the model."""
        if self.name:
            return self.name
        own = type(self.model) if isinstance(self.model, nn.Module) else self.model
        found = getattr(own, "__name__", type(own).__name__)
        return "model" if found == "<lambda>" else found

    @cached_property
    def given(self) -> Any:
        """The data as they were given, or as their function returns them under a fixed seed."""
        data = self.data
        if isinstance(data, Task) or not callable(data) or hasattr(data, "__getitem__") or hasattr(data, "__iter__"):
            return data
        with self._explained("data"), seeded(0):
            return data()

    def task(self, dtype: torch.dtype = torch.float32) -> Task:
        """The data as tensors with their floating-point numbers in this dtype, and their checksum."""
        kept = self.__dict__.setdefault("_tasks", {})
        if dtype not in kept:
            source = self.sources.get("data")
            with self._explained("data"):
                kept[dtype] = as_task(self.given, source.label if source else "data", dtype=dtype)
        return kept[dtype]

    def module(self, seed: int = 0, replica: int = 0) -> nn.Module:
        """A fresh module, the same for the same seed and replica whatever else is drawn."""
        if isinstance(self.model, nn.Module):
            objective = self.objective()
            return objective.module(objective.initial(1, seed, first=replica)[0])
        with seeded(replica_seed(seed, replica, "init")):
            return self._made()

    def objective(self, *, dtype: torch.dtype | None = None, **options: Any) -> Objective:
        """L(θ) on the training data.

        Args:
            dtype: Computes in it; default: that of the model's parameters.
            options: Of :class:`~thalweg.objective.Objective`, such as l2, device, memory, batchnorm, parameters.

        Raises:
            InputError: Model, data and loss do not fit together, or a fault in the user's code, with its place.
        """
        return self._objective(dtype, options)[0]

    @cached_property
    def test(self) -> Objective | None:
        """L(θ) on the test data in the dtype of the model's parameters; None where there are none."""
        return self.objectives().get("test")

    def objectives(self, *, dtype: torch.dtype | None = None, **options: Any) -> dict[str, Objective]:
        """L(θ) on "train" and, where there are test data, on "test"; arguments as for `objective`."""
        train, ready = self._objective(dtype, options)
        task = self.task(train.dtype)
        if task.test is None:
            return {"train": train}
        with self._explained("model", "loss", "metrics", otherwise="model does not fit the test data"):
            return {"train": train, "test": train.with_data(ready(task.test))}

    # -- inside

    def _objective(
        self, dtype: torch.dtype | None, options: Mapping[str, Any]
    ) -> tuple[Objective, Callable[[Any], Any]]:
        """The objective, and what is done to the targets of other data for it."""
        model = copied(self.model) if isinstance(self.model, nn.Module) else self.module()
        model.eval()  # training switches dropout on itself
        if dtype is None:
            dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
        task, loss, metrics, on = self.task(dtype), self.loss, {}, "output"
        ready: Callable[[Any], Any] = _as_given
        if isinstance(loss, str):
            if task.kind == "other" and not _paired(task.train):
                what = "data that are no pairs of inputs and targets"
                raise InputError(f"loss must be one of your own for {what}, found {self.loss!r}")
            loss, of_classes = losses.named(loss, task.kind)
            if not of_classes:
                ready, metrics = self._compared(model, task, dtype, loss)
        else:
            loss = losses.called(loss)
            on = losses.loss_on(loss)
        init = None if isinstance(self.model, nn.Module) else self._made
        with self._explained("model", "loss", "metrics", "data", otherwise="model, data and loss do not fit together"):
            made = Objective(
                model, loss, ready(task.train), loss_on=on, metrics=metrics or None, dtype=dtype, init=init, **options
            )
            if self.metrics is not None:
                metrics = metrics or made.metric_functions
                made = made.with_metrics(metrics | losses.functions(self.metrics))
            return made, ready

    def _compared(
        self, model: nn.Module, task: Task, dtype: torch.dtype, loss: nn.Module
    ) -> tuple[Callable[[Any], Any], dict[str, Callable[..., Tensor]]]:
        """What is done to targets for a loss that compares them with outputs number by number, and the accuracy."""
        if task.kind == "other":
            return _as_given, {}
        with self._explained("model", otherwise="model does not fit the data"), torch.no_grad():
            inputs = copied(model).to(dtype)
            output = _applied(inputs, task.train[0])
        if not isinstance(output, Tensor) or not output.dim():
            raise InputError(
                f"outputs of the model must be one tensor (N, …) for loss {self.loss!r}, found {brief(output)}"
            )
        _, accuracy = losses.fitted(task.train, output, task.outputs, dtype, loss)
        return (
            lambda data: losses.fitted(data, output, task.outputs, dtype, loss)[0],
            {"accuracy": accuracy} if accuracy is not None else {},
        )

    def _made(self) -> nn.Module:
        """A module made by the user's class or function, its random numbers those of torch's generator as it is."""
        with self._explained("model"), seeded():
            try:
                made = self.model(**self.model_args)
            except TypeError as error:
                if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # the call itself
                    raise InputError(f"model arguments must fit {self.label}: {first_line(error)}") from None
                raise
        if not isinstance(made, nn.Module):
            raise InputError(f"model {self.label} must return a torch.nn.Module, found {type(made).__name__}")
        return made

    def _explained(self, *what: str, otherwise: str = "") -> AbstractContextManager[None]:
        """Faults in the user's files with their place."""
        return explaining(*(self.sources[name] for name in what if name in self.sources), otherwise=otherwise)


def _as_given(data: Any) -> Any:
    return data


def _paired(data: Any) -> bool:
    return isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], Tensor)


def _applied(model: nn.Module, inputs: Any) -> Any:
    """Outputs for the first two samples, as an objective calls the model."""
    some = cut(inputs, slice(0, 2))
    if isinstance(some, Mapping):
        return model(**some)
    return model(*some) if isinstance(some, tuple | list) else model(some)
