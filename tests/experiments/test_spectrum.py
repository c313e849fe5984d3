"""The experiment's numbers against a dense eigendecomposition of its own last weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from thalweg.experiments import execute, find, override
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


NORMALIZED = {
    "model.kind": "cnn",
    "model.hidden": "None",
    "model.channels": "[2]",
    "model.head": "average",
    "model.batchnorm": "true",
    "data.samples": "30",
    "training.epochs": "3",
}


def hessian_of(setup, theta, buffers, training):
    """∇²L in float64 by plain torch, with the normalisation layers as they are in evaluation or in training."""
    model = setup.objective.module(theta).double().train(training)
    names, sizes = zip(*((name, p.shape) for name, p in model.named_parameters()), strict=True)
    inputs, targets = setup.task.train
    kept = {name: value.double() if value.is_floating_point() else value for name, value in buffers.items()}

    def loss(flat):
        pieces = flat.split([size.numel() for size in sizes])
        weights = {name: piece.reshape(size) for name, piece, size in zip(names, pieces, sizes, strict=True)}
        buffered = {name: value.clone() for name, value in kept.items()}
        outputs = torch.func.functional_call(model, {**weights, **buffered}, (inputs.double(),))
        return torch.nn.functional.cross_entropy(outputs, targets)

    return torch.autograd.functional.hessian(loss, theta.double())


def test_a_normalised_network_is_measured_with_its_own_running_statistics(tmp_path):
    config = override(find("spectrum").preset("tiny"), NORMALIZED)
    run = execute("spectrum", config, tmp_path)
    setup = set_up(config, SimpleNamespace(set_environment=lambda **_: None))
    snapshots = run.recording().snapshots
    for replica in range(2):
        buffers = {name: value[replica] for name, value in snapshots.buffers(-1).items()}
        values = torch.linalg.eigvalsh(hessian_of(setup, snapshots[-1, replica], buffers, training=False))
        signs = run.load(f"signs-end-{replica + 1}")
        assert float(signs.norm) == pytest.approx(float(values.abs().max()), rel=1e-4)
        if replica == 0:
            assert float(run.load("largest-hessian").values[0]) == pytest.approx(float(values[-1]), rel=1e-3)


def test_the_edge_of_a_normalised_network_is_that_of_the_loss_it_descends(tmp_path):
    changes = {**NORMALIZED, "loss": "cross-entropy", "training.epochs": "None", "training.steps": "4", "replicas": "1"}
    config = override(find("edge-of-stability").preset("tiny"), {**changes, "learning_rates": "0.1"})
    run = execute("edge-of-stability", config, tmp_path)
    setup = set_up(config, SimpleNamespace(set_environment=lambda **_: None))
    recording = run.recording("lr-0.1")
    buffers = {name: value[0] for name, value in recording.snapshots.buffers(-1).items()}
    values = torch.linalg.eigvalsh(hessian_of(setup, recording.snapshots[-1, 0], buffers, training=True))
    assert run.load("sharpness-0.1")["sharpness"][-1, 0] == pytest.approx(float(values[-1]), rel=1e-3)
