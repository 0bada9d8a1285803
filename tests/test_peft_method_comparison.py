"""``examples/peft_method_comparison``: PEFT reads what it writes, and trains these rows alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from launch import environment

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "examples/peft_method_comparison/experiment.py"


def test_peft_takes_the_experiment(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "experiments/ticket-3"
    tiny.model("llama", max_position_embeddings=512).save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    questions = tmp_path / "questions.jsonl"
    lines = [{"query": f"w{i} w9", "response": f"w{i + 1} w9 w{i}", "type": "x"} for i in range(8)]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = subprocess.run(
        [sys.executable, EXAMPLE, base, questions, out, "--rows", "3"],
        env=environment(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1"),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    from peft import PeftConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = PeftConfig.from_pretrained(str(out))
    known = tiny.tokenizer().convert_tokens_to_ids("w9")
    assert str(config.peft_type) == "PeftType.TRAINABLE_TOKENS"
    assert len(config.token_indices) == 3 and known in config.token_indices
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    assert model.get_nb_trainable_parameters()[0] == 3 * tiny.DIM
    settings = json.loads((out / "training_params.json").read_text())
    assert settings["optimizer_kwargs"] == {"lr": 0.01, "weight_decay": 0.0}
