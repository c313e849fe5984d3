"""The experiment `zero-gradient`: certificates against numpy, honest words, and the faults of the classic scripts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.experiments import Findings, execute, override
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.zero_gradient.config import PRESETS, Config
from thalweg.experiments.zero_gradient.measure import narrower
from thalweg.figures import Figure, Line, Scatter
from thalweg.models import build
from thalweg.objective import Objective
from thalweg.runs import Run
from thalweg.tasks import load

TINY = PRESETS["tiny"]


def done(config: Config, root: Path) -> tuple[Run, Findings]:
    run = execute("zero-gradient", config, root)
    return run, load_findings(run)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Findings]:
    return done(TINY, tmp_path_factory.mktemp("tiny"))


def figure(found: Findings, name: str) -> Figure:
    return next(one for one in found.figures if one.name == name)


def plain(config: Config, theta: torch.Tensor, l2: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss, gradient and Hessian by plain autograd on the loss of all data, float64."""
    x, y = (part.double() for part in load(config.data).train)
    model = build(config.model, (1,), 1).double()
    names = [(name, p.shape, p.numel()) for name, p in model.named_parameters()]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = torch.split(flat, [size for _, _, size in names])
        values = {name: part.reshape(shape) for (name, shape, _), part in zip(names, parts, strict=True)}
        output = torch.func.functional_call(model, values, (x,))
        return (output - y).square().mean() + 0.5 * l2 * flat.square().sum()

    hessian = torch.autograd.functional.hessian(loss, theta)
    flat = theta.clone().requires_grad_()
    value = loss(flat)
    return value.item(), torch.autograd.grad(value, flat)[0].numpy(), hessian.numpy()


def rows(found: Findings, start: str) -> list[dict[str, object]]:
    return [row for row in found.tables["points"] if str(row["point"]).startswith(start)]


@pytest.mark.parametrize(
    ("start", "result", "l2"),
    [("end point", "end-points", 0.0), ("minimum", "minima", 1e-3), ("index-1", "index-1", 1e-3)],
)
def test_every_row_is_what_plain_autograd_finds(tiny: tuple[Run, Findings], start: str, result: str, l2: float) -> None:
    """Ratio, loss and gradient belong to one and the same θ, on the training data, in float64."""
    run, found = tiny
    chunks = sorted(name for name in run.results if re.fullmatch(rf"{result}-\d+", name))
    theta = torch.cat([run.load(name).theta for name in chunks])
    found_rows = rows(found, start)
    assert 0 < len(found_rows) <= len(theta)
    for row, point in zip(found_rows, theta[: len(found_rows)], strict=True):
        loss, gradient, hessian = plain(TINY, point, l2)
        values = np.linalg.eigvalsh(hessian)
        assert row["loss"] == pytest.approx(loss, rel=1e-9)
        assert row["‖∇L‖₂"] == pytest.approx(np.linalg.norm(gradient), rel=1e-6, abs=1e-13)
        assert row["λ > 0"] == pytest.approx((values > 0).mean())
        if row["minimal ratio"] is not None:
            assert row["positive"] == (values > row["band"]).sum()
            assert row["negative"] == (values < -row["band"]).sum()


def test_the_answer_comes_first_and_the_rest_is_short(tiny: tuple[Run, Findings]) -> None:
    _, found = tiny
    assert found.statements[0].startswith("None of the 4 end points")
    assert "4 × minimum" in found.statements[0]
    assert len(found.statements) <= 6
    assert found.figures[0].name == "minimal-ratio"
    assert {row["searches"] for row in found.tables["searches"]} == {
        "end point",
        "minimum",
        "index-1 search",
        "embedded",
    }


def test_points_that_are_not_critical_have_no_minimal_ratio(tiny: tuple[Run, Findings]) -> None:
    """Gradient-norm descent stopped at ‖g‖ far from zero is never given a bare ratio."""
    _, found = tiny
    ends = rows(found, "end point")
    assert len(ends) == 4
    for row in ends:
        assert row["‖∇L‖₂"] > 1e-10
        assert row["status"] in ("descending", "gradient-flat")
        assert row["minimal ratio"] is None
        assert "not critical" in str(row["message"])
    labels = {mark.label for mark in figure(found, "minimal-ratio").panels[0].marks if isinstance(mark, Scatter)}
    assert labels
    assert all(label.startswith("not critical") for label in labels)
    assert any("do not read the share" in warning for warning in found.warnings)


def test_certified_points_are_what_they_are_called(tiny: tuple[Run, Findings]) -> None:
    run, found = tiny
    assert found.numbers["minimum_certified"] == 4
    for name in ("minima-00000", "minima-00002"):
        for point in run.load(name).theta:
            _, gradient, hessian = plain(TINY, point, TINY.decay)
            assert np.linalg.norm(gradient) < 1e-10
            assert np.linalg.eigvalsh(hessian).min() > 0
    saddles = [row for row in found.tables["points"] if row["status"] == "saddle"]
    assert saddles
    assert all(row["negative"] > 0 and row["h"] < 0.25 for row in saddles)


def test_a_click_shows_certificate_and_spectrum(tiny: tuple[Run, Findings]) -> None:
    _, found = tiny
    drawn = figure(found, "minimal-ratio")
    details = {detail.key: detail for detail in drawn.details}
    keys = {key for panel in drawn.panels for mark in panel.marks if isinstance(mark, Scatter) for key in mark.keys}
    assert keys <= details.keys()
    everywhere = {detail.key for one in found.figures for detail in one.details}
    assert everywhere == {row["point"] for row in found.tables["points"]}
    detail = details["minimum 1"]
    assert {"‖θ‖", "zero band", "Newton–Kantorovich h (below ¼ to certify)"} <= dict(detail.facts).keys()
    assert sum(len(mark.y) for mark in detail.figure.panels[0].marks if isinstance(mark, Scatter)) == 13
    assert dict(details["end point 1"].facts)["minimal ratio"] == "none: the point is not critical"


def test_second_phase_goes_on_where_training_stopped(tiny: tuple[Run, Findings]) -> None:
    """The first gradient norm of the second phase is that of the last weights of training, of all data."""
    run, _ = tiny
    history = torch.stack([norm for _, norm in run.load("end-points-00000").history], 1)
    for replica, theta in enumerate(run.snapshots[-1, :2]):
        _, gradient, _ = plain(TINY, theta.double(), 0.0)
        assert history[replica, 0].item() == pytest.approx(np.linalg.norm(gradient), rel=1e-9)
    assert bool((history[:, -1] < history.amax(1)).all()), "the second phase is no no-op"


def test_trainings_are_independent(tiny: tuple[Run, Findings]) -> None:
    """Trainings, not the epochs of one of them: every replica has its own start, the same as if it were alone."""
    run, _ = tiny
    starts = run.snapshots[0]
    assert len(torch.unique(starts, dim=0)) == TINY.replicas
    model = build(TINY.model, (1,), 1)
    objective = Objective(model, torch.nn.MSELoss(), load(TINY.data).train)
    for replica, start in enumerate(starts):
        torch.testing.assert_close(start, objective.initial(1, TINY.seed, first=replica)[0])


def test_without_decay_it_says_that_nothing_is_within_reach(tiny: tuple[Run, Findings]) -> None:
    _, found = tiny
    sentence = next(text for text in found.warnings if text.startswith("Without weight decay"))
    assert "‖θ‖ goes from" in sentence
    assert "steps the loss goes to" in sentence


def test_constant_predictors_are_named(tmp_path: Path) -> None:
    """A training that stops at once is no better than a constant: dots at the variance of the target."""
    config = override(TINY, {"training.steps": 0, "norm_steps": 1500, "norm_lr": 0.01, "saddles": 0, "narrower": 0})
    run, found = done(config, tmp_path)
    _, y = load(config.data, torch.float64).train
    outputs = [row for row in rows(found, "end point") if row["kind"] == "constant predictor"]
    assert outputs, "minimising the norm from the start ends at the constant for some"
    assert all(row["loss"] == pytest.approx(float(y.var(correction=0)), rel=0.05) for row in outputs)
    assert found.numbers["end_points_dead"] == len(outputs)
    assert any("no better than the best constant" in text for text in found.warnings)
    assert run.state == "complete"


@pytest.mark.parametrize("method", ["lbfgs", "levenberg"])
def test_other_methods(method: str, tmp_path: Path) -> None:
    config = override(TINY, {"method": method, "norm_steps": 15, "replicas": 2, "saddles": 0, "narrower": 0})
    run, found = done(config, tmp_path)
    history = torch.stack([norm for _, norm in run.load("end-points-00000").history], 1)
    assert bool((history[:, -1] < history[:, 0]).all())
    assert {"lbfgs": "by L-BFGS", "levenberg": "by Levenberg–Marquardt"}[method] in found.statements[-1]


def test_piecewise_linear_networks_are_warned_of(tmp_path: Path) -> None:
    config = override(TINY, {"model.activation": "relu", "saddles": 0, "norm_steps": 5, "replicas": 2})
    _, found = done(config, tmp_path)
    assert any("piecewise linear" in warning for warning in found.warnings)
    assert any("no embedded saddles" in warning for warning in found.warnings)


def test_an_index_beyond_the_parameters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"indices must be at most the number of parameters \(13\), found 14"):
        execute("zero-gradient", override(TINY, {"indices": [14]}), tmp_path)


def test_bad_input_is_named() -> None:
    for change, sentence in [
        ({"indices": [1, 1]}, "indices must be different"),
        ({"radii": []}, "radii must"),
        ({"method": "newton"}, "method must be"),
        ({"decay": -1.0}, "decay must be greater than or equal to 0"),
        ({"method": "lbfgs", "norm_lr": 0.1}, "norm_lr applies to method 'adam' only, found method 'lbfgs' with 0.1"),
        ({"saddles": 0, "saddle_after": 7}, "saddle_after applies to searches of saddles only"),
    ]:
        with pytest.raises(InputError, match=sentence):
            override(TINY, change)


def test_narrower_networks_spread_from_wide_to_narrow() -> None:
    assert narrower((10, 10), 5)[0] == (9, 10)
    assert narrower((10, 10), 5)[-1] == (1, 1)
    assert len(narrower((10, 10), 5)) == 5
    assert (3, 3) not in narrower((3, 3), 100)


def test_the_landscape_joins_saddles_with_lower_minima(tiny: tuple[Run, Findings]) -> None:
    """Lines lead from saddles down to minima, and minima that only walks have met are in the table, certified."""
    run, found = tiny
    drawn = figure(found, "landscape").panels[0]
    dots = [mark for mark in drawn.marks if isinstance(mark, Scatter)]
    assert sum(len(mark.x) for mark in dots) == found.numbers["landscape_saddles"] + found.numbers["landscape_minima"]
    line = next(mark for mark in drawn.marks if isinstance(mark, Line))
    assert len(line.x) % 3 == 0
    assert len(line.x) > 0
    assert bool((np.rint(line.x[0::3]) >= 1).all())
    assert bool((np.rint(line.x[1::3]) == 0).all())
    assert bool((line.y[0::3] > line.y[1::3]).all())
    ends = run.load("downhill-00000")
    assert len(ends.ends) <= 2 * TINY.downhill * TINY.chunk
    for point in ends.ends.theta:
        _, gradient, hessian = plain(TINY, point, TINY.decay)
        assert np.linalg.norm(gradient) < 1e-10
        assert np.linalg.eigvalsh(hessian).min() > 0
    assert len(rows(found, "downhill")) == found.numbers["landscape_minima_met"]
    keys = {key for mark in dots for key in mark.keys}
    assert keys == {detail.key for detail in figure(found, "landscape").details}
    assert keys <= {row["point"] for row in found.tables["points"]}
    assert any("downhill from" in text for text in found.statements)


def test_without_walks_there_is_no_landscape(tmp_path: Path) -> None:
    few = {"downhill": 0, "norm_steps": 5, "replicas": 2, "narrower": 0, "saddles": 1}
    _, found = done(override(TINY, few), tmp_path)
    assert all(one.name != "landscape" for one in found.figures)
    assert not any("downhill" in text for text in found.statements)
