"""Lightning: a callback that records `Trainer.fit`."""

from __future__ import annotations

import importlib.util
import math
import sys
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.integrations.hooked import Hooked, numbers

__all__ = ["LightningHooks"]

NAMES = ("lightning.pytorch", "pytorch_lightning")


class LightningHooks(Hooked):
    """Records a training of Lightning: `Trainer(callbacks=[LightningRecorder("runs/mine", every=50)])`.

    Recorded are snapshots of the module, its loss at every step of the optimizer (the mean over the batches that were
    accumulated for it) as `loss`, and what the module logs: at each step what it logs there, and the metrics of a
    validation at the step at which it is made. The configuration is the module's `hparams` and the trainer's gradient
    accumulation, clipping and precision. A training that fails keeps what was recorded.

    Only the process of global rank 0 writes. Strategies that split the parameters over processes (FSDP, DeepSpeed) are
    refused, since no process holds θ.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begins."""
        strategy = type(trainer.strategy).__name__
        if any(word in strategy for word in ("FSDP", "DeepSpeed", "ModelParallel")):
            raise InputError(f"strategy must keep all parameters in each process to be recorded, found {strategy}")
        accumulated = trainer.accumulate_grad_batches
        batches = trainer.num_training_batches  # infinite for data without a length
        config = {
            **{key: value for key, value in pl_module.hparams.items() if isinstance(value, str | int | float)},
            "accumulate_grad_batches": accumulated,
            "gradient_clip_val": trainer.gradient_clip_val,
            "precision": str(trainer.precision),
        }
        per_epoch = math.ceil(batches / accumulated) if math.isfinite(batches) else 1
        self._stepped, self._losses = trainer.global_step, list[Tensor]()
        self._seen = dict(trainer.callback_metrics)
        self.begin(pl_module, config=config, per_epoch=per_epoch, writes=trainer.is_global_zero)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A step, where the optimizer has made one."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            self._losses.append(loss.detach().cpu())  # divided by the number of batches that are accumulated
        if self.recorder is None or trainer.global_step == self._stepped:
            return
        self._stepped = trainer.global_step
        total = {"loss": torch.stack(self._losses).sum()} if self._losses else {}
        self._losses = []
        self.recorder.step(**{**self._logged(trainer), **total})

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """What is known at the end of an epoch."""
        if self.recorder is not None:
            self.recorder.log(**self._logged(trainer))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """The metrics of a validation, at the step after which it was made."""
        if self.recorder is not None and not trainer.sanity_checking:
            self.recorder.log(**self._logged(trainer))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Completes the run."""
        self.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keeps what was recorded."""
        self.end(exception)

    def _logged(self, trainer: Any) -> dict[str, Any]:
        """What the module has logged since it was asked last; read in every process, as it may add up over them."""
        found, before = trainer.callback_metrics, self._seen
        self._seen = dict(found)  # kept alive, so that no other value gets the same place in memory
        new = {name: one for name, one in found.items() if name not in before or not _same(one, before[name])}
        twice = {name for name in new if f"{name}_step" in found or f"{name}_epoch" in found}  # which are there too
        return numbers({name: one for name, one in new.items() if name not in twice})


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr()


def _library() -> ModuleType:
    """Lightning as the user has imported it; both packages have a class of their own."""
    for name in (*(name for name in NAMES if name in sys.modules), *NAMES):
        if name in sys.modules or importlib.util.find_spec(name.partition(".")[0]):
            return importlib.import_module(name)
    raise InputError("LightningRecorder needs the package lightning: pip install 'thalweg[lightning]'")


@cache
def _class() -> type[LightningHooks]:
    return type("LightningRecorder", (LightningHooks, _library().Callback), {"__doc__": LightningHooks.__doc__})


def __getattr__(name: str) -> Any:
    if name == "LightningRecorder":
        return _class()
    raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
