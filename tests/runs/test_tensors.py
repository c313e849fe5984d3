from __future__ import annotations

from pathlib import Path

import pytest
import torch

from thalweg._files.tensors import load_tensors, open_tensors, save_tensors
from thalweg._files.writing import WriteError
from thalweg.errors import InputError

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 4)], ids=str)
def test_every_dtype_and_shape_comes_back_exactly(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.randn(shape, dtype=torch.float64) * 100).to(dtype)
    save_tensors(tmp_path / "a.safetensors", {"x": tensor})
    loaded = load_tensors(tmp_path / "a.safetensors")["x"]
    assert loaded.dtype == dtype
    assert loaded.shape == shape
    assert torch.equal(loaded, tensor)


def test_bits_of_special_values_survive(tmp_path: Path) -> None:
    # A NaN with a payload, both infinities, -0.0 and the smallest denormal: compared as bits.
    bits = torch.tensor([0x7FF800000000BEEF, 0x7FF0000000000000, -0x10000000000000, -(2**63), 1], dtype=torch.int64)
    save_tensors(tmp_path / "a.safetensors", {"x": bits.view(torch.float64)})
    assert torch.equal(load_tensors(tmp_path / "a.safetensors")["x"].view(torch.int64), bits)


def test_views_and_shared_memory(tmp_path: Path) -> None:
    base = torch.randn(4, 6, requires_grad=True)
    tensors = {
        "base": base, "same": base, "transposed": base.T, "row": base[2], "strided": base[:, ::2],
        "expanded": base[:1].expand(3, 6), "conjugate": torch.tensor([1 + 2j], dtype=torch.complex64).conj(),
    }  # fmt: skip
    save_tensors(tmp_path / "a.safetensors", tensors)
    loaded = load_tensors(tmp_path / "a.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor.detach()), name
    loaded["base"].zero_()
    assert loaded["same"].any()  # memory of its own


def test_prefix(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.safetensors", {"state/a": torch.ones(1), "b": torch.zeros(1)}, {"note": "x"})
    assert list(load_tensors(tmp_path / "a.safetensors", "state/")) == ["a"]
    with open_tensors(tmp_path / "a.safetensors") as file:
        assert file.metadata() == {"note": "x"}


@pytest.mark.parametrize(
    "tensor", [torch.eye(2).to_sparse(), torch.zeros(2, dtype=torch.complex128)], ids=["sparse", "c128"]
)
def test_what_the_format_cannot_hold(tmp_path: Path, tensor: torch.Tensor) -> None:
    with pytest.raises(InputError, match="tensor 'x' must be dense and of a plain dtype"):
        save_tensors(tmp_path / "a.safetensors", {"x": tensor})
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_write_that_really_fails(tmp_path: Path, file_limit) -> None:
    save_tensors(tmp_path / "a.safetensors", {"x": torch.ones(3)})
    with file_limit(4096), pytest.raises(WriteError, match=r"cannot write .*a.safetensors: file too large"):
        save_tensors(tmp_path / "a.safetensors", {"x": torch.ones(100_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
    assert torch.equal(load_tensors(tmp_path / "a.safetensors")["x"], torch.ones(3))


def test_corrupt_and_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match=r"a.safetensors is missing"):
        load_tensors(path)
    save_tensors(path, {"x": torch.ones(1000)})
    content = path.read_bytes()
    for broken in (b"", content[:4], content[:50], content[:-1], b"\xff" * 100):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"a.safetensors is corrupt"):
            load_tensors(path)
