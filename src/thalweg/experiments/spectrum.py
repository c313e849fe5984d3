"""The spectrum of the Hessian: its density with error bands, its outliers, and the signs that are certain.

**Question.** How is the curvature distributed at the start and at the end of training: how many directions are steep,
how many are flat, how many go down, and which layers and which part of the Hessian do they come from?

**Method.** A network is trained; at its first and last weights the density of the eigenvalues of the Hessian and of the
Gauss–Newton matrix is estimated by stochastic Lanczos quadrature with a confidence band over random vectors (Ghorbani,
Krishnan & Xiao 2019). Where the number of parameters allows it, all eigenvalues are computed too and drawn over the
estimate. The largest eigenvalues come from Lanczos with restarts, each with its residual. Signs are counted against the
error of this very Hessian.

**Figures and how to read them.**

- *Density*: logarithmic, smoothed by a kernel whose width is stated. Most eigenvalues lie near zero; for a classifier
  of C classes about C stand apart from them (Sagun et al. 2017; Papyan 2019), and the Gauss–Newton matrix has them too.
- *Largest eigenvalues*: of the Hessian and of the Gauss–Newton matrix, with residuals as error bars.
- *Layers*: the same density for the diagonal block of each layer.
- *Signs*: certainly positive, certainly negative and undecided eigenvalues of every run at the start and at the end.

**Traps.** A near-zero eigenvalue has no sign: a strict comparison with zero counts rounding errors. The spectrum of one
batch is not that of the loss. A power iteration or Lanczos that has not converged looks like a result. With ReLU the
Hessian is that of linear pieces and misses the kinks between them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from thalweg.experiments._spectra import PLACES, Spectrum, density_figure, largest_figure, signs_figure
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.stages import Passes, Stage
from thalweg.experiments.shared.sizes import built, trained
from thalweg.experiments.shared.training import TrainingConfig, recipe_words, set_up
from thalweg.figures.scales import number
from thalweg.models.config import ModelConfig
from thalweg.progress import track
from thalweg.results.words import counted, percent, range_words
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.curvature import Operator
    from thalweg.experiments.shared.training import Setup
    from thalweg.objective import Objective
    from thalweg.runs import Run

__all__ = ["PRESETS", "Config", "run"]


COUNTED = 16_750
"""Parameters up to which signs are counted in whole Hessians; a Hessian and its eigenvalues take as long as a product
for every ten parameters, about."""

LARGEST = 150
"""Products with a vector that the largest eigenvalues of both matrices take, about."""


class Config(TrainingConfig):
    """Settings of `spectrum`."""

    probes: int = Field(default=10, ge=2, le=10_000)
    """Random vectors of the density's estimate."""

    steps: int = Field(default=80, ge=1, le=10_000)
    """Lanczos steps for each of them."""

    largest: int = Field(default=15, ge=1, le=10_000)
    """How many of the largest eigenvalues are computed, each with its residual."""

    exact_up_to: int = Field(default=3000, ge=0)
    """All eigenvalues are computed for at most so many parameters; signs are estimated beyond 16,750."""

    def stages(self) -> list[Stage]:
        """The training, densities at its two ends and of every layer, the largest eigenvalues, and the signs."""
        from thalweg.objective import ParameterLayout

        parameters = trained(self.data, self.model)[0]
        steps = self.probes * min(self.steps, parameters)
        names = ParameterLayout.of(built(self.data, self.model)).names
        layers = dict.fromkeys(name.rpartition(".")[0] or "all" for name in names)
        densities = [f"density-{kind}-{place}" for place in PLACES for kind in ("hessian", "ggn")]
        densities += [f"density-layer-{name}" for name in layers]
        found = [*super().stages(), *(Passes(name, self, products=steps) for name in densities)]
        found.append(Passes("largest", self, products=LARGEST))
        counted = parameters <= COUNTED
        signs = max(2.0, parameters / 5) if counted else 2 * steps
        keys = [f"signs-{place}-{r + 1}" for place in PLACES for r in range(self.replicas)]
        return [*found, *(Passes(key, self, products=signs) for key in keys)]

    def numbers(self, parameters: int) -> dict[str, float]:
        """The whole Hessian and the workspace of its eigenvalues."""
        return {"exact_up_to": 3 * parameters**2 if parameters <= self.exact_up_to else 0}


_RECORD = Cadence(every=1_000_000, unit="epoch")  # the first and the last weights

PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=100, test_samples=50),
        model=ModelConfig(hidden=(4,)),
        training=Recipe(lr=0.02, epochs=20, record=_RECORD),
        probes=3,
        steps=20,
        largest=4,
    ),
    "quick": Config(
        replicas=3,
        model=ModelConfig(hidden=(24,), activation="tanh"),
        training=Recipe(lr=2e-3, batch_size=64, epochs=60, record=_RECORD),
    ),
    # 784-10-10-10: 8,070 parameters
    "course": Config(
        replicas=3,
        data=TaskConfig(name="mnist", samples=5000),
        model=ModelConfig(hidden=(10, 10), activation="tanh"),
        training=Recipe(lr=1e-3, batch_size=200, epochs=30, record=_RECORD),
    ),
    # the network of the course, 784-20-20-20-10: 16,750 parameters, whose whole Hessian takes 2 GB
    "classic": Config(
        replicas=3,
        data=TaskConfig(name="mnist", samples=10_000),
        model=ModelConfig(hidden=(20, 20, 20), activation="tanh"),
        training=Recipe(lr=1e-3, batch_size=200, epochs=30, record=_RECORD),
    ),
}


def run(config: Config, run: Run) -> Findings:
    """Trains, then measures the curvature at the first and the last weights."""
    from thalweg.training import train

    setup = set_up(config, run)
    recording = train(
        setup.objective,
        setup.objective.initial(config.replicas, config.seed),
        config.training,
        seed=config.seed,
        recording=run.recording(),
        evaluate=setup.evaluate,
    )
    objective = setup.objective.double()
    fine = [r for r, entry in enumerate(recording.status) if entry["status"] == "completed"]
    warnings = [f"Run {r + 1} diverged and is left out." for r in range(config.replicas) if r not in fine]
    if not fine:
        return Findings(statements=("Every run diverged.",), numbers={"completed": 0}, warnings=warnings)
    places = [recording.snapshots[s][fine].double().to(objective.device) for s in (0, -1)]
    shown = fine[0]
    spectra = {
        place: _spectra(config, objective, theta[0], place, run) for place, theta in zip(PLACES, places, strict=True)
    }
    layers = _layers(config, objective, places[1][0], run)
    tops = run.cached("largest", lambda: _largest(config, objective, places[1][0]))
    signs = run.cached("signs", lambda: _signs(objective, places, run))
    if objective.kinks:
        warnings.append(
            f"The model is piecewise linear ({', '.join(objective.kinks)}): its Hessian misses the kinks in between."
        )
    return _tell(config, setup, fine, shown, spectra, layers, _arrays(tops), _arrays(signs), warnings)


def _arrays(saved: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in saved.items()}


def _spectra(config: Config, objective: Objective, theta: Tensor, place: str, run: Run) -> list[Spectrum]:
    """Densities of the Hessian and, where the loss allows it, of the Gauss–Newton matrix."""
    from thalweg.curvature import exact_curvature

    exact = objective.size <= config.exact_up_to
    out = []
    for kind, (name, operator) in _operators(objective).items():

        def compute(operator: Any = operator, kind: Any = kind) -> dict[str, np.ndarray]:
            matrix = exact_curvature(objective, theta, kind=kind).matrix if exact else None
            return _density(config, operator(objective, theta), matrix)

        saved = _arrays(run.cached(f"density-{kind}-{place}", compute))
        out.append(_read(name, saved))
    return out


def _operators(objective: Objective) -> dict[str, tuple[str, Any]]:
    """The matrices that the loss has: a loss of (model, batch) does not say what the model's outputs are."""
    from thalweg.curvature import ggn_operator, hessian_operator

    found = {"hessian": ("Hessian", hessian_operator)}
    return found if objective.loss_on == "batch" else found | {"ggn": ("Gauss–Newton matrix", ggn_operator)}


def _layers(config: Config, objective: Objective, theta: Tensor, run: Run) -> list[Spectrum]:
    """Densities of the Hessian's diagonal blocks, one per layer with parameters."""
    from thalweg.curvature import hessian, hessian_operator

    out = []
    for layer in dict.fromkeys(name.rpartition(".")[0] for name in objective.layout.names):
        glob = f"{layer}.*" if layer else "*"

        def compute(glob: str = glob) -> dict[str, np.ndarray]:
            operator = hessian_operator(objective, theta, glob)
            exact = operator.size <= config.exact_up_to
            return _density(config, operator, hessian(objective, theta, parameters=glob) if exact else None)

        saved = _arrays(run.cached(f"density-layer-{layer or 'all'}", compute))
        size = objective.layout.only(glob).size
        out.append(_read(f"layer {len(out) + 1} ({counted(size, 'parameter')})", saved))
    return out


def _density(config: Config, operator: Operator, matrix: Tensor | None) -> dict[str, np.ndarray]:
    import torch

    from thalweg.curvature import spectral_density

    found = spectral_density(operator, probes=config.probes, steps=config.steps, seed=config.seed)
    saved = {"grid": found.grid, "density": found.density, "low": found.lower, "high": found.upper}
    saved["width"] = torch.tensor(found.width, dtype=torch.float64)
    if matrix is not None:
        values = torch.linalg.eigvalsh(matrix)
        saved["eigenvalues"] = values
        scaled = (found.grid[:, None] - values) / found.width
        saved["exact"] = torch.exp(-0.5 * scaled.square()).mean(1) / (found.width * (2 * torch.pi) ** 0.5)
    return {name: value.cpu().numpy() for name, value in saved.items()}


def _read(name: str, saved: dict[str, np.ndarray]) -> Spectrum:
    return Spectrum(
        name, saved["grid"], saved["density"], saved["low"], saved["high"], saved.get("exact"), float(saved["width"])
    )


def _largest(config: Config, objective: Objective, theta: Tensor) -> dict[str, Tensor]:
    import torch

    from thalweg.curvature import eigenpairs

    out = {}
    for name, (_, operator) in _operators(objective).items():
        found = eigenpairs(
            operator(objective, theta), config.largest, tolerance=1e-3, relative_to="norm", seed=config.seed
        )
        out |= {f"{name}_values": found.values, f"{name}_residuals": found.residuals}
        out[f"{name}_converged"] = found.converged
        out[f"{name}_complete"] = torch.tensor(found.complete)
        out[f"{name}_products"] = torch.tensor(found.products)
    return out


_SIGNS = ("ratio", "low", "high", "positive", "negative", "undecided", "band", "loss", "gradient_norm")


def _signs(objective: Objective, places: list[Tensor], run: Run) -> dict[str, Tensor]:
    """Signs of every network at both places, (2, R); each is kept as soon as it is known, for it may take minutes."""
    import torch

    def one(theta: Tensor) -> dict[str, Tensor]:
        from thalweg.curvature import minimal_ratio

        found = minimal_ratio(objective, theta)
        kept = {name: getattr(found, name).double().cpu() for name in _SIGNS}
        return kept | {"estimated": torch.tensor(found.method == "estimate")}

    keys = [(place, r) for place in range(len(places)) for r in range(len(places[0]))]
    found = []
    with track("signs of the networks at both ends", total=len(keys)) as advance:
        for done, (place, r) in enumerate(keys, 1):
            found.append(run.cached(f"signs-{PLACES[place]}-{r + 1}", partial(one, places[place][r])))
            advance(done)
    out = {name: torch.stack([one[name] for one in found]).reshape(len(places), -1) for name in _SIGNS}
    return out | {"estimated": found[0]["estimated"]}


def _tell(
    config: Config,
    setup: Setup,
    fine: list[int],
    shown: int,
    spectra: dict[str, list[Spectrum]],
    layers: list[Spectrum],
    tops: dict[str, np.ndarray],
    signs: dict[str, np.ndarray],
    warnings: list[str],
) -> Findings:
    size, shape = setup.objective.size, (config.probes, config.steps)
    figures = (
        density_figure(
            "density",
            "Density of the eigenvalues",
            [(f"{place} of training", spectra[place]) for place in PLACES],
            *shape,
        ),
        largest_figure(tops),
        density_figure(
            "layers", "Density by layer at the end of training", [(one.name, [one]) for one in layers], *shape
        ),
        signs_figure(fine, signs),
    )
    end = {name: values[1] for name, values in signs.items() if values.ndim}
    start = {name: values[0] for name, values in signs.items() if values.ndim}
    estimated = bool(signs["estimated"])
    top, ggn = tops["hessian_values"], tops.get("ggn_values")
    beside = "" if ggn is None else f", of the Gauss–Newton matrix {number(float(ggn[0]))}"
    statements = [
        f"{setup.network} on {setup.task.label}, {recipe_words(config.training, setup.objective.samples)}.",
        f"The densities and the largest eigenvalues are those of run {shown + 1}.",
        (
            f"At the end the largest eigenvalue of the Hessian is {number(float(top[0]))}{beside}; "
            f"the {len(top)} largest are known to residuals of at most "
            f"{number(float(tops['hessian_residuals'].max()))} ({int(tops['hessian_products'])} products)."
        ),
        f"Of {counted(size, 'eigenvalue')} certainly positive: {range_words(start['ratio'], percent)} at the start, "
        f"{range_words(end['ratio'], percent)} at the end; certainly negative: "
        f"{range_words(start['negative'] / size, percent)} and {range_words(end['negative'] / size, percent)}; "
        f"undecided within ±{number(float(np.median(end['band'])))}: "
        f"{range_words(end['undecided'] / size, percent)} at the end."
        + (" These are estimates by stochastic Lanczos quadrature." if estimated else ""),
        (
            f"At the end the gradient norm is {range_words(end['gradient_norm'])}, which certifies no critical point: "
            "the signs describe the place where training stopped, not a minimum."
        ),
    ]
    if not bool(tops["hessian_converged"].all()):
        warnings = [*warnings, "Not all of the largest eigenvalues converged; their error bars are their residuals."]
    if not bool(tops.get("hessian_complete", True)):  # runs of earlier versions do not know
        warnings = [*warnings, "Among the largest eigenvalues repeated ones may be missing: that was not settled."]
    rows = [
        {
            "run": fine[i] + 1,
            "place": place,
            **{name: float(signs[name][p, i]) for name in ("loss", "gradient_norm", "positive", "negative", "undecided",
                                                            "band", "ratio")},
        }
        for i in range(len(fine))
        for p, place in enumerate(PLACES)
    ]  # fmt: skip
    numbers = {
        "largest_eigenvalue": float(top[0]),
        **({} if ggn is None else {"largest_ggn_eigenvalue": float(ggn[0])}),
        "minimal_ratio": float(np.median(end["ratio"])),
        "negative_share": float(np.median(end["negative"])) / size,
        "undecided_share": float(np.median(end["undecided"])) / size,
        "completed": len(fine),
    }
    return Findings(figures, statements, {"Signs": rows}, numbers, warnings)
