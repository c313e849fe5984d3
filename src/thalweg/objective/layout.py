"""Where each parameter lies in the flat vector theta."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import torch
from torch import Tensor, nn

from thalweg._short import short
from thalweg.declared import words
from thalweg.errors import InputError, nearest
from thalweg.objective.stacking import evenly


@short
@dataclass(frozen=True)
class ParameterLayout:
    """Maps the names and shapes of parameters to slices of theta (…, P).

    The order is that of `model.named_parameters()`: a tied parameter stands once, under its first name; buffers are
    never part of theta.

    Args:
        names: Parameter names, unique.
        shapes: Their shapes, in the same order.

    Example:
        >>> layout = ParameterLayout.of(torch.nn.Linear(3, 2))
        >>> layout.size, layout.slices["bias"]
        (8, slice(6, 8, None))
        >>> layout.unravel(torch.zeros(5, 8))["weight"].shape
        torch.Size([5, 2, 3])
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: nn.Module, parameters: str | Sequence[str] = "*", *, frozen: bool = False) -> ParameterLayout:
        """Builds the layout of the trainable parameters whose names match one of the globs.

        Args:
            model: Any module.
            parameters: Glob or globs over the names.
            frozen: Whether parameters that require no gradient belong to θ as well.

        Raises:
            InputError: No parameter requires a gradient, or none matches.
        """
        if not isinstance(model, nn.Module):
            raise InputError(f"model must be a torch.nn.Module, found {type(model).__name__}")
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad or frozen}
        if not trainable:
            word = "parameter" if frozen else "parameter with requires_grad=True"
            raise InputError(f"model must have at least one {word}, found none")
        chosen = _matching(tuple(trainable), parameters)
        for name in chosen if frozen else trainable:
            p = trainable[name]
            if isinstance(p, nn.UninitializedParameter):
                raise InputError(f"model must be called on a batch once before, found the lazy parameter '{name}'")
            if p.is_complex():
                raise InputError(
                    f"model must have real parameters, found '{name}' of {p.dtype}: store real and imaginary parts"
                )
        return cls(chosen, tuple(tuple(trainable[name].shape) for name in chosen))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of elements of each parameter."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @cached_property
    def size(self) -> int:
        """P, the length of theta."""
        return sum(self.sizes)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """The slice of theta that each parameter occupies."""
        out, start = {}, 0
        for name, size in zip(self.names, self.sizes, strict=True):
            out[name] = slice(start, start + size)
            start += size
        return out

    def unravel(self, theta: Tensor) -> dict[str, Tensor]:
        """Cuts theta (…, P) into views name -> (…, *shape)."""
        self.check(theta)
        lead = theta.shape[:-1]
        return {
            name: theta[..., self.slices[name]].reshape((*lead, *shape))
            for name, shape in zip(self.names, self.shapes, strict=True)
        }

    def parameters(self, theta: Tensor) -> dict[str, Tensor]:
        """As `unravel`, for models that are given one θ (P,), or vectors like it: pairs begin at even places."""
        return {name: evenly(value) for name, value in self.unravel(theta).items()}

    def ravel(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Joins name -> (…, *shape) into theta (…, P); the leading axes must agree.

        Raises:
            InputError: A parameter is missing or has another shape.
        """
        if not isinstance(parameters, Mapping):
            raise InputError(f"parameters must map names to tensors, found {type(parameters).__name__}")
        parts = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            if name not in parameters:
                raise InputError(f"parameters must contain every name of the layout, '{name}' is missing")
            value = parameters[name]
            cut = value.dim() - len(shape)
            if cut < 0 or tuple(value.shape[cut:]) != shape:
                raise InputError(f"parameters['{name}'] must end in shape {shape}, found {tuple(value.shape)}")
            parts.append(value.reshape(*value.shape[:cut], -1))
        return torch.cat(parts, dim=-1)

    def select(self, parameters: str | Sequence[str]) -> Tensor:
        """Returns the indices into theta, ascending, of the parameters whose names match a glob (or one of several).

        Example:
            >>> layout = ParameterLayout.of(torch.nn.Linear(3, 2))
            >>> layout.select("b*")
            tensor([6, 7])
        """
        chosen = _matching(self.names, parameters)
        return torch.cat([torch.arange(self.slices[n].start, self.slices[n].stop) for n in self.names if n in chosen])

    def only(self, parameters: str | Sequence[str]) -> ParameterLayout:
        """Returns the layout of the parameters whose names match a glob (or one of several), in the same order.

        Example:
            >>> ParameterLayout.of(torch.nn.Linear(3, 2)).only("b*").size
            2
        """
        chosen = _matching(self.names, parameters)
        shapes = dict(zip(self.names, self.shapes, strict=True))
        return ParameterLayout(chosen, tuple(shapes[name] for name in chosen))

    def check(self, theta: Tensor, name: str = "theta") -> None:
        """Raises InputError unless the last axis of theta has length P."""
        if not isinstance(theta, Tensor):
            raise InputError(f"{name} must be a torch.Tensor, found {type(theta).__name__}")
        if theta.layout != torch.strided or theta.is_nested:
            raise InputError(
                f"{name} must be a dense tensor, found {'a nested one' if theta.is_nested else theta.layout}"
            )
        if theta.dim() == 0 or theta.shape[-1] != self.size:
            raise InputError(
                f"{name} must have shape (…, {self.size}): the layout has {self.size} parameters, "
                f"found {tuple(theta.shape)}"
            )


def _matching(names: tuple[str, ...], globs: str | Sequence[str]) -> tuple[str, ...]:
    globs = words("parameters", globs)
    if not globs:
        raise InputError("parameters must hold at least one name, found none")
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            raise InputError(
                f"parameters must match at least one parameter name, '{glob}' matches none{nearest(glob, names)}"
            )
    return tuple(name for name in names if any(fnmatchcase(name, glob) for glob in globs))
