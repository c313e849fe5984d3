from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from thalweg.training.dropout import CounterDropout, replace_dropout, step_keys


def masks(p: float, keys: torch.Tensor, elements: int) -> torch.Tensor:
    """Kept elements, (K, elements), for each key."""
    layer = CounterDropout(p)
    rows = []
    for key in keys:
        layer.key, layer.calls = key, 0
        rows.append(layer(torch.ones(elements)) != 0)
    return torch.stack(rows).double()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rate_mean_and_independence(p: float) -> None:
    keys = step_keys(torch.tensor([12345, -999, 7]), step=3, layers=2).flatten()  # 6 keys
    kept = masks(p, keys, 100_000)
    sigma = math.sqrt(p * (1 - p) / 100_000)
    assert ((kept.mean(1) - (1 - p)).abs() < 4.5 * sigma).all()
    correlation = torch.corrcoef(kept)
    off = correlation[~torch.eye(6, dtype=torch.bool)]  # between replicas and between layers
    assert off.abs().max() < 4.5 / math.sqrt(100_000)
    for lag in (1, 2, 8, 64, 784):  # within one mask
        pair = torch.stack([kept[0, lag:], kept[0, :-lag]])
        assert torch.corrcoef(pair)[0, 1].abs() < 4.5 / math.sqrt(100_000)


def test_runs_of_drops_are_geometric() -> None:
    kept = masks(0.5, torch.tensor([2**40 + 17]), 200_000)[0].bool()
    lengths = torch.diff(torch.nonzero(kept).flatten()) - 1  # dropped elements between two kept ones
    for length in range(6):
        expected = 0.5 ** (length + 1)
        share = (lengths == length).double().mean().item()
        assert abs(share - expected) < 4.5 * math.sqrt(expected * (1 - expected) / len(lengths))


def test_consecutive_steps_are_independent() -> None:
    keys = torch.cat([step_keys(torch.tensor([5]), step=t, layers=1)[0] for t in range(50)])
    kept = masks(0.5, keys, 4_000)
    off = torch.corrcoef(kept)[~torch.eye(50, dtype=torch.bool)]
    assert off.abs().max() < 5.5 / math.sqrt(4_000)
    assert abs(off.std().item() * math.sqrt(4_000) - 1) < 0.1


def test_mean_is_kept_and_the_gradient_is_the_mask() -> None:
    layer = CounterDropout(0.3)
    x = torch.ones(1000, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert torch.equal(out.detach(), x.grad)
    assert out.detach().unique().tolist() == pytest.approx([0.0, 1 / 0.7])


def test_vmapped_masks_are_those_of_each_key_alone() -> None:
    layer = CounterDropout(0.5)
    keys = torch.tensor([1, 2, 3])
    x = torch.randn(3, 4, 5)

    def one(key: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        layer.calls = 0
        return torch.func.functional_call(layer, {"key": key}, (x,))

    together = torch.vmap(one)(keys, x)
    for r in range(3):
        assert torch.equal(together[r], one(keys[r], x[r]))


def test_a_chunk_has_its_part_of_the_mask() -> None:
    layer = CounterDropout(0.5)
    layer.key = torch.tensor(99)
    whole = layer(torch.ones(10, 3, 2))
    layer.start, layer.count, layer.calls = 4, 6, 0
    assert torch.equal(layer(torch.ones(6, 3, 2)), whole[4:])


def test_every_use_has_a_mask_of_its_own() -> None:
    layer = CounterDropout(0.5)
    assert not torch.equal(layer(torch.ones(100)), layer(torch.ones(100)))


def test_channels_are_dropped_whole() -> None:
    layer = CounterDropout(0.5, channels=True)
    out = layer(torch.ones(20, 8, 3, 3)).flatten(2)
    assert ((out == 0).all(2) | (out != 0).all(2)).all()
    assert 0.3 < (out[..., 0] != 0).double().mean() < 0.7


def test_everything_may_be_dropped() -> None:
    assert torch.equal(CounterDropout(1.0)(torch.ones(5)), torch.zeros(5))


def test_replacing_keeps_what_is_no_dropout() -> None:
    shared = nn.Dropout(0.5)
    model = nn.Sequential(nn.Linear(2, 2), shared, nn.Sequential(nn.Dropout2d(0.2), shared), nn.Dropout(0.0))
    replace_dropout(model)
    assert isinstance(model[1], CounterDropout)
    assert model[1] is model[2][1]
    assert model[2][0].channels
    assert isinstance(model[3], nn.Dropout)
