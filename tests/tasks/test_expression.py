from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg import InputError
from thalweg.tasks import parse
from thalweg.tasks.expression import FUNCTIONS, LONGEST

POINTS = [0.1, 0.5, 0.9]

# Every allowed construct against Python's own arithmetic.
VALUES = {
    "sin(3*pi*x)+sin(4*pi*x)": lambda x: math.sin(3 * math.pi * x) + math.sin(4 * math.pi * x),
    "exp(sin(40*x))*log(x+1)": lambda x: math.exp(math.sin(40 * x)) * math.log(x + 1),
    "2 - -x + +x": lambda x: 2 + 2 * x,
    "2**3**x": lambda x: 2 ** (3**x),
    "-x**2": lambda x: -(x**2),
    "1/x - e": lambda x: 1 / x - math.e,
    "cos(x) * tan(x)": math.sin,
    "asin(x) + acos(x)": lambda x: math.pi / 2,
    "atan(x)": math.atan,
    "sinh(x) + cosh(x)": math.exp,
    "tanh(x)": math.tanh,
    "sqrt(abs(-x))": math.sqrt,
    "sinc(2*x)": lambda x: math.sin(2 * math.pi * x) / (2 * math.pi * x),
    "sign(x - 0.5)": lambda x: (x > 0.5) - (x < 0.5),
    "floor(2*x) + ceil(2*x)": lambda x: math.floor(2 * x) + math.ceil(2 * x),
    "min(x, 0.5, 0.3)": lambda x: min(x, 0.3),
    "max(x, 0.5)": lambda x: max(x, 0.5),
    "where(x <= 0.5, x, 10)": lambda x: x if x <= 0.5 else 10,
    "x > 0.5": lambda x: float(x > 0.5),
    "0.2 < x < 0.8": lambda x: float(0.2 < x < 0.8),
    "(x == 0.5) + (x != 0.5) + (x >= 0.5)": lambda x: 1 + (x >= 0.5),
    "3": lambda x: 3,
    "  x\n + 1": lambda x: x + 1,
}


@pytest.mark.parametrize("text", VALUES)
def test_values_are_those_of_python(text):
    np.testing.assert_allclose(parse(text)(np.array(POINTS)), [VALUES[text](x) for x in POINTS], rtol=1e-14)


def test_every_allowed_function_has_a_value_test():
    tested = " ".join(VALUES)
    assert all(f"{name}(" in tested for name in FUNCTIONS)


# Text -> what the message must name, and the character it stands at.
REFUSED = {
    "__import__('os')": ("'__import__'", 1),
    "x + __import__('os').system('true')": ("__import__", 5),
    "eval('1')": ("'eval'", 1),
    "open('/etc/passwd')": ("'open'", 1),
    "sin(x) + y": ("'y'", 10),
    "x.real": ("'x.real'", 1),
    "(1).__class__": ("'(1).__class__'", 1),
    "[x for x in (1,)]": ("'[x for x in (1,)]'", 1),
    "lambda: 1": ("'lambda: 1'", 1),
    "'text'": ("\"'text'\"", 1),
    "1 + True": ("'True'", 5),
    "2j*x": ("'2j'", 1),
    "x if x else 1": ("'x if x else 1'", 1),
    "x % 2": ("'x % 2'", 1),
    "x and 1": ("'x and 1'", 1),
    "not x": ("'not x'", 1),
    "x in (1, 2)": ("'x in (1, 2)'", 1),
    "(y := 3)": ("'y := 3'", 2),
    "f'{x}'": ("f'{x}'", 1),
    "x[0]": ("'x[0]'", 1),
    "sin(*x)": ("'*x'", 5),
    "  q": ("'q'", 3),
    "exp(x) + exq(x)": ("'exq'", 10),
}


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused_by_name_and_place(text):
    name, place = REFUSED[text]
    with pytest.raises(InputError) as caught:
        parse(text)
    assert name in str(caught.value)
    assert f"at character {place} " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must not be empty"),
        ("   ", "must not be empty"),
        ("sin(x", "is not valid at character"),
        ("x +", "is not valid at its end"),
        ("x y", "is not valid at character"),
        ("x\0", "is not valid"),
        ("x^2", "'^' at character 1 is not a power: write **"),
        ("sin", "'sin' at character 1 is a function: write its argument in parentheses"),
        ("x(2)", "'x' at character 1 is not a function: write * to multiply"),
        ("sin(x, x)", "'sin' at character 1 takes 1 argument, found 2"),
        ("where(x, 1)", "takes 3 arguments, found 2"),
        ("max(x)", "takes at least 2 arguments, found 1"),
        ("sin(x=1)", "takes no named arguments"),
        ("1+" * LONGEST + "1", f"at most {LONGEST} characters, found {2 * LONGEST + 1}"),
        ("exq(x)", "did you mean 'exp'?"),
    ],
)
def test_messages(text, message):
    with pytest.raises(InputError, match="expression") as caught:
        parse(text)
    assert message in str(caught.value)


def test_place_counts_characters_not_bytes():
    with pytest.raises(InputError, match="'é' at character 5 "):
        parse("x + é")


def test_deep_nesting_is_refused_not_crashed():
    with pytest.raises(InputError):
        parse("(" * 400 + "x" + ")" * 400)
    assert parse("-" * 300 + "x")(2.0) == 2.0


def test_huge_numbers_end_at_infinity_quickly():
    assert parse("9**9**9**9")(1.0) == np.inf
    assert parse("1" + "0" * 400)(1.0) == np.inf


def test_poles_give_infinity_without_a_warning():
    np.testing.assert_array_equal(parse("1/x")([0.0, 2.0]), [np.inf, 0.5])
    assert np.isnan(parse("sqrt(x)")(-1.0))


def test_shape_is_kept_and_a_constant_is_broadcast():
    x = np.zeros((2, 3))
    assert parse("x+1")(x).shape == (2, 3)
    value = parse("4")(x)
    assert value.shape == (2, 3)
    value[0, 0] = 1  # the result is the caller's own array, not a view of a constant
    assert value[0, 1] == 4


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(InputError):  # any other exception fails the test
        parse(text)(0.5)


def test_what_is_parsed_can_be_evaluated_by_a_caller_deep_in_the_stack():
    with pytest.raises(InputError, match=r"nested at most 400 deep, found 9\d\d"):
        parse("-" * 950 + "x")

    def deep(levels: int) -> float:
        return deep(levels - 1) if levels else float(parse("+".join(["x"] * 380))(1.0))

    assert deep(400) == 380
