"""How swept values are written."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from thalweg.errors import InputError
from thalweg.sweeps.values import expand, spread

Positive = Annotated[int, Field(ge=1)]


@pytest.mark.parametrize(
    ("text", "annotation", "values"),
    [
        ("0..4", int, ["0", "1", "2", "3", "4"]),
        ("-1..1", int, ["-1", "0", "1"]),
        ("0..100:25", int, ["0", "25", "50", "75", "100"]),
        ("0..9:4", int, ["0", "4", "8"]),
        ("7", int, ["7"]),
        ("1,2,10..12", int, ["1", "2", "10", "11", "12"]),
        ("0.1, 0.2", float, ["0.1", "0.2"]),
        ("lin:0..1:5", float, ["0.0", "0.25", "0.5", "0.75", "1.0"]),
        ("lin:0..0.3:4", float, ["0.0", "0.1", "0.2", "0.3"]),
        ("log:1e-4..1e-1:4", float | None, ["0.0001", "0.001", "0.01", "0.1"]),
        ("log:1..10:8", int, ["1", "2", "3", "4", "5", "7", "10"]),  # 1.39 is 1 again
        ("log:1000..1:4", int | Literal["given"] | None, ["1000", "100", "10", "1"]),
        ("log:8..32:3", tuple[Positive, ...] | None, ["8", "16", "32"]),
        ("adam,sgd", Literal["adam", "sgd"], ["adam", "sgd"]),
        ("[8,8],[16]", tuple[int, ...], ["[8,8]", "[16]"]),
        ("sin(x),max(x, 2)", str, ["sin(x)", "max(x, 2)"]),
        ("'a,b',c", str, ["'a,b'", "c"]),
        ("../data,..", str, ["../data", ".."]),
    ],
)
def test_grammar(text: str, annotation: object, values: list[str]) -> None:
    assert expand("field", text, annotation) == values


@pytest.mark.parametrize(
    ("text", "annotation", "sentence"),
    [
        ("4..0", int, "sweep of field must count upwards, found '4..0'"),
        ("0..4:0", int, "sweep of field must count upwards, found '0..4:0'"),
        (
            "0.1..0.5",
            float,
            "sweep of field must be FROM..TO of integers, lin:FROM..TO:COUNT or log:FROM..TO:COUNT, found '0.1..0.5'",
        ),
        ("log:1..8", int, "sweep of field must be written log:FROM..TO:COUNT, found 'log:1..8'"),
        ("lin:a..b:3", float, "sweep of field must be written lin:FROM..TO:COUNT, found 'lin:a..b:3'"),
        ("log:0..8:3", float, "sweep of field must have positive ends for log:, found 'log:0..8:3'"),
        (
            "log:2..8:1",
            float,
            "sweep of field must have two different ends and a COUNT of at least 2, found 'log:2..8:1'",
        ),
        (
            "lin:2..2:4",
            float,
            "sweep of field must have two different ends and a COUNT of at least 2, found 'lin:2..2:4'",
        ),
        ("lin:0..1:3", str, "sweep of field must be a list of values, not of numbers, found 'lin:0..1:3'"),
        ("1,,2", int, "sweep of field must have a value between two commas, found none"),
        ("", int, "sweep of field must have a value between two commas, found none"),
    ],
)
def test_what_breaks_the_grammar(text: str, annotation: object, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        expand("field", text, annotation)
    assert str(refused.value) == sentence


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e3), st.integers(2, 40))
def test_spaced_numbers_have_their_ends_and_equal_ratios(first: float, ratio: float, count: int) -> None:
    values = np.array([float(text) for text in expand("f", f"log:{first!r}..{first * ratio!r}:{count}", float)])
    assert len(values) == count
    np.testing.assert_allclose(values[[0, -1]], [first, first * ratio], rtol=1e-11)
    np.testing.assert_allclose(values[1:] / values[:-1], ratio ** (1 / (count - 1)), rtol=1e-10)


def test_sequences() -> None:
    assert spread("f", range(3), int) == ["0", "1", "2"]
    assert spread("f", np.array([0.5, 1.0]), float) == ["0.5", "1.0"]
    assert spread("f", ["log:1..100:3", 7, None, [8, 8], True], int | None) == [
        "1",
        "10",
        "100",
        "7",
        None,
        [8, 8],
        True,
    ]
    assert spread("f", 0.25, float) == ["0.25"]
    with pytest.raises(InputError, match=r"sweep of f must have at least one value, found \[\]"):
        spread("f", [], int)


@pytest.mark.parametrize(
    "text",
    [
        "lin:0..1e999:3",
        "log:1..1e400:3",
        "lin:-1e308..1e308:3",
        f"lin:0..1:{'9' * 5000}",
        f"0..{'9' * 5000}",
        "0..1e400",
    ],
)
@pytest.mark.parametrize("annotation", [int, float])
def test_ends_and_counts_beyond_all_numbers(text: str, annotation: type) -> None:
    with pytest.raises(InputError) as caught:
        expand("seed", text, annotation)
    assert str(caught.value).startswith("sweep of seed must ")
    assert len(str(caught.value)) < 300
