"""The same few steps by our own trainer and by everybody else's: batches, seed, optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
import torch
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler
from transformers import (
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
    set_seed,
)

import mt_lottery as mtl
from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import Example, collate
from mt_lottery.training.objective import Objective
from mt_lottery.training.trainer import train
from mt_lottery.tuners.rows.module import attach

ROWS = [7, 4, 19, 11, 2, 23]
SIZE, LR, EPOCHS, SEED = 4, 0.02, 3, 0


def config(accumulate: int = 1) -> TrainConfig:
    return TrainConfig(epochs=EPOCHS, lr=LR, batch_size=SIZE, accumulate=accumulate)


def base(kind: str = "llama", scope: str = "both", **more: Any) -> Any:
    """A tied model; its rows can have either scope."""
    return tiny.model(kind, tied=True, **more)


def ticket_model(kind: str = "llama", scope: Any = "input", **more: Any) -> mtl.TicketModel:
    return mtl.get_ticket_model(base(kind, **more), mtl.TicketConfig(rows=ROWS, scope=scope))


def ours(kind: str, scope: str, folder: Path, accumulate: int = 1) -> Tensor:
    """The rows [k, d] after our own trainer."""
    model = base(kind)
    embedding = attach(model, torch.tensor(ROWS), tied=scope == "both")
    train(
        model,
        config(accumulate),
        tiny.examples(16),
        pad_id=tiny.PAD,
        seed=SEED,
        folder=folder / "checkpoints",
        log=folder / "train_log.jsonl",
        title="test",
    )
    return embedding.rows.detach()


def in_order() -> list[Example]:
    """The examples as our trainer's batches have them, epoch after epoch."""
    examples = tiny.examples(16)
    plan = Objective(base(), config(), examples, pad_id=tiny.PAD, seed=SEED)
    batches = plan.batches.batches
    assert {len(batch) for batch in batches} == {SIZE}
    return [examples[i] for batch in batches for i in batch]


def sequential(trainer: Any) -> Any:
    """A class of trainers that takes the examples in order: a setting since transformers 5."""
    if hasattr(TrainingArguments, "train_sampling_strategy"):
        return trainer
    in_turn = {"_get_train_sampler": lambda self, *_: SequentialSampler(self.train_dataset)}
    return type(trainer.__name__, (trainer,), in_turn)


def arguments(folder: Path, *, accumulate: int = 1, **more: Any) -> dict[str, Any]:
    """Trainer's arguments for the same training, whichever class of them takes them."""
    if hasattr(TrainingArguments, "train_sampling_strategy"):
        more["train_sampling_strategy"] = "sequential"
    return {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "per_device_train_batch_size": SIZE,
        "gradient_accumulation_steps": accumulate,
        "learning_rate": LR,
        "lr_scheduler_type": "linear",
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "seed": SEED,
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **more,
    }


def by_trainer(model: Any, folder: Path, **more: Any) -> Trainer:
    """transformers' Trainer, made and not yet run."""
    made: Trainer = sequential(Trainer)(
        model=model,
        args=TrainingArguments(**arguments(folder, **more)),
        train_dataset=in_order(),
        eval_dataset=in_order()[:SIZE],
        data_collator=lambda examples: collate(examples, tiny.PAD),
    )
    return made


def by_loop(model: Any) -> None:
    """As one writes it down."""
    examples = in_order()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0)
    set_seed(SEED)  # of GPT-2's dropout
    loader = DataLoader(examples, SIZE, collate_fn=lambda batch: collate(batch, tiny.PAD))  # type: ignore[arg-type]
    schedule = get_linear_schedule_with_warmup(optimizer, 0, len(loader))
    model.train()
    for batch in loader:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
