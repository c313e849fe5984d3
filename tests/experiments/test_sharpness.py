"""What `sharpness` reports is what the library measures; the counter-example; the course's network."""

from __future__ import annotations

import polars as pl
import pytest

from thalweg.experiments import execute
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.shared.training import build
from thalweg.experiments.sharpness.config import PRESETS, Config
from thalweg.experiments.sharpness.measure import WORDS, measured_on
from thalweg.experiments.sharpness.report import merge
from thalweg.generalization import distance, epsilon_sharpness
from thalweg.models import parameter_count
from thalweg.models.config import ModelConfig
from thalweg.tasks import load
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Recipe

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    return execute("sharpness", TINY, tmp_path_factory.mktemp("runs"))


def test_the_courses_network_has_its_number_of_parameters() -> None:
    assert parameter_count(PRESETS["course"].model, (1, 28, 28), 10) == 31_228


def test_columns_are_the_sharpness_of_the_recorded_weights(finished) -> None:
    import torch

    setup = build(TINY, load(TINY.data, torch.float32))
    objective = measured_on(TINY, setup)
    assert objective.dtype == torch.float64
    found = load_findings(finished)
    for name, row in zip(sorted(finished.recordings), found.tables["Settings"], strict=True):
        part = finished.load(f"measured-{name}")
        snapshots = finished.recording(name).snapshots
        exact = torch.linalg.eigvalsh(objective.hessian(snapshots[-1].double()))
        assert part["lambda_max"].to_list() == pytest.approx(exact[:, -1].tolist(), rel=1e-3)
        loss = objective.value(snapshots[-1].double())
        norm = exact.abs().amax(1)
        assert part["epsilon"].to_list() == pytest.approx(epsilon_sharpness(norm, loss).tolist(), rel=1e-3)
        moved = distance(snapshots[-1], snapshots[0])
        assert row["distance from the start"] == pytest.approx(float(moved.mean()), rel=1e-6)


def test_every_measure_is_told_and_ranked(finished) -> None:
    found = load_findings(finished)
    assert [figure.name for figure in found.figures] == [
        "epsilon-sharpness", "measures", "other-measures", "correlations", "rescaling",
    ]  # fmt: skip
    assert set(WORDS.values()) <= found.tables["Settings"][0].keys()
    assert {row["measure"] for row in found.tables["Rank correlations"]} == set(WORDS.values())


def test_counter_example_goes_as_predicted_and_the_function_stays(finished) -> None:
    found = finished.load("rescaling")
    assert found.measured == pytest.approx(found.predicted, rel=1e-3)
    assert found.measured.max() > 100 * found.measured.min()
    assert found.change.max() < 1e-13
    assert found.adaptive == pytest.approx(found.adaptive[6], rel=1e-8)
    assert found.relative == pytest.approx(found.relative[6], rel=1e-8)


def test_smooth_networks_of_values_have_no_margins_and_no_counter_example(tmp_path) -> None:
    config = Config(
        replicas=1,
        data=TaskConfig(name="function", points=20, test_points=20),
        model=ModelConfig(hidden=(4,), activation="tanh"),
        training=Recipe(lr=0.01, epochs=5),
        vary="training.lr",
        values=(0.01, 0.001),
        box_dimension=1000,
        samples=15,
    )
    run = execute("sharpness", config, tmp_path)
    found = load_findings(run)
    assert "no two layers that can be rescaled" in found.statements[-1]
    assert "margin" not in run.load("table").columns
    assert "measures" in [figure.name for figure in found.figures]


def test_measured_on_is_the_bare_loss_on_the_same_samples() -> None:
    import torch

    config = TINY.model_copy(update={"l2": 0.1, "samples": 20})
    setup = build(config, load(config.data, torch.float32))
    one, other = measured_on(config, setup), measured_on(config, setup)
    assert (one.samples, one.l2) == (20, 0.0)
    theta = one.theta
    assert one.value(theta) == other.value(theta)
    assert setup.objective.l2 == 0.1


def test_normalisation_layers_take_the_statistics_of_each_theta(tmp_path) -> None:
    model = ModelConfig(kind="cnn", channels=(2,), batchnorm=True, head="average")
    config = TINY.model_copy(update={"model": model, "values": (30,), "replicas": 1})
    run = execute("sharpness", config, tmp_path)
    found = load_findings(run)
    columns = run.load(next(name for name in run.results if name.startswith("measured"))).columns
    assert "path_norm" not in columns
    assert found.numbers["lambda_max"] > 0
    assert isinstance(found.tables["Settings"][0]["SAM sharpness"], float)


def test_rough_eigenvalues_and_maxima_are_told(finished) -> None:
    parts = [finished.load(name) for name in finished.results if name.startswith("measured-")]
    table = pl.concat(parts).with_columns(network=pl.lit("MLP"), task=pl.lit("digits"), samples=60, distance=1.0)
    spoilt = table.with_columns(unconverged=pl.lit(1.0), lambda_min=-2 * pl.col("lambda_max"))
    warnings = merge(TINY, spoilt).warnings
    assert "10 of 10 networks: extreme eigenvalues short of their tolerance." in warnings
    assert any("a negative eigenvalue larger in modulus than λmax" in warning for warning in warnings)
