"""Random directions against the paper's formula and against what it was made for: scale invariance."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import reference
from tests.landscape.functions import objective_of, relu_network, rosenbrock
from thalweg.errors import InputError
from thalweg.landscape import Grid, normalized, random_directions, surface
from thalweg.objective import Objective


def network() -> Objective:
    """Convolution, normalisation and a dense layer."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.LayerNorm(5),
        nn.Linear(5, 3),
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return Objective(model.eval(), nn.CrossEntropyLoss(), (torch.randn(6, 2, 4, 4), torch.randint(0, 3, (6,))))


def test_the_formula_of_the_paper() -> None:
    objective = network()
    theta, layout = objective.theta, objective.layout
    raw = random_directions(objective, theta, 3, seed=4, normalize="none", biases="keep", normalization="keep")
    made = random_directions(objective, theta, 3, seed=4)
    weights = {name: value.double() for name, value in layout.unravel(theta).items()}
    for one, other in zip(raw.vectors, made.vectors, strict=True):
        expected = reference.filter_normalized(layout.unravel(one.double()), weights)
        torch.testing.assert_close(other, layout.ravel(expected).float(), rtol=1e-5, atol=0)


def test_norms_of_every_choice() -> None:
    objective = network()
    theta, layout = objective.theta, objective.layout
    weights = layout.unravel(theta)
    layer = layout.unravel(random_directions(objective, theta, 1, normalize="layer").vectors[0])
    for name in ("0.weight", "4.weight", "6.weight"):
        torch.testing.assert_close(layer[name].norm(), weights[name].norm())
    moved = [name for name, value in layer.items() if value.any()]
    assert moved == ["0.weight", "4.weight", "6.weight"]
    whole = random_directions(objective, theta, 1, normalize="whole", biases="keep", normalization="keep")
    torch.testing.assert_close(whole.vectors[0].norm(), theta.norm())
    kept = layout.unravel(random_directions(objective, theta, 1, biases="keep").vectors[0])
    for name in ("0.bias", "4.bias", "6.bias"):
        torch.testing.assert_close(kept[name].norm(), weights[name].norm())
    assert not kept["1.weight"].any()
    assert not kept["5.bias"].any()
    normal = layout.unravel(random_directions(objective, theta, 1, normalization="keep").vectors[0])
    torch.testing.assert_close(normal["1.weight"].norm(), weights["1.weight"].norm())
    assert not normal["0.bias"].any()


def test_leading_axes() -> None:
    objective = network()
    thetas = torch.stack([objective.theta, 2 * objective.theta])[:, None]  # (2, 1, P)
    drawn = torch.randn(3, objective.size)
    together = normalized(drawn, thetas, objective.layout)
    assert together.shape == (2, 3, objective.size)
    for r in range(2):
        for k in range(3):
            torch.testing.assert_close(together[r, k], normalized(drawn[k], thetas[r, 0], objective.layout))


def test_a_filter_of_zeros_does_not_move() -> None:
    objective = relu_network(4, 5, 3)
    theta = objective.theta
    theta[4:8] = 0  # the second row of the first layer
    found = random_directions(objective, theta, 1).vectors[0]
    assert not found[4:8].any()
    assert found.isfinite().all()
    assert found[:4].any()


def test_seeds_and_counts() -> None:
    objective = network()
    two, three = (random_directions(objective, objective.theta, count, seed=7).vectors for count in (2, 3))
    assert torch.equal(two, three[:2])
    assert not torch.equal(two, random_directions(objective, objective.theta, seed=8).vectors)
    some = random_directions(objective, objective.theta, 2, seed=7, parameters="4.*").vectors
    chosen = objective.layout.select("4.weight")
    assert torch.equal(some[:, chosen], two[:, chosen])
    some[:, chosen] = 0
    assert not some.any()


def test_notes_say_what_moves() -> None:
    objective = network()
    count = objective.layout.only(["0.weight", "4.weight", "6.weight"]).size
    notes = random_directions(objective, objective.theta).notes
    assert f"{count} of {objective.size} parameters move (biases and normalisation parameters stay" in notes[1]
    assert "Not orthogonalised" in notes[2]
    made = random_directions(objective, objective.theta, orthogonal=True)
    assert "Orthogonalised" in made.notes[2]
    assert abs(made.cosines[0, 1]) < 1e-6


@pytest.mark.parametrize("alpha", [0.25, 3.7])
@pytest.mark.parametrize("bias", [False, True])
def test_surface_of_a_rescaled_relu_network_is_unchanged(alpha: float, bias: bool) -> None:
    """Multiplied by alpha in one layer and 1/alpha in the next it is the same function (Li et al. 2018, section 4)."""
    objective = relu_network(5, 8, 6, 3, bias=bias)
    theta = objective.theta
    parts = objective.layout.unravel(theta.clone())
    first = [name for name in parts if name.startswith("0.")]
    scaled = {name: value * (alpha if name in first else 1) for name, value in parts.items()}
    scaled["2.weight"] = parts["2.weight"] / alpha
    other = objective.layout.ravel(scaled)
    torch.testing.assert_close(objective.value(other), objective.value(theta))
    grid = Grid(points=(7, 9))

    def picture(at: torch.Tensor, normalize: str) -> torch.Tensor:
        directions = random_directions(objective, at, seed=2, normalize=normalize)
        return torch.from_numpy(surface(objective, at, directions, grid).values["loss"])

    torch.testing.assert_close(picture(other, "filter"), picture(theta, "filter"), rtol=1e-10, atol=0)
    torch.testing.assert_close(picture(other, "layer"), picture(theta, "layer"), rtol=1e-10, atol=0)
    assert (picture(other, "none") / picture(theta, "none") - 1).abs().max() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be a whole number of at least 1 direction, found 0"),
        ({"normalize": "filtre"}, "normalize must be one of filter, layer, whole, none, found 'filtre', did you mean"),
        ({"biases": "drop"}, "biases must be one of zero, keep, found 'drop'"),
        ({"normalization": "drop"}, "normalization must be one of zero, keep"),
        ({"parameters": "9.*"}, "parameters must match at least one parameter name"),
        ({"parameters": "1.*"}, "parameters must leave a weight to move"),
    ],
)
def test_bad_input(options: dict, message: str) -> None:
    objective = network()
    with pytest.raises(InputError, match=message):
        random_directions(objective, objective.theta, **options)


def test_bad_theta() -> None:
    objective = relu_network(4, 5, 3)
    with pytest.raises(InputError, match="weights that are not zero"):
        random_directions(objective, torch.zeros(objective.size, dtype=torch.float64))
    with pytest.raises(InputError, match=r"theta must be one finite vector of shape \(35,\)"):
        random_directions(objective, objective.theta.expand(2, -1))
    point = torch.ones(2, dtype=torch.float64)
    with pytest.raises(InputError, match="biases='keep'"):
        random_directions(objective_of(rosenbrock, point), point)
