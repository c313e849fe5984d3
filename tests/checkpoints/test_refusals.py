"""What is no checkpoint of the model is one sentence, and no code of a file ever runs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from thalweg import checkpoints
from thalweg.errors import InputError


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def changed(**changes: Any) -> dict[str, Any]:
    state = {**net().state_dict(), **changes}
    return {name: value for name, value in state.items() if value is not None}


STRANGERS: dict[str, tuple[Callable[[], Any], str]] = {
    "missing": (lambda: changed(**{"0.weight": None}), r"missing '0\.weight' \(6, 4\)"),
    "unexpected": (lambda: changed(**{"3.weight": torch.ones(2)}), r"unexpected '3\.weight'"),
    "misshapen": (
        lambda: changed(**{"2.bias": torch.ones(5)}),
        r"misshapen: '2\.bias' of shape \(5,\) instead of \(3,\)",
    ),
    "many": (
        lambda: {f"layer{k}": torch.ones(2) for k in range(9)},
        r"missing '0\.weight' \(6, 4\), .* and 3 more; unexpected 'layer0' \(2,\), .* and 6 more",
    ),
    "statistics missing": (lambda: changed(**{"1.running_var": None}), r"buffers .* missing '1\.running_var' \(6,\)"),
    "statistics misshapen": (
        lambda: changed(**{"1.running_var": torch.ones(7)}),
        r"misshapen: '1\.running_var' of shape",
    ),
    "replicas": (
        lambda: {name: value[None] for name, value in net().state_dict().items()},
        r"leading axes \(1,\)|misshapen",
    ),
    "no tensors": (lambda: {"epoch": 3, "lr": 0.1}, r"must hold the weights of a model, found epoch, lr"),
    "no mapping": (lambda: 5, "must hold a state_dict, found int"),
    "an optimizer": (
        lambda: torch.optim.SGD(net().parameters(), momentum=0.9, lr=1).state_dict(),
        "must hold the weights of a model, found state, param_groups",
    ),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_another_architecture(kind: str, tmp_path: Path) -> None:
    make, words = STRANGERS[kind]
    torch.save(make(), tmp_path / "a.pt")
    with pytest.raises(InputError, match=words) as refused:
        checkpoints.load(net(), tmp_path / "a.pt")
    assert "a.pt" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("make", [lambda path: net(), lambda path: {"model": net().state_dict(), "x": Touch(path)}])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_needs_code(make: Callable[[Path], Any], legacy: bool, tmp_path: Path) -> None:
    torch.save(make(tmp_path / "touched"), tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        InputError, match=r"needs code to be read, .* save the weights alone, torch\.save\(model\.state_dict"
    ):
        checkpoints.load(net(), tmp_path / "a.pt")
    assert not (tmp_path / "touched").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning")
def test_a_scripted_module(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "a.pt")
    with pytest.raises(InputError, match="TorchScript archive"):
        checkpoints.load(net(), tmp_path)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "legacy.ckpt"])
@pytest.mark.parametrize("share", [0, 0.5, 0.98])
def test_a_truncated_file(name: str, share: float, tmp_path: Path) -> None:
    file = tmp_path / name
    if name == "a.safetensors":
        save_file(net().state_dict(), file)
    else:
        torch.save(net().state_dict(), file, _use_new_zipfile_serialization=name == "a.pt")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(InputError, match=rf"{name} is (damaged|corrupt)"):
        checkpoints.load(net(), file)


PLACES: dict[str, tuple[str, str]] = {
    "empty folder": ("empty", r"empty must hold checkpoints \(\.safetensors, .*\), found nothing"),
    "folder of notes": ("notes", r"found a\.txt and|found a\.txt$"),
    "missing": ("ab.pt", r"ab\.pt is missing: .* holds ac\.pt"),
    "missing folder": ("nowhere/a.pt", r"there is no folder"),
    "glob": ("*.nothing", r"'.*\*\.nothing' matches none"),
    "kind": ("model.onnx", r"must end in one of \.safetensors.*, found '\.onnx'"),
    "nothing": ("", r"must hold checkpoints|''"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_places_without_checkpoints(kind: str, tmp_path: Path) -> None:
    given, words = PLACES[kind]
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("")
    (tmp_path / "ac.pt").write_bytes(b"")
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=words):
        checkpoints.find(f"{tmp_path}/{given}" if given else "")
    with pytest.raises(InputError, match="at least one path"):
        checkpoints.find([])


def test_models_that_are_none(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "a.pt")
    for wrong in (net, "net", net().state_dict()):
        with pytest.raises(InputError, match=re.escape("model must be a torch.nn.Module or an Objective, found")):
            checkpoints.load(wrong, tmp_path)  # type: ignore[arg-type]
