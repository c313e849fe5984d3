"""The figures of `spectrum`: densities with their bands, largest eigenvalues with residuals, shares of signs."""

from __future__ import annotations

from thalweg.curvature.density_figures import density_figure
from thalweg.curvature.eigenvalue_figures import SIGNS, ranked_figure, signs_panel
from thalweg.experiments.spectrum.config import Config
from thalweg.experiments.spectrum.measure import MATRICES, Measured
from thalweg.figures import Figure
from thalweg.results.networks import flat

__all__ = ["figures"]


def figures(config: Config, found: Measured) -> tuple[Figure, ...]:
    """All figures, the main one first."""
    shape = config.probes, config.steps
    places = [
        (config.places[place], [one.estimate.spectrum(name, one.eigenvalues) for name, one in densities.items()])
        for place, densities in found.densities.items()
    ]
    layers = [(name, [one.estimate.spectrum(name, one.eigenvalues)]) for name, one in found.layers.items()]
    largest = {MATRICES[kind][0]: (flat(one.values), flat(one.residuals)) for kind, one in found.largest.items()}
    end = f"at the {config.places['end']}"
    caption = f"The largest eigenvalues {end}, by Lanczos; error bars: residuals."
    return (
        density_figure("density", "Density of the eigenvalues", places, *shape),
        ranked_figure(largest, "Largest eigenvalues", caption),
        density_figure("layers", f"Density by layer {end}", layers, *shape),
        _signs(config, found),
    )


def _signs(config: Config, found: Measured) -> Figure:
    """Signs of every run, at the start and at the end."""
    names, panels = [f"run {r + 1}" for r in found.fine], []
    for place, ratios in found.signs.items():
        counts = {name: flat([float(getattr(one, name)) for one in ratios]) for name in SIGNS}
        panels.append(signs_panel(counts, names, config.places[place]))
    caption = "Eigenvalues of the Hessian that are certainly positive, certainly negative, or inside the zero band."
    return Figure("signs", "Signs of the eigenvalues", caption, tuple(panels), share_y=True)
