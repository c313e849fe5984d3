"""A process that has not imported the analysis yet reads what another has saved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from thalweg.analysis import Along


def test_results_load_in_a_fresh_process(tmp_path: Path) -> None:
    file = Along("step", {"step": [0.0, 1.0], "loss": [2.0, 1.0]}).save(tmp_path / "along.safetensors")
    code = f"from thalweg.results import load; print(load({str(file)!r}).summary())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "goes from 2 to 1" in shown.stdout
