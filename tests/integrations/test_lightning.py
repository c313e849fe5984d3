from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thalweg import integrations
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.training import instruments

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:The '\w+_dataloader' does not have many workers"),
    pytest.mark.filterwarnings(r"ignore:The number of training batches \(\d+\) is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
]

X = torch.linspace(-1, 1, 48).reshape(24, 2)
Y = torch.arange(24) % 3


@cache
def network(module: type) -> type:
    """Dropout, BatchNorm and momentum: whatever disturbs the training shows in its numbers."""

    class Net(module):
        def __init__(self, lr: float = 0.1, fails_at: int = -1) -> None:
            super().__init__()
            self.save_hyperparameters()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3))
            self.losses: list[float] = []
            self.validated: list[tuple[int, float]] = []

        def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
            if self.global_step == self.hparams["fails_at"]:
                raise ZeroDivisionError("a bad batch")
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.losses.append(loss.item())
            self.log("train_noise", float(number), on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("val_loss", loss)
            if not self.trainer.sanity_checking:
                self.validated.append((self.global_step, loss.item()))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=0.9)

    return Net


class Fit:
    """Trains with callbacks."""

    def __init__(self, library: Any, folder: Path) -> None:
        self.library, self.folder = library, folder

    def __call__(self, *callbacks: Any, main: bool = True, **settings: Any) -> Any:
        model = network(self.library.LightningModule)(**settings)
        data = TensorDataset(X, Y)
        kind = type("Trainer", (self.library.Trainer,), {} if main else {"is_global_zero": False})
        trainer = kind(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            callbacks=list(callbacks),
            accumulate_grad_batches=2,
            default_root_dir=self.folder,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, DataLoader(data, 6, shuffle=True), DataLoader(data, 24))
        return model


@pytest.fixture
def fit(lightning: Any, tmp_path: Path) -> Fit:
    return Fit(lightning, tmp_path)


def theta(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_training_is_recorded_and_is_the_same_as_without(fit: Fit, tmp_path: Path) -> None:
    plain = fit()
    objective = Objective(copy.deepcopy(plain.net).eval(), nn.CrossEntropyLoss(), (X, Y))
    measure = {"sharpness": (instruments.sharpness(objective), 2)}
    callback = integrations.LightningRecorder(tmp_path / "runs" / "mine", every=3, measure=measure, model="net")
    model = fit(callback)
    assert torch.equal(theta(plain), theta(model))
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), model.buffers(), strict=True))
    run = callback.run
    assert run.state == "complete"
    assert run.config == {
        "accumulate_grad_batches": 2,
        "fails_at": -1,
        "gradient_clip_val": None,
        "lr": 0.1,
        "precision": "32-true",
    }
    recording = run.recording()
    assert recording.steps.tolist() == [0, 3, 4]  # four batches in an epoch, two of them make a step
    assert recording.epochs.tolist() == [0, 1.5, 2]
    assert torch.equal(run.snapshots[-1, 0], theta(model))
    rows = run.metrics
    pairs = torch.tensor(plain.losses).reshape(4, 2).mean(1)
    assert rows["loss"].to_list()[1:] == pytest.approx(pairs.tolist(), rel=1e-6)
    assert [(row["step"], row["val_loss"]) for row in rows.iter_rows(named=True) if row["val_loss"] is not None] == [
        (step, pytest.approx(value)) for step, value in model.validated
    ]
    assert rows["train_noise_step"].to_list()[1:] == [1, 3, 1, 3]
    assert rows["train_noise_epoch"].to_list() == [None, None, 1.5, None, 1.5]
    assert rows["sharpness"].is_not_null().to_list() == [True, False, True, False, True]
    here = objective.with_buffers({name: one[0] for name, one in run.snapshots.buffers(-1).items()})
    largest = float(torch.linalg.eigvalsh(here.double().hessian(run.snapshots[-1, 0].double()))[-1])
    assert rows["sharpness"][-1] == pytest.approx(largest, rel=1e-2)


def test_a_training_that_fails_keeps_what_there_is(fit: Fit, tmp_path: Path) -> None:
    callback = integrations.LightningRecorder(tmp_path / "runs" / "mine")
    with pytest.raises(ZeroDivisionError):
        fit(callback, fails_at=3)
    assert callback.run.state == "failed"
    assert callback.run.recording().steps.tolist() == [0, 1, 2, 3]


def test_only_the_main_process_writes(fit: Fit, tmp_path: Path) -> None:
    callback = integrations.LightningRecorder(tmp_path / "runs" / "mine")
    fit(callback, main=False)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(InputError, match="run is known to the process that writes"):
        _ = callback.run


def test_bad_use(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run is known once training has begun"):
        _ = integrations.LightningRecorder(tmp_path / "runs" / "mine").run
    with pytest.raises(InputError, match="model must name a submodule of Net, found 'nut'"):
        fit(integrations.LightningRecorder(tmp_path / "runs" / "mine", model="nut"))
    assert not (tmp_path / "runs").exists()
