from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.training import Recorder, instruments

STEPS = 7


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(24, 5, generator=generator), torch.arange(24) % 3


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))


def trained(step: Callable[..., Any], model: nn.Module, autocast: bool) -> list[Any]:
    """A loop with everything that a measurement might disturb; returns all that it left behind."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global generator is what a loop may use
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    seen: list[Any] = []
    model.register_forward_hook(lambda module, args, output: seen.append(output.detach().sum().item()))
    for _ in range(STEPS):
        rows = torch.randperm(24)[: 8 + random.randrange(4) + np.random.randint(4)]  # noqa: NPY002
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            step(loss=loss)  # within autocast, and before the gradients are set to zero
            seen += [torch.is_autocast_enabled("cpu"), torch.is_grad_enabled(), model.training]
        seen += [p.grad.clone() for p in model.parameters()]
        optimizer.zero_grad()
    seen += [value.clone() for value in model.state_dict().values()]
    seen += [state["momentum_buffer"] for state in optimizer.state.values()]
    legacy = np.random.get_state()[1].tolist()  # noqa: NPY002
    return [*seen, torch.get_rng_state(), random.getstate(), legacy, torch.get_num_threads()]


def rude(model: nn.Module) -> Callable[[nn.Module], float]:
    """An instrument without manners: it works on the model that is trained instead of the one that it is given."""

    def instrument(_: nn.Module) -> float:
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        x, y = data()
        model.train()
        nn.functional.cross_entropy(model(x), y).backward()
        torch.optim.SGD(model.parameters(), lr=1.0).step()
        model.zero_grad()
        model.eval().requires_grad_(False)
        model.register_forward_hook(lambda *_: torch.zeros(24, 3))
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("medium")
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        return 1.0

    return instrument


def fails(_: nn.Module) -> float:
    torch.manual_seed(5)
    raise ZeroDivisionError("no such number")


def chosen(kind: str, model: nn.Module) -> dict[str, Any]:
    objective = Objective(network().eval(), nn.CrossEntropyLoss(), data())
    x, y = data()
    return {
        "ready": {
            "sharpness": (instruments.sharpness(objective), 2),
            "trace": (instruments.hessian_trace(objective), 3),
            "gradient_norm": instruments.gradient_norm(objective),
            "distance": instruments.distance_from(model),
            "all": instruments.loss(objective),
        },
        "on the model": {"loss": lambda copy: nn.functional.cross_entropy(copy(x), y)},
        "rude": {"rude": rude(model)},
        "fails": {"broken": (fails, 2)},
    }[kind]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return one == other


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("kind", ["ready", "on the model", "rude", "fails"])
def test_a_loop_is_the_same_bit_by_bit_with_and_without(kind: str, autocast: bool, tmp_path: Path) -> None:
    plain = trained(lambda **_: None, network(), autocast)
    model = network()
    measure = chosen(kind, model)
    model.load_state_dict(network().state_dict())  # also sets the generator as it was
    with Recorder(tmp_path / "mine", model, every=3, measure=measure) as recorder:
        found = trained(lambda loss: recorder.step(train=loss), model, autocast)
    assert [k for k, (one, other) in enumerate(zip(plain, found, strict=True)) if not equal(one, other)] == []


def test_ready_instruments_against_the_dense_hessian(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, y = data()
    objective = Objective(model.eval(), nn.CrossEntropyLoss(), (x.double(), y))
    measure = {
        "sharpness": (instruments.sharpness(objective, tolerance=1e-8), 4),
        "trace": (instruments.hessian_trace(objective, products=100), 4),
        "gradient": (instruments.gradient_norm(objective), 4),
        "full": (instruments.loss(objective), 4),
        "distance": (instruments.distance_from(model), 4),
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with Recorder(tmp_path / "mine", model.train(), every=4, measure=measure) as recorder:
        for _ in range(9):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.double()), y).backward()
            optimizer.step()
            recorder.step()
    assert caplog.records == []  # the statistics of the step are taken over, silently
    rows, shots = recorder.run.metrics, recorder.run.snapshots
    assert rows["step"].to_list() == recorder.run.recording().steps.tolist() == [0, 4, 8, 9]
    for k, row in enumerate(rows.iter_rows(named=True)):
        theta, buffers = shots[k, 0], {name: value[0] for name, value in shots.buffers(k).items()}
        here = objective.with_buffers(buffers)
        values = torch.linalg.eigvalsh(here.hessian(theta))
        assert row["sharpness"] == pytest.approx(float(values[-1]), rel=1e-6)
        assert row["sharpness_error"] < 1e-6 * row["sharpness"]
        assert row["trace"] == pytest.approx(float(values.sum()), rel=1e-6)
        assert row["gradient"] == pytest.approx(float(here.gradient(theta).norm()), rel=1e-9)
        assert row["full_loss"] == pytest.approx(float(here.value(theta)), rel=1e-9)
        assert 0 <= row["full_accuracy"] <= 1
        assert row["distance"] == pytest.approx(float((theta - shots[0, 0]).norm()), rel=1e-9, abs=1e-12)


def test_each_at_its_own_cadence_with_the_metrics_of_the_step(tmp_path: Path) -> None:
    model, calls = nn.Linear(2, 1), []
    measure = {
        "a": (lambda _: (calls.append(1), 2.0)[1], 2),
        "b": lambda _: {"x": 1, "y": (2.0, 0.5)},
        "c": lambda _: None,
    }
    with Recorder(tmp_path / "mine", model, every=3, measure=measure) as recorder:
        for step in range(1, 6):
            recorder.step(loss=float(step))
    rows = recorder.run.metrics
    assert rows["step"].to_list() == list(range(6))
    assert rows["loss"].to_list() == [None, 1, 2, 3, 4, 5]
    assert rows["a"].to_list() == [2, None, 2, None, 2, 2]
    assert len(calls) == 4
    assert rows["b_y_error"].to_list() == [0.5, None, None, 0.5, None, 0.5]
    assert math.isnan(rows["c"].to_list()[0])
    assert recorder.run.recording().meta["measure"] == {"a": 2, "b": 3, "c": 3}


def test_a_failure_is_said_once_and_kept_in_the_status(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    measure = {"broken": (fails, 1), "text": (lambda _: "high", 2), "good": lambda _: 1.0}
    with caplog.at_level(logging.WARNING), Recorder(tmp_path / "mine", nn.Linear(2, 1), measure=measure) as recorder:
        for _ in range(3):
            recorder.step(loss=1.0)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "'broken' could not be measured at step 0: no such number" in said[0]
    assert "'text' could not be measured at step 0: what measures 'text' must be a number, found 'high'" in said[1]
    (status,) = recorder.run.recording().status
    assert status["status"] == "completed"
    assert "'broken' could not be measured" in status["message"]
    assert recorder.run.metrics["good"].to_list() == [1.0] * 4
    assert "broken" not in recorder.run.metrics.columns


def test_replicas_have_instruments_of_their_own(tmp_path: Path) -> None:
    with Recorder(tmp_path / "mine", replicas=2, measure={"norm": lambda m: m.weight.norm()}) as recorder:
        for r in range(2):
            model = nn.Linear(2, 1)
            track = recorder.replica(r, model, measure={"distance": instruments.distance_from(model)} if r else None)
            with torch.no_grad():
                model.weight.add_(1.0)
            track.step()
    rows = recorder.run.metrics.filter(step=1)
    assert math.isnan(rows["norm"][1])
    assert rows["distance"][1] == pytest.approx(math.sqrt(2), rel=1e-6)
    assert rows["norm"][0] == pytest.approx(float(recorder.run.snapshots[-1, 0][:2].norm()), rel=1e-6)


def test_what_is_no_instrument(tmp_path: Path) -> None:
    for measure, sentence in (
        (3, "measure must map names to instruments, found 3"),
        ({"a": 3}, r"measure\['a'\] must be an instrument or \(instrument, every\), found 3"),
        ({"a": (fails, 0)}, r"every of measure\['a'\] must be at least 1, found 0"),
        ({"a": (fails, 1.5)}, r"every of measure\['a'\] must be a whole number, found 1.5"),
        ({"step": fails}, "a name in measure must be text other than epoch, recording, replica, step, found 'step'"),
    ):
        with pytest.raises(InputError, match=sentence):
            Recorder(tmp_path / "mine", nn.Linear(2, 1), measure=measure)
    assert list(tmp_path.iterdir()) == []
    recorder = Recorder(tmp_path / "mine", nn.Linear(2, 1), measure={"loss": lambda _: 1.0})
    with recorder, pytest.raises(InputError, match="metric 'loss' must have a name of its own, found one of measure"):
        recorder.step(loss=1.0)
