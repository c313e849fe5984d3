"""Which files may be read: everything in a run's folder, nothing outside of it."""

from __future__ import annotations

import pytest

from thalweg.runs import Run
from thalweg.viewer.files import drawings, inside, listed


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "..", "../beside.txt", "exports/../../beside.txt", "exports/../config.json", "/etc/hostname",
        "//etc/hostname", "out/key.txt", "figures/key.png", "loop", "pipe", "exports", "exports/", "nothing",
        "exports/.hidden", "config.json\0", "\0", "..\\beside.txt", "a" * 5000, "exports/./data.csv",
    ],
)  # fmt: skip
def test_refused(harmful: Run, path: str) -> None:
    assert inside(harmful.path, path) is None


def test_given(harmful: Run) -> None:
    assert inside(harmful.path, "exports/data.csv") == (harmful.files.exports / "data.csv").resolve()
    assert inside(harmful.path, "within.csv") == (harmful.files.exports / "data.csv").resolve()


def test_the_list_holds_what_can_be_given(harmful: Run) -> None:
    found = [file.path for file in listed(harmful.path)]
    assert {"config.json", "metrics.parquet", "report.html", "exports/data.csv", "within.csv"} <= set(found)
    assert {path for path in found if path.startswith(("lock", "snapshots", "out", "pipe", "loop"))} == set()
    assert all(inside(harmful.path, path) for path in found)


def test_drawings_are_grouped_by_name(harmful: Run) -> None:
    (found,) = drawings(harmful.path)  # the link to a secret is none
    assert (found.name, found.picture) == ("first-figure", "figures/first-figure.png")
    assert [kind for kind, _ in found.files] == ["PNG", "SVG", "JSON"]
