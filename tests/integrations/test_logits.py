from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thalweg import curvature
from thalweg.errors import InputError
from thalweg.integrations import objective_of

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
IDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
SMALL = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 11}
KINDS = {
    "GPT2LMHeadModel": ("GPT2Config", {"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2}),
    "LlamaForCausalLM": ("LlamaConfig", {**SMALL, "num_key_value_heads": 1, "max_position_embeddings": 8}),
    "BertForMaskedLM": ("BertConfig", {**SMALL, "max_position_embeddings": 8}),
    "BertForSequenceClassification": ("BertConfig", {**SMALL, "max_position_embeddings": 8, "num_labels": 3}),
}


def made(transformers: Any, kind: str) -> nn.Module:
    torch.manual_seed(0)
    config, sizes = KINDS[kind]
    return getattr(transformers, kind)(getattr(transformers, config)(**sizes, **IDS)).double()


def batch(kind: str, lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Padded sequences; some labels are left out beside the padding."""
    generator = torch.Generator().manual_seed(sum(lengths))
    tokens = torch.randint(1, 11, (len(lengths), max(lengths)), generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    labels = tokens.masked_fill(mask == 0, -100)
    labels[0, 1] = -100
    if kind.endswith("SequenceClassification"):
        labels = torch.arange(len(lengths)) % 3
    return {"input_ids": tokens * mask, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_models_own_over_the_whole_set(kind: str, transformers: Any) -> None:
    model = made(transformers, kind)
    whole = batch(kind, (7, 3, 5, 2))
    objective = objective_of(model, whole)
    own = model.eval()(**whole).loss
    most = 1e-6 if kind.endswith(("CausalLM", "LMHeadModel")) else 1e-12  # the loss of causal models is in float32
    assert objective.value(objective.theta).item() == pytest.approx(own.item(), rel=most)
    own.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float((objective.gradient(objective.theta) - gradient).norm()) < most * float(gradient.norm())
    # batches of other lengths weigh by the labels that count
    parts = [batch(kind, lengths) for lengths in ((7, 3, 5), (4, 4), (2,))]
    count = [
        int((one["labels"][:, 1:] if "Causal" in kind or "LMHead" in kind else one["labels"]).ne(-100).sum())
        for one in parts
    ]
    expected = sum(c * model(**one).loss.item() for c, one in zip(count, parts, strict=True) if c) / sum(count)
    objective = objective_of(model, [one for c, one in zip(count, parts, strict=True) if c])
    assert objective.value(objective.theta).item() == pytest.approx(expected, rel=most)


@pytest.mark.parametrize("kind", KINDS)
def test_curvature_against_finite_differences(kind: str, transformers: Any) -> None:
    objective = objective_of(made(transformers, kind), batch(kind, (7, 3, 5, 2)))
    theta, v = objective.theta, torch.randn(objective.size, dtype=torch.float64)
    v = v / v.norm()
    step, most = (1e-2, 2e-2) if kind.startswith("Llama") else (1e-5, 1e-6)  # its RMSNorm computes in float32
    product = (objective.gradient(theta + step * v) - objective.gradient(theta - step * v)) / (2 * step)
    assert float((objective.hvp(theta, v) - product).norm()) < most * float(product.norm())
    # vᵀGv is the mean variance, under the model's own probabilities, of what v does to the logits
    change = (objective.outputs(theta + step * v) - objective.outputs(theta - step * v)) / (2 * step)
    p = objective.outputs(theta).softmax(1)
    variance = (p * change**2).sum(1) - (p * change).sum(1) ** 2
    counts = objective.batches.held[0][1] != -100
    expected = float(variance[counts].mean())
    assert float(v @ curvature.ggn_operator(objective, theta)(v)) == pytest.approx(expected, rel=most)


def test_blocks_by_name_and_adapters_alone(transformers: Any, peft: Any) -> None:
    model, data = made(transformers, "GPT2LMHeadModel"), batch("GPT2LMHeadModel", (7, 3, 5, 2))
    objective = objective_of(model, data)
    glob = "transformer.h.*.attn.*"
    index = objective.layout.select(glob)
    assert len(index) == sum(p.numel() for name, p in model.named_parameters() if ".attn." in name)
    operator, whole = curvature.hessian_operator(objective, objective.theta, glob), torch.zeros(objective.size).double()
    v = torch.randn(len(index), dtype=torch.float64)
    whole[index] = v
    torch.testing.assert_close(operator(v), objective.hvp(objective.theta, whole)[index], rtol=1e-9, atol=1e-12)
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM", fan_in_fan_out=True)
    adapted = peft.get_peft_model(model, config)
    for name, p in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(p, std=0.3)  # else the first adapter has no effect
    objective = objective_of(adapted, data)
    assert all("lora" in name for name in objective.layout.names)
    assert objective.size == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert objective.value(objective.theta).item() == pytest.approx(adapted.eval()(**data).loss.item(), rel=1e-6)


def test_what_is_no_such_model(transformers: Any) -> None:
    model = made(transformers, "BertForSequenceClassification")
    data = batch("BertForSequenceClassification", (4, 2))
    with pytest.raises(InputError, match=r"model must be one of ForCausalLM, .*, found Linear"):
        objective_of(nn.Linear(2, 1), data)
    with pytest.raises(InputError, match="data must hold tensors by name, 'labels' among them"):
        objective_of(model, {"input_ids": data["input_ids"]})
    with pytest.raises(InputError, match="data must hold at least one batch, found none"):
        objective_of(model, [])
