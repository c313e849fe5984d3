"""Margins against a loop over samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.cases import CASES
from thalweg.errors import InputError
from thalweg.generalization import margin_percentile, margins, normalized_margin, spectral_product


@pytest.mark.parametrize("name", ["mlp-ce", "cnn", "mlp-ragged"])
def test_margins_by_a_loop(name: str) -> None:
    objective = CASES[name].build()
    theta = torch.stack([objective.theta, -objective.theta])[None]
    found = margins(objective, theta).values
    assert found.shape == (1, 2, objective.samples)
    for r in range(2):
        model, expected = objective.module(theta[0, r]), []
        for (x, y), _ in objective.batches.chunks():
            for scores, label in zip(model(x).detach(), y.tolist(), strict=True):
                others = [score for k, score in enumerate(scores.tolist()) if k != label]
                expected.append(scores[label].item() - max(others))
        assert found[0, r].tolist() == pytest.approx(expected, rel=1e-12)
        accuracy = objective.metrics(theta[0, r])["accuracy"]
        assert (found[0, r] > 0).double().mean().item() == pytest.approx(accuracy.item())
        for percentile in (10, 50):
            assert margin_percentile(found[0, r], percentile).item() == pytest.approx(
                float(np.percentile(expected, percentile)), rel=1e-12
            )


def test_normalised_margin_knows_no_scale_of_the_last_layer() -> None:
    objective = CASES["mlp-no-bias"].build()
    with pytest.raises(InputError, match="margins need outputs"):
        margins(objective, objective.theta)
    objective = CASES["mlp-relu"].build()
    theta = objective.theta.clone()
    for name in objective.layout.names[-2:]:
        theta[objective.layout.slices[name]] *= 5.0
    both = torch.stack([objective.theta, theta])
    raw = margins(objective, both).percentile()
    assert raw[1].item() == pytest.approx(5 * raw[0].item(), rel=1e-12)
    one, other = normalized_margin(objective, both).tolist()
    assert one == pytest.approx(other, rel=1e-12)
    assert one == pytest.approx((raw / spectral_product(objective, both))[0].item(), rel=1e-12)


def test_percentile_must_be_one() -> None:
    with pytest.raises(InputError, match="percentile must be from 0 to 100, found 101"):
        margin_percentile(torch.ones(3), 101)
