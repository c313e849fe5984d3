"""Configurations of every family with the shapes they are built for."""

from __future__ import annotations

from thalweg.models import ModelConfig

IMAGE = (2, 8, 8)

CASES: dict[str, tuple[ModelConfig, tuple[int, ...], int]] = {
    "mlp": (ModelConfig(hidden=(5, 3), activation="tanh"), (4,), 2),
    "mlp on images": (ModelConfig(hidden=(5,)), IMAGE, 3),
    "mlp without bias": (ModelConfig(hidden=(5,), bias=False, activation="softplus"), (4,), 2),
    "linear model": (ModelConfig(hidden=()), (4,), 2),
    "mlp of sines": (ModelConfig(depth=2, width=4, activation="sine"), (1,), 1),
    "mlp with dropout": (ModelConfig(hidden=(6, 6), dropout=0.5), (4,), 2),
    "cnn": (ModelConfig(kind="cnn", channels=(3, 4), activation="gelu"), IMAGE, 3),
    "cnn with dense layers": (ModelConfig(kind="cnn", channels=(3,), hidden=(6,), padding="valid"), IMAGE, 3),
    "cnn of average pools": (ModelConfig(kind="cnn", channels=(3,), pool="average", head="average"), IMAGE, 3),
    "cnn with head conv": (ModelConfig(kind="cnn", depth=3, width=3, pool="none", head="conv", bias=False), IMAGE, 3),
    "cnn with batch normalisation": (ModelConfig(kind="cnn", channels=(3, 4), batchnorm=True), IMAGE, 3),
    "linear autoencoder": (ModelConfig(kind="autoencoder", code=2, activation="identity", bias=False), (5,), 5),
    "autoencoder": (ModelConfig(kind="autoencoder", hidden=(7,), code=2, activation="sigmoid"), IMAGE, 128),
    "resnet": (ModelConfig(kind="resnet", channels=(3, 5), blocks=2), IMAGE, 3),
    "resnet with batch normalisation": (ModelConfig(kind="resnet", depth=2, width=3, batchnorm=True), IMAGE, 3),
}
