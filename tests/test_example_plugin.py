"""``examples/plugin_ia3``, installed as a package: found by its entry point, run end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "plugin_ia3"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed package and its metadata."""
    target = tmp_path_factory.mktemp("site")
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
        *("--no-build-isolation", "--target", str(target), str(EXAMPLE)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for leftover in ("build", "dist"):
        assert not (EXAMPLE / leftover).exists()
    return target


def test_it_runs_from_its_entry_point(installed: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(HERE / "cli"))
    try:
        from tiny_runs import SMALL, make_models, model
    finally:
        sys.path.remove(str(HERE / "cli"))
    models = make_models(tmp_path)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MT_LOTTERY_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(installed), str(HERE.parent)]),
    }

    def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"mt_lottery.cli.{module}", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )

    common = ["recipe=ia3_kv", "lang=en-es", *model(models.untied), *SMALL]
    done = run("train", *common, "out_dir=run", "tune=2")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run/record.json").read_text())
    assert record["method"] == "ia3_kv" and record["tuning"]["trials"] == 2
    # two layers; keys and values of one head of 16, inner activations of 64
    assert record["trainable_parameters"] == 2 * (16 + 16 + 64)
    assert (
        json.loads((tmp_path / "run/adapter/adapter_config.json").read_text())["peft_type"] == "IA3"
    )
    assert run("ticket", "merge", "run", "plain").returncode == 0
    assert run("ticket", "export", "run", "for-peft", "--format", "lora").returncode == 0
    wrong = run("ticket", "export", "run", "for-vllm", "--format", "lora", "--engine", "vllm")
    assert wrong.returncode == 2 and "of the kind IA3, only LoRA; --format merged" in wrong.stderr
    wrong = run("train", *common, "tuner.feed_forward=[]")
    assert wrong.returncode == 2 and "Did you mean 'tuner.feedforward'?" in wrong.stderr
    assert "ia3_kv" in run("bench", "list").stdout
    assert "layers whose outputs are scaled — ia3_kv" in run("train", "--help", "all").stdout


def test_it_is_short() -> None:
    assert len((EXAMPLE / "mt_ia3" / "__init__.py").read_text().splitlines()) < 40
