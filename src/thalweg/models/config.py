"""Which network: the fields behind ``--model.kind cnn --model.channels 16 32``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_serializer, model_validator

from thalweg.configured import Configured
from thalweg.errors import InputError
from thalweg.sources import Arguments, stamped, without_unset

__all__ = ["ActivationName", "ModelConfig"]

ActivationName = Literal["relu", "leaky_relu", "tanh", "sigmoid", "gelu", "softplus", "sine", "identity"]

DEEPEST = 1000
"""Layers, or blocks of a stage: deeper networks are not made layer by layer in any useful time."""

Positive = Annotated[int, Field(ge=1)]

_USED = {
    "mlp": {"hidden", "dropout"},
    "cnn": {"hidden", "dropout", "channels", "kernel", "padding", "pool", "pool_size", "head", "batchnorm"},
    "autoencoder": {"hidden", "code"},
    "resnet": {"channels", "blocks", "batchnorm"},
}
"""Fields that only some families have -> refused elsewhere, so that no field is accepted and ignored."""


class ModelConfig(Configured):
    """Names a network up to its input shape and outputs, which come from the task.

    Sizes are given in one of four ways: by hand (`hidden`, `channels`); as `depth` layers of equal `width`; as `depth`
    layers whose width is solved so that the network has `budget` parameters; or not at all, for the family's default
    (MLP 20-20-20; CNN 8, 16; autoencoder: code only; ResNet 16, 32).

    Raises:
        InputError: A value that is not allowed, an unknown field, two fields that contradict each other.

    >>> ModelConfig(kind="mlp", depth=3, width=20).depth
    3
    >>> ModelConfig(kind="mlp", hidden=(5,), budget=100)
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: hidden and budget both set the sizes: give one, found (5,) and 100; None unsets one
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["mlp", "cnn", "autoencoder", "resnet"] = "mlp"
    """The family."""

    hidden: tuple[Positive, ...] | None = Field(default=None, max_length=DEEPEST)
    """Widths of the dense hidden layers (mlp, cnn: after the convolutions; autoencoder: before the code, mirrored)."""

    channels: tuple[Positive, ...] | None = Field(default=None, max_length=DEEPEST)
    """Channels of each convolution (cnn; with head conv without the last) or of each stage (resnet)."""

    depth: int | None = Field(default=None, ge=0, le=DEEPEST)
    """Number of hidden layers (mlp, autoencoder), convolutions (cnn; all, also with head conv) or stages (resnet)."""

    width: int | None = Field(default=None, ge=1)
    """Width of each of the `depth` layers; stages of a resnet double it."""

    budget: int | None = Field(default=None, ge=1)
    """Number of parameters for which the width of the `depth` layers is solved."""

    tolerance: float = Field(default=0.02, ge=0.0)
    """Greatest relative distance from `budget` that is accepted; a network farther away is refused."""

    activation: ActivationName = "relu"
    """The nonlinearity between layers; identity makes a linear network."""

    bias: bool = True
    """Whether layers have a bias; a convolution before batch normalisation never has (its shift replaces it)."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability with which an input of a dense layer after the first is dropped in training (mlp, cnn)."""

    kernel: tuple[Positive, ...] = (3,)
    """Side of the square kernels: one for all convolutions, or one each (cnn)."""

    padding: Literal["same", "valid"] = "same"
    """Whether a convolution keeps the size of the image, with zeros around it, or uses only whole windows (cnn)."""

    pool: Literal["max", "average", "none"] = "max"
    """Pooling after each convolution's activation (cnn)."""

    pool_size: tuple[Positive, ...] = (2,)
    """Side of the pooling windows: one for all convolutions, or one each; 1 is none (cnn)."""

    head: Literal["dense", "average", "conv"] = "dense"
    """After the convolutions: flatten and dense layers; global average and dense layers; or one more convolution
    with a channel per output and a global average (cnn)."""

    batchnorm: bool = False
    """Whether each convolution is followed by batch normalisation (cnn, resnet)."""

    code: int = Field(default=8, ge=1)
    """Width of the narrowest layer (autoencoder)."""

    blocks: int = Field(default=1, ge=1, le=DEEPEST)
    """Residual blocks of two convolutions in each stage (resnet)."""

    source: str | None = None
    """A network of your own in place of a family: FILE.py:NAME of a class of modules or a function that returns one."""

    args: Annotated[dict[str, Any], AfterValidator(Arguments)] = Field(default_factory=Arguments)
    """Keyword arguments of `source`: args.width 32."""

    @property
    def homogeneous(self) -> bool:
        """Whether f(c·x) = c·f(x) for every c ≥ 0: with one input x > 0, the network is a straight line through 0."""
        linear_pieces = self.activation in ("relu", "leaky_relu", "identity")
        return linear_pieces and not self.bias and not self.batchnorm and self.source is None

    @field_validator("source")
    @classmethod
    def _stamped(cls, source: str | None) -> str | None:
        return None if source is None else stamped(source, "source")

    @model_serializer(mode="wrap")
    def _without_unset(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return without_unset(plain(self), ("source", "args"))

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        fields = type(self).model_fields
        if self.source is not None:
            for field, given in fields.items():
                if field not in ("source", "args") and getattr(self, field) != given.default:
                    found = getattr(self, field)
                    raise InputError(f"source and {field} both choose the network: give one, found {field} {found}")
            return self
        if self.args:
            raise InputError(f"args goes with a network of your own, found no source and args {', '.join(self.args)}")
        special = set().union(*_USED.values()) - _USED[self.kind]
        for field in sorted(special):
            if getattr(self, field) != fields[field].default:
                owners = " or ".join(kind for kind, used in _USED.items() if field in used)
                raise InputError(f"{field} applies to {owners} only, found kind {self.kind!r}")
        self._check_sizes()
        if self.kind == "cnn":
            self._check_cnn()
        return self

    def _check_sizes(self) -> None:
        by_hand = "hidden" if self.kind in ("mlp", "autoencoder") else "channels"
        given = getattr(self, by_hand)
        for field in ("budget", "width", "depth"):
            if given is not None and getattr(self, field) is not None:
                raise InputError(
                    f"{by_hand} and {field} both set the sizes: give one, found {given} and {getattr(self, field)}; "
                    "None unsets one"
                )
        if self.budget is not None and self.width is not None:
            raise InputError(f"budget and width both set the sizes: give one, found {self.budget} and {self.width}")
        if (self.budget is None and self.width is None) != (self.depth is None):
            found = {field: getattr(self, field) for field in ("depth", "width", "budget")}
            told = ", ".join(f"{field} {value}" for field, value in found.items() if value is not None)
            raise InputError(f"depth goes with either width or budget, found {told} alone")
        if self.budget is None and self.tolerance != type(self).model_fields["tolerance"].default:
            raise InputError(f"tolerance is that of a budget and goes with one, found {self.tolerance} alone")
        if self.depth == 0 and (self.kind in ("cnn", "resnet") or self.budget is not None):
            raise InputError("depth must be at least 1 (0 only for an mlp or autoencoder of given width), found 0")

    def _check_cnn(self) -> None:
        if self.head == "conv" and self.hidden:
            raise InputError(f"hidden needs head 'dense' or 'average', found head 'conv' and hidden {self.hidden}")
        if self.head == "conv" and self.dropout:
            raise InputError(f"dropout needs dense layers, found head 'conv' and dropout {self.dropout}")
        if self.pool == "none" and self.pool_size != (2,):
            raise InputError(f"pool_size needs pool 'max' or 'average', found 'none' and pool_size {self.pool_size}")
