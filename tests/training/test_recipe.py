from __future__ import annotations

import math

import pytest
import torch

from thalweg.errors import InputError
from thalweg.training import Cadence, Recipe

TOTAL, PER_EPOCH = 40, 4


def rates(scheduler_of, recipe: Recipe, *, per: int = 1) -> None:
    """Compares lr_at with a scheduler of torch that is stepped every `per` updates."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.lr)
    scheduler = scheduler_of(optimizer)
    for step in range(TOTAL):
        assert recipe.lr_at(step, PER_EPOCH) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-15)
        optimizer.step()
        if (step + 1) % per == 0:
            scheduler.step()


def test_cosine_is_torchs() -> None:
    rates(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.3 * 0.1),
        Recipe(lr=0.3, steps=TOTAL, schedule="cosine", final=0.1),
    )


def test_linear_is_torchs() -> None:
    rates(
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.2, TOTAL),
        Recipe(lr=0.3, steps=TOTAL, schedule="linear", final=0.2),
    )


def test_step_is_torchs() -> None:
    rates(
        lambda o: torch.optim.lr_scheduler.StepLR(o, 3, gamma=0.5),
        Recipe(lr=0.3, steps=TOTAL, schedule="step", gamma=0.5, decay_epochs=3),
        per=PER_EPOCH,
    )


def test_exponential_is_torchs() -> None:
    rates(
        lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9 ** (1 / PER_EPOCH)),
        Recipe(lr=0.3, steps=TOTAL, schedule="exponential", gamma=0.9, decay_epochs=1),
    )


def test_warmup_rises_to_the_full_rate_and_the_decay_begins_there() -> None:
    recipe = Recipe(lr=1.0, steps=10, schedule="cosine", warmup=4)
    assert [recipe.lr_at(step, 1) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert recipe.lr_at(7, 1) == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


@pytest.mark.parametrize(
    ("cadence", "steps"),
    [
        (Cadence(every=4, unit="step"), [0, 4, 8, 10]),
        (Cadence(every=1, unit="epoch"), [0, 3, 6, 9, 10]),
        (Cadence(every=2, unit="epoch"), [0, 6, 10]),
        (Cadence(every=100, unit="step"), [0, 10]),
        (Cadence(every=3, unit="log"), [0, 1, 10]),
    ],
)
def test_cadence_includes_first_and_last(cadence: Cadence, steps: list[int]) -> None:
    assert cadence.steps(total=10, per_epoch=3) == steps
    recorded = cadence.test(total=10, per_epoch=3)
    assert [step for step in range(11) if recorded(step)] == steps


def test_log_cadence_is_even_in_the_logarithm() -> None:
    points = Cadence(every=7, unit="log").steps(total=100_000, per_epoch=1)
    assert points == [0, 1, 10, 100, 1000, 10_000, 100_000]


@pytest.mark.parametrize("unit", ["step", "epoch", "log"])
def test_a_training_of_no_steps_is_recorded_once(unit: str) -> None:
    assert Cadence(every=3, unit=unit).steps(total=0, per_epoch=5) == [0]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"momentum": 0.9}, "momentum applies to optimizer momentum, nesterov or rmsprop only, found optimizer 'adam'"),
        ({"optimizer": "sgd", "betas": (0.9, 0.9)}, "betas applies to optimizer adam or adamw only"),
        ({"smoothing": 0.9}, "smoothing applies to optimizer rmsprop only, found optimizer 'adam'"),
        ({"gamma": 0.5}, "gamma applies to schedule step or exponential only, found schedule 'constant'"),
        ({"schedule": "step", "final": 0.1}, "final applies to schedule cosine or linear only, found schedule 'step'"),
        ({"epochs": 3, "steps": 5}, "epochs and steps exclude each other, found 3 and 5"),
        ({"batch_size": 0}, "batch_size must be at least 1, found 0"),
        ({"betas": (0.9, 1.0)}, r"betas must be in \[0, 1\), found \(0.9, 1.0\)"),
        ({"optimizer": "nesterov", "momentum": 0.0}, "momentum must be greater than 0 for optimizer nesterov"),
        ({"steps": 5, "warmup": 6}, r"warmup must be at most steps \(5\), found 6"),
        ({"lr": 0.0}, "greater than 0"),
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"optimizer": "lbfgs"}, "optimizer"),
    ],
)
def test_contradictions_are_refused(fields: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Recipe(**fields)


def test_every_field_is_described() -> None:
    for model in (Recipe, Cadence):
        assert all(field.description for field in model.model_fields.values())


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(optimizer="rmsprop", momentum=0.5, batch_size="given", record=Cadence(every=3, unit="log"))
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
