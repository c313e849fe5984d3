"""Runs side by side: labels, settings that differ, numbers."""

from __future__ import annotations

from pathlib import Path

from tests.viewer.conftest import completed, make
from thalweg.viewer.beside import beside


def test_settings_and_numbers(root: Path) -> None:
    runs = [completed(root, 0.25, lr=0.1, net={"width": 8}), completed(root, 0.5, lr=0.1, net={"width": 16})]
    found = beside(runs)
    assert list(found.runs) == ["width 8", "width 16"]
    assert found.settings.columns == ("setting", "width 8", "width 16")
    assert [[cell.text for cell in row] for row in found.settings.rows] == [["net.width", "8", "16"]]
    assert [[cell.text for cell in row] for row in found.numbers.rows] == [
        ["loss", "0.25", "0.5"],
        ["gap", "NaN", "NaN"],
    ]
    assert found.notes == ()


def test_runs_without_findings(root: Path) -> None:
    found = beside([make(root, lr=0.1), make(root, lr=0.2)])
    assert found.numbers is None
    assert found.notes == ()


def test_damage_is_noted(root: Path) -> None:
    whole, bad, odd = completed(root, lr=0.1), completed(root, lr=0.2), completed(root, lr=0.3)
    bad.files.config.write_text("nonsense")
    (odd.files.results / "findings.json").write_text("[]")
    found = beside([whole, bad, odd])
    assert list(found.runs.values()) == [whole, odd]
    assert found.notes[0].startswith(f"{bad.name} is left out: ")
    assert found.notes[1].startswith("The findings of lr 0.3 cannot be read: ")
    assert [cell.text for cell in found.numbers.rows[0]] == ["loss", "0.25", "–"]


def test_one_run_has_nothing_that_differs(root: Path) -> None:
    run = completed(root, lr=0.1)
    found = beside([run])
    assert (list(found.runs), found.settings) == ([run.name], None)
