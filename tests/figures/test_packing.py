"""Packing: the same text comes back, it is safe inside HTML, and the cache is no way into a page."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.errors import InputError
from thalweg.figures.plotly import packing
from thalweg.figures.plotly.packing import library, packed, unpacked


@given(st.text())
def test_text_comes_back(text: str) -> None:
    found = packed(text)
    assert unpacked(found) == text
    assert not set(found) & set("<&\"'\\/ \n")


@given(st.binary(max_size=41))
def test_letters_are_those_of_the_standard_library_but_for_two(content: bytes) -> None:
    expected = base64.b85encode(content).decode().translate(str.maketrans("<&", ",."))
    assert packing._written(content) == expected
    assert packing._read(expected) == content


@pytest.mark.parametrize("text", ["<", "a b", "λ", "~~~~~", "0000000000"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="text must be what `packed` made"):
        unpacked(text)


def test_a_cache_that_holds_something_else_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "var Plotly = 1;" * 100
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: script)
    monkeypatch.setattr(packing, "_cache", lambda: tmp_path)
    library.cache_clear()
    try:
        first = library()
        (kept,) = tmp_path.iterdir()
        assert kept.read_text() == first[0]
        assert (unpacked(first[0]), first[1]) == (script, len(script))
        for wrong in (packed("alert(1)"), "no such letters: λ", ""):
            kept.write_text(wrong)
            library.cache_clear()
            assert library() == first
            assert kept.read_text() == first[0]
    finally:
        library.cache_clear()
