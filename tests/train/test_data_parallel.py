"""Token rows and the label loss on two processes against one (gloo, CPU)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from ddp_step import gradient
from safetensors.torch import load_file

HERE = Path(__file__).parent


def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    out = tmp_path / "gradients.safetensors"
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"),
        *(str(HERE / "ddp_step.py"), str(out)),
    ]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = load_file(out)
    assert len(found) == 4
    for name, gradients in found.items():
        scope, _, checkpointing = name.partition("-")
        alone = gradient(scope, checkpointing == "True", 0, 1)
        torch.testing.assert_close(gradients, alone, rtol=1e-5, atol=1e-7)
        assert float(alone.abs().max()) > 1e-3
