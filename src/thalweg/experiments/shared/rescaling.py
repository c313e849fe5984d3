"""The counter-example of Dinh et al. 2017 on a trained network: one function, any sharpness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg._lazy import torch
from thalweg.figures import Axis, Figure, Line, Panel, Scatter
from thalweg.figures.scales import number

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.objective import Objective

__all__ = ["figure", "rescaling", "sentence"]

ALPHAS = np.logspace(-2, 2, 13)


def rescaling(objective: Objective, theta: Tensor, *, tolerance: float, seed: int) -> dict[str, np.ndarray]:
    """Measures along the family of networks that compute the same function.

    Args:
        objective: In float64; its model must have a pair of layers to be rescaled.
        theta: (P,).
        tolerance: Of the eigenvalues.
        seed: Of random vectors.

    Returns:
        alpha, measured and predicted λmax, adaptive sharpness (η = 0), average sharpness with relative steps, and the
        greatest relative change of an output, all (A,).
    """
    from thalweg import generalization as measures
    from thalweg.curvature import eigenpairs, hessian_operator

    alpha = torch.as_tensor(ALPHAS, device=objective.device)
    factors = measures.multipliers(objective, alpha)
    family = theta * factors  # (A, P)
    operator = hessian_operator(objective, theta)
    options = {"tolerance": tolerance, "check": False, "seed": seed}
    tops = [eigenpairs(measures.rescaled_hessian(operator, row), 1, **options) for row in factors]
    hessian = measures.hessian_sharpness(objective, family, tolerance=tolerance, trace_products=6, seed=seed)
    # One draw of steps for the whole family: what remains between its members is rounding.
    relative = [
        measures.average_sharpness(objective, row, sigma=0.05, pairs=20, scale="relative", seed=seed).mean
        for row in family
    ]
    outputs, reference = objective.outputs(family), objective.outputs(theta)
    change = (outputs - reference).abs().flatten(1).amax(1) / reference.abs().amax()
    found = {
        "measured": hessian.largest,
        "predicted": torch.cat([top.values for top in tops]),
        "adaptive": measures.asam_sharpness(objective, family, eta=0.0, steps=5, seed=seed),
        "relative": torch.stack(relative),
        "change": change,
    }
    return {"alpha": ALPHAS} | {name: values.cpu().numpy() for name, values in found.items()}


def figure(found: dict[str, np.ndarray], setting: str) -> Figure:
    """Sharpness against α, relative to the network as it was trained, above the change of its outputs."""
    alpha, middle = found["alpha"], len(found["alpha"]) // 2
    share = {name: found[name] / found[name][middle] for name in ("measured", "predicted", "adaptive", "relative")}
    sharp = (
        Line(alpha, share["predicted"], label="λmax predicted from the Hessian at α = 1"),
        Scatter(alpha, share["measured"], label="λmax measured", size=6.0),
        Line(alpha, share["adaptive"], label="adaptive sharpness (ASAM, η = 0)", style="dashed", width=2.2),
        Line(alpha, share["relative"], label="average sharpness, relative steps", style="dotted", width=2.2),
    )
    x = Axis("α", scale="log")
    noise = np.maximum(
        found["change"], np.finfo(np.float64).eps / 4
    )  # exactly equal outputs have no place on a log axis
    panels = (
        Panel(x, Axis("sharpness / that at α = 1", scale="log"), sharp),
        Panel(
            x,
            Axis("relative change of outputs", scale="log", limits=(1e-17, 1.0)),
            (Line(alpha, noise, symbol="circle"),),
        ),
    )
    caption = (
        f"{setting}: the first layer multiplied by α, the weights of the next divided by α. The function stays as it "
        "is, to rounding (below); the Hessian does not (Dinh et al. 2017). Measures that scale with the weights stay."
    )
    return Figure(
        "rescaling", "Same function, any sharpness", caption, panels, columns=1, share_x=True, size=(6.4, 3.0)
    )


def sentence(found: dict[str, np.ndarray]) -> str:
    """The counter-example in numbers."""
    middle = len(found["alpha"]) // 2
    ends = [float(found["measured"][k] / found["measured"][middle]) for k in (0, -1)]
    off = float(np.nanmax(np.abs(found["measured"] / found["predicted"] - 1)))
    low, high = (number(float(found["alpha"][k])) for k in (0, -1))
    still = float(np.nanmax(np.abs(found["adaptive"] / found["adaptive"][middle] - 1)))
    return (
        f"The same function, rescaled between layers (Dinh et al. 2017): at α = {low} λmax is {number(ends[0])} times, "
        f"at α = {high} {number(ends[1])} times what it was, within {number(off)} (relative) of the prediction, while "
        f"the outputs change by {number(float(found['change'].max()))} (relative) and the adaptive sharpness (η = 0) "
        f"by {number(still)}."
    )
