"""Instruments along somebody else's training loop, which goes on exactly as if nothing had been measured.

A measurement draws random numbers, runs the model forwards and backwards, and may fail. None of that may reach the
loop: an instrument is given a copy of the model, and everything that the loop could notice is put back after it.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.declared import real, whole
from thalweg.errors import InputError, brief, one_line
from thalweg.objective.copying import copied
from thalweg.objective.surroundings import own_numbers
from thalweg.objective.untouched import untouched

__all__ = ["Instrument", "Measure", "Measures", "aside", "measuring"]

Instrument = Callable[[nn.Module], Any]
"""model -> a number; (number, its error), kept as `name` and `name_error`; or names of these, kept as `name_key`."""

Measure = Mapping[str, Instrument | tuple[Instrument, int]]
"""name -> instrument, or (instrument, steps between two measurements)."""

KEYS = frozenset({"step", "epoch", "replica", "recording"})
log = logging.getLogger("thalweg")
_INSIDE: ContextVar[bool] = ContextVar("measuring", default=False)


def measuring() -> bool:
    """Whether an instrument is at work: optimizers that step now are not the loop's."""
    return _INSIDE.get()


class Measures:
    """The instruments of one training, each at its own cadence.

    Args:
        given: What is measured.
        every: Steps between two measurements of an instrument that has no cadence of its own.

    Raises:
        InputError: A name or a cadence that cannot be, or something that cannot be called.
    """

    def __init__(self, given: Measure | None, every: int) -> None:
        self._instruments: dict[str, tuple[Instrument, int]] = {}
        self._last: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        if given is not None and not isinstance(given, Mapping):
            raise InputError(f"measure must map names to instruments, found {brief(given)}")
        for name, one in (given or {}).items():
            if not isinstance(name, str) or not name or name in KEYS:
                raise InputError(f"a name in measure must be text other than {', '.join(sorted(KEYS))}, found {name!r}")
            pair = isinstance(one, tuple) and len(one) == 2
            instrument, steps = one if pair else (one, every)
            if not callable(instrument):
                raise InputError(f"measure['{name}'] must be an instrument or (instrument, every), found {brief(one)}")
            self._instruments[name] = instrument, whole(f"every of measure['{name}']", steps, 1)

    def __contains__(self, name: str) -> bool:
        return name in self._instruments

    def __bool__(self) -> bool:
        return bool(self._instruments)

    @property
    def cadences(self) -> dict[str, int]:
        """Steps between two measurements of each."""
        return {name: every for name, (_, every) in self._instruments.items()}

    @property
    def failures(self) -> str:
        """Which instruments failed, in a sentence; empty if none."""
        return "; ".join(self._failures.values())

    def at(self, step: int, model: nn.Module, *, last: bool = False) -> dict[str, Tensor]:
        """What the instruments say that are due at a step, scalars in float64; at the last step all that have not.

        An instrument that fails has no value there; the first failure of each is logged as a warning.
        """
        row: dict[str, Tensor] = {}
        for name, (instrument, every) in self._instruments.items():
            if self._last.get(name) == step or not (last or step % every == 0):
                continue
            self._last[name] = step
            try:
                with aside(model):
                    row |= _numbers(name, instrument(copied(model)))
            except Exception as error:  # noqa: BLE001 - whatever an instrument raises, the training goes on
                self._failed(name, step, error)
        return row

    def _failed(self, name: str, step: int, error: Exception) -> None:
        if name in self._failures:
            return
        self._failures[name] = f"'{name}' could not be measured at step {step}: {one_line(error)}"
        log.warning("%s; the training goes on, and further failures of it are not reported", self._failures[name])


@contextmanager
def aside(model: nn.Module) -> Iterator[None]:
    """Whatever happens inside, the loop finds everything as it was.

    Put back are the model (numbers, gradients, buffers, modes, hooks and what these hold), the global generators of
    torch, numpy and Python, and torch's settings. Inside, gradients are on and autocast is off, as at the outermost
    level of a script.

    >>> model = nn.Linear(2, 1)
    >>> torch.manual_seed(0).initial_seed(), torch.rand(1)
    (0, tensor([0.4963]))
    >>> with aside(model):
    ...     unused = torch.rand(7), model.eval(), model.weight.data.zero_()
    >>> torch.rand(1), model.training, bool((model.weight != 0).all())
    (tensor([0.7682]), True, True)
    """
    parameters = [(p, p.detach().clone()) for p in model.parameters()]
    devices = {p.device for p, _ in parameters}
    python, legacy, settings = random.getstate(), np.random.get_state(), _settings()  # noqa: NPY002 - put back as it is
    token = _INSIDE.set(True)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(own_numbers(device for device in devices if device.type == "cuda"))
            stack.enter_context(untouched(model))
            for kind in {"cpu", *(device.type for device in devices if device.type != "meta")}:
                stack.enter_context(torch.autocast(kind, enabled=False))
            stack.enter_context(torch.enable_grad())
            yield
    finally:
        _INSIDE.reset(token)
        for restore, (before, now) in settings.items():
            if now() != before:
                restore(before)
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - as above
        with torch.no_grad():
            for parameter, value in parameters:
                if parameter.shape == value.shape and not _same(parameter, value):
                    parameter.data.copy_(value)


def _settings() -> dict[Callable[[Any], object], tuple[Any, Callable[[], Any]]]:
    """What sets a setting of torch -> (its value, what reads it)."""
    backend = torch.backends.cudnn
    pairs: list[tuple[Callable[[Any], object], Callable[[], Any]]] = [
        (torch.set_default_dtype, torch.get_default_dtype),
        (torch.set_num_threads, torch.get_num_threads),
        (torch.set_float32_matmul_precision, torch.get_float32_matmul_precision),
        (torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode),
        (lambda value: setattr(backend, "benchmark", value), lambda: backend.benchmark),
        (lambda value: setattr(backend, "deterministic", value), lambda: backend.deterministic),
    ]
    return {restore: (read(), read) for restore, read in pairs}


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same bits; NaN equals itself."""
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def _numbers(name: str, found: Any) -> dict[str, Tensor]:
    """What an instrument returned as named scalars."""
    if isinstance(found, Mapping):
        return {key: value for own, one in found.items() for key, value in _numbers(f"{name}_{own}", one).items()}
    if isinstance(found, tuple) and len(found) == 2:
        return {name: _scalar(name, found[0]), f"{name}_error": _scalar(f"{name}_error", found[1])}
    return {name: _scalar(name, found)}


def _scalar(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach().double().reshape(()).cpu().clone()
    if isinstance(value, bool | np.bool_):
        value = float(value)
    return torch.tensor(math.nan if value is None else real(f"what measures '{name}'", value), dtype=torch.float64)
