"""Sharpness by its named definitions, sensitivity to the input, margins and norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from thalweg import generalization as measures
from thalweg.analysis.costs import some
from thalweg.analysis.part import Number, Part, failure
from thalweg.analysis.planning import Stage
from thalweg.errors import InputError
from thalweg.objective import Objective

__all__ = ["robustness"]


def robustness(objective: Objective, theta: Tensor, stage: Stage, spectral: float | None) -> Part:
    """Measures what may make a solution generalise.

    Args:
        objective: The loss.
        theta: (P,).
        stage: Samples, steps of ascent, pairs of random steps, samples for the sensitivity.
        spectral: ‖∇²L‖₂, if it is known.
    """
    part, settings = some(objective, stage.samples), stage.settings
    n = part.samples
    numbers: list[Number] = []
    left_out, results = [], []
    for what, work in _works(part, theta, settings, spectral, results):
        try:
            numbers.append(work())
        except Exception as error:  # noqa: BLE001 - whatever one instrument meets in a stranger's model, the others go on
            left_out.append(failure(what, error))
    if n < objective.samples:
        left_out.append(f"Sharpness and margins are of {n:,} of {objective.samples:,} samples.")
    known = {one.name: one for one in numbers}
    parts = [
        f"{words} {known[name].text}"
        for name, words in (
            ("SAM sharpness", "the largest rise of the loss within a distance of 0.05 is at least"),
            ("sensitivity", "the mean norm of the derivative of the outputs by the input is"),
            ("margin, 10th percentile", "the margin of nine samples in ten is above"),
        )
        if name in known
    ]
    text = "; ".join(parts)
    said = f"{text[:1].upper()}{text[1:]}." if text else "No measure of sharpness could be taken."
    spent = {
        "gradients": 2 * (settings["ascent"] + 1) * n + min(n, settings["sensitivity"]),
        "values": (2 * settings["pairs"] + 1) * n,
    }
    return Part(
        "robustness",
        "Sharpness, sensitivity, margins and norms",
        said,
        tuple(numbers),
        tuple(results),
        left_out=tuple(left_out),
        spent=spent,
    )


def _works(
    part: Objective, theta: Tensor, settings: dict[str, int], spectral: float | None, results: list[Any]
) -> Iterator[tuple[str, Callable[[], Number]]]:
    n, steps = part.samples, settings["ascent"]

    def sam() -> Number:
        found = float(measures.sam_sharpness(part, theta, steps=steps))
        return Number("SAM sharpness", found, 0.0, n, f"Foret et al. 2021, radius 0.05, {steps} steps; a lower bound")

    def asam() -> Number:
        found = float(measures.asam_sharpness(part, theta, steps=steps))
        return Number("ASAM sharpness", found, 0.0, n, f"Kwon et al. 2021, radius 0.5, {steps} steps; a lower bound")

    def average() -> Number:
        found = measures.average_sharpness(part, theta, pairs=settings["pairs"], scale="relative")
        how = f"relative steps of 1 %, {settings['pairs']} pairs (Andriushchenko et al. 2023)"
        return Number("average sharpness", float(found.mean), float(found.standard_error), n, how)

    def epsilon() -> Number:
        if spectral is None:
            raise InputError("ε-sharpness needs the largest eigenvalue, found none")
        loss = float(part.value(theta))
        found = measures.epsilon_sharpness(torch.tensor(spectral).double(), torch.tensor(loss).double())
        return Number("ε-sharpness", float(found), 0.0, n, "Dinh et al. 2017, ε = 1e-4, from ‖∇²L‖₂")

    def sensitive() -> Number:
        drawn = min(settings["sensitivity"], n)
        found = measures.sensitivity(part, theta, samples=drawn if drawn < n else None)
        return Number(
            "sensitivity", float(found.mean), float(found.standard_error), drawn, "Novak et al. 2018, of the outputs"
        )

    def margin() -> Number:
        results.append(measures.margins(part, theta))
        found = results[-1].percentile()
        return Number(
            "margin, 10th percentile",
            float(found),
            0.0,
            n,
            "score of the class less the best other (Jiang et al. 2020)",
        )

    def spectral_norms() -> Number:
        found = float(measures.spectral_product(part, theta))
        return Number("product of spectral norms", found, 0.0, 0, "Bartlett et al. 2017")

    def frobenius() -> Number:
        found = float(measures.frobenius_product(part, theta))
        return Number("product of Frobenius norms", found, 0.0, 0, "over weights with two axes or more")

    def paths() -> Number:
        return Number("path norm", float(measures.path_norm(part, theta)), 0.0, 0, "Neyshabur et al. 2015")

    def length() -> Number:
        return Number("‖θ‖₂", float(theta.double().norm()), 0.0, 0, f"of {len(theta):,} parameters")

    yield from (
        ("SAM sharpness", sam),
        ("ASAM sharpness", asam),
        ("Average sharpness", average),
        ("ε-sharpness", epsilon),
        ("Sensitivity", sensitive),
        ("Margins", margin),
        ("Spectral norms", spectral_norms),
        ("Frobenius norms", frobenius),
        ("Path norm", paths),
        ("Norm", length),
    )
