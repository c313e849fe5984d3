"""Hugging Face: a callback that records `Trainer.train`."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

from thalweg.errors import InputError
from thalweg.integrations.hooked import Hooked, numbers
from thalweg.objective.copying import plain

__all__ = ["TransformersHooks"]

SETTINGS = (
    "adam_beta1",
    "adam_beta2",
    "bf16",
    "fp16",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "max_steps",
    "num_train_epochs",
    "optim",
    "per_device_train_batch_size",
    "seed",
    "warmup_steps",
    "weight_decay",
)
"""Arguments of the trainer that its numbers depend on; those that name folders and places do not belong to them."""


class TransformersHooks(Hooked):
    """Records a training of Hugging Face: `Trainer(…, callbacks=[TransformersRecorder("runs/mine", every=50)])`.

    Recorded are snapshots of the model at steps of the optimizer, and what the trainer logs at the steps at which it
    does: `loss`, `grad_norm`, `learning_rate` every `logging_steps` (the loss is the trainer's mean since it logged
    last), `eval_loss` and further metrics at evaluations. The trainer tells callbacks of no error: use the callback as
    a context (``with callback: trainer.train()``) to have the run say how it ended; what was recorded until a few
    seconds before is kept in any case.

    Of a model with adapters (PEFT) θ holds those, as only they require gradients. Only the main process writes.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Begins."""
        config = {name: _setting(getattr(args, name)) for name in SETTINGS if hasattr(args, name)}
        epochs = float(state.num_train_epochs or args.num_train_epochs)
        per_epoch = round(state.max_steps / epochs) if epochs > 0 else 1
        self.begin(plain(model), config=config, per_epoch=per_epoch, writes=state.is_world_process_zero)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step of the optimizer."""
        if self.recorder is not None:
            self.recorder.step()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """What the trainer logs, at the step at which it does."""
        found = numbers(logs or {})
        if self.recorder is None or "train_runtime" in found:
            return
        self.recorder.log(**{name: one for name, one in found.items() if not _about_time(name)})

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Completes the run."""
        self.end()


def _setting(value: Any) -> Any:
    """A setting as a configuration keeps it: a choice by its word."""
    value = getattr(value, "value", value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _about_time(name: str) -> bool:
    """Whether a number is about the machine or the clock instead of the training."""
    return name == "epoch" or name.endswith(("_runtime", "_per_second"))


@cache
def _class() -> type[TransformersHooks]:
    if importlib.util.find_spec("transformers") is None:
        raise InputError("TransformersRecorder needs the package transformers: pip install 'thalweg[transformers]'")
    library = importlib.import_module("transformers.trainer_callback")
    bases = (TransformersHooks, library.TrainerCallback)
    return type("TransformersRecorder", bases, {"__doc__": TransformersHooks.__doc__})


def __getattr__(name: str) -> Any:
    if name == "TransformersRecorder":
        return _class()
    raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
