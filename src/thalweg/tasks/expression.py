"""Functions of x typed by a user, without `eval`: a whitelist over Python's own syntax tree.

What may stand in an expression: numbers, ``x``, ``pi``, ``e``, ``+ - * / **``, comparisons (1 where true, else 0), and
calls of the functions in :data:`FUNCTIONS`. Everything else is refused by name and position before anything is
computed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from thalweg.errors import InputError, nearest

__all__ = ["FUNCTIONS", "Expression", "parse"]

Array = NDArray[np.float64]

LONGEST = 1000
"""Characters in an expression: far more than a person types, far less than hurts the parser."""

DEEPEST = 400
"""Operations inside each other, as in a sum of so many terms: Python's stack also holds whoever evaluates it."""


def _where(condition: Array, yes: Array, no: Array) -> Array:
    return np.where(condition != 0, yes, no)


FUNCTIONS: dict[str, tuple[int, int | None, Callable[..., Array]]] = {
    "sin": (1, 1, np.sin),
    "cos": (1, 1, np.cos),
    "tan": (1, 1, np.tan),
    "asin": (1, 1, np.arcsin),
    "acos": (1, 1, np.arccos),
    "atan": (1, 1, np.arctan),
    "sinh": (1, 1, np.sinh),
    "cosh": (1, 1, np.cosh),
    "tanh": (1, 1, np.tanh),
    "exp": (1, 1, np.exp),
    "log": (1, 1, np.log),
    "sqrt": (1, 1, np.sqrt),
    "abs": (1, 1, np.abs),
    "sign": (1, 1, np.sign),
    "sinc": (1, 1, np.sinc),
    "floor": (1, 1, np.floor),
    "ceil": (1, 1, np.ceil),
    "min": (2, None, lambda *values: reduce(np.minimum, values)),
    "max": (2, None, lambda *values: reduce(np.maximum, values)),
    "where": (3, 3, _where),
}
"""name -> least and greatest number of arguments, and the function; ``sinc(x)`` is sin(πx)/(πx), as in NumPy."""

_CONSTANTS = {"pi": np.pi, "e": np.e}
_BINARY: dict[type[ast.operator], Callable[[Array, Array], Array]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_UNARY: dict[type[ast.unaryop], Callable[[Array], Array]] = {ast.USub: np.negative, ast.UAdd: np.positive}
_COMPARE: dict[type[ast.cmpop], Callable[[Array, Array], NDArray[np.bool_]]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_ALLOWED = f"use x, pi, e, numbers, + - * / ** and {', '.join(FUNCTIONS)}"


@dataclass(frozen=True)
class Expression:
    """A checked expression of x; call it with an array.

    Args:
        text: The expression as it was typed.
        body: Its syntax tree, which holds only what the whitelist allows.
    """

    text: str
    body: ast.expr

    def __call__(self, x: Array | float) -> Array:
        """Values at `x` (any shape), float64; NaN and inf where the expression has no value."""
        points = np.asarray(x, dtype=np.float64)
        with np.errstate(all="ignore"):  # poles and logarithms of zero: the caller looks at the values
            values = _evaluate(self.body, points)
        return np.array(np.broadcast_to(values, points.shape), dtype=np.float64)


def parse(text: str) -> Expression:
    """Check an expression of x against the whitelist.

    Args:
        text: Python syntax, such as ``"exp(sin(40*x))*log(x+1)"``.

    Raises:
        InputError: If the text is no expression, or uses a name or construct that is not allowed: names it and the
            character (counted from 1) at which it stands.

    >>> parse("where(x < 1/2, 0, x**2)")([0.0, 0.5, 1.0])
    array([0.  , 0.25, 1.  ])
    >>> parse("__import__('os')")
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: expression: '__import__' at character 1 is not allowed; use x, pi, e, numbers, ...
    """
    if not text.strip():
        raise InputError("expression must not be empty")
    if len(text) > LONGEST:
        raise InputError(f"expression must have at most {LONGEST} characters, found {len(text)}")
    # One line: spaces keep every character at its place, and leading ones would read as indentation.
    source = text.replace("\n", " ").replace("\r", " ").replace("\t", " ")
    lead = len(source) - len(source.lstrip())
    try:
        tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at, reason = "", str(error) or "too deeply nested"
        if isinstance(error, SyntaxError):
            at = f" at character {error.offset + lead}" if error.offset else " at its end"
            reason = error.msg
        raise InputError(f"expression: {text.strip()!r} is not valid{at}: {reason}") from None
    if (depth := _depth(tree.body)) > DEEPEST:
        raise InputError(f"expression must be nested at most {DEEPEST} deep, found {depth}")
    _check(tree.body, source.strip(), lead)
    return Expression(text.strip(), tree.body)


def _refuse(node: ast.AST, source: str, lead: int, name: str = "", why: str = "is not allowed") -> InputError:
    """Error that names the part of the expression at a node and its place."""
    found = name or (ast.get_source_segment(source, node) or type(node).__name__)
    column = getattr(node, "col_offset", 0)  # counted in UTF-8 bytes
    place = len(source.encode()[:column].decode()) + lead + 1
    hint = _ALLOWED + nearest(found, [*FUNCTIONS, *_CONSTANTS]) if why == "is not allowed" else why
    middle = " is not allowed; " if why == "is not allowed" else " "
    return InputError(f"expression: {found!r} at character {place}{middle}{hint}")


def _depth(tree: ast.AST) -> int:
    """Levels of a syntax tree, without recursion."""
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _check(node: ast.expr, source: str, lead: int) -> None:
    """Walk the tree in reading order; raise at the first thing that the whitelist lacks."""
    match node:
        case ast.Constant(value=bool()):
            raise _refuse(node, source, lead)
        case ast.Constant(value=int() | float()):
            return
        case ast.Name(id=name):
            if name in FUNCTIONS:
                raise _refuse(node, source, lead, name, "is a function: write its argument in parentheses")
            if name != "x" and name not in _CONSTANTS:
                raise _refuse(node, source, lead, name)
        case ast.UnaryOp() if type(node.op) in _UNARY:
            _check(node.operand, source, lead)
        case ast.BinOp() if type(node.op) in _BINARY:
            _check(node.left, source, lead)
            _check(node.right, source, lead)
        case ast.BinOp(op=ast.BitXor()):
            raise _refuse(node, source, lead, "^", "is not a power: write **")
        case ast.Compare() if all(type(operator) in _COMPARE for operator in node.ops):
            for part in (node.left, *node.comparators):
                _check(part, source, lead)
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
            _check_call(node, name, source, lead)
        case ast.Call(func=ast.Name(id=name)) if name == "x" or name in _CONSTANTS:
            raise _refuse(node, source, lead, name, "is not a function: write * to multiply")
        case ast.Call(func=ast.Name(id=name)):
            raise _refuse(node, source, lead, name)
        case _:
            raise _refuse(node, source, lead)


def _check_call(node: ast.Call, name: str, source: str, lead: int) -> None:
    least, most, _ = FUNCTIONS[name]
    if node.keywords:
        raise _refuse(node, source, lead, name, "takes no named arguments")
    count = len(node.args)
    if count < least or (most is not None and count > most):
        wanted = f"{least}" if most == least else f"at least {least}"
        raise _refuse(node, source, lead, name, f"takes {wanted} argument{'s' * (least > 1)}, found {count}")
    for argument in node.args:
        _check(argument, source, lead)


def _evaluate(node: ast.expr, x: Array) -> Array:
    """Value of a checked tree; shapes broadcast."""
    match node:
        case ast.Constant(value=value):
            try:
                return np.asarray(value, dtype=np.float64)
            except OverflowError:  # an integer beyond 1e308
                return np.asarray(np.inf)
        case ast.Name(id=name):
            return x if name == "x" else np.asarray(_CONSTANTS[name])
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_evaluate(node.operand, x))
        case ast.BinOp():
            return _BINARY[type(node.op)](_evaluate(node.left, x), _evaluate(node.right, x))
        case ast.Compare():
            values = [_evaluate(part, x) for part in (node.left, *node.comparators)]
            pairs = zip(node.ops, values, values[1:], strict=False)  # a < b < c is a < b and b < c
            holds = [_COMPARE[type(operator)](left, right) for operator, left, right in pairs]
            return np.asarray(reduce(np.logical_and, holds), dtype=np.float64)
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name][2](*(_evaluate(argument, x) for argument in node.args))
    raise TypeError(f"{type(node).__name__} passed the whitelist")  # unreachable: parse checked every node
