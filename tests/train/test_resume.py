"""A training that was cut short and goes on ends where an uninterrupted one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from interrupting import At, Crash, crash
from safetensors.torch import load_file
from training import fit, log_of, rows_of, steps_of, with_rows

from mt_lottery.errors import RecordError, TrainingError
from mt_lottery.train.checkpoints import TRAINED, checkpoints
from mt_lottery.train.journal import read_log

SETTINGS: dict[str, Any] = {"epochs": 3, "save_steps": 2}  # 12 steps


@pytest.mark.parametrize("step", [1, 5, 6, 11])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])  # GPT-2 has dropout
def test_crash_after_a_step(kind: str, step: int, tmp_path: Path) -> None:
    whole = with_rows(kind)
    fit(whole, tmp_path / "whole", **SETTINGS)
    with pytest.raises(Crash):
        fit(with_rows(kind), tmp_path / "cut", tracker=At(step, crash), **SETTINGS)
    assert steps_of(tmp_path / "cut") == list(range(1, step + 1))
    again = with_rows(kind)
    torch.rand(3)
    result = fit(again, tmp_path / "cut", resume=True, **SETTINGS)
    assert torch.equal(rows_of(again), rows_of(whole))
    assert steps_of(tmp_path / "cut") == list(range(1, 13)) and result.steps == 12
    for ours, theirs in zip(log_of(tmp_path / "cut"), log_of(tmp_path / "whole"), strict=True):
        assert (ours["loss"], ours["lr"]) == (theirs["loss"], theirs["lr"])


def test_crash_with_accumulation_dev_loss_and_a_token_budget(tmp_path: Path) -> None:
    settings = {**SETTINGS, "accumulate": 3, "max_tokens": 40, "dev": tiny.examples(4, seed=5)}
    whole = with_rows("gemma3", scope="tied")
    result = fit(whole, tmp_path / "whole", **settings)
    again = with_rows("gemma3", scope="tied")
    with pytest.raises(Crash):
        fit(again, tmp_path / "cut", tracker=At(5, crash), **settings)
    again = with_rows("gemma3", scope="tied")
    assert fit(again, tmp_path / "cut", resume=True, **settings).dev_loss == result.dev_loss
    assert torch.equal(rows_of(again), rows_of(whole))
    noted = [
        [(line["step"], line.get("dev_loss")) for line in log_of(tmp_path / name)]
        for name in ("cut", "whole")
    ]
    assert noted[0] == noted[1]


def test_crash_after_the_last_step(tmp_path: Path) -> None:
    settings = {**SETTINGS, "dev": tiny.examples(4, seed=5)}
    whole = with_rows()
    result = fit(whole, tmp_path, **settings)
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "checkpoint-12"
    again = with_rows()
    resumed = fit(again, tmp_path, resume=True, **settings)
    assert torch.equal(rows_of(again), rows_of(whole))
    assert (resumed.steps, resumed.loss, resumed.dev_loss) == (12, result.loss, result.dev_loss)
    assert steps_of(tmp_path) == list(range(1, 13))


def test_killed(tmp_path: Path) -> None:
    """SIGKILL in another process, after the first checkpoint and in the middle of a line."""
    script = """
import sys
from pathlib import Path
from interrupting import At, kill
from training import fit, with_rows
fit(with_rows(), Path(sys.argv[1]), tracker=At(5, kill), epochs=3, save_steps=2)
"""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), *sys.path]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    folder = tmp_path / "cut"
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], env=environment, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert [p.name for p in checkpoints(folder / "checkpoints")] == ["checkpoint-4"]
    with (folder / "train_log.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')
    whole, again = with_rows(), with_rows()
    fit(whole, tmp_path / "whole", **SETTINGS)
    fit(again, folder, resume=True, **SETTINGS)
    assert torch.equal(rows_of(again), rows_of(whole))
    assert steps_of(folder) == list(range(1, 13))


@pytest.mark.parametrize("broken", ["replace", "rmtree"])
def test_killed_while_a_checkpoint_is_written(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mt_lottery.train.checkpoints as module

    owner: Any = module.os if broken == "replace" else module.shutil
    real = getattr(owner, broken)

    def fail(*args: Any, **kwargs: Any) -> Any:
        # before the second checkpoint has its name; before the first one is removed
        where = "checkpoint-4" if broken == "replace" else "checkpoint-2"
        if Path(args[0]).name == where and Path(args[0]).exists():
            raise Crash
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, broken, fail)
        with pytest.raises(Crash):
            fit(with_rows(), tmp_path, **SETTINGS)
    left = [p.name for p in checkpoints(tmp_path / "checkpoints")]
    assert left == (["checkpoint-2"] if broken == "replace" else ["checkpoint-2", "checkpoint-4"])
    whole, again = with_rows(), with_rows()
    fit(whole, tmp_path / "whole", **SETTINGS)
    fit(again, tmp_path, resume=True, **SETTINGS)
    assert torch.equal(rows_of(again), rows_of(whole))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-12"]
    assert steps_of(tmp_path) == list(range(1, 13))


def test_a_checkpoint_holds_the_trained_parameters_alone(tmp_path: Path) -> None:
    model = with_rows("gemma3", scope="tied")
    fit(model, tmp_path, **SETTINGS)
    (folder,) = checkpoints(tmp_path / "checkpoints")
    tensors = load_file(folder / TRAINED)
    assert list(tensors) == ["model.embed_tokens.rows"]
    assert torch.equal(tensors["model.embed_tokens.rows"], rows_of(model))
    state = torch.load(folder / "optimizer.pt", weights_only=True)["state"]
    assert [tuple(v["exp_avg"].shape) for v in state.values()] == [(20, 16)]
    largest = max(f.stat().st_size for f in folder.iterdir() if f.name != "rng_state.pth")
    assert largest < 10_000  # the model has 15,000 bytes and more
    names = {f.name for f in folder.iterdir()}
    assert {TRAINED, "optimizer.pt", "scheduler.pt", "trainer_state.json"} <= names
    assert not names & {"model.safetensors", "pytorch_model.bin", "training_args.bin"}


def test_without_resume_it_starts_anew(tmp_path: Path) -> None:
    with pytest.raises(Crash):
        fit(with_rows(), tmp_path, tracker=At(5, crash), **SETTINGS)
    model, whole = with_rows(), with_rows()
    fit(model, tmp_path, **SETTINGS)
    fit(whole, tmp_path / "whole", **SETTINGS)
    assert torch.equal(rows_of(model), rows_of(whole))
    assert steps_of(tmp_path) == list(range(1, 13))


def test_resume_without_a_checkpoint_starts_at_the_front(tmp_path: Path) -> None:
    fit(with_rows(), tmp_path, resume=True, **SETTINGS)
    assert steps_of(tmp_path) == list(range(1, 13))


def test_a_checkpoint_that_is_damaged_or_foreign(tmp_path: Path) -> None:
    with pytest.raises(Crash):
        fit(with_rows(), tmp_path, tracker=At(5, crash), **SETTINGS)
    (folder,) = checkpoints(tmp_path / "checkpoints")
    other = tiny.model().requires_grad_(False)
    other.get_input_embeddings().weight.requires_grad_(True)
    with pytest.raises(TrainingError, match="checkpoint-4: holds other parameters than this run"):
        fit(other, tmp_path, resume=True, **SETTINGS)
    content = (folder / TRAINED).read_bytes()
    (folder / TRAINED).write_bytes(content[:100])
    with pytest.raises(TrainingError, match="checkpoint-4: the checkpoint is damaged"):
        fit(with_rows(), tmp_path, resume=True, **SETTINGS)


def test_a_damaged_log(tmp_path: Path) -> None:
    path = tmp_path / "train_log.jsonl"
    good = json.dumps({"step": 1, "loss": 2.0})
    path.write_text(f'{good}\n{{"step": 2, "lo')  # cut short: the process was killed
    assert read_log(path) == [{"step": 1, "loss": 2.0}]
    path.write_text(f"{good}\nnonsense\n{good}\n")
    with pytest.raises(RecordError, match=r"train_log.jsonl: line 2: damaged"):
        read_log(path)
    assert read_log(tmp_path / "none.jsonl") == []
