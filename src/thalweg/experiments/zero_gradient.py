"""What happens when the gradient is almost zero? The course's method, and certified critical points beside it.

**Question.** Where the gradient vanishes, is it a minimum? Which share of the directions leads up?

**Method.** One small network is trained many times. (1) *The course's method*: from where training stopped, the norm of
the gradient is made the objective, and at the end of that the *minimal ratio* is measured, the share of the Hessian's
eigenvalues that are positive, and the share of random neighbours with a higher loss. (2) *Certified points*: from the
same trainings, with a little weight decay so that critical points exist, minima are searched by Levenberg–Marquardt and
Newton's method, saddles of index 1 and 2 by eigenvector following, and exact saddles are made of narrower networks'
minima by adding dead units. Every point, of either kind, gets the same certificate: the norm of its gradient, the signs
of its eigenvalues against a zero band, the distance to an exactly critical point by the Newton–Kantorovich test.
(3) *The landscape between them*: from every saddle walks lead downhill, to both sides of its lowest modes.
Everything after training is computed in float64.

**Figures and how to read them.**

- *Minimal ratio against loss*: left the end points of the course's method, right the certified points. Grey crosses are
  not critical: their ratio says nothing of minima. Bars reach from the modes that are certainly positive to those that
  may be. In the report, a click on a dot shows its certificate and its spectrum.
- *Loss and gradient norm through both phases*: at the switch of the objective the gradient norm falls and the loss does
  not; what follows is a walk on gradient-flat ground.
- *Spectra*, with the zero band; *ratio against tolerance* at one end point, in single and double precision.
- *Index against loss*: saddles of higher index lie higher (Dauphin et al. 2014).
- *Which saddle leads to which minimum*: the solution landscape (Yin et al. 2020). Most saddles of index 1 lead to one
  minimum on both sides: to two copies of it, with hidden units exchanged, which are drawn as one.
- *Neighbours*: the same ratio by sampling, and as a function of the radius.

**Traps.** The classic figure, ratios of 0.25 to 0.55 at losses below 0.01, is made of points that are not critical: the
search stalls where the gradient lies in flat modes (Frye et al. 2021), and eigenvalues of 1e-12 have a sign by rounding
only. Without weight decay these networks have no critical point within reach at all: the loss falls for ever while the
weights grow. Points at the loss of the best constant are dead networks. Neighbours cannot replace the Hessian: near a
point that is not critical half of them are higher, because the gradient decides, and at a saddle of low index nearly
all of them are, because few directions lead down.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments._zero_costs import searches
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.stages import Stage, Training
from thalweg.experiments.shared.sizes import trained
from thalweg.experiments.shared.training import TrainingConfig, set_up
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["PRESETS", "Config", "run"]

Radius = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Config(TrainingConfig):
    """Settings of `zero-gradient`."""

    replicas: int = Field(default=100, ge=1)
    """Number of independent trainings; each leads to one end point of the course's method."""

    method: Literal["adam", "lbfgs", "levenberg"] = "adam"
    """How the norm of the gradient is minimised: Adam or L-BFGS on ½‖∇L‖², or Levenberg–Marquardt on ∇L = 0."""

    norm_steps: int = Field(default=2000, ge=1, le=10_000_000)
    """Steps of that second phase."""

    norm_lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    """Learning rate of Adam in the second phase."""

    decay: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """Weight decay (the objective's l2) of the certified points; with 0 there are none within reach."""

    minima: int = Field(default=100, ge=1)
    """Number of trainings from whose ends minima are searched, at most all."""

    indices: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2)
    """Indices of the saddles that are searched by eigenvector following."""

    saddles: int = Field(default=100, ge=0)
    """Number of trainings from which saddles of each index are searched, at most all."""

    saddle_after: int = Field(default=500, ge=0)
    """Step of the training at which these searches start (the snapshot nearest to it); late ones lie in minima."""

    embedded: int = Field(default=10, ge=1, le=100_000)
    """Number of starts in each narrower network."""

    narrower: int = Field(default=6, ge=0)
    """Number of narrower networks whose minima are embedded as saddles."""

    downhill: int = Field(default=2, ge=0, le=1000)
    """At most so many of the lowest modes of every saddle along which walks lead down to minima; with 0 none."""

    neighbours: int = Field(default=100, ge=1, le=1_000_000)
    """Random neighbours of every point at every radius."""

    radii: tuple[Radius, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Radii at which neighbours are drawn."""

    radius: Radius = 1e-3
    """The radius of the figure of the sampled ratio against loss."""

    scale: Literal["norm", "coordinate", "relative", "relative-uniform"] = "norm"
    """What a radius is: ‖δ‖ itself; the deviation of each δᵢ; that as a share of θᵢ, normal or uniform."""

    chunk: int = Field(default=50, ge=1)
    """Points that are searched together; a killed run loses at most these."""

    @model_validator(mode="after")
    def _lists(self) -> Config:
        if not self.radii:
            raise InputError("radii must hold at least one radius, found none")
        if len(set(self.indices)) < len(self.indices):
            raise InputError(f"indices must be different, found {list(self.indices)}")
        return self

    def stages(self) -> list[Stage]:
        """The training and all searches."""
        return [Training("training", self, evaluated=False), *searches(self)]

    def check_sizes(self, root: str | Path) -> None:
        """Refuse also saddles of an index that no point of the network has."""
        super().check_sizes(root)
        parameters = trained(self.data, self.model)[0]
        if self.saddles and self.indices and max(self.indices) > parameters:
            raise InputError(
                f"indices must be at most the number of parameters ({parameters:,}), found {max(self.indices):,}"
            )


_SINC = TaskConfig(name="function", expression="sinc", interval=(-1.0, 1.0), points=128)


def _tanh(*hidden: int) -> ModelConfig:
    return ModelConfig(hidden=hidden, activation="tanh")


def _adam(steps: int, lr: float = 1e-2) -> Recipe:
    """Full-batch Adam; about 40 snapshots and at most 1,000 rows."""
    record = Cadence(every=max(1, steps // 40), unit="step")
    return Recipe(lr=lr, steps=steps, record=record, metrics=Cadence(every=max(1, steps // 1000), unit="step"))


_COURSE = Config(data=_SINC, model=_tanh(4, 4), training=_adam(10_000), threads=1)

PRESETS = {
    "tiny": Config(
        replicas=4,
        data=TaskConfig(name="function", expression="sinc", interval=(-1.0, 1.0), points=24),
        model=_tanh(2, 2),
        training=_adam(60),
        norm_steps=40,
        saddles=2,
        indices=(1,),
        embedded=2,
        narrower=2,
        neighbours=20,
        radii=(1e-3, 1e-1),
        decay=1e-3,
        chunk=2,
    ),
    # 1-4-4-1: 33 parameters
    "quick": _COURSE.model_copy(
        update={"replicas": 40, "training": _adam(3000), "saddles": 20, "embedded": 5, "narrower": 5}
    ),
    # train_NZ.py NAME 10000 2000 …, min_ratio.py: 100 trainings, 10,000 epochs and 2,000 of the gradient norm
    "course": _COURSE,
    "22-parameters": _COURSE.model_copy(update={"model": _tanh(3, 3)}),
    "49-parameters": _COURSE.model_copy(update={"model": _tanh(16)}),
    # 1-10-10-1
    "141-parameters": _COURSE.model_copy(update={"model": _tanh(10, 10), "saddles": 20, "embedded": 5, "downhill": 1}),
    # 1-5-10-10-10-10-10-5-1 with ReLU, as in the classic exercise: most eigenvalues are noise
    "571-parameters": _COURSE.model_copy(
        update={
            "model": ModelConfig(hidden=(5, 10, 10, 10, 10, 10, 5)),
            "training": _adam(10_000, 1e-3),
            "replicas": 20,
            "minima": 4,
            "saddles": 0,
            "narrower": 0,
            "chunk": 10,
        }
    ),
}


def run(config: Config, run: Run) -> Findings:
    """Trains, minimises the gradient norm, searches certified points, and tells."""
    import numpy as np
    import torch

    from thalweg.experiments import _zero_stages as stages
    from thalweg.experiments._zero_story import nothing_left, tell
    from thalweg.training import train

    setup = set_up(config, run)
    recording = train(
        setup.objective, None, config.training, replicas=config.replicas, seed=config.seed, recording=run.recording()
    )
    starts = np.array([r for r, entry in enumerate(recording.status) if entry["status"] == "completed"], dtype=int)
    if not len(starts):
        return nothing_left(config, setup, recording)
    # Thousands of small eigenvalue problems: whatever device has trained, they are solved on the CPU.
    objective = setup.objective.to(device="cpu")
    theta = recording.snapshots[-1][torch.from_numpy(starts)].double().cpu()
    ends = stages.end_points(config, run, objective, theta, starts)
    decayed = objective.with_l2(config.decay)
    groups = [stages.minima(config, run, decayed, theta[: config.minima], starts[: config.minima])]
    if config.saddles:
        some = starts[: config.saddles]
        early = int((recording.steps - config.saddle_after).abs().argmin())
        begin = recording.snapshots[early][torch.from_numpy(some)].double().cpu()
        groups += [stages.followed(config, run, decayed, begin, some, k) for k in config.indices]
    refused = ""
    if config.narrower:
        found, refused = stages.embedded(config, run, decayed)
        groups += [found] if found is not None else []
    walked = stages.walks(config, run, decayed, groups) if config.downhill else None
    return tell(config, setup, recording, ends, groups, walked, refused)
