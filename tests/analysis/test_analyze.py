"""Every number of an analysis is that of its instrument, and of slow, obviously correct code."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests import reference
from thalweg import analysis, checkpoints, curvature, generalization
from thalweg.analysis import analyze, analyzing
from thalweg.analysis.costs import Costs
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.runs import Run


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Softplus(), nn.Flatten(), nn.Linear(8, 3)).eval()


def images(samples: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(samples, 1, 4, 4, generator=generator), torch.arange(samples) % 3


@pytest.fixture(scope="module")
def objective() -> Objective:
    return Objective(net(), nn.CrossEntropyLoss(), images(), l2=1e-3)


@pytest.fixture(scope="module")
def found(objective: Objective) -> analysis.Analysis:
    return analyze(objective, minutes=None, test=objective.with_data(images(12)))


def test_numbers_are_those_of_plain_pytorch(objective: Objective, found: analysis.Analysis) -> None:
    exact = objective.double()
    model, (x, y) = exact.module(exact.theta), images()
    outputs = model(x.double())
    loss = nn.functional.cross_entropy(outputs, y)
    penalty = 0.5e-3 * sum(p.square().sum() for p in model.parameters())
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss + penalty, list(model.parameters()))])
    correct = outputs.gather(1, y[:, None])[:, 0]
    others = outputs.masked_fill(nn.functional.one_hot(y, 3).bool(), -math.inf).amax(1)
    expected = {
        "loss": loss,
        "accuracy": (outputs.argmax(1) == y).double().mean(),
        "objective": loss + penalty,
        "gradient norm": gradient.norm(),
        "margin, 10th percentile": torch.quantile(correct - others, 0.1),
        "‖θ‖₂": exact.theta.norm(),
    }
    for name, value in expected.items():
        assert found.number(name).value == pytest.approx(float(value.detach()), rel=1e-9), name


def test_curvature_is_that_of_the_whole_hessian(objective: Objective, found: analysis.Analysis) -> None:
    exact = objective.double()
    matrix = reference.hessian(exact, exact.theta)
    values = torch.linalg.eigvalsh(matrix)
    for name, value in (("λmax", values[-1]), ("λ2", values[-2]), ("λmin", values[0])):
        number = found.number(name)
        assert abs(number.value - float(value)) <= number.error + 1e-9, name
    assert found.number("trace").value == pytest.approx(float(matrix.trace()), rel=1e-9)  # P products: exact
    counted = curvature.minimal_ratio(exact, exact.theta)
    for word in ("positive", "negative", "undecided"):
        assert found.number(f"{word} eigenvalues").value == float(getattr(counted, word))
    rows = found["curvature"].rows
    diagonal = matrix.diagonal()
    for layer, value, error in zip(rows["layer"], rows["trace of the block"], rows["error"], strict=True):
        own = sum(
            float(diagonal[place].sum()) for name, place in exact.layout.slices.items() if name.startswith(f"{layer}.")
        )
        assert abs(value - own) <= 5 * error + 1e-9, layer


def test_measures_are_those_of_the_instruments(objective: Objective, found: analysis.Analysis) -> None:
    exact = objective.double()
    theta = exact.theta
    expected = {
        "SAM sharpness": generalization.sam_sharpness(exact, theta),
        "ASAM sharpness": generalization.asam_sharpness(exact, theta),
        "average sharpness": generalization.average_sharpness(exact, theta, scale="relative").mean,
        "sensitivity": generalization.sensitivity(exact, theta).mean,
        "product of spectral norms": generalization.spectral_product(exact, theta),
        "product of Frobenius norms": generalization.frobenius_product(exact, theta),
    }
    for name, value in expected.items():
        assert found.number(name).value == pytest.approx(float(value), rel=1e-9), name
    plane = found["around"].results[0]
    assert plane.at_center("loss") == pytest.approx(found.number("loss").value, rel=1e-9)


def test_what_an_instrument_cannot_measure_is_a_sentence(found: analysis.Analysis) -> None:
    assert any(sentence.startswith("Path norm: path_norm needs a model without norm") for sentence in found.omissions)
    with pytest.raises(InputError, match="found 'path norm'"):
        found.number("path norm")


def test_it_is_saved_and_reported(found: analysis.Analysis, tmp_path: Path) -> None:
    file = found.save(tmp_path / "found.safetensors")
    assert analysis.Analysis.load(file) == found
    page = found.write(tmp_path / "found.html").read_text()
    for words in ("Gradient norm by layer", "Density of the eigenvalues", "λmax", "Path norm: path_norm needs"):
        assert words in page
    assert found.summary().count(". ") < 5


def test_checkpoints_are_measured_with_their_own_statistics(tmp_path: Path) -> None:
    data = images()
    for step in (1, 2, 10):
        model = net(step).train()
        model(3.0 * step + data[0])
        torch.save(model.state_dict(), tmp_path / f"{step}.pt")
    objective = Objective(net(), nn.CrossEntropyLoss(), data)
    found = analyze(objective, checkpoints.load(objective, tmp_path), minutes=None)
    walk, along = found["path"].results
    losses = []
    for step in (1, 2, 10):
        model = net()
        model.load_state_dict(torch.load(tmp_path / f"{step}.pt", weights_only=True))
        model = model.double().eval()
        losses.append(float(nn.functional.cross_entropy(model(data[0].double()), data[1]).detach()))
        sharp = torch.linalg.eigvalsh(_plain_hessian(model, data))[-1]
        place = along.columns["number"].index(float(step))
        assert along.columns["λmax"][place] == pytest.approx(float(sharp), rel=0.02)
    assert along.columns["loss"] == pytest.approx(losses, rel=1e-9)
    assert found.number("loss").value == pytest.approx(losses[-1], rel=1e-9)
    assert walk.steps == (1, 2, 10)
    torch.testing.assert_close(walk.off_plane, torch.zeros(3).double(), atol=1e-6, rtol=0)  # three points span a plane


def _plain_hessian(model: nn.Module, data: tuple[Tensor, Tensor]) -> Tensor:
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    theta = nn.utils.parameters_to_vector(model.parameters()).detach()

    def loss(flat: Tensor) -> Tensor:
        parts = [piece.reshape(s) for piece, s in zip(flat.split([s.numel() for s in shapes]), shapes, strict=True)]
        state = {**dict(model.named_buffers()), **dict(zip(names, parts, strict=True))}
        return nn.functional.cross_entropy(torch.func.functional_call(model, state, (data[0].double(),)), data[1])

    return torch.autograd.functional.hessian(loss, theta)


def test_a_regression(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    objective = Objective(model, nn.MSELoss(), (torch.randn(30, 3), torch.randn(30, 1)))
    found = analyze(objective, minutes=None)
    assert any("Margins: margins need outputs (N, C)" in sentence for sentence in found.omissions)
    assert found.number("path norm").value > 0
    found.write(tmp_path / "a.html")


def test_a_loss_of_ones_own_on_batches() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    data = {"x": torch.randn(30, 3), "y": torch.arange(30) % 2}

    def loss(net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(net(batch["x"]), batch["y"])

    found = analyze(Objective(model, loss, data, loss_on="batch"), minutes=None)
    assert {part.key for part in found.parts} == {"point", "curvature", "around", "robustness"}
    assert any(sentence.startswith("Sensitivity: ") for sentence in found.omissions)


def test_a_loss_without_second_derivatives() -> None:
    """The curvature is a sentence, and everything else goes on."""

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(self.layer(x))

    torch.manual_seed(0)
    found = analyze(Objective(Net(), nn.MSELoss(), (torch.randn(20, 3), torch.randn(20, 1))), minutes=0.5)
    assert "curvature" not in {part.key for part in found.parts}
    assert {"point", "around", "robustness"} <= {part.key for part in found.parts}
    assert any(sentence.startswith("Curvature: ") and "twice" in sentence for sentence in found.omissions), (
        found.omissions
    )


SLOW = Costs((0.0, 0.05), (0.0, 0.1), (0.0, 0.3), samples=40, cut=True, size=49, precise=True)


def test_a_slow_model_is_measured_on_fewer_samples_with_fewer_products(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Costs say that a product takes 12 s: what is spent is what was planned, and it is said what was left out."""
    monkeypatch.setattr(analyzing, "measured", lambda *args: SLOW)
    found = analyze(objective, minutes=10)
    stage = found.plan["curvature"]
    assert found.plan.seconds < 600
    assert stage.samples < 40
    planned = 600 * 0.85 / SLOW.product[1]  # products times samples that all the time is worth
    spent = found["curvature"].spent["products"] * stage.samples
    assert 0.02 * planned < spent < planned
    assert any(f"{stage.samples} of 40 samples" in sentence for sentence in found.omissions)
    full = analyze(objective, minutes=None)
    assert found["curvature"].spent["products"] < full["curvature"].spent["products"]


def test_a_run_keeps_every_stage(objective: Objective, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "test"}
    run = Run.create(tmp_path, "analysis", {}, **origin)

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, run.writing():
        patch.setattr(analyzing, "robustness", interrupted)
        with pytest.raises(KeyboardInterrupt):
            analyze(objective, minutes=0.2, run=run)
    assert {"plan", "point", "curvature", "around"} <= set(run.results)
    kept = run.load("curvature")
    with monkeypatch.context() as patch, run.writing():
        patch.setattr(analyzing, "curvature", interrupted)
        found = analyze(objective, minutes=0.2, run=run)
    assert found["curvature"] == kept


@pytest.mark.parametrize(("minutes", "words"), [(0, "minutes must be positive, found 0"), (-1, "found -1")])
def test_minutes(objective: Objective, minutes: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        analyze(objective, minutes=minutes)
