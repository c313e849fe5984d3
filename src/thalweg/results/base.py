"""The protocol of a result, and the base of those of thalweg."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from thalweg.errors import InputError
from thalweg.results.stored import Stored

if TYPE_CHECKING:
    import polars as pl

    from thalweg.figures import Figure

__all__ = ["BaseResult", "Presented", "Result"]


@runtime_checkable
class Result(Protocol):
    """Whatever a report can show: it need not inherit anything."""

    def plot(self) -> Figure:
        """The result as a figure."""
        ...

    def table(self) -> pl.DataFrame:
        """The result as a table."""
        ...

    def summary(self) -> str:
        """What was found, in one to three sentences."""
        ...


class Presented:
    """What a notebook shows of a result: its picture and its sentences; the sentences alone where nothing is drawn."""

    def plot(self) -> Figure:
        """The result as a figure."""
        raise NotImplementedError(f"{type(self).__name__} must define plot")

    def table(self) -> pl.DataFrame:
        """The result as a table."""
        raise NotImplementedError(f"{type(self).__name__} must define table")

    def summary(self) -> str:
        """What was found, in one to three sentences."""
        raise NotImplementedError(f"{type(self).__name__} must define summary")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """The figure, as it shows itself; as text what is printed, and the sentences."""
        try:
            bundle, metadata = self.plot()._repr_mimebundle_(include, exclude)
            said = self.summary()
        except InputError as error:  # three directions, a recording that is still empty
            bundle, metadata, said = {"text/plain": ""}, {}, f"No picture: {error}."
        if "text/plain" in bundle:
            bundle["text/plain"] = f"{self!r}\n{said}"
        return bundle, metadata


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BaseResult(Presented, Stored):
    """A result that is saved, printed short, and shown by a notebook as its picture and its sentences."""

    _longest: ClassVar[int] = 290  # characters that it prints
