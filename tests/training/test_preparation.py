"""A model in training mode may need other ways of evaluation than in analyses: found out, against plain training."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.objective.plainly import CE, MLP, ce, close, data, holding, made
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.training import Recipe, train
from thalweg.training.preparation import prepare


class Saving(MLP):
    """Saves memory where it is trained, as most models that can do so."""

    def middle(self, h):
        return checkpoint(super().middle, h, use_reentrant=False) if self.training else super().middle(h)


class SavingAttention(MLP):
    def middle(self, h):
        return checkpoint(self.attend, h, use_reentrant=False) if self.training else self.attend(h)

    def attend(self, h):
        q = self.b(h)[:, None, :, None]
        return F.scaled_dot_product_attention(q, q, q)[:, 0, :, 0]


class PlainAttention(SavingAttention):
    def middle(self, h):
        return self.attend(h)


class AsksLeaves(MLP):
    """Its middle layer is another one in training mode, and there it looks at whether its weights are leaves."""

    def middle(self, h):
        known = self.b.weight.is_leaf and isinstance(self.b.weight, nn.Parameter)
        return super().middle(h) * (1.5 if known and self.training else 1.0)


class TimesInTraining(MLP):
    def middle(self, h):
        return super().middle(h) * (1.5 if self.training else 1.0)


class Listed(MLP):
    def __init__(self):
        super().__init__()
        self.kept = [self.b.weight]

    def middle(self, h):
        return torch.tanh(F.linear(h, self.kept[0] if self.training else self.b.weight, self.b.bias))


class Solves(MLP):
    """In training mode its features are a slope."""

    def middle(self, h):
        if not self.training:
            return super().middle(h)
        with torch.enable_grad():
            h = h if h.requires_grad else h.requires_grad_()
            return torch.autograd.grad(super().middle(h).square().sum(), h, create_graph=True)[0]


class Running(MLP):
    """A running mean of its own, which training mode writes and evaluation mode reads."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def middle(self, h):
        if self.training:
            with torch.no_grad():
                self.mean.mul_(0.9).add_(0.1 * h.mean(0))
        return super().middle(h - self.mean)


class RunningAndSaving(Running):
    def middle(self, h):
        return checkpoint(self.rest, super().middle(h), use_reentrant=False) if self.training else super().middle(h)

    def rest(self, h):
        return torch.tanh(F.linear(h, self.b.weight))


KINDS = {
    Saving: MLP,
    SavingAttention: PlainAttention,
    AsksLeaves: TimesInTraining,
    Listed: MLP,
    Solves: Solves,
    Running: Running,
    RunningAndSaving: RunningAndSaving,
}


def plain_training(model, objective, theta, steps, lr):
    """θ (P,) after some steps of plain gradient descent in training mode, with the loss of each step."""
    net, losses = holding(model, objective, theta).train(), []
    optimiser = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = ce(net, data())
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()]), torch.stack(losses), net


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_trainings_are_plain_trainings(kind, mode, replicas):
    objective = Objective(made(kind).train(mode), CE, data())
    start = objective.initial(replicas, seed=1)
    run = train(objective, start, Recipe(optimizer="sgd", lr=0.3, steps=3))
    for r in range(replicas):
        wanted, _, net = plain_training(made(KINDS[kind]), objective, start[r], 3, 0.3)
        close(run.snapshots[-1, r], wanted, "theta")
        for name, value in net.named_buffers():
            close(run.snapshots.buffers(-1)[name][r], value, name)


@pytest.mark.parametrize("kind", [Saving, AsksLeaves, Listed])
def test_what_training_needs_is_not_asked_of_analyses(kind):
    objective = Objective(made(kind).eval(), CE, data())
    before = objective.needs
    needs = prepare(objective).program.needs
    assert not before.held
    assert not before.graded
    assert needs.held
    assert not needs.vectorized
    assert objective.needs == before
    theta = torch.stack([objective.theta, 1.1 * objective.theta])
    plain = Objective(made().eval(), CE, data())
    close(objective.gradient(theta), plain.gradient(theta), "gradient in evaluation mode")


@pytest.mark.parametrize("kind", [MLP, Running, PlainAttention, TimesInTraining])
def test_ordinary_models_are_trained_together(kind):
    needs = prepare(Objective(made(kind), CE, data())).program.needs
    assert needs.vectorized
    assert not needs.held
    assert not needs.graded


def test_steps_by_leaves():
    """What a loss sees of its parameters in a training are leaves, Parameters and require gradients."""
    seen = set()

    def loss(model, batch):
        seen.update((type(p).__name__, p.is_leaf) for p in model.parameters())
        decay = sum(p.square().sum() for p in model.parameters() if p.is_leaf and isinstance(p, nn.Parameter))
        return ce(model, batch) + 0.1 * decay

    objective = Objective(made(), loss, data(), loss_on="batch")
    start = objective.initial(2, seed=1)
    seen.clear()
    run = train(objective, start, Recipe(optimizer="sgd", lr=0.3, steps=1))
    for r in range(2):
        net = holding(made(), objective, start[r])
        slopes = torch.autograd.grad(loss(net, data()), list(net.parameters()))
        close(run.snapshots[-1, r], start[r] - 0.3 * torch.cat([slope.flatten() for slope in slopes]), "a step")
    assert ("Parameter", True) in seen


class OtherInTraining(MLP):
    """Reads in training mode what a first forward pass in that mode left for all copies."""

    table = None

    def middle(self, h):
        if not self.training:
            return super().middle(h)
        if OtherInTraining.table is None:
            OtherInTraining.table = 0.0
        OtherInTraining.table += 1.0
        return super().middle(h) * OtherInTraining.table


def test_what_differs_only_in_training_mode_is_refused_there():
    objective = Objective(made(OtherInTraining).eval(), CE, data())
    value = objective.value(objective.theta)
    close(value, ce(made(), data()).detach(), "value in evaluation mode")
    with pytest.raises(InputError, match=r"that has them, found L = [\d.]+ and [\d.]+: something computes with other"):
        train(objective, recipe=Recipe(steps=1))


def test_statistics_and_dropout_are_seen_in_training_mode_only():
    def build():
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)).double()

    prepared = prepare(Objective(build().eval(), CE, data()))
    assert set(prepared.buffers) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert not prepared.cuttable
    assert not prepared.alone
    assert not prepared.stochastic  # dropout is a function of seed and step
    assert list(prepared.dropouts) == ["2"]
    plain = prepare(Objective(made(), CE, data()))
    assert plain.cuttable
    assert plain.alone
    assert not plain.buffers


def test_preparing_changes_nothing():
    model = made(Running).eval()
    before = copy.deepcopy(model.state_dict())
    objective = Objective(model, CE, data())
    state = torch.get_rng_state()
    prepare(objective)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training
    close(objective.value(objective.theta), ce(model, data()).detach(), "value")


def test_a_model_without_checks_is_trained_as_it_is_evaluated():
    objective = Objective(made(), CE, data(), check=False)
    start = objective.theta
    wanted, _, _ = plain_training(made(), objective, start, 2, 0.3)
    run = train(objective, start, Recipe(optimizer="sgd", lr=0.3, steps=2))
    close(run.snapshots[-1, 0], wanted, "theta")
