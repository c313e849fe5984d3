"""Results: saved and loaded equal, shown in a notebook, told in sentences that hold their numbers."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from thalweg import curvature, landscape, results
from thalweg.curvature import Operator
from thalweg.errors import InputError
from thalweg.figures import Figure, Line
from thalweg.objective import Objective
from thalweg.results import BaseResult, Result, Stored


def _objective() -> Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    return Objective(model, nn.CrossEntropyLoss(), (torch.randn(40, 4), torch.randint(0, 3, (40,))))


def _made(kind: str) -> Any:
    objective = _objective()
    if kind == "density":
        return curvature.spectral_density(objective, probes=3, steps=8)
    if kind == "profile":
        return landscape.interpolate(objective, objective.initial(seed=0), objective.initial(seed=1))
    if kind == "profiles":
        return landscape.interpolate(objective, objective.initial(replicas=2), objective.initial(replicas=2, first=2))
    count = 1 if kind == "line" else 2
    directions = landscape.random_directions(objective, objective.theta, count=count)
    return landscape.surface(objective, objective.theta, directions, 7)


@pytest.fixture(scope="module", params=["surface", "line", "density", "profile", "profiles"])
def result(request: pytest.FixtureRequest) -> Any:
    return _made(request.param)


def test_it_comes_back_equal(result: Any, tmp_path: Path) -> None:
    path = result.save(tmp_path / "result.safetensors")
    for found in (results.load(path), type(result).load(path)):
        assert found == result
        assert found.summary() == result.summary()
        assert found.plot() == result.plot()
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_a_result(result: Any) -> None:
    assert isinstance(result, Result)
    assert isinstance(result.plot(), Figure)
    assert result.table().height > 0
    assert 1 <= len(re.findall(r"\.(?:\s|$)", result.summary())) <= 3
    assert len(repr(result)) < 600
    bundle, _ = result._repr_mimebundle_()
    assert {"application/vnd.plotly.v1+json", "image/png", "text/plain"} == bundle.keys()
    assert result.summary() in bundle["text/plain"]


def test_another_value_is_not_equal() -> None:
    surface = _made("surface")
    changed = surface.values["loss"].copy()
    changed[0, 0] += 1e-12
    assert surface != dataclasses.replace(surface, values={"loss": changed})
    assert surface == dataclasses.replace(surface)


def test_sentences_hold_the_numbers() -> None:
    operator = Operator.dense(torch.diag(torch.linspace(-1, 3, 400, dtype=torch.float64)))
    words = curvature.spectral_density(operator, probes=10, steps=60).summary()
    share, error = map(float, re.findall(r"([\d.]+) % ± ([\d.]+) %", words)[0])
    assert abs(share - 25) < 4 * error < 12
    surface = _made("surface")
    assert f"{surface.at_center('loss'):.4g} at the center" in surface.summary()
    profile = _made("profile")
    assert f"{float(profile.values['train']['loss'][profile.positions == 1]):.4g} at the two ends" in profile.summary()


def test_the_table_is_what_was_measured() -> None:
    surface = _made("surface")
    row = surface.table().row(9, named=True)
    assert (row["c1"], row["c2"]) == (surface.axes[0][1], surface.axes[1][2])
    assert row["loss"] == surface.values["loss"][1, 2]
    profile = _made("profiles")
    row = profile.table().row(5, named=True)
    assert (row["position"], row["pair"]) == (float(profile.positions[2]), 1)
    assert row["train loss"] == float(profile.values["train"]["loss"][2, 1])


def test_lines_of_the_picture_are_the_numbers() -> None:
    profile = _made("profile")
    line = next(mark for mark in profile.plot().panels[0].marks if isinstance(mark, Line))
    np.testing.assert_array_equal(line.y, profile.values["train"]["loss"].double().numpy())


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Odd(Stored):
    """Everything that a field may hold."""

    value: Any


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        float("nan"),
        -float("inf"),
        "θ",
        (),
        [1, (2.5, None)],
        {"b": torch.tensor([1.0, float("nan")]), "a": {"deep": np.arange(6).reshape(2, 3)}},
        torch.zeros(0, 3, dtype=torch.bfloat16),
        torch.tensor(2),
        np.float32(0.1),
        np.array(5),
        np.array([True, False]),
        Odd((Odd(1), "x")),
    ],
)
def test_any_value_comes_back_as_it_was(value: Any, tmp_path: Path) -> None:
    saved = Odd(value.item() if isinstance(value, np.generic) else value)
    found = Odd.load(Odd(value).save(tmp_path / "odd.safetensors"))
    assert found == saved
    assert type(found.value) is type(saved.value)


def test_what_is_no_saved_result(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Odd\.value\[1\] cannot be saved: it holds a set"):
        Odd((1, {2})).save(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"path must end in \.safetensors, found 'a\.npz'"):
        Odd(1).save(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []
    save_file({"a": torch.ones(1)}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="must be a result that was saved, found other tensors"):
        results.load(tmp_path / "b.safetensors")
    for told, words in (
        ('{"kind": "os:system", "fields": {}}', "holds a os:system, which is not known"),
        ('{"kind": "landscape.Path", "fields": {"nonsense": 1}}', "cannot be read as a result"),
        ('{"kind": "nowhere.Path", "fields": {}}', "cannot be read as a result"),
        ("3", "must hold a result, found int"),
        ("{", "cannot be read as a result"),
    ):
        save_file({"a": torch.ones(1)}, tmp_path / "c.safetensors", {"thalweg": told})
        with pytest.raises(InputError, match=words):
            results.load(tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="must hold a Surface, found a Odd"):
        landscape.Surface.load(Odd(1).save(tmp_path / "odd.safetensors"))
    with pytest.raises(NotImplementedError, match="BaseResult must define plot"):
        BaseResult().plot()
