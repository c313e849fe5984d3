"""Curvature: extreme eigenvalues, trace, density, signs, and the share of every layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thalweg.analysis.costs import some
from thalweg.analysis.part import Number, Part, failure
from thalweg.analysis.planning import SUBSETS, Stage
from thalweg.analysis.point import by_layer
from thalweg.curvature import (
    Operator,
    diagonal,
    eigenpairs,
    estimate_counts,
    hessian_operator,
    minimal_ratio,
    spectral_density,
)
from thalweg.curvature import trace as estimated_trace
from thalweg.curvature.lanczos import Eigenpairs
from thalweg.errors import InputError
from thalweg.objective import Objective

__all__ = ["curvature"]


def curvature(objective: Objective, theta: Tensor, stage: Stage) -> tuple[Part, Tensor | None]:
    """Measures the Hessian at θ.

    Args:
        objective: The loss, in the precision of the analysis.
        theta: (P,).
        stage: Samples, products, probes and steps.

    Returns:
        What was found, and the eigenvectors of the largest and the smallest eigenvalue (2, P), if they are known.
    """
    sampled, settings = stage.samples < objective.samples, stage.settings
    part = some(objective, stage.samples)
    operator = hessian_operator(part, theta)
    whole: dict[str, Any] = (
        {"samples": stage.samples, "subsets": SUBSETS} if sampled and stage.samples >= 2 * SUBSETS else {}
    )
    source = hessian_operator(objective, theta) if whole else operator
    numbers: list[Number] = []
    left_out, results, rows = [], [], {}
    vectors: Tensor | None = None

    def attempt(what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever one instrument meets in a stranger's model, the others go on
            left_out.append(failure(what, error))

    def extremes() -> None:
        nonlocal vectors
        pairs = _pairs(source, settings, whole)
        numbers.extend(_extreme_numbers(pairs, stage.samples))
        vectors = torch.stack([pairs.vectors[0], pairs.vectors[int(pairs.values.argmin())]])
        if not bool(pairs.converged.all()):
            left_out.append(f"Eigenvalues: {pairs.message}.")

    def total() -> None:
        found = estimated_trace(source, products=max(settings["trace"], 6), **whole)
        error = math.hypot(found.standard_error, found.sampling_error)
        numbers.append(Number("trace", found.value, error, stage.samples, f"{found.method}, {found.products} products"))

    def spectrum() -> None:
        found = spectral_density(operator, probes=settings["probes"], steps=settings["steps"])
        results.append(found)

    def signs() -> None:
        numbers.extend(_signs(part, theta, stage, numbers))

    def layers() -> None:
        nonlocal rows
        found = diagonal(operator, method="hutchinson", products=max(settings["blocks"], 4))
        places = by_layer(objective)
        sums = [float(found.values[place].double().sum()) for place in places.values()]
        errors = [float(found.standard_errors[place].double().square().sum().sqrt()) for place in places.values()]
        sizes = [place.stop - place.start for place in places.values()]
        per = [value / size for value, size in zip(sums, sizes, strict=True)]
        rows = {
            "layer": list(places),
            "parameters": sizes,
            "trace of the block": sums,
            "error": errors,
            "mean eigenvalue": per,
        }

    for what, work in (
        ("Eigenvalues", extremes),
        ("Trace", total),
        ("Density", spectrum),
        ("Signs", signs),
        ("Blocks of layers", layers),
    ):
        attempt(what, work)
    if sampled:
        left_out.append(
            f"Curvature is that of {stage.samples:,} of {objective.samples:,} samples; errors include their draw"
            + ("." if whole else ", where they could be cut into subsets.")
        )
    said = _said(numbers)
    return Part(
        "curvature",
        "Trace of the Hessian by layer",
        said,
        tuple(numbers),
        tuple(results),
        rows,
        ("layer", "trace of the block") if rows else (),
        tuple(left_out),
        {"products": operator.products + (source.products if whole else 0)},
    ), vectors


def _pairs(source: Operator, settings: dict[str, int], whole: dict[str, Any]) -> Eigenpairs:
    return eigenpairs(
        source,
        settings["pairs"],
        which="both",
        tolerance=1e-3,
        relative_to="norm",
        check=False,
        max_products=settings["products"],
        **whole,
    )


def _extreme_numbers(pairs: Eigenpairs, samples: int) -> list[Number]:
    """The largest eigenvalues and the smallest one, each with its residual and its scatter over samples."""
    scatter = torch.zeros(len(pairs.values)) if pairs.sampling_errors is None else pairs.sampling_errors
    errors = torch.hypot(pairs.residuals.double().cpu(), scatter.double().cpu()).tolist()
    order = sorted(range(len(errors)), key=lambda k: -float(pairs.values[k]))
    found = []
    for rank, k in enumerate(order[: max(len(order) // 2, 1)], 1):
        how = "Lanczos; residual" + (" and scatter over samples" if pairs.samples else "") + " as error"
        if pairs.biases is not None:
            how += f"; too far out by about {float(pairs.biases[k]):.2g}, being that of a sample"
        found.append(Number(f"λ{rank}" if rank > 1 else "λmax", float(pairs.values[k]), errors[k], samples, how))
    last = order[-1]
    found.append(Number("λmin", float(pairs.values[last]), errors[last], samples, "Lanczos; as λmax"))
    return found


def _signs(part: Objective, theta: Tensor, stage: Stage, numbers: list[Number]) -> list[Number]:
    """Eigenvalues that are certainly positive, certainly negative and undecided: counted, or estimated with bounds."""
    if stage.settings["counts"]:
        found = minimal_ratio(part, theta)
        how = f"counted outside a band of ±{float(found.band):.2g}"
        return [
            Number(f"{word} eigenvalues", float(getattr(found, word)), 0.0, part.samples, how)
            for word in ("positive", "negative", "undecided")
        ]
    largest = max((abs(one.value) for one in numbers if one.name in ("λmax", "λmin")), default=math.nan)
    band = 1e-3 * largest
    if not band > 0:
        raise InputError("signs need the largest eigenvalue, found none")
    settings = stage.settings
    counts = estimate_counts(hessian_operator(part, theta), band, probes=settings["probes"], steps=settings["steps"])
    found_numbers = []
    for word in ("positive", "negative", "undecided"):
        low, high = getattr(counts, f"{word}_interval")
        how = f"estimate, 95 % interval {low:,.0f} to {high:,.0f}; outside ±{band:.2g} (λmax/1000)"
        found_numbers.append(Number(f"{word} eigenvalues", getattr(counts, word), (high - low) / 4, part.samples, how))
    return found_numbers


def _said(numbers: list[Number]) -> str:
    known = {one.name: one for one in numbers}
    parts = []
    if "λmax" in known:
        parts.append(
            f"the largest eigenvalue of the Hessian is {known['λmax'].text} and the smallest {known['λmin'].text}"
        )
    if "trace" in known:
        parts.append(f"its trace {known['trace'].text}")
    text = ", ".join(parts)
    text = f"{text[:1].upper()}{text[1:]}." if text else "No curvature could be measured."
    if "positive eigenvalues" in known:
        counts = [f"{known[f'{word} eigenvalues'].value:,.0f} {word}" for word in ("positive", "negative", "undecided")]
        text += f" Of its eigenvalues {', '.join(counts)}."
    return text
