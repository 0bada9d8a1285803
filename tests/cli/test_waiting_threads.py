"""Threads that wait for one another sleep: a shared machine has other work for their cores."""

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
