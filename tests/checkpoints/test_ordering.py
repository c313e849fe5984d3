"""Steps of checkpoints, as people and libraries write them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from thalweg import checkpoints
from thalweg.checkpoints.finding import Source
from thalweg.checkpoints.ordering import ordered

NAMES: dict[str, tuple[list[str], list[int], list[int], str]] = {
    "plain numbers": (["10.pt", "2.pt"], [1, 0], [2, 10], "number"),
    "steps": (["net_step_10.pt", "net_step_9.pt"], [1, 0], [9, 10], "step"),
    "steps behind": (["500steps.pt", "90steps.pt"], [1, 0], [90, 500], "step"),
    "Lightning": (["epoch=1-step=40.ckpt", "epoch=0-step=20.ckpt"], [1, 0], [20, 40], "step"),
    "a step within its epoch": (["epoch=1-step=5.ckpt", "epoch=0-step=20.ckpt"], [1, 0], [0, 1], "epoch"),
    "epochs": (["resnet18_epoch3.pth", "resnet18_epoch12.pth"], [0, 1], [3, 12], "epoch"),
    "Hugging Face": (
        ["checkpoint-1000/model.safetensors", "checkpoint-500/model.safetensors"],
        [1, 0],
        [500, 1000],
        "step",
    ),
    "one without": (["a_1.pt", "final.pt"], [0, 1], [0, 1], "order"),
    "names of two kinds": (["last_2.pt", "best_1.pt"], [0, 1], [0, 1], "order"),
    "two of a step": (["sgd/step5.pt", "adam/step5.pt"], [0, 1], [0, 1], "order"),
    "a number of the architecture": (["resnet18_b.pt", "resnet18_a.pt"], [0, 1], [0, 1], "order"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_steps_from_names(kind: str) -> None:
    names, places, steps, source = NAMES[kind]
    found = ordered([Source(Path(name), Path(name)) for name in names], [(None, None)] * len(names))
    assert (list(found.places), list(found.steps), found.source) == (places, steps, source)


CONTENTS: dict[str, tuple[list[dict[str, Any]], list[int], list[float], str]] = {
    "step": ([{"step": 30}, {"step": 4}], [4, 30], [4, 30], "step"),
    "tensor": (
        [{"global_step": torch.tensor(7), "epoch": 1}, {"global_step": torch.tensor(9), "epoch": 2}],
        [7, 9],
        [1, 2],
        "step",
    ),
    "epoch": ([{"epoch": 11}, {"epoch": 2}], [2, 11], [2, 11], "epoch"),
    "a step within its epoch": ([{"step": 5, "epoch": 1}, {"step": 9, "epoch": 0}], [0, 1], [0, 1], "epoch"),
    "neither": ([{"lr": 3}, {"lr": 2}], [0, 1], [0, 1], "order"),
    "no number": ([{"step": "last"}, {"step": None}], [0, 1], [0, 1], "order"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_steps_from_contents(kind: str, tmp_path: Path) -> None:
    contents, steps, epochs, source = CONTENTS[kind]
    for letter, content in zip("ab", contents, strict=True):
        state = {name: torch.full_like(p, ord(letter)) for name, p in nn.Linear(2, 2).state_dict().items()}
        torch.save({"model": state, **content}, tmp_path / f"{letter}.pt")
    found = checkpoints.load(nn.Linear(2, 2), tmp_path)
    assert (found.steps.tolist(), found.epochs.tolist(), found.meta["steps"]) == (steps, epochs, source)
    files = [Path(one["path"]).stem for one in found.meta["checkpoints"]]
    assert [chr(int(theta[0, 0])) for theta in found.snapshots] == files


def test_paths_keep_the_order_in_which_they_are_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for letter in "ab":
        torch.save(
            {name: torch.full_like(p, ord(letter)) for name, p in nn.Linear(2, 2).state_dict().items()},
            tmp_path / f"{letter}.pt",
        )
    with caplog.at_level(logging.INFO, "thalweg"):
        found = checkpoints.load(nn.Linear(2, 2), [tmp_path / "b.pt", tmp_path / "a.pt"])
    assert found.snapshots[:, 0, 0].tolist() == [ord("b"), ord("a")]
    assert "numbered 0 to 1" in caplog.text


def test_one_file_is_read_once(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "a.pt")
    assert len(checkpoints.find([tmp_path / "a.pt", f"{tmp_path}/*.pt", tmp_path])) == 1
