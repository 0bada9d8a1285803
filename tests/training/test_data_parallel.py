"""Two processes against one (gloo, CPU): the same steps, losses and trained values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ddp_fits import CASES, GRADIENTS, cut_short, gone_on, gradient, trained
from launch import run
from safetensors.torch import load_file
from training import log_of, steps_of

from mt_lottery.data.prompts.batches import BucketBatchSampler, EpochBatches
from mt_lottery.training.sealing import candidates as checkpoints

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "ddp_fits.py"


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made of :mod:`ddp_fits`."""
    folder = tmp_path_factory.mktemp("several")
    cut_short("llama", folder / "from_one")
    done = run(SCRIPT, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("processes", [2, 3])
def test_the_processes_share_every_batch(processes: int) -> None:
    sampler = BucketBatchSampler([5, 9, 2, 7, 7, 3, 4], 3)
    whole = EpochBatches(sampler, 2)
    shares = [list(EpochBatches(sampler, 2, r, processes)) for r in range(processes)]
    assert list(whole) == whole.batches and whole.ends[-1] == len(whole)
    for batch, *parts in zip(whole.batches, *shares, strict=True):
        assert sorted(i for part in parts for i in part) == sorted(batch)
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
    assert any([] in share for share in shares)  # the batch of one


@pytest.mark.parametrize(("scope", "checkpointing"), GRADIENTS)
def test_the_gradient(scope: str, checkpointing: bool, several: Path) -> None:
    alone = gradient(scope, checkpointing)
    found = load_file(several / "gradients.safetensors")[f"{scope} {checkpointing}"]
    torch.testing.assert_close(found, alone, rtol=1e-5, atol=1e-7)
    assert float(alone.abs().max()) > 1e-3


def numbers(folder: Path) -> list[dict[str, Any]]:
    """Step, learning rate, loss and dev loss of each line of a log."""
    keys = ("step", "lr", "loss", "dev_loss")
    return [{key: line[key] for key in keys if key in line} for line in log_of(folder)]


def assert_same(
    found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], *logs: Path
) -> None:
    """Trained values, and the logs of both trainings, within float32's rounding."""
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=1e-5, atol=1e-5, msg=name)
    ours, theirs = map(numbers, logs)
    assert len(ours) == len(theirs) > 1
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_several_processes_train_as_one(name: str, several: Path, tmp_path: Path) -> None:
    alone = trained(name, tmp_path)
    found = load_file(several / f"{name}.safetensors")
    assert_same(found, alone, several / name, tmp_path / name)
    start = {n: p.detach() for n, p in CASES[name][0]().named_parameters()}
    assert max(float((v - start[n]).abs().max()) for n, v in alone.items()) > 1e-3


def test_a_training_of_one_process_goes_on_on_several(several: Path, tmp_path: Path) -> None:
    found = load_file(several / "from_one.safetensors")
    assert_same(found, gone_on("llama", tmp_path), several / "from_one", tmp_path)


def test_a_training_of_several_processes_goes_on_on_one(several: Path, tmp_path: Path) -> None:
    last = checkpoints(several / "from_several" / "checkpoints")[-1]
    assert {p.name for p in last.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    whole = gone_on("llama", tmp_path)
    found = gone_on("llama", several / "from_several")
    assert_same(found, whole, several / "from_several", tmp_path)


def test_several_processes_resume_bit_by_bit(several: Path) -> None:
    whole, again = (load_file(several / f"{n}.safetensors") for n in ("whole", "resumed"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert steps_of(several / "resumed") == list(range(1, 13))
    assert numbers(several / "resumed") == numbers(several / "whole")
