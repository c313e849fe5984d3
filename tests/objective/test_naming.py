"""θ from what users have at hand; the expected vector is torch's own `parameters_to_vector`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective import Objective


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).eval()


class Lightning(nn.Module):
    """A module around a model, with a loss that has parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.loss = net(1), nn.Linear(2, 2)


@pytest.fixture(scope="module")
def objective() -> Objective:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(9, 4, generator=generator), torch.randint(0, 3, (9,), generator=generator)
    return Objective(net(), nn.CrossEntropyLoss(), data)


def flat(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def renamed(rule: Callable[[str], str]) -> dict[str, Tensor]:
    return {rule(name): value for name, value in net(1).state_dict().items()}


FORMS: dict[str, Callable[[], Any]] = {
    "model": lambda: net(1),
    "compiled": lambda: torch.compile(net(1), backend="eager"),
    "data parallel": lambda: nn.DataParallel(net(1)),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(net(1)),
    "lightning": Lightning,
    "state dict": lambda: net(1).state_dict(),
    "state dict of a data parallel": lambda: nn.DataParallel(net(1)).state_dict(),
    "state dict of an average": lambda: torch.optim.swa_utils.AveragedModel(net(1)).state_dict(),
    "state dict of a lightning module": lambda: Lightning().state_dict(),
    "two wrappers": lambda: renamed(lambda name: f"model._orig_mod.{name}"),
    "a wrapper inside": lambda: renamed(lambda name: name.replace("0.", "0._orig_mod.", 1)),
    "a prefix and a wrapper inside": lambda: renamed(lambda name: f"net.{name[:2]}module.{name[2:]}"),
    "nested": lambda: {"epoch": 3, "state_dict": net(1).state_dict(), "optimizer": {"state": {}}},
    "nested and wrapped": lambda: {"model_state_dict": renamed(lambda name: f"module.{name}"), "loss": 0.5},
    "nested twice": lambda: {"model": {"state_dict": net(1).state_dict()}},
    "nested model": lambda: {"model": net(1)},
    "beside an average of it": lambda: {
        **renamed(lambda name: f"model.{name}"),
        **{f"model_ema.{name}": value + 1 for name, value in net(1).state_dict().items()},
    },
    "arrays by name": lambda: {name: value.numpy() for name, value in net(1).state_dict().items()},
    "parameters only": lambda: dict(net(1).named_parameters()),
    "array": lambda: flat(net(1)).numpy(),
    "array of other bytes": lambda: flat(net(1)).numpy().astype(">f4"),
    "double": lambda: net(1).double(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_numbers(objective: Objective, form: str) -> None:
    expected = flat(net(1))
    assert torch.equal(objective.as_theta(FORMS[form]()), expected)
    assert torch.equal(objective.ravel(FORMS[form]()), expected)
    assert torch.equal(objective.gradient(FORMS[form]()), objective.gradient(expected))
    assert torch.equal(objective.hvp(FORMS[form](), expected), objective.hvp(expected, expected))


@pytest.mark.parametrize(
    "form",
    [
        lambda: [net(1), net(2)],
        lambda: (net(1).state_dict(), nn.DataParallel(net(2)).state_dict()),
        lambda: torch.func.stack_module_state([net(1), net(2)])[0],
        lambda: np.stack([flat(net(1)).numpy(), flat(net(2)).numpy()]),
    ],
)
def test_several_are_stacked(objective: Objective, form: Callable[[], Any]) -> None:
    assert torch.equal(objective.ravel(form()), torch.stack([flat(net(1)), flat(net(2))]))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 5, bias=False)
        self.head = nn.Linear(5, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x).tanh())


def test_tied_names() -> None:
    tied = Objective(Tied(), nn.MSELoss(), (torch.randn(4, 5), torch.randn(4, 5)))
    weight, names = torch.randn(5, 5), []
    for names in (["embed.weight"], ["head.weight"], ["embed.weight", "head.weight"]):  # writers drop either name
        assert torch.equal(tied.ravel(dict.fromkeys(names, weight)), weight.flatten())
    assert bool(tied.ravel(dict.fromkeys(names, weight.fill_(torch.nan))).isnan().all())
    weight = torch.randn(5, 5)
    with pytest.raises(InputError, match=r"one value for the tied 'embed.weight', found another under 'head.weight'"):
        tied.ravel({"embed.weight": weight, "head.weight": 2 * weight})


@pytest.mark.parametrize(
    "other",
    [
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3, bias=False)),
        lambda: nn.ModuleDict({"layers": nn.Sequential(nn.Tanh(), nn.Linear(4, 3))}),
        lambda: nn.DataParallel(nn.Sequential(nn.Linear(4, 3))),
    ],
)
def test_a_layer_of_a_deeper_model_is_not_the_model(other: Callable[[], nn.Module]) -> None:
    single = Objective(nn.Linear(4, 3), nn.CrossEntropyLoss(), (torch.randn(9, 4), torch.randint(0, 3, (9,))))
    for given in (other(), other().state_dict()):
        with pytest.raises(InputError, match=r"missing 'weight' \(3, 4\), 'bias' \(3,\); unexpected '"):
            single.ravel(given)


def test_part_of_the_parameters() -> None:
    data = torch.randn(9, 4), torch.randint(0, 3, (9,))
    head = Objective(net(), nn.CrossEntropyLoss(), data, parameters="3.*")
    assert torch.equal(head.ravel(net(0).state_dict()), flat(net(0))[-21:])
    assert torch.equal(head.ravel({"3.weight": net(1)[3].weight, "3.bias": net(1)[3].bias}), flat(net(1))[-21:])


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "missing": (
        lambda: {name: value for name, value in net(1).state_dict().items() if name != "3.weight"},
        r"theta \(a state_dict\) must have .* found missing '3.weight' \(3, 6\)$",
    ),
    "narrower": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)),
        r"misshapen: '0.weight' of shape \(5, 4\) instead of \(6, 4\), .* and 2 more$",
    ),
    "deeper": (lambda: nn.Sequential(*net(1), nn.Tanh(), nn.Linear(3, 3)), "found unexpected '5.weight', '5.bias'$"),
    "two networks": (
        lambda: {**renamed(lambda name: f"student.{name}"), **renamed(lambda name: f"teacher.{name}")},
        "once, found several under 'student.', 'teacher.': pass one part of it",
    ),
    "an optimizer": (lambda: torch.optim.Adam(net(1).parameters()).state_dict(), "unexpected 'state', 'param_groups'$"),
    "meta": (lambda: net(1).to("meta"), "'0.weight' is on the meta device, without numbers"),
    "integers": (lambda: {n: v.to(torch.int8) for n, v in net(1).state_dict().items()}, "'0.weight' is int8"),
    "no tensors": (lambda: {n: v.tolist() for n, v in net(1).state_dict().items()}, "'0.weight' is list"),
    "many names": (lambda: {f"layer{i}.weight": torch.zeros(2) for i in range(999)}, "and 996 more$"),
    "empty": (dict, r"missing '0.weight' \(6, 4\), '0.bias' \(6,\), '1.weight' \(6,\) and 3 more$"),
    "uneven replicas": (
        lambda: {n: v.expand(2, *v.shape) if n == "3.bias" else v for n, v in net(1).named_parameters()},
        r"same leading axes for all names, found \(\) for '3.weight' and \(2,\) for '3.bias'",
    ),
    "none": (lambda: None, "found NoneType$"),
    "text": (lambda: "model.pt", "found str: take torch.load of it$"),
    "generator": (lambda: net(1).parameters(), "found generator$"),
    "list of parameters": (lambda: list(net(1).parameters()), "must list values of one shape"),
    "integer array": (lambda: np.arange(63), "must hold floating-point numbers, found an array of int64"),
    "shorter": (lambda: flat(net(1))[1:].numpy(), r"must have shape \(…, 63\)"),
    "numbers": (lambda: flat(net(1)).tolist(), "must be a torch.Tensor, found list of numbers"),
    "empty list": (list, "found an empty list$"),
}


@pytest.mark.parametrize("form", WRONG)
def test_what_does_not_fit_is_one_bounded_sentence(objective: Objective, form: str) -> None:
    make, sentence = WRONG[form]
    for call in (objective.value, objective.gradient, objective.module):
        with pytest.raises(InputError, match=sentence) as caught:
            call(make())
        assert len(str(caught.value)) < 500
        assert "\n" not in str(caught.value)


def test_what_theta_does_not_hold_is_not_silently_another(
    objective: Objective, caplog: pytest.LogCaptureFixture
) -> None:
    model = net(1)
    objective.ravel(model)
    assert not caplog.records
    model[1].running_mean += 1
    with caplog.at_level(logging.WARNING, logger="thalweg"):
        objective.ravel(model)
        objective.with_batchnorm("batch").ravel(model)  # reads no running statistics
        objective.ravel(nn.DataParallel(model).state_dict())
    assert len(caplog.records) == 2
    assert all("does not hold ('1.running_mean')" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("model", "loss", "found"),
    [
        (lambda: nn.Linear(4, 3, device="meta"), nn.MSELoss, "model must hold numbers, found 2 of 2 .* first 'weight'"),
        (
            lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3, device="meta")),
            nn.MSELoss,
            "found 2 of 4 .* first '1.weight'",
        ),
        (lambda: nn.BatchNorm1d(4).to("meta"), nn.MSELoss, "found 5 of 5"),
        (lambda: nn.Linear(4, 3), lambda: nn.CrossEntropyLoss(torch.ones(3, device="meta")), "loss must hold numbers"),
    ],
)
def test_models_without_numbers(model: Callable[[], nn.Module], loss: Callable[[], nn.Module], found: str) -> None:
    with pytest.raises(InputError, match=found):
        Objective(model(), loss(), (torch.randn(9, 4), torch.randn(9, 3)))


def test_a_maker_that_returns_no_model() -> None:
    data = torch.randn(9, 4), torch.randint(0, 3, (9,))
    made = Objective(net(), nn.CrossEntropyLoss(), data, init=lambda: net(1).state_dict())
    with pytest.raises(InputError, match=r"init must return a torch\.nn\.Module, found OrderedDict"):
        made.initial()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (net, r"must map names to tensors \(dict\(model.named_buffers\(\)\), say\), found Sequential"),
        (
            lambda: net().state_dict(),
            r"among those of the model \(1.running_mean, .*found '0.weight' of shape \(6, 4\)",
        ),
        (lambda: {"1.running_mean": [0.0] * 6}, r"the shape \(6,\) of theta's, found '1.running_mean' of shape list"),
    ],
)
def test_buffers_of_another_kind(objective: Objective, given: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        objective.value(objective.theta, given())
