"""Trained by Trainer, by TRL or by a plain loop, the rows end as by our own trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import loops
import pytest
import tiny
import torch
from torch import Tensor

import mt_lottery as mtl

pytestmark = pytest.mark.slow

SCOPES = ("input", "both")


def assert_equal(model: Any, wanted: Tensor, start: Any) -> None:
    torch.testing.assert_close(model.values, wanted, rtol=0, atol=1e-5)
    table = start.get_input_embeddings().weight.detach()[model.rows]
    assert float((model.values - table).abs().amax(1).min()) > 1e-2  # each row was trained


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_plain_loop(kind: str, scope: str, tmp_path: Path) -> None:
    model = loops.ticket_model(kind, scope)
    loops.by_loop(model)
    assert_equal(model, loops.ours(kind, scope, tmp_path), loops.base(kind))


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_transformers_trainer(kind: str, scope: str, accumulate: int, tmp_path: Path) -> None:
    model = loops.ticket_model(kind, scope)
    loops.by_trainer(model, tmp_path / "theirs", accumulate=accumulate).train()
    assert_equal(model, loops.ours(kind, scope, tmp_path, accumulate), loops.base(kind))


def sft(model: Any, folder: Path, peft_config: Any = None, **more: Any) -> Any:
    trl = pytest.importorskip("trl", reason="TRL is not installed (pip install trl)")
    datasets = pytest.importorskip("datasets")
    rows = [
        {
            "input_ids": e.prompt_ids + e.target_ids,
            "labels": [-100] * len(e.prompt_ids) + e.target_ids,
        }
        for e in loops.in_order()
    ]
    return loops.sequential(trl.SFTTrainer)(
        model=model,
        args=trl.SFTConfig(**loops.arguments(folder, **more)),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tiny.tokenizer(),
        peft_config=peft_config,
    )


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_trl(kind: str, scope: str, tmp_path: Path) -> None:
    """With its own defaults: gradient checkpointing, losses from ``lm_head.weight``."""
    model = loops.ticket_model(kind, scope)
    trainer = sft(model, tmp_path / "theirs")
    assert trainer.args.gradient_checkpointing
    trainer.train()
    assert_equal(model, loops.ours(kind, scope, tmp_path), loops.base(kind))


def test_trl_makes_the_model_itself(tmp_path: Path) -> None:
    config = mtl.TicketConfig(rows=loops.ROWS, scope="input")
    trainer = sft(loops.base(), tmp_path / "theirs", peft_config=config)
    assert isinstance(trainer.model, mtl.TicketModel)
    trainer.train()
    assert_equal(trainer.model, loops.ours("llama", "input", tmp_path), loops.base())


def test_trl_saves_what_loads(tmp_path: Path) -> None:
    model = loops.ticket_model("gemma3", "input")
    sft(model, tmp_path, save_strategy="epoch").train()
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    again = mtl.TicketModel.from_pretrained(loops.base("gemma3"), checkpoint)
    assert torch.equal(again.values, model.values)


@pytest.mark.parametrize("scope", SCOPES)
def test_trainer_goes_on_from_a_checkpoint(scope: str, tmp_path: Path) -> None:
    whole = loops.ticket_model(scope=scope)
    loops.by_trainer(whole, tmp_path / "a", save_strategy="steps", save_steps=5).train()
    small = tmp_path / "a" / "checkpoint-5" / "adapter_model.safetensors"
    assert small.stat().st_size < 10_000
    again = loops.ticket_model(scope=scope)
    loops.by_trainer(again, tmp_path / "b").train(resume_from_checkpoint=str(small.parent))
    torch.testing.assert_close(again.values, whole.values, rtol=0, atol=1e-6)


def test_trainer_takes_the_best_checkpoint(tmp_path: Path) -> None:
    model = loops.ticket_model()
    trainer = loops.by_trainer(
        model,
        tmp_path,
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=True,  # the first one, which differs from the last
    )
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert best is not None and best.endswith("checkpoint-2")
    saved = mtl.TicketModel.from_pretrained(loops.base(), best)
    assert torch.equal(saved.values, model.values)
