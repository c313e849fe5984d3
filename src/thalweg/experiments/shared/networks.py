"""Several networks in a few words each, compared at an equal number of parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from thalweg.errors import InputError, nearest
from thalweg.experiments.framework.options import override, validated
from thalweg.experiments.shared.sizes import trained
from thalweg.experiments.shared.training import TrainingConfig
from thalweg.models.config import ModelConfig
from thalweg.models.course import COURSE
from thalweg.sources import Source
from thalweg.tasks.config import TaskConfig

__all__ = ["Compared", "alone", "counted_labels", "network"]

Kind = Literal["mlp", "cnn", "resnet"]
GIVEN = "given"
"""A network of the user's with the keyword arguments that `model.args` has."""

_SIZES = re.compile(r"(\d{1,18}(?:-\d{1,18})*)(?:\+(\d{1,18}(?:-\d{1,18})*))?")
_SHARED = {"mlp": ("activation", "bias", "dropout"), "cnn": ("activation", "bias", "dropout")}
"""What a network takes from a template of another family."""


class Compared(TrainingConfig):
    """Several networks trained alike."""

    RESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {"model": {"networks": (GIVEN,), "budget": None}}

    networks: tuple[str, ...] = ("deep", "middle", "shallow")
    """The networks: widths of the hidden layers such as 10-18-15-4 (cnn: channels, then dense layers as in 8-16+32),
    "linear" for none, "depth 4" (equal widths solved for `budget`), or a name of the course such as deep; with mlp,
    cnn or resnet before it where `model.kind` is another. `model` holds the rest, such as the activation. With a
    network of your own: its keyword arguments, such as "width=8 depth=2", or "given" for those in `model.args`."""

    budget: int | None = Field(default=None, ge=1)
    """Number of parameters of the networks given by their depth."""

    tolerance: float | None = Field(default=0.02, ge=0)
    """Greatest relative distance between the networks' numbers of parameters; None compares networks of any sizes."""

    @model_validator(mode="after")
    def _known(self) -> Compared:
        if not self.networks:
            raise InputError("networks must name at least one network, found none")
        if len(set(self.networks)) < len(self.networks):
            raise InputError(f"networks must differ from each other, found {self.networks}")
        sizes = ("hidden", "channels", "depth", "width", "budget")
        given = [name for name in sizes if getattr(self.model, name) is not None]
        if self.model.source is not None and self.budget is not None:
            raise InputError(f"budget is solved for the built-in networks only, found {self.budget} and model.source")
        if given:
            raise InputError(f"model.{given[0]} must be left to `networks`, found {getattr(self.model, given[0])}")
        configs = [network(text, self.model, self.budget) for text in self.networks]
        if self.budget is not None and all(config.budget is None for config in configs):
            raise InputError(f"budget needs a network given by its depth, found networks {self.networks}")
        return self

    def trainings(self) -> list[TrainingConfig]:
        """One for every network."""
        return [alone(self, model=network(text, self.model, self.budget)) for text in self.networks]

    def check_sizes(self, root: str | Path) -> None:
        """Refuse also networks whose numbers of parameters are farther apart than `tolerance`."""
        from thalweg.models import check_equal

        super().check_sizes(root)
        if self.tolerance is not None:
            counts = [trained(one.data, one.model)[0] for one in self.trainings()]
            check_equal(dict(zip(self.networks, counts, strict=True)), self.tolerance)


def network(text: str, template: ModelConfig, budget: int | None = None) -> ModelConfig:
    """The network that a few words name.

    Args:
        text: See `Compared.networks`.
        template: Everything but the sizes; what its family alone knows does not apply to another.
        budget: Number of parameters of "depth N".

    Raises:
        InputError: Words that name no network, or sizes that do not fit together.

    >>> network("10-18-15-4", ModelConfig(activation="tanh"))
    ModelConfig(kind='mlp', hidden=(10, 18, 15, 4), channels=None, depth=None, width=None, budget=None, ...)
    >>> network("cnn 8-16+32", ModelConfig()).channels, network("cnn 8-16+32", ModelConfig()).hidden
    ((8, 16), (32,))
    """
    if template.source is not None:
        return _own(text, template)
    words = text.split()
    kind = words.pop(0) if words and words[0] in get_args(Kind) else template.kind
    rest = " ".join(words)
    if rest in COURSE:
        changed = [name for name in ("activation", "bias") if getattr(template, name) != getattr(ModelConfig(), name)]
        return COURSE[rest].model_copy(update={name: getattr(template, name) for name in changed})
    base = template.model_dump()
    if kind != template.kind:
        base = {name: base[name] for name in _SHARED.get(kind, ("activation", "bias"))}
    return validated(ModelConfig, {**base, "kind": kind, **_sizes(text, rest, kind, budget)})


def _own(text: str, template: ModelConfig) -> ModelConfig:
    """A network of the user's with other keyword arguments."""
    if text == GIVEN:
        return template
    changes = {}
    for word in text.replace(",", " ").split():
        name, equals, given = word.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(
                f"networks must be keyword arguments of your own network, such as width=8, or '{GIVEN}', found {text!r}"
            )
        changes[f"args.{name}"] = given
    return override(template, changes)


def _sizes(text: str, rest: str, kind: str, budget: int | None) -> dict[str, Any]:
    layers = "hidden" if kind == "mlp" else "channels"
    if rest == "linear" and kind == "mlp":
        return {"hidden": ()}
    if found := re.fullmatch(r"depth (\d{1,18})", rest):
        if budget is None:
            raise InputError(f"budget must be given for a network named by its depth, found networks with {text!r}")
        return {"depth": int(found[1]), "budget": budget}
    if found := _SIZES.fullmatch(rest):
        sizes, dense = ([int(size) for size in part.split("-")] if part else None for part in found.groups())
        if dense and kind == "mlp":
            raise InputError(f"networks must have dense layers after + for a cnn only, found {text!r}")
        return {layers: sizes} | ({"hidden": dense} if dense else {})
    raise InputError(
        f"networks must be widths such as 10-10, 'linear', 'depth 4' or a name of the course, found {text!r}"
        f"{nearest(rest, COURSE)}"
    )


def alone(config: Compared, **changes: object) -> TrainingConfig:
    """The training of one of the networks: what all share, with these fields changed."""
    shared = {name: getattr(config, name) for name in TrainingConfig.model_fields}
    return TrainingConfig.model_validate(shared | changes)


def counted_labels(config: Compared, data: TaskConfig) -> dict[str, ModelConfig]:
    """The networks by their names in legends, with their number of parameters.

    Raises:
        InputError: They are farther apart than `tolerance`.
    """
    from thalweg.models import check_equal

    found = {text: network(text, config.model, config.budget) for text in config.networks}
    counts = {text: trained(data, one)[0] for text, one in found.items()}
    if config.tolerance is not None:
        check_equal(counts, config.tolerance)
    name = "" if config.model.source is None else Source.of(config.model.source).name
    words = {text: name if name and text == GIVEN else f"{name} {text}".strip() for text in found}
    return {f"{words[text]} ({counts[text]:,})": one for text, one in found.items()}
