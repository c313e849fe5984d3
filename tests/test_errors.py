"""Bad input is a ValueError; nearest names are offered only when they are near."""

from __future__ import annotations

import pytest

from thalweg.errors import InputError, nearest


def test_input_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="replicas must be at least 1, found 0"):
        raise InputError("replicas must be at least 1, found 0")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spektrum", ", did you mean 'spectrum'?"),
        ("SPECTRUM", ", did you mean 'spectrum'?"),
        ("zzz", ""),
        ("", ""),
        ("tyni", ", did you mean 'tiny'?"),
    ],
)
def test_nearest(name: str, expected: str) -> None:
    assert nearest(name, iter(["trajectory", "spectrum", "tiny"])) == expected


def test_nearest_keeps_the_spelling_of_the_option() -> None:
    assert nearest("adamw", ["AdamW"]) == ", did you mean 'AdamW'?"
