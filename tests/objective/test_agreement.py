"""L is one function however it is called: code that could notice how it is evaluated, against plain PyTorch."""

from __future__ import annotations

import functools
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from tests.objective.plainly import CE, MLP, agrees, ce, close, data, made
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.program import Needs
from thalweg.training import Recipe, train


def penalised(chosen):
    """A weight penalty over the parameters that a rule picks."""

    def loss(model, batch):
        return ce(model, batch) + 0.1 * sum(p.square().sum() for p in model.parameters() if chosen(p))

    return loss


PENALTIES = {
    "that require gradients": lambda p: p.requires_grad,
    "that are leaves": lambda p: p.is_leaf and p.requires_grad,
    "of the class Parameter": lambda p: type(p) is nn.Parameter,
    "with several axes": lambda p: p.dim() > 1,
}


@pytest.mark.parametrize("rule", PENALTIES)
def test_penalties_over_parameters(rule):
    agrees(made(), penalised(PENALTIES[rule]), data(), loss_on="batch")


@pytest.mark.parametrize("rule", ["that require gradients", "of the class Parameter"])
def test_a_replica_trains_alone_as_it_does_among_others(rule):
    objective = Objective(made(), penalised(PENALTIES[rule]), data(), loss_on="batch")
    recipe = Recipe(lr=0.1, steps=20)
    one, three = (train(objective, recipe=recipe, replicas=r, seed=0).snapshots[-1, 0] for r in (1, 3))
    close(three, one, "a replica among three")


class AsksGradMode(MLP):
    def forward(self, x):
        return super().forward(x) * (1.0 if torch.is_grad_enabled() else 2.0)


class AsksFeatures(MLP):
    def middle(self, h):
        return super().middle(h) * (1.5 if h.requires_grad else 1.0)


class AsksLeaves(MLP):
    def middle(self, h):
        return super().middle(h) * (1.5 if self.b.weight.is_leaf else 1.0)


class AsksClass(MLP):
    def middle(self, h):
        return super().middle(h) if isinstance(self.c.weight, nn.Parameter) else h


class FollowsParameters(MLP):
    def forward(self, x):
        with torch.set_grad_enabled(self.b.weight.requires_grad):
            return super().forward(x)


class Branches(MLP):
    def middle(self, h):
        return super().middle(h) if bool(h.mean() > -1) else h


ASKING = (AsksGradMode, AsksFeatures, AsksLeaves, AsksClass, FollowsParameters, Branches)


@pytest.mark.parametrize("kind", ASKING)
def test_models_that_look_at_how_they_are_evaluated(kind):
    agrees(made(kind), CE, data())


def test_a_model_that_looks_at_grad_mode_alone_is_still_evaluated_together():
    assert Objective(made(AsksGradMode), CE, data()).needs == Needs(graded=True)


class Listed(MLP):
    def __init__(self):
        super().__init__()
        self.kept = [self.b.weight, (self.b.bias,)]

    def middle(self, h):
        return torch.tanh(F.linear(h, self.kept[0], self.kept[1][0]))


class Mapped(Listed):
    def __init__(self):
        super().__init__()
        self.kept = {0: self.b.weight, 1: [self.b.bias]}


class InList(Listed):
    def __init__(self):
        super().__init__()
        self.kept = nn.ParameterList([self.b.weight, self.b.bias])

    def middle(self, h):
        return torch.tanh(F.linear(h, self.kept[0], self.kept[1]))


class InObject(MLP):
    def __init__(self):
        super().__init__()
        self.kept = types.SimpleNamespace(layer=self.b)

    def middle(self, h):
        return torch.tanh(self.kept.layer(h))


class Slotted(MLP):
    class Slot:
        __slots__ = ("weight",)

    def __init__(self):
        super().__init__()
        self.kept = self.Slot()
        self.kept.weight = self.b.weight

    def middle(self, h):
        return torch.tanh(F.linear(h, self.kept.weight, self.b.bias))


class Partial(MLP):
    def __init__(self):
        super().__init__()
        self.kept = functools.partial(F.linear, weight=self.b.weight, bias=self.b.bias)

    def middle(self, h):
        return torch.tanh(self.kept(h))


@pytest.mark.parametrize("kind", [Listed, Mapped, InList, InObject, Slotted, Partial])
def test_parameters_that_a_model_keeps_beside_their_names(kind):
    agrees(made(kind), CE, data(), made())


class Doubled(MLP):
    def middle(self, h):
        return torch.tanh(F.linear(h, 2 * self.b.weight))


class DoubledOnce(MLP):
    """Computes a table from its parameters in the first forward pass in evaluation mode, and keeps it."""

    table = None

    def made_table(self):
        return 2 * self.b.weight

    def middle(self, h):
        if self.table is None or self.training:
            self.table = self.made_table()
        return torch.tanh(F.linear(h, self.table))


class DoubledOnceAside(DoubledOnce):
    def made_table(self):
        return 2 * self.b.weight.detach()


class DoubledProperty(MLP):
    @functools.cached_property
    def table(self):
        return 2 * self.b.weight

    def middle(self, h):
        return torch.tanh(F.linear(h, self.table))


@pytest.mark.parametrize("kind", [DoubledOnce, DoubledProperty])
def test_tables_that_the_first_forward_pass_leaves(kind):
    agrees(made(kind).eval(), CE, data(), made(Doubled))


@pytest.mark.parametrize("kind", [DoubledOnce, DoubledProperty, DoubledOnceAside])
def test_tables_that_are_there_already_are_told(kind, caplog):
    model = made(kind).eval()
    model(data()[0])
    objective = Objective(model, CE, data())
    assert "L does not depend on 42 of the 93 parameters of theta ('b.weight', 'b.bias')" in caplog.text
    wanted = ce(model, data()).detach()
    close(objective.value(objective.theta), wanted, "value")


class Saving(MLP):
    def middle(self, h):
        return checkpoint(super().middle, h, use_reentrant=False)


class SavingTwice(MLP):
    def inner(self, h):
        return checkpoint(super().middle, h, use_reentrant=False)

    def middle(self, h):
        return checkpoint(self.inner, h, use_reentrant=False)


class SavingOnlyInTraining(MLP):
    def middle(self, h):
        return checkpoint(super().middle, h, use_reentrant=False) if self.training else super().middle(h)


class SavingInPieces(MLP):
    def forward(self, x):
        return self.c(checkpoint_sequential([self.a, torch.atan, self.b, torch.tanh], 2, x, use_reentrant=False))


class Recomputing(torch.autograd.Function):
    """Runs a module again in the backward pass, as reversible networks do."""

    @staticmethod
    def forward(ctx, x, module, *params):
        ctx.module = module
        ctx.save_for_backward(x)
        with torch.no_grad():
            return module(x)

    @staticmethod
    def backward(ctx, g):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.module(x)
        found = torch.autograd.grad(y, [x, *ctx.module.parameters()], g)
        return found[0], None, *found[1:]


class Reversible(MLP):
    def middle(self, h):
        return torch.tanh(Recomputing.apply(h, self.b, *self.b.parameters()))


@pytest.mark.parametrize("kind", [Saving, SavingTwice, SavingInPieces, SavingOnlyInTraining])
@pytest.mark.parametrize("mode", [True, False])
def test_parts_that_the_backward_pass_evaluates_again(kind, mode):
    agrees(made(kind).train(mode), CE, data(), made())


def test_a_custom_function_that_evaluates_a_module_again():
    agrees(made(Reversible), CE, data(), made(), second=False)


class Attention(nn.Module):
    def __init__(self, save):
        super().__init__()
        self.qkv, self.norm, self.head, self.save = nn.Linear(1, 24), nn.LayerNorm(8), nn.Linear(8, 3), save

    def block(self, h):
        q, k, v = self.qkv(h).chunk(3, -1)
        return self.norm(F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0])

    def forward(self, x):
        h = x[..., None]
        h = checkpoint(self.block, h, use_reentrant=False) if self.save else self.block(h)
        return self.head(h.mean(1))


@pytest.mark.parametrize("listed", [False, True])
def test_checkpoints_around_attention(listed):
    agrees(made(lambda: Attention(True)), CE, data(), made(lambda: Attention(False)), listed=listed)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
def test_checkpoints_of_the_older_kind_are_refused():
    class Older(MLP):
        def middle(self, h):
            return checkpoint(super().middle, h, use_reentrant=True)

    with pytest.raises(InputError, match=r"found torch\.utils\.checkpoint with use_reentrant=True: pass use_"):
        Objective(made(Older), CE, data())


class NoTables(MLP):
    """Without gradients it computes with what the first such pass left in the class."""

    table = None

    def middle(self, h):
        if torch.is_grad_enabled():
            return super().middle(h) + torch.ones_like(h).mean()
        type(self).table = self.b.weight.detach().clone() if self.table is None else self.table
        return torch.tanh(F.linear(h, self.table, self.b.bias))


def test_tables_shared_by_all_copies_are_not_read():
    class Plain(MLP):
        def middle(self, h):
            return super().middle(h) + 1

    agrees(made(NoTables), CE, data(), made(Plain))
