"""The error surface: what the loss looks like around the way of training, and what each picture of it hides.

**Question.** What does the surface look like on which training descends: smooth or rough, a valley or a bowl, with
other minima beside it? And how much of the answer is the picture's own doing?

**Method.** Some networks are trained from independent initial weights and their weights recorded. The first that
completes is looked at in four ways: (1) the weights visited and seeded samples near each of the last snapshots are
embedded in a plane by principal components and by t-SNE, and coloured by loss; (2) every parameter is moved alone; (3)
the loss is evaluated densely on the straight line from the first to the last weights; (4) and in planes: two random
directions with the norms of the filters (Li et al. 2018), the principal components of the trajectory, the two
leading eigenvectors of the Hessian, its leading and its lowest (most negative) one, and three solutions.

**Figures and how to read them.**

- *Loss at the weights visited and near them*: the classic picture of a valley. Left, where distances mean something;
  right t-SNE, where only neighbourhoods do.
- *Each parameter alone*: a fan of curves, with a close-up near zero. Steep curves are parameters that matter; where a
  curve has its minimum beside zero, training had not finished along it.
- *From the first to the last weights*: U-shaped, monotonic or rough. The way of training itself is another.
- *Planes*: levels beside the cells themselves, and the surface in space. The path of training is drawn in the plane of
  the trajectory only, for it is far off all the others.
- *What the plane of the trajectory hides*: for every snapshot the loss at its weights beside the loss drawn below it,
  and its distance from the plane.

**Traps.** A picture of two dimensions out of thousands hides nearly all of them, and each kind hides something else:
random directions show average curvature and miss the few directions where it is large; principal components are where
training went, and hold most of the variance of a random walk as well; eigenvectors show the extremes. Points drawn in a
plane that they do not lie in show a loss that is not theirs. Without the norms of the filters, a network whose weights
are larger looks flatter although it computes the same function. In t-SNE the width of a valley and the gaps beside it
mean nothing. A linear colour scale shows a wall and hides the valley, a logarithmic one does the opposite: the scale is
chosen by the numbers, and the caption says which one and why.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.stages import Passes, Stage
from thalweg.experiments.shared.sizes import recorded, snapshots, test_samples, trained
from thalweg.experiments.shared.training import TrainingConfig, recipe_words, set_up
from thalweg.experiments.shared.words import counted, percent
from thalweg.figures.scales import number
from thalweg.limits import check_memory
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from thalweg.experiments._path_numbers import Measured
    from thalweg.experiments.shared.training import Setup
    from thalweg.runs import Run

__all__ = ["PRESETS", "Config", "run"]

Part = Literal["visited", "parameters", "line", "planes"]
EIGENVECTORS = 40
"""Products of the Hessian with a vector that a plane takes, about."""

PlaneName = Literal["random", "trajectory", "curvature", "saddle", "solutions"]


class Config(TrainingConfig):
    """Settings of `error-surface`."""

    replicas: int = Field(default=3, ge=1)
    """Number of independent trainings; the first that completes is looked at, three make the plane of solutions."""

    parts: tuple[Part, ...] = ("visited", "parameters", "line", "planes")
    """What to draw: weights visited, each parameter alone, the line from first to last weights, planes."""

    planes: tuple[PlaneName, ...] = ("random", "trajectory", "curvature", "saddle", "solutions")
    """Which planes; curvature: two leading eigenvectors of the Hessian; saddle: the leading and the lowest one."""

    last: int = Field(default=10, ge=1)
    """visited: number of last snapshots near which samples are drawn."""

    neighbours: int = Field(default=25, ge=4, le=10_000)
    """visited: samples near each of them."""

    spread: float = Field(default=0.05, gt=0)
    """visited: standard deviation of a sample in each parameter, as a share of the root mean square weight."""

    perplexity: float | None = Field(default=None, ge=1)
    """visited: neighbours that t-SNE weighs; default 30, or fewer for few points."""

    curves: int = Field(default=300, ge=1)
    """parameters: most curves; a larger network has a seeded sample of its parameters drawn."""

    reach: float = Field(default=1.0, gt=0)
    """parameters: greatest offset of a parameter, in its own units."""

    offsets: int = Field(default=81, ge=5, le=10_001)
    """parameters: offsets of each, an odd number; half of them within a tenth of `reach`."""

    line_points: int = Field(default=401, ge=4, le=1_000_000)
    """line: places between α = −0.5 and 1.5."""

    points: int = Field(default=41, ge=2, le=2001)
    """planes: cells along each axis."""

    span: float = Field(default=1.0, gt=0, le=1e6)
    """planes: half-width of the random one, in lengths of its directions."""

    rise: float | None = Field(default=None, gt=0)
    """planes: how far the loss rises along the axes of those of the Hessian; default: what training lowered it by."""

    normalize: Literal["filter", "layer", "whole", "none"] = "filter"
    """planes: norms of the random directions: those of the filters (Li et al. 2018), of layers, of all, or none."""

    biases: Literal["zero", "keep"] = "zero"
    """planes: whether biases stay (zero, as in the paper) or move in the random directions."""

    normalization: Literal["zero", "keep"] = "zero"
    """planes: the same for the parameters of normalisation layers."""

    exports: tuple[Literal["vtk", "npz", "parquet"], ...] = ("vtk",)
    """planes: formats in which the surfaces are written into the run's folder."""

    film: Literal["gif", "mp4", "none"] = "gif"
    """planes: training moving over the plane of its trajectory; mp4 needs ffmpeg."""

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if not self.parts:
            raise InputError("parts must name at least one of visited, parameters, line, planes, found none")
        for name in ("epochs", "steps"):
            if getattr(self.training, name) == 0:
                raise InputError(f"training.{name} must be at least 1, so that there is a path, found 0")
        if "planes" in self.parts and not self.planes:
            raise InputError("planes must name at least one plane, or parts must leave planes out, found none")
        for name in ("parts", "planes", "exports"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise InputError(f"{name} must name each once, found {', '.join(values)}")
        if self.offsets % 2 == 0:
            raise InputError(f"offsets must be odd, so that zero is among them, found {self.offsets}")
        return self

    def stages(self) -> list[Stage]:
        """The training, and every part that is drawn."""
        parameters, samples = trained(self.data, self.model)
        alphas = self.line_points * self.replicas * (1 + test_samples(self.data) / samples)
        cells = len(self.planes) * self.points**2
        passes = {
            "visited": Passes("visited", self, values=self.last * self.neighbours, precise=False),
            "parameters": Passes("parameters", self, values=min(self.curves, parameters) * self.offsets, precise=False),
            "line": Passes("line", self, values=alphas, precise=False),
            "planes": Passes("planes", self, values=cells, products=EIGENVECTORS * len(self.planes), precise=False),
        }
        return [*super().stages(), *(passes[part] for part in self.parts)]

    def check_sizes(self, root: str | Path) -> None:
        """Refuse also more weights than can be embedded, and fewer than the perplexity needs."""
        super().check_sizes(root)
        if "visited" not in self.parts:
            return
        most = snapshots(self.training, trained(self.data, self.model)[1])
        points = most + min(self.last, most) * self.neighbours
        check_memory("neighbours", f"{self.neighbours:,}: {points:,} weights to embed", 2 * 8 * points**2)
        length = len(recorded(self.training, trained(self.data, self.model)[1]))
        points = length + min(self.last, length) * self.neighbours
        if self.perplexity is not None and self.perplexity > (points - 1) / 3:
            raise InputError(
                f"perplexity must be at most {(points - 1) / 3:.4g}, a third of the {points:,} weights to embed, found "
                f"{self.perplexity:g}"
            )


def _every(distance: int, **recipe: Any) -> Recipe:
    """Weights every `distance` epochs."""
    return Recipe(record=Cadence(every=distance, unit="epoch"), **recipe)


_SMALL = ModelConfig(hidden=(6, 4), activation="tanh")  # 45 parameters with one input and one output
_SINC = TaskConfig(name="function", expression="sinc", points=128)

PRESETS = {
    "tiny": Config(
        data=TaskConfig(name="function", points=32),
        model=ModelConfig(hidden=(3,), activation="tanh"),
        training=_every(5, lr=0.02, epochs=30),
        last=2,
        neighbours=10,
        offsets=9,
        line_points=21,
        points=7,
    ),
    "quick": Config(data=_SINC, model=_SMALL, training=_every(50, lr=0.02, epochs=3000), spread=0.02, perplexity=15),
    "digits": Config(model=ModelConfig(hidden=(32,)), training=_every(1, lr=2e-3, batch_size=64, epochs=40), points=31),
    "course": Config(
        data=TaskConfig(name="mnist", samples=10_000),
        model=ModelConfig(hidden=(20, 20, 20)),
        training=_every(1, lr=1e-3, batch_size=200, epochs=30),
        curves=60,
        offsets=41,
        line_points=201,
    ),
    "course-function": Config(
        data=TaskConfig(name="function", expression="sinc", points=1000),
        model=_SMALL,
        training=_every(200, lr=0.01, epochs=20_000),
        neighbours=60,
        line_points=1601,
        points=61,
    ),
}


def run(config: Config, run: Run) -> Findings:
    """Trains, and draws the surface in all the ways that were asked for."""
    from thalweg.experiments._path_numbers import measure
    from thalweg.experiments._surface_curves import line, parameters
    from thalweg.experiments._surface_look import joined, look_at
    from thalweg.experiments._surface_story import planes
    from thalweg.experiments._surface_visited import visited
    from thalweg.training import train

    setup = set_up(config, run)
    recording = train(
        setup.objective,
        None,
        config.training,
        replicas=config.replicas,
        seed=config.seed,
        recording=run.recording(),
        evaluate=setup.evaluate,
    )
    measured = measure(recording, setup, None)
    if not measured.paths.replicas:
        return _nothing_left(config, measured)
    look = look_at(config, run, setup, recording, measured)
    parts = {"visited": visited, "parameters": parameters, "line": line, "planes": planes}
    found = joined(parts[part](look) for part in config.parts)
    return joined([_headline(found), _training(config, setup, measured), found, Findings((measured.curves,))])


def _headline(found: Findings) -> Findings:
    """The main results in one sentence, as far as the parts that give them were asked for."""
    said, numbers = [], {name: value for name, value in found.numbers.items() if isinstance(value, float | int)}
    if "line_rise" in numbers:
        never = numbers["line_rise"] == 0
        said.append(f"on the straight line from first to last weights the loss {'never rises' if never else 'rises'}")
    if "trajectory_explained" in numbers:
        shown, ratio = numbers["trajectory_explained"], numbers["trajectory_worst_ratio"]
        said.append(
            f"the plane of the trajectory holds {percent(shown)} of its variance and shows "
            f"{'up to' if ratio >= 1 else 'as little as'} {number(ratio)} times the loss that the weights had"
        )
    words = "; ".join(said)
    return Findings(statements=(f"{words[:1].upper()}{words[1:]}.",) if said else ())


def _training(config: Config, setup: Setup, measured: Measured) -> Findings:
    from thalweg.experiments._path_figures import run_name

    done = measured.paths.replicas
    words = (
        f"{counted(config.replicas, 'training')} of the network {setup.network} on {setup.task.label}: "
        f"{recipe_words(config.training, setup.task.samples)}; weights recorded {len(measured.paths.epochs)} times. "
        f"{len(done)} completed; {run_name(done[0])} is the one looked at."
    )
    final = measured.final("loss", "training")
    numbers = {"completed": len(done), "train_loss": float(final[0])}
    warnings = [warning.replace("projections and numbers", "all pictures") for warning in measured.warnings]
    return Findings(statements=(words,), numbers=numbers, warnings=warnings)


def _nothing_left(config: Config, measured: Measured) -> Findings:
    """All trainings diverged: their curves, and the reason."""
    return Findings(
        figures=(measured.curves,),
        statements=(f"None of the {counted(config.replicas, 'training')} completed: there is nothing to look around.",),
        numbers={"completed": 0},
        warnings=(*measured.warnings, "A smaller learning rate may keep the losses finite."),
    )
