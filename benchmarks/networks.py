"""Networks of the size that people bring, in plain PyTorch, with a batch of random data for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CE = nn.CrossEntropyLoss()


@dataclass(frozen=True)
class Case:
    """A network, its loss and one batch.

    Args:
        name: For the table.
        model: In evaluation mode, as analyses see it.
        loss: (output, target) -> mean.
        x: Inputs (N, …).
        y: Targets (N, …).
    """

    name: str
    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    x: Tensor
    y: Tensor


class Residual(nn.Module):
    """A basic block of a ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down = None
        if stride != 1 or inputs != outputs:
            self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + (x if self.down is None else self.down(x)))


def resnet18(width: int = 64, classes: int = 10) -> nn.Sequential:
    """ResNet-18 as He et al. (2016) have it: 11.2 M parameters at width 64."""
    stem = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks: list[nn.Module] = []
    inputs = width
    for outputs, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
        blocks += [Residual(inputs, outputs, stride), Residual(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class Attention(nn.Module):
    """Self-attention over a sequence, causal or not."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C) -> (N, T, C)."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads, causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C) -> (N, T, C)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """A GPT-like language model with tied embeddings."""

    def __init__(self, vocabulary: int, length: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.layers = nn.Sequential(*(Layer(width, heads, causal=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.place.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) -> logits (N, T, V)."""
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]
        return self.norm(self.layers(x)) @ self.token.weight.T


class ViT(nn.Module):
    """A vision transformer that averages its patches."""

    def __init__(self, size: int, patch: int, width: int, depth: int, heads: int, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.place = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, width))
        self.layers = nn.Sequential(*(Layer(width, heads, causal=False) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        tokens = self.patches(x).flatten(2).mT + self.place
        return self.head(self.norm(self.layers(tokens)).mean(1))


def double(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions with group normalisation."""
    parts: list[nn.Module] = []
    for channels in (inputs, outputs):
        parts += [nn.Conv2d(channels, outputs, 3, 1, 1), nn.GroupNorm(8, outputs), nn.SiLU()]
    return nn.Sequential(*parts)


class UNet(nn.Module):
    """A U-Net with three levels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = double(3, width), double(width, 2 * width), double(2 * width, 4 * width)
        self.up2, self.up1 = double(6 * width, 2 * width), double(3 * width, width)
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        three = self.middle(F.max_pool2d(two, 2))
        two = self.up2(torch.cat([two, F.interpolate(three, scale_factor=2.0)], 1))
        return self.head(self.up1(torch.cat([one, F.interpolate(two, scale_factor=2.0)], 1)))


def next_token(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean cross-entropy over all tokens."""
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())


def _resnet() -> Case:
    return Case("ResNet-18, 64 x 3 x 32 x 32", resnet18(), CE, torch.randn(64, 3, 32, 32), torch.randint(10, (64,)))


def _gpt(name: str, vocabulary: int, width: int, depth: int, samples: int, length: int) -> Case:
    tokens = torch.randint(vocabulary, (samples, length + 1))
    model = GPT(vocabulary, length, width, depth, heads=width // 64)
    return Case(name, model, next_token, tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())


def _vit() -> Case:
    x, y = torch.randn(32, 3, 64, 64), torch.randint(10, (32,))
    return Case("ViT, 32 x 3 x 64 x 64", ViT(64, 8, 192, 12, 3), CE, x, y)


def _unet() -> Case:
    x = torch.randn(16, 3, 32, 32)
    return Case("U-Net, 16 x 3 x 32 x 32", UNet(64), nn.MSELoss(), x, torch.randn_like(x))


CASES: dict[str, Callable[[], Case]] = {
    "resnet18": _resnet,
    "gpt5": lambda: _gpt("GPT, 16 x 64 tokens", 2048, 256, 6, 16, 64),
    "gpt25": lambda: _gpt("GPT, 8 x 128 tokens", 12_288, 512, 6, 8, 128),
    "vit": _vit,
    "unet": _unet,
}


def case(name: str, device: str = "cpu") -> Case:
    """Makes one case, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = CASES[name]()
    return replace(made, model=made.model.eval().to(device), x=made.x.to(device), y=made.y.to(device))
