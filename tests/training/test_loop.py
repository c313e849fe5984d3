"""Stacked training against plain PyTorch loops, one replica against a hundred, and what happens when one goes wrong."""

from __future__ import annotations

import copy
import logging
import math
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.seeds import generator
from thalweg.runs import MemoryRecording
from thalweg.training import Cadence, Recipe, loop, train

EVERY_STEP = Cadence(every=1, unit="step")


def mlp(*, dropout: float = 0.0) -> nn.Module:
    middle = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), *middle, nn.Linear(5, 4)).double().eval()


def data(samples: int = 23) -> tuple[torch.Tensor, torch.Tensor]:
    chooser = torch.Generator().manual_seed(5)
    x = torch.randn(samples, 3, generator=chooser, dtype=torch.float64)
    return x, torch.randint(4, (samples,), generator=chooser)


def objective(**options) -> Objective:
    return Objective(mlp(), nn.CrossEntropyLoss(), data(), **options)


def plain(
    objective: Objective, theta: torch.Tensor, make, recipe: Recipe, replica: int, seed: int, per_epoch: int
) -> torch.Tensor:
    """θ after a loop as one writes it by hand: an unbatched model, zero_grad, backward, step."""
    model = objective.module(theta).train()
    optimizer = make(model.parameters())
    x, y = data()
    for step in range(recipe.total_steps(per_epoch)):
        index = torch.arange(len(x))
        if recipe.batch_size is not None:
            epoch, place = divmod(step, per_epoch)
            order = torch.randperm(len(x), generator=generator(seed, replica, f"order:{epoch}"), dtype=torch.int32)
            index = order[place * recipe.batch_size : (place + 1) * recipe.batch_size].long()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[index]), y[index])
        if objective.l2:
            loss = loss + 0.5 * objective.l2 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.param_groups[0]["lr"] = recipe.lr_at(step, per_epoch)
        optimizer.step()
    return objective.ravel(model)


OPTIMIZERS = {  # a recipe, and torch's own optimiser with its own names of the arguments
    "sgd": (Recipe(optimizer="sgd", lr=0.1, weight_decay=0.01, steps=30), torch.optim.SGD, {"weight_decay": 0.01}),
    "momentum": (Recipe(optimizer="momentum", lr=0.1, steps=30), torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (
        Recipe(optimizer="nesterov", lr=0.1, momentum=0.8, steps=30),
        torch.optim.SGD,
        {"momentum": 0.8, "nesterov": True},
    ),
    "adam": (Recipe(lr=0.01, weight_decay=0.01, steps=30), torch.optim.Adam, {"weight_decay": 0.01}),
    "adamw": (
        Recipe(optimizer="adamw", lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1, steps=30),
        torch.optim.AdamW,
        {"betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1},
    ),
    "rmsprop": (
        Recipe(optimizer="rmsprop", lr=0.01, momentum=0.5, smoothing=0.9, steps=30),
        torch.optim.RMSprop,
        {"momentum": 0.5, "alpha": 0.9},
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [None, 5])  # 23 samples: the last batch has 3
def test_each_replica_is_trained_as_a_plain_loop_would(name: str, batch_size: int | None) -> None:
    recipe, optimizer, options = OPTIMIZERS[name]
    recipe = recipe.model_copy(update={"batch_size": batch_size})
    target = objective()
    recording = train(target, recipe=recipe, replicas=3, seed=4)
    start = target.initial(3, 4)
    per_epoch = 1 if batch_size is None else 5

    def make(parameters) -> torch.optim.Optimizer:
        return optimizer(parameters, recipe.lr, **options)

    for replica in range(3):
        expected = plain(target, start[replica], make, recipe, replica, 4, per_epoch)
        torch.testing.assert_close(recording.snapshots[-1, replica], expected, rtol=1e-10, atol=1e-10)


def test_clipping_schedule_and_penalty_are_those_of_a_plain_loop() -> None:
    recipe = Recipe(optimizer="momentum", lr=0.3, clip=0.05, schedule="cosine", warmup=3, epochs=4, batch_size=10)
    target = objective(l2=0.02)
    recording = train(target, recipe=recipe, replicas=3)
    for replica in range(3):
        expected = plain(
            target, target.initial(3)[replica], lambda p: torch.optim.SGD(p, 0.3, momentum=0.9), recipe, replica, 0, 3
        )
        torch.testing.assert_close(recording.snapshots[-1, replica], expected, rtol=1e-10, atol=1e-10)


def test_metrics_are_those_of_theta_at_the_step() -> None:
    target = objective(l2=0.02)
    test = target.with_data(data(7))
    recording = train(
        target, recipe=Recipe(steps=5, record=EVERY_STEP), replicas=2, evaluate={"train": target, "test": test}
    )
    theta = recording.snapshots[:]  # (6, 2, P)
    table = recording.metrics
    assert table["step"].to_list() == [s for s in range(6) for _ in range(2)]
    value, gradient = target.value_and_gradient(theta)
    for column, expected in {
        "loss": value,
        "grad_norm": gradient.norm(dim=-1),
        "train_accuracy": target.metrics(theta)["accuracy"],
        "train_loss": target.metrics(theta)["loss"],
        "test_loss": test.metrics(theta)["loss"],
    }.items():
        torch.testing.assert_close(torch.tensor(table[column].to_list(), dtype=torch.float64), expected.flatten())


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("memory", [2**30, 400_000])  # the small one cuts replicas and samples
def test_replica_7_of_100_is_replica_7_alone(dropout: float, memory: int) -> None:
    target = Objective(mlp(dropout=dropout), nn.CrossEntropyLoss(), data(), memory=memory)
    recipe = Recipe(lr=0.01, batch_size=10, steps=12)
    many = train(target, recipe=recipe, replicas=100, seed=3)
    alone = train(target, recipe=recipe, seed=3, first=7)
    torch.testing.assert_close(many.snapshots[-1, 7], alone.snapshots[-1, 0], rtol=1e-10, atol=1e-12)
    assert not torch.allclose(many.snapshots[-1, 7], many.snapshots[-1, 8])


def test_full_batch_in_chunks_is_the_full_batch() -> None:
    recipe = Recipe(optimizer="sgd", lr=0.1, steps=10)
    for dropout in (0.0, 0.3):
        whole = Objective(mlp(dropout=dropout), nn.CrossEntropyLoss(), data())
        cut = Objective(mlp(dropout=dropout), nn.CrossEntropyLoss(), data(), memory=20_000)
        theta = whole.initial(5)
        torch.testing.assert_close(
            train(whole, theta, recipe).snapshots[-1], train(cut, theta, recipe).snapshots[-1], rtol=1e-10, atol=1e-12
        )


def test_one_replica_diverges_and_the_others_do_not_notice() -> None:
    x = torch.linspace(-1, 1, 16, dtype=torch.float64)[:, None]
    target = Objective(nn.Linear(1, 1).double(), F.mse_loss, (x, 3 * x))
    theta = target.initial(4)
    theta[2] = 1e154  # its loss is finite, that of the next step is not
    recipe = Recipe(optimizer="momentum", lr=0.5, batch_size=5, epochs=20, record=EVERY_STEP)
    recording = train(target, theta, recipe, evaluate={"train": target})
    assert [entry["status"] for entry in recording.status] == ["completed", "completed", "diverged", "completed"]
    bad = recording.status[2]
    assert bad["message"].endswith(f"no longer finite at step {bad['step']}")
    frozen = recording.snapshots[bad["step"] :, 2]
    assert (frozen == frozen[0]).all()
    assert frozen.isfinite().all()
    table = recording.metrics.filter(recording.metrics["replica"] == 2)
    for column in ("loss", "grad_norm", "train_loss"):
        values = table[column].to_list()
        assert len(values) == 81
        assert all(math.isnan(value) for value in values[bad["step"] + 1 :])
    for replica in (0, 1, 3):
        alone = train(target, theta[replica], recipe, first=replica)
        torch.testing.assert_close(recording.snapshots[:, replica], alone.snapshots[:, 0], rtol=1e-10, atol=1e-12)


def test_all_replicas_diverge_and_the_recording_is_still_whole() -> None:
    x = torch.ones(4, 1)
    target = Objective(nn.Linear(1, 1), F.mse_loss, (x, x))
    recording = train(
        target, recipe=Recipe(optimizer="sgd", lr=1e9, steps=50, record=Cadence(every=10, unit="step")), replicas=2
    )
    assert recording.snapshots.shape == (6, 2, 2)
    assert {entry["status"] for entry in recording.status} == {"diverged"}
    assert recording.snapshots[-1].isfinite().all()
    assert recording.metrics["loss"].is_nan()[-1]


class Interrupted(Exception):
    pass


class Fragile(MemoryRecording):
    """A recording that breaks off after a number of appends."""

    budget = 7

    def append(self, *arguments, **named) -> None:
        if self.budget == 0:
            raise Interrupted
        self.budget -= 1
        super().append(*arguments, **named)


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "rmsprop"])
def test_resuming_is_bitwise_exact(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.training.loop.COMMIT_SECONDS", 0.0)  # commit after every step
    target = Objective(mlp(dropout=0.3), nn.CrossEntropyLoss(), data())
    theta = target.initial(6)
    theta[4] = 1e308  # diverges at once, so that the state of a reduced stack is saved and restored
    recipe = Recipe(optimizer=optimizer, lr=0.02, batch_size=5, epochs=5, record=EVERY_STEP, schedule="cosine")
    expected = train(target, theta, recipe)
    fragile = Fragile()
    for _ in range(10):
        try:
            train(target, theta, recipe, recording=fragile)
            break
        except Interrupted:
            fragile.budget = 7
    assert fragile.finished
    assert torch.equal(fragile.snapshots[:], expected.snapshots[:])
    assert fragile.metrics.equals(expected.metrics)
    assert fragile.status == expected.status


JOB = """
import sys, torch
from torch import nn
from thalweg.objective import Objective
from thalweg.runs import Run
from thalweg.training import Recipe, loop, train

torch.set_num_threads(1)
x = torch.linspace(-1, 1, 64)[:, None]
model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1)).eval()
target = Objective(model, nn.MSELoss(), (x, x.square()))
recipe = Recipe(batch_size=10, epochs=40)

def job(root, commit_seconds):
    loop.COMMIT_SECONDS = commit_seconds
    run = Run.create(root, "kill", {}, seed=0, device="cpu", data_checksum=None, command="test")
    with run.writing():
        recording = run.recording()
        held = recording.commit
        def commit(*arguments, **named):
            held(*arguments, **named)
            print("committed", flush=True)
        recording.commit = commit
        train(target, recipe=recipe, replicas=4, recording=recording)
        run.complete()
    return run

if __name__ == "__main__":
    job(sys.argv[1], 0.005)
"""


def test_killed_three_times_and_resumed_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "COMMIT_SECONDS", loop.COMMIT_SECONDS)  # put back what the jobs set
    script = tmp_path / "job.py"
    script.write_text(JOB)
    for _ in range(3):
        job = subprocess.Popen([sys.executable, script, tmp_path / "killed"], stdout=subprocess.PIPE)
        assert job.stdout is not None
        for _ in range(2):
            assert job.stdout.readline() == b"committed\n"
        os.kill(job.pid, signal.SIGKILL)
        job.communicate()
        assert job.returncode == -signal.SIGKILL
    space = runpy.run_path(str(script), run_name="job")
    killed, whole = space["job"](tmp_path / "killed", 5.0), space["job"](tmp_path / "whole", 5.0)
    assert whole.snapshots.shape == (41, 4, 25)
    assert torch.equal(whole.snapshots[:], killed.snapshots[:])
    assert whole.metrics.equals(killed.metrics)


def test_a_recording_of_another_training_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.training.loop.COMMIT_SECONDS", 0.0)
    target = objective()
    fragile = Fragile()
    with pytest.raises(Interrupted):
        train(target, recipe=Recipe(epochs=20), recording=fragile)
    with pytest.raises(InputError, match="same training, found another recipe"):
        train(target, recipe=Recipe(epochs=30), recording=fragile)
    with pytest.raises(InputError, match="same training, found another seed: 0 instead of 1"):
        train(target, recipe=Recipe(epochs=20), seed=1, recording=fragile)
    with pytest.raises(InputError, match="same training, found another start"):
        train(target, torch.zeros(target.size, dtype=torch.float64), Recipe(epochs=20), recording=fragile)
    x, y = data()
    for other in (target.with_data((x, y.roll(1))), target.with_data((x.roll(1, 0), y))):  # equal sizes
        with pytest.raises(InputError, match=r"other data or another loss: .* at the first step of replica 0"):
            train(other, recipe=Recipe(epochs=20), recording=fragile)


def test_a_finished_recording_is_returned_as_it_is() -> None:
    recording = train(objective(), recipe=Recipe(steps=2))
    assert train(objective(), recipe=Recipe(steps=2), recording=recording) is recording
    assert len(recording.snapshots) == 3


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.norm(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize("batch_size", [None, 7])
def test_batchnorm_trains_with_running_statistics_of_each_replica(batch_size: int | None) -> None:
    x = torch.randn(20, 1, 6, 6, dtype=torch.float64)
    y = torch.randint(4, (20,))
    model = Normed().double()
    before = copy.deepcopy(model.state_dict())
    target = Objective(model, nn.CrossEntropyLoss(), (x, y))
    recipe = Recipe(optimizer="sgd", lr=0.1, batch_size=batch_size, steps=9)
    recording = train(target, recipe=recipe, replicas=3, evaluate={"train": target})
    state, _ = recording.restore()
    for replica in range(3):
        loop = target.module(target.initial(3)[replica]).train()
        optimizer = torch.optim.SGD(loop.parameters(), 0.1)
        per_epoch = 1 if batch_size is None else 3
        for step in range(9):
            index = torch.arange(20)
            if batch_size is not None:
                epoch, place = divmod(step, per_epoch)
                order = torch.randperm(20, generator=generator(0, replica, f"order:{epoch}"), dtype=torch.int32)
                index = order[place * 7 : place * 7 + 7].long()
            optimizer.zero_grad()
            F.cross_entropy(loop(x[index]), y[index]).backward()
            optimizer.step()
        torch.testing.assert_close(recording.snapshots[-1, replica], target.ravel(loop), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(state["buffers/norm.running_var"][replica], loop.norm.running_var)
        torch.testing.assert_close(state["buffers/norm.running_mean"][replica], loop.norm.running_mean)
        assert state["buffers/norm.num_batches_tracked"][replica] == 9
        assert torch.equal(
            recording.snapshots.buffers(-1)["norm.running_var"][replica], state["buffers/norm.running_var"][replica]
        )
        last = recording.metrics.filter((recording.metrics["step"] == 9) & (recording.metrics["replica"] == replica))
        with torch.no_grad():
            expected = F.cross_entropy(loop.eval()(x), y).item()
        assert last["train_loss"].item() == pytest.approx(expected, rel=1e-10)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("policy", ["batch", "recomputed"])
def test_the_batchnorm_policy_of_analyses_does_not_change_training(policy: str) -> None:
    model, x, y = Normed().double(), torch.randn(20, 1, 6, 6, dtype=torch.float64), torch.randint(4, (20,))
    recipe = Recipe(lr=0.01, batch_size=7, epochs=2)
    runs = []
    for target in (
        Objective(model, nn.CrossEntropyLoss(), (x, y)),
        Objective(model, nn.CrossEntropyLoss(), (x, y), batchnorm=policy),
        Objective(model, nn.CrossEntropyLoss(), (x, y), batchnorm=policy, batch_size=6),
    ):
        runs.append(train(target, recipe=recipe, replicas=2, evaluate={"train": target}))
        expected = target.metrics(runs[-1].snapshots[-1])["loss"]
        if target.batchnorm != "frozen":
            torch.testing.assert_close(torch.tensor(runs[-1].metrics["train_loss"].to_list()[-2:]), expected.float())
    assert torch.equal(runs[0].snapshots[:], runs[1].snapshots[:])
    assert torch.equal(runs[0].snapshots[:], runs[2].snapshots[:])


class Tied(nn.Module):
    """Tied weights, dict batches, and a loss that calls the model itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.embed(tokens))) * scale[:, None, None]


def test_tied_weights_and_dict_batches_train_as_a_plain_loop() -> None:
    chooser = torch.Generator().manual_seed(1)
    batches = [
        {
            "tokens": torch.randint(6, (n, 5), generator=chooser),
            "scale": torch.rand(n, generator=chooser, dtype=torch.float64),
            "next": torch.randint(6, (n, 5), generator=chooser),
        }
        for n in (4, 4, 3)
    ]

    def loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.cross_entropy(model(batch["tokens"], batch["scale"]).flatten(0, 1), batch["next"].flatten())

    target = Objective(Tied().double(), loss, batches, loss_on="batch", count=lambda b: len(b["tokens"]))
    assert target.size == 24
    recipe = Recipe(optimizer="sgd", lr=0.3, batch_size="given", epochs=4)
    recording = train(target, recipe=recipe, replicas=3, seed=2)
    assert recording.steps.tolist() == [0, 3, 6, 9, 12]
    for replica in range(3):
        model = target.module(target.initial(3, 2)[replica])
        optimizer = torch.optim.SGD(model.parameters(), 0.3)
        for epoch in range(4):
            for number in torch.randperm(3, generator=generator(2, 0, f"order:{epoch}")).tolist():
                optimizer.zero_grad()
                loss(model, batches[number]).backward()
                optimizer.step()
        torch.testing.assert_close(recording.snapshots[-1, replica], target.ravel(model), rtol=1e-10, atol=1e-10)


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    return nn.Sequential(nn.Linear(3, 8), layer, nn.Flatten(), nn.Linear(40, 2)).double().eval()


def test_attention_dropout_is_seeded_for_each_replica(caplog: pytest.LogCaptureFixture) -> None:
    x = torch.randn(12, 5, 3, dtype=torch.float64)
    target = Objective(transformer(), nn.CrossEntropyLoss(), (x, torch.randint(2, (12,))))
    recipe = Recipe(lr=0.01, batch_size=5, steps=4)
    with caplog.at_level(logging.INFO, "thalweg"):
        many = train(target, recipe=recipe, replicas=4)
    assert "replicas are evaluated one by one" in caplog.text
    alone = train(target, recipe=recipe, first=2)
    torch.testing.assert_close(many.snapshots[-1, 2], alone.snapshots[-1, 0], rtol=1e-10, atol=1e-12)
    before = torch.get_rng_state()
    again = train(target, recipe=recipe, first=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(again.snapshots[:], alone.snapshots[:])


def test_a_shuffling_loader_gives_the_same_epochs_again() -> None:
    x, y = data()
    recipe = Recipe(batch_size="given", epochs=3, record=EVERY_STEP)

    def run(replicas: int, memory: int) -> MemoryRecording:
        loader = DataLoader(TensorDataset(x, y), batch_size=6, shuffle=True)
        target = Objective(mlp(), nn.CrossEntropyLoss(), loader, memory=memory)
        assert (target.batches.loader is None) == (memory > 10_000)
        return train(target, target.initial(replicas), recipe)

    once = run(2, 500)
    assert torch.equal(once.snapshots[:], run(2, 500).snapshots[:])
    assert once.steps.tolist() == list(range(13))  # 4 batches an epoch
    assert not torch.allclose(once.snapshots[4], run(2, 2**20).snapshots[4])  # held: other batches, in another order


def test_a_loss_of_whole_batches_is_never_cut() -> None:
    def weighted(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output, target, weight=torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))

    target = Objective(mlp(), weighted, data(), memory=2_000)
    recording = train(target, recipe=Recipe(optimizer="sgd", lr=0.1, steps=3), replicas=2)
    theta = target.initial(2)
    for _ in range(3):
        theta = theta - 0.1 * target.gradient(theta)
    torch.testing.assert_close(recording.snapshots[-1], theta, rtol=1e-12, atol=1e-12)


def test_only_the_chosen_parameters_are_trained() -> None:
    target = objective(parameters="2.*")
    recording = train(target, recipe=Recipe(steps=3), replicas=2)
    assert recording.snapshots.shape == (4, 2, 24)


def test_copies_of_one_start_differ_by_their_order_alone() -> None:
    target = objective()
    recording = train(target, target.theta, Recipe(batch_size=5, epochs=1), replicas=3)
    assert torch.equal(recording.snapshots[0, 0], recording.snapshots[0, 2])
    assert not torch.equal(recording.snapshots[1, 0], recording.snapshots[1, 2])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, when its compiler is imported
def test_compiled_training_is_the_same() -> None:
    target = objective()
    plain_one = train(target, recipe=Recipe(steps=5), replicas=2)
    compiled = train(target, recipe=Recipe(steps=5, compile=True), replicas=2)
    torch.testing.assert_close(plain_one.snapshots[:], compiled.snapshots[:], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"replicas": 0}, "replicas must be at least 1, found 0"),
        ({"first": -1}, "first must not be negative, found -1"),
        ({"theta": torch.zeros(3, dtype=torch.float64)}, r"theta must have shape \(…, 44\)"),
        ({"theta": torch.zeros(2, 44), "replicas": 3}, r"replicas must be the number of rows of theta \(2\), found 3"),
        ({"theta": torch.zeros(2, 2, 44)}, r"theta must have shape \(P,\) or \(R, P\)"),
        ({"theta": torch.zeros(0, 44)}, "R at least 1"),
        ({"recipe": Recipe(batch_size="given")}, "batch_size must be a number or None for tensors and datasets"),
        ({"recipe": Recipe(epochs=2, warmup=3)}, r"warmup must be at most the number of steps \(2\), found 3"),
    ],
)
def test_bad_arguments(arguments: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        train(objective(), **arguments)


def test_samples_cannot_be_drawn_from_batches() -> None:
    x, y = data()
    target = Objective(mlp(), nn.CrossEntropyLoss(), [(x[:10], y[:10]), (x[10:], y[10:])])
    with pytest.raises(InputError, match="batch_size must be 'given' or None where the data are batches already"):
        train(target, recipe=Recipe(batch_size=4))


def test_evaluating_another_model_is_refused() -> None:
    x, y = data()
    other = Objective(nn.Linear(3, 4).double(), nn.CrossEntropyLoss(), (x, y))
    with pytest.raises(InputError, match=r"evaluate\['other'\] must be an objective of the same model"):
        train(objective(), recipe=Recipe(steps=1), evaluate={"other": other})


@pytest.mark.gpu
@pytest.mark.skipif("THALWEG_TEST_DEVICE" not in os.environ, reason="THALWEG_TEST_DEVICE names no device")
def test_the_device_under_test_trains_as_the_cpu(device: torch.device) -> None:
    normed, (x, y) = Normed().double(), (torch.randn(20, 1, 6, 6, dtype=torch.float64), torch.randint(4, (20,)))
    for model, samples in ((mlp(dropout=0.3), data()), (normed, (x, y))):
        here = Objective(model, nn.CrossEntropyLoss(), samples)
        theta = here.initial(4)
        theta[1] = 1e308  # diverges
        recipe = Recipe(lr=0.01, batch_size=7, steps=8, clip=1.0)
        expected = train(here, theta, recipe, evaluate={"train": here})
        there = here.to(device=device)
        found = train(there, theta.to(device), recipe, evaluate={"train": there})
        torch.testing.assert_close(found.snapshots[:], expected.snapshots[:], rtol=1e-9, atol=1e-11)
        assert [entry["status"] for entry in found.status] == ["completed", "diverged", "completed", "completed"]


def test_observes_the_gradient_of_every_recorded_step() -> None:
    """What the observer is given are θ and ∇L of that step, l2 included; its metrics stand beside loss and norm."""
    x = torch.linspace(-1, 1, 16, dtype=torch.float64)[:, None]
    model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    objective = Objective(model, nn.MSELoss(), (x, x.square()), l2=0.1)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def observe(theta: torch.Tensor, gradient: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append((theta.clone(), gradient.clone()))
        return {"largest": gradient.abs().amax(1)}

    recipe = Recipe(lr=0.1, steps=5, record=Cadence(every=5, unit="step"), metrics=Cadence(every=1, unit="step"))
    recording = train(objective, recipe=recipe, replicas=2, observe=observe)
    assert len(seen) == 6
    for theta, gradient in seen:
        torch.testing.assert_close(gradient, objective.gradient(theta))
    expected = torch.stack([gradient.abs().amax(1) for _, gradient in seen]).flatten()
    assert recording.metrics.sort("step", "replica")["largest"].to_list() == pytest.approx(expected.tolist())


def test_a_last_batch_of_one_is_refused_before_anything_is_trained():
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 4)).double()
    objective = Objective(model.eval(), nn.CrossEntropyLoss(), data(23))
    for size in (1, 11, 22):
        with pytest.raises(InputError, match=rf"no batch of a single sample, .* found {size} for 23 samples"):
            train(objective, recipe=Recipe(epochs=1, batch_size=size))
    assert train(objective, recipe=Recipe(epochs=1, batch_size=7)).status[0]["status"] == "completed"
