"""Damaged checkpoints and damaged benchmarks: the same result, or a clear refusal."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import damage
from test_mutated_runs import EXAMPLES, called, refused
from tiny_runs import Models, hypotheses, small
from torch import Tensor

from mt_lottery.cli import bench, train
from mt_lottery.config import TrainConfig
from mt_lottery.registry import CRITERIA
from mt_lottery.training.cross_entropy import summed_cross_entropy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def calls() -> Iterator[list[int]]:
    """Calls of the criterion ``counted`` before it presses Ctrl-C; empty: never."""
    left: list[int] = []

    def counted(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        if left:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGINT)
        return summed_cross_entropy(logits, labels)

    CRITERIA.register("counted")(counted)
    yield left
    CRITERIA._forget("counted")


def arguments(models: Models, out: Path) -> list[object]:
    more = ("model.dtype=float32", "baseline=false", "train.criterion=counted", "train.epochs=4")
    settings = ("train.save_steps=2", "train.lr=0.02", f"out_dir={out}")
    return small(models.untied, "lora", *more, *settings)


@pytest.fixture(scope="module")
def interrupted(runs: dict[str, Path], models: Models, calls: list[int]) -> Path:
    """A run that Ctrl-C stopped in its ninth step, with the checkpoints that it had."""
    folder = runs["lora"].parent / "interrupted"
    calls[:] = [9]
    code, _, err = called(train, *arguments(models, folder))
    calls.clear()
    assert code == 130, err
    assert list(folder.rglob("checkpoint-*"))
    return folder


@EXAMPLES
@given(data=st.data())
def test_a_damaged_checkpoint_never_changes_the_result(
    data: st.DataObject, interrupted: Path, models: Models
) -> None:
    whole = interrupted.with_name("whole")
    if not whole.exists():
        assert called(train, *arguments(models, whole))[0] == 0
    copy = interrupted.parent / "copies" / "resumed"
    where = data.draw(damage(interrupted, copy))
    code, _, err = called(train, *arguments(models, copy), "resume=true")
    assert code in (0, 2), f"{where}: {err}"
    if code == 0:
        assert hypotheses(copy) == hypotheses(whole), where
        with_ = (copy / "adapter/adapter_model.safetensors").read_bytes()
        assert with_ == (whole / "adapter/adapter_model.safetensors").read_bytes(), where
    else:
        refused(err, copy)


@pytest.fixture(scope="module")
def board(runs: dict[str, Path], models: Models) -> Path:
    """A benchmark of two cells, done."""
    out = runs["lora"].parent / "bench"
    small_ = ("metrics=[chrf]", "translate.max_new_tokens=8", "data.train_pairs=16")
    sizes = ("data.test_pairs=6", "data.dev_pairs=4", "--langs", "es", "--model", models.untied)
    code, _, err = called(
        bench, "lora", "eos_bias", "--preset", "smoke", *small_, *sizes, "--out", out
    )
    assert code == 0, err
    return out


@EXAMPLES
@given(data=st.data())
def test_a_damaged_benchmark_is_reported_or_refused(data: st.DataObject, board: Path) -> None:
    copy = board.parent / "copies" / "board"
    where = data.draw(damage(board, copy))
    code, _, err = called(bench, "report", copy)
    assert code in (0, 2), f"{where}: {err}"
    assert "Traceback" not in err and "bug in mt-lottery" not in err, (where, err)
    if code == 2:
        refused(err, copy)
    shutil.rmtree(copy)
