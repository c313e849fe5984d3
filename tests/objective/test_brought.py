"""Models as people bring them, at one θ and at two, against plain PyTorch on a copy that holds θ."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, rnn
from torch.optim.swa_utils import AveragedModel

from tests.objective.plainly import CE, agrees, ce, data, made


class Packed(nn.Module):
    """A recurrent network over sequences of different lengths."""

    def __init__(self, cell: type[nn.RNNBase], directions: int = 1) -> None:
        super().__init__()
        self.cell = cell(4, 3, batch_first=True, bidirectional=directions == 2)
        self.head = nn.Linear(3 * directions, 3)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.tensor([5, 4, 3, 5, 2, 1])
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, _ = rnn.pad_packed_sequence(self.cell(packed)[0], batch_first=True)
        return self.head(output.sum(1))


class LowRank(nn.Module):
    """Adds a product of two thin matrices to a weight that stays."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.rand(2, weight.shape[1])), nn.Parameter(torch.rand(weight.shape[0], 2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.b @ self.a


def adapted(layer: nn.Linear) -> nn.Linear:
    parametrize.register_parametrization(layer, "weight", LowRank(layer.weight))
    layer.parametrizations.weight.original.requires_grad_(False)
    return layer


class Experts(nn.Module):
    """Sends every sample to two of three networks."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(4, 3), nn.ModuleList(nn.Linear(4, 3) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.gate(x).softmax(-1).topk(2, -1)
        output = x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            rows, places = (chosen == number).nonzero(as_tuple=True)
            output = output.index_add(0, rows, expert(x[rows]) * weights[rows, places, None])
        return output


class Made(nn.Module):
    """A network whose weights another one computes from its data."""

    def __init__(self) -> None:
        super().__init__()
        self.maker, self.inner, self.head = nn.Linear(4, 30), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        new = self.maker(x.mean(0))
        parameters = {"weight": self.inner.weight + new[:24].view(6, 4), "bias": self.inner.bias + new[24:]}
        return self.head(torch.tanh(torch.func.functional_call(self.inner, parameters, (x,))))


def layered(change: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    return nn.Sequential(change(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, 3))


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("directions", [1, 2])
def test_packed_sequences(cell: type[nn.RNNBase], directions: int) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(6, 5, 4, dtype=torch.float64, generator=generator), torch.arange(6) % 3
    agrees(made(lambda: Packed(cell, directions)), ce, batch, listed=True, loss_on="batch")


@pytest.mark.parametrize(
    "change",
    [adapted, parametrizations.orthogonal, lambda layer: parametrizations.orthogonal(layer, orthogonal_map="cayley")],
    ids=["low rank", "orthogonal", "Cayley"],
)
def test_parametrized_weights(change: Callable[[nn.Linear], nn.Module]) -> None:
    agrees(made(lambda: layered(change)), CE, data())


def test_averages_of_weights() -> None:
    agrees(made(lambda: AveragedModel(layered(lambda layer: layer))), CE, data())


def test_mixtures_of_experts() -> None:
    agrees(made(Experts), CE, data())


def test_weights_that_are_computed() -> None:
    agrees(made(Made), ce, data(), listed=True, loss_on="batch")


@pytest.mark.parametrize("name", ["Bert", "GPT2", "ViT"])
def test_models_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2}
    kind, sizes = {
        "Bert": ("BertForMaskedLM", {**small, "vocab_size": 11, "max_position_embeddings": 5}),
        "GPT2": ("GPT2LMHeadModel", {"vocab_size": 11, "n_positions": 5, "n_embd": 4, "n_layer": 1, "n_head": 2}),
        "ViT": ("ViTForImageClassification", {**small, "image_size": 4, "patch_size": 2, "num_labels": 11}),
    }[name]
    config = getattr(transformers, f"{name}Config")(**sizes)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 11, (3, 1 if name == "ViT" else 5), generator=generator)
    batch = {"input_ids": tokens, "tokens": tokens}
    if name == "ViT":
        batch = {"pixel_values": torch.randn(3, 3, 4, 4, dtype=torch.float64, generator=generator), "tokens": tokens}

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        logits = model(**{key: value for key, value in batch.items() if key != "tokens"}).logits
        return F.cross_entropy(logits.reshape(-1, 11), batch["tokens"].flatten())

    model = made(lambda: getattr(transformers, kind)(config).eval())
    agrees(model, loss, batch, loss_on="batch", steps=False)
