"""An experiment that only the tests have, found as a user's own would be."""

from __future__ import annotations

from pathlib import Path

import pytest

import thalweg.experiments
from thalweg.experiments import Experiment, find

EXTRA = Path(__file__).parent / "extra"


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the extra experiments, put on the search path."""
    if str(EXTRA) not in thalweg.experiments.__path__:
        monkeypatch.setattr(thalweg.experiments, "__path__", [*thalweg.experiments.__path__, str(EXTRA)])
    return EXTRA


@pytest.fixture
def ladder(extra: Path) -> Experiment:
    """The smallest experiment."""
    return find("ladder")
