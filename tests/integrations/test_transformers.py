from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thalweg import integrations
from thalweg.errors import InputError
from thalweg.training import Recorder

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TINY = {
    "vocab_size": 11,
    "n_positions": 6,
    "n_embd": 8,
    "n_layer": 1,
    "n_head": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
TOKENS = torch.randint(0, 11, (20, 6), generator=torch.Generator().manual_seed(0))


def language_model(transformers: Any) -> nn.Module:
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**TINY))


def trainer(transformers: Any, folder: Path, *callbacks: Any, model: nn.Module | None = None) -> Any:
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "out"),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        logging_steps=2,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    data = [{"input_ids": row, "labels": row} for row in TOKENS]
    model = language_model(transformers) if model is None else model
    return transformers.Trainer(model, arguments, train_dataset=data, eval_dataset=data, callbacks=list(callbacks))


def theta(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])


def test_a_training_is_recorded_and_is_the_same_as_without(transformers: Any, tmp_path: Path) -> None:
    plain = trainer(transformers, tmp_path)
    plain.train()
    measure = {"norm": (lambda model: theta(model).norm(), 5)}
    callback = integrations.TransformersRecorder(tmp_path / "runs" / "mine", every=4, measure=measure)
    recorded = trainer(transformers, tmp_path, callback)
    recorded.train()
    assert torch.equal(theta(plain.model), theta(recorded.model))
    run = callback.run
    kept = [run.config[name] for name in ("learning_rate", "num_train_epochs", "lr_scheduler_type")]
    assert (run.state, *kept) == ("complete", 0.01, 2, "linear")
    assert run.recording().steps.tolist() == [0, 4, 8, 10]
    assert run.recording().epochs.tolist() == [0, 0.8, 1.6, 2]
    assert torch.equal(run.snapshots[-1, 0], theta(recorded.model))
    rows = run.metrics
    history = recorded.state.log_history
    for name in ("loss", "grad_norm", "learning_rate", "eval_loss"):
        expected = {entry["step"]: pytest.approx(entry[name]) for entry in history if name in entry}
        found = {row["step"]: row[name] for row in rows.iter_rows(named=True) if row[name] is not None}
        assert found == expected
    assert sorted(rows.columns) == sorted(
        ["recording", "step", "epoch", "replica", "norm", "loss", "grad_norm", "learning_rate", "eval_loss"]
    )
    assert rows["norm"].is_not_null().sum() == 3
    assert rows["norm"][-1] == pytest.approx(float(theta(recorded.model).norm()), rel=1e-6)


def test_of_adapters_only_they_are_recorded(transformers: Any, peft: Any, tmp_path: Path) -> None:
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM", fan_in_fan_out=True)
    model = peft.get_peft_model(language_model(transformers), config)
    callback = integrations.TransformersRecorder(tmp_path / "runs" / "mine", every=5)
    trainer(transformers, tmp_path, callback, model=model).train()
    assert callback.run.snapshots.shape == (3, 1, 2 * (8 + 24))
    assert torch.equal(callback.run.snapshots[-1, 0], theta(model))
    assert all("lora" in name for name in callback.run.recording().meta["parameters"])


def test_as_a_context_it_keeps_a_training_that_fails(transformers: Any, tmp_path: Path) -> None:
    class Failing(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 3:
                raise ZeroDivisionError("a bad batch")

    callback = integrations.TransformersRecorder(tmp_path / "runs" / "mine")
    with pytest.raises(ZeroDivisionError), callback:
        trainer(transformers, tmp_path, callback, Failing()).train()
    assert callback.run.state == "failed"
    assert callback.run.recording().steps.tolist() == [0, 1, 2, 3]


def test_only_the_main_process_writes(transformers: Any, tmp_path: Path) -> None:
    callback = integrations.TransformersRecorder(tmp_path / "runs" / "mine")
    one = trainer(transformers, tmp_path, callback)
    one.is_world_process_zero = lambda: False
    one.state.is_world_process_zero = False
    callback.on_train_begin(one.args, one.state, one.control, model=one.model)
    callback.on_step_end(one.args, one.state, one.control)
    callback.on_log(one.args, one.state, one.control, logs={"loss": 1.0})
    callback.on_train_end(one.args, one.state, one.control)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(InputError, match="run is known to the process that writes"):
        _ = callback.run


def test_loops_of_accelerate(transformers: Any, tmp_path: Path) -> None:
    from accelerate import Accelerator

    def loop(folder: Path | None) -> tuple[Tensor, Recorder | None]:
        torch.manual_seed(0)
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
        model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        data = DataLoader(TensorDataset(TOKENS.float() / 11), 4, shuffle=True)
        model, optimizer, data = accelerator.prepare(model, optimizer, data)
        recorder = None
        if folder:
            own = accelerator.unwrap_model(model)
            recorder = Recorder(folder, own, every=2, writes=accelerator.is_main_process)
        for _ in range(2):
            for (rows,) in data:
                with accelerator.accumulate(model):
                    loss = model(rows).square().mean()
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                if accelerator.sync_gradients and recorder:
                    recorder.step(loss=loss)
        if recorder:
            recorder.close()
        return theta(accelerator.unwrap_model(model)), recorder

    plain, _ = loop(None)
    found, recorder = loop(tmp_path / "mine")
    assert recorder is not None
    assert torch.equal(plain, found)
    assert recorder.run.recording().steps.tolist() == [0, 2, 4, 6]
    assert torch.equal(recorder.run.snapshots[-1, 0], found)
    assert all(math.isfinite(value) for value in recorder.run.metrics["loss"])


def test_a_process_that_does_not_write_takes_every_call(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    with Recorder(tmp_path / "mine", model, writes=False, measure={"a": lambda _: 1 / 0}) as recorder:
        recorder.step(loss=1.0)
        recorder.log(test_loss=2.0)
    with Recorder(tmp_path / "mine", replicas=2, writes=False) as recorder:
        recorder.replica(0, model).step(loss=1.0)
    assert list(tmp_path.iterdir()) == []
