"""An objective whose promises are checked: when it is made, and again where it is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from thalweg.declared import whole
from thalweg.errors import InputError
from thalweg.objective import agreement, checks, copying, differentiable, normalization, second_order, slope, trials
from thalweg.objective import batches as data_batches
from thalweg.objective.assembly import Assembly, Metric
from thalweg.objective.normalization import BatchNormPolicy

__all__ = ["Checked"]


class Checked(Assembly):
    """Model, loss and data that agree with plain PyTorch, and the same with one of them changed."""

    def _confirm(self, given: nn.Module) -> None:
        trials.target_shape(self)
        agreement.settle(self, given)
        trials.loss(self)
        self.slope = slope.measured(self)
        slope.say(self.slope, self.dtype)

    @contextmanager
    def second_derivatives(self) -> Iterator[None]:
        """Raises InputError where model or loss have no second derivative: found once, and on autograd's refusal."""
        with differentiable.naming_refusals():
            if self.slope is not None and not self.slope.agrees:
                cause = ": its forward pass computes buffers from theta" if self.needs.mutates else ""
                raise InputError(
                    "model and loss must have a gradient that is that of L for second derivatives, found "
                    f"{self.slope.autograd:.6g} by autograd and {self.slope.difference:.6g} by differences of L along "
                    f"one direction{cause}"
                )
            if not self._twice:
                with torch.inference_mode(False):
                    second_order.check(self)
                self._twice = True
            yield

    def with_data(self, data: Any) -> Self:
        """The same model and loss on other data (a test set)."""
        new = self._changed(batches=self._gather(data))
        if self._check:
            new._confirmed = False
            trials.loss(new)
        return new

    def subset(self, index: Tensor) -> Self:
        """The same objective on some of its samples.

        Args:
            index: Their numbers (n,); or a mask (N,), a slice, a list, an array.

        Raises:
            InputError: The data are batches that were handed over, which are never cut; or no such samples.
        """
        if not self.batches.indexable:
            found = "data that are sharded" if self.batches.sharded else "batches that were handed over"
            raise InputError(f"subset needs data given as tensors or a dataset, found {found}")
        index = checks.numbers("index", index, self.samples).to(self.device)
        return self._changed(batches=self.batches.subset(index))

    def with_l2(self, l2: float) -> Self:
        """The same objective with another weight of the penalty."""
        checks.penalty(l2)
        return self._changed(l2=float(l2))

    def with_metrics(self, metrics: Mapping[str, Metric]) -> Self:
        """The same objective with other metrics: name -> function with the loss's signature."""
        return self._changed(_metrics=dict(metrics))

    def with_batchnorm(self, policy: BatchNormPolicy) -> Self:
        """The same objective under another policy for normalisation layers."""
        checks.policy(policy)
        whole = policy != "frozen" and bool(normalization.layers(self._model))
        needs = replace(self.needs, exact=self.needs.exact or (policy == "batch" and self.needs.twice))
        return self._changed(
            batchnorm=policy, needs=needs, batches=self.batches.whole() if whole else self.batches, _twice=False
        )

    def with_buffers(self, buffers: Mapping[str, Tensor]) -> Self:
        """The same objective with other buffers, such as the running statistics of one training: name -> (*shape).

        Every function of θ takes `buffers` of each θ beside it; this is for instruments that know only the objective.

        Raises:
            InputError: A name or a shape that the model does not have, or numbers of another kind than its own.
        """
        model = copying.copied(self._model)
        own = dict(model.named_buffers())
        for name, value in checks.buffers(buffers, model, torch.Size()).items():
            own[name].copy_(value)
        return self._changed(_model=model)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """The same objective in another dtype or on another device."""
        new_dtype = checks.floating(dtype or self.dtype, "dtype", half=True)
        new_device = checks.place(device or self.device)
        place = data_batches.placer(new_device, new_dtype)
        new = self._changed(dtype=new_dtype, device=new_device, batches=self.batches.moved(place))
        if self._check and new_dtype != self.dtype:
            trials.computes(new)
            if new.slope is not None and new.slope.agrees:
                slope.say(new.slope, new_dtype)
        return new

    def double(self) -> Self:
        """The same objective in float64, as curvature and critical points need it."""
        return self if self.dtype == torch.float64 else self.to(dtype=torch.float64)

    def permuted(self, seed: int = 0) -> Self:
        """The same objective with its samples in another order: equal but for rounding, which it measures."""
        return self._changed(batches=self.batches.permuted(whole("seed", seed)))
