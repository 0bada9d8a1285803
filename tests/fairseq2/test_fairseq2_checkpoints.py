"""engine=fairseq2: signals, damaged checkpoints, values that are not finite, what the disk says."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fits import RESUMED, fit, log_of, values_of, with_rows
from interrupting import At, Crash, crash

from mt_lottery.errors import TrainingError
from mt_lottery.system.diskfault import DiskError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Any]:
    """Values and log of a training of 12 steps that nothing disturbed."""
    folder, model = tmp_path_factory.mktemp("whole"), with_rows()
    fit(model, folder, **RESUMED)
    return values_of(model), log_of(folder)


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A training that ended after its ninth step; checkpoints of the last two are there."""
    with pytest.raises(KeyboardInterrupt):
        at = At(9, lambda: signal.raise_signal(signal.SIGINT))
        fit(with_rows(), tmp_path, tracker=at, **RESUMED)
    assert names_in(tmp_path) == ["step_8", "step_9"]
    return tmp_path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("step_*"))


def goes_on(folder: Path, whole: tuple[dict[str, Any], Any]) -> None:
    """A resumed training ends with the values and the log of the undisturbed one."""
    again = with_rows()
    fit(again, folder, resume=True, **RESUMED)
    for key, value in whole[0].items():
        assert torch.equal(values_of(again)[key], value)
    assert log_of(folder) == whole[1]


@pytest.mark.parametrize(
    ("number", "step", "code"),
    [(signal.SIGINT, 1, 130), (signal.SIGTERM, 4, 143), (signal.SIGUSR1, 5, 143)],
)
def test_a_signal_leaves_a_checkpoint(
    number: signal.Signals, step: int, code: int, whole: Any, tmp_path: Path
) -> None:
    """SIGUSR1 is the one by which fairseq2 itself asks a task to stop."""
    with pytest.raises(KeyboardInterrupt, match=f"after step {step} of 12; a checkpoint") as raised:
        fit(with_rows(), tmp_path, tracker=At(step, lambda: signal.raise_signal(number)), **RESUMED)
    assert getattr(raised.value, "code", 130) == code
    assert names_in(tmp_path)[-1] == f"step_{step}"
    assert log_of(tmp_path) == whole[1][:step]
    goes_on(tmp_path, whole)


def test_a_signal_in_the_last_step(whole: Any, tmp_path: Path) -> None:
    at = At(12, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt, match="after step 12 of 12; a checkpoint"):
        fit(with_rows(), tmp_path, tracker=at, **RESUMED)
    goes_on(tmp_path, whole)


def flip(checkpoint: Path) -> None:
    (file,) = (checkpoint / "model").rglob("*.pt")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(checkpoint: Path) -> None:
    (file,) = (checkpoint / "optimizer").rglob("*.pt")
    file.write_bytes(b"")


def lose(checkpoint: Path) -> None:
    (checkpoint / "trainer/rank_00.pt").unlink()


def break_seal(checkpoint: Path) -> None:
    (checkpoint / "seal.json").write_text("[" * 100_000)


def unseal(checkpoint: Path) -> None:
    (checkpoint / "seal.json").unlink()


@pytest.mark.parametrize("damage", [flip, empty, lose, break_seal, unseal])
def test_a_damaged_checkpoint(
    damage: Callable[[Path], None], cut: Path, whole: Any, caplog: pytest.LogCaptureFixture
) -> None:
    damage(cut / "checkpoints/step_9")
    with caplog.at_level(logging.WARNING, "mt_lottery"):
        goes_on(cut, whole)
    assert f"{cut / 'checkpoints/step_9'} cannot be used: " in caplog.text
    assert "The training goes on from step 8." in caplog.text


def test_no_checkpoint_is_whole(cut: Path, whole: Any, caplog: pytest.LogCaptureFixture) -> None:
    for path in (cut / "checkpoints").glob("step_*"):
        empty(path)
    with caplog.at_level(logging.WARNING, "mt_lottery"):
        goes_on(cut, whole)
    assert "The training begins anew." in caplog.text


def test_a_crash_while_a_checkpoint_is_written(whole: Any, tmp_path: Path) -> None:
    with pytest.raises(Crash):
        fit(with_rows(), tmp_path, tracker=At(5, crash), **RESUMED)
    kept = names_in(tmp_path)[-1]
    shutil.copytree(tmp_path / "checkpoints" / kept, tmp_path / "checkpoints/step_6.tmp")
    goes_on(tmp_path, whole)
    assert not any(name.endswith(".tmp") for name in names_in(tmp_path))


class Runs:
    """A pickle that writes a file where it is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.file, "it ran")


@pytest.mark.parametrize("kind", ["trainer", "model", "optimizer", "data_reader"])
def test_a_checkpoint_runs_nothing(kind: str, cut: Path) -> None:
    from mt_lottery.fairseq2.checkpoints import seal

    checkpoint, traces = cut / "checkpoints/step_9", cut / "traces"
    (file,) = (checkpoint / kind).rglob("*.pt")
    state = torch.load(file, weights_only=True)
    torch.save({**state, "more": Runs(traces)}, file)
    torch.load(file, weights_only=False)
    assert traces.read_text() == "it ran"  # it would
    traces.unlink()
    (checkpoint / "seal.json").unlink()
    seal(cut / "checkpoints", 9, "1 process")
    with pytest.raises(TrainingError, match=r"checkpoint is damaged .* remove it to start anew"):
        fit(with_rows(), cut, resume=True, **RESUMED)
    assert not traces.exists() and checkpoint.exists()
    file.write_bytes(pickle.dumps(Runs(traces)))
    (checkpoint / "seal.json").unlink()
    seal(cut / "checkpoints", 9, "1 process")
    with pytest.raises(TrainingError, match="checkpoint is damaged"):
        fit(with_rows(), cut, resume=True, **RESUMED)
    assert not traces.exists()


def test_a_checkpoint_of_other_processes(cut: Path) -> None:
    seal_file = cut / "checkpoints/step_9/seal.json"
    content = json.loads(seal_file.read_text())
    assert content["layout"] == "1 process"
    seal_file.write_text(json.dumps({**content, "layout": "2 processes with ddp"}))
    with pytest.raises(TrainingError, match="by a training on 2 processes with ddp, this one is"):
        fit(with_rows(), cut, resume=True, **RESUMED)
    assert names_in(cut) == ["step_8", "step_9"]  # nothing is lost


def test_values_that_are_not_finite_are_no_checkpoint(tmp_path: Path) -> None:
    settings = {"optimizer": "sgd", "lr": 1e38, "max_grad_norm": 0.0, "schedule": "constant"}
    model = with_rows()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1e6)  # large gradients
    told = r"rows is not finite after step 1; training pairs of its last batch .* \d+, "
    with pytest.raises(TrainingError, match=told):
        fit(model, tmp_path, save_steps=1, **settings)
    assert not [name for name in names_in(tmp_path) if not name.endswith(".tmp")]


def test_a_disk_that_refuses_a_checkpoint(tmp_path: Path) -> None:
    def take_the_place() -> None:
        shutil.rmtree(tmp_path / "checkpoints")
        (tmp_path / "checkpoints").write_text("a file")

    with pytest.raises(DiskError, match=f"{tmp_path}/checkpoints"):
        fit(with_rows(), tmp_path, tracker=At(1, take_the_place), **RESUMED)


def test_a_full_disk(tmp_path: Path) -> None:
    from mt_lottery.fairseq2.checkpoints import Dumper

    (tmp_path / "model.pt").symlink_to("/dev/full")
    told = r"model\.pt cannot be written: No space left on device\. .* before it are kept"
    with pytest.raises(DiskError, match=told):
        Dumper().dump({"rows": torch.ones(10_000)}, tmp_path / "model.pt")
