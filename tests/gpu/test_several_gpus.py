"""Models divided among processes, and spread over devices, on GPUs (and on the CPU)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from launch import run
from safetensors.torch import load_file
from tiny_runs import Commands, Models, hypotheses, record, small

from mt_lottery.runs import Run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("recipe", ["ks_lottery", "lora", "full"])
def test_a_divided_run(device: str, recipe: str, commands: Commands, models: Models) -> None:
    """On all GPUs, one perhaps: then nothing is divided, but every step of it is taken."""
    processes = torch.cuda.device_count() if device == "cuda" else 2
    arguments = small(models.untied, recipe, f"device={device}", "baseline=false")
    ended = commands.train(*arguments, "out_dir=whole")
    assert ended.code == 0, ended.err
    done = run(
        *("-m", "mt_lottery.cli.train", *arguments, "out_dir=divided", "train.sharding=fsdp"),
        processes=processes,
        MT_LOTTERY_CACHE=str(commands.folder / "other-cache"),
    )
    assert done.returncode == 0, done.stderr
    assert record(Path("divided"))["environment"]["processes"] == str(processes)
    for file in Path("whole").rglob("*.safetensors"):
        found = load_file(Path("divided") / file.relative_to("whole"))
        for name, values in load_file(file).items():
            torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize("recipe", ["ks_lottery", "lora"])
def test_a_spread_run_translates(
    device: str, recipe: str, commands: Commands, models: Models
) -> None:
    arguments = small(models.untied, recipe, f"device={device}", "baseline=false", "out_dir=run")
    ended = commands.train(*arguments)
    assert ended.code == 0, ended.err
    opened = Run("run", device, device_map="auto")
    lines = hypotheses(Path("run"))
    assert opened.translate([line["source"] for line in lines]) == [
        line["first_line"] for line in lines
    ]
    original = small(models.untied, "none", f"device={device}", "model.device_map=auto")
    ended = commands.train(*original, "out_dir=original")
    assert ended.code == 0, ended.err
