"""What is in θ is decided once: a loop whose model changes is followed, or refused with what it has recorded kept."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.training import Recorder, watching
from thalweg.training.coverage import Mark

X, Y = torch.linspace(-1, 1, 12)[:, None], torch.linspace(-1, 1, 12)[:, None].square()
Change = Callable[[nn.Module, torch.optim.Optimizer], None]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))


def frozen_first() -> nn.Sequential:
    model = net()
    model[0].requires_grad_(False)
    return model


def loop(model: nn.Module, change: Change | None, steps: int = 6, at: int = 3) -> Iterator[Tensor]:
    """A plain loop that yields its loss after every step; `change` comes before step number `at`."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(1, steps + 1):
        if step == at and change is not None:
            change(model, optimizer)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(X), Y)
        loss.backward()
        optimizer.step()
        yield loss


def inside(recorder: Recorder, run: Callable[[], None], within: str) -> None:
    if within == "with":
        with recorder:
            run()
    else:
        run()


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def frozen(model: nn.Module, _: torch.optim.Optimizer) -> None:
    model[2].requires_grad_(False)


def replaced(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model[2] = nn.Linear(4, 4)
    optimizer.add_param_group({"params": list(model[2].parameters())})


def new_tensor(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model[4].bias = nn.Parameter(torch.full((1,), 3.0))
    optimizer.add_param_group({"params": [model[4].bias]})


def compiled(model: nn.Module, _: torch.optim.Optimizer) -> None:
    model.compile(backend="eager")


def other_activation(model: nn.Module, _: torch.optim.Optimizer) -> None:
    model[1] = nn.ReLU()


@pytest.mark.parametrize("change", [frozen, replaced, new_tensor, compiled, other_activation])
def test_changes_that_are_followed(tmp_path: Path, change: Change) -> None:
    """Snapshots are the model's parameters after each step, whatever became of them."""
    model, expected = net(), []
    with Recorder(tmp_path / "mine", model) as recorder:
        expected.append(flat(model))
        for loss in loop(model, change):
            recorder.step(loss=loss)
            expected.append(flat(model))
    assert torch.equal(recorder.run.snapshots[:, 0], torch.stack(expected))


def test_parameters_tied_later_are_followed(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1))

    def tied(model: nn.Module, _: torch.optim.Optimizer) -> None:
        model[2].weight = model[1].weight

    with Recorder(tmp_path / "mine", model) as recorder:
        for loss in loop(model, tied):
            recorder.step(loss=loss)
    names = recorder.run.recording().meta["parameters"]
    sizes = [torch.Size(shape).numel() for shape in names.values()]
    parts = dict(zip(names, recorder.run.snapshots[-1, 0].split(sizes), strict=True))
    assert torch.equal(parts["2.weight"], model[1].weight.detach().flatten())
    assert torch.equal(parts["1.weight"], parts["2.weight"])


def thawed(model: nn.Module, _: torch.optim.Optimizer) -> None:
    model[0].requires_grad_(True)


def added(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.append(nn.Linear(1, 1))
    optimizer.add_param_group({"params": list(model[5].parameters())})


def wider(model: nn.Module, _: torch.optim.Optimizer) -> None:
    model[2], model[4] = nn.Linear(4, 6), nn.Linear(6, 1)


def removed(model: nn.Module, _: torch.optim.Optimizer) -> None:
    model[2] = nn.Identity()


def parametrized(model: nn.Module, _: torch.optim.Optimizer) -> None:
    nn.utils.parametrizations.weight_norm(model[4])


def averaged(model: nn.Module, _: torch.optim.Optimizer) -> None:
    model[0].weight.data.mul_(0.99)  # the frozen layer, moved without a gradient


REFUSED: dict[str, tuple[Change, str]] = {
    "thawed": (thawed, r"2 that began to train \('0.weight', '0.bias': 8 numbers\)"),
    "added": (added, r"2 that came \('5.weight', '5.bias': 2 numbers\)"),
    "wider": (wider, r"3 that have another shape \('2.weight', '2.bias', '4.weight': 36 numbers\)"),
    "removed": (removed, r"2 that are gone \('2.weight', '2.bias'\)"),
    "parametrized": (parametrized, r"1 that are gone \('4.weight'\); 2 that came \('4.parametrizations"),
    "averaged": (averaged, r"1 that moved although frozen \('0.weight': 4 numbers\)"),
}


@pytest.mark.parametrize("within", ["with", "close", "neither"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_and_the_rest_kept(tmp_path: Path, name: str, within: str) -> None:
    change, sentence = REFUSED[name]
    model, expected = frozen_first(), []
    recorder = Recorder(tmp_path / "mine", model, every=2)

    def run() -> None:
        expected.append(flat(model)[8:])
        for step, loss in enumerate(loop(model, change), 1):
            recorder.step(loss=loss)
            if step == 2:
                expected.append(flat(model)[8:])

    with pytest.raises(InputError, match=f"{sentence}.*ends with the snapshot of step 2, found at step"):
        inside(recorder, run, within)
    if within == "close":
        with pytest.raises(InputError, match=sentence):
            recorder.close()
        recorder.close()
    kept = Run.open(recorder.run.path)
    assert torch.equal(kept.snapshots[:, 0], torch.stack(expected))
    assert kept.recording().metrics["step"].to_list()[:2] == [1, 2]
    assert kept.state == ("failed" if within != "neither" else "running")
    if within == "neither":
        with pytest.raises(InputError, match=sentence):
            recorder.close()


def test_a_change_after_the_last_step_is_seen_when_the_recorder_closes(tmp_path: Path) -> None:
    model = frozen_first()
    recorder = Recorder(tmp_path / "mine", model, every=4)
    for loss in loop(model, None):
        recorder.step(loss=loss)
    model[0].weight.data += 1
    with pytest.raises(InputError, match="moved although frozen"):
        recorder.close()
    assert recorder.run.state == "failed"
    assert Run.open(recorder.run.path).recording().steps.tolist() == [0, 4]


@pytest.mark.parametrize("parameters", ["*", ("0.*", "[24].*")])
def test_frozen_parameters_are_recorded_on_demand(tmp_path: Path, parameters: str | tuple[str, ...]) -> None:
    """Gradual unfreezing is followed by a recording of all parameters."""
    model, expected = frozen_first(), []
    with Recorder(tmp_path / "mine", model, parameters=parameters) as recorder:
        expected.append(flat(model))
        for loss in loop(model, thawed):
            recorder.step(loss=loss)
            expected.append(flat(model))
    assert torch.equal(recorder.run.snapshots[:, 0], torch.stack(expected))
    assert not torch.equal(expected[-1][:8], expected[0][:8])


def test_a_constant_part_costs_nothing_and_may_be_anything(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
    model.register_parameter("counts", nn.Parameter(torch.arange(5), requires_grad=False))
    model.register_parameter("phase", nn.Parameter(torch.randn(3, dtype=torch.complex64), requires_grad=False))
    model.register_parameter("lost", nn.Parameter(torch.tensor([torch.nan, torch.inf]), requires_grad=False))
    model.register_parameter("short", nn.Parameter(torch.randn(3, dtype=torch.bfloat16), requires_grad=False))
    with Recorder(tmp_path / "mine", model) as recorder:
        for loss in loop(model, None):
            recorder.step(loss=loss)
    assert recorder.run.snapshots.shape == (7, 1, 13)
    assert recorder.run.state == "complete"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int8, torch.bool])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_mark_sees_any_change(dtype: torch.dtype, size: int) -> None:
    whole = (100 * torch.randn(size + 1, generator=torch.Generator().manual_seed(0))).to(dtype)
    value = whole[1:]  # begins between two words
    mark = Mark.of(value)
    assert Mark.of(value.clone()) == mark
    assert Mark.of(value.reshape(1, -1)) != mark
    for place in range(size):
        other = value.clone()
        other.view(torch.uint8)[place * dtype.itemsize] ^= 1  # the last bit of one number
        assert Mark.of(other) != mark
    halves = torch.cat([value[size // 2 :], value[: size // 2]])
    assert torch.equal(halves, value) or size < 100 or Mark.of(halves) != mark


class Scaled(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(3))

    def forward(self, output: Tensor) -> Tensor:
        return nn.functional.mse_loss(output, Y) * self.log_scale.exp().mean()


@pytest.mark.parametrize("apart", [False, True])
def test_what_an_optimizer_trains_beside_the_model_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, apart: bool
) -> None:
    gc.collect()
    model, loss_of = net(), Scaled()
    groups = [list(model.parameters()), list(loss_of.parameters())]
    optimizers = [torch.optim.SGD(g, lr=0.1) for g in (groups if apart else [groups[0] + groups[1]])]
    with caplog.at_level(logging.WARNING, logger="thalweg"), Recorder(tmp_path / "mine", model) as recorder:
        for _ in range(4):
            loss = loss_of(model(X))
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            recorder.step(loss=loss)
    (record,) = caplog.records
    said = "1 parameters (3 numbers) that an optimizer trains are not the model's: not recorded"
    assert said in record.getMessage()
    assert "(3,)" in record.getMessage()
    assert recorder.run.recording().status[0]["message"] == said


def test_two_recorders_share_an_optimizer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()  # recorders that other tests have dropped
    first, second = net(), net()
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
    with Recorder(tmp_path / "a", first) as one, Recorder(tmp_path / "b", second) as other:
        for _ in range(3):
            nn.functional.mse_loss(first(X) - second(X), Y).backward()
            optimizer.step()
            one.step()
            other.step()
    assert not caplog.records
    assert not watching.WATCHED


@pytest.mark.parametrize("every", [1, 3])
def test_the_loop_computes_the_same_numbers(tmp_path: Path, every: int) -> None:
    alone, recorded = frozen_first(), frozen_first()
    for _ in loop(alone, None):
        torch.rand(1)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    frozen_first()
    with Recorder(tmp_path / "mine", recorded, every=every) as recorder:
        for loss in loop(recorded, None):
            torch.rand(1)
            recorder.step(loss=loss)
    assert torch.equal(flat(alone), flat(recorded))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("within", ["with", "alone", "close"])
def test_replicas_are_kept_one_by_one(tmp_path: Path, within: str) -> None:
    recorder = Recorder(tmp_path / "mine", replicas=3)
    models = [frozen_first(), frozen_first()]

    def run() -> None:
        track = recorder.replica(0, models[0])
        for loss in loop(models[0], None, steps=4):
            track.step(loss=loss)
        track = recorder.replica(1, models[1])
        for loss in loop(models[1], None if within == "close" else thawed):
            track.step(loss=loss)
        recorder.close()

    with pytest.raises(InputError, match=r"began to train|every replica must be trained .* \[2\] were not"):
        inside(recorder, run, within)
    kept = Run.open(recorder.run.path)
    assert kept.recordings == ["replica-0", "replica-1"]
    assert kept.recording("replica-0").snapshots.shape == (5, 1, 25)
    assert torch.equal(kept.recording("replica-0").snapshots[-1, 0], flat(models[0])[8:])
    assert kept.recording("replica-1").steps.tolist() == list(range(3 if within != "close" else 7))
    if within == "close":  # and may be completed
        recorder.replica(2, net())
        with pytest.raises(InputError, match="same model and number of steps"):
            recorder.close()
