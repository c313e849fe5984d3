"""The training loop: all replicas step by step, recorded, resumable, each replica's fate its own."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg import parts, progress
from thalweg.declared import declared, whole
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective
from thalweg.runs import MemoryRecording, Recording
from thalweg.threads import chosen
from thalweg.training import saved as states
from thalweg.training.feed import make_feed
from thalweg.training.pace import Pace
from thalweg.training.preparation import prepare
from thalweg.training.recipe import Recipe
from thalweg.training.sizes import check_sizes
from thalweg.training.stack import Stack, all_finite
from thalweg.training.stopping import Look, Stopping

__all__ = ["train"]

Observer = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""θ and the gradient of a step, both (R, P) for the replicas that still train -> further metrics, name -> (R,)."""

_WHOLE = Recipe().model_dump(mode="json")

COMMIT_SECONDS = 5.0
"""At most this much work is lost by a kill; writing the state costs milliseconds."""


@torch.inference_mode(False)
@torch.enable_grad()
@declared
def train(
    objective: Objective,
    theta: Tensor | None = None,
    recipe: Recipe | None = None,
    *,
    replicas: int | None = None,
    seed: int = 0,
    recording: Recording | None = None,
    evaluate: Mapping[str, Objective] | None = None,
    observe: Observer | None = None,
    first: int = 0,
) -> Recording:
    """Trains R replicas at once and records them.

    Replica r draws its initial parameters, batch order and dropout masks from (seed, r) alone: it is the same, to
    rounding, whatever runs beside it. The model trains in training mode (dropout on, BatchNorm by batch statistics);
    running statistics belong to each replica. A replica whose loss or gradient is no longer finite is marked as
    diverged and keeps its last parameters; the others go on. With `recipe.stop`, one that has learnt enough keeps its
    parameters as well, from then on at no cost: its status has the step, its evaluated metrics stay what they were
    there, loss and gradient norm of a step are NaN as it makes none; training ends with the last of them.

    Data given as tensors or as a `Dataset` are batched for each replica in its own order; a list of batches or a
    `DataLoader` (`recipe.batch_size="given"`) is one sequence for all replicas, in an order drawn from the seed alone.

    Args:
        objective: What is minimised; its l2 is part of the gradient.
        theta: Start, (R, P), or (P,) for one replica (for `replicas` copies, if that is given); default:
            `objective.initial`. Or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        recipe: How; default `Recipe()`.
        replicas: R; default 1, or as many as `theta` has.
        seed: Seed of everything random.
        recording: Where to; default a new `MemoryRecording`. One that was interrupted goes on after its last commit,
            with results identical to an undisturbed training; a finished one is returned as it is.
        evaluate: Objectives whose metrics are recorded with the weights, in columns name_metric, such as
            {"train": objective, "test": objective.with_data(test)} -> train_loss, train_accuracy, test_loss, ….
        observe: `(theta, gradient) -> {name: (R,)}`, called wherever loss and gradient norm are recorded, with the θ
            and the gradient of that step (l2 included, before clipping): other norms, norms of layers. It must not
            change what it is given.
        first: Number of the first replica.

    Returns:
        The finished recording: snapshots (S, R, P); metrics loss and grad_norm of the batch that each step saw, at its
        θ before the update (at the last step: of the batch that would come next); status per replica.

    Raises:
        InputError: Contradictory arguments, sizes that memory does not hold, or a recording of another training.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> x = torch.linspace(-1, 1, 32)[:, None]
        >>> objective = Objective(model, torch.nn.MSELoss(), (x, x.square()))
        >>> recording = train(objective, recipe=Recipe(lr=0.01, steps=200), replicas=3)
        >>> recording.snapshots.shape, recording.status[2]["status"]
        ((201, 3, 25), 'completed')
    """
    recipe = Recipe() if recipe is None else recipe
    recording = MemoryRecording() if recording is None else recording
    as_objective(objective)
    kinds = (("recipe", recipe, Recipe), ("recording", recording, Recording), ("evaluate", evaluate or {}, Mapping))
    for name, value, kind in kinds:
        if not isinstance(value, kind):
            raise InputError(f"{name} must be a {kind.__name__}, found {type(value).__name__}")
    if recording.finished:
        return recording
    with chosen(0.0):
        start = _start(objective, theta, replicas, seed, first)
        training = _Training(objective, start, recipe, seed, first, recording, dict(evaluate or {}), observe)
        training.resume()
    training.run()
    return recording


def _start(objective: Objective, theta: Tensor | None, replicas: int | None, seed: int, first: int) -> Tensor:
    if replicas is not None:
        whole("replicas", replicas, 1)
    whole("first", first, 0)
    if theta is None:
        return objective.initial(1 if replicas is None else replicas, seed, first=first)
    theta = objective.as_theta(theta)
    if theta.dim() == 1:
        theta = theta.expand(1 if replicas is None else replicas, -1)
    if theta.dim() != 2 or len(theta) == 0:
        raise InputError(f"theta must have shape (P,) or (R, P) with R at least 1, found {tuple(theta.shape)}")
    if replicas is not None and replicas != len(theta):
        raise InputError(f"replicas must be the number of rows of theta ({len(theta)}), found {replicas}")
    return theta.detach().to(objective.device, objective.dtype)


class _Training:
    """One call of `train`."""

    def __init__(
        self,
        objective: Objective,
        start: Tensor,
        recipe: Recipe,
        seed: int,
        first: int,
        recording: Recording,
        evaluate: dict[str, Objective],
        observe: Observer | None,
    ) -> None:
        for name, other in evaluate.items():
            if as_objective(other, f"evaluate['{name}']").layout != objective.layout:
                raise InputError(f"evaluate['{name}'] must be an objective of the same model, found other parameters")
        self.objective, self.recipe, self.recording, self.evaluate = objective, recipe, recording, evaluate
        self.observe = observe
        self.replicas = len(start)
        prepared = prepare(objective)
        numbers = list(range(first, first + self.replicas))
        feed = make_feed(objective.batches, recipe, seed, numbers, cuttable=prepared.cuttable, alone=prepared.alone)
        self.stack = Stack(
            prepared, objective.layout, feed, recipe, start,
            l2=objective.l2, seed=seed, numbers=numbers, memory=objective.memory,
        )  # fmt: skip
        self.per_epoch = feed.per_epoch
        self.total = recipe.total_steps(feed.per_epoch)
        check_sizes(recipe, objective.l2, start, recording, total=self.total, per_epoch=feed.per_epoch)
        if recipe.warmup > self.total:
            raise InputError(f"warmup must be at most the number of steps ({self.total}), found {recipe.warmup}")
        self.snapshot_at = recipe.record.test(self.total, feed.per_epoch)
        self.row_at = self.snapshot_at if recipe.metrics is None else recipe.metrics.test(self.total, feed.per_epoch)
        self.stopping = Stopping(recipe, objective, evaluate, self.replicas, feed.per_epoch)
        self.pace = Pace(self.stack.seconds)
        self.step = 0
        self.alive = torch.arange(self.replicas, device=start.device)
        self.full = self.stack.theta  # (R, P); beside the stack only once a replica has left it
        self.full_buffers = self.stack.buffers
        self.status = [{"status": "running", "step": 0, "message": ""} for _ in range(self.replicas)]
        self.identity = {
            "recipe": recipe.model_dump(mode="json"),
            "seed": seed,
            "first": first,
            "start": hashlib.sha256(start.cpu().contiguous().numpy().tobytes()).hexdigest(),
            "samples": objective.samples,
            "l2": objective.l2,
        }

    # -- going on

    def resume(self) -> None:
        """Continues after the recording's last commit, if there is one."""
        saved = self.recording.restore()
        if saved is not None:
            with states.reading(self.recording.place):
                self._take_up(*saved)

    def _take_up(self, state: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        before = meta.get("training", {})
        before = {**before, "recipe": {**_WHOLE, **before.get("recipe", {})}}  # as begun by an earlier version
        for name, value in self.identity.items():
            if before.get(name) != value:
                raise InputError(
                    f"the recording to resume must be of the same training, found another {name}"
                    + ("" if name == "start" else f": {before.get(name)!r} instead of {value!r}")
                )
        buffers = {f"buffers/{name}": values for name, values in self.full_buffers.items()}
        fresh = {"theta": self.full, "alive": self.alive, **self.stopping.state(), **buffers}
        states.check(state, meta, fresh, self.recipe, self.recording.place)
        self._compare_first_step()
        self.step, self.status = meta["step"], meta["status"]
        self.pace.restore(meta.get("threads", {}))
        self.stopping.restore(state)
        alive = state["alive"].to(self.alive.device)
        theta = state["theta"].to(self.full.device)
        buffers = {n.removeprefix("buffers/"): v.to(theta.device) for n, v in state.items() if n.startswith("buffers/")}
        if len(alive) < self.replicas:
            self.full, self.full_buffers = theta, buffers
            self.alive = alive
            if len(alive):
                self.stack.keep(alive)
        if len(alive):
            self.stack.restore(theta[alive], {n: v[alive] for n, v in buffers.items()}, state)

    def _compare_first_step(self) -> None:
        """Data, loss and buffers are told by what the first step saw of them: nothing else of them is recorded."""
        rows = states.first_rows(self.recording, self.replicas)
        losses, _, norms = self.stack.gradient(0)
        for name, now in (("loss", losses), ("grad_norm", norms)):
            found, before = now.double().cpu(), torch.tensor(rows[name].cast(float).to_list(), dtype=torch.float64)
            other = ~torch.isclose(found, before, rtol=1e-2, atol=1e-12, equal_nan=True)  # another machine may round
            if bool(other.any()):
                r = int(other.nonzero()[0])
                raise InputError(
                    "the recording to resume must be of the same training, found other data or another loss: "
                    f"{name} {float(before[r]):.6g} instead of {float(found[r]):.6g} at the first step of replica {r}"
                )

    def _commit(self, *, finished: bool = False) -> None:
        state = {
            "theta": self._all(self.full, self.stack.theta),
            "alive": self.alive,
            **self.stopping.state(),
            **(self.stack.state() if len(self.alive) else {}),
            **{f"buffers/{n}": v for n, v in self._all_buffers().items()},
        }
        meta = {"training": self.identity, "step": self.step, "total": self.total, "status": self.status}
        meta["threads"] = self.pace.state()
        if finished:
            self.recording.finish(self.status, state, meta)
        else:
            self.recording.commit(state, meta, self.status)

    def _all(self, full: Tensor, part: Tensor) -> Tensor:
        """All replicas' rows: those in the stack as they are now, the others as they were left."""
        if len(self.alive) == self.replicas:
            return part
        if len(self.alive):
            full[self.alive] = part
        return full

    def _all_buffers(self) -> dict[str, Tensor]:
        return {name: self._all(self.full_buffers[name], value) for name, value in self.stack.buffers.items()}

    # -- running

    def run(self) -> None:
        """Trains to the end and closes the recording."""
        label = f"training {self.replicas} replica{'s' if self.replicas > 1 else ''}"
        committed, pending = time.monotonic(), 0
        room = max(2**24, self.objective.memory // 8)  # bytes of snapshots that wait for a commit
        part = parts.stage(self.recording.name)
        with part, progress.track(label, total=self.total) as advance, self.pace.running():
            while True:
                last = self.step == self.total
                pending += self.pace.timed(self._one, last)
                if last or (self.stopping.ends and not len(self.alive)):
                    break
                self.step += 1
                advance(self.step)
                if pending > room or time.monotonic() - committed > COMMIT_SECONDS:
                    self._commit()
                    committed, pending = time.monotonic(), 0
        for entry in self.status:
            if entry["status"] == "running":
                entry.update(status="completed", step=self.step)
        self._commit(finished=True)

    def _one(self, last: bool) -> int:
        """One step: gradient, record, update. Returns the bytes that were recorded."""
        snapshot = self.snapshot_at(self.step)
        row = snapshot or self.row_at(self.step)
        if not len(self.alive):
            return self._record(None, snapshot, row)
        stack = self.stack
        before = {name: value.clone() for name, value in stack.buffers.items()}  # the statistics that belong to this θ
        losses, gradient, norms = stack.gradient(self.step)
        after, stack.buffers = stack.buffers, before
        look = self.stopping.look(self.step, stack.theta, before, self.alive)
        frozen = {} if look is None else dict.fromkeys(look.positions, ("completed", look.reason))
        if not all_finite(losses, norms):
            frozen |= self._diverged(losses, gradient)
        snapshot = snapshot or (self.stopping.ends and len(frozen) == len(self.alive))
        size = self._record((losses, norms, gradient), snapshot, row, look)
        if frozen:
            rows = self._freeze(frozen)
            gradient, norms = gradient[rows], norms[rows]
            after = {name: value[rows] for name, value in after.items()}
        if not last and len(self.alive):
            stack.buffers = after
            stack.update(gradient, norms, self.recipe.lr_at(self.step, self.per_epoch))
        return size

    def _diverged(self, losses: Tensor, gradient: Tensor) -> dict[int, tuple[str, str]]:
        """Position in the stack -> status and message of the replicas whose loss or gradient is not finite."""
        fine = losses.isfinite()
        lost = (~(fine & gradient.isfinite().all(1))).nonzero().flatten().tolist()
        what = {position: "gradient" if bool(fine[position]) else "loss" for position in lost}
        return {p: ("diverged", f"the {word} was no longer finite at step {self.step}") for p, word in what.items()}

    def _freeze(self, frozen: Mapping[int, tuple[str, str]]) -> Tensor:
        """Leaves replicas where they are, position -> status and message; returns the positions that go on."""
        self.full = self._all(self.full, self.stack.theta).clone()
        self.full_buffers = {name: value.clone() for name, value in self._all_buffers().items()}
        for position, (status, message) in frozen.items():
            self.status[int(self.alive[position])] = {"status": status, "step": self.step, "message": message}
        rows = [position for position in range(len(self.alive)) if position not in frozen]
        keep = torch.tensor(rows, dtype=torch.int64, device=self.alive.device)
        self.alive = self.alive[keep]
        if len(self.alive):
            self.stack.keep(keep)
        return keep

    def _record(
        self, seen: tuple[Tensor, Tensor, Tensor] | None, snapshot: bool, row: bool, look: Look | None = None
    ) -> int:
        """Records a step; `seen` are its losses, gradient norms and gradients, None if nobody trains any more."""
        if not (snapshot or row or look):
            return 0
        metrics: dict[str, Tensor] = {}
        if seen is not None:
            losses, norms, gradient = seen
            metrics = {"loss": losses, "grad_norm": norms}
            if self.observe is not None:
                metrics |= self.observe(self.stack.theta, gradient)
            metrics |= self.stopping.scores(self.stack.theta, self.stack.buffers, self.alive, look, every=snapshot)
        if len(self.alive) < self.replicas:
            names = metrics or {"loss": None, "grad_norm": None}
            metrics = {name: self.stopping.spread(name, metrics.get(name), self.alive, self.full) for name in names}
        theta = self._all(self.full, self.stack.theta) if snapshot else None
        buffers = self._all_buffers() if snapshot else None
        self.recording.append(self.step, self.step / self.per_epoch, theta, metrics, buffers)
        return 0 if theta is None else theta.nbytes
