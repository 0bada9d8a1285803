"""No record says done over something that is not finite; a signal leaves a checkpoint."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import tiny
import torch
from tiny_runs import Commands, Models, small

from mt_lottery.decoding.translation import translate
from mt_lottery.errors import ModelError

pytestmark = pytest.mark.slow

FEW = ("baseline=false", "data.train_pairs=12", "data.test_pairs=2", "translate.max_new_tokens=4")


@pytest.mark.parametrize(
    "changes",
    [
        ("train.lr=1e30",),
        ("train.lr=1e30", "train.epochs=1", "train.batch_size=12"),  # one step
        ("train.lr=1e38", "train.criterion=label_smoothed_cross_entropy"),
        ("train.lr=1e5", "model.dtype=float16", "train.epochs=1", "train.batch_size=12"),
    ],
)
def test_a_training_that_diverges(
    changes: tuple[str, ...], commands: Commands, models: Models
) -> None:
    said = commands.train(*small(models.untied, "full", "out_dir=run", *FEW, *changes)).mistake()
    assert "train.lr" in said
    assert not Path("run/record.json").exists() and not Path("run/model").exists()
    assert not list(Path("run").glob("checkpoints/checkpoint-*"))


@pytest.mark.parametrize("beam", [1, 2])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers(value: float, beam: int) -> None:
    model = tiny.model()
    with torch.no_grad():
        model.lm_head.weight[5] = value
    with pytest.raises(ModelError, match="logits are not finite"):
        translate(
            model,
            tiny.tokenizer(),
            [[2, 4, 5], [2, 7]],
            beam_size=beam,
            max_new_tokens=3,
            eos_ids=tiny.EOS,
            pad_id=tiny.PAD,
        )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_first_steps(
    number: int, code: int, commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mt_lottery.training.train_log import TrainLog

    arguments = small(models.untied, "ks_lottery", *FEW, "probe.epochs=2", "train.epochs=2")
    assert commands.train(*arguments, "out_dir=whole").code == 0
    shutil.rmtree(commands.cache)
    real = TrainLog.step

    def stop_after(step: int, title: str) -> None:
        def step_and_stop(self: TrainLog, at: int, *numbers: float, **more: float) -> None:
            real(self, at, *numbers, **more)  # type: ignore[arg-type]
            if at == step and self._title == title:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(TrainLog, "step", step_and_stop)

    stop_after(1, "Embedding-tuned probe")
    ended = commands.train(*arguments, "out_dir=run")
    assert ended.code == code and "after step 1" in ended.err and "resume=true" in ended.err
    assert [p.name for p in commands.cache.rglob("checkpoint-*")] == ["checkpoint-1"]
    stop_after(2, "ks_lottery")
    ended = commands.train(*arguments, "out_dir=run", "resume=true")
    assert ended.code == code and "after step 2" in ended.err
    assert [p.name for p in Path("run").rglob("checkpoint-*")] == ["checkpoint-2"]
    assert not Path("run/record.json").exists()
    monkeypatch.setattr(TrainLog, "step", real)
    assert commands.train(*arguments, "out_dir=run", "resume=true").code == 0
    for name in ("adapter/adapter_model.safetensors", "tickets.csv", "hypotheses.jsonl"):
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes()
