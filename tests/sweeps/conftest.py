"""An experiment that can go wrong, on the search path as a user's own would be."""

from __future__ import annotations

from pathlib import Path

import pytest

import thalweg.experiments
from thalweg.experiments import Experiment

WEATHER = Path(__file__).parent / "extra"

collect_ignore = [str(WEATHER)]  # its file must not be imported a second time, under a name of the tests


@pytest.fixture
def weather(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Weather with faults."""
    if str(WEATHER) not in thalweg.experiments.__path__:
        monkeypatch.setattr(thalweg.experiments, "__path__", [*thalweg.experiments.__path__, str(WEATHER)])
    return thalweg.experiments.find("weather")
