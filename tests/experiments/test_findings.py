"""Findings are checked when they are made and come back equal from JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.experiments import Findings
from thalweg.figures import Axis, Figure, Line, Panel


def figure(name: str) -> Figure:
    panel = Panel(Axis("x"), Axis("y"), (Line([0.0, 1.0], [1.0, np.nan]),))
    return Figure(name, "Title", "Caption.", (panel,))


def test_round_trip_through_strict_json() -> None:
    found = Findings(
        figures=[figure("a"), figure("b")],
        statements=["One.", "Two."],
        tables={
            "points": [{"loss": np.float64(0.1), "kind": "minimum", "ok": True}, {"loss": -math.inf, "kind": None}]
        },
        numbers={"nan": math.nan, "third": 1 / 3, "count": np.int64(3), "name": "x"},
        warnings=["Replica 3 diverged."],
    )
    text = json.dumps(found.to_json(), allow_nan=False)
    again = Findings.from_json(json.loads(text))
    assert again == found
    assert again.numbers["third"] == 1 / 3
    assert math.isnan(again.numbers["nan"])
    assert again.tables["points"][1]["loss"] == -math.inf
    assert again.figures == found.figures


def test_different_findings_differ() -> None:
    assert Findings(numbers={"a": 1.0}) != Findings(numbers={"a": 2.0})
    assert Findings(numbers={"a": math.nan}) != Findings(numbers={"a": None})
    assert Findings() != "findings"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"statements": "One."}, "Findings.statements must be a sequence of str, found 'One.'"),
        ({"statements": [1]}, "Findings.statements must be a sequence of str"),
        ({"figures": ["a.png"]}, "Findings.figures must be a sequence of Figure"),
        ({"figures": [figure("a"), figure("a")]}, "must have different names"),
        ({"numbers": {"losses": [1.0]}}, r"Findings.numbers must map text to numbers or text, found 'losses': \[1.0\]"),
        ({"tables": {"points": [{1: 2}]}}, r"Findings.tables\['points'\] must map text"),
    ],
)
def test_parts_of_the_wrong_kind(parts: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Findings(**parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"sentences": []}, "unknown part 'sentences'"), ({"numbers": None}, "lack the part 'numbers'")],
)
def test_damaged_findings(change: dict[str, object], message: str) -> None:
    data = {key: value for key, value in (Findings().to_json() | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        Findings.from_json(data)


def test_findings_that_are_a_list() -> None:
    with pytest.raises(InputError, match="saved findings must be a table of parts, found list"):
        Findings.from_json([1, 2])  # type: ignore[arg-type]
