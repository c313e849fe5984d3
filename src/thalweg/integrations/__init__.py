"""Other people's training loops, recorded by adding two lines to them.

- Lightning: ``Trainer(callbacks=[LightningRecorder("runs/mine", every=50)])``;
- Hugging Face: ``Trainer(…, callbacks=[TransformersRecorder("runs/mine", every=50)])``;
- Accelerate and plain loops: :class:`~thalweg.training.Recorder` itself, with ``writes=accelerator.is_main_process``.

Both callbacks take what a recorder takes, instruments among it, and give the same run folder. Only the main process
writes. TensorBoard, Weights & Biases and MLflow get the numbers of any run by :func:`thalweg.runs.export`.
:func:`objective_of` makes an objective of a Hugging Face model and its labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.integrations.lightning import LightningRecorder
    from thalweg.integrations.logits import objective_of
    from thalweg.integrations.transformers import TransformersRecorder

__all__ = ["LightningRecorder", "TransformersRecorder", "objective_of"]

# Each needs the library that it belongs to.
__getattr__, __dir__ = lazy(
    __name__, {"lightning": "LightningRecorder", "logits": "objective_of", "transformers": "TransformersRecorder"}
)
