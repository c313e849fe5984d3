"""Checkpoints as programs write them; the expected vector is torch's own `parameters_to_vector`."""

from __future__ import annotations

import argparse
import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from thalweg import checkpoints
from thalweg.errors import InputError
from thalweg.objective import Objective


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    model(torch.randn(6, 1, 4, 4))  # running statistics of its own
    return model.eval()


class Tied(nn.Module):
    """An embedding whose weights are those of the output."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight


def flat(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def prefixed(word: str, seed: int = 1) -> dict[str, Tensor]:
    return {f"{word}{name}": value for name, value in net(seed).state_dict().items()}


def trained(model: nn.Module) -> dict[str, Any]:
    """The state of an optimizer that has taken a step: moments by number, and by name as sharded trainings write it."""
    optimizer = torch.optim.Adam(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    return optimizer.state_dict()


FORMS: dict[str, Callable[[], Any]] = {
    "state dict": lambda: net(1).state_dict(),
    "data parallel": lambda: nn.DataParallel(net(1)).state_dict(),
    "compiled": lambda: torch.compile(net(1), backend="eager").state_dict(),
    "under a word": lambda: {
        "model_state_dict": net(1).state_dict(),
        "optimizer_state_dict": trained(net(0)),
        "loss": 1,
    },
    "a word of one's own": lambda: {"weights_of_the_generator": prefixed("module."), "epoch": 3},
    "two levels": lambda: {"checkpoint": {"net": prefixed("_orig_mod.module.")}, "args": argparse.Namespace(lr=0.1)},
    "a list": lambda: [net(1).state_dict(), 5],
    "Lightning": lambda: {
        "epoch": 1,
        "global_step": 20,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": {**prefixed("model."), "loss.weight": torch.ones(2)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "optimizer_states": [trained(net(0))],
        "hyper_parameters": {"lr": 0.1},
        "callbacks": {"best": np.float64(0.5)},
    },
    "moments by name": lambda: {
        "net": net(1).state_dict(),
        "optim": {"exp_avg": {name: torch.zeros_like(value) for name, value in net(0).state_dict().items()}},
    },
    "a copy of itself": lambda: {"model": net(1).state_dict(), "ema": copy.deepcopy(net(1).state_dict())},
    "numpy": lambda: {name: value.numpy() for name, value in net(1).state_dict().items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_and_buffers_are_found(form: str, tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    torch.save(FORMS[form](), file)
    model = net(0)
    recording = checkpoints.load(model, file)
    torch.testing.assert_close(recording.snapshots[:], flat(net(1))[None, None], rtol=0, atol=0)
    expected = dict(net(1).named_buffers())
    found = recording.snapshots.buffers(0)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name][0], value), name
    assert torch.equal(flat(model), flat(net(0)))  # the user's model is as it was


def test_running_statistics_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    """The loss at a checkpoint is what plain PyTorch gives with that checkpoint loaded."""
    data = torch.randn(9, 1, 4, 4), torch.randint(0, 3, (9,))
    for step in (1, 2):
        torch.save(net(step).state_dict(), tmp_path / f"{step}.pt")
    objective = Objective(net(0), nn.CrossEntropyLoss(), data)
    recording = checkpoints.load(objective, tmp_path)
    for place, seed in enumerate((1, 2)):
        buffers = recording.snapshots.buffers(place)
        found = objective.value(recording.snapshots[place], buffers)
        torch.testing.assert_close(found[0], nn.functional.cross_entropy(net(seed)(data[0]), data[1]).detach())


def test_safetensors_shards_and_folders(tmp_path: Path) -> None:
    for step, seed in ((500, 1), (1000, 2)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        state = net(seed).state_dict()
        halves = dict(list(state.items())[:4]), dict(list(state.items())[4:])
        places = {}
        for number, half in enumerate(halves, 1):
            name = f"model-{number:05d}-of-00002.safetensors"
            save_file(half, folder / name, {"format": "pt"})
            places |= dict.fromkeys(half, name)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
        (folder / "trainer_state.json").write_text(f'{{"global_step": {step}, "epoch": {step / 250}}}')
        torch.save(trained(net(seed)), folder / "optimizer.pt")
    save_file(net(2).state_dict(), tmp_path / "model.safetensors", {"format": "pt"})  # the end of the training
    for given in (tmp_path, f"{tmp_path}/checkpoint-*"):
        recording = checkpoints.load(net(0), given)
        assert (recording.steps.tolist(), recording.epochs.tolist()) == ([500, 1000], [2.0, 4.0])
        torch.testing.assert_close(recording.snapshots[:, 0], torch.stack([flat(net(1)), flat(net(2))]), rtol=0, atol=0)
    (one,) = checkpoints.find(tmp_path / "checkpoint-500")
    assert one.path.name == "checkpoint-500"
    places["4.bias"] = "../outside.safetensors"
    (tmp_path / "checkpoint-1000/model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(InputError, match=r"must name files beside it, found \"\.\./outside"):
        checkpoints.load(net(0), tmp_path)


def test_pytorch_shards(tmp_path: Path) -> None:
    state = net(1).state_dict()
    places = {}
    for number, name in enumerate(state, 1):
        places[name] = f"pytorch_model-{number:05d}-of-00009.bin"
        torch.save({name: state[name]}, tmp_path / places[name])
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    torch.testing.assert_close(checkpoints.load(net(0), tmp_path).snapshots[0, 0], flat(net(1)), rtol=0, atol=0)
    (tmp_path / places["4.bias"]).unlink()
    with pytest.raises(InputError, match="is missing"):
        checkpoints.load(net(0), tmp_path)


@pytest.mark.parametrize("safe", [False, True])
def test_tied_weights(safe: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = Tied().state_dict()
    if safe:  # transformers writes one of the names
        save_file({"head.weight": state["head.weight"]}, tmp_path / "m.safetensors")
    else:
        torch.save(state, tmp_path / "m.pt")
    found = checkpoints.load(Tied(), tmp_path).snapshots[0, 0]
    torch.testing.assert_close(found, state["embed.weight"].flatten(), rtol=0, atol=0)
    torch.save({**state, "head.weight": state["head.weight"] + 1}, tmp_path / "m.pt")
    with pytest.raises(InputError, match=r"one value for the tied 'embed\.weight'"):
        checkpoints.load(Tied(), tmp_path / "m.pt")


def test_precisions(tmp_path: Path) -> None:
    """Numbers of bfloat16 are exact in float32; θ has the dtype of the objective, whatever the file's."""
    half = {
        name: value.bfloat16() if value.is_floating_point() else value for name, value in net(1).state_dict().items()
    }
    half["4.bias"] = net(1).state_dict()["4.bias"].double()
    torch.save(half, tmp_path / "half.pt")
    found = checkpoints.load(net(0), tmp_path)
    expected = torch.cat(
        [value.float().flatten() for name, value in half.items() if name in dict(net().named_parameters())]
    )
    torch.testing.assert_close(found.snapshots[0, 0], expected, rtol=0, atol=0)
    assert found.snapshots.buffers(0)["1.running_mean"].dtype == torch.float32
    objective = Objective(net(0), nn.MSELoss(), (torch.randn(5, 1, 4, 4), torch.randn(5, 3)), dtype=torch.float64)
    assert checkpoints.load(objective, tmp_path).snapshots.dtype == torch.float64
    assert checkpoints.load(net(0).bfloat16(), tmp_path).snapshots.dtype == torch.float32


AVERAGED: dict[str, tuple[Callable[[], Any], str]] = {
    "two words": (lambda: {"model": net(1).state_dict(), "model_ema": net(2).state_dict()}, "model_ema"),
    "two levels": (
        lambda: {"state": {"net": prefixed("module."), "ema": {"shadow": net(2).state_dict()}}},
        "state.ema.shadow",
    ),
    "prefixes": (lambda: {"state_dict": {**prefixed("model."), **prefixed("ema.", 2)}}, "state_dict.ema"),
    "beside the names": (lambda: {**net(1).state_dict(), **prefixed("ema.", 2)}, "ema"),
    "timm": (lambda: {"state_dict": net(1).state_dict(), "state_dict_ema": net(2).state_dict()}, "state_dict_ema"),
}


@pytest.mark.parametrize("form", AVERAGED)
def test_one_of_several_weights_is_asked_for(form: str, tmp_path: Path) -> None:
    make, part = AVERAGED[form]
    file = tmp_path / "last.pt"
    torch.save(make(), file)
    with pytest.raises(InputError, match=rf"holds the model's parameters 2 times, under .*{part}.*: say which"):
        checkpoints.load(net(0), file)
    found = checkpoints.load(net(0), f"{file}:{part}").snapshots[0, 0]
    torch.testing.assert_close(found, flat(net(2)), rtol=0, atol=0)
    with pytest.raises(InputError, match="has no weights under 'emma'"):
        checkpoints.load(net(0), f"{file}:emma")
    labels = {"prefixes": "state_dict.model", "beside the names": ".", "two levels": "state.net.module"}
    other = labels.get(form, part.removesuffix("_ema"))
    found = checkpoints.load(net(0), f"{file}:{other}").snapshots[0, 0]
    torch.testing.assert_close(found, flat(net(1)), rtol=0, atol=0)


def test_frozen_parameters_that_differ_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = net(0)
    model[0].weight.requires_grad_(False)
    torch.save(net(1).state_dict(), tmp_path / "a.pt")
    with caplog.at_level(logging.WARNING, "thalweg"):
        found = checkpoints.load(model, tmp_path / "a.pt")
    assert found.snapshots.shape[2] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert "'0.weight'" in caplog.text
    assert "restore" in caplog.text
    caplog.clear()
    checkpoints.restore(model, tmp_path / "a.pt")
    for name, value in net(1).state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    with caplog.at_level(logging.WARNING, "thalweg"):
        checkpoints.load(model, tmp_path / "a.pt")
    assert caplog.text == ""


@pytest.mark.filterwarnings("ignore")  # of the other library
def test_lightning_itself(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = net(1)

        def training_step(self, batch: Any, number: int) -> Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), 0.01)

    data = torch.utils.data.TensorDataset(torch.randn(8, 1, 4, 4), torch.randint(0, 3, (8,)))
    keep = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, save_top_k=-1, save_last=True)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=3, callbacks=[keep], default_root_dir=tmp_path, **options)
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=4))
    recording = checkpoints.load(net(0), tmp_path)
    assert recording.steps.tolist() == [2, 4, 6]  # last.ckpt is a copy
    torch.testing.assert_close(recording.snapshots[-1, 0], flat(module.model), rtol=0, atol=0)
