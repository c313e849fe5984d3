"""Presets, TOML and overrides meet in one configuration; what is wrong is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments import Experiment, ExperimentConfig, configure, override
from thalweg.experiments.framework.fields import rows
from thalweg.experiments.framework.options import read_arguments


class Training(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    batch_size: int | None = Field(default=None, ge=1)
    """Samples per step."""
    rate: float = Field(default=0.1, gt=0)
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.0
    decay: float | Literal["auto"] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        if self.optimizer == "adam" and self.momentum:
            raise InputError(f"momentum applies to sgd only, found {self.momentum}")
        return self


class Extra(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    probes: int = 10


class Config(ExperimentConfig):
    """A configuration with one field of every kind."""

    training: Training = Training()
    widths: tuple[int, ...] = (10, 10)
    interval: tuple[float, float] | None = None
    expression: str = "x"
    path: Path | None = None
    save: bool = True
    spectrum: Extra | None = None
    weights: dict[str, float] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("seed", "3", 3),
        ("seed", 3, 3),
        ("training.batch_size", "64", 64),
        ("training.batch-size", "64", 64),
        ("training.batch_size", "None", None),
        ("training.batch_size", "none", None),
        ("training.rate", "1e-3", 1e-3),
        ("training.decay", "0.5", 0.5),
        ("training.decay", "auto", "auto"),
        ("widths", "10,20", (10, 20)),
        ("widths", "[10, 20]", (10, 20)),
        ("widths", "7", (7,)),
        ("widths", ["7", "8"], (7, 8)),
        ("widths", [], ()),
        ("interval", ["-1", "2.5"], (-1.0, 2.5)),
        ("expression", "10", "10"),
        ("expression", "sin(3*pi*x), 1", "sin(3*pi*x), 1"),
        ("path", "a/b", Path("a/b")),
        ("path", "None", None),
        ("save", "false", False),
        ("save", "True", True),
        ("spectrum.probes", "5", 5),
        ("weights", "{a = 1.5}", {"a": 1.5}),
    ],
)
def test_override_converts_to_the_type_of_the_field(field: str, value: object, expected: object) -> None:
    changed: object = override(Config(), {field: value})
    for part in field.replace("-", "_").split("."):
        changed = getattr(changed, part)
    assert changed == expected
    assert type(changed) is type(expected)


def test_override_leaves_the_rest_and_the_original() -> None:
    before = Config(seed=7, training=Training(rate=0.5))
    after = override(before, {"training.batch_size": "8"})
    assert after == Config(seed=7, training=Training(rate=0.5, batch_size=8))
    assert before.training.batch_size is None
    assert override(before, {}) is before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.bath_size": "1"}, "unknown field 'training.bath_size', did you mean 'training.batch_size'?"),
        ({"rate": "1"}, "unknown field 'rate', did you mean 'training.rate'?"),
        ({"zzzz": "1"}, "unknown field 'zzzz', see `thalweg run EXPERIMENT --help`"),
        ({"seed": "x"}, "seed must be a valid integer, found 'x'"),
        ({"seed": "-1"}, "seed must be greater than or equal to 0, found -1"),
        ({"seed": []}, "field 'seed' must be given a value"),
        ({"seed": ["1", "2"]}, "seed must be a valid integer, found ['1', '2']"),
        ({"training.batch_size": "0"}, "training.batch_size must be greater than or equal to 1, found 0"),
        ({"training.rate": "nan"}, "training.rate must be greater than 0, found nan"),
        (
            {"training.optimizer": "adm"},
            "training.optimizer must be 'sgd' or 'adam', found 'adm', did you mean 'adam'?",
        ),
        ({"training.decay": "x"}, "training.decay must be a valid number or be 'auto', found 'x'"),
        (
            {"training.optimizer": "adam", "training.momentum": "0.9"},
            "training.momentum applies to sgd only, found 0.9",
        ),
        ({"widths": "1,x"}, "widths[1] must be a valid integer, found 'x'"),
        ({"widths": ["1", "x"]}, "widths[1] must be a valid integer, found 'x'"),
        ({"device": "gpu"}, "device must be cpu, cuda, cuda:N or mps, found 'gpu'"),
        ({"training": {"bath_size": 1}}, "unknown field 'training.bath_size', did you mean 'training.batch_size'?"),
        (
            {"seed": "-1", "training.rate": "0"},
            "seed must be greater than or equal to 0, found -1; training.rate must be greater than 0, found 0.0",
        ),
    ],
)
def test_what_is_wrong_in_one_sentence(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        override(Config(), changes)
    assert str(caught.value) == message


def test_arguments() -> None:
    arguments = ["--seed", "3", "--interval", "-1", "1e-3", "--widths=1,2", "--save", "--a-b.c", "d"]
    expected = {"seed": "3", "interval": ["-1", "1e-3"], "widths": "1,2", "save": [], "a-b.c": "d"}
    assert read_arguments(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["x"], "unexpected argument 'x'"), (["--seed", "1", "--seed", "2"], "option --seed is given twice")],
)
def test_arguments_that_make_no_sense(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_arguments(arguments)


def test_overrides_win_over_toml_over_preset(ladder: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("seed = 5\nreplicas = 3\n[descent]\nrate = 0.25\n")
    config = configure(ladder, preset="tiny", file=file, changes={"seed": "6"})
    values = config.model_dump()
    assert (values["seed"], values["replicas"], values["descent"]) == (6, 3, {"rate": 0.25, "steps": 20, "chunk": 5})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[descent]\nrte = 1\n", "unknown field 'descent.rte', did you mean 'descent.rate'?"),
        ("[decent]\nrate = 1\n", "unknown field 'decent', did you mean 'descent'?"),
        ("[descent]\nrate = -1\n", "descent.rate must be greater than 0, found -1"),
        ("descent = 3\n", "descent must be a valid dictionary or instance of Descent, found 3"),
        ("seed = \n", "is no TOML file: "),
    ],
)
def test_toml_that_is_wrong(ladder: Experiment, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        configure(ladder, file=file)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_toml_that_is_no_text(ladder: Experiment, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is no TOML file"):
        configure(ladder, file=tmp_path / "my.toml")


def test_rows_know_texts_and_optional_tables() -> None:
    found = {row.name: row for row in rows(Config)}
    assert found["training.batch_size"].text == "Samples per step."
    assert found["training.batch_size"].kind == "int | None"
    assert found["training.optimizer"].kind == "'sgd' | 'adam'"
    assert found["widths"].kind == "tuple[int, ...]"
    assert found["spectrum.probes"].default == 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": "sgd", "training.rate": 0.5}, "training must be a table to have a field training.rate, found"),
        ({"training": 3, "training.batch-size": 8}, "training must be a table to have a field training.batch_size"),
        ({"spectrum": "[1, 2]", "spectrum.probes": 5}, "spectrum must be a table to have a field spectrum.probes"),
        ({"training.rate": "[" * 5000}, "training.rate must"),
        ({"training.batch-size": "9" * 5000}, "training.batch-size must be an integer of at most 4300 digits"),
        ({"training.batch-size": 0}, "training.batch-size must be greater than or equal to 1, found 0"),
        ({"training.batch_size": "8\nseed = 7"}, "training.batch_size must be a valid integer"),
        ({"training.optimizer": "adam", "training.momentum": 0.5}, "training.momentum applies to sgd only"),
        ({"widths": "x" * 10_000}, "widths[0] must be a valid integer, found 'xxx"),
        ({"widths": ["a"] * 1000}, "and 995 more like these"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_value_is_one_short_sentence(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        override(Config(), changes)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 700
    assert str(caught.value).isprintable()


def test_a_whole_table_and_then_one_of_its_fields() -> None:
    found = override(Config(), {"training": "{rate = 0.5, batch_size = 4}", "training.batch_size": 8})
    assert found.training == Training(rate=0.5, batch_size=8)
    assert override(Config(), {"spectrum": {"probes": 3}, "spectrum.probes": "4"}).spectrum == Extra(probes=4)
