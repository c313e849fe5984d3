"""What a model keeps beside tensors and modules: in its private copy it belongs to the copy, or is shared."""

from __future__ import annotations

import functools
import sys
import threading
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.objective.plainly import CE, MLP, agrees, data, made
from thalweg.errors import InputError
from thalweg.objective import Objective, copying


def closure_of_self(model):
    model.kept = lambda h: F.linear(h, model.b.weight, model.b.bias)


def closure_of_tensors(model):
    weight, bias = model.b.weight, model.b.bias
    model.kept = lambda h: F.linear(h, weight, bias)


def closure_of_a_closure(model):
    inner = lambda h: model.b(h)  # noqa: E731
    model.kept = lambda h: inner(h) * 1.0


def recursion(model):
    def kept(h, depth=2):
        return model.b(h) if depth == 0 else kept(h, depth - 1)

    model.kept = kept


def defaults(model):
    def kept(h, weight=model.b.weight, *, bias=model.b.bias):
        return F.linear(h, weight, bias)

    model.kept = kept


def partial(model):
    model.kept = functools.partial(F.linear, weight=model.b.weight, bias=model.b.bias)


def partial_of_a_method(model):
    model.kept = functools.partial(model.b.forward)


def bound(model):
    model.kept = model.b.forward


def bound_of_a_module(model):
    model.kept = types.MethodType(lambda layer, h: layer(h), model.b)


def in_a_list(model):
    functions = [lambda h: model.b(h), torch.tanh]
    model.functions = functions
    model.kept = lambda h: functions[0](h)


def in_a_dict(model):
    model.functions = {"b": (lambda h: model.b(h),)}
    model.kept = lambda h: model.functions["b"][0](h)


def wrapped_forward(model):
    before = model.b.forward

    @functools.wraps(before)
    def forward(h):
        return before(h) * 1.0

    model.b.forward = forward
    model.kept = model.b


def compiled(model):
    model.b = torch.compile(model.b, backend="aot_eager")
    model.kept = model.b


def compiled_method(model):
    model.b.forward = torch.compile(model.b.forward, backend="aot_eager")
    model.kept = model.b


KEPT = (
    *(closure_of_self, closure_of_tensors, closure_of_a_closure, defaults, partial, partial_of_a_method, bound),
    *(bound_of_a_module, in_a_dict, wrapped_forward, compiled, compiled_method),
    recursion,
    in_a_list,
)


class Keeper(MLP):
    """Evaluates its middle layer by whatever it keeps."""

    def __init__(self, keep):
        super().__init__()
        keep(self)

    def middle(self, h):
        return torch.tanh(self.kept(h))


@pytest.mark.parametrize("keep", KEPT)
def test_functions_that_a_model_keeps_follow_the_copy(keep):
    model = made(lambda: Keeper(keep))
    copies = [copying.copied(model), copying.copied(copying.copied(model))]
    x = data()[0]
    wanted = MLP().double()
    for copied in copies:
        with torch.no_grad():
            for parameter, new in zip(copied.parameters(), wanted.parameters(), strict=True):
                parameter.copy_(new)
        assert torch.allclose(copied(x), wanted(x), rtol=1e-12, atol=0)
    if keep not in (compiled, compiled_method):
        assert torch.allclose(model(x), made()(x), rtol=1e-12, atol=0)


@pytest.mark.parametrize("keep", KEPT)
def test_models_that_keep_functions_are_functions_of_theta(keep):
    objective = agrees(made(lambda: Keeper(keep)), CE, data(), made())
    assert objective.layout.names == Objective(made(), CE, data()).layout.names


def hooked(place):
    model = made()

    def add(module, inputs, output=None):
        change = model.c.weight.sum()
        if output is not None:
            return output + change
        return (inputs[0] + change,)

    if place == "forward":
        model.b.register_forward_hook(add)
    elif place == "before forward":
        model.b.register_forward_pre_hook(add)
    elif place == "with arguments":
        model.b.register_forward_hook(lambda module, args, kwargs, output: add(module, args, output), with_kwargs=True)
    else:
        model.b.register_forward_hook(functools.partial(added, model.c))
    return model


def added(layer, module, inputs, output):
    return output + layer.weight.sum()


class Added(MLP):
    def __init__(self, before):
        super().__init__()
        self.before = before

    def middle(self, h):
        change = self.c.weight.sum()
        return torch.tanh(self.b(h + change) if self.before else self.b(h) + change)


@pytest.mark.parametrize("place", ["forward", "before forward", "with arguments", "partial"])
def test_hooks_that_close_over_the_model_follow_the_copy(place):
    agrees(hooked(place), CE, data(), made(lambda: Added(place == "before forward")))


class Queue:
    """No copy can be made of it."""

    def __init__(self):
        self.lock, self.seen = threading.Lock(), []


def of_a_generator():
    return (number for number in range(3))


@pytest.mark.parametrize("attribute", [threading.Lock, Queue, of_a_generator, lambda: sys.stdout])
@pytest.mark.parametrize("nested", [False, True])
def test_what_cannot_be_copied_is_shared_and_all_else_is_not(attribute, nested):
    model = made()
    (model.b if nested else model).kept = kept = attribute()
    model.list = [model.b.weight]
    copied = copying.copied(model)
    assert (copied.b if nested else copied).kept is kept
    assert copied.list[0] is copied.b.weight
    assert copied.list[0] is not model.b.weight
    assert (model.b if nested else model).kept is kept
    agrees(model, CE, data(), made())


def test_a_hook_that_cannot_be_copied_is_shared():
    model, queue = made(), Queue()

    class Writes:
        def __init__(self):
            self.queue = queue

        def __call__(self, module, inputs, output):
            self.queue.seen.append(len(inputs[0]))

    model.b.register_forward_hook(Writes())
    agrees(model, CE, data(), made())
    assert queue.seen


def test_a_model_that_no_copy_can_be_made_of_is_named():
    class Single(MLP):
        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

    with pytest.raises(InputError, match=r"that copy\.deepcopy can copy, found Single: there is only one"):
        Objective(made(Single), CE, data())


def test_a_copy_that_holds_other_parameters_uses_them_wherever_it_keeps_its_own():
    model = made(lambda: Keeper(closure_of_tensors))
    model.list = [{"b": (model.b.weight,)}]
    other = nn.Parameter(torch.full_like(model.b.weight, 0.5))
    copied = copying.holding(model, {"b.weight": other})
    assert copied.b.weight is other
    assert copied.list[0]["b"][0] is other
    assert copied.c.weight is model.c.weight
    x = data()[0]
    wanted = made()
    wanted.b.weight = other
    assert torch.equal(copied(x), wanted(x))
    (slope,) = torch.autograd.grad(copied(x).sum(), other)
    assert torch.equal(slope, torch.autograd.grad(wanted(x).sum(), other)[0])
    assert model.b.weight is not other


def test_functions_without_the_model_are_not_made_anew():
    model = made()
    model.kept = {"activation": torch.tanh, "own": data}
    model.partial = functools.partial(torch.add, alpha=2)
    copied = copying.copied(model)
    assert copied.kept["own"] is data
    assert copied.kept["activation"] is torch.tanh
    assert copied.partial.keywords == {"alpha": 2}


@pytest.mark.parametrize("where", ["model", "class", "layer", "layer in a list", "closure"])
def test_nothing_compiled_is_ever_run(where):
    runs = []

    def backend(graph, inputs):
        def run(*args):
            runs.append(len(args))
            return graph.forward(*args)

        return run

    model, loss, options = made(), CE, {}
    if where == "model":
        model = torch.compile(model, backend=backend)
    elif where == "class":
        kind = type("Compiled", (MLP,), {"forward": torch.compile(MLP.forward, backend=backend)})
        model = made(kind)
    elif where == "layer":
        model.b = torch.compile(model.b, backend=backend)
    elif where == "layer in a list":
        model.layers = nn.ModuleList([torch.compile(model.b, backend=backend)])
        model.b.forward = torch.compile(model.b.forward, backend=backend)
    else:
        options = {"loss_on": "batch"}
        loss = torch.compile(lambda net, batch: CE(net(batch[0]), batch[1]), backend=backend)
    objective = Objective(model, loss, data(), **options)
    expected = Objective(made(), CE, data())
    theta = 1.1 * torch.stack([objective.theta, -objective.theta])
    assert objective.layout.names == expected.layout.names
    for name in ("value", "gradient", "hessian"):
        torch.testing.assert_close(getattr(objective, name)(theta), getattr(expected, name)(theta))
    assert not runs
