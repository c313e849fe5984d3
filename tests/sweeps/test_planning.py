"""From settings and swept values to tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.experiments import Experiment, execute, find
from thalweg.sweeps import plan, replan
from thalweg.sweeps.planning import read_settings


def test_product(weather: Experiment) -> None:
    made = plan("weather", weather.preset("tiny"), {"wind.speed": "1,2", "seed": "0..2", "wind.gusts": "None"})
    assert [tuple(task.values.values()) for task in made.tasks] == [
        (speed, seed, None) for speed in (1.0, 2.0) for seed in (0, 1, 2)
    ]
    assert [task.config.wind.speed for task in made.tasks] == [1.0] * 3 + [2.0] * 3
    assert made.tasks[4].words == "wind.speed=2.0, seed=1, wind.gusts=None"
    assert made.sweeps == {"wind.speed": (1.0, 2.0), "seed": (0, 1, 2), "wind.gusts": (None,)}


def test_a_task_is_the_run_of_its_configuration(weather: Experiment, tmp_path: Path) -> None:
    made = plan("weather", weather.preset("tiny"), {"seed": "3"})
    assert execute("weather", made.tasks[0].config, tmp_path).name == made.tasks[0].name


def test_values_are_converted_and_counted_once(weather: Experiment) -> None:
    made = plan("weather", weather.preset("tiny"), {"wind.speed": "0.1,1e-1,0.2", "wind.gusts": [1, 2]})
    assert made.sweeps == {"wind.speed": (0.1, 0.2), "wind.gusts": (1, 2)}
    assert len({task.name for task in made.tasks}) == len(made.tasks) == 4


def test_scalars_for_a_sequence(weather: Experiment) -> None:
    made = plan("weather", weather.preset("tiny"), {"wind.layers": "log:2..8:3,[4,4]"})
    assert [task.config.wind.layers for task in made.tasks] == [(2,), (4,), (8,), (4, 4)]
    assert made.sweeps == {"wind.layers": ([2], [4], [8], [4, 4])}


def test_the_varied_field_takes_one_value_per_task() -> None:
    from thalweg.experiments.shared.members import Varied, members

    config = Varied(vary="training.lr", values=(0.5, 0.25, 0.125))
    made = plan("trajectory", config, {"training.lr": "0.1,0.2", "seed": "0,1"})
    assert [[member.config.training.lr for member in members(task.config)] for task in made.tasks] == [
        [0.1], [0.1], [0.2], [0.2]
    ]  # fmt: skip
    others = plan("trajectory", config, {"seed": "0,1"})
    assert all(len(members(task.config)) == 3 for task in others.tasks)


@pytest.mark.parametrize(
    ("sweeps", "sentence"),
    [
        ({}, "sweep must name at least one field, as in --sweep seed=0..4"),
        ({"wind.sped": "1"}, "unknown field 'wind.sped', did you mean 'wind.speed'?"),
        ({"gusts": "1"}, "unknown field 'gusts', did you mean 'wind.gusts'?"),
        ({"wind": "1"}, "sweep must name a field with a value, found the table 'wind'"),
        ({"seed": "0..x"}, "seed must be a valid integer, found '0..x'"),
        ({"seed": "-2..1"}, "seed must be greater than or equal to 0, found -2"),
        ({"wind.speed": "1,fast"}, "wind.speed must be a valid number, found 'fast'"),
    ],
)
def test_refused(weather: Experiment, sweeps: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        plan("weather", weather.preset("tiny"), sweeps)
    assert str(refused.value) == sentence


def test_the_same_field_twice() -> None:
    with pytest.raises(InputError, match=r"field 'training.batch_size' must be swept once, found it twice"):
        plan("trajectory", find("trajectory").preset("tiny"), {"training.batch_size": "8", "training.batch-size": "16"})


def test_settings_hold_the_whole_plan(weather: Experiment) -> None:
    config = weather.preset("tiny").model_copy(update={"seconds": 0.5})
    made = plan("weather", config, {"wind.layers": "[8],[]", "wind.gusts": "1,None", "log": "a,b"}, ["force"])
    settings = json.loads(json.dumps(made.settings))
    assert settings["sweep"] == {"wind.layers": [[8], []], "wind.gusts": [1, None], "log": ["a", "b"]}
    assert settings["wind"] == {"speed": 1.0}
    assert replan("weather", settings) == made
    other = plan("weather", config.model_copy(update={"log": Path("c")}), made.sweeps, ["force"])
    assert other == made  # what the swept field was before does not matter
    with pytest.raises(InputError, match="settings of a sweep must have a table 'sweep' of lists, found None"):
        replan("weather", config.model_dump(mode="json"))


def test_sweeps_in_toml(weather: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(
        'seconds = 2.0\n[sweep]\nseed = "0..2"\n"wind.speed" = [0.5, 1]\n[sweep.wind]\ngusts = 3\n[wind]\nspeed = 9'
    )
    config, sweeps = read_settings("weather", preset="tiny", file=file, changes={"seconds": "3"})
    assert (config.seconds, config.wind.speed) == (3.0, 9.0)
    made = plan("weather", config, sweeps)
    assert made.sweeps == {"seed": (0, 1, 2), "wind.speed": (0.5, 1.0), "wind.gusts": (3,)}
    file.write_text("sweep = 3")
    with pytest.raises(InputError, match=r"my.toml: sweep must be a table of fields, found 3"):
        read_settings("weather", file=file)
    file.write_text("[sweep]\n[wnd]\nspeed = 1")
    with pytest.raises(InputError, match=r"my.toml: unknown field 'wnd', did you mean 'wind'\?"):
        read_settings("weather", file=file)


@pytest.mark.parametrize("fields", [("seed", "replicas"), ("training.lr", "seed"), ("training.steps", "l2", "seed")])
def test_more_tasks_than_folders_is_refused_before_they_are_made(fields: tuple[str, ...]) -> None:
    config = find("trajectory").preset("tiny")
    with pytest.raises(InputError, match=r"sweep must have at most 100,000 tasks, found .*: 5,000 of "):
        plan("trajectory", config, dict.fromkeys(fields, "1..5000"))


def test_settings_whose_table_is_text() -> None:
    config = find("trajectory").preset("tiny")
    settings = plan("trajectory", config, {"model.hidden": "[3],[4]"}).settings | {"model": "mlp"}
    with pytest.raises(InputError, match=r"must have a table model for model.hidden, found 'mlp'"):
        replan("trajectory", settings)
