"""Certified points: what each is, and the numbers that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.critical.looks import LOOKS, look
from thalweg.critical.point_figures import Points, details, dots, loss_axis, shares_axis
from thalweg.errors import InputError
from thalweg.figures import Axis, ColourScale, Figure, Panel, Scatter
from thalweg.objective.precision import computed_in
from thalweg.results import BaseResult
from thalweg.results.networks import flat, tabled
from thalweg.results.words import counted, range_words

__all__ = ["NUMBERS", "Certificate", "CriticalPoints", "Status", "as_points"]


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
@dataclass(frozen=True, eq=False)
class Certificate(BaseResult):
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

    def plot(self) -> Figure:
        """Gradient norm against loss; the fewer modes are undecided, the darker."""
        loss, norm, undecided = (flat(getattr(self, name)) for name in ("loss", "gradient", "undecided"))
        dot = Scatter(loss, norm, values=undecided, scale=ColourScale("undecided modes"), size=6.0)
        x, y = (
            Axis(label, scale="log" if (values[np.isfinite(values)] > 0).all() else "linear")
            for label, values in (("loss", loss), ("‖g‖₂", norm))
        )
        caption = (
            f"{counted(len(loss), 'point')}: a critical point has no gradient, and a certified one no undecided mode."
        )
        return Figure("certificates", "Certificates", caption, (Panel(x, y, (dot,)),))

    def table(self) -> pl.DataFrame:
        """One row per point with every number but the eigenvalues."""
        names = [name for name in NUMBERS if name != "eigenvalues"]
        return tabled({name: getattr(self, name) for name in names}, axis="point")

    def summary(self) -> str:
        """Gradient norms, modes, and the Newton–Kantorovich number."""
        said = {name: range_words(flat(getattr(self, name))) for name in NUMBERS}
        return (
            f"{counted(len(self.loss), 'point')}: ‖g‖ is {said['gradient']} at losses {said['loss']}. Of the modes "
            f"{said['positive']} are certainly positive, {said['negative']} negative and {said['undecided']} undecided "
            f"within ±{said['band']}; the Newton–Kantorovich number is {said['kantorovich']} (below ¼ certifies)."
        )


NUMBERS = tuple(field.name for field in fields(Certificate))
"""Names of the numbers of a certificate."""


@short
@dataclass(frozen=True, eq=False)
class CriticalPoints(BaseResult):
    """R points with their certificates.

    Attributes:
        theta: (R, P).
        status: What each is.
        message: One sentence for each.
        kind: "generic", "embedded", "low-rank" or "constant predictor" for each.
        certificate: The numbers behind it.
        iterations: (R,).
        history: As in `Search`.
        precision: In which the loss and its derivatives were computed.
    """

    theta: Tensor
    status: tuple[Status, ...]
    message: tuple[str, ...]
    kind: tuple[str, ...]
    certificate: Certificate
    iterations: Tensor
    history: tuple[tuple[Tensor, Tensor], ...] = ()
    precision: str = "float64"

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", tuple(map(Status, self.status)))  # a file holds them as text

    def __len__(self) -> int:
        return len(self.status)

    def number(self, field: str) -> np.ndarray:
        """A field of the certificates as numpy, (R,) or (R, P)."""
        return getattr(self.certificate, field).detach().cpu().numpy()

    @property
    def critical(self) -> np.ndarray:
        """Whether each point is critical to tolerance (R,)."""
        return np.array([status not in NOT_CRITICAL for status in self.status], dtype=bool)

    @property
    def finite(self) -> np.ndarray:
        """Whether each point is finite (R,)."""
        return np.array([status is not Status.DIVERGED for status in self.status], dtype=bool)

    @property
    def looks(self) -> list[str]:
        """What each point is, in the words of legends."""
        return look(self.status, self.kind, self.certificate.negative.tolist())

    @property
    def strict(self) -> np.ndarray:
        """Share of the eigenvalues > 0, whatever their size (R,): what is usually called minimal ratio."""
        values = self.number("eigenvalues")
        return (values > 0).sum(axis=1) / np.maximum(1, np.isfinite(values).sum(axis=1))

    @property
    def counted(self) -> np.ndarray:
        """Modes outside the symmetry orbits (R,)."""
        return self.number("positive") + self.number("negative") + self.number("undecided")

    @property
    def certain(self) -> tuple[np.ndarray, np.ndarray]:
        """Share of certainly positive modes, and the same with the undecided ones (R,), (R,)."""
        modes = np.maximum(1, self.counted)
        return self.number("positive") / modes, (self.number("positive") + self.number("undecided")) / modes

    def plot(self, names: Sequence[str] = ()) -> Figure:
        """Minimal ratio against loss by what each point is; a click in a report shows its certificate and spectrum.

        Args:
            names: Of the points; default their numbers.
        """
        keys = list(names) or [f"point {r}" for r in range(len(self))]
        marks = dots([(self, keys)], self._ends, lambda points: points.finite)
        caption = (
            f"{counted(len(self), 'point')}, of which {int(self.critical.sum()) or 'none'} critical: share of modes "
            "that "
            "are certainly positive, with the undecided ones as bars. Grey marks are not critical: their share (of the "
            "eigenvalues > 0) says nothing of minima."
        )
        panel = Panel(loss_axis(self), shares_axis("share of positive eigenvalues", marks), tuple(marks))
        clicks = tuple(details([(self, keys)]))
        return Figure("minimal-ratio", "Minimal ratio against loss", caption, (panel,), details=clicks)

    def _ends(self, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low, high = points.certain
        return np.where(points.critical, low, points.strict), low, high

    def table(self) -> pl.DataFrame:
        """One row per point: status, kind, the numbers of its certificate, its minimal ratio where it is critical."""
        low, high = self.certain
        return self.certificate.table().with_columns(
            status=_series([str(one) for one in self.status]),
            kind=_series(self.kind),
            ratio=_series([float(v) if real else None for v, real in zip(low, self.critical, strict=True)]),
            at_most=_series([float(v) if real else None for v, real in zip(high, self.critical, strict=True)]),
            strict=_series(self.strict.tolist()),
            iterations=_series(self.iterations.tolist()),
            message=_series(self.message),
        )

    def summary(self) -> str:
        """How many points are what, with their losses, gradient norms and minimal ratios."""
        names, real = self.looks, self.critical
        fates = ", ".join(f"{names.count(name)} × {name}" for name in LOOKS if name in names)
        if not real.any():
            norms = range_words(self.number("gradient")[self.finite])
            return f"Critical: none of {counted(len(self), 'point')} ({fates}); ‖g‖ there is {norms}."
        return (
            f"Critical: {int(real.sum())} of {counted(len(self), 'point')}, where ‖g‖ is "
            f"{range_words(self.number('gradient')[real])}: {fates}. Losses are "
            f"{range_words(self.number('loss')[real])}, "
            f"minimal ratios {range_words(self.certain[0][real])}.{computed_in(self.precision)}"
        )

    def only(self, rows: list[int]) -> CriticalPoints:
        """The points at these positions."""
        index = torch.tensor(rows, dtype=torch.long)
        fields = {name: getattr(self.certificate, name)[index] for name in NUMBERS}
        history = tuple((value[index], norm[index]) for value, norm in self.history)
        return CriticalPoints(
            self.theta[index],
            tuple(self.status[r] for r in rows),
            tuple(self.message[r] for r in rows),
            tuple(self.kind[r] for r in rows),
            Certificate(**fields),
            self.iterations[index],
            history,
            self.precision,
        )

    def joined(self, other: CriticalPoints) -> CriticalPoints:
        """These points followed by others; histories are not kept."""
        ours, theirs = self.certificate, other.certificate
        fields = {n: torch.cat([getattr(ours, n), getattr(theirs, n)]) for n in NUMBERS}
        return CriticalPoints(
            torch.cat([self.theta, other.theta]),
            self.status + other.status,
            self.message + other.message,
            self.kind + other.kind,
            Certificate(**fields),
            torch.cat([self.iterations, other.iterations]),
            precision=self.precision,
        )

    @property
    def minimal_ratio(self) -> Tensor:
        """Share of the modes outside the symmetry orbit that are certainly positive (R,); NaN where not critical."""
        counted = self.certificate.positive + self.certificate.negative + self.certificate.undecided
        ratio = self.certificate.positive / counted
        critical = [status not in NOT_CRITICAL for status in self.status]
        return ratio.where(ratio.new_tensor(critical).bool(), float("nan"))


def _series(values: Sequence[Any]) -> pl.Series:
    return pl.Series(list(values))


NOT_CRITICAL = (Status.GRADIENT_FLAT, Status.DESCENDING, Status.DIVERGED)


def as_points(value: Any, name: str = "points") -> CriticalPoints:
    """The certified points that were given.

    Raises:
        InputError: Something else.
    """
    if isinstance(value, CriticalPoints):
        return value
    raise InputError(f"{name} must be CriticalPoints (of certify or search), found {type(value).__name__}")
