"""``examples/own_trainer.py``, as a user runs it, on a tiny model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from launch import environment

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_trainer.py"


@pytest.mark.parametrize("more", [[], ["--trl"]])
def test_it_trains_saves_and_merges(more: list[str], tmp_path: Path) -> None:
    if more:
        pytest.importorskip("trl", reason="TRL is not installed (pip install trl)")
    base, rows, out = tmp_path / "base", tmp_path / "tickets.csv", tmp_path / "out"
    tiny.model("gemma3", tied=True, max_position_embeddings=512).save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    rows.write_text("token_id,token,selected\n0,<pad>,true\n7,w7,true\n9,w9,false\n")
    done = subprocess.run(
        [sys.executable, EXAMPLE, base, rows, out, *more, "--epochs", "1"],
        env=environment(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "trainable params: 32 ||" in done.stdout
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with_peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out)
    merged = AutoModelForCausalLM.from_pretrained(out / "merged")
    one, other = (m(input_ids=tiny.ids()).logits for m in (with_peft, merged))
    assert float((one - other).abs().max()) < 1e-4


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 60
