"""What the configurations of all experiments share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.stages import Stage
from thalweg.sources import Source, is_stamped

__all__ = ["ExperimentConfig", "sources_in"]


class ExperimentConfig(BaseModel):
    """Base of every experiment's ``Config``: frozen, without unknown fields, documented by the text under each field.

    Nested tables are frozen pydantic models of their own. A run folder is named after the whole configuration, so two
    runs differ if any field does.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),  # `model` is the field's natural name for the network
    )

    SHORT: ClassVar[Mapping[str, str]] = {}
    """Short for a table in another place: ``--model`` of an experiment that has one for each of its cases."""

    RESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    """Table -> fields that speak of what is built in, and their values where the user names a source of their own; also
    of a field that takes the place of others."""

    REFUSES: ClassVar[Mapping[str, str]] = {
        "checkpoint": "this experiment compares trainings and makes them itself; trajectory, error-surface, spectrum, "
        "interpolation, sharpness and edge-of-stability measure checkpoints, and `thalweg analyze` any"
    }
    """Fields of other experiments -> why this one has none."""

    seed: int = Field(default=0, ge=0, lt=2**32)  # what NumPy's older generators take, t-SNE's among them
    """Seed of everything random: data, initial weights, batch order, dropout, probes."""

    device: str = "cpu"
    """Where tensors live: cpu, cuda, cuda:N or mps."""

    dtype: Literal["float32", "float64"] = "float32"
    """Precision of training."""

    threads: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads of torch; None chooses by the size of the operations: one for small networks."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """What is of the user's own, with the checksums of its content."""
        return sources_in(self.model_dump())

    @property
    def varied(self) -> str | None:
        """The field that takes several values within one run, dotted from the top; by default there is none."""
        return None

    def check_sizes(self, root: str | Path) -> None:
        """Refuse what cannot fit into memory or onto the disk, before a run is made; by default nothing is asked.

        Args:
            root: Folder of the run folders.

        Raises:
            InputError: A field asks for more than there is.
        """

    def stages(self) -> list[Stage]:
        """The parts of a run that take time, in their order; from them its length is estimated, if there are any."""
        return []

    def check_data(self) -> None:
        """Refuse data that are not there, before a run is made; by default nothing is asked.

        Raises:
            InputError: Files that are not found, or a function that cannot be evaluated.
        """

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
            raise InputError(f"device must be cpu, cuda, cuda:N or mps, found {device!r}")
        return device


def sources_in(config: Mapping[str, object]) -> tuple[Source, ...]:
    """The different sources in a configuration, as data."""
    return tuple(dict.fromkeys(Source.of(text) for text in _texts(config) if is_stamped(text)))


def _texts(found: object) -> Iterator[str]:
    """All texts in tables and lists."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, Mapping | list | tuple):
        for inner in found.values() if isinstance(found, Mapping) else found:
            yield from _texts(inner)
