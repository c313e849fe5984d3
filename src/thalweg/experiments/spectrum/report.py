"""What `spectrum` says: the signs at the end of training first, then the largest eigenvalues and the rest."""

from __future__ import annotations

import numpy as np

from thalweg.experiments.framework.findings import Findings, Number
from thalweg.experiments.spectrum.config import Config
from thalweg.experiments.spectrum.figures import figures
from thalweg.experiments.spectrum.measure import Measured
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words

__all__ = ["report"]

COLUMNS = ("loss", "gradient_norm", "positive", "negative", "undecided", "band", "ratio")


def report(config: Config, found: Measured, setting: str, kinks: tuple[str, ...]) -> Findings:
    """Puts the findings together.

    Args:
        config: The settings.
        found: What was measured.
        setting: What was trained on what, and how.
        kinks: Piecewise-linear operations of the network.
    """
    lost = [r for r in range(config.replicas) if r not in found.fine]
    warnings = [f"Run {r + 1} diverged and is left out." for r in lost]
    if not found.fine:
        return Findings(statements=("Every run diverged.",), numbers={"completed": 0}, warnings=warnings)
    top, ggn = found.largest["hessian"], found.largest.get("ggn")
    end = {name: _column(found, "end", name) for name in COLUMNS}
    size = found.size
    estimated = found.signs["end"][0].method == "estimate"
    if kinks:
        warnings.append(f"The model is piecewise linear ({', '.join(kinks)}): its Hessian misses the kinks in between.")
    if not bool(top.converged.all()):
        warnings.append("Not all of the largest eigenvalues converged; their error bars are their residuals.")
    if not top.complete:
        warnings.append("Among the largest eigenvalues repeated ones may be missing: that was not settled.")
    numbers: dict[str, Number] = {
        "largest_eigenvalue": float(top.values[0]),
        **({} if ggn is None else {"largest_ggn_eigenvalue": float(ggn.values[0])}),
        "minimal_ratio": float(np.median(end["ratio"])),
        "negative_share": float(np.median(end["negative"])) / size,
        "undecided_share": float(np.median(end["undecided"])) / size,
        "completed": len(found.fine),
    }
    last, up = range_words(end["ratio"], percent), range_words(end["negative"] / size, percent)
    words = f"At the {config.places['end']}"
    doubt, band = range_words(end["undecided"] / size, percent), number(float(np.median(end["band"])))
    told = " These are estimates by stochastic Lanczos quadrature." if estimated else ""
    run = f"run {found.fine[0] + 1}"
    beside = "" if ggn is None else f"; the largest of the Gauss–Newton matrix is {number(float(ggn.values[0]))}"
    residual = number(float(top.residuals.max()))
    stopped = "the weights as they are" if config.checkpoint else "the place where training stopped"
    statements = (
        (
            f"{words} {last} of {counted(size, 'eigenvalue')} of the Hessian are certainly positive and "
            f"{up} certainly negative; the largest is {number(float(top.values[0]))}."
        ),
        f"{_before(config, found)}{doubt} are undecided within ±{band}.{told}",
        (
            f"The {len(top.values)} largest eigenvalues of the Hessian are known to residuals of at most {residual} "
            f"({counted(top.products, 'product')}){beside}."
        ),
        (
            f"{words} the gradient norm is {range_words(end['gradient_norm'])}, which certifies no critical point: "
            f"the signs describe {stopped}, not a minimum."
        ),
        setting if config.checkpoint else f"{setting}; densities and largest eigenvalues are those of {run}.",
    )
    return Findings(figures(config, found), statements, {"Signs": _rows(found)}, numbers, warnings)


def _before(config: Config, found: Measured) -> str:
    """The signs at the first place, and the beginning of a sentence on the last one."""
    if "start" not in found.signs:
        return "Of them, "
    first = range_words(_column(found, "start", "ratio"), percent)
    down = range_words(_column(found, "start", "negative") / found.size, percent)
    ends = ("first checkpoint", "last") if config.checkpoint else ("start", "end")
    return f"At the {ends[0]} they were {first} and {down}; at the {ends[1]} "


def _column(found: Measured, place: str, name: str) -> np.ndarray:
    return np.array([float(getattr(one, name)) for one in found.signs[place]])


def _rows(found: Measured) -> list[dict[str, Number]]:
    return [
        {"run": r + 1, "place": place, **{name: float(getattr(ratios[i], name)) for name in COLUMNS}}
        for i, r in enumerate(found.fine)
        for place, ratios in found.signs.items()
    ]
