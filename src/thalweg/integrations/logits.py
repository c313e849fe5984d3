"""Hugging Face: a model with its labels as an objective whose output is the logits, so that every instrument works."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError, brief
from thalweg.objective import Objective
from thalweg.objective.copying import copied, plain

__all__ = ["objective_of"]

SHIFTED = ("ForCausalLM", "LMHeadModel")
PLAIN = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForImageClassification")


def objective_of(model: nn.Module, data: Any, **options: Any) -> Objective:
    """The loss of a Hugging Face model over a whole set of data, as a function of its parameters.

    The value is the mean over all labels that count: labels of −100 do not, and batches of other lengths weigh by what
    counts in them. Names of parameters are those of the model, so that `parameters="transformer.h.*.attn.*"` is a
    block; of a model with adapters (PEFT) θ holds those alone. The loss takes (logits, labels), so that Gauss–Newton
    and Fisher matrices exist.

    Args:
        model: For causal or masked language modelling, or for classification of sequences, tokens or images. It is
            copied, and evaluated in eval mode (without dropout).
        data: What the model takes by name, "labels" among it: one mapping of tensors (a padded `BatchEncoding`); or
            batches of them, in a list or a `DataLoader` with a collator of its own.
        **options: As for `Objective`: parameters, dtype, l2, …

    Raises:
        InputError: A model of another kind, data without labels, or a loss of the model's own that is another.

    Example:
        ``objective = objective_of(model, tokenizer(texts, return_tensors="pt", padding=True) | {"labels": labels})``
    """
    copy = copied(plain(model)).eval()
    inside: Any = copy  # attributes of other libraries
    base = inside.get_base_model() if hasattr(inside, "get_base_model") else inside
    kind = type(base).__name__
    if not kind.endswith(SHIFTED + PLAIN):
        raise InputError(f"model must be one of {', '.join(SHIFTED + PLAIN)} of transformers, found {kind}")
    shifted = kind.endswith(SHIFTED)
    if hasattr(getattr(base, "config", None), "use_cache"):
        base.config.use_cache = False  # keys and values for the next token, which nobody asks for
    if not isinstance(data, Iterable):
        raise InputError(f"data must be a mapping of tensors or batches of them, found {brief(data)}")
    batches = [data] if isinstance(data, Mapping) else list(data)  # one pass: a loader may shuffle
    pairs = [_pair(batch, shifted) for batch in batches]
    if not pairs:
        raise InputError("data must hold at least one batch, found none")
    with torch.no_grad():
        device = next(copy.parameters()).device
        own = float(copy(**{name: value.to(device) for name, value in batches[0].items()}).loss)
    copy.register_forward_hook(lambda module, args, output: _scores(output, shifted))
    objective = Objective(copy, nn.CrossEntropyLoss(), pairs[0] if isinstance(data, Mapping) else pairs, **options)
    ours = objective.with_l2(0.0).with_data(pairs[0]).value(objective.theta)
    if abs(float(ours) - own) > 1e-3 * max(1.0, abs(own)):
        raise InputError(
            "model must have the mean cross-entropy over its labels as its loss, found "
            f"{own:.6g} by the model and {float(ours):.6g} as that mean"
        )
    return objective


def _pair(batch: Any, shifted: bool) -> tuple[dict[str, Tensor], Tensor]:
    """(inputs, targets) of a batch; a causal model's output at a place is about the label of the next one."""
    if not isinstance(batch, Mapping) or not isinstance(batch.get("labels"), Tensor):
        raise InputError(f"data must hold tensors by name, 'labels' among them, found {brief(batch)}")
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return inputs, batch["labels"][:, 1:].contiguous() if shifted else batch["labels"]


def _scores(output: Any, shifted: bool) -> Tensor:
    """Logits with the classes on the second axis, as torch's cross-entropy takes them."""
    logits = output.logits[:, :-1] if shifted else output.logits
    return logits.transpose(1, 2) if logits.dim() == 3 else logits
