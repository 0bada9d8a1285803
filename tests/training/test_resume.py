"""A training that was cut short and goes on ends where an uninterrupted one does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from interrupting import At, Crash, crash
from safetensors.torch import load_file, save_file
from training import fit, log_of, rows_of, steps_of, with_rows

from mt_lottery.errors import RecordError, TrainingError
from mt_lottery.system import interrupts
from mt_lottery.training.sealing import SEAL, STATE, TRAINED, problem_with
from mt_lottery.training.sealing import candidates as checkpoints
from mt_lottery.training.train_log import read_log
from mt_lottery.training.trained import load_trained, trained_parameters

pytestmark = pytest.mark.slow

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
    names = [p.name for p in checkpoints(folder / "checkpoints")]
    assert names == ["checkpoint-2", "checkpoint-4"]  # one to fall back to
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
    owner: Any = os if broken == "replace" else shutil
    real = getattr(owner, broken)

    def fail(*args: Any, **kwargs: Any) -> Any:
        # before a checkpoint has its name; before the first one is removed
        where = "checkpoint-6" if broken == "replace" else "checkpoint-2"
        if Path(args[0]).name == where and Path(args[0]).exists():
            raise Crash
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, broken, fail)
        with pytest.raises(Crash):
            fit(with_rows(), tmp_path, **SETTINGS)
    left = [p.name for p in checkpoints(tmp_path / "checkpoints")]
    kept = ["checkpoint-2", "checkpoint-4"]
    assert left == (kept if broken == "replace" else [*kept, "checkpoint-6"])
    whole, again = with_rows(), with_rows()
    fit(whole, tmp_path / "whole", **SETTINGS)
    fit(again, tmp_path, resume=True, **SETTINGS)
    assert torch.equal(rows_of(again), rows_of(whole))
    left = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert left == ["checkpoint-10", "checkpoint-12"]
    assert steps_of(tmp_path) == list(range(1, 13))


def test_a_checkpoint_holds_the_trained_parameters_alone(tmp_path: Path) -> None:
    model = with_rows("gemma3", scope="tied")
    fit(model, tmp_path, **SETTINGS)
    folder = checkpoints(tmp_path / "checkpoints")[-1]
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


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def zeroed(file: Path) -> None:
    """As a power cut leaves a file whose length was written, and whose content was not."""
    file.write_bytes(bytes(file.stat().st_size))


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


HARM = (emptied, cut, zeroed, flipped, Path.unlink)
PARTS = (TRAINED, "optimizer.pt", "scheduler.pt", "rng_state.pth", STATE, SEAL)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was cut short after step 5, with the checkpoints of steps 2 and 4."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(Crash):
        fit(with_rows(), folder, tracker=At(5, crash), **SETTINGS)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    whole = with_rows()
    fit(whole, tmp_path_factory.mktemp("whole"), **SETTINGS)
    return rows_of(whole)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_damage_is_found(harm: Any, part: str, interrupted: Path, tmp_path: Path) -> None:
    trained = trained_parameters(with_rows())
    folder = tmp_path / "checkpoint-4"
    shutil.copytree(interrupted / "checkpoints" / folder.name, folder)
    assert problem_with(folder, trained) is None
    harm(folder / part)
    # without its seal it counts as one of an earlier version, and is whole
    found = problem_with(folder, trained)
    assert (found is None) == (part == SEAL and harm is Path.unlink)
    assert found is None or part in found or part == SEAL


@pytest.mark.parametrize("part", ["optimizer.pt", STATE])
def test_it_falls_back_to_the_checkpoint_before(
    part: str,
    interrupted: Path,
    uninterrupted: torch.Tensor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = tmp_path / "run"
    shutil.copytree(interrupted, run)
    last = checkpoints(run / "checkpoints")[-1]
    emptied(last / part)
    zeroed(run / "train_log.jsonl")
    again = with_rows()
    fit(again, run, resume=True, **SETTINGS)
    assert torch.equal(rows_of(again), uninterrupted)
    assert steps_of(run) == list(range(3, 13))
    assert str(last) in caplog.text and "goes on from step 2" in caplog.text


def test_nothing_to_fall_back_to(
    interrupted: Path,
    uninterrupted: torch.Tensor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = tmp_path / "run"
    shutil.copytree(interrupted, run)
    for folder in checkpoints(run / "checkpoints"):
        emptied(folder / "optimizer.pt")
        (folder / "seal.json").unlink()  # as an earlier version wrote them
    for name in ("checkpoint-6", "checkpoint-x", "checkpoint-007", ".partial"):
        (run / "checkpoints" / name).mkdir()
    (run / "checkpoints/checkpoint-8").write_text("")
    again = with_rows()
    fit(again, run, resume=True, **SETTINGS)
    assert torch.equal(rows_of(again), uninterrupted)
    assert "begins anew" in caplog.text and "optimizer.pt" in caplog.text


def test_a_checkpoint_of_other_parameters(
    interrupted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(interrupted, run)
    other = tiny.model().requires_grad_(False)
    other.get_input_embeddings().weight.requires_grad_(True)
    fit(other, run, resume=True, **SETTINGS)
    assert "holds other parameters than this run's" in caplog.text
    assert steps_of(run) == list(range(1, 13))


def test_loading_takes_no_other_shape(interrupted: Path, tmp_path: Path) -> None:
    file = checkpoints(interrupted / "checkpoints")[-1] / TRAINED
    good = load_file(file)
    (name,) = good
    wrong = {
        "shape": {name: good[name][:, :1].clone()},  # would be broadcast
        "NaN": {name: good[name] / 0},
        "missing": {},
        "unknown": good | {"more": torch.zeros(1)},
        "float64": {name: good[name].double()},
    }
    for message, tensors in wrong.items():
        save_file(tensors, tmp_path / "it.safetensors")
        with pytest.raises(TrainingError, match=message) as raised:
            load_trained(with_rows(), tmp_path / "it.safetensors")
        assert "it.safetensors" in str(raised.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint(
    number: int, uninterrupted: torch.Tensor, tmp_path: Path
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match="after step 3 of 12; a checkpoint") as raised:
        fit(with_rows(), tmp_path, tracker=At(3, lambda: os.kill(os.getpid(), number)), epochs=3)
    assert getattr(raised.value, "code", 130) == (130 if number == signal.SIGINT else 143)
    assert signal.getsignal(number) is before
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == ["checkpoint-3"]
    again = with_rows()
    fit(again, tmp_path, resume=True, **SETTINGS)
    assert torch.equal(rows_of(again), uninterrupted)
    assert steps_of(tmp_path) == list(range(1, 13))


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # a launcher's repetition
        os.kill(os.getpid(), signal.SIGTERM)  # and another's
        monkeypatch.setattr(interrupts, "AGAIN", -1.0)  # later
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it went on")

    with pytest.raises(KeyboardInterrupt):
        fit(with_rows(), tmp_path, tracker=At(3, twice), epochs=3)
    assert not checkpoints(tmp_path / "checkpoints")


def test_nothing_that_is_not_finite_is_kept(tmp_path: Path) -> None:
    model = with_rows()

    def spoil() -> None:
        with torch.no_grad():
            model.get_input_embeddings().rows[:] = float("nan")

    with pytest.raises(TrainingError, match=r"rows is not finite after step 4; .*train\.lr"):
        fit(model, tmp_path, tracker=At(4, spoil), **SETTINGS)
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == ["checkpoint-2"]
    more = {"epochs": 1, "save_steps": 100, "dev": tiny.examples(4, seed=5)}
    model = with_rows()
    with pytest.raises(TrainingError, match="loss on the dev pairs is nan after step 4"):
        fit(model, tmp_path / "dev", tracker=At(4, spoil), **more)


def test_a_damaged_log(tmp_path: Path) -> None:
    path = tmp_path / "train_log.jsonl"
    good = json.dumps({"step": 1, "loss": 2.0})
    path.write_text(f'{good}\n{{"step": 2, "lo')  # cut short: the process was killed
    assert read_log(path) == [{"step": 1, "loss": 2.0}]
    path.write_text(f"{good}\nnonsense\n{good}\n")
    with pytest.raises(RecordError, match=r"train_log.jsonl: line 2: damaged"):
        read_log(path)
    assert read_log(tmp_path / "none.jsonl") == []
