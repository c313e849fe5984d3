"""Records keep their promise: equal by value, read-only, and the same after JSON."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.figures.cases import CASES
from thalweg.errors import InputError
from thalweg.figures import Axis, ColourScale, Figure, HLine, Line, Panel, Scatter
from thalweg.figures.record import Record

NUMBERS = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_]),
    st.integers(0, 20),
    elements=None,
    fill=None,
)


def _through_text(record: Record) -> Record:
    """To JSON text that any strict reader accepts, and back."""
    return type(record).from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))


@given(values=NUMBERS)
def test_arrays_survive_json_bit_by_bit(values: np.ndarray) -> None:
    line = Line(values, values[::-1], label="a")
    again = _through_text(line)
    assert again == line
    assert again.x.dtype == values.dtype
    assert again.x.tobytes() == values.tobytes() or np.isnan(values.astype(float)).any()
    np.testing.assert_array_equal(np.isnan(again.x.astype(float)), np.isnan(values.astype(float)))


@given(low=st.floats(allow_nan=True), text=st.text())
def test_scalars_and_words_survive_json(low: float, text: str) -> None:
    mark = HLine(low, text, label=text)
    assert _through_text(mark) == mark


@pytest.mark.parametrize("name", CASES)
def test_every_figure_survives_json(name: str) -> None:
    figure = CASES[name]()
    assert _through_text(figure) == figure


def test_half_precision_becomes_single_and_tensors_are_read() -> None:
    torch = pytest.importorskip("torch")
    assert Line(np.ones(2, np.float16), torch.ones(2)).x.dtype == np.float32


def test_records_compare_by_value() -> None:
    nan = float("nan")
    assert Line([0.0, nan], [1, 2]) == Line([0.0, nan], [1, 2])
    assert Line([0.0, 1.0], [1, 2]) != Line([0.0, 1.5], [1, 2])
    assert Line([0.0, 1.0], [1, 2]) != Line([0, 1], [1, 2])  # another dtype
    assert Line([0, 1], [1, 2]) != Scatter([0, 1], [1, 2])
    assert ColourScale("a", limits=(None, nan)) == ColourScale("a", limits=(None, nan))


def test_records_cannot_be_changed() -> None:
    source = np.zeros(2)
    line = Line(source, [1, 2])
    source[0] = 9
    assert line.x[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        line.x[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        line.width = 3  # type: ignore[misc]
    assert line.replace(width=3.0).width == 3.0


def test_lists_become_tuples_and_numpy_numbers_python_ones() -> None:
    mark = Scatter([0], [1], texts=["a"], size=np.float64(4))
    assert mark.texts == ("a",)
    assert type(mark.size) is float


BAD = {
    "complex": (lambda: Line([1j], [0]), "Line.x must hold real numbers, found complex128"),
    "words": (lambda: Line(["a"], [0]), "Line.x must hold real numbers, found <U1"),
    "ragged": (lambda: Line([[1], [1, 2]], [0]), "Line.x must be a numeric array"),
    "axes": (lambda: Line([[1.0]], [0]), r"Line.x must have 1 axes, found shape \[1, 1\]"),
    "none": (lambda: Line(None, [0]), "Line.x must be an array with 1 axes, found None"),
    "type": (lambda: Figure.from_json({"type": "Figur"}), "unknown type 'Figur', did you mean 'Figure'?"),
    "kind": (lambda: Figure.from_json(Axis("x").to_json()), "JSON of a Figure expected, found a Axis"),
    "field": (
        lambda: Axis.from_json({"type": "Axis", "labl": "x"}),
        "JSON of a Axis has an unknown field 'labl', did you mean 'label'?",
    ),
    "missing": (lambda: Panel.from_json({"type": "Panel"}), "JSON of a Panel is incomplete"),
    "array": (
        lambda: Line.from_json({"type": "Line", "x": {"dtype": "float64", "shape": [3], "data": [1]}, "y": []}),
        "array in the JSON cannot be read",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(InputError, match=message):
        make()
