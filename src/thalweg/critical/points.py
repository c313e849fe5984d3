"""What a search returns: end points with their history, and the certified points made of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.errors import InputError

__all__ = ["Certificate", "CriticalPoints", "Search", "Status", "as_points"]


class Status(StrEnum):
    """What a point is, as far as its certificate shows."""

    MINIMUM = "minimum"
    SADDLE = "saddle"
    MAXIMUM = "maximum"
    DEGENERATE = "degenerate"  # critical to tolerance, but some modes are inside the zero band: signs undecided
    UNCERTIFIED = "uncertified"  # critical to tolerance, every sign decided, but the Newton–Kantorovich test fails
    GRADIENT_FLAT = "gradient-flat"  # the gradient lies in the flat modes: a search stalls, but it is not zero
    DESCENDING = "descending"  # not critical: the loss still falls from here
    DIVERGED = "diverged"


@short
@dataclass(frozen=True)
class Search:
    """End points of a search, before anything is claimed about them.

    Attributes:
        theta: (R, P).
        iterations: (R,).
        index: The index that was searched for at the end (R,).
        history: One (loss (R,), ‖g‖ (R,)) per iteration; a replica that has stopped keeps its last values.
    """

    theta: Tensor
    iterations: Tensor
    index: Tensor
    history: tuple[tuple[Tensor, Tensor], ...] = ()


@short
@dataclass(frozen=True)
class Certificate:
    """The numbers that say what each of R points is.

    Attributes:
        loss: L (R,), l2 term included.
        norm: ‖θ‖₂ (R,).
        gradient: ‖g‖₂ (R,).
        gradient_max: ‖g‖_∞ (R,).
        flatness: ‖Hg‖ / (‖H‖‖g‖) (R,): small where the gradient lies in flat modes (Frye et al. 2021).
        positive, negative, undecided: Numbers of eigenvalues above, below and inside the zero band (R,).
        symmetric: Dimension of the symmetry orbit, not counted among the others (R,).
        band: Half-width of the zero band (R,): rounding of H plus its change over the remaining Newton step.
        smallest: |λ|min outside the band (R,), NaN if there is none.
        largest: ‖H‖₂ (R,).
        newton: Length of the remaining Newton step on the decided modes (R,).
        lipschitz: Lipschitz constant of H near the point, the largest of a few samples (R,): evidence, no proof.
        kantorovich: h = lipschitz · newton / smallest (R,); below ¼ a critical point lies within reach of Newton.
        eigenvalues: All eigenvalues, ascending (R, P), those of the symmetry orbit set to NaN at the end.
    """

    loss: Tensor
    norm: Tensor
    gradient: Tensor
    gradient_max: Tensor
    flatness: Tensor
    positive: Tensor
    negative: Tensor
    undecided: Tensor
    symmetric: Tensor
    band: Tensor
    smallest: Tensor
    largest: Tensor
    newton: Tensor
    lipschitz: Tensor
    kantorovich: Tensor
    eigenvalues: Tensor


@short
@dataclass(frozen=True)
class CriticalPoints:
    """R points with their certificates.

    Attributes:
        theta: (R, P).
        status: What each is.
        message: One sentence for each.
        kind: "generic", "embedded", "low-rank" or "constant predictor" for each.
        certificate: The numbers behind it.
        iterations: (R,).
        history: As in `Search`.
    """

    theta: Tensor
    status: tuple[Status, ...]
    message: tuple[str, ...]
    kind: tuple[str, ...]
    certificate: Certificate
    iterations: Tensor
    history: tuple[tuple[Tensor, Tensor], ...] = ()

    def only(self, rows: list[int]) -> CriticalPoints:
        """The points at these positions."""
        index = torch.tensor(rows, dtype=torch.long)
        fields = {name: getattr(self.certificate, name)[index] for name in Certificate.__dataclass_fields__}
        history = tuple((value[index], norm[index]) for value, norm in self.history)
        return CriticalPoints(
            self.theta[index],
            tuple(self.status[r] for r in rows),
            tuple(self.message[r] for r in rows),
            tuple(self.kind[r] for r in rows),
            Certificate(**fields),
            self.iterations[index],
            history,
        )

    def joined(self, other: CriticalPoints) -> CriticalPoints:
        """These points followed by others; histories are not kept."""
        ours, theirs = self.certificate, other.certificate
        fields = {n: torch.cat([getattr(ours, n), getattr(theirs, n)]) for n in Certificate.__dataclass_fields__}
        return CriticalPoints(
            torch.cat([self.theta, other.theta]),
            self.status + other.status,
            self.message + other.message,
            self.kind + other.kind,
            Certificate(**fields),
            torch.cat([self.iterations, other.iterations]),
        )

    @property
    def minimal_ratio(self) -> Tensor:
        """Share of the modes outside the symmetry orbit that are certainly positive (R,); NaN where not critical."""
        counted = self.certificate.positive + self.certificate.negative + self.certificate.undecided
        ratio = self.certificate.positive / counted
        critical = [status not in NOT_CRITICAL for status in self.status]
        return ratio.where(ratio.new_tensor(critical).bool(), float("nan"))


NOT_CRITICAL = (Status.GRADIENT_FLAT, Status.DESCENDING, Status.DIVERGED)


def as_points(value: Any, name: str = "points") -> CriticalPoints:
    """The certified points that were given.

    Raises:
        InputError: Something else.
    """
    if isinstance(value, CriticalPoints):
        return value
    raise InputError(f"{name} must be CriticalPoints (of certify or search), found {type(value).__name__}")
