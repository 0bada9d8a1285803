"""``push_to_hub`` and loading by a hub id, against a hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import loops
import pytest
from hub_server import hub
from launch import environment

import mt_lottery as mtl
from mt_lottery.errors import KeywordError, ModelError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


def test_push_and_load(tmp_path: Path) -> None:
    with hub() as (address, files):
        done = subprocess.run(
            [sys.executable, str(HERE / "push.py")],
            env=environment(HERE, HF_ENDPOINT=address, HF_HOME=str(tmp_path), NO_PROXY="*"),
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= files.keys()
    assert json.loads(files["adapter_config.json"])["peft_type"] == "LORA"
    assert "the hub gives no adapter of that name" in done.stdout


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="'nobody/nothing': there is no such folder, and the hub"):
        mtl.TicketModel.from_pretrained(loops.base(), "nobody/nothing", local_files_only=True)
    with pytest.raises(ModelError, match=r"/no/such: no such folder"):
        mtl.TicketModel.from_pretrained(loops.base(), "/no/such")
    with pytest.raises(KeywordError, match=r"'revison'\. Did you mean 'revision'"):
        mtl.TicketModel.from_pretrained(loops.base(), os.curdir, revison="main")  # type: ignore[call-arg]
