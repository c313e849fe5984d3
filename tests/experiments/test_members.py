"""Members are what training each configuration alone gives; they are kept one by one; bad values are told at once."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import thalweg.training
from thalweg import tasks
from thalweg.errors import InputError
from thalweg.experiments.framework.options import override
from thalweg.experiments.shared.members import Members, Varied, histories, members, named, table
from thalweg.experiments.shared.training import TrainingConfig, build
from thalweg.models.config import ModelConfig
from thalweg.runs import Run
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Recipe

SMALL = {
    "replicas": 3,
    "data": TaskConfig(samples=40, test_samples=20),
    "model": ModelConfig(hidden=(4,)),
    "training": Recipe(lr=1e-2, epochs=2, batch_size=10),
}
ORIGIN = {"seed": 0, "device": "cpu", "data_checksum": None, "command": ""}


@pytest.fixture
def run(tmp_path):
    made = Run.create(tmp_path, "demo", {}, **ORIGIN)
    with made.writing():
        yield made


def test_rows_are_those_of_each_training_alone(run):
    config = Varied(**SMALL, vary="model.hidden", values=())
    given = named((f"width {w}", float(w), override(config, {"model.hidden": [w]})) for w in (2, 5))
    found = table(Members(given, run), lambda member, setup, theta, buffers: {"norm": theta.norm(dim=1)})
    assert found["member"].to_list() == ["width 2"] * 3 + ["width 5"] * 3
    assert found["parameters"].unique(maintain_order=True).to_list() == [64 * w + w + 10 * w + 10 for w in (2, 5)]
    assert found["steps"].to_list() == [8] * 6
    assert found["epochs"].to_list() == [2.0] * 6
    for row in found.filter(pl.col("replica") == 1).iter_rows(named=True):
        setup = build(override(config, {"model.hidden": [int(row["value"])]}), tasks.load(config.data))
        alone = thalweg.training.train(setup.objective, recipe=config.training, seed=0, first=1)
        theta = alone.snapshots[-1, 0]
        for name, objective in setup.evaluate.items():
            for metric, value in objective.metrics(theta).items():
                assert row[f"{name}_{metric}"] == pytest.approx(float(value), rel=1e-4)
        assert row["norm"] == pytest.approx(float(theta.norm()), rel=1e-5)


def test_members_of_other_data_and_without_test_set(run):
    function = Varied(**SMALL | {"data": TaskConfig(name="function", points=16)})
    noisy = Varied(**SMALL, vary="data.label_noise", values=(0, 0.5))
    found = table(
        Members(named([("function", None, function), *((m.label, m.value, m.config) for m in members(noisy))]), run)
    )
    assert found.filter(pl.col("member") == "function")["test_loss"].is_null().all()
    assert found["value"].to_list() == [None] * 3 + [0.0] * 3 + [0.5] * 3
    assert run.environment["data_checksum"].count("+") == 2
    assert run.recordings == ["01-function", "02-label-noise-0", "03-label-noise-0.5"]


def test_a_diverged_replica_is_a_row_and_is_not_measured(run, monkeypatch):
    original = thalweg.Objective.initial

    def initial(self, replicas=None, seed=0, **more):
        theta = original(self, replicas, seed, **more)
        theta[-1] *= 1e30
        return theta

    monkeypatch.setattr(thalweg.Objective, "initial", initial)
    seen = []

    def measure(member, setup, theta, buffers):
        seen.append(len(theta))
        return {"norm": theta.norm(dim=1)}

    found = table(Members(members(Varied(**SMALL)), run), measure)
    assert found["status"].to_list() == ["completed", "completed", "diverged"]
    assert "no longer finite" in found["message"][2]
    assert seen == [2]
    assert np.isfinite(found["norm"].to_numpy()).tolist() == [True, True, False]
    assert np.isnan(found["train_loss"][2])
    assert histories(Members(members(Varied(**SMALL)), run))["status"].to_list().count("diverged") == 3


def test_running_statistics_reach_the_measure(run):
    config = Varied(**SMALL | {"model": ModelConfig(kind="cnn", channels=(2,), batchnorm=True)})

    def measure(member, setup, theta, buffers):
        return {name: setup.evaluate["train"].metrics(theta, buffers)[name] for name in ("loss", "accuracy")}

    found = table(Members(members(config), run), measure)
    assert found["loss"].to_list() == pytest.approx(found["train_loss"].to_list(), rel=1e-6)
    assert found["accuracy"].to_list() == found["train_accuracy"].to_list()


def test_continues_at_the_unfinished_member(run, monkeypatch):
    config = Varied(**SMALL, vary="training.lr", values=(0.1, 0.01, 0.001))
    real, calls = thalweg.training.train, []

    def failing(*given, **more):
        calls.append(more["recording"].name)
        if calls == ["01-lr-0.1", "02-lr-0.01"]:
            raise KeyboardInterrupt
        return real(*given, **more)

    monkeypatch.setattr(thalweg.training, "train", failing)
    with pytest.raises(KeyboardInterrupt):
        table(Members(members(config), run))
    again = table(Members(members(config), run))
    assert calls == ["01-lr-0.1", "02-lr-0.01", "02-lr-0.01", "03-lr-0.001"]
    assert len(again) == 9


def test_texts_become_the_values_that_they_are():
    config = override(Varied(**SMALL), {"vary": "training.batch_size", "values": "8,16,None"})
    assert config.values == (8, 16, "None")
    assert [member.config.training.batch_size for member in members(config)] == [8, 16, None]
    assert [member.value for member in members(config)] == [8.0, 16.0, None]
    flags = override(Varied(**SMALL), {"vary": "data.shuffle_labels", "values": ["false", "true"]})
    assert [member.config.data.shuffle_labels for member in members(flags)] == [False, True]
    assert all(member.config.values == () for member in members(flags))


def test_one_member_records_as_training():
    assert [member.name for member in members(Varied(**SMALL, values=(4,)))] == ["training"]
    assert [member.name for member in members(Varied(**SMALL))] == ["training"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vary": "training.batchsize"}, "found 'training.batchsize', did you mean 'training.batch_size'"),
        ({"vary": "training"}, "vary must be a field with a plain value, found 'training'"),
        ({"vary": "values"}, "vary must be a field"),
        ({"values": "8,x"}, "batch_size must .* found 'x'"),
        ({"vary": "training.lr", "values": [0.1, -1]}, "training.lr must be greater than 0, found -1"),
        ({"values": [8, 8]}, "values must differ from each other"),
    ],
)
def test_what_cannot_vary_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        override(Varied(**SMALL), change)


def test_a_network_that_does_not_fit_is_told_before_anything_is_trained(run):
    deep = {"model": ModelConfig(kind="cnn", channels=(2,) * 5)}  # 8x8 images cannot be halved five times
    given = named([("fits", None, TrainingConfig(**SMALL)), ("too deep", None, TrainingConfig(**SMALL | deep))])
    with pytest.raises(InputError):
        Members(given, run)
    assert run.recordings == []
