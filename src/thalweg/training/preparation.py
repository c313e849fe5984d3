"""The model as training needs it: in training mode, with stateless dropout, and what varies in it found by trying."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from thalweg import threads
from thalweg.errors import InputError
from thalweg.objective.agreement import Way, needs
from thalweg.objective.batches import Batch, Batches, cloned
from thalweg.objective.graph import saved_bytes
from thalweg.objective.kernels import observed
from thalweg.objective.needs import Needs
from thalweg.objective.objective import Objective
from thalweg.objective.plain import Plain, moved, written
from thalweg.objective.program import Program
from thalweg.objective.stacking import leaf_stack
from thalweg.objective.surroundings import own_numbers
from thalweg.objective.work import Work, counted
from thalweg.training.dropout import CounterDropout, replace_dropout

__all__ = ["Prepared", "prepare"]

log = logging.getLogger("thalweg")
PROBE = 8  # samples


@dataclass(frozen=True)
class Prepared:
    """A model ready for training.

    Attributes:
        program: Evaluates its losses, in training mode.
        buffers: Initial values of the buffers that its forward pass changes (running statistics): one set per replica.
        dropouts: Its dropout layers by name.
        stochastic: Whether it draws random numbers elsewhere too; replicas are then evaluated one by one.
        cuttable: Whether a batch may be evaluated in chunks: not with normalisation by batch statistics.
        alone: Whether a batch may be a single sample: a vector by itself has no statistics to be normalised by.
        pair_bytes: Memory for the activations of one replica and sample.
        work: The size of its operations.
    """

    program: Program
    buffers: Mapping[str, Tensor]
    dropouts: Mapping[str, CounterDropout]
    stochastic: bool
    cuttable: bool
    alone: bool
    pair_bytes: int
    work: Work


def prepare(objective: Objective) -> Prepared:
    """Prepares the model of an objective for training; the objective itself is not touched.

    All modules are put into training mode; dropout layers become `CounterDropout`.

    Raises:
        InputError: The loss does not depend on the parameters.
    """
    batch = _probe(objective.batches)
    program = _program(objective, _needs(objective, batch) if objective.checked else objective.needs)
    modules = dict(program.model.named_modules())
    dropouts = {name: module for name, module in modules.items() if isinstance(module, CounterDropout)}
    with own_numbers([objective.device] if objective.device.type == "cuda" else []):
        params = {name: value[None] for name, value in objective.layout.unravel(objective.theta).items()}

        def evaluate(seed: int, batch: Batch = batch) -> tuple[Tensor, dict[str, Tensor]]:
            torch.manual_seed(seed)
            fixed = {name: value.clone() for name, value in program.fixed.items()}
            with torch.no_grad(), program.surroundings(twice=True):
                one = {name: value[0] for name, value in params.items()}
                return program.loss_alone({**fixed, **one}, batch), fixed

        loss, after = evaluate(1)
        work = Work() if threads.decided() else counted(lambda: evaluate(1), objective.batches.count(batch))[1]
        again, _ = evaluate(2)
        stochastic = not torch.equal(loss.nan_to_num(), again.nan_to_num())
        changed = {n: v for n, v in program.fixed.items() if not torch.equal(after[n], v)}
        pair = _pair_bytes(program, params, changed, batch, objective.batches.count(batch))
        if stochastic:
            log.info("the model draws random numbers outside its dropout layers: replicas are evaluated one by one")
        else:
            _try_vmap(program, params, changed, batch)
        normed, alone = any(isinstance(m, _NormBase) and m.training for m in modules.values()), True
        if normed and objective.batches.indexable:
            try:
                evaluate(1, objective.batches.take(torch.zeros(1, dtype=torch.int64)))
            except ValueError:  # torch: "Expected more than 1 value per channel when training"
                alone = False
    return Prepared(program, changed, dropouts, stochastic, not normed, alone, pair, work)


def _program(objective: Objective, needs: Needs) -> Program:
    """A program in training mode."""
    program = objective.build_program(_training_mode, needs)
    program.needs = replace(program.needs, mutates=False)  # what a forward pass writes is a replica's own, and stays
    dropouts = tuple(module for module in program.model.modules() if isinstance(module, CounterDropout))
    if dropouts:
        top = program.model if program._closure is None else program._closure
        top.register_forward_pre_hook(_Recount(dropouts))
    return program


def _needs(objective: Objective, batch: Batch) -> Needs:
    """How the model must be evaluated in training mode, which may take other ways (checkpoints) than evaluation."""
    known, layout, theta = objective.needs, objective.layout, objective.theta
    plain = Plain(_program(objective, known), layout, batch)
    other = moved(plain, theta)
    (loss, model), seen = observed(lambda: plain.loss(other))
    known = replace(known, exact=known.exact or seen.needs_exact, twice=known.twice or seen.differentiates)
    if known.exact and not plain.program.needs.exact:
        plain = Plain(_program(objective, known), layout, batch)
        loss, model = plain.loss(other)
    changed = written(plain.program.model, model)
    gradient = plain.flat(plain.gradients(loss, model))
    way = Way(lambda tried: _program(objective, tried), layout, batch, torch.stack([theta, other]), changed)
    return needs(way, known, loss.detach(), gradient)


def _probe(batches: Batches) -> Batch:
    """A few samples with memory of their own, or the first batch where batches are given."""
    if batches.indexable:
        return batches.take(torch.arange(min(PROBE, batches.rows)))
    return cloned(next(batches.chunks(PROBE))[0])


def _training_mode(model: nn.Module) -> None:
    replace_dropout(model)
    model.train()


class _Recount:
    """Starts the dropout layers' count of uses anew at every forward pass."""

    def __init__(self, layers: tuple[CounterDropout, ...]) -> None:
        self.layers = layers

    def __call__(self, _module: nn.Module, _inputs: object) -> None:
        for layer in self.layers:
            layer.calls = 0


def _pair_bytes(
    program: Program, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: object, count: int
) -> int:
    leaves = {name: leaf_stack(value)[1] for name, value in params.items()}
    own = {name: value[None].clone() for name, value in buffers.items()}

    def total() -> Tensor:
        loss = program.losses({**leaves, **own}, batch).sum()
        if not loss.requires_grad:
            raise InputError("loss must depend on the parameters, found one without a gradient")
        return loss

    return max(64, saved_bytes(total, {**leaves, **own}) // max(1, count))


def _try_vmap(program: Program, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: object) -> None:
    """Lets vmap refuse now, on copies: half a forward pass must not write into running statistics."""
    two: dict[str, Tensor] = {name: torch.cat([value, value]) for name, value in params.items()}
    two |= {name: torch.stack([value, value]) for name, value in buffers.items()}
    with torch.no_grad():
        program.losses(two, batch)
