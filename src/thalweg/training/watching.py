"""What optimizers train beside the models that are recorded: the parameters of a loss, of a second network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from thalweg.training.measuring import measuring
from thalweg.training.track import Track

__all__ = ["watch"]

WATCHED: list[dict[int, Track]] = []
"""The tracks of all recorders that are open: what one of them records is left out by none (a GAN has two)."""


def watch(tracks: dict[int, Track]) -> Callable[[], None]:
    """Looks at every optimizer that steps, and tells tracks what it trains that nobody records; returns what ends it.

    Nothing of an optimizer is changed, and each is looked at again only if it was given more parameters. One that
    trains nothing of a recorded model counts as well: its parameters may be those of the loss.

    Args:
        tracks: Of a recorder, by replica; more may be added later.
    """
    known: WeakKeyDictionary[torch.optim.Optimizer, int] = WeakKeyDictionary()

    def stepped(optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        if known.get(optimizer) == len(held) or not tracks or measuring():
            return
        known[optimizer] = len(held)
        owners = {id(p): track for one in WATCHED for track in one.values() for p in track.model.parameters()}
        others = [p for p in held if id(p) not in owners]
        owning = {id(owner): owner for p in held if (owner := owners.get(id(p))) is not None}
        told = [track for track in tracks.values() if id(track) in owning] if owning else [tracks[max(tracks)]]
        for track in told if others else []:
            track.saw(others)

    handle = register_optimizer_step_post_hook(stepped)
    WATCHED.append(tracks)

    def end() -> None:
        handle.remove()
        WATCHED[:] = [one for one in WATCHED if one is not tracks]

    return end
