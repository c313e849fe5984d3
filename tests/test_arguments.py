"""Every public function that takes θ, an objective, an operator or a recording, given each kind of thing users have.

Each combination either gives the number that the plain call gives, or is one sentence of an `InputError`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg import critical, curvature, generalization, landscape, training
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.runs import MemoryRecording


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()


def flat(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def recorded() -> MemoryRecording:
    recording = MemoryRecording()
    for step in range(6):
        recording.append(step, float(step), (A + step * (B - A) / 5 + 0.1 * torch.cos(step * A))[None])
    recording.finish()
    return recording


MODEL, OTHER = net(0), net(1)
A, B = flat(MODEL), flat(OTHER)
X = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
OBJECTIVE = Objective(MODEL, nn.CrossEntropyLoss(), (X, (X[:, 0] > 0).long()), l2=0.1)
NARROW = Objective(
    nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)).double(),
    nn.CrossEntropyLoss(),
    (X, (X[:, 0] > 0).long()),
)
OPERATOR = curvature.hessian_operator(OBJECTIVE, A)
MATRIX = OBJECTIVE.hessian(A)
DIRECTIONS = landscape.random_directions(OBJECTIVE, A, 2)
RECORDING = recorded()
FOUND = landscape.pca(RECORDING.snapshots)
POINTS = critical.certify(OBJECTIVE, A)

GIVEN: dict[str, Callable[[], Any]] = {
    "model": lambda: OTHER,
    "state_dict": OTHER.state_dict,
    "wrapped state_dict": lambda: {"state_dict": nn.DataParallel(OTHER).state_dict()},
    "array": lambda: B.numpy(),
    "list of models": lambda: [OTHER, MODEL],
    "list of numbers": lambda: B.tolist(),
    "other architecture": lambda: nn.Linear(2, 2).double(),
    "tensor": lambda: B,
    "shorter tensor": lambda: B[1:],
    "None": lambda: None,
    "text": lambda: "checkpoint.pt",
    "number": lambda: 3.0,
    "objective": lambda: OBJECTIVE,
    "operator": lambda: OPERATOR,
    "recording": lambda: RECORDING,
    "snapshots": lambda: RECORDING.snapshots,
}

Call = Callable[[Any], Any]
THETA: dict[str, Call] = {
    "Objective.value": lambda t: OBJECTIVE.value(t),
    "Objective.gradient": lambda t: OBJECTIVE.gradient(t),
    "Objective.value_and_gradient": lambda t: OBJECTIVE.value_and_gradient(t),
    "Objective.value_gradient_product": lambda t: OBJECTIVE.value_gradient_product(t),
    "Objective.hvp": lambda t: OBJECTIVE.hvp(t, OBJECTIVE.gradient(t)),
    "Objective.hvp (v)": lambda t: OBJECTIVE.hvp(A, t),
    "Objective.products": lambda t: OBJECTIVE.products(t)(OBJECTIVE.gradient(t)),
    "Objective.hessian": lambda t: OBJECTIVE.hessian(t),
    "Objective.metrics": lambda t: OBJECTIVE.metrics(t),
    "Objective.outputs": lambda t: OBJECTIVE.outputs(t),
    "Objective.module": lambda t: flat(OBJECTIVE.module(t)),
    "Objective.ravel": lambda t: OBJECTIVE.ravel(t),
    "train": lambda t: training.train(OBJECTIVE, t, training.Recipe(steps=1)).snapshots[:],
    "curvature.exact_curvature": lambda t: curvature.exact_curvature(OBJECTIVE, t),
    "curvature.hessian": lambda t: curvature.hessian(OBJECTIVE, t),
    "curvature.ggn": lambda t: curvature.ggn(OBJECTIVE, t),
    "curvature.fisher": lambda t: curvature.fisher(OBJECTIVE, t),
    "curvature.layer_blocks": lambda t: curvature.layer_blocks(OBJECTIVE, t),
    "curvature.hessian_operator": lambda t: curvature.hessian_operator(OBJECTIVE, t).to_dense(),
    "curvature.ggn_operator": lambda t: curvature.ggn_operator(OBJECTIVE, t).to_dense(),
    "curvature.fisher_operator": lambda t: curvature.fisher_operator(OBJECTIVE, t).to_dense(),
    "curvature.ggn_products": lambda t: curvature.ggn_products(OBJECTIVE, t)(OBJECTIVE.gradient(t)),
    "curvature.fisher_products": lambda t: curvature.fisher_products(OBJECTIVE, t)(OBJECTIVE.gradient(t)),
    "curvature.leading_eigenvalues": lambda t: curvature.leading_eigenvalues(OBJECTIVE, t),
    "curvature.minimal_ratio": lambda t: curvature.minimal_ratio(OBJECTIVE, t),
    "curvature.neighbour_ratio": lambda t: curvature.neighbour_ratio(OBJECTIVE, t, [0.1], samples=5),
    "critical.search": lambda t: critical.search(OBJECTIVE, t, first=2, second=1),
    "critical.minimise": lambda t: critical.minimise(OBJECTIVE, t, first=2, second=1),
    "critical.follow": lambda t: critical.follow(OBJECTIVE, t, 1, steps=2),
    "critical.follow_again": lambda t: critical.follow_again(OBJECTIVE, t, 1, restarts=1, steps=2),
    "critical.gradient_norm_adam": lambda t: critical.gradient_norm_adam(OBJECTIVE, t, steps=2),
    "critical.gradient_norm_lbfgs": lambda t: critical.gradient_norm_lbfgs(OBJECTIVE, t, steps=2),
    "critical.levenberg_on_gradient": lambda t: critical.levenberg_on_gradient(OBJECTIVE, t, steps=2),
    "critical.levenberg_on_loss": lambda t: critical.levenberg_on_loss(OBJECTIVE, t, steps=2),
    "critical.saddle_free": lambda t: critical.saddle_free(OBJECTIVE, t, steps=2),
    "critical.steepest_descent": lambda t: critical.steepest_descent(OBJECTIVE, t, steps=2),
    "critical.certify": lambda t: critical.certify(OBJECTIVE, t),
    "critical.newton_cg": lambda t: critical.newton_cg(OBJECTIVE, t, steps=1, products=3),
    "critical.continue_in_decay": lambda t: critical.continue_in_decay(OBJECTIVE, t, [0.1], steps=1).lost,
    "critical.embed": lambda t: critical.embed(OBJECTIVE, OBJECTIVE, t),
    "critical.split": lambda t: critical.split(OBJECTIVE.with_l2(0.0), t, 0, 1, 0.5)[1],
    "critical.Problem.value_and_gradient": lambda t: critical.as_problem(OBJECTIVE).value_and_gradient(t),
    "critical.Problem.hessian": lambda t: critical.as_problem(OBJECTIVE).hessian(t),
    "critical.Problem.value_gradient_product": lambda t: critical.as_problem(OBJECTIVE).value_gradient_product(t),
    "critical.Problem.gauss_newton": lambda t: critical.as_problem(OBJECTIVE).gauss_newton(t),
    "critical.FunctionProblem.hessian": lambda t: critical.FunctionProblem(torch.sum, 17).hessian(t),
    "landscape.align": lambda t: landscape.align(OBJECTIVE, shaped(t), t),
    "landscape.connect": lambda t: landscape.connect(OBJECTIVE, t, t, training.Recipe(steps=1)).loss,
    "landscape.interpolate": lambda t: landscape.interpolate(OBJECTIVE, shaped(t), t, [0.0, 1.0], subsets=0),
    "landscape.surface": lambda t: landscape.surface(OBJECTIVE, t, DIRECTIONS, 3).values,
    "landscape.random_directions": lambda t: landscape.random_directions(OBJECTIVE, t),
    "landscape.gradient_direction": lambda t: landscape.gradient_direction(OBJECTIVE, t),
    "landscape.hessian_directions": lambda t: landscape.hessian_directions(OBJECTIVE, t).vectors.abs(),
    "landscape.solution_directions": lambda t: landscape.solution_directions(MODEL, t),
    "landscape.solution_directions (objective)": lambda t: landscape.solution_directions(A, t, objective=OBJECTIVE),
    "landscape.normalized": lambda t: landscape.normalized(A, t, OBJECTIVE.layout),
    "landscape.normalized (vectors)": lambda t: landscape.normalized(t, A, OBJECTIVE.layout),
    "landscape.perturb": lambda t: landscape.perturb(OBJECTIVE, t, [0.0, 0.1]),
    "landscape.path_on_plane (center)": lambda t: landscape.path_on_plane(OBJECTIVE, RECORDING, t, DIRECTIONS),
    "landscape.Path": lambda t: landscape.Path(t),
    "landscape.Directions": lambda t: landscape.Directions(t, ("one",)),
    "landscape.Directions.points": lambda t: DIRECTIONS.points(t, torch.zeros(2)),
    "landscape.Directions.project": lambda t: DIRECTIONS.project(t),
    "landscape.Alignment.theta": lambda t: landscape.align(OBJECTIVE, A, B).theta(t),
    "generalization.asam_sharpness": lambda t: generalization.asam_sharpness(OBJECTIVE, t, steps=2),
    "generalization.sam_sharpness": lambda t: generalization.sam_sharpness(OBJECTIVE, t, steps=2),
    "generalization.average_sharpness": lambda t: generalization.average_sharpness(OBJECTIVE, t, pairs=2),
    "generalization.keskar_sharpness": lambda t: generalization.keskar_sharpness(OBJECTIVE, t, starts=1, iterations=1),
    "generalization.hessian_sharpness": lambda t: generalization.hessian_sharpness(OBJECTIVE, t),
    "generalization.rescaling": lambda t: generalization.rescaling(OBJECTIVE, t, count=3),
    "generalization.frobenius_product": lambda t: generalization.frobenius_product(OBJECTIVE, t),
    "generalization.spectral_product": lambda t: generalization.spectral_product(OBJECTIVE, t),
    "generalization.norms": lambda t: generalization.norms(OBJECTIVE, t),
    "generalization.path_norm": lambda t: generalization.path_norm(OBJECTIVE, t),
    "generalization.input_norms": lambda t: generalization.input_norms(OBJECTIVE, t),
    "generalization.sensitivity": lambda t: generalization.sensitivity(OBJECTIVE, t),
    "generalization.margins": lambda t: generalization.margins(OBJECTIVE, t),
    "generalization.normalized_margin": lambda t: generalization.normalized_margin(OBJECTIVE, t),
    "generalization.distance": lambda t: generalization.distance(A, t, objective=OBJECTIVE),
    "generalization.distance (no objective)": lambda t: generalization.distance(MODEL, t),
}
LOSS: dict[str, Call] = {
    "train": lambda o: training.train(o, A, training.Recipe(steps=1)).snapshots[:],
    "train (evaluate)": lambda o: training.train(OBJECTIVE, A, training.Recipe(steps=1), evaluate={"test": o}).steps,
    "curvature.exact_curvature": lambda o: curvature.exact_curvature(o, A),
    "curvature.hessian": lambda o: curvature.hessian(o, A),
    "curvature.ggn": lambda o: curvature.ggn(o, A),
    "curvature.fisher": lambda o: curvature.fisher(o, A),
    "curvature.layer_blocks": lambda o: curvature.layer_blocks(o, A),
    "curvature.hessian_operator": lambda o: curvature.hessian_operator(o, A).to_dense(),
    "curvature.ggn_operator": lambda o: curvature.ggn_operator(o, A).to_dense(),
    "curvature.fisher_operator": lambda o: curvature.fisher_operator(o, A).to_dense(),
    "curvature.ggn_products": lambda o: curvature.ggn_products(o, A)(A),
    "curvature.fisher_products": lambda o: curvature.fisher_products(o, A)(A),
    "curvature.leading_eigenvalues": lambda o: curvature.leading_eigenvalues(o, A[None]),
    "curvature.minimal_ratio": lambda o: curvature.minimal_ratio(o, A),
    "curvature.neighbour_ratio": lambda o: curvature.neighbour_ratio(o, A, [0.1], samples=5),
    "curvature.over_subsets": lambda o: curvature.over_subsets(o, lambda part: part.value(A), 4, subsets=2),
    "critical.as_problem": lambda o: critical.as_problem(o).value_and_gradient(A[None]),
    "critical.search": lambda o: critical.search(o, A, first=1, second=1),
    "critical.minimise": lambda o: critical.minimise(o, A, first=1, second=1),
    "critical.follow": lambda o: critical.follow(o, A[None], 1, steps=2),
    "critical.follow_again": lambda o: critical.follow_again(o, A[None], 1, restarts=1, steps=2),
    "critical.gradient_norm_adam": lambda o: critical.gradient_norm_adam(o, A[None], steps=1),
    "critical.gradient_norm_lbfgs": lambda o: critical.gradient_norm_lbfgs(o, A[None], steps=1),
    "critical.levenberg_on_gradient": lambda o: critical.levenberg_on_gradient(o, A[None], steps=1),
    "critical.levenberg_on_loss": lambda o: critical.levenberg_on_loss(o, A[None], steps=1),
    "critical.saddle_free": lambda o: critical.saddle_free(o, A[None], steps=1),
    "critical.steepest_descent": lambda o: critical.steepest_descent(o, A[None], steps=1),
    "critical.certify": lambda o: critical.certify(o, A[None]),
    "critical.descend": lambda o: critical.descend(o, POINTS),
    "critical.lower_saddles": lambda o: critical.lower_saddles(o, POINTS),
    "critical.newton_cg": lambda o: critical.newton_cg(o, A, steps=1, products=5),
    "critical.continue_in_decay": lambda o: critical.continue_in_decay(o, A[None], [0.1], steps=1).lost,
    "critical.embed": lambda o: critical.embed(NARROW, o, NARROW.theta[None]),
    "critical.embed (narrow)": lambda o: critical.embed(o, OBJECTIVE, A[None]),
    "critical.split": lambda o: critical.split(o, A[None], 0, 1, 0.5),
    "critical.subnetwork": lambda o: critical.subnetwork(o, (2,)).size,
    "critical.widths": lambda o: critical.widths(o),
    "critical.ObjectiveProblem": lambda o: critical.ObjectiveProblem(o).size,
    "landscape.align": lambda o: landscape.align(o, A, B),
    "landscape.connect": lambda o: landscape.connect(o, A, B, training.Recipe(steps=1)).loss,
    "landscape.interpolate": lambda o: landscape.interpolate(o, A, B, [0.0, 1.0], subsets=0),
    "landscape.interpolate (by name)": lambda o: landscape.interpolate({"x": o}, A, B, [0.0, 1.0], subsets=0),
    "landscape.follow": lambda o: landscape.follow(o, landscape.Path(torch.stack([A, B])), [0.0, 1.0], subsets=0),
    "landscape.surface": lambda o: landscape.surface(o, A, DIRECTIONS, 3).values,
    "landscape.surface (by name)": lambda o: landscape.surface({"x": o}, A, DIRECTIONS, 3).values,
    "landscape.random_directions": lambda o: landscape.random_directions(o, A),
    "landscape.gradient_direction": lambda o: landscape.gradient_direction(o, A),
    "landscape.hessian_directions": lambda o: landscape.hessian_directions(o, A).vectors.abs(),
    "landscape.perturb": lambda o: landscape.perturb(o, A, [0.0, 0.1]),
    "landscape.path_on_plane": lambda o: landscape.path_on_plane(o, RECORDING, A, DIRECTIONS),
    "landscape.scatter_surface": lambda o: landscape.scatter_surface(o, RECORDING, neighbours=1, method="pca"),
    "generalization.asam_sharpness": lambda o: generalization.asam_sharpness(o, A, steps=1),
    "generalization.sam_sharpness": lambda o: generalization.sam_sharpness(o, A, steps=1),
    "generalization.average_sharpness": lambda o: generalization.average_sharpness(o, A, pairs=2),
    "generalization.keskar_sharpness": lambda o: generalization.keskar_sharpness(o, A, starts=1, iterations=1),
    "generalization.hessian_sharpness": lambda o: generalization.hessian_sharpness(o, A),
    "generalization.frobenius_product": lambda o: generalization.frobenius_product(o, A),
    "generalization.spectral_product": lambda o: generalization.spectral_product(o, A),
    "generalization.norms": lambda o: generalization.norms(o, A),
    "generalization.path_norm": lambda o: generalization.path_norm(o, A),
    "generalization.input_norms": lambda o: generalization.input_norms(o, A),
    "generalization.sensitivity": lambda o: generalization.sensitivity(o, A),
    "generalization.margins": lambda o: generalization.margins(o, A),
    "generalization.normalized_margin": lambda o: generalization.normalized_margin(o, A),
    "generalization.multipliers": lambda o: generalization.multipliers(o, 2.0),
    "generalization.rescalable_pairs": lambda o: generalization.rescalable_pairs(o),
    "generalization.rescaling": lambda o: generalization.rescaling(o, A, count=3),
}
MAP: dict[str, Call] = {
    "curvature.eigenpairs": lambda m: curvature.eigenpairs(m, 3).values,
    "curvature.trace": lambda m: curvature.trace(m).value,
    "curvature.diagonal": lambda m: curvature.diagonal(m).values,
    "curvature.quadrature": lambda m: (curvature.quadrature(m).weights * curvature.quadrature(m).nodes).sum(1),
    "curvature.spectral_density": lambda m: curvature.spectral_density(m).density,
    "curvature.estimate_counts": lambda m: curvature.estimate_counts(m, 0.01).negative,
    "generalization.rescaled_hessian": lambda m: generalization.rescaled_hessian(m, torch.ones(17)).to_dense(),
}
PLAIN: dict[str, Call] = {  # tensors, trajectories and results, which have no other meaning
    "curvature.count_signs": lambda x: curvature.count_signs(x),
    "curvature.inertia": lambda x: curvature.inertia(x, 0.1),
    "curvature.Operator.dense": lambda x: curvature.Operator.dense(x),
    "curvature.Operator": lambda x: OPERATOR(x),
    "critical.descend (points)": lambda x: critical.descend(OBJECTIVE, x),
    "critical.lower_saddles (points)": lambda x: critical.lower_saddles(OBJECTIVE, x),
    "critical.distinct": lambda x: critical.distinct(x),
    "critical.same_points": lambda x: critical.same_points(x, 0, x, 0),
    "critical.solution_landscape": lambda x: critical.solution_landscape(x, x),
    "critical.FunctionProblem": lambda x: critical.FunctionProblem(x, 2) if not callable(x) else None,
    "landscape.pca": lambda x: landscape.pca(x),
    "landscape.explained_ratio": lambda x: landscape.explained_ratio(x),
    "landscape.pca_directions": lambda x: landscape.pca_directions(x),
    "landscape.tsne": lambda x: landscape.tsne(x),
    "landscape.matched_walk": lambda x: landscape.matched_walk(x),
    "landscape.random_walk": lambda x: landscape.random_walk(x, 3),
    "landscape.path_on_plane (path)": lambda x: landscape.path_on_plane(OBJECTIVE, x, A, DIRECTIONS),
    "landscape.path_on_plane (directions)": lambda x: landscape.path_on_plane(OBJECTIVE, RECORDING, A, x),
    "landscape.scatter_surface (path)": lambda x: landscape.scatter_surface(OBJECTIVE, x, neighbours=1, method="pca"),
    "landscape.surface (directions)": lambda x: landscape.surface(OBJECTIVE, A, x, 3),
    "landscape.follow (path)": lambda x: landscape.follow(OBJECTIVE, x, [0.0, 1.0], subsets=0),
    "landscape.normalized (layout)": lambda x: landscape.normalized(A, B, x),
    "landscape.valley": lambda x: landscape.valley(x, A, 0.0, 1.0),
    "landscape.export_surface": lambda x: landscape.export_surface(x, FilePath("never")),
    "generalization.margin_percentile": lambda x: generalization.margin_percentile(x),
    "generalization.batch_mean_norm": lambda x: generalization.batch_mean_norm(x, 2),
    "generalization.epsilon_sharpness": lambda x: generalization.epsilon_sharpness(x, x),
    "generalization.rescaled_hessian (factors)": lambda x: generalization.rescaled_hessian(OPERATOR, x),
    "train (recording)": lambda x: (
        training.train(OBJECTIVE, A, training.Recipe(steps=1), recording=x) if x is not None else None
    ),
    "train (recipe)": lambda x: training.train(OBJECTIVE, A, x) if x is not None else None,
}


def shaped(t: Any) -> Tensor:
    """Beside t: as many rows of A."""
    rows = len(t) if isinstance(t, list) or (isinstance(t, Tensor) and t.dim() == 2) else 0
    return torch.stack([A] * rows) if 0 < rows < 3 else A


def tensors(value: Any) -> list[Tensor]:
    """All numbers in a result, in a fixed order."""
    if isinstance(value, Tensor):
        return [value.detach()]
    if isinstance(value, np.ndarray):
        return [torch.from_numpy(np.array(value))]
    if isinstance(value, bool | int | float):
        return [torch.tensor(float(value))]
    if isinstance(value, dict):
        return [one for key in sorted(value) for one in tensors(value[key])]
    if isinstance(value, list | tuple):
        return [one for part in value for one in tensors(part)]
    if is_dataclass(value):
        return [one for field in fields(value) for one in tensors(getattr(value, field.name))]
    assert value is None or isinstance(value, str | Enum | Objective), type(value)
    return []


def same(found: Any, expected: Any) -> bool:
    pairs = list(zip(tensors(found), tensors(expected), strict=True))
    return bool(pairs) and all(
        one.shape == other.shape and torch.allclose(one.double(), other.double(), rtol=1e-6, atol=1e-9, equal_nan=True)
        for one, other in pairs
    )


def attempt(call: Call, value: Any) -> Any:
    """The result, or the sentence; every other exception passes."""
    try:
        return call(value)
    except InputError as error:
        sentence = str(error)
    assert 0 < len(sentence) < 700
    assert "\n" not in sentence
    return sentence


AS_B = ("model", "state_dict", "wrapped state_dict", "array", "tensor")
ONE_ROW = {"curvature.leading_eigenvalues"}  # (B, P) only
NO_NAMES = {  # nothing there that knows the names of parameters
    "critical.FunctionProblem.hessian",
    "landscape.normalized", "landscape.normalized (vectors)", "landscape.Path", "landscape.Directions",
    "landscape.Directions.points", "landscape.Directions.project", "landscape.Alignment.theta",
}  # fmt: skip


@pytest.mark.parametrize("name", THETA)
def test_theta(name: str) -> None:
    call = THETA[name]
    plain, both = attempt(call, B), attempt(call, torch.stack([B, A]))
    named = name not in NO_NAMES
    for kind, make in GIVEN.items():
        found = attempt(call, make())
        if kind in ("tensor", "array") or (kind in AS_B and named):
            assert same(found, plain) or found == plain or name in ONE_ROW, (kind, found)
        elif kind == "list of models" and named and not isinstance(both, str):
            assert same(found, both) or isinstance(found, str), (kind, found)
        elif not isinstance(found, str):
            assert (kind == "list of numbers" and not named and same(found, plain)) or (name, kind) == ("train", "None")


@pytest.mark.parametrize("name", LOSS)
def test_objective(name: str) -> None:
    attempt(LOSS[name], OBJECTIVE)
    for kind, make in GIVEN.items():
        if kind != "objective":
            found = attempt(LOSS[name], make())
            assert isinstance(found, str), (kind, found)


@pytest.mark.parametrize("name", MAP)
def test_operator(name: str) -> None:
    expected = MAP[name](OPERATOR)
    assert same(MAP[name](OBJECTIVE), expected)  # at the θ of the model that it was made with
    assert same(MAP[name](MATRIX), expected)
    assert same(MAP[name](MATRIX.numpy()), expected)
    for kind, make in GIVEN.items():
        if kind not in ("objective", "operator"):
            found = attempt(MAP[name], make())
            assert isinstance(found, str), (kind, found)


@pytest.mark.parametrize("name", PLAIN)
def test_everything_else_is_a_result_or_a_sentence(name: str) -> None:
    for make in (*GIVEN.values(), lambda: MATRIX, lambda: torch.ones(3, 2, 17), lambda: [A, B], lambda: POINTS):
        attempt(PLAIN[name], make())


def test_the_lists_are_complete() -> None:
    """Every public function of the instruments stands in a list above, or takes nothing of these kinds."""
    listed = {name.split(" ")[0] for group in (THETA, LOSS, MAP, PLAIN) for name in group}
    other = {
        "landscape.fine_offsets", "landscape.with_ends", "landscape.walk_ratio",
        "generalization.granulated_correlation", "generalization.rank_correlation",
        "generalization.rank_correlations",
    }  # fmt: skip
    for package in (curvature, critical, landscape, generalization):
        short = package.__name__.removeprefix("thalweg.")
        public = {f"{short}.{name}" for name in package.__all__ if inspect.isfunction(getattr(package, name))}
        assert public - listed - other == set()
    methods = {f"Objective.{name}" for name, item in vars(Objective).items() if inspect.isfunction(item)}
    assert {name for name in methods if "._" not in name} - listed == {"Objective.plan"}


def test_bare_directions_are_drawn_in_their_own_lengths() -> None:
    vectors = torch.stack([A, B])
    expected = landscape.surface(OBJECTIVE, A, landscape.Directions(vectors, ("a", "b")), 3).values["loss"]
    for given in (vectors, vectors.numpy(), [A, B]):
        assert np.array_equal(landscape.surface(OBJECTIVE, A, given, 3).values["loss"], expected)
    line = landscape.surface(OBJECTIVE, A, B, [[-1.0, 0.0, 2.0]])
    assert line.values["loss"][2] == pytest.approx(float(OBJECTIVE.with_l2(0.0).value(A + 2 * B)))


def test_a_recording_is_its_snapshots() -> None:
    assert same(landscape.pca(RECORDING).scores, FOUND.scores)
    assert same(landscape.pca_directions(RECORDING).vectors, landscape.pca_directions(RECORDING.snapshots).vectors)
    found = landscape.path_on_plane(OBJECTIVE, RECORDING, MODEL, DIRECTIONS)
    bare = landscape.path_on_plane(OBJECTIVE, RECORDING.snapshots, A, DIRECTIONS)
    assert same(found, replace(bare, epochs=RECORDING.epochs))  # snapshots alone know no epochs
