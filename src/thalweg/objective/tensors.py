"""What is done with every tensor of a batch, whatever its layout: dense, sparse, nested or packed sequences."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from thalweg.errors import InputError
from thalweg.objective.containers import Column, Leaf, leaves, mapped

__all__ = ["all_finite", "check_finite", "cloned", "dense_parts", "fingerprint", "nbytes", "parts", "placer"]


def parts(leaf: Leaf) -> list[Tensor]:
    """The dense tensors that a leaf is made of; of packed sequences and sparse tensors the places as well."""
    if isinstance(leaf, Column):
        return []
    if isinstance(leaf, PackedSequence):
        return [one for one in leaf if isinstance(one, Tensor)]
    if leaf.is_nested:
        return list(leaf.unbind())
    if leaf.layout == torch.sparse_coo:
        return [leaf._values(), leaf._indices()]
    if leaf.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [leaf.values(), leaf.crow_indices(), leaf.col_indices()]
    if leaf.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [leaf.values(), leaf.ccol_indices(), leaf.row_indices()]
    return [leaf if leaf.layout == torch.strided else leaf.to_dense()]


def dense_parts(batch: Any) -> list[Tensor]:
    """The dense tensors that all leaves of a batch are made of."""
    return [part for leaf in leaves(batch) for part in parts(leaf)]


def placer(device: torch.device, dtype: torch.dtype) -> Callable[[Any], Any]:
    """Returns a function that moves a batch to the device, floating-point and complex tensors to the dtype as well."""
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64

    def place(leaf: Leaf) -> Leaf:
        if isinstance(leaf, Column):
            return leaf
        if isinstance(leaf, PackedSequence):
            return _packed(place, leaf)
        if leaf.requires_grad:  # yours gets no gradients; what differentiates in the data finds that it can
            return place(leaf.detach().clone()).requires_grad_()
        if leaf.is_inference():  # autograd refuses it
            with torch.inference_mode(False):
                leaf = leaf.clone()
        if leaf.is_floating_point():
            return leaf.to(device, dtype)
        return leaf.to(device, complex_dtype) if leaf.is_complex() else leaf.to(device)

    return lambda batch: mapped(place, batch)


def cloned(batch: Any) -> Any:
    """The batch with memory of its own."""

    def clone(leaf: Leaf) -> Leaf:
        if isinstance(leaf, Column):
            return Column(leaf)
        return _packed(Tensor.clone, leaf) if isinstance(leaf, PackedSequence) else leaf.clone()

    return mapped(clone, batch)


def _packed(function: Callable[[Tensor], Tensor], packed: PackedSequence) -> PackedSequence:
    """Other tensors in packed sequences; the batch sizes stay on the CPU, where torch wants them."""
    data, sizes, there, back = packed
    return PackedSequence(
        function(data), sizes, None if there is None else function(there), None if back is None else function(back)
    )


def nbytes(batch: Any) -> int:
    """Bytes of all tensors of a batch."""
    return sum(part.nbytes for part in dense_parts(batch))


def check_finite(batch: Any, name: str) -> None:
    """Raises InputError where a batch holds NaN or infinity."""
    for part in dense_parts(batch):
        if (part.is_floating_point() or part.is_complex()) and not bool(torch.isfinite(part).all()):
            bad = (~torch.isfinite(part)).nonzero()[0].tolist()
            raise InputError(f"{name} must be finite, found {part[tuple(bad)].item()} at index {bad}")


def fingerprint(batches: Iterable[Any]) -> Tensor:
    """Sums that do not depend on the samples' order: equal for a shuffled pass, different after augmentation."""
    total = torch.zeros(2, dtype=torch.float64)

    def add_text(entry: Any) -> Any:
        for one in entry if isinstance(entry, list | tuple) else (entry,):
            if isinstance(one, str | bytes):
                code = zlib.crc32(one.encode(errors="surrogatepass") if isinstance(one, str) else one)
                total.add_(torch.tensor([code, (code / 2**16) ** 2], dtype=torch.float64))
        return entry

    def add(leaf: Leaf) -> Leaf:
        if isinstance(leaf, Column):
            return add_text(leaf)
        for part in parts(leaf):
            value = torch.view_as_real(part.detach()) if part.is_complex() else part.detach()
            value = value.double()
            total.add_(torch.stack([value.sum(), value.square().sum()]).cpu())
        return leaf

    for batch in batches:
        mapped(add, batch, add_text)
    return total


def all_finite(matrix: Tensor) -> bool:
    """Whether every entry (P, P) is finite, without the copy of the whole that `torch.isfinite` makes."""
    return math.isfinite(float(torch.linalg.vector_norm(matrix, math.inf)))  # NaN passes through a maximum
