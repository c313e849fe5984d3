"""What the construction of an objective finds out: what the model needs, and how L changes along one direction."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Needs", "Slope"]


@dataclass(frozen=True)
class Needs:
    """How a model must be evaluated so that its code computes what it computes in plain PyTorch.

    Args:
        mutates: The forward pass writes into buffers: every evaluation gets a copy of all of them.
        vectorized: vmap gives what a loop gives.
        held: Every evaluation needs a copy of the model that really holds θ, as parameters that stay in it.
        graded: Values are computed as derivatives are, with gradients on and parameters that require them.
        exact: Fused kernels are replaced by operations whose derivatives are right to every order.
        writes: Model or loss write into the tensors of a batch: every evaluation gets a copy of them.
        counts: The forward pass counts in plain attributes of the model: they are put back.
        twice: Model or loss differentiate inside: attention is computed by kernels that have second derivatives.
    """

    mutates: bool = False
    vectorized: bool = True
    held: bool = False
    graded: bool = False
    exact: bool = False
    writes: bool = False
    counts: bool = False
    twice: bool = False


@dataclass(frozen=True)
class Slope:
    """How L changes along one direction.

    Attributes:
        autograd: What the gradient says.
        difference: What central differences of L say.
        agrees: Whether they are the same.
        epsilon: Relative rounding error of L: that of float64, or of the lower precision found inside.
        autocast: The same of L in float32, which autocast lowers where it leaves float64 alone; 0 if unknown.
    """

    autograd: float
    difference: float
    agrees: bool
    epsilon: float
    autocast: float = 0.0
