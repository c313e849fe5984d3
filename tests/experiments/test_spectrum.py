"""The experiment's numbers against a dense eigendecomposition of its own last weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from thalweg.experiments import execute, find
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.shared.training import set_up
from thalweg.experiments.spectrum.config import PRESETS


def test_numbers_equal_those_of_the_dense_hessian(tmp_path):
    config = PRESETS["tiny"]
    run = execute("spectrum", config, tmp_path)
    found = load_findings(run)
    exact = set_up(config, SimpleNamespace(set_environment=lambda **_: None)).objective.double()
    theta = run.snapshots[-1].double()
    values = torch.linalg.eigvalsh(exact.hessian(theta))
    assert abs(found.numbers["largest_eigenvalue"] - float(values[0, -1])) < 1e-3 * float(values[0, -1])
    for row in (row for row in found.tables["Signs"] if row["place"] == "end"):
        own = values[row["run"] - 1]
        assert row["positive"] == int((own > row["band"]).sum())
        assert row["negative"] == int((own < -row["band"]).sum())
        assert row["positive"] + row["negative"] + row["undecided"] == exact.size


def test_density_is_that_of_all_eigenvalues_within_its_band(tmp_path):
    run = execute("spectrum", find("spectrum").preset("tiny"), tmp_path)
    kept = run.load("density-hessian-end")
    drawn = kept.estimate.spectrum("Hessian", kept.eigenvalues)
    assert abs(np.trapezoid(drawn.exact, drawn.grid) - 1) < 1e-3
    assert abs(np.trapezoid(drawn.density, drawn.grid) - 1) < 1e-3
    # Three random vectors only: the bulk, which carries nearly all the weight, must agree.
    bulk = drawn.exact > 0.2 * drawn.exact.max()
    assert np.abs(drawn.density - drawn.exact)[bulk].max() < 0.05 * drawn.exact.max()
