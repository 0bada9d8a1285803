"""Small trainings by either engine, on however many processes there are.

torchrun --nproc-per-node 2 fits.py FOLDER
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny
import torch
from interrupting import At, breaking_after
from safetensors.torch import save_file
from torch import Tensor

from mt_lottery.config import RunConfig, TrainConfig, TunerConfig
from mt_lottery.errors import TrainingError
from mt_lottery.registry import ENGINES, TUNERS
from mt_lottery.system import parallel
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.engine import TrainResult
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.module import attach


def with_rows(
    kind: str = "llama", tied: bool = False, dtype: torch.dtype = torch.float32, rows: int = 21
) -> Any:
    """A tiny model of which an odd number of rows is trained: FSDP2's shards are uneven."""
    model = tiny.model(kind, tied=kind == "gemma3", dtype=dtype)
    attach(model, torch.arange(4, 4 + rows), tied=tied)
    return model


def tuned(method: str, kind: str = "llama") -> Any:
    """A tiny model, ready for training with a method."""
    schema = TUNERS.dataclass_of(method) or TunerConfig
    context = TuningContext(tiny.model(kind), tiny.tokenizer(), 0)
    TUNERS.get(method)(schema(method)).apply(context)
    return context.model


UNEVEN: dict[str, Any] = {"examples": tiny.examples(10), "batch_size": 3, "epochs": 2}  # 3, 3, 3, 1
CASES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "probe": (
        with_rows,
        {"optimizer": "sparse_adam", "epochs": 5, "batch_size": 4, "dev": tiny.examples(5, seed=9)},
    ),
    "uneven": (with_rows, UNEVEN),
    "tied": (
        lambda: with_rows("gemma3", tied=True),
        {"examples": tiny.examples(30), "batch_size": 100, "max_tokens": 40, "accumulate": 2},
    ),
    "half": (lambda: with_rows("gemma3", dtype=torch.bfloat16), {"schedule": "cosine"}),
    "lora": (lambda: tuned("lora", "mistral"), {**UNEVEN, "warmup_steps": 3}),
    "full": (
        lambda: tuned("full", "qwen2"),
        {
            **UNEVEN,
            "accumulate": 3,
            "max_grad_norm": 0.05,
            "gradient_checkpointing": True,
            "criterion": "label_smoothed_cross_entropy",
            "schedule": "constant",
        },
    ),
    "prefix": (lambda: tuned("prefix"), {**UNEVEN, "optimizer": "sgd", "weight_decay": 0.1}),
}
RESUMED: dict[str, Any] = {"epochs": 3, "save_steps": 2, "batch_size": 4}  # 12 steps


def fit(
    model: Any,
    folder: Path,
    *,
    engine: str = "fairseq2",
    sharding: str = "ddp",
    tracker: Tracker | None = None,
    resume: bool = False,
    **settings: Any,
) -> TrainResult:
    """Train what of ``model`` requires a gradient; checkpoints and log go into ``folder``."""
    examples = settings.pop("examples", tiny.examples(16))
    dev = settings.pop("dev", None)
    config = TrainConfig(**{"epochs": 2, "lr": 0.02, "batch_size": 4, **settings})
    made = ENGINES.get(engine)(RunConfig(engine=engine, data_parallelism=sharding))
    assert made.problems() == []
    result: TrainResult = made.train(
        model,
        config,
        examples,
        pad_id=tiny.PAD,
        seed=0,
        folder=folder / "checkpoints",
        log=folder / "train_log.jsonl",
        title="test",
        dev=dev,
        resume=resume,
        trackers=() if tracker is None else (tracker,),
    )
    return result


def values_of(model: Any) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def log_of(folder: Path) -> list[dict[str, Any]]:
    """Step, loss, dev loss and learning rate of each line."""
    keys = ("step", "loss", "dev_loss", "lr")
    lines = [json.loads(text) for text in (folder / "train_log.jsonl").read_text().splitlines()]
    return [{k: line[k] for k in keys if k in line} for line in lines]


def main() -> None:
    parallel.start()
    folder = Path(sys.argv[1])
    for sharding in ("ddp", "fsdp"):
        for name, (make, settings) in CASES.items():
            model, where = make(), folder / sharding / name
            fit(model, where, sharding=sharding, **settings)
            if parallel.is_main():
                save_file(values_of(model), where / "trained.safetensors")
        whole, again = with_rows(), with_rows()
        fit(whole, folder / sharding / "whole", sharding=sharding, **RESUMED)
        cut_short(folder / sharding / "cut", sharding)
        fit(again, folder / sharding / "cut", sharding=sharding, resume=True, **RESUMED)
        same(again, whole, sharding)
        stopped = folder / sharding / "stopped"
        asked_to_end(stopped, sharding)
        other = "fsdp" if sharding == "ddp" else "ddp"
        refused = None
        try:
            fit(with_rows(), stopped, sharding=other, resume=True, **RESUMED)
        except TrainingError as error:
            refused = str(error)
        assert f"on 2 processes with {sharding}, this one is on 2" in str(refused)
        again = with_rows()
        fit(again, stopped, sharding=sharding, resume=True, **RESUMED)
        same(again, whole, sharding)
        diverges(folder / sharding / "diverges", sharding)
    parallel.stop()


def same(one: Any, other: Any, sharding: str) -> None:
    for key, value in values_of(other).items():
        assert torch.equal(values_of(one)[key], value), (sharding, key)


def asked_to_end(folder: Path, sharding: str) -> None:
    """A signal comes to the main process alone, after the fifth step; all end with the sixth."""
    raised: BaseException | None = None
    try:
        at = At(5, lambda: signal.raise_signal(signal.SIGTERM))
        fit(with_rows(), folder, sharding=sharding, tracker=at, **{**RESUMED, "save_steps": 4})
    except KeyboardInterrupt as error:
        raised = error
    assert "Interrupted after step 6 of 12" in str(raised)
    kept = sorted(path.name for path in (folder / "checkpoints").glob("step_*"))
    assert kept == ["step_4", "step_6"], kept


def diverges(folder: Path, sharding: str) -> None:
    """Every process refuses a checkpoint of values that are not finite, by the same message."""
    model = with_rows()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1e6)  # large gradients
    told = ""
    try:
        fit(model, folder, sharding=sharding, optimizer="sgd", lr=1e38, max_grad_norm=0.0,
            save_steps=1)  # fmt: skip
    except TrainingError as error:
        told = str(error)
    assert "is not finite after step 1" in told, told
    assert parallel.gather(told) == [told, told]


def cut_short(folder: Path, sharding: str) -> None:
    """A training of rows that ends in the seventh of its 12 steps, on every process at once."""
    with breaking_after(6) as criterion:
        fit(with_rows(), folder, sharding=sharding, criterion=criterion, **RESUMED)
    # the last one may not be in its place yet: it is written beside the training
    assert any((folder / "checkpoints").glob("step_[246]"))


if __name__ == "__main__":
    main()
