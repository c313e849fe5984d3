"""The contract of results, for those of landscape/, generalization/ and recordings: one parametrised file.

Each saves and loads equal, draws itself in both libraries, has a table and sentences with its principal number, prints
short, makes a page; with NaN, with one network and with many.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg import generalization, landscape, report, results, training
from thalweg.figures import Figure
from thalweg.figures.scales import number
from thalweg.objective import Objective
from thalweg.results import BaseResult, Result
from thalweg.results.words import percent

torch.manual_seed(0)
DATA = torch.randn(40, 4, dtype=torch.float64), torch.randint(0, 3, (40,))
MODEL = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
OBJECTIVE = Objective(MODEL, nn.CrossEntropyLoss(), DATA)
RELU = Objective(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)).double(), nn.CrossEntropyLoss(), DATA)
PLANE = landscape.random_directions(OBJECTIVE, OBJECTIVE.theta, count=2)
RECIPE = training.Recipe(steps=6, lr=0.05, batch_size=20)


def _thetas(kind: str) -> Tensor:
    """One network, several, or several of which one is NaN."""
    if kind == "one":
        return OBJECTIVE.initial()
    found = OBJECTIVE.initial(replicas=4)
    if kind == "NaN":
        found[2] = torch.nan
    return found


def _others(kind: str) -> Tensor:
    return OBJECTIVE.initial(first=7) if kind == "one" else OBJECTIVE.initial(replicas=4, first=7)


def _path(kind: str) -> Tensor:
    """(S, R, P), or (S, P) of one."""
    start, end = _thetas("one" if kind == "one" else "many"), _others(kind)
    path = torch.stack([start + t * (end - start) for t in torch.linspace(0, 1, 8, dtype=torch.float64)])
    path = path + 0.05 * torch.randn(path.shape, generator=torch.manual_seed(1), dtype=torch.float64)
    if kind == "NaN":
        path[3, 1] = torch.nan
    return path


def _snapshots(kind: str) -> Tensor:
    return _path(kind) if kind != "one" else _path(kind)[:, None]


def _line(kind: str) -> landscape.Profile:
    return landscape.interpolate(OBJECTIVE, _thetas(kind), _others(kind), landscape.with_ends(points=7), subsets=3)


def _trained(kind: str) -> Any:
    recipe = RECIPE.model_copy(update={"lr": 1e200 if kind == "NaN" else 0.05})
    return training.train(OBJECTIVE, recipe=recipe, replicas=1 if kind == "one" else 4, evaluate={"train": OBJECTIVE})


def _ranked(kind: str) -> generalization.RankCorrelation:
    measure, gap = np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 2, 3, 5, 4])
    if kind == "NaN":
        measure = measure * np.nan
    return generalization.rank_correlation(measure[: 1 if kind == "one" else 5], gap[: 1 if kind == "one" else 5])


def _first(values: Any) -> str:
    """A median as sentences write it."""
    found = np.asarray(values, dtype=np.float64).ravel()
    return number(float(np.median(found[np.isfinite(found)])))


# name -> (kind -> the result, its principal number in words)
MADE: dict[str, tuple[Callable[[str], Any], Callable[[Any], str]]] = {
    "PathOnPlane": (
        lambda kind: landscape.path_on_plane(OBJECTIVE, _path(kind), OBJECTIVE.theta, PLANE),
        lambda found: _first(found.off_plane),
    ),
    "PCA": (lambda kind: landscape.pca(_snapshots(kind)), lambda found: percent(float(found.ratio(2).sum()))),
    "TSNE": (
        lambda kind: landscape.tsne(landscape.pca(_snapshots(kind)), iterations=250),
        lambda found: f"{found.perplexity:.3g}",
    ),
    "ScatterSurface": (
        lambda kind: landscape.scatter_surface(OBJECTIVE, _path(kind), last=2, neighbours=5, method="pca"),
        lambda found: percent(found.lower),
    ),
    "Profile": (_line, lambda found: f"{np.median(found.values['train']['loss'][found.positions == 0]):.4g}"),
    "Barrier": (lambda kind: _line(kind).barriers["train"], lambda found: _first(found.height)),
    "Connection": (
        lambda kind: landscape.connect(OBJECTIVE, _thetas(kind), _others(kind), RECIPE),
        lambda found: _first(found.last_loss),
    ),
    "Alignment": (
        lambda kind: landscape.align(OBJECTIVE, _thetas(kind), _others(kind)),
        lambda found: _first(found.after),
    ),
    "Perturbation": (
        lambda kind: landscape.perturb(OBJECTIVE, _thetas(kind), landscape.fine_offsets(points=9)),
        lambda found: _first(found.center),
    ),
    "Surface": (
        lambda kind: landscape.surface(OBJECTIVE, _thetas("one") * (1e200 if kind == "NaN" else 1), PLANE, 5),
        lambda found: f"{found.at_center('loss'):.4g}",
    ),
    "Sensitivity": (
        lambda kind: generalization.sensitivity(OBJECTIVE, _thetas(kind)),
        lambda found: _first(found.mean),
    ),
    "BoxSharpness": (
        lambda kind: generalization.keskar_sharpness(OBJECTIVE, _thetas(kind), iterations=2, starts=1),
        lambda found: _first(found.value),
    ),
    "AverageSharpness": (
        lambda kind: generalization.average_sharpness(OBJECTIVE, _thetas(kind), pairs=4),
        lambda found: _first(found.mean),
    ),
    "HessianSharpness": (
        lambda kind: generalization.hessian_sharpness(OBJECTIVE, _thetas(kind), trace_products=10),
        lambda found: _first(found.largest),
    ),
    "Norms": (
        lambda kind: generalization.norms(OBJECTIVE, _thetas(kind), _others(kind)),
        lambda found: _first(found.path_norm),
    ),
    "Margins": (
        lambda kind: generalization.margins(OBJECTIVE, _thetas(kind)),
        lambda found: _first(found.percentile(10.0)),
    ),
    "RankCorrelation": (_ranked, lambda found: number(found.tau)),
    "RankCorrelations": (
        lambda kind: generalization.rank_correlations(
            {"norm": _ranked(kind).measure, "margin": -_ranked(kind).measure}, {"gap in loss": _ranked(kind).gap}
        ),
        lambda found: number(found.gaps["gap in loss"]["norm"].tau),
    ),
    "Rescaling": (
        lambda kind: generalization.rescaling(RELU, RELU.theta * (math.nan if kind == "NaN" else 1), count=3),
        lambda found: number(float(found.measured[0] / found.measured[1])),
    ),
    "History": (lambda kind: _trained(kind).history, lambda found: _first(found.final("train_loss"))),
    "Recording": (_trained, lambda found: _first(found.history.final("train_loss"))),
}
KINDS = ("one", "many", "NaN")


@pytest.fixture(scope="module", params=[f"{name}, {kind}" for name in MADE for kind in KINDS])
def case(request: pytest.FixtureRequest) -> tuple[str, str, Any]:
    name, kind = request.param.split(", ")
    return name, kind, MADE[name][0](kind)


def test_it_presents_itself(case: tuple[str, str, Any]) -> None:
    name, kind, found = case
    assert isinstance(found, Result)
    assert found.table().height > 0
    words = found.summary()
    assert words.endswith(".")
    assert "\n" not in words
    if kind != "NaN" and not (name.startswith("RankCorrelation") and kind == "one"):  # of one network there is no order
        assert MADE[name][1](found) in words
    assert len(repr(found)) < 300


def test_it_draws_itself_in_both_libraries(case: tuple[str, str, Any], tmp_path: Path) -> None:
    figure = case[2].plot()
    assert isinstance(figure, Figure)
    assert figure.caption.strip()
    assert all(panel.x.title and panel.y.title for panel in figure.panels)
    assert figure.save(tmp_path / "figure.png").stat().st_size > 5000
    assert figure.plotly().data
    bundle, _ = case[2]._repr_mimebundle_()
    assert {"application/vnd.plotly.v1+json", "image/png", "text/plain"} == bundle.keys()


def test_it_is_saved_and_loaded_equal(case: tuple[str, str, Any], tmp_path: Path) -> None:
    if not isinstance(case[2], BaseResult):  # a recording has a folder of its own
        return
    found = results.load(case[2].save(tmp_path / "result.safetensors"))
    assert found == case[2]
    assert (found.summary(), found.plot()) == (case[2].summary(), case[2].plot())
    assert found.table().equals(case[2].table(), null_equal=True) or kindred(found.table(), case[2].table())


def kindred(a: Any, b: Any) -> bool:
    """Equal tables, NaN equal to itself."""
    return a.columns == b.columns and a.fill_nan(0.25).equals(b.fill_nan(0.25))


def test_a_page_is_made_of_all(tmp_path: Path) -> None:
    found = [make("many") for make, _ in MADE.values()]
    page = report.write(tmp_path / "all.html", *found, title="All results").read_text()
    for result in found:
        assert result.plot().title in page


def test_what_is_not_saved_is_asked_for(tmp_path: Path) -> None:
    found = MADE["PCA"][0]("many")
    loaded = landscape.PCA.load(found.save(tmp_path / "pca.safetensors"))
    with pytest.raises(Exception, match="call pca again"):
        loaded.components()
    scatter = MADE["ScatterSurface"][0]("many")
    scatter = landscape.ScatterSurface.load(scatter.save(tmp_path / "scatter.safetensors"))
    with pytest.raises(Exception, match="needs the weights"):
        scatter.embedded("pca")
    assert dataclasses.replace(found, points=None) == found


def test_a_path_knows_the_epochs_of_its_recording() -> None:
    recording = _trained("many")
    found = landscape.path_on_plane(OBJECTIVE, recording, OBJECTIVE.theta, PLANE)
    assert found.plot().panels[0].x.label == "epoch"
    assert found.epochs is not None
    assert found.epochs.tolist() == recording.epochs.tolist()
    surface = MADE["Surface"][0]("many")
    labels = {mark.label for mark in surface.plot(path=found, places={"end": (0.0, 0.0)}).panels[0].marks}
    assert "path of training" in labels
    assert surface.space(path=found).save
