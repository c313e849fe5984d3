"""Which data, and what is done to it: the fields behind ``--data.name mnist --data.samples 1000``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_serializer, model_validator

from thalweg.configured import Configured
from thalweg.errors import InputError, nearest
from thalweg.sources import Arguments, Source, stamped, without_unset

__all__ = ["DataName", "TaskConfig"]

DataName = Literal["digits", "mnist", "fashion-mnist", "cifar10", "function"]

_FUNCTION_FIELDS = ("expression", "interval", "points", "test_points", "grid", "noise")
_IMAGE_FIELDS = ("path", "samples", "test_samples", "label_noise", "shuffle_labels", "pixels", "target")

_OWN_FIELDS = ("source", "args", "test_share")


class TaskConfig(Configured):
    """Names a task and everything that is done to its data, in this order.

    1. read (digits: a fixed stratified split into 1,437 training and 360 test images; the others as published);
    2. `samples`, `test_samples`: a seeded stratified subsample, in the original order;
    3. `label_noise` or `shuffle_labels`: the training labels only (the test labels stay true);
    4. `pixels`: the inputs of both sets;
    5. `standardize`: statistics of the training set only.

    Raises:
        InputError: A value that is not allowed, an unknown field, two fields that contradict each other.

    >>> TaskConfig(name="mnist", samples=1000, label_noise=0.2).samples
    1000
    >>> TaskConfig(name="digits", points=64)
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: points applies to the task 'function' only, found name 'digits'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: DataName = "digits"
    """The data: digits (8x8, ships with scikit-learn), mnist, fashion-mnist, cifar10, or a function of one variable."""

    expression: str = "sinc"
    """function: a named target (sinc, sign-sin, sines, ...) or an expression of x such as "sin(3*pi*x)+sin(4*pi*x)"."""

    interval: tuple[float, float] | None = None
    """function: least and greatest x; default the named target's own, else 0 1."""

    points: int = Field(default=256, ge=1)
    """function: number of training points."""

    test_points: int = Field(default=0, ge=0)
    """function: number of test points, on a uniform grid without noise; 0 is no test set."""

    grid: Literal["uniform", "random"] = "uniform"
    """function: training points on a uniform grid that includes both ends, or drawn uniformly (seeded)."""

    noise: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """function: standard deviation of the Gaussian noise added to the training targets."""

    path: Path | None = None
    """images: folder or .npz file to read from; default the search path of `thalweg data where`."""

    samples: int | None = Field(default=None, ge=1)
    """images: number of training samples, drawn with equal shares of every class; default all."""

    test_samples: int | None = Field(default=None, ge=1)
    """images: number of test samples, drawn with equal shares of every class; default all."""

    label_noise: float = Field(default=0.0, ge=0.0, le=1.0)
    """images: share of the training labels redrawn uniformly from all classes, by exact number (Zhang et al. 2017)."""

    shuffle_labels: bool = False
    """images: permute all training labels, which keeps the number of samples in every class."""

    pixels: Literal["true", "shuffled", "shuffled-per-image", "gaussian"] = "true"
    """images: true, in one random order, in another order for each image, or noise of the same mean and variance."""

    target: str = "labels"
    """images: what to predict: labels; or inputs, the image itself, flattened, for autoencoders. Of a table of your
    own: the column that is predicted."""

    standardize: Literal["none", "pixel-range", "zscore"] | None = None
    """Raw values, [0, 1], or mean 0 and variance 1 in the training set; default pixel-range for images, else none."""

    seed: int = Field(default=0, ge=0)
    """Seed of every random choice made here; the split of digits does not depend on it."""

    source: str | None = None
    """Data of your own: FILE.py:NAME of a function that returns them; an .npz, .csv or .parquet file; or a folder with
    a folder of images for each class."""

    args: Annotated[dict[str, Any], AfterValidator(Arguments)] = Field(default_factory=Arguments)
    """Keyword arguments of a function of `source`: args.samples 100."""

    test_share: float | None = Field(default=None, gt=0, lt=1)
    """Share of the samples that are held out as test set, of data of your own without one; drawn from `seed`."""

    @property
    def called(self) -> str:
        """What sentences call the data."""
        return self.name if self.source is None else Source.of(self.source).label

    @property
    def scaling(self) -> Literal["none", "pixel-range", "zscore"]:
        """The standardisation that `standardize` stands for, with its default filled in."""
        if self.standardize is not None:
            return self.standardize
        if self.source is not None:
            return "none"
        return "none" if self.name == "function" else "pixel-range"

    @field_validator("source")
    @classmethod
    def _stamped(cls, source: str | None) -> str | None:
        return None if source is None else stamped(source, "source", data=True)

    @model_serializer(mode="wrap")
    def _without_unset(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return without_unset(plain(self), _OWN_FIELDS)

    @model_validator(mode="after")
    def _consistent(self) -> TaskConfig:
        fields = type(self).model_fields
        if self.source is not None:
            for field in ("name", "path", *_FUNCTION_FIELDS):
                if getattr(self, field) != fields[field].default:
                    found = getattr(self, field)
                    raise InputError(f"source and {field} both choose the data: give one, found {field} {found}")
            if self.label_noise and self.shuffle_labels:
                raise InputError("label_noise and shuffle_labels both change the labels: give one, found both")
            return self
        for field in ("args", "test_share"):
            if (found := getattr(self, field)) not in (None, {}):
                raise InputError(f"{field} goes with data of your own, found no source and {field} {found}")
        if self.target not in ("labels", "inputs"):
            hint = nearest(self.target, ("labels", "inputs"))
            raise InputError(f"target must be 'labels' or 'inputs', found {self.target!r}{hint}")
        foreign, where = (
            (_IMAGE_FIELDS, "images") if self.name == "function" else (_FUNCTION_FIELDS, "the task 'function'")
        )
        for field in foreign:
            if getattr(self, field) != fields[field].default:
                raise InputError(f"{field} applies to {where} only, found name {self.name!r}")
        if self.name == "function":
            self._check_function()
        if self.name == "digits" and self.path is not None:
            raise InputError(f"path does not apply to digits, which ship with scikit-learn, found {str(self.path)!r}")
        if self.label_noise and self.shuffle_labels:
            raise InputError(
                f"label_noise and shuffle_labels both change the labels: give one, found {self.label_noise} and true"
            )
        if self.target == "inputs" and (self.label_noise or self.shuffle_labels):
            raise InputError("label_noise and shuffle_labels need target 'labels', found target 'inputs'")
        return self

    def _check_function(self) -> None:
        """Refuse what cannot be evaluated before any run folder is made."""
        from thalweg.tasks.functions import check_interval, target

        if self.standardize == "pixel-range":
            raise InputError("standardize 'pixel-range' applies to images only, found name 'function'")
        target(self.expression)
        if self.interval is not None:
            check_interval(self.interval)
