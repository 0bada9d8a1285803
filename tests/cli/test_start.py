"""How commands start: what is loaded, and that threads that wait for one another sleep."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SEEN = "import mt_lottery.cli.{}, os, sys; print('torch' in sys.modules, os.environ.get({!r}))"
NAME = "OMP_WAIT_POLICY"


@pytest.mark.parametrize("command", ["train", "bench", "ticket", "translate"])
def test_before_pytorch_is_loaded(command: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != NAME}
    for given, wanted in (({}, "passive"), ({NAME: "active"}, "active")):
        done = subprocess.run(
            [sys.executable, "-c", SEEN.format(command, NAME)],
            env=environment | given, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.split() == ["False", wanted]


@pytest.mark.parametrize(
    "wanted",
    ["mt_lottery.paper.show.ticket_report", "mt_lottery.benchmark.run", "mt_lottery.api.scoring"],
)
def test_what_only_training_needs_is_not_loaded_to_read_a_run(wanted: str) -> None:
    """transformers' Trainer brings every tracker, PEFT and bitsandbytes: seconds of imports."""
    heavy = {"transformers", "peft", "accelerate", "datasets", "bitsandbytes", "comet_ml"}
    code = f"import {wanted}, sys; print(*{heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
