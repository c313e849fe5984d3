from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg._files.tensors import open_tensors, save_tensors
from thalweg.errors import InputError
from thalweg.runs import MemoryRecording, Run, SnapshotIndexError, Snapshots, snapshots
from thalweg.runs.snapshots import FileShard, MemoryShard

COUNTS, SHAPE = (3, 1, 4), (3, 5)  # three shards of different length
THETA = torch.arange(float(sum(COUNTS) * 15)).reshape(-1, *SHAPE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for number, piece in enumerate(THETA.split(COUNTS)):
        save_tensors(folder / f"{number}.safetensors", {"theta": piece})
    return folder


def on_disk(folder: Path) -> Snapshots:
    shards = [FileShard(folder / f"{n}.safetensors", count, SHAPE, torch.float32) for n, count in enumerate(COUNTS)]
    return Snapshots(shards, SHAPE, torch.float32)


def in_memory() -> Snapshots:
    return Snapshots([MemoryShard(piece) for piece in THETA.split(COUNTS)], SHAPE, torch.float32)


def axis_index(size: int) -> st.SearchStrategy:
    return (
        st.integers(-size, size - 1)
        | st.slices(size)
        | st.builds(
            slice, *[st.none() | st.integers(-2 * size, 2 * size)] * 2, st.none() | st.integers(-4, 4).filter(bool)
        )
    )


@settings(max_examples=300, deadline=None)
@given(key=st.integers(1, 3).flatmap(lambda n: st.tuples(*[axis_index(size) for size in (8, 3, 5)[:n]])))
def test_indexing_is_that_of_numpy(folder: Path, key: tuple[int | slice, ...]) -> None:
    expected = THETA.numpy()[key]
    for stored in (on_disk(folder), in_memory()):
        found = stored[key if len(key) > 1 else key[0]]
        assert tuple(found.shape) == expected.shape
        np.testing.assert_array_equal(found.numpy(), expected)


def test_everything(folder: Path) -> None:
    for stored in (on_disk(folder), in_memory()):
        assert len(stored) == 8
        assert stored.shape == (8, 3, 5)
        assert stored.dtype == torch.float32
        assert torch.equal(stored[:], THETA)
        np.testing.assert_array_equal(stored.numpy(), THETA.numpy())
        assert all(map(torch.equal, stored, THETA))
        assert all(map(torch.equal, reversed(stored), THETA.flip(0)))
        assert torch.equal(stored[np.int64(2), torch.tensor(-1)], THETA[2, -1])


def test_results_have_memory_of_their_own(folder: Path) -> None:
    for stored in (on_disk(folder), in_memory()):
        stored[1].zero_()
        stored[:].zero_()
        assert torch.equal(stored[1], THETA[1])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (8, r"snapshot index 8 is out of bounds \(allowed: -8..7\)"),
        (-9, r"snapshot index -9 is out of bounds \(allowed: -8..7\)"),
        ((0, 3), r"replica index 3 is out of bounds \(allowed: -3..2\)"),
        ((slice(None), 0, -6), r"parameter index -6 is out of bounds \(allowed: -5..4\)"),
    ],
)
def test_out_of_bounds(key: object, message: str) -> None:
    with pytest.raises(SnapshotIndexError, match=message) as caught:
        in_memory()[key]
    assert isinstance(caught.value, IndexError)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((0, 0, 0, 0), "3 axes .* found 4"),
        (..., "snapshot index must be an integer or a slice, found ellipsis"),
        ((0, [1, 2]), "replica index must be an integer or a slice, found list"),
        (1.0, "found float"),
        (True, "found bool"),
        (None, "found NoneType"),
        (slice(0, 4, 0), "snapshot slice must have"),
        ((0, 0, slice(0.5, None)), "parameter slice must have integer bounds"),
    ],
)
def test_not_an_index(key: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        in_memory()[key]


def test_no_snapshots() -> None:
    nothing = Snapshots([], (2, 3), torch.float64)
    assert len(nothing) == 0
    assert list(nothing) == []
    assert nothing[:].shape == (0, 2, 3)
    assert nothing[:, 0].dtype == torch.float64
    with pytest.raises(SnapshotIndexError, match="there are no entries"):
        nothing[-1]


def test_only_what_is_asked_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []  # numbers of values, one entry per read

    class Slice:
        def __init__(self, inner) -> None:
            self.inner = inner

        def get_shape(self) -> list[int]:
            return self.inner.get_shape()

        def __getitem__(self, key):
            asked.append(self.inner[key].numel())
            return self.inner[key]

    class Counting:
        def __init__(self, path: Path) -> None:
            self.file = open_tensors(path)

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def keys(self) -> list[str]:
            return self.file.keys()

        def get_slice(self, name: str) -> Slice:
            return Slice(self.file.get_slice(name))

    monkeypatch.setattr(snapshots, "open_tensors", Counting)
    stored = on_disk(folder)
    for key, values, reads in [
        ((5, 1), 5, 1),
        ((slice(None), 2, slice(1, 3)), 8 * 2, 3),  # one read per shard
        ((slice(0, 8, 4), 0, 0), 2, 2),  # every fourth: the snapshots between are not read
        ((slice(3, 3),), 0, 0),
    ]:
        asked.clear()
        assert torch.equal(stored[key], THETA[key])
        assert (sum(asked), len(asked)) == (values, reads)


def test_other_shards_are_not_touched(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "1.safetensors"
    broken.write_bytes(broken.read_bytes()[:-8])
    stored = on_disk(tmp_path)
    assert torch.equal(stored[:3], THETA[:3])
    assert torch.equal(stored[4:, :, 2], THETA[4:, :, 2])
    with pytest.raises(InputError, match=r"1.safetensors is corrupt"):
        stored[2:4]
    broken.unlink()
    with pytest.raises(InputError, match=r"1.safetensors is missing"):
        stored[3]
    save_tensors(broken, {"theta": torch.zeros(2, *SHAPE)})
    with pytest.raises(InputError, match=r"1.safetensors is corrupt: theta is \(2, 3, 5\), recorded as \(1, 3, 5\)"):
        stored[3]
    save_tensors(broken, {"other": torch.zeros(1)})
    with pytest.raises(InputError, match=r"1.safetensors is corrupt: it holds no 'theta'"):
        stored[3]


def test_buffers_are_read_with_their_snapshot(tmp_path: Path) -> None:
    origin = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "test"}
    run = Run.create(tmp_path, "buffers", {}, **origin)
    variances = torch.rand(5, 2, 3)  # (S, R, C)
    with run.writing():
        for recording in (run.recording(), MemoryRecording()):
            for step in range(5):
                values = {"norm.running_var": variances[step], "norm.num_batches_tracked": torch.tensor([step, step])}
                recording.append(step, step, torch.zeros(2, 4), {}, values)
                if step in (1, 4):
                    recording.commit({}, {})
            for step in range(-5, 5):
                found = recording.snapshots.buffers(step)
                assert torch.equal(found["norm.running_var"], variances[step])
                assert found["norm.num_batches_tracked"].tolist() == [step % 5] * 2
            with pytest.raises(SnapshotIndexError, match="snapshot index 5 is out of bounds"):
                recording.snapshots.buffers(5)
            recording.append(6, 6, torch.zeros(2, 4), {}, {"norm.running_var": variances[0]})
            with pytest.raises(
                InputError, match=r"buffers must stay \['norm.running_var'\] in one recording, found \[\]"
            ):
                recording.append(7, 7, torch.zeros(2, 4))
            with pytest.raises(
                InputError, match=r"buffers\['norm.running_var'\] must keep its shape \(2, …\), found \(3,\)"
            ):
                recording.append(7, 7, torch.zeros(2, 4), {}, {"norm.running_var": torch.zeros(3)})
            recording.finish()
