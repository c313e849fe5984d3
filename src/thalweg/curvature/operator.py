"""A symmetric matrix known only by its products with vectors.

Everything matrix-free in this package (Lanczos, spectral density, traces) asks for nothing else, so that a Hessian, a
Gauss–Newton matrix, a Fisher matrix, one layer's block of them or a dense matrix are treated alike. Vectors are rows:
a block of them is (…, P), and so is its product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_vector, floating
from thalweg.objective.precision import precision
from thalweg.progress import track

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["Operator", "as_operator", "hessian_operator"]


class _Counter:
    """Counts products; apart from it an operator never changes."""

    def __init__(self) -> None:
        self.products = 0
        self.advance: Callable[[], None] | None = None  # told after every product


@short
@dataclass(frozen=True)
class Operator:
    """A symmetric linear map of R^P, given by its product with rows (…, P).

    Args:
        size: P.
        dtype: Of the vectors that it takes and returns.
        device: Where they lie.
        matvec: Maps (…, P) to (…, P), each row to its product. It is trusted to be linear and symmetric; Lanczos
            measures how symmetric it is.
        label: What the operator is, for messages.
        rounding: Relative rounding error of the products where it is more than that of the dtype.
        source: The objective that it is of, and what makes the same operator of one on some of its samples.

    Example:
        >>> operator = Operator.dense(torch.tensor([[2.0, 1.0], [1.0, 0.0]], dtype=torch.float64))
        >>> operator(torch.eye(2, dtype=torch.float64))
        tensor([[2., 1.],
                [1., 0.]], dtype=torch.float64)
        >>> operator.products
        2
    """

    size: int
    dtype: torch.dtype
    device: torch.device
    matvec: Callable[[Tensor], Tensor] = field(repr=False)
    label: str = "operator"
    rounding: float = 0.0
    source: tuple[Objective, Callable[[Objective], Operator]] | None = field(default=None, repr=False, compare=False)
    _counter: _Counter = field(default_factory=_Counter, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size must be at least 1, found {self.size}")
        if not self.dtype.is_floating_point:
            raise InputError(f"dtype must be a real floating-point type, found {self.dtype}")

    @property
    def epsilon(self) -> float:
        """Relative rounding error of the products."""
        return max(self.rounding, torch.finfo(self.dtype).eps)

    @property
    def precision(self) -> str:
        """In which precision its products are computed: "float64", "bfloat16", "float32, in part float16"."""
        return str(self.dtype).removeprefix("torch.") if self.source is None else precision(self.source[0])

    @classmethod
    def dense(cls, matrix: Tensor | np.ndarray, label: str = "dense matrix") -> Operator:
        """Wraps a symmetric matrix (P, P); it is neither copied nor symmetrised.

        Raises:
            InputError: The matrix is not square.
        """
        matrix = floating(matrix, "matrix").detach()
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
            raise InputError(f"matrix must have shape (P, P), found {tuple(matrix.shape)}")
        return cls(matrix.shape[0], matrix.dtype, matrix.device, lambda rows: rows @ matrix.mT, label)

    @property
    def products(self) -> int:
        """Number of vectors multiplied so far."""
        return self._counter.products

    def __call__(self, vectors: Tensor) -> Tensor:
        """Multiplies rows (…, P) and counts them.

        Raises:
            InputError: The rows have another length, dtype or device than the operator.
        """
        vectors = floating(vectors, "vectors")
        if vectors.dim() == 0 or vectors.shape[-1] != self.size:
            raise InputError(f"vectors must have shape (…, {self.size}), found {tuple(vectors.shape)}")
        if vectors.dtype != self.dtype or vectors.device.type != self.device.type:
            raise InputError(
                f"vectors must be {self.dtype} on {self.device} like the operator, "
                f"found {vectors.dtype} on {vectors.device}"
            )
        product = self.matvec(vectors)
        self._counter.products += vectors.numel() // self.size
        if self._counter.advance is not None:
            self._counter.advance()
        return product

    @contextmanager
    def tracked(self, label: str, total: float | None = None, *, at_most: bool = False) -> Iterator[None]:
        """Announces the products of a block to `thalweg.progress`.

        Args:
            label: What they are for.
            total: How many there will be, if that is known.
            at_most: Whether there may be fewer.
        """
        counter, begun, before = self._counter, self._counter.products, self._counter.advance
        with track(f"{label} of the {self.label}, products", total, start=0, at_most=at_most) as advance:
            counter.advance = lambda: advance(counter.products - begun)
            try:
                yield
            finally:
                counter.advance = before

    def restrict(self, index: Tensor, label: str | None = None) -> Operator:
        """Returns the diagonal block of the coordinates `index` (p,), as an operator of size p.

        Each of its products costs one product of the whole operator (and is counted by both).

        Example:
            >>> operator = Operator.dense(torch.arange(9.0).view(3, 3))
            >>> operator.restrict(torch.tensor([0, 2])).to_dense()
            tensor([[0., 2.],
                    [6., 8.]])
        """
        if index.dim() != 1 or index.numel() == 0 or index.dtype != torch.int64:
            raise InputError(f"index must be a non-empty list of int64 coordinates, found shape {tuple(index.shape)}")
        if int(index.min()) < 0 or int(index.max()) >= self.size:
            raise InputError(f"index must lie in 0 … {self.size - 1}, found {int(index.min())} … {int(index.max())}")
        index = index.to(self.device)

        def matvec(rows: Tensor) -> Tensor:
            whole = rows.new_zeros(*rows.shape[:-1], self.size)
            whole[..., index] = rows
            return self(whole)[..., index]

        name = f"{self.label} on {index.numel()} coordinates" if label is None else label
        source = self.source
        if source is not None:
            whole_of = source[1]
            source = source[0], lambda part: whole_of(part).restrict(index, name)
        return Operator(index.numel(), self.dtype, self.device, matvec, name, self.rounding, source)

    def to_dense(self, block: int = 64) -> Tensor:
        """Multiplies the identity, `block` rows at a time, into the matrix (P, P). Costs P products."""
        out = torch.empty(self.size, self.size, dtype=self.dtype, device=self.device)
        for start in range(0, self.size, block):
            rows = torch.zeros(min(block, self.size - start), self.size, dtype=self.dtype, device=self.device)
            rows.diagonal(offset=start).fill_(1.0)
            # A product is a column of the matrix: the caller sees any asymmetry as it is.
            out[:, start : start + block] = self(rows).mT
        return out

    def to_scipy(self) -> LinearOperator:
        """Returns the operator as a float64 `scipy.sparse.linalg.LinearOperator`; its products count here too."""
        from scipy.sparse.linalg import LinearOperator

        outer = self

        class Symmetric(LinearOperator):
            def __init__(self) -> None:
                super().__init__(dtype=np.dtype(np.float64), shape=(outer.size, outer.size))

            def _matmat(self, X: np.ndarray) -> np.ndarray:
                rows = torch.as_tensor(np.ascontiguousarray(X.T), dtype=outer.dtype, device=outer.device)
                return outer(rows).to("cpu", torch.float64).numpy().T

            def _adjoint(self) -> Any:  # itself; SciPy's annotation names a private class
                return self

        return Symmetric()


@declared
def hessian_operator(objective: Objective, theta: Tensor, parameters: str | Sequence[str] = "*") -> Operator:
    """Returns the Hessian of L at one theta (P,) as an operator, whole or the diagonal block of some parameters.

    The products have the dtype of the objective: take `objective.double()` where signs or small eigenvalues matter.
    Those of an objective in half precision are computed in it and come as float32, with a `rounding` that says so.

    Args:
        objective: The loss as a function of theta.
        theta: Where, (P,); or what `Objective.as_theta` takes, such as a model.
        parameters: Glob or globs over parameter names; "*" is the whole Hessian.

    Raises:
        InputError: theta is no single vector of length P, or a glob matches nothing.
    """
    theta = as_vector(objective, theta).detach()
    if objective.batches.fetched:  # read when a product is asked for, which estimates with `samples` never do
        product: Callable[[Tensor], Tensor] = lambda v: objective.products(theta, retain=False)(v)  # noqa: E731
    else:
        product = objective.products(theta)  # the differentiated graph stays between products where memory allows
    dtype, product = carried(objective, product)
    whole = Operator(
        objective.size,
        dtype,
        objective.device,
        product,
        "Hessian",
        objective.epsilon(),
        (objective, lambda part: hessian_operator(part, theta)),
    )
    index = objective.layout.select(parameters)
    return whole if len(index) == whole.size else whole.restrict(index, f"Hessian of {parameters}")


def carried(
    objective: Objective, product: Callable[[Tensor], Tensor]
) -> tuple[torch.dtype, Callable[[Tensor], Tensor]]:
    """Products in half precision on vectors of float32, which alone can be orthogonalised; others as they are."""
    if objective.dtype.itemsize >= 4:
        return objective.dtype, product
    return torch.float32, lambda v: product(v.to(objective.dtype)).float()


def as_operator(value: Any, name: str = "operator") -> Operator:
    """Returns the operator that a caller means.

    Args:
        value: An operator; an objective, which stands for its Hessian at the θ of the model that it was made with; or a
            symmetric matrix (P, P).
        name: Of the argument, for messages.

    Raises:
        InputError: Something else.
    """
    if isinstance(value, Operator):
        return value
    if isinstance(value, Objective):
        return hessian_operator(value, value.theta)
    if isinstance(value, Tensor | np.ndarray):
        return Operator.dense(value)
    raise InputError(
        f"{name} must be an Operator (hessian_operator(objective, theta), say), an objective or a matrix (P, P), "
        f"found {type(value).__name__}"
    )
