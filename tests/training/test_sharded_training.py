"""Two processes that divide a model (FSDP2, gloo, CPU) against one that has it whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from launch import run
from safetensors.torch import load_file
from shard_fits import CASES, cut_short, gone_on, norms, trained
from training import log_of

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "shard_fits.py"
RESUMED = ("rows", "full")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made of :mod:`shard_fits`."""
    folder = tmp_path_factory.mktemp("sharded")
    for method in RESUMED:
        cut_short(method, folder / f"{method}_from_one", divided=False)
    done = run(SCRIPT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def numbers(folder: Path) -> list[dict[str, Any]]:
    """Step, learning rate, loss and dev loss of each line of a log."""
    keys = ("step", "lr", "loss", "dev_loss")
    return [{key: line[key] for key in keys if key in line} for line in log_of(folder)]


def assert_same(found: dict[str, Any], wanted: dict[str, Any], ours: Path, theirs: Path) -> None:
    """Trained values, and the logs of both trainings, within float32's rounding."""
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=1e-5, atol=1e-5, msg=name)
    assert len(numbers(ours)) == len(numbers(theirs)) > 1
    for one, other in zip(numbers(ours), numbers(theirs), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_divided_model_learns_as_a_whole_one(name: str, several: Path, tmp_path: Path) -> None:
    alone = trained(name, tmp_path, divided=False)
    found = load_file(several / f"{name}.safetensors")
    assert_same(found, alone, several / name, tmp_path / name)


@pytest.mark.parametrize("method", RESUMED)
@pytest.mark.parametrize("how", ["from_one", "resumed"])
def test_a_training_goes_on(how: str, method: str, several: Path, tmp_path: Path) -> None:
    """From a checkpoint of one process, and from one of as many."""
    alone = gone_on(method, tmp_path, divided=False)
    name = f"{method}_{how}"
    assert_same(load_file(several / f"{name}.safetensors"), alone, several / name, tmp_path)


@pytest.mark.parametrize("method", RESUMED)
def test_a_divided_training_goes_on_in_one_process(
    method: str, several: Path, tmp_path: Path
) -> None:
    whole = gone_on(method, tmp_path, divided=False)
    found = gone_on(method, several / f"{method}_from_several", divided=False)
    assert_same(found, whole, several / f"{method}_from_several", tmp_path)


def test_the_gradients_of_the_rows(several: Path) -> None:
    found = load_file(several / "norms.safetensors")["norms"]
    torch.testing.assert_close(found, norms(divided=False), rtol=1e-5, atol=1e-7)
