"""Part *repeat*: does a training give the same bits again, and what does it cost to make it so?

Gemma 3 270M's shape, batches of 8 pairs as a probe has them.  Each arm trains the same rows three
times from the same start: how many different results there are, and the seconds of each.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from gpu_parts.work import Given, Report, attempt, make_model, wait
from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.model.attention import allow_repeating, repeatable
from mt_lottery.training.trainer import train
from mt_lottery.tuners.rows.module import attach, detach

PAD, BOS, EOS = 0, 2, 1
TURNS = 3


def pairs(vocabulary: int, check: bool) -> list[Example]:
    """Of 60 to 140 tokens, half of each the target."""
    choose, made = random.Random(0), []
    for index in range(16 if check else 240):
        half = choose.randint(6, 10) if check else choose.randint(30, 70)
        source, target = (choose.choices(range(3, vocabulary), k=half) for _ in range(2))
        made.append(Example(index, [BOS, *source], [*target, EOS]))
    return made


def trained(model: Any, examples: list[Example], rows: torch.Tensor) -> str:
    """A digest of the rows after one training."""
    attach(model, rows, tied=False)
    config = TrainConfig(epochs=1, batch_size=8, lr=3e-3, optimizer="sparse_adam", save_steps=10**6)
    try:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log.jsonl"
            train(
                model, config, examples, pad_id=PAD, seed=0, folder=Path(folder) / "checkpoints",
                log=log, title="repeat",
            )  # fmt: skip
        values = model.get_input_embeddings().rows.detach().cpu()
        return hashlib.sha256(values.numpy().tobytes()).hexdigest()
    finally:
        detach(model)
        model.requires_grad_(False)


def measured(
    model: Any, examples: list[Example], rows: torch.Tensor, given: Given, wanted: bool
) -> dict[str, Any]:
    digests, spent = [], []
    for _ in range(TURNS):
        start = time.perf_counter()
        with repeatable(wanted):
            digests.append(trained(model, examples, rows))
        wait(given.device)
        spent.append(round(time.perf_counter() - start, 3))
    return {"trainings": TURNS, "different_results": len({*digests}), "seconds": spent,
            "digests": digests}  # fmt: skip


def run(given: Given, name: str) -> None:
    allow_repeating()
    shape = "tiny_gemma3" if given.check else "gemma3_270m"
    model = make_model(shape, given.device)
    examples = pairs(int(model.config.vocab_size), given.check)
    seen = sorted({i for each in examples for i in (*each.prompt_ids, *each.target_ids)})
    report = Report(given, name, shape=shape, pairs=len(examples), rows=len(seen))
    for arm, ids in {"18 rows": seen[:18], "every row of the text": seen}.items():
        for wanted in (False, True):
            attempt(
                report, "arms", f"{arm}, deterministic" if wanted else arm,
                lambda ids=ids, wanted=wanted: measured(
                    model, examples, torch.tensor(ids), given, wanted
                ),
            )  # fmt: skip
